/* SPDX-License-Identifier: MIT */
/*
 * Settings that are read again while the process runs. That is a job, since to look at the directories that they name
 * may take as long as a file server takes.
 *
 * Threads: the main thread; `done` is called in its loop.
 */
#ifndef GD_RELOAD_H
#define GD_RELOAD_H

#include "backend/base/job.h"
#include "backend/config.h"

struct gd_reload {
	struct gd_jobs *jobs;
	int argc;
	char **argv; /* where the settings come from */
	/* Gives the settings, which the callee holds from then on; NULL: they are wrong, which has been logged. */
	void (*done)(struct gd_reload *reload, struct gd_config *config);
	void *opaque;
	bool running;
	/* private */
	bool again; /* asked for while running */
	struct gd_job job;
	struct gd_config *config;
	char error[GD_CONFIG_ERROR];
};

/* Begin to read the settings. If that is asked for again meanwhile, they are read once more afterwards. */
void gd_reload_start(struct gd_reload *reload);
/* Keep the settings that need a new start, and log a line for each that was changed. 0 or -ENOMEM. */
int gd_reload_keep(struct gd_config *config, const struct gd_config *former);

#endif
