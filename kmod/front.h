/* SPDX-License-Identifier: GPL-2.0-only */
/* One device of the xenbus, as the frontend and its platform device know it. */
#ifndef GRANTIO_KMOD_FRONT_H
#define GRANTIO_KMOD_FRONT_H

#include <linux/platform_device.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <xen/xenbus.h>

#include "dma.h"

/* A device of the xenbus, from its probe to its removal. */
struct gk_front {
	struct xenbus_device *xbdev;
	struct delayed_work work; /* does what the backend's state asks for; never runs twice at once */
	/* Have `work` run soon; any context. Also called after every save, so that a frozen driver goes on again. */
	void (*look)(struct gk_front *front);
	evtchn_port_t port;	      /* our event channel to the backend's domain; 0: none */
	int irq;		      /* bound to it */
	u32 type;		      /* the type of virtio device, by the toolstack's key */
	u64 base;		      /* the published registers, reserved for us; 0: none */
	u32 retries;		      /* how often a connection found no memory */
	struct platform_device *pdev; /* NULL unless connected, or frozen */
	bool frozen;		      /* by a save; its driver waits for gk_platform_revive() */
	bool kept;		      /* a second save found it frozen already */
	int restored;		      /* by xchg(): the connection is lost and must begin anew */
	struct gk_dma dma;
};

#endif
