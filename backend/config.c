/* SPDX-License-Identifier: MIT */
#include "backend/base/error.h"
#include "backend/config.h"
#include "backend/disk/disk.h"
#include "backend/setting.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char gd_config_usage[] =
	"usage: grantiod [OPTION]...\n"
	"Serves virtio disks and random numbers to Xen guests, reaching only the pages that they grant.\n"
	"\n"
	"  --config FILE      read settings from FILE: lines `key = value`, keys named as the options below,\n"
	"                     flags with yes or no; also `disk = GUEST/DEVID IMAGE` for xl's virtio= devices\n"
	"  --image-dir DIR    serve only images under DIR (may be given several times)\n"
	"  --nbd-allow WHAT   use NBD servers of WHAT: unix:DIR (sockets under DIR), tcp:HOST[:PORT], all or none\n"
	"                     (may be given several times); default: all without --image-dir, none with it\n"
	"  --allow-foreign G  let guest G (its name, UUID or domain id; or `all`) have disks with grant_usage=0:\n"
	"                     any of its memory is mapped as its requests say (may be given several times)\n"
	"  --raw-image IMAGE  serve IMAGE (or `all`) as raw data, even if it looks like one of another format,\n"
	"                     which is refused otherwise (may be given several times)\n"
	"  --queues N         request queues to offer for each disk, 1 to 16 (default 4)\n"
	"  --queue-size N     descriptors per queue, a power of two, 2 to 1024 (default 256)\n"
	"  --look N           look for a queue's next request for up to N microseconds before its thread sleeps, if\n"
	"                     that has paid of late, 0 to 1000 (default 100; 0: sleep at once)\n"
	"  --indirect         offer indirect descriptors\n"
	"  --no-discard       offer neither discard nor write-zeroes\n"
	"  --no-direct        use the page cache instead of O_DIRECT\n"
	"  --nbd-timeout N    give an NBD server's connection up when a request has no answer for N seconds\n"
	"                     (default 0: never)\n"
	"  --nbd-reconnect N  fail requests when their NBD server has been away for N seconds (default 5; 0: never)\n"
	"  --rng-rate N       random bytes per second for each virtio-rng device, 1024 to 1073741824 (default "
	"1048576)\n"
	"  --log-level LEVEL  err, warn, notice, info or debug (default info)\n"
	"  --state-dir DIR    keep in DIR what the next grantiod needs to go on with the disks of this one\n"
	"  --control PATH     answer `stats` and `refresh` on a Unix socket at PATH\n"
	"  --version          print the version\n"
	"  --help             print this\n"
	"\n"
	"SIGHUP reads the settings again, for disks that are opened from then on, looks at the images' sizes,\n"
	"and tries refused devices once more. SIGTERM and SIGINT stop.\n";

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
	config->look = GD_CONFIG_LOOK;
	config->discard = true;
	config->direct = true;
	config->nbd_timeout = GD_DISK_NBD_TIMEOUT_MS / 1000;
	config->nbd_reconnect = GD_DISK_NBD_RECONNECT_MS / 1000;
	config->rng_rate = GD_CONFIG_RNG_RATE;
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

void gd_config_remark(const struct gd_config *config)
{
	for (unsigned i = 0; i < GD_CONFIG_NBD; i++)
		if (config->nbd_missing >> i & 1)
			gd_log(NULL, GD_WARN,
			       "nbd-allow '%s': there is no such directory: until it is made, no NBD server can be "
			       "used there",
			       config->nbd[i]);
}

bool gd_config_raw(const struct gd_config *config, const char *target)
{
	for (unsigned i = 0; i < config->raw_count; i++)
		if (!strcmp(config->raw_images[i], target))
			return true;
	return config->raw_all;
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
	const struct gd_setting *setting;
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
	setting = gd_setting_find(key, strlen(key));
	if (!setting)
		return fail(error, "%s:%u: %s '%s': unknown setting", path, number, key, value);
	message = gd_setting_set(config, setting, value);
	return message ? fail(error, "%s:%u: %s '%s': %s", path, number, key, value, message) : 0;
}

int gd_config_file(struct gd_config *config, const char *path, char error[GD_CONFIG_ERROR])
{
	FILE *file = fopen(path, "re");
	unsigned number = 0;
	char *line = NULL;
	size_t size = 0;
	ssize_t length;
	int err = 0;

	if (!file) {
		err = -errno;
		fail(error, "grantiod: --config '%s': %s", path, strerror(-err));
		return err;
	}
	config->given = 0;
	errno = 0;
	while (!err && (length = getline(&line, &size, file)) >= 0) {
		number++;
		if (strlen(line) == (size_t)length)
			err = file_line(config, path, number, line, error);
		else /* as after a crash of the host: what stands behind it must not be passed over in silence */
			err = fail(error, "%s:%u: has a NUL byte, so the file is damaged", path, number);
	}
	if (!err && ferror(file)) {
		err = gd_errno_or(EIO);
		fail(error, "grantiod: --config '%s': %s", path, strerror(-err));
	}
	free(line);
	fclose(file);
	return err;
}

/* One argument of the command line: its name's length, and its value behind '=' or in the next argument. */
struct argument {
	const char *name, *value;
	size_t length;
};

/*
 * Find the value of argument `*index`, unless it is a `flag`, which takes none. `*index` steps over a value that is an
 * argument of its own.
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

/* Read the arguments. `file`: only --config, as its file comes first; otherwise: all but --config. */
static int arguments(struct gd_config *config, bool file, int argc, char **argv, char *error)
{
	int err = 0;

	for (int i = 1; i < argc && !err; i++) {
		struct argument argument = {.name = argv[i] + 2};
		const struct gd_setting *setting;
		const char *message;
		bool flag;

		if (strncmp(argv[i], "--", 2))
			return fail(error, "grantiod: '%s': no such argument (see --help)", argv[i]);
		argument.length = strcspn(argument.name, "=");
		setting = gd_setting_find(argument.name, argument.length);
		flag = argument_is(&argument, "help") || argument_is(&argument, "version");
		if ((!setting || setting->kinds & GD_SETTING_FILE_ONLY) && !flag && !argument_is(&argument, "config"))
			return fail(error, "grantiod: '%s': no such option (see --help)", argv[i]);
		err = argument_value(&argument, flag || (setting && setting->kinds & GD_SETTING_FLAG), argc, argv, &i,
				     error);
		if (err)
			return err;
		if (argument_is(&argument, "config")) {
			err = file ? gd_config_file(config, argument.value, error) : 0;
			continue;
		}
		config->help |= argument_is(&argument, "help");
		config->version |= argument_is(&argument, "version");
		message = file || !setting ? NULL : gd_setting_set(config, setting, argument.value);
		if (message)
			err = fail(error, "grantiod: --%.*s '%s': %s", (int)argument.length, argument.name,
				   argument.value, message);
	}
	return err;
}

int gd_config_parse(struct gd_config *config, int argc, char **argv, char error[GD_CONFIG_ERROR])
{
	int err = arguments(config, true, argc, argv, error);

	config->given = 0;
	return err ? err : arguments(config, false, argc, argv, error);
}

int gd_config_new(struct gd_config **out, int argc, char **argv, char error[GD_CONFIG_ERROR])
{
	struct gd_config *config = malloc(sizeof(*config));
	int err;

	if (!config) {
		fail(error, "grantiod: %s", strerror(ENOMEM));
		return -ENOMEM;
	}
	gd_config_init(config);
	config->holders = 1;
	err = gd_config_parse(config, argc, argv, error);
	if (err)
		gd_config_drop(config);
	else
		*out = config;
	return err;
}

/* To hold settings does not change what they say: so they may be constant. */
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
