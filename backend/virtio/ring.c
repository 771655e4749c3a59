/* SPDX-License-Identifier: MIT */
#include "backend/virtio/ring.h"

#include <errno.h>

#include <abi/virtio_ring.h>

#include "backend/guestmem/shared.h"

_Static_assert(offsetof(struct gio_virtq_avail, idx) == 2 && offsetof(struct gio_virtq_used, idx) == 2, "2.7");

/* A place in a mapped part. It is in the mapping: offsets are ours, or were checked against the size. */
static void *part_at(const struct gd_guestmap *part, uint32_t offset)
{
	return (char *)part->data + offset;
}

static bool aligned(gio_dma_t addr, uint64_t to)
{
	return (addr & (to - 1)) == 0;
}

static bool layout_valid(const struct gd_ring_layout *layout, uint32_t size_max)
{
	return gio_virtq_size_valid(layout->size) && layout->size <= size_max &&
	       aligned(layout->desc, GIO_VIRTQ_DESC_ALIGN) && aligned(layout->driver, GIO_VIRTQ_AVAIL_ALIGN) &&
	       aligned(layout->device, GIO_VIRTQ_USED_ALIGN);
}

static int queue_map(struct gd_ring *ring, struct gd_guestmem *mem, const struct gd_ring_layout *layout,
		     uint32_t size_max)
{
	int err;

	if (!layout_valid(layout, size_max))
		return -EPROTO;
	*ring = (struct gd_ring){.size = (uint16_t)layout->size,
				 .event_idx = layout->event_idx,
				 .indirect = layout->indirect,
				 .ledger = layout->ledger,
				 .pool = layout->pool};
	err = gd_guestmem_map(mem, layout->desc, gio_virtq_desc_bytes(layout->size), GD_ACCESS_READ, &ring->desc);
	if (err)
		return err;
	err = gd_guestmem_map(mem, layout->driver, gio_virtq_avail_bytes(layout->size), GD_ACCESS_READ, &ring->avail);
	if (err)
		goto err_unmap;
	err = gd_guestmem_map(mem, layout->device, gio_virtq_used_bytes(layout->size), GD_ACCESS_WRITE, &ring->used);
	if (err)
		goto err_unmap;
	return 0;

err_unmap:
	gd_ring_close(ring, mem);
	return err;
}

int gd_ring_open(struct gd_ring *ring, struct gd_guestmem *mem, const struct gd_ring_layout *layout, uint32_t size_max)
{
	int err = queue_map(ring, mem, layout, size_max);

	if (err)
		return err;
	ring->armed = true;
	gd_ledger_begin(ring->ledger);
	return 0;
}

/* Every chain that was taken is either published or left: so the ledger need not say how many there were. */
int gd_ring_resume(struct gd_ring *ring, struct gd_guestmem *mem, const struct gd_ring_layout *layout,
		   uint32_t size_max)
{
	int err = queue_map(ring, mem, layout, size_max), lefts;
	uint16_t used;

	if (err)
		return err;
	/* The guest may have changed it: then requests of its own are done again, or never answered. */
	used = gd_shared_load16(part_at(&ring->used, offsetof(struct gio_virtq_used, idx)));
	lefts = gd_ledger_settle(ring->ledger, used, ring->size, ring->left);
	if (lefts < 0) {
		gd_ring_close(ring, mem);
		return lefts;
	}
	ring->lefts = (uint16_t)lefts;
	ring->published = ring->next_used = ring->ledger->shown;
	ring->next_avail = (uint16_t)(ring->published + lefts);
	return 0;
}

void gd_ring_close(struct gd_ring *ring, struct gd_guestmem *mem)
{
	gd_guestmem_unmap(mem, &ring->used);
	gd_guestmem_unmap(mem, &ring->avail);
	gd_guestmem_unmap(mem, &ring->desc);
}

int gd_ring_look(struct gd_ring *ring)
{
	/*
	 * Acquire: entries and descriptors are read after the index that covers them. Pairs with the driver's write
	 * barrier between filling them and storing the index (2.7.13.3).
	 */
	uint16_t idx = gd_shared_load16_acquire(part_at(&ring->avail, offsetof(struct gio_virtq_avail, idx)));
	uint16_t waiting = (uint16_t)(idx - ring->next_avail);

	ring->from_left = ring->next_left < ring->lefts;
	if (ring->from_left)
		return ring->lefts - ring->next_left;
	return waiting > ring->size ? -EPROTO : waiting;
}

static int head_waiting(const struct gd_ring *ring)
{
	uint32_t entry = ring->next_avail & (ring->size - 1u);
	uint16_t head = gd_shared_load16(
		part_at(&ring->avail, (uint32_t)(sizeof(struct gio_virtq_avail) + entry * sizeof(uint16_t))));

	return head < ring->size ? head : -EPROTO;
}

int gd_ring_head(const struct gd_ring *ring)
{
	return ring->from_left ? ring->left[ring->next_left] : head_waiting(ring);
}

void gd_ring_advance(struct gd_ring *ring, int n)
{
	uint16_t *next = ring->from_left ? &ring->next_left : &ring->next_avail;

	*next = (uint16_t)(*next + n);
}

void gd_ring_keep(struct gd_ring *ring, uint16_t head)
{
	gd_ledger_take(ring->ledger, head);
}

void gd_ring_change(struct gd_ring *ring, uint16_t head)
{
	gd_ledger_change(ring->ledger, head);
}

struct gd_desc gd_ring_desc(const struct gd_ring *ring, uint16_t index)
{
	const char *desc = part_at(&ring->desc, index * (uint32_t)sizeof(struct gio_virtq_desc));
	uint64_t rest = gd_shared_load64(desc + offsetof(struct gio_virtq_desc, len)); /* len, flags, next: one load */

	return (struct gd_desc){.addr = gd_shared_load64(desc),
				.length = (uint32_t)rest,
				.flags = (uint16_t)(rest >> 32),
				.next = (uint16_t)(rest >> 48)};
}

bool gd_ring_arm(struct gd_ring *ring)
{
	if (ring->event_idx)
		gd_shared_store16(part_at(&ring->used, gio_virtq_avail_event_offset(ring->size)), ring->next_avail);
	else if (!ring->armed)
		gd_shared_store16(part_at(&ring->used, offsetof(struct gio_virtq_used, flags)), 0);
	ring->armed = true;
	/*
	 * Orders our store of avail_event (or flags) before the load of the available index below. Pairs with the
	 * driver's full barrier between its store of the index and its load of avail_event (2.7.13.4.1): either it sees
	 * that we want a kick, or we see its chain.
	 */
	gd_shared_barrier();
	return gd_shared_load16(part_at(&ring->avail, offsetof(struct gio_virtq_avail, idx))) == ring->next_avail;
}

bool gd_ring_waiting(const struct gd_ring *ring)
{
	return gd_shared_load16(part_at(&ring->avail, offsetof(struct gio_virtq_avail, idx))) != ring->next_avail;
}

void gd_ring_disarm(struct gd_ring *ring)
{
	/*
	 * With EVENT_IDX avail_event is put behind the index, which passes it only once. If the thread was woken by the
	 * disk, and not by a kick, the index has not passed it yet.
	 */
	if (ring->armed && ring->event_idx)
		gd_shared_store16(part_at(&ring->used, gio_virtq_avail_event_offset(ring->size)),
				  (uint16_t)(ring->next_avail - 1));
	else if (ring->armed)
		gd_shared_store16(part_at(&ring->used, offsetof(struct gio_virtq_used, flags)),
				  GIO_VIRTQ_USED_F_NO_NOTIFY);
	ring->armed = false;
}

void gd_ring_use(struct gd_ring *ring, uint16_t head, uint32_t written)
{
	uint32_t entry = ring->next_used & (ring->size - 1u);
	uint16_t unpublished = (uint16_t)(ring->next_used - ring->published);
	char *used = part_at(&ring->used,
			     (uint32_t)(sizeof(struct gio_virtq_used) + entry * sizeof(struct gio_virtq_used_elem)));

	gd_ledger_answer(ring->ledger, head);
	ring->answered[unpublished] = head;
	gd_shared_store32(used + offsetof(struct gio_virtq_used_elem, id), head);
	gd_shared_store32(used + offsetof(struct gio_virtq_used_elem, len), written);
	ring->next_used++;
}

bool gd_ring_publish(struct gd_ring *ring)
{
	uint16_t before = ring->published, now = ring->next_used;

	if (before == now)
		return false;
	gd_ledger_show(ring->ledger, now);
	/*
	 * Release: the entries are stored before the index that shows them, and so are the copies into the guest's
	 * buffers, whose system call has returned. Pairs with the driver's read barrier after loading the index
	 * (2.7.14).
	 */
	gd_shared_store16_release(part_at(&ring->used, offsetof(struct gio_virtq_used, idx)), now);
	ring->published = now;
	gd_ledger_shown(ring->ledger, ring->answered, (uint16_t)(now - before));
	/*
	 * Orders our store of the used index before the load of used_event (or flags). Pairs with the driver's full
	 * barrier between storing used_event and looking at the used index again (2.7.10): either it sees the entries,
	 * or we see that it wants an interrupt.
	 */
	gd_shared_barrier();
	if (ring->event_idx)
		return gio_virtq_need_event(
			gd_shared_load16(part_at(&ring->avail, gio_virtq_used_event_offset(ring->size))), now, before);
	return !(gd_shared_load16(part_at(&ring->avail, offsetof(struct gio_virtq_avail, flags))) &
		 GIO_VIRTQ_AVAIL_F_NO_INTERRUPT);
}
