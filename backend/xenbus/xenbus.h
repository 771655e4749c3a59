/* SPDX-License-Identifier: MIT */
/*
 * The toolstack's side: every directory backend/virtio_disk/D/N and backend/virtio/D/N in xenstore becomes a device,
 * which ends when the directory or its domain does.
 *
 * A watch event says which directory to look at. What is done then depends on the directory and on the device's phase
 * (xenbus/served.h), and never on the event. So events may come late, twice, or in any number: a directory is read once
 * for all events that came since it was read last.
 *
 * States (xen/io/xenbus.h): a device is served first, and then gets state 2, for which libxl waits. It gets state 4
 * once, when the guest's driver has come up; where the guest itself answers (xenbus/front.h), docs/xenbus.md says when.
 * State 5 stops it, and becomes 6, unless it is our answer to the guest's own state. State 1 on a device that is served
 * means a new device of that name. A state that a former grantiod left (2 to 4) is served as if it were 1.
 *
 * When xenstored ends, all devices go on being served, and it is tried to connect again.
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

/* Connect to xenstore and set the watches. All arguments are the caller's, and outlive this. Failures are logged. */
int gd_xenbus_open(struct gd_xenbus **xenbus, const struct gd_config *config, struct gd_loop *loop,
		   struct gd_jobs *jobs, struct gd_sizewatch *sizewatch);
/* After gd_xenbus_stop(), when gd_xenbus_idle(). Takes NULL. */
void gd_xenbus_close(struct gd_xenbus *xenbus);

/*
 * Take the events of xenstore, and do what they and the loop's last step have left to do. To be called after every step
 * of the loop, and every few seconds in any case: libxenstore only says that xenstored has gone when it is asked.
 */
void gd_xenbus_work(struct gd_xenbus *xenbus);

/*
 * Begin to stop all devices, for good. Their directories stay as they are, for our successor. Devices with which it can
 * go on (virtio/ledger.h) are left to it: they take no more requests, and their guests wait.
 */
void gd_xenbus_stop(struct gd_xenbus *xenbus);
/* True when no device is open, except those that are left, and these have answered all requests that they had taken. */
bool gd_xenbus_idle(const struct gd_xenbus *xenbus);
/* True when devices are left: neither they nor this may be closed, and the process ends by _exit(). */
bool gd_xenbus_leaves(const struct gd_xenbus *xenbus);
/* Log a line for each device that is not idle. */
void gd_xenbus_complain(struct gd_xenbus *xenbus);

/* Open devices by these settings from now on. They must be held (gd_config_hold()), as the first ones are. */
void gd_xenbus_config(struct gd_xenbus *xenbus, const struct gd_config *config);
/* Look at the sizes of all images, and try refused devices again. */
void gd_xenbus_refresh(struct gd_xenbus *xenbus);
/* The same for one device, named as "D/DEV" or "dD/DEV", where DEV is "xvda" or a number. -ENOENT: it is not known. */
int gd_xenbus_refresh_one(struct gd_xenbus *xenbus, const char *name);
/* Write a line for each device: "d1/xvda key=value ...". */
void gd_xenbus_stats(struct gd_xenbus *xenbus, FILE *out);

#endif
