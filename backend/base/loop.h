/* SPDX-License-Identifier: MIT */
/*
 * The main thread's event loop: file descriptors, and what is called when they are ready. Nothing that it calls may
 * block, as all devices share it. No guest waits for it directly: register accesses are answered by threads of their
 * own (xen/ioreq.h). Timers are in timer.h, wake-ups by other threads in wakeup.h, work that may block in job.h.
 *
 * Threads: one. Errors: 0 or -errno.
 */
#ifndef GD_LOOP_H
#define GD_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct gd_loop;

/* A descriptor that is waited for. The owner's memory, until gd_loop_remove(); `fd` stays the owner's, too. */
struct gd_loop_source {
	int fd;
	void (*ready)(struct gd_loop_source *source, uint32_t events);
	void *opaque;
};

/* Make a loop without any source. */
int gd_loop_open(struct gd_loop **loop);
void gd_loop_close(struct gd_loop *loop); /* its sources are removed already; takes NULL */

/*
 * Call `ready` whenever one of `events` holds: EPOLLIN, EPOLLOUT (level-triggered, unless EPOLLET is with it). `ready`
 * may remove any source.
 */
int gd_loop_add(struct gd_loop *loop, struct gd_loop_source *source, uint32_t events);
int gd_loop_change(struct gd_loop *loop, struct gd_loop_source *source, uint32_t events);
void gd_loop_remove(struct gd_loop *loop, struct gd_loop_source *source);

/* Wait for one event, at most `timeout_ms` (-1: without limit), and call its source. -ETIMEDOUT, or -errno. */
int gd_loop_step(struct gd_loop *loop, int timeout_ms);

#endif
