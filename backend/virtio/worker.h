/* SPDX-License-Identifier: MIT */
/*
 * A queue's thread: one io_uring waits for everything, the class's completions and the kick.
 *
 * The thread begins when the worker is opened, with all that may block or fail: its io_uring and what the class needs
 * (a connection, for NBD). From then on it is only told: it is given a ring and deprived of it again (reset). To be
 * deprived never waits for the disk: I/O that is in flight then is an *orphan*, which completes into our own buffers
 * and is dropped. No queue of the device takes a new request before the last orphan is gone, so that an old write
 * cannot overtake a new one.
 *
 * Wake-up protocol (gd_worker_kick() against sleep_begin()): whoever has news stores `kicked`, then looks at `asleep`;
 * the thread stores `asleep`, then looks at `kicked`; each with a full barrier in between. So either the thread sees
 * the news and does not sleep, or the other sees that it sleeps and writes the eventfd. While the thread is at work a
 * kick is one store and costs no system call.
 *
 * Threads: open, ready, start, stop, quit, join and close by one thread (or one at a time); kick by any.
 */
#ifndef GD_WORKER_H
#define GD_WORKER_H

#include <stddef.h>

#include "backend/virtio/class.h"
#include "backend/virtio/ring.h"
#include "backend/virtio/stats.h"
#include "backend/virtio/status.h"

struct gd_worker;

struct gd_worker_config {
	struct gd_status *status;
	struct gd_class_device *class;
	struct gd_ledger_queue *ledger; /* its orphans are noted there */
	unsigned index;			/* of the queue */
	void (*drained)(void *opaque);	/* the device's last orphan is gone: kick all workers; in a worker's thread */
	void *opaque;
};

/* Begin the thread; how it fares says gd_worker_ready(). 0, or -errno with a line in `error` that names the queue. */
int gd_worker_open(struct gd_worker **worker, const struct gd_worker_config *config, char *error, size_t size);
/* Wait until the thread has its io_uring and what its class needs, or could not get them: as gd_worker_open(). */
int gd_worker_ready(struct gd_worker *worker, char *error, size_t size);
/*
 * Have the thread end, once the last I/O in flight is done, or given up (GD_WAIT_DRAIN_MS); then wait for that. All of
 * a device's are told before the first is waited for, so that it takes as long as one; and all are joined before the
 * first is closed, since threads kick each other. They take NULL.
 */
void gd_worker_quit(struct gd_worker *worker);
void gd_worker_join(struct gd_worker *worker);
void gd_worker_close(struct gd_worker *worker);

/* Serve `ring`, which stays the caller's and is touched by nobody else until gd_worker_stop(). Waits for nothing. */
void gd_worker_start(struct gd_worker *worker, struct gd_ring *ring);
/* When it returns the queue is not touched any more. Does not wait for the disk. Harmless when not started. */
void gd_worker_stop(struct gd_worker *worker);

void gd_worker_kick(struct gd_worker *worker);

/* Chains that it has taken and not settled. Once the device is quiesced, one at least until the thread knows. */
unsigned gd_worker_held(const struct gd_worker *worker);

/* Add what this worker counted. Any thread. */
void gd_worker_stats(const struct gd_worker *worker, struct gd_vdev_stats *out);

#endif
