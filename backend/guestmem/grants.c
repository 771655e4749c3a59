/* SPDX-License-Identifier: MIT */
/*
 * The way by grants: a page number is a grant reference. Xen checks each of them, and takes back nothing that is still
 * mapped; so rings alone are mapped, and everything else goes by GNTTABOP_copy.
 */
#include <errno.h>
#include <sys/mman.h>

#include <abi/dma_addr.h>
#include <abi/virtio.h>

#include "backend/base/error.h"
#include "backend/guestmem/gnttab.h"
#include "backend/guestmem/way.h"

/* Copies that Linux's gntdev puts into one hypercall. */
#define OPERATIONS_PER_CALL 16

struct grants {
	struct gd_guestmem mem;
	xengnttab_handle *gnttab;
};

static struct grants *grants_of(struct gd_guestmem *mem)
{
	return (struct grants *)mem; /* its first member */
}

static int grants_open(struct gd_guestmem *mem)
{
	return gd_gnttab_open(&grants_of(mem)->gnttab);
}

static void grants_close(struct gd_guestmem *mem)
{
	xengnttab_close(grants_of(mem)->gnttab);
}

static int grants_map(struct gd_guestmem *mem, uint32_t first, uint32_t pages, bool write, void **base)
{
	uint32_t refs[GD_GUESTMAP_PAGES];

	for (uint32_t i = 0; i < pages; i++)
		refs[i] = first + i;
	errno = 0;
	*base = xengnttab_map_domain_grant_refs(grants_of(mem)->gnttab, pages, mem->domid, refs,
						write ? PROT_READ | PROT_WRITE : PROT_READ);
	return *base ? 0 : gd_errno_or(EFAULT);
}

static void grants_unmap(struct gd_guestmem *mem, void *base, uint32_t pages)
{
	xengnttab_unmap(grants_of(mem)->gnttab, base, pages);
}

/* gntdev makes one operation per local page that a segment touches. */
static unsigned segment_operations(const xengnttab_grant_copy_segment_t *segment)
{
	const void *local = segment->flags & GNTCOPY_source_gref ? segment->dest.virt : segment->source.virt;

	return (unsigned)(((uintptr_t)local % GIO_PAGE_SIZE + segment->len + GIO_PAGE_SIZE - 1) / GIO_PAGE_SIZE);
}

static int grants_copy(struct gd_guestmem *mem, uint32_t count, xengnttab_grant_copy_segment_t *segments,
		       uint64_t *hypercalls)
{
	uint64_t operations = 0;

	for (uint32_t i = 0; i < count; i++)
		operations += segment_operations(&segments[i]);
	*hypercalls = (operations + OPERATIONS_PER_CALL - 1) / OPERATIONS_PER_CALL;
	errno = 0;
	return xengnttab_grant_copy(grants_of(mem)->gnttab, count, segments) ? gd_errno_or(EIO) : 0;
}

const struct gd_way gd_way_grants = {
	.base = GIO_DMA_GRANT_BIT,
	/* "The device can be used on a platform where its access to memory is limited" (virtio 1.2, 6). */
	.features = GIO_VIRTIO_F_ACCESS_PLATFORM,
	.bytes = sizeof(struct grants),
	.open = grants_open,
	.close = grants_close,
	.map = grants_map,
	.unmap = grants_unmap,
	.copy = grants_copy,
};
