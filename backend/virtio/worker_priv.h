/* SPDX-License-Identifier: MIT */
/*
 * The inside of a worker: worker.c is the side of those who own it, worker_thread.c is its thread, worker_bell.c how
 * that waits for its driver. The interface is worker.h.
 */
#ifndef GD_WORKER_PRIV_H
#define GD_WORKER_PRIV_H

#include <liburing.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/virtio/look.h"
#include "backend/virtio/worker.h"

struct gd_worker {
	struct gd_worker_config config;
	const struct gd_class_ops *ops;
	struct gd_class_queue *queue;
	int eventfd;

	/* Atomic, and shared by the threads. */
	bool kicked, asleep, changed;
	bool serving;	    /* it has a ring, or is to have one */
	bool calm;	    /* the thread has answered all that it had taken, and the flush has begun */
	uint64_t wakes;	    /* eventfd writes */
	uint64_t waking_us; /* when the last one began, by gd_clock_us() */

	/* Shared by the threads, under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t settled;
	struct gd_ring *wanted; /* the ring that the thread is to serve */
	struct gd_ring *served; /* the ring that it serves */
	bool quit;
	bool up;	     /* the thread has finished its set-up */
	int failed;	     /* the error of a set-up that failed, */
	const char *failing; /* and words for the step that failed */

	pthread_t thread;

	/* Only the thread itself uses these. */
	struct io_uring ring;
	uint64_t wake_count;  /* the eventfd is read into this */
	bool wake_armed;      /* a read of the eventfd is in the ring */
	bool bell_reads;      /* the bell is to be read by the ring, else polled */
	bool bell_armed;      /* a read or a poll of the bell is in the ring */
	bool bell_reading;    /* it is a read */
	bool bell_rang;	      /* the bell is silent until it is armed again */
	uint32_t bell_heard;  /* the channel's number is read into this, */
	uint32_t bell_number; /* and written from this */
	uint64_t bells;	      /* gd_count: how often it rang */
	bool broken;	      /* the ring that is served cannot be trusted */
	bool dry;	      /* `dry`, `lately` and `naps`: see wait.h */
	unsigned lately, naps;
	struct gd_look look;
	uint64_t empty_us;		 /* since when the ring has been empty, with nothing in flight; 0: it is not */
	uint64_t look_end_us;		 /* when the look at it ends; 0: there is none, or it has ended */
	uint64_t looks_paid, looks_vain; /* gd_count */
	struct gd_ring *attached;
	unsigned orphans;
	bool quiesced;	   /* it takes no more chains, */
	bool loud;	   /* and the device has not been told yet that nothing is held here */
	uint64_t syscalls; /* gd_count */
};

/* What a completion of the ring belongs to: in the top 8 bits of its user_data. */
#define GD_TAG_WAKE  0u
#define GD_TAG_CLASS 1u
#define GD_TAG_BELL  2u
#define GD_TAG_ARMED 3u
#define GD_TAG_SHIFT 56u

/* Let the bell ring, and wait for it: prepared in the ring. False: it is full; after it was submitted, call again. */
bool gd_worker_bell_arm(struct gd_worker *w);
/* The wait has ended, with this result. */
void gd_worker_bell_rang(struct gd_worker *w, int result);
/* The ring could not let the bell ring again. */
void gd_worker_bell_refused(struct gd_worker *w);

/* The thread's function; `opaque` is the worker. */
void *gd_worker_run(void *opaque);

#endif
