/* SPDX-License-Identifier: MIT */
/*
 * The backend's side of docs/xenbus.md: devices to which the toolstack gives no address (x86). Pure functions: they do
 * not use xenstore.
 *
 * We choose where the registers are, and publish it; the guest's module answers in its own directory with an event
 * channel. The guest may write anything there, at any time: the directory is read whole and checked, and a wrong value
 * leaves the device as it was.
 *
 * Threads: any. Errors: 0 or -errno, with a line in `error`.
 */
#ifndef GD_FRONT_H
#define GD_FRONT_H

#include <abi/xenbus.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/xenbus/keys.h"

#define GD_FRONT_PLACES ((GIO_XENBUS_MMIO_END - GIO_XENBUS_MMIO_BASE) / GIO_XENBUS_MMIO_STEP)

enum gd_front_key {
	GD_FRONT_KEY_STATE,
	GD_FRONT_KEY_VERSION,
	GD_FRONT_KEY_DMA,
	GD_FRONT_KEY_PORT,
	GD_FRONT_KEYS,
};
extern const char *const gd_front_key_names[GD_FRONT_KEYS];

/* The guest's directory as it was read. NULL: there is no such key. */
struct gd_front_keys {
	char *value[GD_FRONT_KEYS];
};
void gd_front_keys_free(struct gd_front_keys *keys);

struct gd_front {
	unsigned state; /* 1 to 8; 0: no directory */
	uint32_t port;	/* its event channel; not 0 in states 3 and 4, 0 in all others */
};

/* Check what was read. -EINVAL: a value is refused. */
int gd_front_parse(const struct gd_front_keys *keys, struct gd_front *out, char error[GD_KEYS_ERROR]);

/* True when registers may be at `base`: it is within the window. */
bool gd_front_place(uint64_t base);

/*
 * The place that a device of this number has if it is free. It depends on the numbers alone: a guest that was saved
 * must find its registers at the same address, in whatever order its disks are opened where it goes on.
 */
uint64_t gd_front_wish(uint16_t backend, uint32_t devid);

/*
 * A place for a device's registers: `former` if registers may be there and it is free, otherwise another free one; 0:
 * none is free. `used` are the places that are published for the guest's other devices. Each backend domain begins its
 * search elsewhere, so that two of them rarely want the same place in a guest.
 */
uint64_t gd_front_base(uint16_t backend, uint64_t former, const uint64_t *used, size_t count);

#endif
