/* SPDX-License-Identifier: MIT */
/*
 * Registered buffers of a queue's io_uring: memory that the kernel has looked up and pinned once, and not for each I/O.
 *
 * Two kinds of memory are registered, where the system allows it and the disk makes use of it: the first pages of the
 * queue's own buffers, which are those that are used most; and the writable runs of a guest's pool, if I/O may go
 * straight there (gd_pool_straight()). A run that is granted for reading cannot be registered, as the kernel pins for
 * writing. Kernels differ in what they accept: each refusal is taken as it is, and that memory is used as any other.
 *
 * Threads: the queue's own.
 */
#ifndef GD_FIXED_H
#define GD_FIXED_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/guestmem/pool.h"

#define GD_FIXED_OWN_PAGES 64u /* of the queue's own buffers: 32 requests of 8 KiB */

struct gd_fixed {
	struct io_uring *ring; /* NULL: buffers cannot be registered */
	bool own_tried;
	struct {
		char *base; /* NULL: the slot is empty */
		uint64_t bytes;
	} slots[1 + GD_POOL_RUNS]; /* our own buffers, then the pool's runs */
};

/* Prepare a ring for registered buffers. `ring` outlives their use; NULL: there are to be none. */
void gd_fixed_open(struct gd_fixed *fixed, struct io_uring *ring);
/* Register our own buffers, at the first call. */
void gd_fixed_own(struct gd_fixed *fixed, void *base, uint64_t bytes);
/*
 * Register the pool's runs in place of those of the pool before; NULL: only give those back. What I/O in flight still
 * uses is given back when that has ended.
 */
void gd_fixed_pool(struct gd_fixed *fixed, const struct gd_pool *pool);
/* The registered buffer in which a piece of memory lies, counted from 1 on; 0: it lies in none. */
unsigned gd_fixed_find(const struct gd_fixed *fixed, const void *at, uint64_t length);

#endif
