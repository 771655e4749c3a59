/* SPDX-License-Identifier: MIT */
#include "backend/blk/buffer.h"

#include <errno.h>

#include "backend/blk/blk.h"

/* The longest request fits into an empty arena: so every request gets room, at the latest when it is the only one. */
_Static_assert(GD_BLK_REQUEST_BYTES / GD_ARENA_PAGE + 2 <= GD_SERVE_ARENA_PAGES, "");
_Static_assert(GD_CHAIN_SEGMENTS * sizeof(struct gd_segment) <= GD_ARENA_PAGE, "");

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
static uint32_t data_offset(const struct gd_serve *serve, const struct gd_chain *chain, const struct gd_request *r)
{
	gio_dma_t addr = 0;

	if (r->writable)
		addr = chain->segments[chain->readable].addr;
	else if (chain->segments[0].length == GD_BUFFER_HEADER)
		addr = chain->segments[1].addr;
	return addr % serve->align ? 0 : (uint32_t)(addr % GD_ARENA_PAGE);
}

int gd_buffer_get(struct gd_serve *serve, struct gd_request *r, const struct gd_chain *chain)
{
	uint32_t offset, most = chain->readable > chain->writable ? chain->readable : chain->writable;

	r->writable = chain->writable_bytes > 1;
	r->length = (uint32_t)(r->writable ? chain->writable_bytes - 1 : chain->readable_bytes - GD_BUFFER_HEADER);
	r->segment = r->few;
	r->segments = 0;
	if (r->length == 0)
		return 0;
	offset = data_offset(serve, chain, r);
	r->pages = (offset + r->length + GD_ARENA_PAGE - 1) / GD_ARENA_PAGE + (most > GD_REQUEST_INLINE);
	r->run = gd_arena_get(serve->arena, r->pages);
	if (!r->run)
		return -ENOMEM;
	r->data = (uint8_t *)r->run + offset;
	if (most > GD_REQUEST_INLINE)
		r->segment = (struct gd_segment *)((char *)r->run + (size_t)(r->pages - 1) * GD_ARENA_PAGE);
	segments_cut(r, chain);
	return 0;
}
