/* SPDX-License-Identifier: MIT */
/*
 * A queue's thread: one io_uring waits for everything, for the class's completions and for kicks.
 *
 * The thread begins when the worker is opened, with all that may block or fail: its io_uring and what the class needs
 * (a connection, for NBD). After that it is given a ring to serve, and the ring is taken away again (reset). To take it
 * away never waits for the disk: I/O that is in flight then is an *orphan*, which completes into our own buffers and is
 * dropped. No queue of the device takes a new request before the last orphan is gone, so that an old write cannot
 * overtake a new one.
 *
 * Wake-up protocol (gd_worker_kick() against sleep_begin()): a thread that has news stores `kicked`, and then looks at
 * `asleep`; the worker's thread stores `asleep`, and then looks at `kicked`; each has a full barrier in between. So
 * either the worker's thread sees the news and does not sleep, or the other sees that it sleeps and writes the eventfd.
 * While the worker's thread is at work a kick is one store, and costs no system call.
 *
 * A driver may also reach the thread by a *bell* (transport.h), for which the io_uring waits. It rings once and is then
 * silent until the thread is about to sleep, which lets it ring again after it has asked the driver for a kick. So no
 * kick is lost: one that comes meanwhile rings then.
 *
 * Threads: open, ready, start, stop, quit, join and close by one thread (or one at a time); kick and wake by any.
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
	struct gd_bell *bell;		/* the thread waits for it as well; NULL: there is none */
	/* A worker's thread calls it when the device's last orphan is gone: it must kick all workers. */
	void (*drained)(void *opaque);
	void *opaque;
};

/* Start the thread; gd_worker_ready() reports its set-up. 0, or -errno with a line in `error` that names the queue. */
int gd_worker_open(struct gd_worker **worker, const struct gd_worker_config *config, char *error, size_t size);
/* Wait until the thread's set-up (its io_uring, and what its class needs) has ended. Errors as gd_worker_open(). */
int gd_worker_ready(struct gd_worker *worker, char *error, size_t size);
/*
 * Tell the thread to end once the last I/O in flight is done or given up (GD_WAIT_DRAIN_MS); wait for its end; free the
 * worker. Tell all workers of a device to quit before the first is joined, so that together they take no longer than
 * one; and join all before the first is closed, since they kick each other. All three take NULL.
 */
void gd_worker_quit(struct gd_worker *worker);
void gd_worker_join(struct gd_worker *worker);
void gd_worker_close(struct gd_worker *worker);

/* Serve `ring`. It stays the caller's, who must not use it until gd_worker_stop(). It waits for nothing. */
void gd_worker_start(struct gd_worker *worker, struct gd_ring *ring);
/* When it returns, the ring is not used any more. Does not wait for the disk. Does nothing when not started. */
void gd_worker_stop(struct gd_worker *worker);

void gd_worker_kick(struct gd_worker *worker);
/* The same, unless it serves no ring. Any thread. */
void gd_worker_wake(struct gd_worker *worker);

/* How many chains the worker has taken and not settled; at least 1 until its thread knows of gd_vdev_quiesce(). */
unsigned gd_worker_held(const struct gd_worker *worker);

/* Add what this worker counted. Any thread. */
void gd_worker_stats(const struct gd_worker *worker, struct gd_vdev_stats *out);

#endif
