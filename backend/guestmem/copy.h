/* SPDX-License-Identifier: MIT */
/*
 * The copy batch: segments of many requests, moved by one GNTTABOP_copy call.
 *
 * A *piece* is what a caller adds: a guest address, a length, a local pointer, a direction, and where to note a fault.
 * A *segment* is what Xen copies: one reference, and so at most one page of the guest. Linux's gntdev makes one
 * *operation* per local page that a segment touches, and puts 16 operations into a hypercall. The batch keeps the
 * number of all three small:
 *   - a piece is cut at the guest's page boundaries, and a part that goes on where the last one ended joins it;
 *   - small pieces (headers, status bytes) are sorted by page: fetches from one page become one copy of the range
 *     between the first and the last byte, by way of a staging buffer; pushes to adjacent bytes become one segment;
 *   - large pieces are the caller's concern: a local buffer that begins at the same offset in its page as the guest's
 *     is never split twice.
 * All this is for the way by grants. Where memory is reached in another way (way.h), a reference is a page number of
 * that way, and the one call per batch is the way's.
 *
 * A piece that lies in the guest's pool (pool.h) takes part in none of this: it is moved by memcpy when it is added,
 * and costs no hypercall.
 *
 * Faults: each piece names an int. It becomes -EFAULT when the hypervisor refuses a page of the piece (the guest's
 * fault), and -EIO when the whole call failed (ours); otherwise it is left alone. A joined segment that is refused is
 * tried again piece by piece, so that no request suffers from another one's address.
 *
 * Threads: one at a time. No memory is allocated after opening.
 */
#ifndef GD_COPY_H
#define GD_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grantio/types.h>

#include "backend/guestmem/guestmem.h"

struct gd_copy;
struct gd_pool;

enum gd_copy_dir { GD_COPY_FETCH /* from the guest */, GD_COPY_PUSH /* to the guest */ };

/* Pieces up to this length are joined by page. */
#define GD_COPY_SMALL 64u
/* How often a segment is tried when Xen answers GNTST_eagain (page paged out). Linux has waited before it says so. */
#define GD_COPY_TRIES 4u

/* Counted since opening; written by the batch's thread, read by any (gd_count_read). */
struct gd_copy_stats {
	uint64_t calls;	     /* of the way: xengnttab_grant_copy() */
	uint64_t segments;   /* in these calls */
	uint64_t hypercalls; /* that Linux's gntdev makes of these calls */
	uint64_t bytes;
	uint64_t pool_bytes; /* moved by memcpy, in the guest's pool */
};

/* A batch of up to `segments` segments on the memory of `domid`. 0 or -errno. */
int gd_copy_open(struct gd_copy **copy, uint16_t domid, const struct gd_way *way, unsigned segments);
void gd_copy_close(struct gd_copy *copy); /* takes NULL */

/*
 * From now on pieces may lie in this pool, which stays the caller's and outlives its use here. NULL: there is none. It
 * has no effect where the way to memory is not by grants.
 */
void gd_copy_use_pool(struct gd_copy *copy, const struct gd_pool *pool);

/* Maximum of segments that a piece takes. The address need not be valid. */
unsigned gd_copy_cost(gio_dma_t addr, uint32_t length);
/* How many segments can still be added before the next gd_copy_run(). */
unsigned gd_copy_room(const struct gd_copy *copy);

/*
 * Add a piece. `local` and `fault` stay the caller's and live until gd_copy_run() returns. A length of 0 adds nothing.
 * -EFAULT: the address cannot be one (`*fault` says so, too); -ENOSPC: there is no room. Nothing is added then. A piece
 * in the pool is moved within this call.
 */
int gd_copy_add(struct gd_copy *copy, enum gd_copy_dir dir, gio_dma_t addr, void *local, uint32_t length, int *fault);

/* Do all copies that were added, in one call unless some have to be tried again. 0, or -errno: a call as a whole
 * failed.
 */
int gd_copy_run(struct gd_copy *copy);

/* Move a piece at once, if it lies in a mapped pool. False: nothing was moved. `length` is not 0. */
bool gd_copy_now(struct gd_copy *copy, enum gd_copy_dir dir, gio_dma_t addr, void *local, uint32_t length);
/*
 * The place of a piece in a mapped pool, for I/O that goes straight from there (GD_COPY_FETCH) or to it. NULL: it has
 * no such place, or such I/O is not allowed (gd_pool_straight()). `length` is not 0. What lies there is the guest's.
 */
void *gd_copy_place(struct gd_copy *copy, enum gd_copy_dir dir, gio_dma_t addr, uint32_t length);

/* The counters, which live as long as the batch. */
const struct gd_copy_stats *gd_copy_counters(const struct gd_copy *copy);

#endif
