/* SPDX-License-Identifier: GPL-2.0-only */
/* The virtio device behind messages: the operations by which the kernel's virtio core and its drivers reach it. */
#ifndef GRANTIO_KMOD_VDEV_H
#define GRANTIO_KMOD_VDEV_H

#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/virtio.h>
#include <linux/workqueue.h>

#include <grantio/pool.h>

#include "link.h"
#include "vqs.h"

/*
 * The device's configuration space, as it was last read. The virtio driver reads nothing else, so that a device cannot
 * make it wait, or read again and again.
 */
struct gk_config {
	spinlock_t lock;
	bool filled;
	u32 bytes;
	u32 generation; /* of the copy: counts how often it has changed */
	int untold;	/* by xchg(): it has changed since the driver was told last */
	u8 space[GIO_MSG_CONFIG_SPACE_MAX];
};

/* What is kept of a device, while its virtio device comes and goes. */
struct gk_vdev {
	struct gk_link *link;
	const struct gio_pool *pool; /* that its data go through; NULL: none */
	struct virtio_device *vdev;  /* NULL: there is none */
	struct gk_vqs vqs;
	struct gk_config config;
	u32 status;		   /* all that the driver has set */
	struct delayed_work event; /* takes what the device says unasked, */
	bool events;		   /* while this is set */
};

/* Once, before the other functions. `link` is the owner's. */
void gk_vdev_init(struct gk_vdev *v, struct gk_link *link);
/* A new connection begins, with this pool. */
void gk_vdev_begin(struct gk_vdev *v, const struct gio_pool *pool);

/*
 * Register the virtio device, of `type` and on `parent`, whose DMA operations it has. Its driver probes it before this
 * returns, and may wait for I/O in that. 0 or -errno.
 */
int gk_vdev_register(struct gk_vdev *v, struct device *parent, u32 type);
/* Take it from its driver and remove it. Does nothing where there is none. */
void gk_vdev_unregister(struct gk_vdev *v);
/* Its driver ends its I/O and lets go of the device; and it has the device again. 0 or -errno. */
int gk_vdev_freeze(struct gk_vdev *v);
int gk_vdev_restore(struct gk_vdev *v);

/* The device has said something unasked; any context. */
void gk_vdev_heard(struct gk_vdev *v);

#endif
