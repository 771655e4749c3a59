/* SPDX-License-Identifier: MIT */
/*
 * The device's side of a split virtqueue (virtio 1.2, 2.7) over mapped rings.
 *
 * The rings belong to a hostile guest. Each value is read once, and checked before it is used; the device's own
 * position in both rings is kept here, and never read back. What no driver does (an index that jumps by more than the
 * ring holds, a head or link outside the table, a chain that does not end) is -EPROTO: the ring cannot be trusted any
 * more, and the device needs a reset. The content of a request is not looked at here.
 *
 * Threads: the queue's own thread, except for opening and closing, which happen while that is not at work.
 */
#ifndef GD_RING_H
#define GD_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/guestmem/guestmem.h"
#include "backend/guestmem/pool.h"
#include "backend/virtio/ledger.h"

/* What the driver wrote into the queue's registers. Nothing of it is checked yet. */
struct gd_ring_layout {
	gio_dma_t desc, driver, device; /* descriptor table, available ring, used ring */
	uint32_t size;			/* entries */
	bool event_idx, indirect;	/* negotiated */
	struct gd_ledger_queue *ledger; /* the caller's, outlives the queue */
	const struct gd_pool *pool;	/* where the chains' buffers lie; NULL: anywhere. It outlives the ring's I/O */
};

struct gd_ring {
	struct gd_guestmap desc, avail, used;
	uint16_t size;
	bool event_idx, indirect;
	bool armed;	     /* we asked the guest for a kick; without EVENT_IDX: `flags` says so */
	uint16_t next_avail; /* the next available entry to look at */
	uint16_t next_used;  /* the next used entry to write */
	uint16_t published;  /* the used index that the guest sees */
	struct gd_ledger_queue *ledger;
	const struct gd_pool *pool;
	uint16_t answered[GD_LEDGER_HEADS]; /* the heads of the entries from `published` to `next_used` */

	/* Heads that a former process left: they are taken before those in the available ring. */
	uint16_t left[GD_LEDGER_HEADS];
	uint16_t lefts, next_left;
	bool from_left; /* the chains that gd_ring_look() counted last are in `left` */
};

/* A descriptor, copied. */
struct gd_desc {
	gio_dma_t addr;
	uint32_t length;
	uint16_t flags, next;
};

/*
 * Open a ring that begins: map its three parts. -EPROTO: the size is no power of two up to `size_max`, or an address is
 * not aligned (2.7); -EFAULT: a part is not granted, or the used ring not for writing; others are the system's. Nothing
 * stays mapped then.
 */
int gd_ring_open(struct gd_ring *ring, struct gd_guestmem *mem, const struct gd_ring_layout *layout, uint32_t size_max);
/* The same for a ring that a former process served, by its ledger. -EINVAL: the ledger is not of this ring. */
int gd_ring_resume(struct gd_ring *ring, struct gd_guestmem *mem, const struct gd_ring_layout *layout,
		   uint32_t size_max);
void gd_ring_close(struct gd_ring *ring, struct gd_guestmem *mem);

/*
 * How many chains can be taken: those that a former process left, or else those that are available, by one look at the
 * available index. Or -EPROTO.
 */
int gd_ring_look(struct gd_ring *ring);
/* The head of the first chain, if gd_ring_look() said that there is one, or -EPROTO. The chain is not taken. */
int gd_ring_head(const struct gd_ring *ring);
/* Take the first `n` chains, or give the last -n back. */
void gd_ring_advance(struct gd_ring *ring, int n);
/* A chain that was taken will not be given back: its request is in the ledger from now on, until it is published. */
void gd_ring_keep(struct gd_ring *ring, uint16_t head);
/* The request changes the disk, which is about to get it. */
void gd_ring_change(struct gd_ring *ring, uint16_t head);

/* Copy descriptor `index`, which is below `size`. */
struct gd_desc gd_ring_desc(const struct gd_ring *ring, uint16_t index);

/*
 * Ask for a kick at the next chain. True: the ring is still empty, and it is safe to sleep. False: look again.
 */
bool gd_ring_arm(struct gd_ring *ring);
/* Whether chains are available, as a hint: nothing is checked, and no kick is asked for. */
bool gd_ring_waiting(const struct gd_ring *ring);
/* Ask for no kicks, while the thread is at work. */
void gd_ring_disarm(struct gd_ring *ring);

/* Write a used entry, which the guest sees after gd_ring_publish(). At most `size` entries before that. */
void gd_ring_use(struct gd_ring *ring, uint16_t head, uint32_t written);
/* Show all used entries, by one store of the index. True: the guest wants an interrupt for them. */
bool gd_ring_publish(struct gd_ring *ring);

#endif
