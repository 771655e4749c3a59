/* SPDX-License-Identifier: MIT */
/*
 * How another thread wakes the main loop. Several wake-ups that come before the loop looks are one: whoever sends one
 * leaves elsewhere what there is to do, before it sends.
 *
 * Threads: gd_wakeup_send() may be called by any; the rest is the loop's. Errors: 0 or -errno.
 */
#ifndef GD_WAKEUP_H
#define GD_WAKEUP_H

#include "backend/base/loop.h"

/* The owner's memory, from gd_wakeup_open() to gd_wakeup_close(). All zeroes: it is not open. */
struct gd_wakeup {
	/* private */
	struct gd_loop *loop;
	struct gd_loop_source source; /* an eventfd */
	void (*woken)(void *opaque);
	void *opaque;
};

/* `woken` is called in the loop. On failure the wake-up is not open. */
int gd_wakeup_open(struct gd_wakeup *wakeup, struct gd_loop *loop, void (*woken)(void *opaque), void *opaque);
/* No thread may send any more. Does nothing when it is not open. */
void gd_wakeup_close(struct gd_wakeup *wakeup);

/* Have `woken` called. Neither fails nor blocks. */
void gd_wakeup_send(struct gd_wakeup *wakeup);

#endif
