/* SPDX-License-Identifier: MIT */
/*
 * What is to be done next with one device, by what its directory says. The rules are in xenbus/xenbus.h.
 *
 * Threads: the main thread.
 */
#ifndef GD_STEP_H
#define GD_STEP_H

#include <stdbool.h>

#include "backend/base/timer.h"
#include "backend/config.h"
#include "backend/xenbus/served.h"
#include "backend/xenbus/store.h"
#include "backend/xenbus/table.h"

/* What the steps of all devices share. It is the owner's, and constant but for `nameless`. */
struct gd_step {
	const struct gd_config *config;
	struct gd_store *store;
	struct gd_table *table;
	bool nameless;		  /* the log says already that guests' names cannot be looked up */
	struct gd_timer *removal; /* set when a directory is to be removed (device->leaving) */
	struct gd_timer *retry;	  /* set when an image that may have come is to be tried again (device->retry_ms) */
};

/* Read the directory and follow it. False: the device is to be forgotten. */
bool gd_step_follow(struct gd_step *step, struct gd_served *device);
/* Try again to take over images and guests that a former process still has, as far as it is time; set the timer. */
void gd_step_retry(struct gd_step *step);
/* All directories of the guest have been read: take over what was left for it (xenbus/settle.h), or try again later. */
void gd_step_settle(struct gd_step *step, struct gd_domains *domains, struct gd_guest *guest);
/* OPENED or SERVED: stop it, with a line in the log if it was served. */
void gd_step_stop(struct gd_step *step, struct gd_served *device, const char *why);
/* The fault that the log and xenstore name is over: tell the toolstack. */
void gd_step_forgive(struct gd_step *step, struct gd_served *device);

#endif
