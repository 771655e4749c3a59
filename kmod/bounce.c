// SPDX-License-Identifier: GPL-2.0-only
#include <linux/gfp.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include <abi/dma_addr.h>

#include "bounce.h"
#include "compat.h"
#include "reap.h"

/* Units are of 4 KiB, as the backend's; the first is the one that the original begins in. */
struct gk_bounce {
	gio_dma_t addr;	  /* as mapped: of the first byte */
	phys_addr_t phys; /* of the original's first byte */
	size_t size;
	bool back;	    /* the device may write */
	char *whole;	    /* our copy of each unit, in a row; else NULL, and */
	char *first, *last; /* of these two, or NULL for one that is granted as it is */
};

/* It begins or ends inside a unit. */
static bool partial(phys_addr_t phys, size_t size)
{
	return (phys | size) & GIO_PAGE_MASK;
}

static bool unholdable(phys_addr_t phys, size_t size)
{
	unsigned long pfn, last = PHYS_PFN(phys + size - 1);

	for (pfn = PHYS_PFN(phys); pfn <= last; pfn++)
		if (gk_page_unholdable(pfn_to_page(pfn)))
			return true;
	return false;
}

bool gk_bounce_needed(phys_addr_t phys, size_t size)
{
	return partial(phys, size) || unholdable(phys, size);
}

static u32 units_count(const struct gk_bounce *bounce)
{
	return gio_dma_pages(bounce->phys & GIO_PAGE_MASK, bounce->size);
}

/* ---- copies ----------------------------------------------------------------------------------------------------- */

static char *copy_of(const struct gk_bounce *bounce, u32 unit)
{
	if (bounce->whole)
		return bounce->whole + ((size_t)unit << GIO_PAGE_SHIFT);
	if (!unit)
		return bounce->first;
	return unit == units_count(bounce) - 1 ? bounce->last : NULL;
}

/* Within a unit, and so within a page. */
static void copy_piece(char *ours, phys_addr_t phys, size_t size, bool to_device)
{
	char *page = gk_kmap(pfn_to_page(PHYS_PFN(phys)));

	if (to_device)
		memcpy(ours, page + offset_in_page(phys), size);
	else
		memcpy(page + offset_in_page(phys), ours, size);
	gk_kunmap(page);
}

/* Of `size` bytes from the original's byte `at` on: those in units that we have copies of. */
static void copy(const struct gk_bounce *bounce, size_t at, size_t size, bool to_device)
{
	size_t piece;

	for (; size; at += piece, size -= piece) {
		size_t from = (bounce->phys & GIO_PAGE_MASK) + at, in = from & GIO_PAGE_MASK;
		char *ours = copy_of(bounce, from >> GIO_PAGE_SHIFT);

		piece = min_t(size_t, size, GIO_PAGE_SIZE - in);
		if (ours)
			copy_piece(ours + in, bounce->phys + at, piece, to_device);
	}
}

/* Exactly so many: each page has a count of its own, so that each can be held. Zeroed: beside the copy is nothing. */
static char *units_alloc(u32 count)
{
	return alloc_pages_exact((size_t)count << GIO_PAGE_SHIFT, GFP_ATOMIC | __GFP_ZERO | __GFP_NOWARN);
}

static void units_free(char *units, u32 count)
{
	if (units)
		free_pages_exact(units, (size_t)count << GIO_PAGE_SHIFT);
}

static void free_bounce(struct gk_bounce *bounce)
{
	units_free(bounce->whole, units_count(bounce));
	units_free(bounce->first, 1);
	units_free(bounce->last, 1);
	kfree(bounce);
}

static bool alloc_edges(struct gk_bounce *bounce)
{
	bool ends = (bounce->phys + bounce->size) & GIO_PAGE_MASK;
	bool one = units_count(bounce) == 1, first = one || bounce->phys & GIO_PAGE_MASK, last = ends && !one;

	bounce->first = first ? units_alloc(1) : NULL;
	bounce->last = last ? units_alloc(1) : NULL;
	return !first == !bounce->first && !last == !bounce->last;
}

static struct gk_bounce *new_bounce(phys_addr_t phys, size_t size, bool back, bool sync)
{
	struct gk_bounce *bounce = kzalloc(sizeof(*bounce), GFP_ATOMIC | __GFP_NOWARN);
	bool got;

	if (!bounce)
		return NULL;
	bounce->phys = phys;
	bounce->size = size;
	bounce->back = back;
	if (unholdable(phys, size)) {
		bounce->whole = units_alloc(units_count(bounce));
		got = bounce->whole;
	} else {
		got = alloc_edges(bounce);
	}
	if (got) {
		/* Whatever the direction: what the device does not write must come back as it was. */
		if (sync)
			copy(bounce, 0, size, true);
		return bounce;
	}
	free_bounce(bounce);
	return NULL;
}

/* ---- mappings --------------------------------------------------------------------------------------------------- */

static unsigned long first_ref(gio_dma_t addr)
{
	return gio_dma_addr_gref(addr);
}

static void forget(struct gk_dma *dma, const struct gk_bounce *bounce, u64 count)
{
	unsigned long flags;
	u64 i;

	xa_lock_irqsave(&dma->bounces, flags);
	for (i = 0; i < count; i++)
		__xa_erase(&dma->bounces, first_ref(bounce->addr) + i);
	xa_unlock_irqrestore(&dma->bounces, flags);
}

/* Under each of its references. */
static int remember(struct gk_dma *dma, struct gk_bounce *bounce)
{
	unsigned long flags;
	u64 i;
	int err = 0;

	xa_lock_irqsave(&dma->bounces, flags);
	for (i = 0; i < units_count(bounce) && !err; i++)
		err = xa_err(__xa_store(&dma->bounces, first_ref(bounce->addr) + i, bounce, GFP_ATOMIC | __GFP_NOWARN));
	xa_unlock_irqrestore(&dma->bounces, flags);
	if (err)
		forget(dma, bounce, i);
	return err;
}

static gio_gfn_t edge(const char *copy)
{
	return copy ? gio_os_gfn(&gk_os, copy) : GIO_DMA_OWN;
}

static int grant(struct gk_dma *dma, const struct gk_bounce *bounce, enum gio_dma_dir dir, gio_dma_t *addr)
{
	const u32 offset = bounce->phys & GIO_PAGE_MASK;
	const struct gio_dma_edges edges = {.first = edge(bounce->first), .last = edge(bounce->last)};

	if (bounce->whole)
		return gio_dma_map(&dma->dma, bounce->whole + offset, bounce->size, dir, addr);
	return gio_dma_map_edges(&dma->dma, bounce->phys >> GIO_PAGE_SHIFT, offset, bounce->size, dir, &edges, addr);
}

int gk_bounce_map(struct gk_dma *dma, phys_addr_t phys, size_t size, enum gio_dma_dir dir, bool sync, gio_dma_t *addr)
{
	struct gk_bounce *bounce = new_bounce(phys, size, dir != GIO_DMA_TO_DEVICE, sync);
	int err;

	if (!bounce)
		return -ENOMEM;
	err = grant(dma, bounce, dir, addr);
	if (err)
		goto free;
	bounce->addr = *addr;
	err = remember(dma, bounce);
	if (err)
		goto unmap;
	atomic64_inc(&dma->bounced);
	return 0;

unmap:
	gio_dma_unmap(&dma->dma, *addr, size);
free:
	free_bounce(bounce);
	return err;
}

struct gk_bounce *gk_bounce_take(struct gk_dma *dma, gio_dma_t addr)
{
	struct gk_bounce *bounce = xa_load(&dma->bounces, first_ref(addr));

	if (!bounce || bounce->addr != addr)
		return NULL;
	forget(dma, bounce, units_count(bounce)); /* before another mapping can have the references */
	return bounce;
}

void gk_bounce_end(struct gk_bounce *bounce, bool sync)
{
	if (bounce->back && sync)
		copy(bounce, 0, bounce->size, false);
	free_bounce(bounce);
}

void gk_bounce_sync(struct gk_dma *dma, gio_dma_t addr, size_t size, bool to_device)
{
	struct gk_bounce *bounce = xa_load(&dma->bounces, first_ref(addr));
	size_t at;

	if (!bounce)
		return;
	at = addr - bounce->addr;
	if (WARN_ON_ONCE(addr < bounce->addr || at > bounce->size || size > bounce->size - at))
		return;
	if (to_device || bounce->back)
		copy(bounce, at, size, to_device);
}
