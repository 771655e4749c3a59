/* SPDX-License-Identifier: MIT */
/*
 * What makes the device a virtio-blk device (virtio 1.2, 5.2): features, configuration space, and what a request means.
 * Knows nothing of rings or guest memory: it is handed copies.
 *
 * Threads: gd_blk_start() and gd_blk_next() in any queue's thread; the configuration in the ioreq thread; the size may
 * change in any thread.
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

/*
 * Most bytes of a segment and of a request. 64 KiB, because a guest with 64K pages refuses a smaller limit; the product
 * with SEG_MAX bounds a request, and so the buffers of a queue.
 */
#define GD_BLK_SIZE_MAX	     65536u
#define GD_BLK_REQUEST_BYTES (GD_CHAIN_DATA_SEGMENTS * GD_BLK_SIZE_MAX)
#define GD_BLK_RANGES	     16u	/* most ranges of a DISCARD or WRITE_ZEROES */
#define GD_BLK_RANGE_SECTORS (1u << 22) /* most sectors of one: 2 GiB */

struct gd_blk {
	struct gd_disk_info info; /* but for its size */
	uint64_t features;	  /* offered */
	bool writeback_first;	  /* the cache mode after a reset */

	/* Atomics. */
	uint64_t size; /* of the disk in bytes, a multiple of its block size */
	bool writeback;

	pthread_mutex_t lock; /* of the configuration space and its generation: they change together */
	uint32_t generation;
	struct gio_virtio_blk_config config;
};

struct gd_blk_config {
	unsigned queues, queue_size;
	uint64_t features; /* that do not come from the disk: those of the way to the guest's memory */
	bool indirect, writeback, discard;
};

/* 0, or -EINVAL: sizes that virtio-blk cannot express. */
int gd_blk_init(struct gd_blk *blk, const struct gd_disk_info *info, const struct gd_blk_config *config);
void gd_blk_exit(struct gd_blk *blk);

/* Back to what it is after a reset of the device. */
void gd_blk_reset(struct gd_blk *blk);
/* The driver has chosen `features`, FEATURES_OK is about to be set: the cache mode follows (5.2.5.2, 5.2.6.2). */
void gd_blk_negotiated(struct gd_blk *blk, uint64_t features);

bool gd_blk_writeback(const struct gd_blk *blk);
void gd_blk_writeback_set(struct gd_blk *blk, bool writeback);

/* Read the configuration space: any offset and length are answered, what lies behind its end is 0. */
void gd_blk_config_read(struct gd_blk *blk, uint64_t offset, void *data, size_t length);
/* Only the cache mode can be written, and only if CONFIG_WCE was negotiated. */
void gd_blk_config_write(struct gd_blk *blk, uint64_t offset, const void *data, size_t length, uint64_t features);
uint32_t gd_blk_generation(struct gd_blk *blk);
/* The disk's size is `bytes` now. True when that changed the capacity. */
bool gd_blk_resize(struct gd_blk *blk, uint64_t bytes);

/*
 * Check a request whose header and device-readable data are there, and prepare its first I/O (request->io, all but
 * `done`). True: submit it. False: it is over, request->status and request->push say how.
 */
bool gd_blk_start(struct gd_blk *blk, struct gd_request *request);
/*
 * The I/O is done. True: there is another one, prepared like the first. False: the request is over, as above.
 */
bool gd_blk_next(struct gd_blk *blk, struct gd_request *request);

#endif
