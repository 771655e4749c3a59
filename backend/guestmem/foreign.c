/* SPDX-License-Identifier: MIT */
#include "backend/guestmem/foreign.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <xenforeignmemory.h>

#include <grantio/types.h>

#include "backend/base/error.h"
#include "backend/guestmem/gnttab.h"

struct gd_foreign {
	xenforeignmemory_handle *memory;
	uint16_t domid;
	/* Of the call that is being made: frames, what became of each, and which of them a segment is in. */
	xen_pfn_t frames[GD_FOREIGN_PAGES];
	int errors[GD_FOREIGN_PAGES];
	uint32_t pages;
};

int gd_foreign_open(struct gd_foreign **out, uint16_t domid)
{
	struct gd_foreign *foreign = calloc(1, sizeof(*foreign));
	int err;

	if (!foreign)
		return -ENOMEM;
	foreign->domid = domid;
	errno = 0;
	foreign->memory = xenforeignmemory_open(gd_logger_silent(), 0);
	if (!foreign->memory) {
		err = gd_errno_or(ENODEV);
		free(foreign);
		return err;
	}
	/* Where the system cannot, the ioreq thread's handle has said so (xen/restrict.h). */
	if (xenforeignmemory_restrict(foreign->memory, domid))
		errno = 0;
	*out = foreign;
	return 0;
}

void gd_foreign_close(struct gd_foreign *foreign)
{
	if (!foreign)
		return;
	xenforeignmemory_close(foreign->memory);
	free(foreign);
}

void *gd_foreign_map(struct gd_foreign *foreign, uint32_t frame, uint32_t count, bool write)
{
	if (count > GD_FOREIGN_PAGES) {
		errno = E2BIG;
		return NULL;
	}
	for (uint32_t i = 0; i < count; i++)
		foreign->frames[i] = (xen_pfn_t)frame + i;
	errno = 0;
	/* Without a place for errors of single frames: one that is refused refuses all. */
	return xenforeignmemory_map(foreign->memory, foreign->domid, write ? PROT_READ | PROT_WRITE : PROT_READ, count,
				    foreign->frames, NULL);
}

void gd_foreign_unmap(struct gd_foreign *foreign, void *base, uint32_t count)
{
	xenforeignmemory_unmap(foreign->memory, base, count);
}

static bool segment_fetches(const xengnttab_grant_copy_segment_t *segment)
{
	return segment->flags & GNTCOPY_source_gref;
}

static uint32_t segment_frame(const xengnttab_grant_copy_segment_t *segment)
{
	return segment_fetches(segment) ? segment->source.foreign.ref : segment->dest.foreign.ref;
}

/* How many segments the next mapping serves: those of one direction, in GD_FOREIGN_PAGES frames. Notes the frames. */
static uint32_t frames_gather(struct gd_foreign *foreign, const xengnttab_grant_copy_segment_t *segments,
			      uint32_t count)
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
	/* offset + len <= GIO_PAGE_SIZE: see segment_add() in copy.c. The guest may change the bytes: copied once. */
	if (segment_fetches(segment))
		memcpy(segment->dest.virt, page + segment->source.foreign.offset, segment->len);
	else
		memcpy(page + segment->dest.foreign.offset, segment->source.virt, segment->len);
	segment->status = GNTST_okay;
}

static int segments_copy(struct gd_foreign *foreign, uint32_t count, xengnttab_grant_copy_segment_t *segments)
{
	int prot = segment_fetches(&segments[0]) ? PROT_READ : PROT_READ | PROT_WRITE;
	uint32_t page = 0;
	char *base = xenforeignmemory_map(foreign->memory, foreign->domid, prot, foreign->pages, foreign->frames,
					  foreign->errors);

	if (!base)
		return -1;
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

int gd_foreign_copy(struct gd_foreign *foreign, uint32_t count, xengnttab_grant_copy_segment_t *segments)
{
	errno = 0;
	while (count > 0) {
		uint32_t n = frames_gather(foreign, segments, count);

		if (segments_copy(foreign, n, segments))
			return -1;
		segments += n;
		count -= n;
	}
	return 0;
}
