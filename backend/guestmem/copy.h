/* SPDX-License-Identifier: MIT */
/*
 * The copy batch: segments of many requests, moved by one GNTTABOP_copy call.
 *
 * A *piece* is what a caller adds: a guest address, a length, a local pointer, a direction, and where to note a fault.
 * A *segment* is what Xen copies: at most one page of the guest, one reference. Linux's gntdev makes of it one
 * *operation* for each local page that it touches, 16 operations a hypercall. The batch keeps all three few:
 *   - a piece is cut at the guest's page boundaries, and a cut that goes on where the last one ended joins it;
 *   - small pieces (headers, status bytes) are sorted by page: fetches from one page become one copy of the range
 *     between the first and the last byte, by way of a staging buffer; pushes to adjacent bytes become one segment;
 *   - large pieces are the caller's affair: a buffer whose offset in its page is the guest's is never split twice.
 *
 * That is said of the way by grants; where memory is reached in another way (way.h), a reference is a page number of
 * that way, and the one call is the way's.
 *
 * Faults: each piece names an int. It becomes -EFAULT when the hypervisor refuses a page of the piece (the guest's
 * fault), -EIO when the whole call failed (ours); else it is left alone. A joined segment that is refused is tried
 * again piece by piece, so that no request suffers from a neighbour's address.
 *
 * Threads: one at a time. No memory is allocated after opening.
 */
#ifndef GD_COPY_H
#define GD_COPY_H

#include <stddef.h>
#include <stdint.h>

#include <grantio/types.h>

#include "backend/guestmem/guestmem.h"

struct gd_copy;

enum gd_copy_dir { GD_COPY_FETCH /* from the guest */, GD_COPY_PUSH /* to the guest */ };

/* Pieces up to this length are joined by page. */
#define GD_COPY_SMALL 64u
/* Times a segment is tried when Xen answers GNTST_eagain (page paged out). Linux has waited before it says so. */
#define GD_COPY_TRIES 4u

/* Counted since opening; written by the batch's thread, read by any (gd_count_read). */
struct gd_copy_stats {
	uint64_t calls;	     /* xengnttab_grant_copy */
	uint64_t segments;   /* in them */
	uint64_t hypercalls; /* that Linux's gntdev makes of them */
	uint64_t bytes;
};

/* A batch of up to `segments` segments on the memory of `domid`. 0 or -errno. */
int gd_copy_open(struct gd_copy **copy, uint16_t domid, const struct gd_way *way, unsigned segments);
void gd_copy_close(struct gd_copy *copy); /* takes NULL */

/* Segments that a piece takes at most: a bound that does not need a valid address. */
unsigned gd_copy_cost(gio_dma_t addr, uint32_t length);
/* Segments that can still be added before the next gd_copy_run(). */
unsigned gd_copy_room(const struct gd_copy *copy);

/*
 * Add a piece. `local` and `fault` stay the caller's and live until gd_copy_run() returns. Length 0 is nothing.
 * -EFAULT: the address is not one (`*fault` says so too); -ENOSPC: the caller did not ask for room. Nothing is added
 * then.
 */
int gd_copy_add(struct gd_copy *copy, enum gd_copy_dir dir, gio_dma_t addr, void *local, uint32_t length, int *fault);

/* Do all that was added, in one call if nothing goes wrong, and begin anew. 0, or -errno when a call as a whole failed.
 */
int gd_copy_run(struct gd_copy *copy);

const struct gd_copy_stats *gd_copy_counters(const struct gd_copy *copy);

#endif
