/* SPDX-License-Identifier: GPL-2.0-only */
/* One device of the xenbus, as the frontend and its platform device know it. */
#ifndef GRANTIO_KMOD_FRONT_H
#define GRANTIO_KMOD_FRONT_H

#include <linux/platform_device.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <xen/xenbus.h>

#include "dma.h"

/* From probe to remove. */
struct gk_front {
	struct xenbus_device *xbdev;
	struct delayed_work work; /* does what the backend's state asks for; never runs twice at once */
	/* Have `work` run soon; any context. After a save, however it ended, so that a frozen driver goes on again. */
	void (*look)(struct gk_front *front);
	evtchn_port_t port;	      /* 0: none. Ours, its peer is the backend's domain */
	int irq;		      /* bound to it */
	u32 type;		      /* of virtio device, as the toolstack has it */
	u64 base;		      /* the registers, as published, and nobody else's; 0: none */
	u32 retries;		      /* of a connection for which there was no memory */
	struct platform_device *pdev; /* NULL unless connected, or frozen */
	bool frozen;		      /* by a save; its driver waits for gk_platform_revive() */
	bool kept;		      /* a second save found it so */
	int restored;		      /* xchg(): what was connected is no more */
	struct gk_dma dma;
};

#endif
