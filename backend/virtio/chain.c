/* SPDX-License-Identifier: MIT */
#include "backend/virtio/chain.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include <abi/virtio_ring.h>

/* Note a segment. Empty ones are left out. */
static void segment_add(struct gd_chain *chain, const struct gd_desc *desc)
{
	bool write = desc->flags & GIO_VIRTQ_DESC_F_WRITE;

	if (desc->length == 0)
		return;
	if (write)
		chain->last = (struct gd_segment){.addr = desc->addr, .length = desc->length};
	if (!write && chain->writable > 0)
		chain->why = "a device-readable buffer follows a device-writable one";
	if (chain->readable + chain->writable == GD_CHAIN_SEGMENTS)
		chain->why = "more segments than the device takes";
	if (chain->why)
		return;
	chain->segments[chain->readable + chain->writable] =
		(struct gd_segment){.addr = desc->addr, .length = desc->length};
	if (write) {
		chain->writable++;
		chain->writable_bytes += desc->length; /* no overflow: 128 segments of 32 bits */
	} else {
		chain->readable++;
		chain->readable_bytes += desc->length;
	}
}

static void table_note(struct gd_chain *chain, const struct gd_desc *desc)
{
	if (desc->length == 0 || desc->length % sizeof(struct gio_virtq_desc) != 0)
		chain->why = "the length of the indirect table is no multiple of 16";
	else if (desc->length > GD_CHAIN_TABLE_BYTES)
		chain->why = "the indirect table is longer than the device takes";
	else
		chain->table = (struct gd_segment){.addr = desc->addr, .length = desc->length};
}

int gd_chain_walk(struct gd_chain *chain, const struct gd_ring *ring, uint16_t head)
{
	uint16_t index = head;

	memset(chain, 0, offsetof(struct gd_chain, segments));
	/* A chain that is longer than the table comes to an entry twice: it is a loop. */
	for (uint32_t n = 0; n < ring->size; n++) {
		struct gd_desc desc = gd_ring_desc(ring, index);

		if (desc.flags & GIO_VIRTQ_DESC_F_INDIRECT) {
			if (!ring->indirect || (desc.flags & GIO_VIRTQ_DESC_F_NEXT))
				return -EPROTO;
			table_note(chain, &desc);
			return 0;
		}
		segment_add(chain, &desc);
		if (!(desc.flags & GIO_VIRTQ_DESC_F_NEXT))
			return 0;
		if (desc.next >= ring->size)
			return -EPROTO;
		index = desc.next;
	}
	return -EPROTO;
}

void gd_chain_walk_table(struct gd_chain *chain, const void *entries)
{
	uint32_t count = chain->table.length / (uint32_t)sizeof(struct gio_virtq_desc), index = 0;
	const struct gio_virtq_desc *table = entries;

	for (uint32_t n = 0; n < count; n++) {
		struct gd_desc desc = {.addr = table[index].addr,
				       .length = table[index].len,
				       .flags = table[index].flags,
				       .next = table[index].next};

		if (desc.flags & GIO_VIRTQ_DESC_F_INDIRECT) {
			chain->why = "an indirect table within an indirect table";
			return;
		}
		segment_add(chain, &desc);
		if (!(desc.flags & GIO_VIRTQ_DESC_F_NEXT))
			return;
		if (desc.next >= count) {
			chain->why = "a link that leaves the indirect table";
			return;
		}
		index = desc.next;
	}
	chain->why = "a loop in the indirect table";
}

bool gd_chain_status(const struct gd_chain *chain, const struct gd_way *way, gio_dma_t *addr)
{
	if (!gd_guestmem_range_valid(way, chain->last.addr, chain->last.length))
		return false;
	*addr = chain->last.addr + chain->last.length -
		1; /* valid, as the whole range is: its references are consecutive */
	return true;
}
