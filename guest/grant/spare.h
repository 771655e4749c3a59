/* SPDX-License-Identifier: MIT */
/*
 * Spare references: a few single ones that are free, and are taken and given back without a lock. Most buffers are one
 * page, and to cut one reference from a run, and melt it with its neighbours again, costs more than all the rest.
 *
 * Places are a ring; `top` says about where the last one was put. It is a hint: who finds it wrong looks at some places
 * beside it, and goes to the allocator after that. What is in a place is taken and put by single exchanges, so that
 * each reference has one owner.
 *
 * Threads: all functions at once. Users with different hints have different rings, as far as those go.
 */
#ifndef GRANTIO_GUEST_GRANT_SPARE_H
#define GRANTIO_GUEST_GRANT_SPARE_H

#include <grantio/types.h>

#define GIO_SPARE_RINGS	 8u
#define GIO_SPARE_PLACES 31u /* of a ring, which then has 128 bytes */

struct gio_spare_ring {
	uint32_t top;			    /* atomic */
	gio_gref_t place[GIO_SPARE_PLACES]; /* atomic; 0: empty, as no reference of a guest's own is */
};

struct gio_spare {
	struct gio_spare_ring ring[GIO_SPARE_RINGS];
};

/* False: none was found. */
bool gio_spare_take(struct gio_spare *spare, uint32_t hint, gio_gref_t *ref);
/* False: there was no place for it. */
bool gio_spare_give(struct gio_spare *spare, uint32_t hint, gio_gref_t ref);

/* Take any, from any ring: false when there is none left. */
bool gio_spare_drain(struct gio_spare *spare, gio_gref_t *ref);
/* How many there are now. */
uint32_t gio_spare_count(const struct gio_spare *spare);

#endif
