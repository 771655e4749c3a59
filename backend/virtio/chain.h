/* SPDX-License-Identifier: MIT */
/*
 * A descriptor chain, walked and copied: after that the guest's descriptors are not looked at again.
 *
 * A chain that cannot be followed in the ring's own table (a link outside it, a loop, an indirect descriptor that was
 * not negotiated) breaks the ring: -EPROTO. Any other fault of a chain (too long, readable after writable, a bad
 * indirect table) only makes its request fail, and `why` says what it is. virtio 1.2, 2.7.4 and 2.7.5.
 */
#ifndef GD_CHAIN_H
#define GD_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/virtio/ring.h"

/* Maximum of segments in a chain, of any class. */
#define GD_CHAIN_SEGMENTS 128u
/* Bytes of the longest indirect table. */
#define GD_CHAIN_TABLE_BYTES (GD_CHAIN_SEGMENTS * 16u)

struct gd_segment {
	gio_dma_t addr;
	uint32_t length;
};

struct gd_chain {
	const char *why;	     /* what is wrong with it, or NULL */
	uint32_t readable, writable; /* numbers of segments; the readable ones come first */
	uint64_t readable_bytes, writable_bytes;
	struct gd_segment last;	 /* the last writable segment, even of a bad chain; length 0: there is none */
	struct gd_segment table; /* the indirect table in which the chain goes on; length 0: none */
	struct gd_segment segments[GD_CHAIN_SEGMENTS];
};

/* Walk the chain at `head` (below the ring's size) in the ring's table. 0 or -EPROTO. */
int gd_chain_walk(struct gd_chain *chain, const struct gd_ring *ring, uint16_t head);

/* Go on in the indirect table: `entries` is our copy of chain->table, chain->table.length bytes. */
void gd_chain_walk_table(struct gd_chain *chain, const void *entries);

/*
 * Where the status byte is: it is the last byte of the last writable segment, whatever else is in that (2.7.4). False:
 * the chain has no such byte, or it cannot be written.
 */
bool gd_chain_status(const struct gd_chain *chain, const struct gd_way *way, gio_dma_t *addr);

#endif
