/* SPDX-License-Identifier: MIT */
/*
 * A timer of the main loop. It expires once for each time that it is set; a timer that is set again before it has
 * expired expires at the new time only.
 *
 * Threads: the loop's. Errors: 0 or -errno.
 */
#ifndef GD_TIMER_H
#define GD_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/base/loop.h"

/* The owner's memory, from gd_timer_open() to gd_timer_close(). All zeroes: it is not open. */
struct gd_timer {
	/* private */
	struct gd_loop *loop;
	struct gd_loop_source source; /* a timerfd */
	void (*expired)(void *opaque);
	void *opaque;
};

/* `expired` is called in the loop, and may set or close the timer. On failure the timer is not open. */
int gd_timer_open(struct gd_timer *timer, struct gd_loop *loop, void (*expired)(void *opaque), void *opaque);
void gd_timer_close(struct gd_timer *timer); /* does nothing when it is not open */

/* To expire `ms` milliseconds from now on. 0: at the loop's next step. */
void gd_timer_set(struct gd_timer *timer, uint64_t ms);
/* True when it has been set, and its time has not come yet. */
bool gd_timer_pending(const struct gd_timer *timer);

#endif
