/* SPDX-License-Identifier: MIT */
/*
 * What is tried again by a timer: to take over what a former grantiod left for a guest; to open a device that was
 * served before; and to take the answer of a guest that begins anew all the time (xenbus/frontend.h).
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

/* Touch the devices for which it is time to try again, and set the timer for the next one. */
void gd_retry_look(struct gd_retry *retry);
/* All directories of the guest have been read: take over what was left for it (xenbus/settle.h), or try again later. */
void gd_retry_settle(struct gd_retry *retry, struct gd_domains *domains, struct gd_guest *guest);

/*
 * True if the device failed for want of something that may be there later: its image is in use, its NBD server is away,
 * or the system has no thread, descriptor or memory left.
 */
bool gd_retry_may(const struct gd_served *device);
/* After such a failure, when the device is IDLE: touch it after a pause, longer each time. The first one is logged. */
void gd_retry_later(struct gd_retry *retry, struct gd_served *device);
/* Whether the device's pause is not over yet. */
bool gd_retry_pauses(struct gd_retry *retry, const struct gd_served *device);
/* The device is open: forget its pauses. */
void gd_retry_end(struct gd_served *device);

#endif
