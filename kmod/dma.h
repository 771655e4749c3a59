/* SPDX-License-Identifier: GPL-2.0-only */
/* What the module knows of the DMA of one device. */
#ifndef GRANTIO_KMOD_DMA_H
#define GRANTIO_KMOD_DMA_H

#include <linux/ratelimit_types.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <grantio/dma.h>
#include <grantio/pool.h>

/* DMA for one backend; it lies in the frontend's device, and outlives the platform device. */
struct gk_dma {
	struct gio_dma dma;
	u32 user;     /* of the grant table, the same each time that the device begins anew; 0: none yet */
	u32 type;     /* the virtio device must be of this type (virtio.c) */
	bool refused; /* coherent memory was refused, and the log says so */
	struct ratelimit_state complaints; /* lines that the backend can cause, however often it begins anew */
	u64 quarantined;		   /* the value that was last read from dma.stats */
	bool pooled;			   /* all data goes through the pool, and nothing else is mapped */
	struct gio_pool *pool;		   /* NULL: there is none now */
	u32 pool_pages;			   /* in it */
	struct xarray bounces;		   /* struct gk_bounce, by each of its references */
	atomic64_t bounced;		   /* how many mappings were bounced so far */
	atomic64_t pooled_maps;		   /* how many went through the pool so far */

	/* dma_ops.c: when the backend holds too much, the virtio device is broken. */
	struct device *dev;		/* that has the operations */
	struct delayed_work break_work; /* breaks it once nothing is in flight, */
	unsigned long break_by;		/* or at this time, in jiffies */
	int breaking;			/* by xchg(): the work is on its way */
	atomic_t ring_units;		/* of 4 KiB, granted as coherent memory: these are not in flight */
};

#endif
