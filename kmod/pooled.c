// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bug.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/smp.h>

#include "compat.h"
#include "pooled.h"

/* The mapped memory may lie in several pages, which are reached one by one. The pool's side is copied once. */
static void copy(struct gk_dma *dma, gio_dma_t addr, phys_addr_t phys, size_t size, bool to_device)
{
	size_t at, piece;

	for (at = 0; at < size; at += piece) {
		char *page = gk_kmap(pfn_to_page(PHYS_PFN(phys + at)));
		char *mapped = page + offset_in_page(phys + at);

		piece = min_t(size_t, size - at, PAGE_SIZE - offset_in_page(phys + at));
		if (to_device)
			gio_pool_copy_in(dma->pool, addr + at, mapped, piece);
		else
			gio_pool_copy_out(dma->pool, addr + at, mapped, piece);
		gk_kunmap(page);
	}
}

int gk_pooled_map(struct gk_dma *dma, phys_addr_t phys, size_t size, enum gio_dma_dir dir, bool sync, gio_dma_t *addr)
{
	int err = -EIO; /* frozen: there is no backend to map for */

	if (dma->pool)
		err = gio_pool_get(dma->pool, raw_smp_processor_id(), size, dir, phys, addr);
	if (err)
		return err;
	if (sync && dir != GIO_DMA_FROM_DEVICE)
		copy(dma, *addr, phys, size, true);
	atomic64_inc(&dma->pooled_maps);
	return 0;
}

bool gk_pooled_unmap(struct gk_dma *dma, gio_dma_t addr, size_t size, enum gio_dma_dir dir, bool sync)
{
	size_t left;
	uint64_t phys;

	if (!dma->pool || gio_pool_find(dma->pool, addr, &phys, &left) || size > left)
		return false;
	if (sync && dir != GIO_DMA_TO_DEVICE)
		copy(dma, addr, phys, size, false);
	return !gio_pool_put(dma->pool, addr, size);
}

void gk_pooled_sync(struct gk_dma *dma, gio_dma_t addr, size_t size, bool to_device)
{
	size_t left;
	uint64_t phys;

	if (!WARN_ON_ONCE(!dma->pool || gio_pool_find(dma->pool, addr, &phys, &left) || size > left))
		copy(dma, addr, phys, size, to_device);
}
