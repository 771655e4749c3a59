/* SPDX-License-Identifier: MIT */
#include "backend/base/job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct gd_jobs {
	struct gd_loop *loop;
	struct gd_loop_source source; /* an eventfd: the list is not empty */
	pthread_mutex_t lock;	      /* of `finished` */
	struct gd_job *finished;
	unsigned running; /* the main thread's */
};

static void job_finish(struct gd_jobs *jobs, struct gd_job *job)
{
	uint64_t one = 1;

	pthread_mutex_lock(&jobs->lock);
	job->next = jobs->finished;
	jobs->finished = job;
	/* Under the lock: the main thread may free `jobs` as soon as it has seen the last job. Cannot fail, nor block
	 * before 2^64 jobs are unseen. */
	if (write(jobs->source.fd, &one, sizeof(one)) < 0)
		abort();
	pthread_mutex_unlock(&jobs->lock);
}

static void *job_thread(void *opaque)
{
	struct gd_job *job = opaque;

	job->run(job);
	job_finish(job->jobs, job);
	return NULL;
}

static void jobs_ready(struct gd_loop_source *source, uint32_t events)
{
	struct gd_jobs *jobs = source->opaque;
	struct gd_job *job, *next;
	uint64_t count;

	(void)events;
	if (read(source->fd, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&jobs->lock);
	job = jobs->finished;
	jobs->finished = NULL;
	pthread_mutex_unlock(&jobs->lock);
	for (; job; job = next) {
		next = job->next;
		pthread_join(job->thread, NULL); /* only has to return from job_finish() */
		jobs->running--;
		job->done(job);
	}
}

int gd_jobs_open(struct gd_jobs **out, struct gd_loop *loop)
{
	struct gd_jobs *jobs = calloc(1, sizeof(*jobs));
	int ret;

	if (!jobs)
		return -ENOMEM;
	jobs->loop = loop;
	pthread_mutex_init(&jobs->lock, NULL);
	jobs->source = (struct gd_loop_source){eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), jobs_ready, jobs};
	if (jobs->source.fd < 0) {
		ret = -errno;
		goto free_jobs;
	}
	ret = gd_loop_add(loop, &jobs->source, EPOLLIN);
	if (ret)
		goto close_event;
	*out = jobs;
	return 0;

close_event:
	close(jobs->source.fd);
free_jobs:
	pthread_mutex_destroy(&jobs->lock);
	free(jobs);
	return ret;
}

void gd_jobs_close(struct gd_jobs *jobs)
{
	if (!jobs)
		return;
	gd_loop_remove(jobs->loop, &jobs->source);
	close(jobs->source.fd);
	pthread_mutex_destroy(&jobs->lock);
	free(jobs);
}

int gd_job_start(struct gd_jobs *jobs, struct gd_job *job, const char *name)
{
	char cut[16];
	int ret;

	job->jobs = jobs;
	ret = pthread_create(&job->thread, NULL, job_thread, job);
	if (ret)
		return -ret;
	snprintf(cut, sizeof(cut), "%s", name);
	pthread_setname_np(job->thread, cut);
	jobs->running++;
	return 0;
}

unsigned gd_jobs_running(const struct gd_jobs *jobs)
{
	return jobs->running;
}
