/* SPDX-License-Identifier: MIT */
/*
 * Jobs: what may block (opening an image on a slow server, closing one with I/O in flight, asking for its size), each
 * in a short-lived thread of its own, so that neither the main thread nor any other device waits for it. A pool would
 * let one dead server hold up the devices of the others; a thread costs some 50 us, once per open or close.
 *
 * Threads: start and wait from the main thread; `run` in the job's thread; `done` in the main thread's loop, after
 * which the job is the owner's again. A job cannot be cancelled. Errors: 0 or -errno.
 */
#ifndef GD_JOB_H
#define GD_JOB_H

#include <pthread.h>
#include <stdbool.h>

#include "backend/base/loop.h"

struct gd_jobs;

/* The owner's memory, until `done` has been called. */
struct gd_job {
	void (*run)(struct gd_job *job);
	void (*done)(struct gd_job *job);
	void *opaque;
	/* private */
	struct gd_jobs *jobs;
	struct gd_job *next;
	pthread_t thread;
};

int gd_jobs_open(struct gd_jobs **jobs, struct gd_loop *loop);
/* No job may be running. Takes NULL. */
void gd_jobs_close(struct gd_jobs *jobs);

/* `name`: of the thread, cut to 15 characters. On failure neither `run` nor `done` is called. */
int gd_job_start(struct gd_jobs *jobs, struct gd_job *job, const char *name);
unsigned gd_jobs_running(const struct gd_jobs *jobs); /* started, and not yet done */

#endif
