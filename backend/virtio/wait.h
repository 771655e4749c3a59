/* SPDX-License-Identifier: MIT */
/*
 * When a queue's thread waits, for what, and for how long: the whole policy of batching completions.
 *
 * A batch costs the same few calls whether it has one request or thirty (copy in, copy out, interrupt, and what the
 * guest pays to handle the interrupt), so that deep queues gain by waiting for company. Shallow ones lose: nobody else
 * is coming. Therefore:
 *   - at most GD_WAIT_ALONE in flight: never wait for more than one completion;
 *   - more: wait until most of them are there, GD_WAIT_GATHER_US at the most. Disks that answer from the page cache
 *     complete within the submitting call, and this wait is then none at all;
 *   - none came in that time: the disk is slow, and a batch of one costs nothing that matters beside it. Sleep for the
 *     first completion, then gather again for those that come with it.
 * While it gathers the thread is as good as running: the guest's kicks stay off, new requests are seen when it is over.
 * Whenever it sleeps without a limit, kicks are on. It never spins: with few processors it would spin away the very
 * time in which the guest would fill the ring.
 */
#ifndef GD_WAIT_H
#define GD_WAIT_H

#include <stdbool.h>

#define GD_WAIT_ALONE	  2u
#define GD_WAIT_GATHER_US 60u

/* What the thread knows before it waits. */
struct gd_wait_state {
	unsigned inflight; /* I/Os that the disk has */
	bool more;	   /* chains wait in the ring and can be taken at once */
	bool dry;	   /* the last gathering brought nothing */
};

struct gd_wait {
	unsigned completions; /* wait for so many; 0: only submit */
	unsigned timeout_us;  /* 0: without limit; the thread must be woken by kicks then */
};

struct gd_wait gd_wait_plan(const struct gd_wait_state *state);

#endif
