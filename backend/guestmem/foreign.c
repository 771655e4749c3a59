/* SPDX-License-Identifier: MIT */
#include "backend/guestmem/foreign.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <xenforeignmemory.h>

#include <grantio/types.h>

#include "backend/base/error.h"
#include "backend/guestmem/gnttab.h"
#include "backend/guestmem/way.h"

struct foreign {
	struct gd_guestmem mem;
	xenforeignmemory_handle *memory;
	/* Of the call that is being made: its frames, what became of each, and how many there are. */
	xen_pfn_t frames[GD_FOREIGN_PAGES];
	int errors[GD_FOREIGN_PAGES];
	uint32_t pages;
};

_Static_assert(GD_GUESTMAP_PAGES <= GD_FOREIGN_PAGES, "a ring's mapping uses the same array of frames");

static struct foreign *foreign_of(struct gd_guestmem *mem)
{
	return (struct foreign *)mem; /* its first member */
}

/* The handle is restricted to this guest where the system can do that. */
static int foreign_open(struct gd_guestmem *mem)
{
	struct foreign *foreign = foreign_of(mem);

	errno = 0;
	foreign->memory = xenforeignmemory_open(gd_logger_silent(), 0);
	if (!foreign->memory)
		return gd_errno_or(ENODEV);
	/* Where the system cannot, the ioreq thread's handle has said so (xen/restrict.h). */
	(void)xenforeignmemory_restrict(foreign->memory, mem->domid);
	return 0;
}

static void foreign_close(struct gd_guestmem *mem)
{
	xenforeignmemory_close(foreign_of(mem)->memory);
}

static int foreign_map(struct gd_guestmem *mem, uint32_t first, uint32_t pages, bool write, void **base)
{
	struct foreign *foreign = foreign_of(mem);

	for (uint32_t i = 0; i < pages; i++)
		foreign->frames[i] = (xen_pfn_t)first + i;
	errno = 0;
	/* There is no array for the errors of single frames: if one is refused, the whole call fails. */
	*base = xenforeignmemory_map(foreign->memory, mem->domid, write ? PROT_READ | PROT_WRITE : PROT_READ, pages,
				     foreign->frames, NULL);
	return *base ? 0 : gd_errno_or(EFAULT);
}

static void foreign_unmap(struct gd_guestmem *mem, void *base, uint32_t pages)
{
	xenforeignmemory_unmap(foreign_of(mem)->memory, base, pages);
}

static bool segment_fetches(const xengnttab_grant_copy_segment_t *segment)
{
	return segment->flags & GNTCOPY_source_gref;
}

static uint32_t segment_frame(const xengnttab_grant_copy_segment_t *segment)
{
	return segment_fetches(segment) ? segment->source.foreign.ref : segment->dest.foreign.ref;
}

/*
 * Note the frames that the next mapping is to have, GD_FOREIGN_PAGES at most. Returns how many segments that serves:
 * they all have the same direction, as a fetch must not need pages that may be written.
 */
static uint32_t frames_gather(struct foreign *foreign, const xengnttab_grant_copy_segment_t *segments, uint32_t count)
{
	uint32_t n = 0;

	foreign->pages = 0;
	for (; n < count && segment_fetches(&segments[n]) == segment_fetches(&segments[0]); n++) {
		uint32_t frame = segment_frame(&segments[n]);

		if (foreign->pages && foreign->frames[foreign->pages - 1] == frame)
			continue;
		if (foreign->pages == GD_FOREIGN_PAGES)
			break;
		foreign->frames[foreign->pages] = frame;
		foreign->errors[foreign->pages++] = 0;
	}
	return n;
}

static void segment_do(xengnttab_grant_copy_segment_t *segment, char *page)
{
	/* offset + len <= GIO_PAGE_SIZE: see segment_add() in copy.c. The bytes are copied once, as the guest may
	 * change them. */
	if (segment_fetches(segment))
		memcpy(segment->dest.virt, page + segment->source.foreign.offset, segment->len);
	else
		memcpy(page + segment->dest.foreign.offset, segment->source.virt, segment->len);
	segment->status = GNTST_okay;
}

/* Do the segments whose frames were gathered, by one mapping. */
static int segments_copy(struct foreign *foreign, uint32_t count, xengnttab_grant_copy_segment_t *segments)
{
	int prot = segment_fetches(&segments[0]) ? PROT_READ : PROT_READ | PROT_WRITE;
	uint32_t page = 0;
	char *base = xenforeignmemory_map(foreign->memory, foreign->mem.domid, prot, foreign->pages, foreign->frames,
					  foreign->errors);

	if (!base)
		return gd_errno_or(EIO);
	for (uint32_t i = 0; i < count; i++) {
		page += foreign->frames[page] != segment_frame(&segments[i]); /* in the order of frames_gather() */
		if (foreign->errors[page])
			segments[i].status = GNTST_bad_page;
		else
			segment_do(&segments[i], base + (size_t)page * GIO_PAGE_SIZE);
	}
	xenforeignmemory_unmap(foreign->memory, base, foreign->pages);
	return 0;
}

static int foreign_copy(struct gd_guestmem *mem, uint32_t count, xengnttab_grant_copy_segment_t *segments,
			uint64_t *hypercalls)
{
	struct foreign *foreign = foreign_of(mem);

	*hypercalls = 0; /* none of them copies */
	errno = 0;
	while (count > 0) {
		uint32_t n = frames_gather(foreign, segments, count);
		int err = segments_copy(foreign, n, segments);

		if (err)
			return err;
		segments += n;
		count -= n;
	}
	return 0;
}

/*
 * Without ACCESS_PLATFORM: a device that reaches all of the guest's memory must not offer it. A guest which means to
 * grant then refuses the device, where otherwise each of its addresses would be an error.
 */
const struct gd_way gd_way_foreign = {
	.base = 0,
	.features = 0,
	.bytes = sizeof(struct foreign),
	.open = foreign_open,
	.close = foreign_close,
	.map = foreign_map,
	.unmap = foreign_unmap,
	.copy = foreign_copy,
};
