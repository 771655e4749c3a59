/* SPDX-License-Identifier: MIT */
/*
 * The inside of a guest program's disk: disk.c has its life, pool.c the buffers of synchronous transfers, io.c these
 * transfers, messages.c the way by messages.
 */
#ifndef GP_DISK_PRIV_H
#define GP_DISK_PRIV_H

#include "disk.h"
#include "messages.h"

#include <pthread.h>
#include <stdatomic.h>

/* The state of a chunk's request. It decides whether the caller or the interrupt thread gives the chunk back. */
enum gp_chunk_state { GP_CHUNK_IDLE, GP_CHUNK_IN_FLIGHT, GP_CHUNK_DONE, GP_CHUNK_ABANDONED };

/* A request of a synchronous call with its buffer in guest RAM. */
struct gp_chunk {
	struct gio_blk_req req;
	struct gp_disk *disk;
	struct gio_sg *sg;	   /* limits.segments of them */
	uint8_t *buf;		   /* GP_CHUNK_BYTES of guest RAM */
	pthread_cond_t done;	   /* state is no longer IN_FLIGHT */
	enum gp_chunk_state state; /* under the pool's lock */
	struct gp_chunk *next;	   /* in the pool, or in its call's list */
	uint8_t *user;		   /* READ: where the data goes */
	size_t len;
};

/* Chunks that are free, and word of completions for those who wait for room in the ring. All under the lock. */
struct gp_pool {
	pthread_mutex_t lock;
	pthread_cond_t freed, completed; /* both on CLOCK_MONOTONIC */
	struct gp_chunk *free;
	struct gp_chunk *chunks;
	unsigned count;
	uint64_t completions;
	unsigned in_flight;
};

struct gp_disk {
	struct gm_guest *guest;
	struct gio_os *os;
	struct gio_grants *grants;
	struct gio_blk *blk;
	struct gm_guest_disk place;
	struct gp_messages *messages; /* NULL: it is reached by registers */
	bool again;		      /* more messages may be there, of which no event tells */
	struct gp_limits limits;
	struct gp_pool pool;
	unsigned queues;
	atomic_uint next_queue;
	unsigned timeout_ms;
	void (*reaped)(void *opaque);
	void *opaque;
	pthread_t irq_thread;
	atomic_bool stop;
};

/* ---- pool.c ---- */

/* -ENOMEM when there is room for no buffer at all; a small guest has fewer than were asked for. */
int gp_pool_init(struct gp_disk *disk, unsigned buffers);
void gp_pool_exit(struct gp_disk *disk);
/* When a wait that begins now must end. */
struct timespec gp_pool_deadline(const struct gp_disk *disk);
/* Under the pool's lock. 0 or -ETIMEDOUT. */
int gp_pool_wait(struct gp_disk *disk, pthread_cond_t *cond, const struct timespec *until);

/*
 * A free chunk. With `wait` until there is one, at most until the deadline (-ETIMEDOUT); otherwise -EAGAIN when there
 * is none: a call that has chunks of its own never waits for those of others, so that callers cannot wait for each
 * other. -EOPNOTSUPP: the disk was opened without buffers.
 */
int gp_chunk_get(struct gp_disk *disk, bool wait, struct gp_chunk **out);
void gp_chunk_put(struct gp_chunk *chunk);
/* The same under the pool's lock. */
void gp_chunk_put_locked(struct gp_chunk *chunk);

#endif
