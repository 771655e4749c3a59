/* SPDX-License-Identifier: MIT */
#include "backend/disk/engine.h"

#include <errno.h>
#include <stdlib.h>

_Alignas(4096) char gd_disk_zeroes[GD_DISK_ZEROES];

#define DEPTH_MAX 32768u

static void list_init(struct gd_disk_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static void list_append(struct gd_disk_list *list, struct gd_disk_io *io)
{
	io->next = NULL;
	*list->end = io;
	list->end = &io->next;
}

static void list_prepend(struct gd_disk_list *list, struct gd_disk_io *io)
{
	io->next = list->first;
	if (!list->first)
		list->end = &io->next;
	list->first = io;
}

static struct gd_disk_io *list_take(struct gd_disk_list *list)
{
	struct gd_disk_io *io = list->first;

	if (io) {
		list->first = io->next;
		if (!list->first)
			list->end = &list->first;
		io->next = NULL;
	}
	return io;
}

uint64_t gd_queue_user_data(const struct gd_disk_queue *queue, enum gd_disk_kind kind, uint32_t generation,
			    unsigned slot)
{
	return (uint64_t)queue->tag << 56 | (uint64_t)kind << 48 | (uint64_t)generation << 16 | slot;
}

struct io_uring_sqe *gd_queue_sqe(struct gd_disk_queue *queue)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(queue->ring);

	if (sqe)
		return sqe;
	io_uring_submit(queue->ring); /* if that fails, the ring is still full */
	return io_uring_get_sqe(queue->ring);
}

static struct gd_disk_slot *slot_take(struct gd_disk_queue *queue, struct gd_disk_io *io)
{
	struct gd_disk_slot *slot = queue->free;

	queue->free = slot->next;
	queue->active++;
	slot->next = NULL;
	slot->io = io;
	slot->generation++;
	slot->retries = 0;
	slot->asked = false;
	io->cookie = slot->index;
	return slot;
}

static struct gd_disk_io *slot_put(struct gd_disk_queue *queue, struct gd_disk_slot *slot)
{
	struct gd_disk_io *io = slot->io;

	slot->io = NULL;
	slot->generation++;
	slot->next = queue->free;
	queue->free = slot;
	queue->active--;
	return io;
}

static void io_finish(struct gd_disk_queue *queue, struct gd_disk_io *io, int result)
{
	io->result = result;
	list_append(&queue->finished, io);
}

void gd_queue_finish(struct gd_disk_queue *queue, struct gd_disk_slot *slot, int result)
{
	io_finish(queue, slot_put(queue, slot), result);
}

static const char *op_name(enum gd_disk_op op)
{
	static const char *const names[] = {"read", "write", "flush", "discard", "write zeroes"};

	return names[op];
}

void gd_io_complain(struct gd_disk_queue *queue, const struct gd_disk_io *io, const char *what)
{
	gd_log_guest(queue->disk->log, GD_ERR, "%s: %s of %llu bytes at %llu: %s", queue->disk->target, op_name(io->op),
		     (unsigned long long)io->length, (unsigned long long)io->offset, what);
}

void gd_queue_later(struct gd_disk_queue *queue, struct gd_disk_slot *slot)
{
	list_prepend(&queue->waiting, slot_put(queue, slot));
}

void gd_queue_run(struct gd_disk_queue *queue, struct gd_disk_slot *slot)
{
	int result = queue->disk->engine->start(queue, slot);

	if (!result)
		return;
	if (result == -EAGAIN && queue->active > 1) { /* it is taken up again when another I/O completes */
		gd_queue_later(queue, slot);
		return;
	}
	gd_queue_finish(queue, slot, result);
}

static int queue_ready(struct gd_disk_queue *queue)
{
	if (queue->cancelled)
		return -ECANCELED;
	return queue->disk->engine->ready ? queue->disk->engine->ready(queue) : 0;
}

void gd_queue_pump(struct gd_disk_queue *queue)
{
	while (queue->waiting.first) {
		struct gd_disk_io *head = queue->waiting.first;
		int ready = queue_ready(queue);

		if (ready && ready != -EAGAIN) {
			io_finish(queue, list_take(&queue->waiting), ready);
			continue;
		}
		if (ready || !queue->free)
			return;
		gd_queue_run(queue, slot_take(queue, list_take(&queue->waiting)));
		if (queue->waiting.first == head) /* it came back: no SQE */
			return;
	}
}

/*
 * Call `done` of what is finished. Only the outermost call does that: `done` may submit I/O, which may finish more.
 * `more`: the batch is not complete, so that the engine need not settle yet.
 */
static void queue_drain(struct gd_disk_queue *queue, bool more)
{
	struct gd_disk_io *io;

	if (queue->draining)
		return;
	queue->draining = true;
	do {
		while ((io = list_take(&queue->finished))) {
			queue->busy--;
			io->done(io);
		}
		gd_queue_pump(queue);
		if (queue->disk->engine->settle && !more)
			queue->disk->engine->settle(queue);
	} while (queue->finished.first);
	queue->draining = false;
}

void gd_disk_submit(struct gd_disk_queue *queue, struct gd_disk_io *io)
{
	bool writes = io->op != GD_DISK_READ && io->op != GD_DISK_FLUSH;

	io->progress = 0;
	io->again = 0;
	io->result = 0;
	queue->busy++;
	if (writes && queue->disk->info.readonly)
		io_finish(queue, io, -EROFS);
	else
		list_append(&queue->waiting, io);
	queue_drain(queue, true);
}

void gd_disk_queue_send(struct gd_disk_queue *queue)
{
	queue_drain(queue, false);
}

void gd_disk_queue_cqe(struct gd_disk_queue *queue, struct io_uring_cqe *cqe)
{
	enum gd_disk_kind kind = (enum gd_disk_kind)(cqe->user_data >> 48 & 0xff);
	uint32_t generation = (uint32_t)(cqe->user_data >> 16);
	unsigned index = (unsigned)(cqe->user_data & 0xffff);
	struct gd_disk_slot *slot = NULL;

	if (kind == GD_KIND_IO) {
		if (index >= queue->depth || !queue->slots[index].io || queue->slots[index].generation != generation) {
			gd_log(queue->disk->log, GD_DEBUG,
			       "a completion that nobody waits for: user_data 0x%llx, result %d",
			       (unsigned long long)cqe->user_data, cqe->res);
			return;
		}
		slot = &queue->slots[index];
	}
	queue->disk->engine->cqe(queue, kind, generation, slot, cqe->res);
	queue_drain(queue, false);
}

unsigned gd_disk_queue_busy(const struct gd_disk_queue *queue)
{
	return queue->busy;
}

unsigned gd_disk_queue_events(const struct gd_disk_queue *queue)
{
	return queue->busy && queue->disk->engine->stream ? 1 : queue->busy;
}

void gd_disk_queue_cancel(struct gd_disk_queue *queue)
{
	queue->cancelled = true;
	if (queue->disk->engine->cancel)
		queue->disk->engine->cancel(queue);
	queue_drain(queue, false);
}

static int slots_alloc(struct gd_disk_queue *queue)
{
	static uint32_t seed; /* so that a completion of another queue with the same ring and tag is not taken for one
				 of this */
	uint32_t generation = __atomic_add_fetch(&seed, 0x01000193u, __ATOMIC_RELAXED);
	unsigned i;

	queue->slots = calloc(queue->depth, sizeof(*queue->slots));
	if (!queue->slots)
		return -ENOMEM;
	for (i = queue->depth; i-- > 0;) {
		struct gd_disk_slot *slot = &queue->slots[i];

		slot->index = (uint16_t)i;
		slot->generation = generation;
		slot->next = queue->free;
		queue->free = slot;
	}
	return 0;
}

int gd_disk_queue_open(struct gd_disk_queue **out, struct gd_disk *disk, struct io_uring *ring, uint8_t tag,
		       unsigned depth)
{
	struct gd_disk_queue *queue;
	int result;

	if (!depth || depth > DEPTH_MAX)
		return -EINVAL;
	queue = calloc(1, disk->engine->queue_bytes);
	if (!queue)
		return -ENOMEM;
	queue->disk = disk;
	queue->ring = ring;
	queue->tag = tag;
	queue->depth = depth;
	list_init(&queue->waiting);
	list_init(&queue->finished);
	result = slots_alloc(queue);
	if (result)
		goto free_queue;
	result = disk->engine->queue_open ? disk->engine->queue_open(queue) : 0;
	if (result)
		goto free_slots;
	*out = queue;
	return 0;

free_slots:
	free(queue->slots);
free_queue:
	free(queue);
	return result;
}

void gd_disk_queue_close(struct gd_disk_queue *queue)
{
	if (!queue)
		return;
	if (queue->disk->engine->queue_close)
		queue->disk->engine->queue_close(queue);
	free(queue->slots);
	free(queue);
}
