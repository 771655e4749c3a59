/* SPDX-License-Identifier: MIT */
#include "backend/virtio/queue.h"

#include <errno.h>

#include <abi/virtio_ring.h>

#include "backend/guestmem/shared.h"

_Static_assert(offsetof(struct gio_virtq_avail, idx) == 2 && offsetof(struct gio_virtq_used, idx) == 2, "2.7");

/* Of a place in a mapped part. Offsets are ours, or were checked against the size: they lie within the mapping. */
static void *part_at(const struct gd_guestmap *part, uint32_t offset)
{
	return (char *)part->data + offset;
}

static bool aligned(gio_dma_t addr, uint64_t to)
{
	return (addr & (to - 1)) == 0;
}

static bool layout_valid(const struct gd_queue_layout *layout, uint32_t size_max)
{
	return gio_virtq_size_valid(layout->size) && layout->size <= size_max &&
	       aligned(layout->desc, GIO_VIRTQ_DESC_ALIGN) && aligned(layout->driver, GIO_VIRTQ_AVAIL_ALIGN) &&
	       aligned(layout->device, GIO_VIRTQ_USED_ALIGN);
}

static int queue_map(struct gd_queue *queue, struct gd_guestmem *mem, const struct gd_queue_layout *layout,
		     uint32_t size_max)
{
	int err;

	if (!layout_valid(layout, size_max))
		return -EPROTO;
	*queue = (struct gd_queue){.size = (uint16_t)layout->size,
				   .event_idx = layout->event_idx,
				   .indirect = layout->indirect,
				   .ledger = layout->ledger};
	err = gd_guestmem_map(mem, layout->desc, gio_virtq_desc_bytes(layout->size), GD_ACCESS_READ, &queue->desc);
	if (err)
		return err;
	err = gd_guestmem_map(mem, layout->driver, gio_virtq_avail_bytes(layout->size), GD_ACCESS_READ, &queue->avail);
	if (err)
		goto err_unmap;
	err = gd_guestmem_map(mem, layout->device, gio_virtq_used_bytes(layout->size), GD_ACCESS_WRITE, &queue->used);
	if (err)
		goto err_unmap;
	return 0;

err_unmap:
	gd_queue_close(queue, mem);
	return err;
}

int gd_queue_open(struct gd_queue *queue, struct gd_guestmem *mem, const struct gd_queue_layout *layout,
		  uint32_t size_max)
{
	int err = queue_map(queue, mem, layout, size_max);

	if (err)
		return err;
	queue->armed = true;
	gd_ledger_begin(queue->ledger);
	return 0;
}

/* All that was ever taken is either published or left: so the ledger need not say how many that were. */
int gd_queue_resume(struct gd_queue *queue, struct gd_guestmem *mem, const struct gd_queue_layout *layout,
		    uint32_t size_max)
{
	int err = queue_map(queue, mem, layout, size_max), lefts;
	uint16_t used;

	if (err)
		return err;
	/* The guest's, and so perhaps a lie: then its own requests are done again, or never answered. */
	used = gd_shared_load16(part_at(&queue->used, offsetof(struct gio_virtq_used, idx)));
	lefts = gd_ledger_settle(queue->ledger, used, queue->size, queue->left);
	if (lefts < 0) {
		gd_queue_close(queue, mem);
		return lefts;
	}
	queue->lefts = (uint16_t)lefts;
	queue->published = queue->next_used = queue->ledger->shown;
	queue->next_avail = (uint16_t)(queue->published + lefts);
	return 0;
}

void gd_queue_close(struct gd_queue *queue, struct gd_guestmem *mem)
{
	gd_guestmem_unmap(mem, &queue->used);
	gd_guestmem_unmap(mem, &queue->avail);
	gd_guestmem_unmap(mem, &queue->desc);
}

int gd_queue_look(struct gd_queue *queue)
{
	/*
	 * Acquire: entries and descriptors are read after the index that covers them. Pairs with the driver's write
	 * barrier between filling them and storing the index (2.7.13.3).
	 */
	uint16_t idx = gd_shared_load16_acquire(part_at(&queue->avail, offsetof(struct gio_virtq_avail, idx)));
	uint16_t waiting = (uint16_t)(idx - queue->next_avail);

	queue->from_left = queue->next_left < queue->lefts;
	if (queue->from_left)
		return queue->lefts - queue->next_left;
	return waiting > queue->size ? -EPROTO : waiting;
}

static int head_waiting(const struct gd_queue *queue)
{
	uint32_t entry = queue->next_avail & (queue->size - 1u);
	uint16_t head = gd_shared_load16(
		part_at(&queue->avail, (uint32_t)(sizeof(struct gio_virtq_avail) + entry * sizeof(uint16_t))));

	return head < queue->size ? head : -EPROTO;
}

int gd_queue_head(const struct gd_queue *queue)
{
	return queue->from_left ? queue->left[queue->next_left] : head_waiting(queue);
}

void gd_queue_advance(struct gd_queue *queue, int n)
{
	uint16_t *next = queue->from_left ? &queue->next_left : &queue->next_avail;

	*next = (uint16_t)(*next + n);
}

void gd_queue_keep(struct gd_queue *queue, uint16_t head)
{
	gd_ledger_take(queue->ledger, head);
}

void gd_queue_change(struct gd_queue *queue, uint16_t head)
{
	gd_ledger_change(queue->ledger, head);
}

struct gd_desc gd_queue_desc(const struct gd_queue *queue, uint16_t index)
{
	const char *desc = part_at(&queue->desc, index * (uint32_t)sizeof(struct gio_virtq_desc));
	uint64_t rest = gd_shared_load64(desc + offsetof(struct gio_virtq_desc, len)); /* len, flags, next: one load */

	return (struct gd_desc){.addr = gd_shared_load64(desc),
				.length = (uint32_t)rest,
				.flags = (uint16_t)(rest >> 32),
				.next = (uint16_t)(rest >> 48)};
}

bool gd_queue_arm(struct gd_queue *queue)
{
	if (queue->event_idx)
		gd_shared_store16(part_at(&queue->used, gio_virtq_avail_event_offset(queue->size)), queue->next_avail);
	else if (!queue->armed)
		gd_shared_store16(part_at(&queue->used, offsetof(struct gio_virtq_used, flags)), 0);
	queue->armed = true;
	/*
	 * Orders our store of avail_event (or flags) before the load of the available index below. Pairs with the
	 * driver's full barrier between its store of the index and its load of avail_event (2.7.13.4.1): either it sees
	 * that we want a kick, or we see its chain.
	 */
	gd_shared_barrier();
	return gd_shared_load16(part_at(&queue->avail, offsetof(struct gio_virtq_avail, idx))) == queue->next_avail;
}

void gd_queue_disarm(struct gd_queue *queue)
{
	/* With EVENT_IDX there is nothing to store: avail_event stays behind, and the driver passes it only once. */
	if (!queue->event_idx && queue->armed)
		gd_shared_store16(part_at(&queue->used, offsetof(struct gio_virtq_used, flags)),
				  GIO_VIRTQ_USED_F_NO_NOTIFY);
	queue->armed = false;
}

void gd_queue_use(struct gd_queue *queue, uint16_t head, uint32_t written)
{
	uint32_t entry = queue->next_used & (queue->size - 1u);
	uint16_t unpublished = (uint16_t)(queue->next_used - queue->published);
	char *used = part_at(&queue->used,
			     (uint32_t)(sizeof(struct gio_virtq_used) + entry * sizeof(struct gio_virtq_used_elem)));

	gd_ledger_answer(queue->ledger, head);
	queue->answered[unpublished] = head;
	gd_shared_store32(used + offsetof(struct gio_virtq_used_elem, id), head);
	gd_shared_store32(used + offsetof(struct gio_virtq_used_elem, len), written);
	queue->next_used++;
}

bool gd_queue_publish(struct gd_queue *queue)
{
	uint16_t before = queue->published, now = queue->next_used;

	if (before == now)
		return false;
	gd_ledger_show(queue->ledger, now);
	/*
	 * Release: the entries (and the copies into the guest's buffers, which a system call ended) are there before
	 * the index that shows them. Pairs with the driver's read barrier after loading the index (2.7.14).
	 */
	gd_shared_store16_release(part_at(&queue->used, offsetof(struct gio_virtq_used, idx)), now);
	queue->published = now;
	gd_ledger_shown(queue->ledger, queue->answered, (uint16_t)(now - before));
	/*
	 * Orders our store of the used index before the load of used_event (or flags). Pairs with the driver's full
	 * barrier between storing used_event and looking at the used index again (2.7.10): either it sees the entries,
	 * or we see that it wants an interrupt.
	 */
	gd_shared_barrier();
	if (queue->event_idx)
		return gio_virtq_need_event(
			gd_shared_load16(part_at(&queue->avail, gio_virtq_used_event_offset(queue->size))), now,
			before);
	return !(gd_shared_load16(part_at(&queue->avail, offsetof(struct gio_virtq_avail, flags))) &
		 GIO_VIRTQ_AVAIL_F_NO_INTERRUPT);
}
