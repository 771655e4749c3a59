/* SPDX-License-Identifier: MIT */
/*
 * The parts of a virtio-blk device (virtio 1.2, 5.2) that know nothing of rings and guest memory: features,
 * configuration space, and the meaning of a request. serve.c gives them copies of the guest's data.
 *
 * Threads: gd_blk_start() and gd_blk_next() in any queue's thread; the configuration in the transport's thread; the
 * size may change in any thread.
 */
#ifndef GD_BLK_H
#define GD_BLK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <abi/virtio_blk.h>

#include "backend/disk/disk.h"
#include "backend/blk/request.h"
#include "backend/virtio/class.h"

/* Most segments of a request's data: two more are its header and its status. */
#define GD_BLK_SEGMENTS (GD_CHAIN_SEGMENTS - 2u)
/*
 * Maximum bytes of a segment and of a request. A segment may have 64 KiB, because a guest with pages of 64 KiB refuses
 * a smaller limit; its product with SEG_MAX bounds a request, and so the buffers of a queue.
 */
#define GD_BLK_SIZE_MAX	     65536u
#define GD_BLK_REQUEST_BYTES (GD_BLK_SEGMENTS * GD_BLK_SIZE_MAX)
#define GD_BLK_RANGES	     16u	/* maximum of ranges in a DISCARD or WRITE_ZEROES */
#define GD_BLK_RANGE_SECTORS (1u << 22) /* maximum of sectors in a range: 2 GiB */

struct gd_blk {
	struct gd_class_device base;
	struct gd_disk *disk;
	struct gd_disk_info info; /* its size is not kept up to date: see `size` */
	bool writeback_first;	  /* the cache mode after a reset */

	/* Atomics. */
	uint64_t size; /* of the disk in bytes, a multiple of its block size */
	bool writeback;

	pthread_mutex_t lock; /* for the configuration space and its generation, which change together */
	uint32_t generation;
	struct gio_virtio_blk_config config;
};

/* The cache mode: writeback, or writethrough. Any thread. */
static inline bool gd_blk_writeback(const struct gd_blk *blk)
{
	return __atomic_load_n(&blk->writeback, __ATOMIC_RELAXED);
}

struct gd_blk_config {
	struct gd_disk *disk; /* consumed on success; stays the caller's on failure */
	bool writeback;	      /* the cache mode at first; the guest may change it by CONFIG_WCE */
	bool discard;	      /* offer DISCARD and WRITE_ZEROES where the engine can */
};

/*
 * A virtio-blk device on a disk, for gd_vdev_open(). 0, or -errno with a line in `error` (`size` bytes): -EINVAL where
 * the disk has sizes that virtio-blk cannot express. It is closed by gd_class_close().
 */
int gd_blk_open(struct gd_class_device **device, const struct gd_device_config *config, const struct gd_blk_config *blk,
		char *error, size_t size);
/*
 * Widen the settings to what a driver has negotiated with a former process (`features`): it goes on with these, and new
 * settings apply only to later negotiations. `discard`: the device's keys in xenstore allow it.
 */
void gd_blk_config_keep(struct gd_device_config *config, struct gd_blk_config *blk, uint64_t features, bool discard);

#endif
