/* SPDX-License-Identifier: MIT */
/*
 * What is tried again by a timer: to take over what a former grantiod left for a guest, and to open a device that was
 * served before.
 *
 * Such a device is not refused where it lacks something that may be there later, as long as its directory is there. Its
 * image is locked until a former process's last I/O has ended, however long that takes; and where its NBD server is
 * away, the guest waits as it would if the server had gone while the disk was served.
 *
 * Threads: the main thread.
 */
#ifndef GD_RETRY_H
#define GD_RETRY_H

#include "backend/base/timer.h"
#include "backend/xenbus/table.h"

struct gd_retry {
	struct gd_table *table; /* the owner's, with `timer`, which calls gd_retry_look() */
	struct gd_timer *timer;
};

/* Try what it is time for: touch the devices concerned. Set the timer for the next. */
void gd_retry_look(struct gd_retry *retry);
/* All directories of the guest have been read: take over what was left for it (xenbus/settle.h), or try again later. */
void gd_retry_settle(struct gd_retry *retry, struct gd_domains *domains, struct gd_guest *guest);

/*
 * True if the device failed for want of something that may be there later: its image is in use, its NBD server is away,
 * or the system has no thread, descriptor or memory left.
 */
bool gd_retry_may(const struct gd_served *device);
/* IDLE, after a failure of that kind: touch the device again after a pause, longer each time. Logged when it begins. */
void gd_retry_later(struct gd_retry *retry, struct gd_served *device);
/* It is open: there is no pause any more. */
void gd_retry_end(struct gd_served *device);

#endif
