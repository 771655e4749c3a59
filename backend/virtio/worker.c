/* SPDX-License-Identifier: MIT */
/* The side of a worker's owner, and of all who kick it. The thread itself is in worker_thread.c. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backend/base/clock.h"
#include "backend/base/count.h"
#include "backend/guestmem/shared.h"
#include "backend/virtio/worker_priv.h"

#define STACK_BYTES (256u * 1024)

static int thread_create(struct gd_worker *w)
{
	pthread_attr_t attr;
	sigset_t all, before;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	sigfillset(&all); /* signals are the main thread's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&w->thread, &attr, gd_worker_run, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return -err;
}

static int worker_refuse(const struct gd_worker_config *config, const char *what, int err, char *error, size_t size)
{
	snprintf(error, size, "queue %u: %s: %s", config->index, what, strerror(-err));
	return err;
}

int gd_worker_open(struct gd_worker **worker, const struct gd_worker_config *config, char *error, size_t size)
{
	struct gd_worker *w = calloc(1, sizeof(*w));
	const char *what = "no memory for it";
	int err = -ENOMEM;

	if (!w)
		goto err_refuse;
	w->config = *config;
	w->ops = config->class->ops;
	w->bell_reads = true;
	w->look.most_us = config->class->config.look_us;
	what = "cannot get its eventfd";
	w->eventfd = eventfd(0, EFD_CLOEXEC);
	err = w->eventfd < 0 ? -errno : 0;
	if (err)
		goto err_free_worker;
	what = "cannot get its buffers";
	err = w->ops->queue_open(&w->queue, config->class, config->index);
	if (err)
		goto err_close_eventfd;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->settled, NULL);
	what = "cannot start its thread";
	err = thread_create(w);
	if (err)
		goto err_close_queue;
	*worker = w;
	return 0;

err_close_queue:
	pthread_cond_destroy(&w->settled);
	pthread_mutex_destroy(&w->lock);
	w->ops->queue_close(w->queue);
err_close_eventfd:
	close(w->eventfd);
err_free_worker:
	free(w);
err_refuse:
	return worker_refuse(config, what, err, error, size);
}

int gd_worker_ready(struct gd_worker *w, char *error, size_t size)
{
	pthread_mutex_lock(&w->lock);
	while (!w->up && !w->failed)
		pthread_cond_wait(&w->settled, &w->lock);
	pthread_mutex_unlock(&w->lock);
	return w->failed ? worker_refuse(&w->config, w->failing, w->failed, error, size) : 0;
}

void gd_worker_kick(struct gd_worker *w)
{
	uint64_t one = 1;

	__atomic_store_n(&w->kicked, true, __ATOMIC_RELEASE);
	/* Orders our store of `kicked` before our load of `asleep`. Pairs with the barrier in sleep_begin(). */
	gd_shared_barrier();
	if (!__atomic_load_n(&w->asleep, __ATOMIC_RELAXED) || !__atomic_exchange_n(&w->asleep, false, __ATOMIC_ACQ_REL))
		return;
	__atomic_store_n(&w->waking_us, gd_clock_us(), __ATOMIC_RELEASE);
	/* Cannot fail: one write ends each sleep, so that the counter is far from its limit. */
	if (write(w->eventfd, &one, sizeof(one)) != sizeof(one))
		return;
	__atomic_fetch_add(&w->wakes, 1, __ATOMIC_RELAXED);
}

void gd_worker_wake(struct gd_worker *w)
{
	/* A ring that is started just now is looked at all the same: see gd_worker_start(). */
	if (__atomic_load_n(&w->serving, __ATOMIC_ACQUIRE))
		gd_worker_kick(w);
}

/* Tell the thread that `wanted` or `quit` is new. */
static void control_notify(struct gd_worker *w)
{
	__atomic_store_n(&w->changed, true, __ATOMIC_RELEASE);
	gd_worker_kick(w);
}

void gd_worker_start(struct gd_worker *w, struct gd_ring *ring)
{
	pthread_mutex_lock(&w->lock);
	w->wanted = ring;
	pthread_mutex_unlock(&w->lock);
	__atomic_store_n(&w->serving, true, __ATOMIC_RELEASE);
	control_notify(w);
}

void gd_worker_stop(struct gd_worker *w)
{
	pthread_mutex_lock(&w->lock);
	w->wanted = NULL;
	pthread_mutex_unlock(&w->lock);
	__atomic_store_n(&w->serving, false, __ATOMIC_RELEASE);
	control_notify(w);
	pthread_mutex_lock(&w->lock);
	while (w->served)
		pthread_cond_wait(&w->settled, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

void gd_worker_quit(struct gd_worker *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->quit = true;
	pthread_mutex_unlock(&w->lock);
	control_notify(w);
}

void gd_worker_join(struct gd_worker *w)
{
	if (w)
		pthread_join(w->thread, NULL);
}

void gd_worker_close(struct gd_worker *w)
{
	if (!w)
		return;
	w->ops->queue_close(w->queue);
	pthread_cond_destroy(&w->settled);
	pthread_mutex_destroy(&w->lock);
	close(w->eventfd);
	free(w);
}

unsigned gd_worker_held(const struct gd_worker *w)
{
	/* Acquire: it has taken nothing since, and its flush is counted. Pairs with the release in quiet_begin(). */
	bool calm = !__atomic_load_n(&w->config.status->quiesced, __ATOMIC_ACQUIRE) ||
		    __atomic_load_n(&w->calm, __ATOMIC_ACQUIRE);
	unsigned held = gd_class_held(w->queue);

	return held || calm ? held : 1;
}

void gd_worker_stats(const struct gd_worker *w, struct gd_vdev_stats *out)
{
	const struct gd_copy_stats *copies = gd_copy_counters(w->queue->copy);
	const struct gd_class_stats *own = &w->queue->stats;

	out->kicks += gd_count_read(&w->bells);
	out->requests += gd_count_read(&own->requests);
	out->errors += gd_count_read(&own->errors);
	out->bytes_read += gd_count_read(&own->bytes_read);
	out->bytes_written += gd_count_read(&own->bytes_written);
	out->straight += gd_count_read(&own->straight);
	out->registered += gd_count_read(&own->registered);
	out->batches += gd_count_read(&own->batches);
	out->copy_calls += gd_count_read(&copies->calls);
	out->copy_ops += gd_count_read(&copies->segments);
	out->copy_hypercalls += gd_count_read(&copies->hypercalls);
	out->looks_paid += gd_count_read(&w->looks_paid);
	out->looks_vain += gd_count_read(&w->looks_vain);
	out->syscalls += gd_count_read(&w->syscalls) + gd_count_read(&w->wakes) + gd_count_read(&copies->calls);
}
