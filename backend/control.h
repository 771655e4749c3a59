/* SPDX-License-Identifier: MIT */
/*
 * The control socket: a Unix stream socket (mode 0600) on which the administrator sends one request per connection.
 *
 *   stats\n          answers with a line per device, "d1/xvda key=value ...", and the end of the stream
 *   refresh D/DEV\n  looks at the image's size again, tries a refused device once more; "ok", or "error: ..."
 *
 * There are places for eight clients. One that neither sends nor reads holds its place and nothing else; a ninth client
 * takes the place of the oldest.
 *
 * Threads: the main thread. Errors: 0 or -errno; failures to open are logged.
 */
#ifndef GD_CONTROL_H
#define GD_CONTROL_H

#include "backend/base/loop.h"
#include "backend/xenbus/xenbus.h"

struct gd_control;

/* A socket that is left over at `path` is replaced. -EADDRINUSE: another process listens there. */
int gd_control_open(struct gd_control **control, const char *path, struct gd_loop *loop, struct gd_xenbus *xenbus);
void gd_control_close(struct gd_control *control); /* removes the socket; takes NULL */

#endif
