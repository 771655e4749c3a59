/* SPDX-License-Identifier: MIT */
#include "backend/base/number.h"
#include "backend/xenbus/front.h"

#include <abi/xen.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLACES_OWN 16u /* a backend begins at its domain's number times this */
#define XVD_MAJOR  202u

static const char *const names[] = {
	[GD_FRONT_KEY_STATE] = "state",
	[GD_FRONT_KEY_VERSION] = GIO_XENBUS_KEY_VERSION,
	[GD_FRONT_KEY_DMA] = GIO_XENBUS_KEY_DMA,
	[GD_FRONT_KEY_PORT] = GIO_XENBUS_KEY_PORT,
	[GD_FRONT_KEY_TRANSPORT] = GIO_XENBUS_KEY_TRANSPORT,
	[GD_FRONT_KEY_DRAFT] = GIO_XENBUS_KEY_DRAFT,
	[GD_FRONT_KEY_CONNECTION] = GIO_XENBUS_KEY_CONNECTION,
	[GD_FRONT_KEY_DRIVER_PAGE] = GIO_XENBUS_KEY_DRIVER_PAGE,
	[GD_FRONT_KEY_DEVICE_PAGE] = GIO_XENBUS_KEY_DEVICE_PAGE,
	[GD_FRONT_KEY_CHANNELS] = GIO_XENBUS_KEY_CHANNELS,
	[GD_FRONT_KEY_POOL_RUNS] = GIO_XENBUS_KEY_POOL_RUNS,
};

const char *gd_front_key_name(unsigned key, char name[GD_FRONT_NAME])
{
	if (key >= GD_FRONT_KEY_POOL_RUN)
		snprintf(name, GD_FRONT_NAME, GIO_XENBUS_KEY_POOL_RUN, key - GD_FRONT_KEY_POOL_RUN);
	else if (key >= GD_FRONT_KEY_QUEUE_PORT)
		snprintf(name, GD_FRONT_NAME, GIO_XENBUS_KEY_QUEUE_PORT, key - GD_FRONT_KEY_QUEUE_PORT);
	else
		snprintf(name, GD_FRONT_NAME, "%s", names[key]);
	return name;
}

void gd_front_keys_free(struct gd_front_keys *keys)
{
	for (unsigned i = 0; i < GD_FRONT_KEYS; i++) {
		free(keys->value[i]);
		keys->value[i] = NULL;
	}
}

/* A number from 1 to `max`. */
static bool number(const char *value, uint64_t max, uint64_t *out)
{
	return value && gd_number(value, false, max, out) && *out;
}

static bool is_number(const struct gd_front_keys *keys, unsigned key, uint64_t value)
{
	uint64_t is;

	return keys->value[key] && gd_number(keys->value[key], false, UINT32_MAX, &is) && is == value;
}

/* Whether the guest has answered: only then do its other keys mean anything. */
static bool answered(const struct gd_front_keys *keys)
{
	return is_number(keys, GD_FRONT_KEY_STATE, GD_STATE_INITIALISED) ||
	       is_number(keys, GD_FRONT_KEY_STATE, GD_STATE_CONNECTED);
}

/* How many keys are numbered from 0 on, by the value of the key `of`: 0 where that is no number up to `max`. */
static uint64_t numbered(const struct gd_front_keys *keys, unsigned of, uint64_t max)
{
	uint64_t count = 0;

	return number(keys->value[of], max, &count) ? count : 0;
}

bool gd_front_key_wanted(const struct gd_front_keys *keys, unsigned key)
{
	if (key == GD_FRONT_KEY_STATE)
		return true;
	if (!answered(keys))
		return false;
	if (key <= GD_FRONT_KEY_PORT)
		return true;
	if (!is_number(keys, GD_FRONT_KEY_VERSION, GIO_XENBUS_VERSION_MSG))
		return false;
	if (key >= GD_FRONT_KEY_POOL_RUN)
		return key - GD_FRONT_KEY_POOL_RUN < numbered(keys, GD_FRONT_KEY_POOL_RUNS, GIO_POOL_RUNS_MAX);
	if (key >= GD_FRONT_KEY_QUEUE_PORT)
		return key - GD_FRONT_KEY_QUEUE_PORT < numbered(keys, GD_FRONT_KEY_CHANNELS, GIO_MSG_CHANNELS_MAX);
	return true;
}

/* ---- what the guest has answered -------------------------------------------------------------------------------- */

struct check {
	const struct gd_front_keys *keys;
	struct gd_front *out;
	char *error;
};

/* The value is the guest's: it is cut and made printable, as it is written to a log. */
__attribute__((format(printf, 3, 4))) static int refuse(const struct check *check, unsigned key, const char *must, ...)
{
	char shown[36], name[GD_FRONT_NAME]; /* the guest may write anything there */
	const char *value = check->keys->value[key];
	va_list args;
	int length;

	gd_keys_show(value ? value : "", shown, sizeof(shown));
	length = snprintf(check->error, GD_KEYS_ERROR, "the guest's %s '%s': must be ", gd_front_key_name(key, name),
			  shown);
	va_start(args, must);
	vsnprintf(check->error + length, GD_KEYS_ERROR - (size_t)length, must, args);
	va_end(args);
	return -EINVAL;
}

static int check_word(const struct check *check, unsigned key, const char *word)
{
	const char *value = check->keys->value[key];

	return value && !strcmp(value, word) ? 0 : refuse(check, key, "%s", word);
}

static int check_port(const struct check *check, unsigned key, uint32_t *port)
{
	uint64_t value = 0;

	if (!number(check->keys->value[key], GIO_PORTS_MAX - 1, &value))
		return refuse(check, key, "a port, 1 to 131071");
	*port = (uint32_t)value;
	return 0;
}

static int check_page(const struct check *check, unsigned key, uint32_t *ref)
{
	uint64_t value = 0;

	if (!number(check->keys->value[key], UINT32_MAX, &value) || value < GIO_POOL_GREF_MIN)
		return refuse(check, key, "a grant reference, at least %u", GIO_POOL_GREF_MIN);
	*ref = (uint32_t)value;
	return 0;
}

static int check_connection(const struct check *check, uint64_t *connection)
{
	const char *value = check->keys->value[GD_FRONT_KEY_CONNECTION];

	if (!value || strlen(value) != 16 || strspn(value, "0123456789abcdefABCDEF") != 16)
		return refuse(check, GD_FRONT_KEY_CONNECTION, "16 hexadecimal digits");
	*connection = strtoull(value, NULL, 16);
	return 0;
}

static int check_dma(const struct check *check, bool *only)
{
	*only = check->keys->value[GD_FRONT_KEY_DMA] &&
		!strcmp(check->keys->value[GD_FRONT_KEY_DMA], GIO_XENBUS_DMA_POOL);
	if (*only || !check_word(check, GD_FRONT_KEY_DMA, GIO_XENBUS_DMA_GRANT))
		return 0;
	return refuse(check, GD_FRONT_KEY_DMA, "grant or pool");
}

/* The ports of queues differ from each other and from that of messages. */
static int check_channels(const struct check *check, unsigned channels)
{
	struct gd_msg_answer *answer = &check->out->answer;
	int err = 0;

	answer->channels = (unsigned)numbered(check->keys, GD_FRONT_KEY_CHANNELS, channels);
	if (!answer->channels)
		return refuse(check, GD_FRONT_KEY_CHANNELS, "1 to %u", channels);
	for (unsigned i = 0; !err && i < answer->channels; i++) {
		err = check_port(check, GD_FRONT_KEY_QUEUE_PORT + i, &answer->ports[i]);
		if (!err && answer->ports[i] == answer->port)
			err = refuse(check, GD_FRONT_KEY_QUEUE_PORT + i, "another port than that of messages");
		for (unsigned other = 0; !err && other < i; other++)
			if (answer->ports[i] == answer->ports[other])
				err = refuse(check, GD_FRONT_KEY_QUEUE_PORT + i, "another port than queue %u has",
					     other);
	}
	return err;
}

/* FIRST:COUNT:r or FIRST:COUNT:w. How the runs lie to each other is gd_pool_map()'s to check. */
static int check_run(const struct check *check, unsigned key, struct gd_pool_run *run)
{
	const char *value = check->keys->value[key];
	char first[12], count[12], mode[2];
	uint64_t from = 0, pages = 0;

	if (!value || sscanf(value, "%11[0-9]:%11[0-9]:%1[rw]", first, count, mode) != 3 ||
	    strlen(value) != strlen(first) + strlen(count) + 3 || !number(first, UINT32_MAX, &from) ||
	    !number(count, GIO_POOL_RUN_MAX, &pages) || from < GIO_POOL_GREF_MIN || from + pages - 1 > UINT32_MAX)
		return refuse(check, key, "FIRST:COUNT:r or :w, from %u on, at most %u pages", GIO_POOL_GREF_MIN,
			      GIO_POOL_RUN_MAX);
	*run = (struct gd_pool_run){.first = (uint32_t)from, .count = (uint32_t)pages, .write = mode[0] == 'w'};
	return 0;
}

static int check_pool(const struct check *check)
{
	const char *runs = check->keys->value[GD_FRONT_KEY_POOL_RUNS];
	struct gd_msg_answer *answer = &check->out->answer;
	uint64_t count = 0;
	int err = 0;

	if (runs && !gd_number(runs, false, GIO_POOL_RUNS_MAX, &count))
		return refuse(check, GD_FRONT_KEY_POOL_RUNS, "0 to %u", GIO_POOL_RUNS_MAX);
	answer->runs = (unsigned)count;
	for (unsigned i = 0; !err && i < answer->runs; i++)
		err = check_run(check, GD_FRONT_KEY_POOL_RUN + i, &answer->run[i]);
	return err;
}

static int check_pages(const struct check *check)
{
	struct gd_msg_answer *answer = &check->out->answer;
	int err = check_page(check, GD_FRONT_KEY_DRIVER_PAGE, &answer->driver_page);

	if (!err)
		err = check_page(check, GD_FRONT_KEY_DEVICE_PAGE, &answer->device_page);
	if (!err && answer->driver_page == answer->device_page)
		err = refuse(check, GD_FRONT_KEY_DEVICE_PAGE, "another page than the driver's");
	return err;
}

static int version_2(const struct check *check, unsigned channels)
{
	int err = check_word(check, GD_FRONT_KEY_TRANSPORT, GIO_XENBUS_TRANSPORT_MSG);

	if (!err)
		err = check_word(check, GD_FRONT_KEY_DRAFT, GIO_MSG_DRAFT);
	if (!err)
		err = check_connection(check, &check->out->answer.connection);
	if (!err)
		err = check_dma(check, &check->out->answer.only);
	if (!err)
		err = check_pages(check);
	if (!err)
		err = check_port(check, GD_FRONT_KEY_PORT, &check->out->answer.port);
	if (!err)
		err = check_channels(check, channels);
	return err ? err : check_pool(check);
}

static int version_1(const struct check *check)
{
	int err = check_word(check, GD_FRONT_KEY_DMA, GIO_XENBUS_DMA_GRANT);

	return err ? err : check_port(check, GD_FRONT_KEY_PORT, &check->out->port);
}

int gd_front_parse(const struct gd_front_keys *keys, unsigned channels, struct gd_front *out, char error[GD_KEYS_ERROR])
{
	const struct check check = {keys, out, error};
	uint64_t value = 0;
	int err;

	*out = (struct gd_front){0};
	if (!keys->value[GD_FRONT_KEY_STATE])
		return 0;
	if (!number(keys->value[GD_FRONT_KEY_STATE], GD_STATE_MAX, &value))
		return refuse(&check, GD_FRONT_KEY_STATE, "1 to 8");
	out->state = (unsigned)value;
	if (!answered(keys))
		return 0;
	out->version = GIO_XENBUS_VERSION;
	if (channels && is_number(keys, GD_FRONT_KEY_VERSION, GIO_XENBUS_VERSION_MSG))
		out->version = GIO_XENBUS_VERSION_MSG;
	else if (!is_number(keys, GD_FRONT_KEY_VERSION, GIO_XENBUS_VERSION))
		return refuse(&check, GD_FRONT_KEY_VERSION, channels ? "1 or 2" : "1");
	err = out->version == GIO_XENBUS_VERSION ? version_1(&check) : version_2(&check, channels);
	if (err)
		out->port = 0;
	return err;
}

/* ---- where registers are ----------------------------------------------------------------------------------------- */

static bool is_used(uint64_t base, const uint64_t *used, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (used[i] == base)
			return true;
	return false;
}

bool gd_front_place(uint64_t base)
{
	return base >= GIO_XENBUS_MMIO_BASE && base < GIO_XENBUS_MMIO_END && base % GIO_XENBUS_MMIO_STEP == 0;
}

/* xl numbers disks by their letter (xen-vbd-interface(7)): that is what is counted. Other numbers stay as they are. */
static uint32_t device_count(uint32_t devid)
{
	if (devid >> 28 == 1)
		return devid >> 8 & 0xfffff;
	return devid >> 8 == XVD_MAJOR ? devid >> 4 & 0xf : devid;
}

uint64_t gd_front_wish(uint16_t backend, uint32_t devid)
{
	unsigned place = backend * PLACES_OWN + device_count(devid) % PLACES_OWN;

	return GIO_XENBUS_MMIO_BASE + place % GD_FRONT_PLACES * GIO_XENBUS_MMIO_STEP;
}

uint64_t gd_front_base(uint16_t backend, uint64_t former, const uint64_t *used, size_t count)
{
	if (gd_front_place(former) && !is_used(former, used, count))
		return former;
	for (unsigned i = 0; i < GD_FRONT_PLACES; i++) {
		uint64_t base =
			GIO_XENBUS_MMIO_BASE + (backend * PLACES_OWN + i) % GD_FRONT_PLACES * GIO_XENBUS_MMIO_STEP;

		if (!is_used(base, used, count))
			return base;
	}
	return 0;
}
