/* SPDX-License-Identifier: MIT */
/*
 * The policy of batching: when a queue's thread waits, for what, and for how long.
 *
 * A batch costs the same few calls whether it has one request or thirty: a copy in, a copy out, an interrupt, and the
 * time that the guest takes to handle that. So a deep queue gains if its thread waits for more completions. A shallow
 * queue loses, as no more are to come. Therefore, while I/O is in flight:
 *   - at most GD_WAIT_ALONE I/Os: the thread never waits for more than one completion;
 *   - more I/Os: it gathers, that is, it waits for all of them, but not longer than a batch costs. That is a few
 *     microseconds per request, at most GD_WAIT_GATHER_US, or the cost of an interrupt of this guest if that is more. A
 *     wait that is no longer than what it may save costs at most twice the optimum. A disk that answers from the page
 *     cache has done all by then, so that the wait is very short. Where one completion of the ring may stand for any
 *     number of I/Os (an NBD connection: "there is something to read"), the thread waits for that one, and again as
 *     long as time is left;
 *   - if no completion came in that time, the disk is slow, and the cost of a batch does not matter. The thread sleeps
 *     until the first completion, and then gathers those that come with it.
 * While nothing is in flight:
 *   - if the last batch was deep, the guest is about to fill the ring again. The thread naps up to GD_WAIT_NAPS times,
 *     and looks at the ring in between. That saves the guest a kick, which would stop its vCPU until we answer. The
 *     guest only begins when it has its interrupt, so the naps together are longer than an interrupt takes;
 *   - otherwise it sleeps until the guest kicks.
 * While the thread gathers or naps, kicks stay off, and it sees new requests afterwards, as if it were running.
 * With nothing in flight the thread first looks at the ring for a while if that has paid of late (look.h). So it does
 * where the guest has a processor of its own; where both share one, looking takes the time in which the guest would
 * fill the ring, does not pay, and is soon given up. Whenever the thread sleeps without a limit, kicks are on.
 */
#ifndef GD_WAIT_H
#define GD_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#define GD_WAIT_ALONE	  2u
#define GD_WAIT_EACH_US	  4u
#define GD_WAIT_GATHER_US 60u
#define GD_WAIT_DEEP	  8u
#define GD_WAIT_NAPS	  3u
#define GD_WAIT_NAP_US	  50u

#define GD_WAIT_INTERRUPT_US 1000u /* maximum cost of an interrupt: a guest decides how long it takes */

/*
 * When a device is closed, I/O in flight may take this long to finish, and is then cancelled: a disk that never answers
 * (an NBD server that hangs) must not keep a device from closing. Nothing of the guest is held meanwhile.
 */
#define GD_WAIT_DRAIN_MS      2000u
#define GD_WAIT_DRAIN_STEP_US 100000u

/* What the thread knows before it waits. */
struct gd_wait_state {
	unsigned inflight;     /* I/Os that the disk has */
	unsigned events;       /* completions of the ring that they will cause (gd_disk_queue_events()) */
	bool more;	       /* chains are available in the ring, and can be taken at once */
	bool dry;	       /* no completion came while it gathered last */
	unsigned lately;       /* requests of the last batch that was taken */
	unsigned naps;	       /* naps since then */
	unsigned interrupt_us; /* what an interrupt costs the guest (gd_wait_interrupt()); 0: not known */
};

struct gd_wait {
	unsigned completions; /* how many to wait for; 0: only submit */
	unsigned timeout_us;  /* 0: without limit; then kicks must wake the thread */
	bool again;	      /* if I/O is in flight after that, wait in the same way for the rest of the time */
};

/* What to wait for now. */
struct gd_wait gd_wait_plan(const struct gd_wait_state *state);

/*
 * What an interrupt costs a guest: the new estimate, up to GD_WAIT_INTERRUPT_US, after an interrupt took `took_us`. It
 * falls fast and rises slowly, as an interrupt also takes long if the vCPU is not running, which says nothing about its
 * cost.
 */
unsigned gd_wait_interrupt(unsigned guess, uint64_t took_us);

#endif
