/* SPDX-License-Identifier: MIT */
#include "disk_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Most chunks of one call in flight: a large transfer is pipelined, and leaves buffers to the other callers. */
#define CALL_WINDOW 8

/* When a wait that begins now must end. */
static struct timespec deadline(const struct gp_disk *disk)
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

/* Under the pool's lock. 0 or -ETIMEDOUT. */
static int pool_wait(struct gp_disk *disk, pthread_cond_t *cond, const struct timespec *until)
{
	if (!disk->timeout_ms)
		return -pthread_cond_wait(cond, &disk->pool.lock);
	return -pthread_cond_timedwait(cond, &disk->pool.lock, until);
}

/* ---- the pool of chunks ------------------------------------------------------------------------------------- */

static void chunk_put_locked(struct gp_chunk *chunk)
{
	struct gp_pool *pool = &chunk->disk->pool;

	chunk->state = GP_CHUNK_IDLE;
	chunk->next = pool->free;
	pool->free = chunk;
	pthread_cond_signal(&pool->freed);
}

static void chunk_put(struct gp_chunk *chunk)
{
	struct gp_pool *pool = &chunk->disk->pool;

	pthread_mutex_lock(&pool->lock);
	chunk_put_locked(chunk);
	pthread_mutex_unlock(&pool->lock);
}

/*
 * A free chunk. With `wait` until there is one, -ETIMEDOUT at the latest; otherwise -EAGAIN when there is none: a call
 * that has chunks of its own never waits for those of others, so that callers cannot wait for each other.
 */
static int chunk_get(struct gp_disk *disk, bool wait, struct gp_chunk **out)
{
	struct gp_pool *pool = &disk->pool;
	struct timespec until = deadline(disk);
	int ret = pool->count ? 0 : -EOPNOTSUPP;

	pthread_mutex_lock(&pool->lock);
	while (!pool->free && !ret)
		ret = wait ? pool_wait(disk, &pool->freed, &until) : -EAGAIN;
	if (!ret) {
		*out = pool->free;
		pool->free = pool->free->next;
	}
	pthread_mutex_unlock(&pool->lock);
	return ret;
}

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

/* A small guest has fewer buffers than were asked for; one is enough to work. */
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

/* ---- one request -------------------------------------------------------------------------------------------- */

/* In the interrupt thread. A chunk that its caller gave up goes back to the pool from here. */
static void chunk_done(struct gio_blk_req *req)
{
	struct gp_chunk *chunk = req->opaque;
	struct gp_pool *pool = &chunk->disk->pool;

	pthread_mutex_lock(&pool->lock);
	pool->completions++;
	pool->in_flight--;
	pthread_cond_broadcast(&pool->completed);
	if (chunk->state == GP_CHUNK_ABANDONED) {
		chunk_put_locked(chunk);
	} else {
		chunk->state = GP_CHUNK_DONE;
		pthread_cond_signal(&chunk->done);
	}
	pthread_mutex_unlock(&pool->lock);
}

/* Wait for a completion, anybody's, after number `seen`. -ENOSPC when none can come. */
static int completion_wait(struct gp_disk *disk, uint64_t seen)
{
	struct gp_pool *pool = &disk->pool;
	struct timespec until = deadline(disk);
	int ret = 0;

	pthread_mutex_lock(&pool->lock);
	while (pool->completions == seen && !ret)
		ret = pool->in_flight ? pool_wait(disk, &pool->completed, &until) : -ENOSPC;
	pthread_mutex_unlock(&pool->lock);
	return ret;
}

/* Count the request in before the device can complete it; the count of completions so far. */
static uint64_t flight_begin(struct gp_pool *pool, struct gp_chunk *chunk)
{
	uint64_t seen;

	pthread_mutex_lock(&pool->lock);
	chunk->state = GP_CHUNK_IN_FLIGHT;
	pool->in_flight++;
	seen = pool->completions;
	pthread_mutex_unlock(&pool->lock);
	return seen;
}

static void flight_cancel(struct gp_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->in_flight--;
	pthread_mutex_unlock(&pool->lock);
}

/* What a completion may mend: the ring, the grant references or the driver's memory ran out. */
static bool full(int ret)
{
	return ret == -GIO_ENOSPC || ret == -GIO_ENOMEM;
}

/* Submit and kick, waiting while the ring or the grant references are full. On failure the chunk stays the caller's. */
static int chunk_submit(struct gp_chunk *chunk)
{
	struct gp_disk *disk = chunk->disk;
	unsigned queue = atomic_fetch_add_explicit(&disk->next_queue, 1, memory_order_relaxed) % disk->queues;
	uint64_t seen;
	int ret;

	chunk->req.done = chunk_done;
	chunk->req.opaque = chunk;
	do {
		seen = flight_begin(&disk->pool, chunk);
		ret = gio_blk_submit(disk->blk, queue, &chunk->req);
		if (ret)
			flight_cancel(&disk->pool);
	} while (full(ret) && !(ret = completion_wait(disk, seen)));
	if (!ret)
		gio_blk_kick(disk->blk, queue);
	return ret;
}

/* 0, or -ETIMEDOUT, at once if not `patient`: the chunk is then abandoned, and no longer the caller's. */
static int chunk_wait(struct gp_chunk *chunk, bool patient)
{
	struct gp_disk *disk = chunk->disk;
	struct timespec until = deadline(disk);
	int ret = patient ? 0 : -ETIMEDOUT;

	pthread_mutex_lock(&disk->pool.lock);
	while (chunk->state == GP_CHUNK_IN_FLIGHT && !ret)
		ret = pool_wait(disk, &chunk->done, &until);
	if (chunk->state == GP_CHUNK_IN_FLIGHT)
		chunk->state = GP_CHUNK_ABANDONED;
	else
		ret = 0;
	pthread_mutex_unlock(&disk->pool.lock);
	return ret;
}

/* Wait for the chunk's request, hand out what was read, and give the chunk back. */
static int chunk_finish(struct gp_chunk *chunk, bool patient)
{
	int ret = chunk_wait(chunk, patient);

	if (ret)
		return ret;
	ret = chunk->req.result;
	if (!ret && chunk->user)
		memcpy(chunk->user, chunk->buf, chunk->len);
	chunk_put(chunk);
	return ret;
}

/* ---- calls -------------------------------------------------------------------------------------------------- */

/* The chunks of one call, oldest first. */
struct call {
	struct gp_chunk *first, **last;
	unsigned count;
};

/* Finish the oldest chunk. */
static int call_reap(struct call *call, bool patient)
{
	struct gp_chunk *chunk = call->first;

	call->first = chunk->next;
	if (!call->first)
		call->last = &call->first;
	call->count--;
	return chunk_finish(chunk, patient);
}

/* Finish all. When one has not been answered in time, the others have had theirs too. */
static int call_finish(struct call *call, int error)
{
	while (call->first) {
		int ret = call_reap(call, error != -ETIMEDOUT);

		error = error ? error : ret;
	}
	return error;
}

/* A chunk for the call's next request, made by finishing the oldest if need be. */
static int call_chunk(struct gp_disk *disk, struct call *call, struct gp_chunk **out)
{
	int ret = call->count < CALL_WINDOW ? chunk_get(disk, !call->count, out) : -EAGAIN;

	while (ret == -EAGAIN) {
		ret = call_reap(call, true);
		if (!ret)
			ret = chunk_get(disk, !call->count, out);
	}
	return ret;
}

/* Submit a chunk that is filled in, and keep it in the call's list; on failure it goes back to the pool. */
static int call_submit(struct call *call, struct gp_chunk *chunk)
{
	int ret = chunk_submit(chunk);

	if (ret) {
		chunk_put(chunk);
		return ret;
	}
	chunk->next = NULL;
	*call->last = chunk;
	call->last = &chunk->next;
	call->count++;
	return 0;
}

static void chunk_fill(struct gp_chunk *chunk, enum gio_blk_op op, uint8_t *data, uint64_t offset, size_t len)
{
	chunk->req = (struct gio_blk_req){
		.op = op,
		.sector = offset / GIO_BLK_SECTOR,
		.sg = chunk->sg,
		.segments = gp_limits_segments(&chunk->disk->limits, chunk->buf, len, chunk->sg),
	};
	chunk->user = op == GIO_BLK_READ ? data : NULL;
	chunk->len = len;
	if (op == GIO_BLK_WRITE)
		memcpy(chunk->buf, data, len);
}

static int transfer(struct gp_disk *disk, enum gio_blk_op op, uint8_t *data, uint64_t offset, size_t bytes)
{
	struct call call = {.last = &call.first};
	int ret = gp_limits_range(&disk->limits, gp_disk_size(disk), offset, bytes);

	while (bytes && !ret) {
		size_t len = bytes < disk->limits.request ? bytes : disk->limits.request;
		struct gp_chunk *chunk;

		ret = call_chunk(disk, &call, &chunk);
		if (ret)
			break;
		chunk_fill(chunk, op, data, offset, len);
		ret = call_submit(&call, chunk);
		data += len;
		offset += len;
		bytes -= len;
	}
	return call_finish(&call, ret);
}

/* DISCARD and WRITE_ZEROES: no data, at most `most` bytes a request. */
static int range(struct gp_disk *disk, struct gio_blk_req req, uint64_t most, uint64_t offset, uint64_t bytes)
{
	struct call call = {.last = &call.first};
	int ret = most ? gp_limits_range(&disk->limits, gp_disk_size(disk), offset, bytes) : -EOPNOTSUPP;

	while (bytes && !ret) {
		uint64_t len = bytes < most ? bytes : most;
		struct gp_chunk *chunk;

		ret = call_chunk(disk, &call, &chunk);
		if (ret)
			break;
		req.sector = offset / GIO_BLK_SECTOR;
		req.sectors = len / GIO_BLK_SECTOR;
		chunk->req = req;
		chunk->user = NULL;
		ret = call_submit(&call, chunk);
		offset += len;
		bytes -= len;
	}
	return call_finish(&call, ret);
}

int gp_disk_read(struct gp_disk *disk, void *buf, uint64_t offset, size_t bytes)
{
	return transfer(disk, GIO_BLK_READ, buf, offset, bytes);
}

int gp_disk_write(struct gp_disk *disk, const void *buf, uint64_t offset, size_t bytes)
{
	/* only read from: transfer() writes to the data of a READ alone */
	return transfer(disk, GIO_BLK_WRITE, (uint8_t *)(uintptr_t)buf, offset, bytes);
}

int gp_disk_discard(struct gp_disk *disk, uint64_t offset, uint64_t bytes)
{
	return range(disk, (struct gio_blk_req){.op = GIO_BLK_DISCARD}, disk->limits.discard, offset, bytes);
}

int gp_disk_zero(struct gp_disk *disk, uint64_t offset, uint64_t bytes, bool unmap)
{
	return range(disk, (struct gio_blk_req){.op = GIO_BLK_WRITE_ZEROES, .unmap = unmap}, disk->limits.zero, offset,
		     bytes);
}

/* One request that is no transfer; the caller's chunk. */
static int single(struct gp_chunk *chunk)
{
	struct call call = {.last = &call.first};
	int ret = call_submit(&call, chunk);

	return call_finish(&call, ret);
}

int gp_disk_flush(struct gp_disk *disk)
{
	struct gp_chunk *chunk;
	struct gio_blk_info info;
	int ret;

	gio_blk_info(disk->blk, &info);
	if (!info.flush)
		return 0; /* virtio 1.2, 5.2.6.2: without the feature every write is stable when it completes */
	ret = chunk_get(disk, true, &chunk);
	if (ret)
		return ret;
	chunk->req = (struct gio_blk_req){.op = GIO_BLK_FLUSH};
	chunk->user = NULL;
	return single(chunk);
}

int gp_disk_id(struct gp_disk *disk, char id[GIO_BLK_ID_BYTES + 1])
{
	struct gp_chunk *chunk;
	int ret = chunk_get(disk, true, &chunk);

	if (ret)
		return ret;
	memset(id, 0, GIO_BLK_ID_BYTES + 1);
	memset(chunk->buf, 0, GIO_BLK_ID_BYTES);
	chunk_fill(chunk, GIO_BLK_READ, (uint8_t *)id, 0, GIO_BLK_ID_BYTES);
	chunk->req.op = GIO_BLK_GET_ID;
	return single(chunk);
}
