/* SPDX-License-Identifier: MIT */
/*
 * What a device answers to the messages of its driver (abi/virtio_msg.h; docs/xenbus.md has the rules): a request goes
 * in, a response comes out. This file knows neither the bus nor event channels.
 *
 * The driver chooses every value. A request that is malformed has no effect and no response; one that asks for what the
 * device does not do has the usual response and no effect.
 *
 * Threads: the transport's.
 */
#ifndef GD_HANDLE_H
#define GD_HANDLE_H

#include <stdbool.h>
#include <stdint.h>

#include <abi/virtio_msg.h>

#include "backend/virtio/vdev.h"

/* What the messages need beside the device's own state. Other versions read it in the ledger: never change a field. */
struct gd_handle_state {
	uint32_t generation; /* of the configuration space, as last saved */
	uint32_t told;	     /* the generation of which the driver knows */
	uint32_t held;	     /* not 0: a reset is not over, and the driver is told this status until it is */
	uint32_t beyond;     /* 1: the driver has chosen a feature above bit 63, which no device offers */
};

struct gd_handle {
	struct gd_vdev *vdev;
	bool straight; /* gd_handle_init() */
	uint32_t base; /* the generation is this plus the device's own */
	struct gd_handle_state state;
};

/*
 * A handler for a device; the generation begins at 0. `straight`: the disk may read and write the guest's memory
 * itself, so that a reset is over only when all I/O is.
 */
void gd_handle_init(struct gd_handle *handle, struct gd_vdev *vdev, bool straight);
/* The device's class was opened anew: go on counting generations from `state`, as one that nobody was told of. */
void gd_handle_resume(struct gd_handle *handle, struct gd_vdev *vdev, bool straight,
		      const struct gd_handle_state *state);
/* `state` becomes what a successor must know. */
void gd_handle_save(const struct gd_handle *handle, struct gd_handle_state *state);

/* Handle a message. True: `response` is to be sent; false: the message is dropped, and nothing has changed. */
bool gd_handle_request(struct gd_handle *handle, const struct gio_msg *request, struct gio_msg *response);

/* Whether the driver must be told that the configuration has changed since it last heard of its generation. */
bool gd_handle_changed(const struct gd_handle *handle);
/* Make an EVENT_CONFIG of the device's present status and generation; from now on the driver has been told. */
void gd_handle_event(struct gd_handle *handle, struct gio_msg *event);

#endif
