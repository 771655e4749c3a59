/* SPDX-License-Identifier: MIT */
/*
 * When a queue's thread waits, for what, and for how long: the whole policy of batching.
 *
 * A batch costs the same few calls whether it has one request or thirty (copy in, copy out, interrupt, and what the
 * guest pays to handle the interrupt), so that deep queues gain by waiting for company. Shallow ones lose: nobody else
 * is coming. Therefore, with I/O in flight:
 *   - at most GD_WAIT_ALONE: never wait for more than one completion;
 *   - more: gather, that is wait for all of them, but not longer than a batch costs: a few microseconds for each
 *     request, GD_WAIT_GATHER_US at the most, or what an interrupt costs this guest, if that is more. Who waits as
 *     long as what the waiting may save never pays more than twice the least that was possible. A disk that answers
 *     from the page cache is through by then, and this wait is next to none. Where one completion of the ring stands
 *     for any number of I/Os (an NBD connection: "there is something to read"), it waits for that one, and again as
 *     long as time is left;
 *   - none came in that time: the disk is slow, and what a batch costs does not matter beside it. Sleep for the first
 *     completion, then gather those that come with it.
 * With nothing in flight:
 *   - the last batch was a deep one: the guest is about to fill the ring again. Nap for a moment, up to GD_WAIT_NAPS
 *     times, and look at the ring in between. That saves the guest its kick, which stops its vCPU until we answer. The
 *     guest begins when it has its interrupt, so the naps together are longer than that takes;
 *   - else sleep until it kicks.
 * While it gathers or naps the thread is as good as running: kicks stay off, new requests are seen when it is over.
 * Whenever it sleeps without a limit, kicks are on. It never spins: where guest and backend share processors, spinning
 * takes away the very time in which the guest would fill the ring.
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

#define GD_WAIT_INTERRUPT_US 1000u /* an interrupt costs no more, whatever the guest makes of it */

/*
 * At the end I/O in flight gets this long to finish, then it is cancelled: a disk that never answers (an NBD server
 * that hangs) must not keep a device from closing. Nothing of the guest is held meanwhile.
 */
#define GD_WAIT_DRAIN_MS      2000u
#define GD_WAIT_DRAIN_STEP_US 100000u

/* What the thread knows before it waits. */
struct gd_wait_state {
	unsigned inflight;     /* I/Os that the disk has */
	unsigned events;       /* completions of the ring that announce them (gd_disk_queue_events()) */
	bool more;	       /* chains wait in the ring and can be taken at once */
	bool dry;	       /* the last gathering brought nothing */
	unsigned lately;       /* requests of the last batch that was taken */
	unsigned naps;	       /* taken since then */
	unsigned interrupt_us; /* what an interrupt costs the guest (gd_wait_interrupt()); 0: not known */
};

struct gd_wait {
	unsigned completions; /* wait for so many; 0: only submit */
	unsigned timeout_us;  /* 0: without limit; the thread must be woken by kicks then */
	bool again; /* if I/O is in flight after that and time is left, wait as before for what is left of it */
};

struct gd_wait gd_wait_plan(const struct gd_wait_state *state);

/*
 * What an interrupt costs a guest: a new guess, up to GD_WAIT_INTERRUPT_US, after one took so long. Downwards fast and
 * upwards slowly, as that a vCPU did not run for a while says nothing of interrupts.
 */
unsigned gd_wait_interrupt(unsigned guess, uint64_t took_us);

#endif
