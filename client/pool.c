/* SPDX-License-Identifier: MIT */
/*
 * Buffers in guest RAM for synchronous transfers: only guest RAM can be granted, and callers bring memory of their own.
 * They are made once, when the disk opens, so that a transfer needs no memory that could be missing.
 */
#include "disk_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

/* When a wait that begins now has lasted for the disk's time limit. It means nothing if there is no limit. */
struct timespec gp_pool_deadline(const struct gp_disk *disk)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += disk->timeout_ms / 1000;
	t.tv_nsec += (long)(disk->timeout_ms % 1000) * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return t;
}

int gp_pool_wait(struct gp_disk *disk, pthread_cond_t *cond, const struct timespec *until)
{
	if (!disk->timeout_ms)
		return -pthread_cond_wait(cond, &disk->pool.lock);
	return -pthread_cond_timedwait(cond, &disk->pool.lock, until);
}

/* The chunk that was used last is taken first: its memory is still in the processor's caches. */
void gp_chunk_put_locked(struct gp_chunk *chunk)
{
	struct gp_pool *pool = &chunk->disk->pool;

	chunk->state = GP_CHUNK_IDLE;
	chunk->next = pool->free;
	pool->free = chunk;
	pthread_cond_signal(&pool->freed);
}

void gp_chunk_put(struct gp_chunk *chunk)
{
	struct gp_pool *pool = &chunk->disk->pool;

	pthread_mutex_lock(&pool->lock);
	gp_chunk_put_locked(chunk);
	pthread_mutex_unlock(&pool->lock);
}

/*
 * Only a call that holds no chunk may wait for one. If all waited while they hold some, none would ever be given back.
 */
int gp_chunk_get(struct gp_disk *disk, bool wait, struct gp_chunk **out)
{
	struct gp_pool *pool = &disk->pool;
	struct timespec until = gp_pool_deadline(disk);
	int err = pool->count ? 0 : -EOPNOTSUPP;

	pthread_mutex_lock(&pool->lock);
	while (!pool->free && !err)
		err = wait ? gp_pool_wait(disk, &pool->freed, &until) : -EAGAIN;
	if (!err) {
		*out = pool->free;
		pool->free = pool->free->next;
	}
	pthread_mutex_unlock(&pool->lock);
	return err;
}

/* Deadlines are monotonic: a step of the wall clock must not end or prolong a wait. */
static void cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

static void chunk_exit(struct gp_disk *disk, struct gp_chunk *chunk)
{
	gio_os_pages_free(disk->os, chunk->buf, GP_CHUNK_PAGES);
	free(chunk->sg);
	pthread_cond_destroy(&chunk->done);
}

static int chunk_init(struct gp_disk *disk, struct gp_chunk *chunk)
{
	chunk->disk = disk;
	chunk->buf = gio_os_pages_alloc(disk->os, GP_CHUNK_PAGES);
	if (!chunk->buf)
		return -ENOMEM;
	chunk->sg = calloc(disk->limits.segments, sizeof(*chunk->sg));
	if (!chunk->sg) {
		gio_os_pages_free(disk->os, chunk->buf, GP_CHUNK_PAGES);
		return -ENOMEM;
	}
	cond_init(&chunk->done);
	chunk->next = disk->pool.free;
	disk->pool.free = chunk;
	return 0;
}

/* Fewer buffers than were asked for will do, since calls wait for each other's. None at all is a failure. */
int gp_pool_init(struct gp_disk *disk, unsigned buffers)
{
	struct gp_pool *pool = &disk->pool;

	pthread_mutex_init(&pool->lock, NULL);
	cond_init(&pool->freed);
	cond_init(&pool->completed);
	pool->chunks = calloc(buffers ? buffers : 1, sizeof(*pool->chunks));
	if (pool->chunks)
		while (pool->count < buffers && !chunk_init(disk, &pool->chunks[pool->count]))
			pool->count++;
	if (!pool->chunks || (buffers && !pool->count)) {
		gp_pool_exit(disk);
		return -ENOMEM;
	}
	return 0;
}

void gp_pool_exit(struct gp_disk *disk)
{
	struct gp_pool *pool = &disk->pool;

	while (pool->count)
		chunk_exit(disk, &pool->chunks[--pool->count]);
	free(pool->chunks);
	pthread_cond_destroy(&pool->completed);
	pthread_cond_destroy(&pool->freed);
	pthread_mutex_destroy(&pool->lock);
}
