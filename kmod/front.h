/* SPDX-License-Identifier: GPL-2.0-only */
/* One device of the xenbus, as the frontend, its transport and its platform device know it. */
#ifndef GRANTIO_KMOD_FRONT_H
#define GRANTIO_KMOD_FRONT_H

#include <linux/platform_device.h>
#include <linux/ratelimit.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <xen/xenbus.h>

#include "dma.h"
#include "msg.h"

struct gk_front;

/*
 * How the device is reached. The frontend calls these from its work item, one at a time, in this order; `freeze` and
 * `thaw` are called by platform.c, while no work runs. Errors: 0 or -errno.
 */
struct gk_transport {
	/* Read and check what the backend has published. It says itself what is wrong with it. */
	int (*offer)(struct gk_front *front);
	/*
	 * Make what the answer names: event channels, shared pages. After an error close() undoes it. -EBUSY: it may be
	 * possible later, and why it is not was said.
	 */
	int (*open)(struct gk_front *front);
	/* Write the keys of the answer, in the transaction. */
	int (*answer)(struct gk_front *front, struct xenbus_transaction xbt);
	/* The backend is connected: make the platform device, and what is on it. It says itself what is wrong. */
	int (*create)(struct gk_front *front);
	/* The backend is connected, and the platform device is there, frozen: it goes on. */
	int (*revive)(struct gk_front *front);
	/* The backend serves the device no more: what is asked of it from now on fails. It is not frozen. */
	void (*lose)(struct gk_front *front);
	/* The device is frozen, and there will be no backend: its driver goes on, and nothing works. NULL: cannot be.
	 */
	int (*abandon)(struct gk_front *front);
	/* Take the platform device from its driver, and remove it. It is not frozen. */
	void (*destroy)(struct gk_front *front);
	/* Undo open(). The platform device is gone, or frozen. Does nothing where nothing was opened. */
	void (*close)(struct gk_front *front);

	/* The guest is being saved: the device's driver ends its I/O and lets go of the device. */
	int (*freeze)(struct gk_front *front);
	/* It was not saved after all. */
	int (*thaw)(struct gk_front *front);
	/* Whether freeze() can work at all, with the driver that the device has now. */
	bool (*freezable)(struct gk_front *front);
};

/* A device of the xenbus, from its probe to its removal. */
struct gk_front {
	struct xenbus_device *xbdev;
	struct delayed_work work; /* does what the backend's state asks for; never runs twice at once */
	/* Have `work` run soon; any context. Also called after every save, so that a frozen driver goes on again. */
	void (*look)(struct gk_front *front);
	const struct gk_transport *transport; /* NULL until there is an offer */
	u32 type;			      /* the type of virtio device, by the toolstack's key */
	bool placed;			      /* its registers are, and the device tree has it, too */
	bool unsettled;			      /* the device tree's devices wait for it */
	u32 retries;			      /* how often a connection found no memory */
	bool seen;			      /* in this connection the backend was Connected */
	bool again;			      /* the device was given up, and is to be connected again */
	bool calm;			      /* `connected` says when it was connected last */
	unsigned long connected;	      /* jiffies; so is */
	unsigned long next;		      /* the time before which no connection begins */
	unsigned long pause;		      /* from the next beginning to the one after it */
	struct platform_device *pdev;	      /* NULL unless connected, or frozen */
	bool frozen;			      /* by a save; its driver waits for the transport's revive() */
	bool kept;			      /* a second save found it frozen already */
	int restored;			      /* by xchg(): the guest was; the connection must begin anew */
	int lost;			      /* by xchg(): the device was given up; the same, after a pause */
	struct gk_dma dma;

	struct gk_msg msg; /* the transport "msg" */

	/* The transport "mmio". */
	evtchn_port_t port; /* our event channel to the backend's domain; 0: none */
	int irq;	    /* bound to it */
	u64 base;	    /* the published registers, reserved for us; 0: none */
};

/* Say what the backend can have us say as often as it likes. */
#define gk_complain(front, error, ...)                                        \
	do {                                                                  \
		if (__ratelimit(&(front)->dma.complaints))                    \
			xenbus_dev_error((front)->xbdev, error, __VA_ARGS__); \
	} while (0)

#endif
