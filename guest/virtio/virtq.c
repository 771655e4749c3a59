/* SPDX-License-Identifier: MIT */
#include "virtq.h"

#include "shared.h"

/*
 * The used ring has units of its own: what the driver writes is granted to the device for reading alone. Nothing here
 * reads that back, but a device that cannot write it cannot confuse anybody who does.
 */
static uint32_t used_offset(uint32_t size)
{
	return (gio_virtq_desc_bytes(size) + gio_virtq_avail_bytes(size) + GIO_PAGE_MASK) & ~GIO_PAGE_MASK;
}

static uint32_t ring_bytes(uint32_t size)
{
	return used_offset(size) + gio_virtq_used_bytes(size);
}

static void ring_place(struct gio_virtq *vq, uint8_t *ring)
{
	uint32_t avail = gio_virtq_desc_bytes(vq->size);
	uint32_t used = used_offset(vq->size);

	/* Page-aligned memory and multiples of 16 and of a page: aligned for any of the three. */
	vq->desc = (void *)ring;
	vq->avail = (void *)(ring + avail);
	vq->used = (void *)(ring + used);
	vq->used_event = (void *)(ring + avail + gio_virtq_used_event_offset(vq->size));
	vq->avail_event = (const void *)(ring + used + gio_virtq_avail_event_offset(vq->size));
	vq->avail_addr = vq->desc_addr + avail;
	vq->used_addr = vq->desc_addr + used;
}

int gio_virtq_init(struct gio_virtq *vq, struct gio_dma *dma, uint32_t size, bool event_idx)
{
	uint8_t *ring;

	*vq = (struct gio_virtq){.dma = dma, .size = size, .event_idx = event_idx, .free = size};
	if (!gio_virtq_size_valid(size))
		return -GIO_EINVAL;
	vq->next = gio_os_alloc(dma->os, size * sizeof(*vq->next));
	if (!vq->next)
		return -GIO_ENOMEM;
	vq->heads = gio_os_alloc(dma->os, size * sizeof(*vq->heads));
	if (!vq->heads)
		goto free_next;
	ring = gio_dma_alloc(dma, ring_bytes(size), used_offset(size), &vq->desc_addr);
	if (!ring)
		goto free_heads;
	ring_place(vq, ring);
	for (uint32_t i = 0; i < size; i++)
		vq->next[i] = (uint16_t)(i + 1);
	return 0;

free_heads:
	gio_os_free(dma->os, vq->heads, size * sizeof(*vq->heads));
free_next:
	gio_os_free(dma->os, vq->next, size * sizeof(*vq->next));
	*vq = (struct gio_virtq){0};
	return -GIO_ENOMEM;
}

void gio_virtq_exit(struct gio_virtq *vq)
{
	struct gio_dma *dma = vq->dma;

	if (!vq->desc)
		return;
	gio_dma_free(dma, vq->desc, ring_bytes(vq->size), vq->desc_addr);
	gio_os_free(dma->os, vq->heads, vq->size * sizeof(*vq->heads));
	gio_os_free(dma->os, vq->next, vq->size * sizeof(*vq->next));
	*vq = (struct gio_virtq){0};
}

int gio_virtq_reserve(struct gio_virtq *vq, uint32_t count)
{
	if (vq->broken)
		return -GIO_EPROTO;
	if (count > vq->free)
		return -GIO_ENOSPC;
	vq->free -= count;
	return 0;
}

void gio_virtq_unreserve(struct gio_virtq *vq, uint32_t count)
{
	vq->free += count;
}

/* ---- chains ----------------------------------------------------------------------------------------------------- */

/* Take a reserved descriptor off the list of free ones. Cannot be empty, because it was reserved. */
static uint16_t desc_take(struct gio_virtq *vq)
{
	uint16_t i = vq->free_head;

	vq->free_head = vq->next[i];
	return i;
}

/* Put the chain that starts at `head` back, in one piece. Goes by private memory: the device cannot bend it. */
static void descs_put(struct gio_virtq *vq, uint16_t head, uint32_t count)
{
	uint16_t last = head;

	for (uint32_t i = 1; i < count; i++)
		last = vq->next[last];
	vq->next[last] = vq->free_head;
	vq->free_head = head;
	vq->free += count;
}

static void desc_write(struct gio_virtq_desc *desc, gio_dma_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	shared_store64(&desc->addr, addr);
	shared_store32(&desc->len, len);
	shared_store16(&desc->flags, flags);
	shared_store16(&desc->next, next);
}

void gio_virtq_chain_start(struct gio_virtq_chain *chain, struct gio_virtq *vq, uint32_t count)
{
	*chain = (struct gio_virtq_chain){.vq = vq, .count = count, .head = vq->free_head};
}

void gio_virtq_chain_start_indirect(struct gio_virtq_chain *chain, struct gio_virtq *vq, uint32_t count,
				    struct gio_virtq_desc *table, gio_dma_t table_addr)
{
	uint16_t head = desc_take(vq);

	*chain = (struct gio_virtq_chain){.vq = vq, .table = table, .count = count, .head = head, .last = head};
	desc_write(&vq->desc[head], table_addr, count * (uint32_t)sizeof(*table), GIO_VIRTQ_DESC_F_INDIRECT, 0);
}

void gio_virtq_chain_add(struct gio_virtq_chain *chain, gio_dma_t addr, uint32_t len, bool device_writes)
{
	struct gio_virtq *vq = chain->vq;
	uint16_t flags = device_writes ? GIO_VIRTQ_DESC_F_WRITE : 0;
	bool more = ++chain->added < chain->count;

	if (more)
		flags |= GIO_VIRTQ_DESC_F_NEXT;
	if (chain->table) {
		desc_write(&chain->table[chain->added - 1], addr, len, flags, more ? (uint16_t)chain->added : 0);
		return;
	}
	/* The next one to be taken is known already: it is what the list of free descriptors goes on with. */
	chain->last = desc_take(vq);
	desc_write(&vq->desc[chain->last], addr, len, flags, more ? vq->free_head : 0);
}

void gio_virtq_chain_publish(struct gio_virtq_chain *chain, uint16_t cookie)
{
	struct gio_virtq *vq = chain->vq;
	uint16_t count = chain->table ? 1 : (uint16_t)chain->count;

	vq->heads[chain->head] = (struct gio_virtq_head){.count = count, .cookie = cookie};
	vq->in_flight++;
	vq->unkicked++;
	shared_store16(&vq->avail->ring[vq->avail_idx & (vq->size - 1)], chain->head);
	/*
	 * Release: the descriptors, what they point to, and the ring entry above are seen before the index that covers
	 * them. Matches the device's read barrier between its load of avail->idx and its loads of those (2.7.13.3).
	 */
	shared_store16_release(&vq->avail->idx, ++vq->avail_idx);
}

bool gio_virtq_kick_prepare(struct gio_virtq *vq)
{
	uint16_t before = (uint16_t)(vq->avail_idx - vq->unkicked);
	bool kick;

	if (vq->broken || vq->unkicked == 0)
		return false;
	/*
	 * Full barrier: our store of avail->idx before our load of avail_event (or flags). Matches the device's between
	 * its store of avail_event (flags) and its last look at avail->idx: one of us sees the other's store, so either
	 * we kick or it goes on (2.7.13.4.1).
	 */
	shared_full_barrier();
	if (vq->unkicked > UINT16_MAX)
		kick = true; /* the event may lie a whole turn behind: the comparison would not see it passed */
	else if (vq->event_idx)
		kick = gio_virtq_need_event(shared_load16(vq->avail_event), vq->avail_idx, before);
	else
		kick = !(shared_load16(&vq->used->flags) & GIO_VIRTQ_USED_F_NO_NOTIFY);
	/* Not kicked is told as well: the device looks at avail->idx again after it changes its mind. */
	vq->unkicked = 0;
	return kick;
}

/* ---- completion ------------------------------------------------------------------------------------------------- */

static int ring_break(struct gio_virtq *vq)
{
	vq->broken = true;
	return -GIO_EPROTO;
}

/* Without event_idx: hint to the device that nobody needs interrupts while this side is reaping anyway (2.7.7). */
static void interrupts_quiet(struct gio_virtq *vq)
{
	if (vq->event_idx || vq->quiet)
		return;
	shared_store16(&vq->avail->flags, GIO_VIRTQ_AVAIL_F_NO_INTERRUPT);
	vq->quiet = true;
}

int gio_virtq_reap(struct gio_virtq *vq, uint16_t *cookie)
{
	const struct gio_virtq_used_elem *elem = &vq->used->ring[vq->used_idx & (vq->size - 1)];
	struct gio_virtq_head *head;
	uint16_t pending;
	uint32_t id;

	if (vq->broken)
		return -GIO_EPROTO;
	/*
	 * Acquire: the index before the element, the status byte and the data that it covers. Matches the device's
	 * write barrier between those and its store of used->idx (2.7.8.2).
	 */
	pending = (uint16_t)(shared_load16_acquire(&vq->used->idx) - vq->used_idx);
	if (pending == 0)
		return -GIO_EAGAIN;
	/* No more than is in flight, and so never more than the ring's size: catches steps back as well. */
	if (pending > vq->in_flight)
		return ring_break(vq);
	/*
	 * The element's len is not read at all. It says how much the device claims to have written, nothing here is
	 * the safer for knowing, and some backends (of kvmtool's line) put the bytes of a write there.
	 */
	id = shared_load32(&elem->id);
	if (id >= vq->size || vq->heads[id].count == 0)
		return ring_break(vq);
	interrupts_quiet(vq);
	head = &vq->heads[id];
	*cookie = head->cookie;
	descs_put(vq, (uint16_t)id, head->count);
	head->count = 0;
	vq->in_flight--;
	vq->used_idx++;
	return 0;
}

bool gio_virtq_rearm(struct gio_virtq *vq)
{
	if (vq->broken)
		return false;
	if (vq->event_idx && vq->armed != vq->used_idx) {
		shared_store16(vq->used_event, vq->used_idx);
	} else if (vq->quiet) {
		shared_store16(&vq->avail->flags, 0);
		vq->quiet = false;
	} else {
		return false; /* armed for this very index already, and checked after that */
	}
	vq->armed = vq->used_idx;
	/*
	 * Full barrier: our store of used_event (or flags) before our load of used->idx. Matches the device's between
	 * its store of used->idx and its load of used_event (flags): either it raises an interrupt or we see the
	 * element here (2.7.10.1, 2.7.14).
	 */
	shared_full_barrier();
	return shared_load16(&vq->used->idx) != vq->used_idx;
}
