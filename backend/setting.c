/* SPDX-License-Identifier: MIT */
#include "backend/setting.h"
#include "backend/base/number.h"
#include "backend/config.h"
#include "backend/rng/rng.h"
#include "backend/virtio/ledger.h"
#include "backend/virtio/look.h"

#include <abi/xen.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SECONDS_PER_DAY 86400

#define TEXT_OF(number) #number
#define TEXT(number)	TEXT_OF(number) /* of a macro that is a plain decimal number */

/* The messages, --help and grantiod(8) say these limits as numbers. */
_Static_assert(GD_LEDGER_QUEUES == 16 && GD_LEDGER_HEADS == 1024, "the limits of queues and queue-size");
_Static_assert(GIO_DEVID_MAX == 536870911, "the limit of a device number");
_Static_assert(GD_LOOK_US_MAX == 1000, "the limit of look");

static const char *const levels[] = {
	[GD_ERR] = "err", [GD_WARN] = "warn", [GD_NOTICE] = "notice", [GD_INFO] = "info", [GD_DEBUG] = "debug"};

/* ---- setters: see struct gd_setting ---------------------------------------------------------------------------- */

/* True: the value was a number from `min` to `max`. */
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
	return set_number(value, 1, GD_LEDGER_QUEUES, &config->queues) ? NULL : "must be 1 to 16";
}

static const char *set_queue_size(struct gd_config *config, const char *value)
{
	unsigned size;

	if (!set_number(value, 2, GD_LEDGER_HEADS, &size) || size & (size - 1))
		return "must be a power of two, 2 to 1024";
	config->queue_size = size;
	return NULL;
}

static const char *set_look(struct gd_config *config, const char *value)
{
	return set_number(value, 0, GD_LOOK_US_MAX, &config->look) ? NULL : "must be 0 to 1000 microseconds";
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
	return set_number(value, 0, SECONDS_PER_DAY, out) ? NULL : "must be 0 to " TEXT(SECONDS_PER_DAY) " seconds";
}

static const char *set_nbd_timeout(struct gd_config *config, const char *value)
{
	return set_seconds(value, &config->nbd_timeout);
}

static const char *set_nbd_reconnect(struct gd_config *config, const char *value)
{
	return set_seconds(value, &config->nbd_reconnect);
}

static const char *set_rng_rate(struct gd_config *config, const char *value)
{
	if (set_number(value, GD_RNG_RATE_MIN, GD_RNG_RATE_MAX, &config->rng_rate))
		return NULL;
	return "must be " TEXT(GD_RNG_RATE_MIN) " to " TEXT(GD_RNG_RATE_MAX) " bytes per second";
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

/* Without its directory every start would fail: that is a wrong setting, at which systemd does not try again. */
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
	if (!stat(value, &st) && !S_ISSOCK(st.st_mode))
		return "is there already, and is no socket";
	return set_text(value, &config->control);
}

/* A missing directory is said here, and not only when a disk is refused, or cannot be left to a successor. */
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

/* Where the next text of a NULL-terminated list goes; NULL: the list is full. */
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

	return next ? set_dir(value, next) : "is one more than " TEXT(GD_CONFIG_IMAGE_DIRS);
}

/* What stands at the path of "unix:DIR": 0 a directory, ENOENT nothing, ENOTDIR something else. */
static int nbd_look(const char *value)
{
	struct stat st;

	if (strncmp(value, "unix:", 5))
		return 0;
	if (stat(value + 5, &st))
		return errno == ENOENT ? ENOENT : 0; /* where it cannot be looked at, nothing is known */
	return S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
}

/* True for "1" to "65535", as an NBD URI has it: with no sign and no leading zero. */
static bool is_port(const char *text)
{
	uint64_t port;

	return text[0] != '0' && gd_number(text, false, UINT16_MAX, &port);
}

/*
 * True for HOST, HOST:PORT, [ADDRESS] or [ADDRESS]:PORT. Names are not looked up here: a text of this form may still
 * name no server.
 */
static bool is_server(const char *text)
{
	bool address = text[0] == '[';
	const char *host = text + address, *end = host + strcspn(host, address ? "[]/@?# \t" : ":[]/@?# \t");

	if (end == host || (address && *end != ']') || (address && !memchr(host, ':', (size_t)(end - host))))
		return false;
	end += address;
	return !*end || (*end == ':' && is_port(end + 1));
}

/* NULL, or what is wrong with the form of the text. What is not well-formed would never allow any server. */
static const char *nbd_form(const char *value)
{
	if (!strncmp(value, "tcp:", 4))
		return is_server(value + 4) ? NULL
					    : "must be tcp:HOST, tcp:HOST:PORT, tcp:[ADDRESS] or tcp:[ADDRESS]:PORT";
	if (strcmp(value, "all") && strcmp(value, "none") && strncmp(value, "unix:/", 6))
		return "must be unix:/DIR, tcp:HOST, tcp:HOST:PORT, all or none";
	return NULL;
}

/* A directory of sockets need not be there yet, since the server may make it: gd_config_remark() says so. */
static const char *set_nbd(struct gd_config *config, const char *value)
{
	char **next = text_next(config->nbd, GD_CONFIG_NBD);
	const char *message = nbd_form(value);
	int look = nbd_look(value);

	if (message)
		return message;
	if (look == ENOTDIR)
		return "is no directory";
	if (!next)
		return "is one more than " TEXT(GD_CONFIG_NBD);
	*next = strdup(value);
	if (look && *next)
		config->nbd_missing |= 1u << (next - config->nbd);
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
		return "is one more than " TEXT(GD_CONFIG_RAW);
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
		return "is one more than " TEXT(GD_CONFIG_FOREIGN);
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

/* Read "GUEST/DEVID". A guest's name may have a slash in it. */
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
	if (!*devid_text || devid_text[strspn(devid_text, "0123456789")])
		return "must be GUEST/DEVID IMAGE";
	if (!gd_number(devid_text, false, GIO_DEVID_MAX, &devid))
		return "has no device number: that is at most 536870911";
	disk->devid = (uint32_t)devid;
	return gd_alias_parse(&disk->guest, text, (size_t)(slash - text));
}

/* Read "GUEST/DEVID IMAGE". */
static const char *set_disk(struct gd_config *config, const char *value)
{
	struct gd_config_disk *disk = &config->disks[config->disk_count];
	size_t length = strcspn(value, " \t");
	const char *target = value + length + strspn(value + length, " \t"), *message;

	if (config->disk_count == GD_CONFIG_DISKS)
		return "is one more than " TEXT(GD_CONFIG_DISKS);
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

/* ---- the table -------------------------------------------------------------------------------------------------- */

enum { FLAG = GD_SETTING_FLAG, MANY = GD_SETTING_MANY, FILE_ONLY = GD_SETTING_FILE_ONLY };

static const struct gd_setting settings[] = {
	{"image-dir", set_image_dir, MANY},
	{"nbd-allow", set_nbd, MANY},
	{"allow-foreign", set_foreign, MANY},
	{"raw-image", set_raw_image, MANY},
	{"queues", set_queues, 0},
	{"queue-size", set_queue_size, 0},
	{"look", set_look, 0},
	{"indirect", set_indirect, FLAG},
	{"no-discard", set_no_discard, FLAG},
	{"no-direct", set_no_direct, FLAG},
	{"nbd-timeout", set_nbd_timeout, 0},
	{"nbd-reconnect", set_nbd_reconnect, 0},
	{"rng-rate", set_rng_rate, 0},
	{"log-level", set_level, 0},
	{"state-dir", set_state_dir, 0},
	{"control", set_control, 0},
	{"disk", set_disk, MANY | FILE_ONLY},
};

/* A file or a command line that gives a setting twice may contradict itself: that is refused. */
const char *gd_setting_set(struct gd_config *config, const struct gd_setting *setting, const char *value)
{
	unsigned bit = 1u << (setting - settings);

	if (config->given & bit && !(setting->kinds & MANY))
		return "is given twice";
	config->given |= bit;
	return setting->set(config, value);
}

const struct gd_setting *gd_setting_find(const char *name, size_t length)
{
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		if (!strncmp(settings[i].name, name, length) && !settings[i].name[length])
			return &settings[i];
	return NULL;
}
