/* SPDX-License-Identifier: MIT */
/* Synchronous transfers: each is cut into requests that fit the device, with a few of them in flight at once. */
#include "disk_priv.h"

#include <errno.h>
#include <string.h>

/* Most chunks of one call in flight: a large transfer is pipelined, and leaves buffers to the other callers. */
#define CALL_WINDOW 8

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
		gp_chunk_put_locked(chunk);
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
	struct timespec until = gp_pool_deadline(disk);
	int err = 0;

	pthread_mutex_lock(&pool->lock);
	while (pool->completions == seen && !err)
		err = pool->in_flight ? gp_pool_wait(disk, &pool->completed, &until) : -ENOSPC;
	pthread_mutex_unlock(&pool->lock);
	return err;
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
static bool full(int err)
{
	return err == -GIO_ENOSPC || err == -GIO_ENOMEM;
}

/* Submit and kick, waiting while the ring or the grant references are full. On failure the chunk stays the caller's. */
static int chunk_submit(struct gp_chunk *chunk)
{
	struct gp_disk *disk = chunk->disk;
	unsigned queue = atomic_fetch_add_explicit(&disk->next_queue, 1, memory_order_relaxed) % disk->queues;
	uint64_t seen;
	int err;

	chunk->req.done = chunk_done;
	chunk->req.opaque = chunk;
	do {
		seen = flight_begin(&disk->pool, chunk);
		err = gio_blk_submit(disk->blk, queue, &chunk->req);
		if (err)
			flight_cancel(&disk->pool);
	} while (full(err) && !(err = completion_wait(disk, seen)));
	if (!err)
		gio_blk_kick(disk->blk, queue);
	return err;
}

/* 0, or -ETIMEDOUT, at once if not `patient`: the chunk is then abandoned, and no longer the caller's. */
static int chunk_wait(struct gp_chunk *chunk, bool patient)
{
	struct gp_disk *disk = chunk->disk;
	struct timespec until = gp_pool_deadline(disk);
	int err = patient ? 0 : -ETIMEDOUT;

	pthread_mutex_lock(&disk->pool.lock);
	while (chunk->state == GP_CHUNK_IN_FLIGHT && !err)
		err = gp_pool_wait(disk, &chunk->done, &until);
	if (chunk->state == GP_CHUNK_IN_FLIGHT)
		chunk->state = GP_CHUNK_ABANDONED;
	else
		err = 0;
	pthread_mutex_unlock(&disk->pool.lock);
	return err;
}

/* Wait for the chunk's request, hand out what was read, and give the chunk back. */
static int chunk_finish(struct gp_chunk *chunk, bool patient)
{
	int err = chunk_wait(chunk, patient);

	if (err)
		return err;
	err = chunk->req.result;
	if (!err && chunk->user)
		memcpy(chunk->user, chunk->buf, chunk->len);
	gp_chunk_put(chunk);
	return err;
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
		int err = call_reap(call, error != -ETIMEDOUT);

		error = error ? error : err;
	}
	return error;
}

/* A chunk for the call's next request, made by finishing the oldest if need be. */
static int call_chunk(struct gp_disk *disk, struct call *call, struct gp_chunk **out)
{
	int err = call->count < CALL_WINDOW ? gp_chunk_get(disk, !call->count, out) : -EAGAIN;

	while (err == -EAGAIN) {
		err = call_reap(call, true);
		if (!err)
			err = gp_chunk_get(disk, !call->count, out);
	}
	return err;
}

/* Submit a chunk that is filled in, and keep it in the call's list; on failure it goes back to the pool. */
static int call_submit(struct call *call, struct gp_chunk *chunk)
{
	int err = chunk_submit(chunk);

	if (err) {
		gp_chunk_put(chunk);
		return err;
	}
	chunk->next = NULL;
	*call->last = chunk;
	call->last = &chunk->next;
	call->count++;
	return 0;
}

/* The caller's data is copied, since only guest RAM can be granted. A READ is copied out when it has succeeded. */
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

/*
 * A failure ends the submissions, but not the call: the device still writes into the buffers of what is in flight. Each
 * of them is waited for, or left to the interrupt thread if its time is over. The first error is the result.
 */
static int transfer(struct gp_disk *disk, enum gio_blk_op op, uint8_t *data, uint64_t offset, size_t bytes)
{
	struct call call = {.last = &call.first};
	int err = gp_limits_range(&disk->limits, gp_disk_size(disk), offset, bytes);

	while (bytes && !err) {
		size_t len = bytes < disk->limits.request ? bytes : disk->limits.request;
		struct gp_chunk *chunk;

		err = call_chunk(disk, &call, &chunk);
		if (err)
			break;
		chunk_fill(chunk, op, data, offset, len);
		err = call_submit(&call, chunk);
		data += len;
		offset += len;
		bytes -= len;
	}
	return call_finish(&call, err);
}

/* DISCARD and WRITE_ZEROES: no data, at most `most` bytes a request. */
static int range(struct gp_disk *disk, struct gio_blk_req req, uint64_t most, uint64_t offset, uint64_t bytes)
{
	struct call call = {.last = &call.first};
	int err = most ? gp_limits_range(&disk->limits, gp_disk_size(disk), offset, bytes) : -EOPNOTSUPP;

	while (bytes && !err) {
		uint64_t len = bytes < most ? bytes : most;
		struct gp_chunk *chunk;

		err = call_chunk(disk, &call, &chunk);
		if (err)
			break;
		req.sector = offset / GIO_BLK_SECTOR;
		req.sectors = len / GIO_BLK_SECTOR;
		chunk->req = req;
		chunk->user = NULL;
		err = call_submit(&call, chunk);
		offset += len;
		bytes -= len;
	}
	return call_finish(&call, err);
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
	int err = call_submit(&call, chunk);

	return call_finish(&call, err);
}

int gp_disk_flush(struct gp_disk *disk)
{
	struct gp_chunk *chunk;
	struct gio_blk_info info;
	int err;

	gio_blk_info(disk->blk, &info);
	if (!info.flush)
		return 0; /* virtio 1.2, 5.2.6.2: without the feature every write is stable when it completes */
	err = gp_chunk_get(disk, true, &chunk);
	if (err)
		return err;
	chunk->req = (struct gio_blk_req){.op = GIO_BLK_FLUSH};
	chunk->user = NULL;
	return single(chunk);
}

int gp_disk_id(struct gp_disk *disk, char id[GIO_BLK_ID_BYTES + 1])
{
	struct gp_chunk *chunk;
	int err = gp_chunk_get(disk, true, &chunk);

	if (err)
		return err;
	memset(id, 0, GIO_BLK_ID_BYTES + 1);
	memset(chunk->buf, 0, GIO_BLK_ID_BYTES);
	chunk_fill(chunk, GIO_BLK_READ, (uint8_t *)id, 0, GIO_BLK_ID_BYTES);
	chunk->req.op = GIO_BLK_GET_ID;
	return single(chunk);
}
