/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The transport "msg" (docs/xenbus.md, version 2): virtio-msg over two granted pages and event channels. There is no
 * register, and no access of the guest's waits in the hypervisor for the backend.
 */
#ifndef GRANTIO_KMOD_MSG_H
#define GRANTIO_KMOD_MSG_H

#include <linux/types.h>

#include <grantio/pool.h>

#include "link.h"
#include "vdev.h"

struct gk_front;
struct gk_transport;

/* What this transport keeps of a device, in its struct gk_front. */
struct gk_msg {
	struct gk_link link; /* of this connection */
	struct gk_vdev vdev;
	u64 channels, pool_max; /* as the backend has offered */
	u32 user;		/* whose the references of all its connections are; 0: none yet */
};

extern const struct gk_transport gk_msg;

/* Whether the backend offers this transport, in a way that we speak. */
bool gk_msg_offered(const struct xenbus_device *xbdev);
/* Once, before the transport's functions. */
void gk_msg_init(struct gk_front *front);

#endif
