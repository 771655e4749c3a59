/* SPDX-License-Identifier: MIT */
/*
 * The control socket: a Unix stream socket (mode 0600) on which the host's administrator asks one thing a connection.
 *
 *   stats\n          a line for each device, "d1/xvda key=value ...", and the end of the stream
 *   refresh D/DEV\n  "ok", or "error: ...": look at the image's size again, try a refused device once more
 *
 * A client that sends nothing, or takes nothing, holds a place among eight and nothing else; the ninth takes the
 * oldest one's.
 *
 * Threads: the main thread. Errors: 0 or -errno; failures to open are logged.
 */
#ifndef GD_CONTROL_H
#define GD_CONTROL_H

#include "backend/base/loop.h"
#include "backend/xenbus/xenbus.h"

struct gd_control;

/* A socket that is left over at `path`, with nobody behind it, is replaced. -EADDRINUSE: somebody is. */
int gd_control_open(struct gd_control **control, const char *path, struct gd_loop *loop, struct gd_xenbus *xenbus);
void gd_control_close(struct gd_control *control); /* removes the socket; takes NULL */

#endif
