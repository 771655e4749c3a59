/* SPDX-License-Identifier: MIT */
#include "backend/config.h"
#include "backend/disk/disk.h"
#include "backend/number.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOMID_MAX   0x7fefu /* xen/xen.h: DOMID_FIRST_RESERVED - 1 */
#define DEVID_MAX   0x1fffffffu
#define SECONDS_MAX 86400u

const char gd_config_usage[] =
	"usage: grantiod [OPTION]...\n"
	"Serves virtio disks to Xen guests, reaching only the pages that they grant.\n"
	"\n"
	"  --config FILE      read settings from FILE: lines `key = value`, keys named as the options below,\n"
	"                     flags with yes or no; also `disk = DOMID/DEVID IMAGE` for xl's virtio= devices\n"
	"  --image-dir DIR    serve only images under DIR (may be given several times)\n"
	"  --allow-foreign D  let guest D (a domain id; or `all`) have disks with grant_usage=0: any of its memory is\n"
	"                     mapped as its requests say (may be given several times)\n"
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
	"SIGHUP looks at the images' sizes again and tries refused devices once more. SIGTERM and SIGINT stop.\n";

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

void gd_config_exit(struct gd_config *config)
{
	for (unsigned i = 0; config->image_dirs[i]; i++)
		free(config->image_dirs[i]);
	for (unsigned i = 0; i < config->disk_count; i++)
		free(config->disks[i].target);
	for (unsigned i = 0; i < config->raw_count; i++)
		free(config->raw_images[i]);
	free(config->state_dir);
	free(config->control);
	memset(config, 0, sizeof(*config));
}

const char *gd_config_disk(const struct gd_config *config, uint16_t domid, uint32_t devid)
{
	for (unsigned i = 0; i < config->disk_count; i++)
		if (config->disks[i].domid == domid && config->disks[i].devid == devid)
			return config->disks[i].target;
	return NULL;
}

bool gd_config_foreign(const struct gd_config *config, uint16_t domid)
{
	for (unsigned i = 0; i < config->foreign_count; i++)
		if (config->foreign[i] == domid)
			return true;
	return config->foreign_all;
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
static const char *set_number(const char *value, unsigned min, unsigned max, bool power, unsigned *out)
{
	uint64_t number;

	if (!gd_number(value, false, max, &number) || number < min || (power && (number & (number - 1))))
		return power ? "must be a power of two, 2 to 1024" : "must be 1 to 16";
	*out = (unsigned)number;
	return NULL;
}

static const char *set_queues(struct gd_config *config, const char *value)
{
	return set_number(value, 1, 16, false, &config->queues);
}

static const char *set_queue_size(struct gd_config *config, const char *value)
{
	return set_number(value, 2, 1024, true, &config->queue_size);
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
	uint64_t number;

	if (!gd_number(value, false, SECONDS_MAX, &number))
		return "must be 0 to 86400 seconds";
	*out = (unsigned)number;
	return NULL;
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

static const char *set_control(struct gd_config *config, const char *value)
{
	return strlen(value) > 107 ? "longer than a socket's path may be (107)" : set_text(value, &config->control);
}

static const char *set_state_dir(struct gd_config *config, const char *value)
{
	return set_text(value, &config->state_dir);
}

static const char *set_image_dir(struct gd_config *config, const char *value)
{
	unsigned used = 0;

	while (config->image_dirs[used])
		used++;
	return used == GD_CONFIG_IMAGE_DIRS ? "is one more than 16" : set_text(value, &config->image_dirs[used]);
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
	uint64_t domid;

	if (!strcmp(value, "all")) {
		config->foreign_all = true;
		return NULL;
	}
	if (!gd_number(value, false, DOMID_MAX, &domid))
		return "must be a domain id, or all";
	if (config->foreign_count == GD_CONFIG_FOREIGN)
		return "is one more than 64";
	config->foreign[config->foreign_count++] = (uint16_t)domid;
	return NULL;
}

/* "DOMID/DEVID IMAGE" */
static const char *set_disk(struct gd_config *config, const char *value)
{
	static const char wrong[] = "must be DOMID/DEVID IMAGE";
	struct gd_config_disk *disk = &config->disks[config->disk_count];
	size_t length = strcspn(value, " \t");
	const char *target = value + length + strspn(value + length, " \t");
	uint64_t domid, devid;
	char id[32], *devid_text;

	if (config->disk_count == GD_CONFIG_DISKS)
		return "is one more than 64";
	if (length >= sizeof(id) || !*target)
		return wrong;
	memcpy(id, value, length);
	id[length] = '\0';
	devid_text = strchr(id, '/');
	if (!devid_text)
		return wrong;
	*devid_text++ = '\0';
	if (!gd_number(id, false, DOMID_MAX, &domid) || !gd_number(devid_text, false, DEVID_MAX, &devid))
		return wrong;
	if (gd_config_disk(config, (uint16_t)domid, (uint32_t)devid))
		return "names a device twice";
	disk->target = strdup(target);
	if (!disk->target)
		return "no memory for it";
	disk->domid = (uint16_t)domid;
	disk->devid = (uint32_t)devid;
	config->disk_count++;
	return NULL;
}

static const struct setting {
	const char *name;
	const char *(*set)(struct gd_config *config, const char *value);
	bool flag; /* takes no value on the command line */
	bool file_only;
} settings[] = {
	{"image-dir", set_image_dir, false, false},	{"allow-foreign", set_foreign, false, false},
	{"raw-image", set_raw_image, false, false},	{"queues", set_queues, false, false},
	{"queue-size", set_queue_size, false, false},	{"indirect", set_indirect, true, false},
	{"no-discard", set_no_discard, true, false},	{"no-direct", set_no_direct, true, false},
	{"nbd-timeout", set_nbd_timeout, false, false}, {"nbd-reconnect", set_nbd_reconnect, false, false},
	{"log-level", set_level, false, false},		{"state-dir", set_state_dir, false, false},
	{"control", set_control, false, false},		{"disk", set_disk, false, true},
};

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
	message = setting->set(config, value);
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
	errno = 0;
	while (!ret && getline(&line, &size, file) >= 0)
		ret = file_line(config, path, ++number, line, error);
	if (!ret && ferror(file)) {
		ret = errno ? -errno : -EIO;
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
		if ((!setting || setting->file_only) && !flag && !argument_is(&argument, "config"))
			return fail(error, "grantiod: '%s': no such option (see --help)", argv[i]);
		ret = argument_value(&argument, flag || (setting && setting->flag), argc, argv, &i, error);
		if (ret)
			return ret;
		if (argument_is(&argument, "config")) {
			ret = file ? gd_config_file(config, argument.value, error) : 0;
			continue;
		}
		config->help |= argument_is(&argument, "help");
		config->version |= argument_is(&argument, "version");
		message = file || !setting ? NULL : setting->set(config, argument.value);
		if (message)
			ret = fail(error, "grantiod: --%.*s '%s': %s", (int)argument.length, argument.name,
				   argument.value, message);
	}
	return ret;
}

int gd_config_parse(struct gd_config *config, int argc, char **argv, char error[GD_CONFIG_ERROR])
{
	int ret = arguments(config, true, argc, argv, error);

	return ret ? ret : arguments(config, false, argc, argv, error);
}
