/* SPDX-License-Identifier: MIT */
#include "backend/blk/buffer.h"

#include <errno.h>

_Static_assert(GD_CHAIN_SEGMENTS * sizeof(struct gd_segment) <= GD_ARENA_PAGE, "");

void gd_buffer_describe(struct gd_request *r, const struct gd_chain *chain)
{
	r->writable = chain->writable_bytes > 1;
	r->length = (uint32_t)(r->writable ? chain->writable_bytes - 1 : chain->readable_bytes - GD_BUFFER_HEADER);
	r->segment = r->few;
	r->segments = 0;
}

/* ---- our own memory --------------------------------------------------------------------------------------------- */

/* Find the data segments: all readable bytes after the header, or all writable ones before the status. */
static void segments_cut(struct gd_request *r, const struct gd_chain *chain)
{
	const struct gd_segment *from = chain->segments + (r->writable ? chain->readable : 0);
	uint32_t count = r->writable ? chain->writable : chain->readable, skip = r->writable ? 0 : GD_BUFFER_HEADER;
	uint32_t left = r->length;

	r->segments = 0;
	for (uint32_t i = 0; i < count && left > 0; i++) {
		struct gd_segment s = from[i];

		if (s.length <= skip) {
			skip -= s.length;
			continue;
		}
		s.addr += skip;
		s.length -= skip;
		skip = 0;
		if (s.length > left)
			s.length = left;
		left -= s.length;
		r->segment[r->segments++] = s;
	}
}

/* Where the data begins in its first page: at the same offset as in the guest's, if the disk's alignment allows it. */
static uint32_t data_offset(uint32_t align, const struct gd_chain *chain, const struct gd_request *r)
{
	gio_dma_t addr = 0;

	if (r->writable)
		addr = chain->segments[chain->readable].addr;
	else if (chain->segments[0].length == GD_BUFFER_HEADER)
		addr = chain->segments[1].addr;
	return addr % align ? 0 : (uint32_t)(addr % GD_ARENA_PAGE);
}

int gd_buffer_get(struct gd_arena *arena, uint32_t align, struct gd_request *r, const struct gd_chain *chain)
{
	uint32_t offset, most = chain->readable > chain->writable ? chain->readable : chain->writable;

	if (r->length == 0)
		return 0;
	offset = data_offset(align, chain, r);
	r->pages = (offset + r->length + GD_ARENA_PAGE - 1) / GD_ARENA_PAGE + (most > GD_REQUEST_INLINE);
	r->run = gd_arena_get(arena, r->pages);
	if (!r->run)
		return -ENOMEM;
	r->data = (uint8_t *)r->run + offset;
	if (most > GD_REQUEST_INLINE)
		r->segment = (struct gd_segment *)((char *)r->run + (size_t)(r->pages - 1) * GD_ARENA_PAGE);
	segments_cut(r, chain);
	return 0;
}

/* ---- the guest's pool ------------------------------------------------------------------------------------------- */

/* Where the data begins in the guest, and whether all of it is in consecutive places. */
static bool data_contiguous(const struct gd_chain *chain, const struct gd_request *r, gio_dma_t *addr)
{
	const struct gd_segment *data = chain->segments + (r->writable ? chain->readable : 1);
	uint32_t left = r->length;

	/* A header that shares a segment with data is nothing that drivers do. */
	if (!r->writable && chain->segments[0].length != GD_BUFFER_HEADER)
		return false;
	*addr = data->addr;
	for (; left > data->length; data++) {
		left -= data->length;
		if (data[0].addr + data[0].length != data[1].addr)
			return false;
	}
	return true;
}

bool gd_buffer_straight(struct gd_copy *copy, uint32_t align, struct gd_request *r, const struct gd_chain *chain)
{
	enum gd_copy_dir dir = r->writable ? GD_COPY_PUSH : GD_COPY_FETCH;
	uint32_t type = r->writable ? GIO_VIRTIO_BLK_T_IN : GIO_VIRTIO_BLK_T_OUT;
	gio_dma_t addr;
	void *place;

	if (r->length == 0 || !data_contiguous(chain, r, &addr))
		return false;
	place = gd_copy_place(copy, dir, addr, r->length);
	if (!place || (uintptr_t)place % align || chain->segments[0].length < GD_BUFFER_HEADER ||
	    !gd_copy_now(copy, GD_COPY_FETCH, chain->segments[0].addr, &r->header, GD_BUFFER_HEADER))
		return false;
	if (r->header.type != type)
		return false;
	r->data = place;
	return true;
}
