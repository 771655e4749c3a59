/* SPDX-License-Identifier: MIT */
/*
 * How long a queue's thread looks at its ring before it sleeps, while nothing is in flight.
 *
 * A chain that comes while the thread looks needs no kick, and nobody has to be woken. A look is wasted if no chain
 * comes in that time. So it is learned what pays:
 *   - what a wake-up costs on this machine, measured each time that one is seen. To look for longer than GD_LOOK_WAKES
 *     wake-ups take is never worth while: looking and then sleeping thus costs at most a small multiple of the best
 *     that somebody could do who knows the future. The setting `look` bounds it, too;
 *   - how long chains have stayed away of late (a *gap*). A look is long enough for most of the short gaps, and there
 *     is none unless most of the last gaps were short. Gaps are also learned from sleeps, so that looks come back when
 *     they would pay.
 * A queue that becomes idle costs one look. After that its thread sleeps, without any timer, and begins to look again
 * only when several chains have come shortly after one another.
 *
 * All of it is decided here, without a clock or a thread. Times are microseconds.
 */
#ifndef GD_LOOK_H
#define GD_LOOK_H

#include <stdint.h>

#define GD_LOOK_US_MAX	 1000u /* maximum of the setting */
#define GD_LOOK_WAKES	 2u    /* the guest pays for its kick about as much as we for the wake-up */
#define GD_LOOK_WAKE_US	 1000u /* maximum of what a wake-up is believed to cost */
#define GD_LOOK_TRUST	 4u    /* there are looks from this score on: a short gap adds 1, a long one takes 3 away */
#define GD_LOOK_SCORE	 8u    /* maximum */
#define GD_LOOK_YIELD_US 10u   /* other threads get the processor this often */

struct gd_look {
	unsigned most_us;  /* the setting; 0: never look */
	unsigned wake_us;  /* what a wake-up costs; 0: not known, and there are no looks */
	unsigned reach_us; /* how long a look has to be for most of the short gaps */
	unsigned score;
};

/* How long to look now; 0: not at all. */
unsigned gd_look_plan(const struct gd_look *look);
/* A chain has come `us` after the ring was found empty. */
void gd_look_gap(struct gd_look *look, uint64_t us);
/* The thread ran `us` after it was to be woken. That falls fast and rises slowly, as a processor may just be busy. */
void gd_look_wake(struct gd_look *look, uint64_t us);
/* A gap of which a wake-up was a part: without that. */
uint64_t gd_look_slept(const struct gd_look *look, uint64_t us);

#endif
