/* SPDX-License-Identifier: MIT */
/*
 * The backend's side of docs/xenbus.md: what a guest answers in its own directory to what we publish in ours. Pure
 * functions: they do not use xenstore.
 *
 * By version 1 we choose where the registers are, if the toolstack has given them no address (x86), and the guest
 * answers with an event channel. By version 2 we offer messages, and it answers with two pages, event channels and its
 * pool (msg/answer.h). The guest may write anything there, at any time: what is read is checked, and a wrong value
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

#include "backend/msg/answer.h"
#include "backend/xenbus/keys.h"

#define GD_FRONT_PLACES ((GIO_XENBUS_MMIO_END - GIO_XENBUS_MMIO_BASE) / GIO_XENBUS_MMIO_STEP)

enum gd_front_key {
	GD_FRONT_KEY_STATE,
	GD_FRONT_KEY_VERSION,
	GD_FRONT_KEY_DMA,
	GD_FRONT_KEY_PORT,
	GD_FRONT_KEY_TRANSPORT, /* of version 2 from here on */
	GD_FRONT_KEY_DRAFT,
	GD_FRONT_KEY_CONNECTION,
	GD_FRONT_KEY_DRIVER_PAGE,
	GD_FRONT_KEY_DEVICE_PAGE,
	GD_FRONT_KEY_CHANNELS,
	GD_FRONT_KEY_POOL_RUNS,
	GD_FRONT_KEY_QUEUE_PORT, /* one for each event channel of queues */
	GD_FRONT_KEY_POOL_RUN = GD_FRONT_KEY_QUEUE_PORT + GIO_MSG_CHANNELS_MAX, /* one for each run of the pool */
	GD_FRONT_KEYS = GD_FRONT_KEY_POOL_RUN + GIO_POOL_RUNS_MAX,
};

#define GD_FRONT_NAME 32
/* The key's name in the guest's directory. Returns `name`. */
const char *gd_front_key_name(unsigned key, char name[GD_FRONT_NAME]);

/* The guest's directory as it was read. NULL: there is no such key. */
struct gd_front_keys {
	char *value[GD_FRONT_KEYS];
};
void gd_front_keys_free(struct gd_front_keys *keys);
/* Whether the key is of interest after all keys before it were read: so a guest cannot make us read more than needed.
 */
bool gd_front_key_wanted(const struct gd_front_keys *keys, unsigned key);

struct gd_front {
	unsigned state;		     /* 1 to 8; 0: no directory */
	unsigned version;	     /* of the protocol, 1 or 2, in states 3 and 4; 0 in all others */
	uint32_t port;		     /* version 1: its event channel; 0 otherwise */
	struct gd_msg_answer answer; /* version 2 */
};

/*
 * Check what was read. `channels` is how many event channels of queues we have offered; 0: messages were not offered.
 * -EINVAL: a value is refused; `out->state` is valid all the same, unless it is 0.
 */
int gd_front_parse(const struct gd_front_keys *keys, unsigned channels, struct gd_front *out,
		   char error[GD_KEYS_ERROR]);

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
