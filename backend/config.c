/* SPDX-License-Identifier: MIT */
#include "backend/base/error.h"
#include "backend/base/number.h"
#include "backend/config.h"
#include "backend/disk/disk.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEVID_MAX	0x1fffffffu
#define SECONDS_PER_DAY 86400u

const char gd_config_usage[] =
	"usage: grantiod [OPTION]...\n"
	"Serves virtio disks to Xen guests, reaching only the pages that they grant.\n"
	"\n"
	"  --config FILE      read settings from FILE: lines `key = value`, keys named as the options below,\n"
	"                     flags with yes or no; also `disk = GUEST/DEVID IMAGE` for xl's virtio= devices\n"
	"  --image-dir DIR    serve only images under DIR (may be given several times)\n"
	"  --nbd-allow WHAT   use NBD servers of WHAT: unix:DIR (sockets under DIR), tcp:HOST[:PORT], all or none "
	"(may\n"
	"                     be given several times); default: all without --image-dir, none with it\n"
	"  --allow-foreign G  let guest G (its name, UUID or domain id; or `all`) have disks with grant_usage=0: any "
	"of\n"
	"                     its memory is mapped as its requests say (may be given several times)\n"
	"  --raw-image IMAGE  serve IMAGE (or `all`) as raw data, even if it looks like one of another format, which "
	"is\n"
	"                     refused otherwise (may be given several times)\n"
	"  --queues N         request queues to offer for each disk, 1 to 16 (default 4)\n"
	"  --queue-size N     descriptors a queue, power of two, 2 to 1024 (default 256)\n"
	"  --indirect         offer indirect descriptors\n"
	"  --no-discard       offer neither discard nor write-zeroes\n"
	"  --no-direct        use the page cache instead of O_DIRECT\n"
	"  --nbd-timeout N    give an NBD server's connection up when a request has no answer for N seconds\n"
	"                     (default 0: never)\n"
	"  --nbd-reconnect N  fail requests when their NBD server is gone for N seconds (default 5; 0: never)\n"
	"  --log-level LEVEL  err, warn, notice, info or debug (default info)\n"
	"  --state-dir DIR    keep in DIR what another grantiod needs to go on where this one ends without a word\n"
	"  --control PATH     answer `stats` and `refresh` on a Unix socket at PATH\n"
	"  --version          print the version\n"
	"  --help             print this\n"
	"\n"
	"SIGHUP reads the settings again, for disks that are opened from then on, looks at the images' sizes and "
	"tries\n"
	"refused devices once more. SIGTERM and SIGINT stop.\n";

static const char *const levels[] = {
	[GD_ERR] = "err", [GD_WARN] = "warn", [GD_NOTICE] = "notice", [GD_INFO] = "info", [GD_DEBUG] = "debug"};

__attribute__((format(printf, 2, 3))) static int fail(char *error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, GD_CONFIG_ERROR, format, args);
	va_end(args);
	return -EINVAL;
}

void gd_config_init(struct gd_config *config)
{
	memset(config, 0, sizeof(*config));
	config->queues = 4;
	config->queue_size = 256;
	config->discard = true;
	config->direct = true;
	config->nbd_timeout = GD_DISK_NBD_TIMEOUT_MS / 1000;
	config->nbd_reconnect = GD_DISK_NBD_RECONNECT_MS / 1000;
	config->level = GD_INFO;
}

static void texts_free(char **texts)
{
	for (; *texts; texts++)
		free(*texts);
}

void gd_config_exit(struct gd_config *config)
{
	texts_free(config->image_dirs);
	texts_free(config->nbd);
	for (unsigned i = 0; i < config->disk_count; i++) {
		gd_alias_free(&config->disks[i].guest);
		free(config->disks[i].target);
	}
	for (unsigned i = 0; i < config->foreign_count; i++)
		gd_alias_free(&config->foreign[i]);
	for (unsigned i = 0; i < config->raw_count; i++)
		free(config->raw_images[i]);
	free(config->state_dir);
	free(config->control);
	memset(config, 0, sizeof(*config));
}

bool gd_config_names(const struct gd_config *config)
{
	for (unsigned i = 0; i < config->disk_count; i++)
		if (config->disks[i].guest.by != GD_ALIAS_DOMID)
			return true;
	for (unsigned i = 0; i < config->foreign_count; i++)
		if (config->foreign[i].by != GD_ALIAS_DOMID)
			return true;
	return false;
}

const char *gd_config_disk(const struct gd_config *config, const struct gd_aliases *guest, uint32_t devid)
{
	for (unsigned by = 0; by < GD_ALIAS_WAYS; by++)
		for (unsigned i = 0; i < config->disk_count; i++) {
			const struct gd_config_disk *disk = &config->disks[i];

			if (disk->guest.by == by && disk->devid == devid && gd_alias_is(guest, &disk->guest))
				return disk->target;
		}
	return NULL;
}

bool gd_config_foreign(const struct gd_config *config, const struct gd_aliases *guest)
{
	for (unsigned i = 0; i < config->foreign_count; i++)
		if (gd_alias_is(guest, &config->foreign[i]))
			return true;
	return config->foreign_all;
}

const char *const *gd_config_nbd(const struct gd_config *config)
{
	return config->nbd[0] || config->image_dirs[0] ? (const char *const *)config->nbd : NULL;
}

bool gd_config_raw(const struct gd_config *config, const char *target)
{
	for (unsigned i = 0; i < config->raw_count; i++)
		if (!strcmp(config->raw_images[i], target))
			return true;
	return config->raw_all;
}

/*
 * Setters: `value` is text, the message (static, without the value) is returned, NULL when all is well. Flags take
 * "yes" or "no".
 */
static bool set_number(const char *value, unsigned min, unsigned max, unsigned *out)
{
	uint64_t number;

	if (!gd_number(value, false, max, &number) || number < min)
		return false;
	*out = (unsigned)number;
	return true;
}

static const char *set_queues(struct gd_config *config, const char *value)
{
	return set_number(value, 1, 16, &config->queues) ? NULL : "must be 1 to 16";
}

static const char *set_queue_size(struct gd_config *config, const char *value)
{
	unsigned size;

	if (!set_number(value, 2, 1024, &size) || size & (size - 1))
		return "must be a power of two, 2 to 1024";
	config->queue_size = size;
	return NULL;
}

static const char *set_flag(const char *value, bool *out, bool yes)
{
	if (strcmp(value, "yes") && strcmp(value, "no"))
		return "must be yes or no";
	*out = (value[0] == 'y') == yes;
	return NULL;
}

static const char *set_indirect(struct gd_config *config, const char *value)
{
	return set_flag(value, &config->indirect, true);
}

static const char *set_no_discard(struct gd_config *config, const char *value)
{
	return set_flag(value, &config->discard, false);
}

static const char *set_no_direct(struct gd_config *config, const char *value)
{
	return set_flag(value, &config->direct, false);
}

static const char *set_seconds(const char *value, unsigned *out)
{
	return set_number(value, 0, SECONDS_PER_DAY, out) ? NULL : "must be 0 to 86400 seconds";
}

static const char *set_nbd_timeout(struct gd_config *config, const char *value)
{
	return set_seconds(value, &config->nbd_timeout);
}

static const char *set_nbd_reconnect(struct gd_config *config, const char *value)
{
	return set_seconds(value, &config->nbd_reconnect);
}

static const char *set_level(struct gd_config *config, const char *value)
{
	for (unsigned i = GD_ERR; i <= GD_DEBUG; i++)
		if (!strcmp(value, levels[i])) {
			config->level = (enum gd_level)i;
			return NULL;
		}
	return "must be err, warn, notice, info or debug";
}

static const char *set_text(const char *value, char **out)
{
	char *copy;

	if (value[0] != '/')
		return "must be an absolute path";
	copy = strdup(value);
	if (!copy)
		return "no memory for it";
	free(*out);
	*out = copy;
	return NULL;
}

/* Where the directory is missing every start would fail: that is a wrong setting, and not to be tried again. */
static const char *set_control(struct gd_config *config, const char *value)
{
	const char *name = strrchr(value, '/');
	char directory[108];
	struct stat st;

	if (strlen(value) >= sizeof(directory))
		return "longer than a socket's path may be (107)";
	if (value[0] != '/')
		return "must be an absolute path";
	snprintf(directory, sizeof(directory), "%.*s", name == value ? 1 : (int)(name - value), value);
	if (stat(directory, &st) || !S_ISDIR(st.st_mode))
		return "its directory is not there";
	return set_text(value, &config->control);
}

/* What is not there would show only when a disk needs it, as a disk that is refused or cannot be left to a successor.
 */
static const char *set_dir(const char *value, char **out)
{
	struct stat st;

	if (value[0] == '/' && (stat(value, &st) || !S_ISDIR(st.st_mode)))
		return "there is no such directory";
	return set_text(value, out);
}

static const char *set_state_dir(struct gd_config *config, const char *value)
{
	return set_dir(value, &config->state_dir);
}

/* Where the next text of a list goes, which a NULL ends; NULL: it is full. */
static char **text_next(char **texts, unsigned most)
{
	unsigned used = 0;

	while (texts[used])
		used++;
	return used == most ? NULL : &texts[used];
}

static const char *set_image_dir(struct gd_config *config, const char *value)
{
	char **next = text_next(config->image_dirs, GD_CONFIG_IMAGE_DIRS);

	return next ? set_dir(value, next) : "is one more than 16";
}

/* A directory of sockets need not be there yet: whoever serves them makes it. */
static const char *set_nbd(struct gd_config *config, const char *value)
{
	char **next = text_next(config->nbd, GD_CONFIG_NBD);

	if (strcmp(value, "all") && strcmp(value, "none") && strncmp(value, "unix:/", 6) &&
	    (strncmp(value, "tcp:", 4) || !value[4]))
		return "must be unix:/DIR, tcp:HOST, tcp:HOST:PORT, all or none";
	if (!next)
		return "is one more than 16";
	*next = strdup(value);
	return *next ? NULL : "no memory for it";
}

static const char *set_raw_image(struct gd_config *config, const char *value)
{
	const char *message;

	if (!strcmp(value, "all")) {
		config->raw_all = true;
		return NULL;
	}
	if (config->raw_count == GD_CONFIG_RAW)
		return "is one more than 64";
	message = value[0] == '/' ? set_text(value, &config->raw_images[config->raw_count])
				  : "must be an absolute path, or all";
	config->raw_count += !message;
	return message;
}

static const char *set_foreign(struct gd_config *config, const char *value)
{
	const char *message;

	if (!strcmp(value, "all")) {
		config->foreign_all = true;
		return NULL;
	}
	if (config->foreign_count == GD_CONFIG_FOREIGN)
		return "is one more than 64";
	message = gd_alias_parse(&config->foreign[config->foreign_count], value, strlen(value));
	config->foreign_count += !message;
	return message;
}

static bool disk_known(const struct gd_config *config, const struct gd_config_disk *disk)
{
	for (unsigned i = 0; i < config->disk_count; i++)
		if (config->disks[i].devid == disk->devid && gd_alias_same(&config->disks[i].guest, &disk->guest))
			return true;
	return false;
}

/* "GUEST/DEVID", of which a guest's name may have a slash in it. */
static const char *device_parse(struct gd_config_disk *disk, const char *text, size_t length)
{
	const char *slash = memrchr(text, '/', length);
	char devid_text[16];
	size_t left = slash ? length - (size_t)(slash - text) - 1 : 0;
	uint64_t devid;

	if (!slash || slash == text || left >= sizeof(devid_text))
		return "must be GUEST/DEVID IMAGE";
	memcpy(devid_text, slash + 1, left);
	devid_text[left] = '\0';
	if (!gd_number(devid_text, false, DEVID_MAX, &devid))
		return "must be GUEST/DEVID IMAGE";
	disk->devid = (uint32_t)devid;
	return gd_alias_parse(&disk->guest, text, (size_t)(slash - text));
}

/* "GUEST/DEVID IMAGE" */
static const char *set_disk(struct gd_config *config, const char *value)
{
	struct gd_config_disk *disk = &config->disks[config->disk_count];
	size_t length = strcspn(value, " \t");
	const char *target = value + length + strspn(value + length, " \t"), *message;

	if (config->disk_count == GD_CONFIG_DISKS)
		return "is one more than 64";
	if (!*target)
		return "must be GUEST/DEVID IMAGE";
	if (target[0] != '/' && strncmp(target, "nbd://", 6) && strncmp(target, "nbd+unix://", 11))
		return "its image must be an absolute path, or nbd://, or nbd+unix://";
	message = device_parse(disk, value, length);
	if (message)
		return message;
	if (disk_known(config, disk)) {
		gd_alias_free(&disk->guest);
		return "names a device twice";
	}
	disk->target = strdup(target);
	if (!disk->target) {
		gd_alias_free(&disk->guest);
		return "no memory for it";
	}
	config->disk_count++;
	return NULL;
}

/* In `kinds`: FLAG takes no value on the command line, MANY may be given several times. */
enum { FLAG = 1, MANY = 2, FILE_ONLY = 4 };

static const struct setting {
	const char *name;
	const char *(*set)(struct gd_config *config, const char *value);
	unsigned kinds;
} settings[] = {
	{"image-dir", set_image_dir, MANY},
	{"nbd-allow", set_nbd, MANY},
	{"allow-foreign", set_foreign, MANY},
	{"raw-image", set_raw_image, MANY},
	{"queues", set_queues, 0},
	{"queue-size", set_queue_size, 0},
	{"indirect", set_indirect, FLAG},
	{"no-discard", set_no_discard, FLAG},
	{"no-direct", set_no_direct, FLAG},
	{"nbd-timeout", set_nbd_timeout, 0},
	{"nbd-reconnect", set_nbd_reconnect, 0},
	{"log-level", set_level, 0},
	{"state-dir", set_state_dir, 0},
	{"control", set_control, 0},
	{"disk", set_disk, MANY | FILE_ONLY},
};

/* One and the same source that says a thing twice, and maybe two different ones, has said nothing clear. */
static const char *setting_set(struct gd_config *config, const struct setting *setting, const char *value)
{
	unsigned bit = 1u << (setting - settings);

	if (config->given & bit && !(setting->kinds & MANY))
		return "is given twice";
	config->given |= bit;
	return setting->set(config, value);
}

static const struct setting *setting_find(const char *name, size_t length)
{
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		if (!strncmp(settings[i].name, name, length) && !settings[i].name[length])
			return &settings[i];
	return NULL;
}

/* Cut blanks off both ends, in place. */
static char *trim(char *text)
{
	char *end;

	text += strspn(text, " \t\r\n");
	end = text + strlen(text);
	while (end > text && strchr(" \t\r\n", end[-1]))
		end--;
	*end = '\0';
	return text;
}

static int file_line(struct gd_config *config, const char *path, unsigned number, char *line, char *error)
{
	const struct setting *setting;
	const char *message;
	char *key, *value;

	key = trim(line);
	if (!*key || *key == '#')
		return 0;
	value = strchr(key, '=');
	if (!value)
		return fail(error, "%s:%u: '%s': must be key = value", path, number, key);
	*value++ = '\0';
	key = trim(key);
	value = trim(value);
	setting = setting_find(key, strlen(key));
	if (!setting)
		return fail(error, "%s:%u: %s '%s': unknown setting", path, number, key, value);
	message = setting_set(config, setting, value);
	return message ? fail(error, "%s:%u: %s '%s': %s", path, number, key, value, message) : 0;
}

int gd_config_file(struct gd_config *config, const char *path, char error[GD_CONFIG_ERROR])
{
	FILE *file = fopen(path, "re");
	unsigned number = 0;
	char *line = NULL;
	size_t size = 0;
	int ret = 0;

	if (!file) {
		ret = -errno;
		fail(error, "grantiod: --config '%s': %s", path, strerror(-ret));
		return ret;
	}
	config->given = 0;
	errno = 0;
	while (!ret && getline(&line, &size, file) >= 0)
		ret = file_line(config, path, ++number, line, error);
	if (!ret && ferror(file)) {
		ret = gd_errno_or(EIO);
		fail(error, "grantiod: --config '%s': %s", path, strerror(-ret));
	}
	free(line);
	fclose(file);
	return ret;
}

/* One argument of the command line: its name's length, and its value behind '=' or in the next argument. */
struct argument {
	const char *name, *value;
	size_t length;
};

/*
 * Split argument `*index`; `flag` ones take no value. Steps `*index` past a value in the next argument.
 */
static int argument_value(struct argument *argument, bool flag, int argc, char **argv, int *index, char *error)
{
	bool joined = argument->name[argument->length] == '=';
	int shown = (int)argument->length;

	if (flag && joined)
		return fail(error, "grantiod: --%.*s '%s': takes no value", shown, argument->name,
			    argument->name + argument->length + 1);
	if (flag)
		argument->value = "yes";
	else if (joined)
		argument->value = argument->name + argument->length + 1;
	else if (*index + 1 < argc)
		argument->value = argv[++*index];
	else
		return fail(error, "grantiod: --%.*s: needs a value", shown, argument->name);
	return 0;
}

static bool argument_is(const struct argument *argument, const char *name)
{
	return strlen(name) == argument->length && !strncmp(argument->name, name, argument->length);
}

/* `file` true: only --config, whose file comes first; false: everything else. */
static int arguments(struct gd_config *config, bool file, int argc, char **argv, char *error)
{
	int ret = 0;

	for (int i = 1; i < argc && !ret; i++) {
		struct argument argument = {.name = argv[i] + 2};
		const struct setting *setting;
		const char *message;
		bool flag;

		if (strncmp(argv[i], "--", 2))
			return fail(error, "grantiod: '%s': no such argument (see --help)", argv[i]);
		argument.length = strcspn(argument.name, "=");
		setting = setting_find(argument.name, argument.length);
		flag = argument_is(&argument, "help") || argument_is(&argument, "version");
		if ((!setting || setting->kinds & FILE_ONLY) && !flag && !argument_is(&argument, "config"))
			return fail(error, "grantiod: '%s': no such option (see --help)", argv[i]);
		ret = argument_value(&argument, flag || (setting && setting->kinds & FLAG), argc, argv, &i, error);
		if (ret)
			return ret;
		if (argument_is(&argument, "config")) {
			ret = file ? gd_config_file(config, argument.value, error) : 0;
			continue;
		}
		config->help |= argument_is(&argument, "help");
		config->version |= argument_is(&argument, "version");
		message = file || !setting ? NULL : setting_set(config, setting, argument.value);
		if (message)
			ret = fail(error, "grantiod: --%.*s '%s': %s", (int)argument.length, argument.name,
				   argument.value, message);
	}
	return ret;
}

int gd_config_parse(struct gd_config *config, int argc, char **argv, char error[GD_CONFIG_ERROR])
{
	int ret = arguments(config, true, argc, argv, error);

	config->given = 0;
	return ret ? ret : arguments(config, false, argc, argv, error);
}

int gd_config_new(struct gd_config **out, int argc, char **argv, char error[GD_CONFIG_ERROR])
{
	struct gd_config *config = malloc(sizeof(*config));
	int ret;

	if (!config) {
		fail(error, "grantiod: %s", strerror(ENOMEM));
		return -ENOMEM;
	}
	gd_config_init(config);
	config->holders = 1;
	ret = gd_config_parse(config, argc, argv, error);
	if (ret)
		gd_config_drop(config);
	else
		*out = config;
	return ret;
}

/* That somebody holds it is no part of what the settings say. */
const struct gd_config *gd_config_hold(const struct gd_config *config)
{
	((struct gd_config *)config)->holders++;
	return config;
}

void gd_config_drop(const struct gd_config *held)
{
	struct gd_config *config = (struct gd_config *)held;

	if (!config || --config->holders)
		return;
	gd_config_exit(config);
	free(config);
}
