/* SPDX-License-Identifier: MIT */
/*
 * Jobs: work that may block (opening an image on a slow server, closing one with I/O in flight, asking for its size).
 * Each job has a short-lived thread of its own, so that neither the main thread nor any other device waits for it. In a
 * pool of threads one dead server could hold up all devices; a thread costs some 50 us, once per open or close.
 *
 * Threads: jobs are started by the main thread; `run` is called in the job's thread, `done` in the main thread's loop.
 * A job cannot be cancelled. Errors: 0 or -errno.
 */
#ifndef GD_JOB_H
#define GD_JOB_H

#include <pthread.h>
#include <stdbool.h>

#include "backend/base/loop.h"

struct gd_jobs;

/* One piece of work. The jobs use this memory until they call `done`. */
struct gd_job {
	void (*run)(struct gd_job *job);
	void (*done)(struct gd_job *job);
	void *opaque;
	/* private */
	struct gd_jobs *jobs;
	struct gd_job *next;
	pthread_t thread;
};

/* Make a place for jobs, whose `done` is called in this loop. */
int gd_jobs_open(struct gd_jobs **jobs, struct gd_loop *loop);
/* No job may be running. Takes NULL. */
void gd_jobs_close(struct gd_jobs *jobs);

/* Start a job. `name` is its thread's, cut to 15 characters. On failure neither `run` nor `done` is called. */
int gd_job_start(struct gd_jobs *jobs, struct gd_job *job, const char *name);
/* How many jobs have been started, and are not done yet. */
unsigned gd_jobs_running(const struct gd_jobs *jobs);

#endif
