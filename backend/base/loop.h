/* SPDX-License-Identifier: MIT */
/*
 * The main thread's event loop: file descriptors and who wants to hear of them. Nothing here may block, and no guest
 * waits for it: guests' register accesses are answered by their own threads (xen/ioreq.h).
 *
 * Threads: one. Errors: 0 or -errno.
 */
#ifndef GD_LOOP_H
#define GD_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct gd_loop;

/* What waits for a descriptor: the owner's memory, until gd_loop_remove(). `fd` stays the owner's. */
struct gd_loop_source {
	int fd;
	void (*ready)(struct gd_loop_source *source, uint32_t events);
	void *opaque;
};

int gd_loop_open(struct gd_loop **loop);
void gd_loop_close(struct gd_loop *loop); /* takes NULL */

/* `events`: EPOLLIN, EPOLLOUT (level-triggered, unless EPOLLET is with it). Any source may be removed from within
 * `ready`. */
int gd_loop_add(struct gd_loop *loop, struct gd_loop_source *source, uint32_t events);
int gd_loop_change(struct gd_loop *loop, struct gd_loop_source *source, uint32_t events);
void gd_loop_remove(struct gd_loop *loop, struct gd_loop_source *source);

/* Wait for one event, `timeout_ms` at the most (-1: for ever), and tell its source. -ETIMEDOUT, -errno. */
int gd_loop_step(struct gd_loop *loop, int timeout_ms);

#endif
