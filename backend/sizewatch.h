/* SPDX-License-Identifier: MIT */
/*
 * Notices by inotify that an image file has changed its size, by truncate(1), `qemu-img resize` and the like.
 *
 * A guest's own writes modify the file, too, and must not cost a wake-up each. So a watch is good for one event, and is
 * set again a second later: a file that is being written costs one look per second, an idle file costs nothing, and a
 * change is seen within a second. Files on a network are not for here, as to look at them may block. The sizes of block
 * devices and NBD exports are not noticed in this way: there is `refresh` on the control socket, and SIGHUP.
 *
 * Threads: the main thread. A file that cannot be watched is logged, and is not watched.
 */
#ifndef GD_SIZEWATCH_H
#define GD_SIZEWATCH_H

#include <stdbool.h>

#include "backend/base/log.h"
#include "backend/base/loop.h"

struct gd_sizewatch;

/* A file that is watched. It is the owner's memory, while it is added. */
struct gd_sizewatch_file {
	const char *path;
	struct gd_log *log;
	void (*changed)(
		struct gd_sizewatch_file *file); /* the size may have changed: look at it. Must not remove files */
	void *opaque;
	/* private */
	int wd;					/* inotify's watch descriptor; -1: the watch is to be set again */
	struct gd_sizewatch_file *next, **link; /* NULL: not added */
};

int gd_sizewatch_open(struct gd_sizewatch **watch, struct gd_loop *loop);
void gd_sizewatch_close(struct gd_sizewatch *watch); /* takes NULL */

/* Watch a file. A target that is no path ("nbd://...") is left out. */
void gd_sizewatch_add(struct gd_sizewatch *watch, struct gd_sizewatch_file *file);
void gd_sizewatch_remove(struct gd_sizewatch *watch,
			 struct gd_sizewatch_file *file); /* does nothing if it was not added */

/* Whether a file is on a file system of this computer's own: then no server can keep us waiting for its size. */
bool gd_sizewatch_local(const char *path);

#endif
