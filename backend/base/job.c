/* SPDX-License-Identifier: MIT */
#include "backend/base/job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend/base/wakeup.h"

struct gd_jobs {
	struct gd_wakeup wakeup; /* the list is not empty */
	pthread_mutex_t lock;	 /* of `finished` */
	struct gd_job *finished;
	unsigned running; /* used by the main thread only */
};

static void job_finish(struct gd_jobs *jobs, struct gd_job *job)
{
	pthread_mutex_lock(&jobs->lock);
	job->next = jobs->finished;
	jobs->finished = job;
	pthread_mutex_unlock(&jobs->lock);
	/* `jobs` is still there: the main thread joins this thread before it counts the job as done. */
	gd_wakeup_send(&jobs->wakeup);
}

static void *job_thread(void *opaque)
{
	struct gd_job *job = opaque;

	job->run(job);
	job_finish(job->jobs, job);
	return NULL;
}

static void jobs_woken(void *opaque)
{
	struct gd_jobs *jobs = opaque;
	struct gd_job *job, *next;

	pthread_mutex_lock(&jobs->lock);
	job = jobs->finished;
	jobs->finished = NULL;
	pthread_mutex_unlock(&jobs->lock);
	for (; job; job = next) {
		next = job->next;
		pthread_join(job->thread, NULL); /* does not wait: all that it has left to do is to return */
		jobs->running--;
		job->done(job);
	}
}

int gd_jobs_open(struct gd_jobs **out, struct gd_loop *loop)
{
	struct gd_jobs *jobs = calloc(1, sizeof(*jobs));
	int err;

	if (!jobs)
		return -ENOMEM;
	pthread_mutex_init(&jobs->lock, NULL); /* cannot fail with the default attributes */
	err = gd_wakeup_open(&jobs->wakeup, loop, jobs_woken, jobs);
	if (err) {
		pthread_mutex_destroy(&jobs->lock);
		free(jobs);
		return err;
	}
	*out = jobs;
	return 0;
}

void gd_jobs_close(struct gd_jobs *jobs)
{
	if (!jobs)
		return;
	gd_wakeup_close(&jobs->wakeup);
	pthread_mutex_destroy(&jobs->lock);
	free(jobs);
}

int gd_job_start(struct gd_jobs *jobs, struct gd_job *job, const char *name)
{
	char cut[16];
	int err;

	job->jobs = jobs;
	err = pthread_create(&job->thread, NULL, job_thread, job);
	if (err)
		return -err;
	snprintf(cut, sizeof(cut), "%s", name);
	pthread_setname_np(job->thread, cut);
	jobs->running++;
	return 0;
}

unsigned gd_jobs_running(const struct gd_jobs *jobs)
{
	return jobs->running;
}
