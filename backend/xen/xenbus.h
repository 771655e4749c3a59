/* SPDX-License-Identifier: MIT */
/*
 * The toolstack's side: every directory backend/virtio_disk/D/N and backend/virtio/D/N in xenstore becomes a device,
 * and goes when the directory or its domain goes.
 *
 * Watch events say what to look at; what is then done follows from what stands in the directory, and from the phase
 * that the device is in (xen/device.h), never from the event. So events may come late, twice, or in any number: a
 * directory is read once for all that came since.
 *
 * States (xen/io/xenbus.h): a device is served first, and then gets state 2, which libxl waits for; 4 when the guest's
 * driver has come up, once; where the guest answers itself (xen/front.h), as docs/xenbus.md says. A state of 5 stops it
 * and becomes 6, unless it is our answer to the guest's own. State 1 on a device that is served is a new device of that
 * name. A state that a former grantiod left (2 to 4) is served as if it were 1.
 *
 * When xenstored goes, all that is served goes on being served, and a connection is looked for again.
 *
 * Threads: the main thread. Errors: 0 or -errno.
 */
#ifndef GD_XENBUS_H
#define GD_XENBUS_H

#include <stdio.h>

#include "backend/base/job.h"
#include "backend/base/loop.h"
#include "backend/config.h"
#include "backend/sizewatch.h"

struct gd_xenbus;

/* Connects to xenstore and sets the watches. All arguments are the caller's, and outlive it. Failures are logged. */
int gd_xenbus_open(struct gd_xenbus **xenbus, const struct gd_config *config, struct gd_loop *loop,
		   struct gd_jobs *jobs, struct gd_sizewatch *sizewatch);
/* After gd_xenbus_stop(), when gd_xenbus_idle(). Takes NULL. */
void gd_xenbus_close(struct gd_xenbus *xenbus);

/*
 * Take what xenstore has for us, and do what it and the last events of the loop have left to do. After every step of
 * the loop, and every few seconds in any case: libxenstore says only when asked that xenstored has gone.
 */
void gd_xenbus_work(struct gd_xenbus *xenbus);

/*
 * Begin to stop all devices, for good. Their directories stay as they are, for our successor. Those that it can go on
 * with (virtio/ledger.h) are left to it: they take no more requests, and their guests wait.
 */
void gd_xenbus_stop(struct gd_xenbus *xenbus);
/* True when no device is open, but for those that are left, and these have answered all that they had taken. */
bool gd_xenbus_idle(const struct gd_xenbus *xenbus);
/* Some are left: neither they nor this may be closed, and the process ends by _exit(). */
bool gd_xenbus_leaves(const struct gd_xenbus *xenbus);
/* Name in the log, one line each, those that are not idle. */
void gd_xenbus_complain(struct gd_xenbus *xenbus);

/* Open devices by these settings from now on. They must be held (gd_config_hold()) as those of gd_xenbus_open() are. */
void gd_xenbus_config(struct gd_xenbus *xenbus, const struct gd_config *config);
/* Look at the sizes of all images, and try refused devices again. */
void gd_xenbus_refresh(struct gd_xenbus *xenbus);
/* The same for one device, named as "D/DEV" or "dD/DEV", DEV being "xvda" or a number. -ENOENT. */
int gd_xenbus_refresh_one(struct gd_xenbus *xenbus, const char *name);
/* A line for each device: "d1/xvda key=value ...". */
void gd_xenbus_stats(struct gd_xenbus *xenbus, FILE *out);

#endif
