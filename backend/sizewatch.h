/* SPDX-License-Identifier: MIT */
/*
 * Notices that an image file has changed its size, by inotify: truncate(1), `qemu-img resize` and their like.
 *
 * A guest's own writes modify the file too, and must not cost a wake-up each. So a watch is good for one event, and is
 * set again a second later: a file that is being written costs one look a second, one that rests nothing, and a change
 * is seen within a second. A path on a network may block: it is not for here. Block devices and NBD tell nothing this
 * way: `refresh` on the control socket, or SIGHUP.
 *
 * Threads: the main thread. Errors: a file that cannot be watched is one that is not (logged).
 */
#ifndef GD_SIZEWATCH_H
#define GD_SIZEWATCH_H

#include <stdbool.h>

#include "backend/base/log.h"
#include "backend/base/loop.h"

struct gd_sizewatch;

/* The owner's memory, while it is added. */
struct gd_sizewatch_file {
	const char *path;
	struct gd_log *log;
	void (*changed)(struct gd_sizewatch_file *file); /* it may have: look. Must not remove files */
	void *opaque;
	/* private */
	int wd;					/* of inotify; -1: to be set again */
	struct gd_sizewatch_file *next, **link; /* NULL: not added */
};

int gd_sizewatch_open(struct gd_sizewatch **watch, struct gd_loop *loop);
void gd_sizewatch_close(struct gd_sizewatch *watch); /* takes NULL */

/* Targets that are no path ("nbd://...") are left out. */
void gd_sizewatch_add(struct gd_sizewatch *watch, struct gd_sizewatch_file *file);
void gd_sizewatch_remove(struct gd_sizewatch *watch, struct gd_sizewatch_file *file); /* added or not */

#endif
