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
#include "backend/xenbus/retry.h"
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
	struct gd_retry retry;
};

/* Read the directory and follow it. False: the device is to be forgotten. */
bool gd_step_follow(struct gd_step *step, struct gd_served *device);
/* OPENED or SERVED: stop it, with a line in the log if it was served. */
void gd_step_stop(struct gd_step *step, struct gd_served *device, const char *why);
/* The fault that the log and xenstore name is over: tell the toolstack. */
void gd_step_forgive(struct gd_step *step, struct gd_served *device);

#endif
