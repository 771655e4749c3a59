/* SPDX-License-Identifier: MIT */
/*
 * Settings that are read again while the process runs. To look at the directories that they name may take as long as a
 * file server likes, so it is a job.
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
	/* The settings, which the callee holds from then on; NULL: they are wrong, which has been said. */
	void (*done)(struct gd_reload *reload, struct gd_config *config);
	void *opaque;
	bool running;
	/* private */
	bool again; /* asked for while running */
	struct gd_job job;
	struct gd_config *config;
	char error[GD_CONFIG_ERROR];
};

/* Begin to read them; asked again meanwhile, once more afterwards. */
void gd_reload_start(struct gd_reload *reload);
/* What is for the whole process stays as it was, with a line where that is not what is asked for. 0 or -ENOMEM. */
int gd_reload_keep(struct gd_config *config, const struct gd_config *former);

#endif
