/* SPDX-License-Identifier: MIT */
/*
 * The device's side of a split virtqueue (virtio 1.2, 2.7) over mapped rings.
 *
 * The rings belong to a hostile guest. Whatever is read there is read once; the device's own position in both rings is
 * kept here and never read back; nothing read is used before it was checked. What cannot be a driver's doing (an index
 * that jumps by more than the ring holds, a head or link outside the table, a chain that does not end) is -EPROTO: the
 * ring is not to be trusted any more, and the device needs a reset. A single bad request is not noticed here.
 *
 * Threads: the queue's own thread, but for opening and closing, which happen while it is not at work.
 */
#ifndef GD_RING_H
#define GD_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/guestmem/guestmem.h"
#include "backend/virtio/ledger.h"

/* What the driver wrote into the queue's registers: nothing of it is checked yet. */
struct gd_ring_layout {
	gio_dma_t desc, driver, device; /* descriptor table, available ring, used ring */
	uint32_t size;			/* entries */
	bool event_idx, indirect;	/* negotiated */
	struct gd_ledger_queue *ledger; /* the caller's, outlives the queue */
};

struct gd_ring {
	struct gd_guestmap desc, avail, used;
	uint16_t size;
	bool event_idx, indirect;
	bool armed;	     /* the guest is to kick us; without EVENT_IDX: as `flags` says */
	uint16_t next_avail; /* next available entry to look at */
	uint16_t next_used;  /* next used entry to write */
	uint16_t published;  /* what the used index says */
	struct gd_ledger_queue *ledger;
	uint16_t answered[GD_LEDGER_HEADS]; /* the heads of the entries from `published` to `next_used` */

	/* What a former process left: taken from here, before the available ring. */
	uint16_t left[GD_LEDGER_HEADS];
	uint16_t lefts, next_left;
	bool from_left; /* what gd_ring_look() counted last is there */
};

/* A descriptor, copied. */
struct gd_desc {
	gio_dma_t addr;
	uint32_t length;
	uint16_t flags, next;
};

/*
 * A ring that begins. Map the three parts: `size` must be a power of two up to `size_max`, addresses aligned (2.7).
 * -EPROTO: they are not, or the size; -EFAULT: not granted, the used ring for writing; or the system's error. Nothing
 * stays mapped then.
 */
int gd_ring_open(struct gd_ring *ring, struct gd_guestmem *mem, const struct gd_ring_layout *layout, uint32_t size_max);
/* The same for a ring that a former process served, by its ledger; -EINVAL: this is no ledger of it. */
int gd_ring_resume(struct gd_ring *ring, struct gd_guestmem *mem, const struct gd_ring_layout *layout,
		   uint32_t size_max);
void gd_ring_close(struct gd_ring *ring, struct gd_guestmem *mem);

/* How many chains wait to be taken: those that a former process left, or, by one look at the available index, the
 * others. Or -EPROTO. */
int gd_ring_look(struct gd_ring *ring);
/* The head of the first chain that waits (gd_ring_look() said that there is one), or -EPROTO. It stays first. */
int gd_ring_head(const struct gd_ring *ring);
/* Take the first `n` chains, or give the last -n back. */
void gd_ring_advance(struct gd_ring *ring, int n);
/* One that was taken is not given back any more: from here on its request is in the ledger, until it is published. */
void gd_ring_keep(struct gd_ring *ring, uint16_t head);
/* It changes the disk, which is about to get it. */
void gd_ring_change(struct gd_ring *ring, uint16_t head);

/* Copy descriptor `index`, which is below `size`. */
struct gd_desc gd_ring_desc(const struct gd_ring *ring, uint16_t index);

/*
 * Ask for a kick at the next chain. True when the ring is still empty, so that sleeping is safe; else look again.
 */
bool gd_ring_arm(struct gd_ring *ring);
/* Ask for none while we are at work. */
void gd_ring_disarm(struct gd_ring *ring);

/* Write a used entry; the guest sees it at gd_ring_publish(). At most `size` before that. */
void gd_ring_use(struct gd_ring *ring, uint16_t head, uint32_t written);
/* Show all used entries with one store of the index. True when the guest wants an interrupt for them. */
bool gd_ring_publish(struct gd_ring *ring);

#endif
