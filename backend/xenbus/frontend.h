/* SPDX-License-Identifier: MIT */
/*
 * What becomes of a SERVED device by what its guest says in its own directory (docs/xenbus.md). The guest may write
 * there what it likes, as often as it likes: each of its changes costs us two readings, and at most one write.
 *
 * By version 1 the guest makes an event channel for the registers of a device whose address we chose. By version 2 it
 * answers our offer of messages; then the device is linked (enum gd_link) until the guest's state, or a new answer,
 * says that it begins anew, or until its driver breaks the rules. A guest may begin anew at once, and then after a
 * second, two, and so on up to GD_FRONTEND_PAUSE_MAX_MS; after GD_FRONTEND_CALM_MS that passed well, at once again.
 *
 * Threads: the main thread.
 */
#ifndef GD_FRONTEND_H
#define GD_FRONTEND_H

#include <stdbool.h>

#include "backend/xenbus/retry.h"
#include "backend/xenbus/served.h"
#include "backend/xenbus/store.h"

#define GD_FRONTEND_PAUSE_MS	 1000u
#define GD_FRONTEND_PAUSE_MAX_MS 30000u
#define GD_FRONTEND_CALM_MS	 60000u

/* Whether the guest's directory means anything for the device. */
bool gd_frontend_followed(const struct gd_served *device);

/* Before a device is opened that was served before: what its guest has answered to the offer of messages, if it has. */
bool gd_frontend_answer(struct gd_store *store, struct gd_served *device, struct gd_msg_answer *answer);

/* Follow the guest. True: it has let go of the device, or has never used it by this protocol. */
bool gd_frontend_step(struct gd_store *store, struct gd_retry *retry, struct gd_served *device,
		      const struct gd_keys_life *life);

#endif
