// SPDX-License-Identifier: GPL-2.0-only
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include <abi/dma_addr.h>

#include "compat.h"
#include "grantio.h"

struct gk_bounce {
	gio_dma_t addr; /* as mapped: of the first byte */
	char *pages;	/* ours, granted; alloc_pages_exact(), so that each can be held */
	char *copy;	/* in them, at the original's offset in its page */
	char *original;
	size_t size;
	bool back; /* the device may write */
};

static size_t pages_size(phys_addr_t phys, size_t size)
{
	return PAGE_ALIGN(offset_in_page(phys) + size);
}

bool gk_bounce_needed(phys_addr_t phys, size_t size)
{
	unsigned long pfn, last = PHYS_PFN(phys + size - 1);

	for (pfn = PHYS_PFN(phys); pfn <= last; pfn++)
		if (gk_page_unholdable(pfn_to_page(pfn)))
			return true;
	return false;
}

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

static u64 refs_count(const struct gk_bounce *bounce)
{
	return gio_dma_pages(gio_dma_addr_offset(bounce->addr), bounce->size);
}

/* Under each of its references. */
static int remember(struct gk_dma *dma, struct gk_bounce *bounce)
{
	unsigned long flags;
	u64 i;
	int ret = 0;

	xa_lock_irqsave(&dma->bounces, flags);
	for (i = 0; i < refs_count(bounce) && !ret; i++)
		ret = xa_err(__xa_store(&dma->bounces, first_ref(bounce->addr) + i, bounce, GFP_ATOMIC | __GFP_NOWARN));
	xa_unlock_irqrestore(&dma->bounces, flags);
	if (ret)
		forget(dma, bounce, i);
	return ret;
}

static void free_bounce(struct gk_bounce *bounce)
{
	free_pages_exact(bounce->pages, pages_size(__pa(bounce->copy), bounce->size));
	kfree(bounce);
}

int gk_bounce_map(struct gk_dma *dma, phys_addr_t phys, size_t size, enum gio_dma_dir dir, gio_dma_t *addr)
{
	struct gk_bounce *bounce;
	int ret = -ENOMEM;

	/* The kernel's own memory, all of it: always mapped, but nobody promises it. */
	if (PageHighMem(pfn_to_page(PHYS_PFN(phys))) || PageHighMem(pfn_to_page(PHYS_PFN(phys + size - 1))))
		return -EIO;
	bounce = kmalloc(sizeof(*bounce), GFP_ATOMIC | __GFP_NOWARN);
	if (!bounce)
		return ret;
	bounce->pages = alloc_pages_exact(pages_size(phys, size), GFP_ATOMIC | __GFP_ZERO | __GFP_NOWARN);
	if (!bounce->pages)
		goto free_record;
	bounce->copy = bounce->pages + offset_in_page(phys);
	bounce->original = phys_to_virt(phys);
	bounce->size = size;
	bounce->back = dir != GIO_DMA_TO_DEVICE;
	/* Whatever the direction: what the device does not write must come back as it was. */
	memcpy(bounce->copy, bounce->original, size);
	ret = gio_dma_map(&dma->dma, bounce->copy, size, dir, addr);
	if (ret)
		goto free_pages;
	bounce->addr = *addr;
	ret = remember(dma, bounce);
	if (ret)
		goto unmap;
	atomic64_inc(&dma->bounced);
	return 0;

unmap:
	gio_dma_unmap(&dma->dma, *addr, size);
free_pages:
	free_pages_exact(bounce->pages, pages_size(phys, size));
free_record:
	kfree(bounce);
	return ret;
}

struct gk_bounce *gk_bounce_take(struct gk_dma *dma, gio_dma_t addr)
{
	struct gk_bounce *bounce = xa_load(&dma->bounces, first_ref(addr));

	if (!bounce || bounce->addr != addr)
		return NULL;
	forget(dma, bounce, refs_count(bounce)); /* before another mapping can have the references */
	return bounce;
}

void gk_bounce_end(struct gk_bounce *bounce)
{
	if (bounce->back)
		memcpy(bounce->original, bounce->copy, bounce->size);
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
	if (to_device)
		memcpy(bounce->copy + at, bounce->original + at, size);
	else if (bounce->back)
		memcpy(bounce->original + at, bounce->copy + at, size);
}
