/* SPDX-License-Identifier: MIT */
/* A request queue of virtio-blk: slots, and the way of a request through the ring. */
#include "blk.h"

#include "shared.h"

#include <abi/virtio.h>

#define WORD_BITS 32u

/* No status that virtio knows: what a request reads as that the device completes without writing its status. */
#define STATUS_UNWRITTEN 0xffu

static size_t words_bytes(uint32_t slots)
{
	return (slots + WORD_BITS - 1) / WORD_BITS * sizeof(uint32_t);
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

/* Mark the bits behind the last slot, so that nobody looks for one there. */
static void slots_init(struct blk_queue *q)
{
	if (q->slots % WORD_BITS)
		q->busy[q->slots / WORD_BITS] = ~0u << q->slots % WORD_BITS;
}

int gio_blk_queue_init(struct gio_blk *blk, unsigned index, uint32_t size)
{
	struct blk_queue *q = &blk->queue[index];
	int err = gio_virtq_init(&q->vq, &blk->dma, size, blk->info.features & GIO_VIRTIO_F_EVENT_IDX);

	if (err)
		return err;
	/* The shortest request takes one descriptor through a table, else two. */
	q->slots = blk->info.features & GIO_VIRTIO_F_INDIRECT_DESC ? size : size / BLK_EXTRA_BUFS;
	q->index = index;
	q->capacity = blk->info.capacity;
	err = -GIO_ENOMEM;
	q->busy = gio_os_alloc(blk->os, words_bytes(q->slots));
	if (!q->busy)
		goto exit_virtq;
	q->reqs = gio_os_alloc(blk->os, q->slots * sizeof(struct gio_blk_req *));
	if (!q->reqs)
		goto free_busy;
	err = gio_blk_arrays_init(blk, q);
	if (err)
		goto free_reqs;
	slots_init(q);
	gio_os_lock_init(&q->lock);
	return 0;

free_reqs:
	gio_os_free(blk->os, q->reqs, q->slots * sizeof(struct gio_blk_req *));
free_busy:
	gio_os_free(blk->os, q->busy, words_bytes(q->slots));
exit_virtq:
	gio_virtq_exit(&q->vq);
	return err;
}

void gio_blk_queue_exit(struct gio_blk *blk, struct blk_queue *q)
{
	gio_os_lock_exit(&q->lock);
	gio_blk_arrays_exit(blk, q);
	gio_os_free(blk->os, q->reqs, q->slots * sizeof(struct gio_blk_req *));
	gio_os_free(blk->os, q->busy, words_bytes(q->slots));
	gio_virtq_exit(&q->vq);
}

/* ---- slots: see struct blk_queue -------------------------------------------------------------------------------- */

static int slot_get(struct blk_queue *q, uint16_t *slot)
{
	uint32_t words = (uint32_t)(words_bytes(q->slots) / sizeof(uint32_t));
	uint32_t word = q->cursor / WORD_BITS;
	uint32_t mask = ~0u << q->cursor % WORD_BITS;

	/* One word more than there are: the first is looked at twice, from the cursor on and then as a whole. */
	for (uint32_t i = 0; i <= words; i++) {
		uint32_t idle = ~q->busy[word] & mask;

		if (idle) {
			uint32_t bit = (uint32_t)__builtin_ctz(idle);

			q->busy[word] |= 1u << bit;
			*slot = (uint16_t)(word * WORD_BITS + bit);
			q->cursor = *slot + 1u == q->slots ? 0 : *slot + 1u;
			return 0;
		}
		mask = ~0u;
		word = word + 1 == words ? 0 : word + 1;
	}
	return -GIO_ENOSPC;
}

static void slot_put(struct blk_queue *q, uint16_t slot)
{
	q->busy[slot / WORD_BITS] &= ~(1u << slot % WORD_BITS);
}

/* ---- submission ------------------------------------------------------------------------------------------------- */

/* How many entries of the descriptor table a request takes: one for an indirect table, or one for each buffer. */
static uint32_t plan_descs(const struct blk_plan *plan)
{
	return plan->table ? 1 : plan->bufs;
}

static bool capacity_covers(uint64_t capacity, uint64_t first, uint64_t count)
{
	return count <= capacity && first <= capacity - count;
}

/* Take all that the request needs of the queue, with the lock held. */
static int slot_reserve(struct blk_queue *q, struct gio_blk_req *req, const struct blk_plan *plan)
{
	int err;

	if (!capacity_covers(q->capacity, plan->first, plan->count))
		return -GIO_ERANGE;
	err = gio_virtq_reserve(&q->vq, plan_descs(plan));
	if (err)
		return err;
	err = slot_get(q, &req->slot);
	if (err)
		gio_virtq_unreserve(&q->vq, plan_descs(plan));
	return err;
}

static void slot_unreserve(struct blk_queue *q, struct gio_blk_req *req, const struct blk_plan *plan)
{
	slot_put(q, req->slot);
	gio_virtq_unreserve(&q->vq, plan_descs(plan));
}

static uint8_t *status_of(const struct blk_queue *q, uint16_t slot)
{
	return q->statuses.va + slot;
}

static void range_write(struct blk_queue *q, const struct gio_blk_req *req)
{
	struct gio_virtio_blk_range *range = (void *)(q->ranges.va + req->slot * sizeof(*range));
	bool unmap = req->op == GIO_BLK_WRITE_ZEROES && req->unmap;

	shared_store64(&range->sector, req->sector);
	/* Fits: it is not above the device's own limit. */
	shared_store32(&range->num_sectors, (uint32_t)req->sectors);
	shared_store32(&range->flags, unmap ? GIO_VIRTIO_BLK_RANGE_F_UNMAP : 0);
}

/* Fill in the slot's own memory: the header, the range of a DISCARD, and a status that no device writes. */
static void header_write(struct blk_queue *q, const struct gio_blk_req *req, const struct blk_plan *plan)
{
	struct gio_virtio_blk_outhdr *header = (void *)(q->headers.va + req->slot * sizeof(*header));

	shared_store32(&header->type, plan->type);
	shared_store32(&header->reserved, 0);
	shared_store64(&header->sector, plan->range || !plan->count ? 0 : req->sector);
	if (plan->range)
		range_write(q, req);
	shared_store8(status_of(q, req->slot), STATUS_UNWRITTEN);
}

static void chain_start(struct gio_virtq_chain *chain, struct blk_queue *q, const struct gio_blk_req *req,
			const struct blk_plan *plan)
{
	size_t at = req->slot * BLK_TABLE_ENTRIES * sizeof(struct gio_virtq_desc);

	if (plan->table)
		gio_virtq_chain_start_indirect(chain, &q->vq, plan->bufs, (void *)(q->tables.va + at),
					       q->tables.addr + at);
	else
		gio_virtq_chain_start(chain, &q->vq, plan->bufs);
}

/* All that the device reads comes before all that it writes: virtio 1.2, 2.7.4.2. */
static void chain_write(struct blk_queue *q, const struct gio_blk_req *req, const struct blk_plan *plan)
{
	const uint32_t header = sizeof(struct gio_virtio_blk_outhdr), range = sizeof(struct gio_virtio_blk_range);
	struct gio_virtq_chain chain;

	chain_start(&chain, q, req, plan);
	gio_virtq_chain_add(&chain, q->headers.addr + req->slot * header, header, false);
	if (plan->range)
		gio_virtq_chain_add(&chain, q->ranges.addr + req->slot * range, range, false);
	for (unsigned i = 0; i < req->segments; i++)
		gio_virtq_chain_add(&chain, req->sg[i].addr, (uint32_t)req->sg[i].len, plan->reads);
	gio_virtq_chain_add(&chain, q->statuses.addr + req->slot, 1, true);
	gio_virtq_chain_publish(&chain, req->slot);
}

/* Put the request into the ring, with the lock held; unless the ring broke while its data was being mapped. */
static int slot_commit(struct blk_queue *q, struct gio_blk_req *req, const struct blk_plan *plan)
{
	if (q->vq.broken) {
		slot_unreserve(q, req, plan);
		return -GIO_EPROTO;
	}
	q->reqs[req->slot] = req;
	q->requests++;
	header_write(q, req, plan);
	chain_write(q, req, plan);
	return 0;
}

int gio_blk_queue_submit(struct gio_blk *blk, struct blk_queue *q, struct gio_blk_req *req, const struct blk_plan *plan)
{
	int err, mapped;

	gio_os_lock(&q->lock);
	err = slot_reserve(q, req, plan);
	gio_os_unlock(&q->lock);
	if (err)
		return err;
	/* Without the lock: growing the grant table may sleep. */
	mapped = gio_blk_data_map(blk, q->index, req);
	gio_os_lock(&q->lock);
	if (mapped == 0)
		err = slot_commit(q, req, plan);
	else
		slot_unreserve(q, req, plan);
	gio_os_unlock(&q->lock);
	if (err)
		gio_blk_data_drop(blk, req);
	return err ? err : mapped;
}

/* ---- completion ------------------------------------------------------------------------------------------------- */

/* Requests that are finished under the lock and handed back without it: `done` may submit the next one. */
struct req_list {
	struct gio_blk_req *first, **end;
	unsigned count;
};

static void list_add(struct req_list *list, struct gio_blk_req *req, int result)
{
	req->result = result;
	req->next = NULL;
	*list->end = req;
	list->end = &req->next;
	list->count++;
}

/* Take the request out of its slot, with the lock held: from here on nobody else can complete it. */
static void slot_finish(struct blk_queue *q, uint16_t slot, int result, struct req_list *list)
{
	struct gio_blk_req *req = q->reqs[slot];

	q->reqs[slot] = NULL;
	slot_put(q, slot);
	list_add(list, req, result);
}

/* Without locks: end the device's use of the data, then hand the requests back to their owners. */
static void list_finish(struct gio_blk *blk, struct req_list *list)
{
	struct gio_blk_req *req, *next;

	for (req = list->first; req; req = next) {
		next = req->next; /* `done` may free it or submit it again */
		gio_blk_data_finish(blk, req);
		req->done(req);
	}
}

/* Any other byte is an I/O error, one that the device left unwritten among them. */
static int status_result(uint8_t status)
{
	switch (status) {
	case GIO_VIRTIO_BLK_S_OK:
		return 0;
	case GIO_VIRTIO_BLK_S_UNSUPP:
		return -GIO_EOPNOTSUPP;
	default:
		return -GIO_EIO;
	}
}

/*
 * Reap until the ring is empty and, with `arm`, an interrupt is asked for. Bounded by what is in flight: nobody submits
 * while the lock is held, and a used element too many breaks the ring.
 */
static int queue_reap(struct blk_queue *q, bool arm, struct req_list *list)
{
	for (;;) {
		uint16_t slot;
		int err = gio_virtq_reap(&q->vq, &slot);

		if (err == -GIO_EAGAIN) {
			/* What came before the device saw that an interrupt is wanted came without one: look again. */
			if (arm && gio_virtq_rearm(&q->vq))
				continue;
			return 0;
		}
		if (err)
			return err;
		/* The status is read once, here, before the slot can be used by another request. */
		slot_finish(q, slot, status_result(shared_load8(status_of(q, slot))), list);
	}
}

unsigned gio_blk_queue_complete(struct gio_blk *blk, struct blk_queue *q, bool arm, int *err)
{
	struct req_list list = {.end = &list.first};

	gio_os_lock(&q->lock);
	*err = q->vq.broken ? 0 : queue_reap(q, arm, &list);
	gio_os_unlock(&q->lock);
	list_finish(blk, &list);
	return list.count;
}

unsigned gio_blk_queue_fail(struct gio_blk *blk, struct blk_queue *q, int result)
{
	struct req_list list = {.end = &list.first};

	gio_os_lock(&q->lock);
	q->vq.broken = true;
	for (uint32_t slot = 0; slot < q->slots; slot++)
		if (q->reqs[slot])
			slot_finish(q, (uint16_t)slot, result, &list);
	gio_os_unlock(&q->lock);
	list_finish(blk, &list);
	return list.count;
}
