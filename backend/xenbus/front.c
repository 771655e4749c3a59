/* SPDX-License-Identifier: MIT */
#include "backend/base/number.h"
#include "backend/xenbus/front.h"

#include <abi/xen.h>

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLACES_OWN 16u /* a backend begins at its domain's number times this */
#define XVD_MAJOR  202u

const char *const gd_front_key_names[GD_FRONT_KEYS] = {
	[GD_FRONT_KEY_STATE] = "state",
	[GD_FRONT_KEY_VERSION] = GIO_XENBUS_KEY_VERSION,
	[GD_FRONT_KEY_DMA] = GIO_XENBUS_KEY_DMA,
	[GD_FRONT_KEY_PORT] = GIO_XENBUS_KEY_PORT,
};

void gd_front_keys_free(struct gd_front_keys *keys)
{
	for (unsigned i = 0; i < GD_FRONT_KEYS; i++) {
		free(keys->value[i]);
		keys->value[i] = NULL;
	}
}

/* The value is the guest's: it is cut and made printable, as it is written to a log. */
static int refuse(char *error, enum gd_front_key key, const char *value, const char *must)
{
	char shown[36]; /* the guest may write anything there */

	gd_keys_show(value ? value : "", shown, sizeof(shown));
	snprintf(error, GD_KEYS_ERROR, "the guest's %s '%s': must be %s", gd_front_key_names[key], shown, must);
	return -EINVAL;
}

/* A number from 1 to `max`. */
static bool number(const char *value, uint64_t max, uint64_t *out)
{
	return value && gd_number(value, false, max, out) && *out;
}

int gd_front_parse(const struct gd_front_keys *keys, struct gd_front *out, char error[GD_KEYS_ERROR])
{
	const char *state = keys->value[GD_FRONT_KEY_STATE], *version = keys->value[GD_FRONT_KEY_VERSION];
	const char *dma = keys->value[GD_FRONT_KEY_DMA], *port = keys->value[GD_FRONT_KEY_PORT];
	uint64_t value = 0;

	*out = (struct gd_front){0};
	if (!state)
		return 0;
	if (!number(state, GD_STATE_MAX, &value))
		return refuse(error, GD_FRONT_KEY_STATE, state, "1 to 8");
	out->state = (unsigned)value;
	if (out->state != GD_STATE_INITIALISED && out->state != GD_STATE_CONNECTED)
		return 0;
	if (!number(version, UINT32_MAX, &value) || value != GIO_XENBUS_VERSION)
		return refuse(error, GD_FRONT_KEY_VERSION, version, "1");
	if (!dma || strcmp(dma, GIO_XENBUS_DMA_GRANT))
		return refuse(error, GD_FRONT_KEY_DMA, dma, "grant");
	if (!number(port, GIO_PORTS_MAX - 1, &value))
		return refuse(error, GD_FRONT_KEY_PORT, port, "a port, 1 to 131071");
	out->port = (uint32_t)value;
	return 0;
}

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
