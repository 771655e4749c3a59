/* SPDX-License-Identifier: MIT */
/*
 * A queue of an NBD disk: a connection, and what is in flight on it. nbd_queue.c keeps the connection, nbd_io.c makes
 * requests of I/O and takes the answers, nbd_stream.c moves the bytes of both, nbd_watch.c waits and looks at the
 * clock. All of it runs in the queue's thread.
 *
 * While a connection is being made, libnbd has it, and the ring waits for what libnbd waits for. From then on
 * nbd_frame.c knows what is in flight on it. In both cases the connection may be given up at any instant: the kernel
 * has a part of an I/O's memory only within a system call.
 *
 * States: SERVING -> (connection lost) -> WAITING -> (timer) -> CONNECTING -> SERVING, or back to WAITING for longer.
 */
#ifndef GD_DISK_NBD_QUEUE_H
#define GD_DISK_NBD_QUEUE_H

#include "backend/disk/nbd.h"
#include "backend/disk/nbd_frame.h"

enum gd_nbd_state { GD_NBD_SERVING, GD_NBD_WAITING, GD_NBD_CONNECTING };

struct gd_nbd_queue {
	struct gd_disk_queue base;
	enum gd_nbd_state state;
	struct nbd_handle *handle; /* in CONNECTING */
	struct gd_nbd_link link;   /* in SERVING; its `can` is of the server that was connected last */
	struct gd_nbd_frame frame; /* what is in flight on it */
	bool broken;		   /* the connection is of no use any more: `why` says why */
	bool full;		   /* the socket takes nothing until the ring says so */
	char *buffer;		   /* the ring receives into it */
	uint64_t receiving;	   /* user_data of the receive that the ring has; 0: none */
	uint32_t epoch;		   /* changes with each connection: tells its completions from its predecessors' */
	bool in_armed, out_armed, timer_armed;
	uint32_t timer; /* the same for timers */
	struct __kernel_timespec timer_span;
	uint64_t timer_at, lost_at, retry_at, connect_until; /* of gd_clock_ms() */
	uint64_t silent_since; /* when the request was sent that has no answer for long; 0 */
	unsigned backoff, attempt;
	bool away;     /* it was said that there is no server */
	bool given_up; /* I/O fails until there is one */
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

/* The connection is there and works, as far as we know. */
static inline bool gd_nbd_serving(const struct gd_nbd_queue *queue)
{
	return queue->state == GD_NBD_SERVING && queue->link.fd >= 0 && !queue->broken;
}

/* nbd_io.c: the engine's start(). */
int gd_nbd_io_start(struct gd_disk_queue *queue, struct gd_disk_slot *slot);
/* An answer has come: finish its I/O, or go on with it. */
void gd_nbd_io_answered(struct gd_nbd_queue *queue, const struct gd_nbd_answer *answer);
/*
 * The connection is gone. What was in flight fails with `result`; with `again`, reads and flushes, which change
 * nothing, are done again on the next one instead, and so is what the server cannot have seen.
 */
struct gd_nbd_lost gd_nbd_io_lose(struct gd_nbd_queue *queue, int result, bool again);

/*
 * nbd_stream.c: the bytes of a connection. Requests are sent by one system call per batch. Answers are received by the
 * ring, into the queue's buffer; once an answer's data has begun to come, what is there of it is received straight into
 * its place.
 */
int gd_nbd_stream_open(struct gd_nbd_queue *queue); /* 0 or -ENOMEM; close it in either case */
void gd_nbd_stream_close(struct gd_nbd_queue *queue);
/* queue->link is a new connection. */
void gd_nbd_stream_begin(struct gd_nbd_queue *queue);
/* Send what is to be sent, as far as the socket takes it. */
void gd_nbd_stream_send(struct gd_nbd_queue *queue);
/* Have the ring wait for answers, and for room in the socket if that is full. False: there is no room in the ring. */
bool gd_nbd_stream_arm(struct gd_nbd_queue *queue);
/* A receive is over, with this result; `generation` is that of its user_data. */
void gd_nbd_stream_received(struct gd_nbd_queue *queue, uint32_t generation, int result);
/* When this returns, the ring has nothing to do with the buffer and the socket any more, and receives nothing. */
void gd_nbd_stream_leave(struct gd_nbd_queue *queue);
/* End the connection, if there is one; what it had in flight is the caller's to end. */
void gd_nbd_stream_end(struct gd_nbd_queue *queue);

/* nbd_watch.c: have the ring wait for what libnbd waits for. False: there is no room in it. */
bool gd_nbd_polls_arm(struct gd_nbd_queue *queue);
/* Have the ring wait until the socket takes more. False: there is no room in it. */
bool gd_nbd_poll_out_arm(struct gd_nbd_queue *queue);
/* Nothing waits for this connection any more. Without this the server might not see it closed: a poll holds it. */
void gd_nbd_polls_cancel(struct gd_nbd_queue *queue);
/* Have the ring cancel what has this kind and generation. */
void gd_nbd_ring_cancel(struct gd_nbd_queue *queue, enum gd_disk_kind kind, uint32_t generation);
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
