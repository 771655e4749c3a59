/* SPDX-License-Identifier: MIT */
/*
 * The xenbus state of a device's directory, as we change it.
 *
 * Threads: the main thread. Errors: 0 or -errno.
 */
#ifndef GD_STATE_H
#define GD_STATE_H

#include "backend/xenbus/served.h"
#include "backend/xenbus/store.h"

/*
 * Change `state`, unless the toolstack has changed it since it was read (-EBUSY, -ENOENT): then there is an event for
 * that. Other failures are logged.
 */
int gd_state_change(struct gd_store *store, struct gd_served *device, unsigned from, unsigned to);

#endif
