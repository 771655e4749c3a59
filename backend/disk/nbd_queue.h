/* SPDX-License-Identifier: MIT */
/*
 * A queue of an NBD disk: a connection, and what is in flight on it. nbd_queue.c keeps the connection, nbd_io.c sends
 * requests and takes the answers, nbd_watch.c waits and looks at the clock. All of it runs in the queue's thread.
 *
 * libnbd's callbacks run while it holds the handle's lock, so they only put the slot into the list `answered`;
 * gd_nbd_answers_take() empties it when libnbd has returned.
 *
 * States: SERVING -> (connection lost) -> WAITING -> (timer) -> CONNECTING -> SERVING, or back to WAITING for longer.
 */
#ifndef GD_DISK_NBD_QUEUE_H
#define GD_DISK_NBD_QUEUE_H

#include "backend/disk/nbd.h"

enum gd_nbd_state { GD_NBD_SERVING, GD_NBD_WAITING, GD_NBD_CONNECTING };

struct gd_nbd_queue {
	struct gd_disk_queue base;
	struct nbd_handle *handle; /* in SERVING and CONNECTING */
	enum gd_nbd_state state;
	struct gd_nbd_abilities can; /* of the server that is connected, or was last */
	uint32_t link;		     /* changes with each handle: tells its polls from its predecessors' */
	bool in_armed, out_armed, timer_armed;
	uint32_t timer; /* the same for timers */
	struct __kernel_timespec timer_span;
	uint64_t timer_at, lost_at, retry_at, connect_until; /* of gd_clock_ms() */
	uint64_t silent_since; /* when the request was sent that has no answer for long; 0 */
	unsigned backoff, attempt;
	bool away;     /* it was said that there is no server */
	bool given_up; /* I/O fails until there is one */
	struct gd_disk_slot *answered;
	char why[160];
};

/* What became of I/O that was in flight on a connection that is gone. */
struct gd_nbd_lost {
	unsigned failed, again;
};

static inline struct gd_nbd_disk *gd_nbd_disk_of(struct gd_disk *disk)
{
	return (struct gd_nbd_disk *)disk;
}

static inline struct gd_nbd_queue *gd_nbd_queue_of(struct gd_disk_queue *queue)
{
	return (struct gd_nbd_queue *)queue;
}

/* The connection is there and works, as far as libnbd knows. */
static inline bool gd_nbd_serving(const struct gd_nbd_queue *queue)
{
	return queue->state == GD_NBD_SERVING && queue->handle && !nbd_aio_is_dead(queue->handle) &&
	       !nbd_aio_is_closed(queue->handle);
}

/* nbd_io.c: the engine's start(). */
int gd_nbd_io_start(struct gd_disk_queue *queue, struct gd_disk_slot *slot);
/* Read what the server has sent. 0, or -1 when libnbd has an error. */
int gd_nbd_answers_read(struct gd_nbd_queue *queue);
/* Finish what was answered, or go on with it; nothing, once the connection is gone: see gd_nbd_io_lose(). */
void gd_nbd_answers_take(struct gd_nbd_queue *queue);
/*
 * The connection is gone, and its handle is closed. What was in flight fails with `result`; with `again`, reads and
 * flushes, which change nothing, are done again on the next one instead.
 */
struct gd_nbd_lost gd_nbd_io_lose(struct gd_nbd_queue *queue, int result, bool again);

/* nbd_watch.c: have the ring wait for what libnbd waits for. False: there is no room in it. */
bool gd_nbd_polls_arm(struct gd_nbd_queue *queue);
/* Without this the server would not see the socket closed: a poll holds it. */
void gd_nbd_polls_cancel(struct gd_nbd_queue *queue);
/* Have the ring wait until `due`, if it does not until a time before that; 0: nothing is due. False: no room. */
bool gd_nbd_timer_arm(struct gd_nbd_queue *queue, uint64_t due);
void gd_nbd_timer_cancel(struct gd_nbd_queue *queue);
/* When the server's silence is to be looked at; 0: nothing is in flight, or nothing more would be done about it. */
uint64_t gd_nbd_silence_due(const struct gd_nbd_queue *queue);
/* Look at it: a line when it begins. True: the time-out is over, and `why` says so. */
bool gd_nbd_silence_look(struct gd_nbd_queue *queue);
/* There was an answer: a line when the silence is over. */
void gd_nbd_silence_end(struct gd_nbd_queue *queue);

#endif
