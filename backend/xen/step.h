/* SPDX-License-Identifier: MIT */
/*
 * One device, by what stands in its directory: what is to be done with it next. xen/xenbus.h tells the rules.
 *
 * Threads: the main thread.
 */
#ifndef GD_STEP_H
#define GD_STEP_H

#include <stdbool.h>

#include "backend/config.h"
#include "backend/xen/device.h"
#include "backend/xen/store.h"

/* What the steps of all devices share: the owner's, constant but for the list. */
struct gd_step {
	const struct gd_config *config;
	struct gd_store *store;
	struct gd_device *const *devices; /* the first of all */
	int removal;			  /* timerfd: set when a directory is to be removed (device->leaving) */
};

/* Read the directory and follow it. False: the device is to be forgotten. */
bool gd_step_follow(struct gd_step *step, struct gd_device *device);
/* OPENED or SERVED: stop it, with a line in the log if it was served. */
void gd_step_stop(struct gd_step *step, struct gd_device *device, const char *why);
/* What was complained of is no more: the toolstack is told. */
void gd_step_forgive(struct gd_step *step, struct gd_device *device);

#endif
