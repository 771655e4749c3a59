// SPDX-License-Identifier: GPL-2.0-only
/*
 * DMA operations of a device whose addresses are grants. Nothing here yields any other address, whatever fails.
 */
#include <linux/dma-map-ops.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "compat.h"
#include "grantio.h"

#define MAPPING_MAX SZ_1M /* in one address: 257 consecutive references at the most, so that they can be found */

static const struct dma_map_ops gk_dma_ops;

struct gk_dma *gk_dma_of(const struct device *dev)
{
	return *(struct gk_dma **)dev_get_platdata(dev);
}

static enum gio_dma_dir dir_of(enum dma_data_direction dir)
{
	switch (dir) {
	case DMA_TO_DEVICE:
		return GIO_DMA_TO_DEVICE;
	case DMA_FROM_DEVICE:
		return GIO_DMA_FROM_DEVICE;
	default:
		return GIO_DMA_BOTH;
	}
}

/* Memory of the driver's: any. */
static int map(struct device *dev, phys_addr_t phys, size_t size, enum gio_dma_dir dir, dma_addr_t *addr)
{
	struct gk_dma *dma = gk_dma_of(dev);
	gio_dma_t got;
	int ret;

	/* Only memory that has a page can be held in quarantine. */
	if (unlikely(!pfn_valid(PHYS_PFN(phys)) || !pfn_valid(PHYS_PFN(phys + size - 1))))
		return -EIO;
	if (gk_bounce_needed(phys, size))
		ret = gk_bounce_map(dma, phys, size, dir, &got);
	else
		ret = gio_dma_map_gfn(&dma->dma, phys >> GIO_PAGE_SHIFT, phys & GIO_PAGE_MASK, size, dir, &got);
	if (likely(!ret))
		*addr = got;
	return ret;
}

static void unmap(struct device *dev, dma_addr_t addr, size_t size)
{
	struct gk_dma *dma = gk_dma_of(dev);
	struct gk_bounce *bounce = gk_bounce_take(dma, addr);
	u64 quarantined;

	gio_dma_unmap(&dma->dma, addr, size);
	if (bounce)
		gk_bounce_end(bounce);
	quarantined = READ_ONCE(dma->dma.stats.quarantined);
	if (unlikely(quarantined != READ_ONCE(dma->quarantined))) {
		WRITE_ONCE(dma->quarantined, quarantined);
		gk_reap_schedule();
	}
}

static dma_addr_t gk_map_phys(struct device *dev, phys_addr_t phys, size_t size, enum dma_data_direction dir,
			      unsigned long attrs)
{
	dma_addr_t addr;

	if (WARN_ON_ONCE(dir == DMA_NONE) || GK_DMA_IS_MMIO(attrs) || map(dev, phys, size, dir_of(dir), &addr))
		return DMA_MAPPING_ERROR;
	return addr;
}

GK_DMA_DEFINE_MAP_PAGE(gk_map_phys)

static void gk_unmap(struct device *dev, dma_addr_t addr, size_t size, enum dma_data_direction dir, unsigned long attrs)
{
	unmap(dev, addr, size);
}

static void gk_unmap_sg(struct device *dev, struct scatterlist *sgl, int nents, enum dma_data_direction dir,
			unsigned long attrs)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i) unmap(dev, sg_dma_address(sg), sg_dma_len(sg));
}

static int gk_map_sg(struct device *dev, struct scatterlist *sgl, int nents, enum dma_data_direction dir,
		     unsigned long attrs)
{
	struct scatterlist *sg;
	int i, ret;

	if (WARN_ON_ONCE(dir == DMA_NONE))
		return GK_MAP_SG_ERROR(-EINVAL);
	for_each_sg(sgl, sg, nents, i)
	{
		ret = map(dev, sg_phys(sg), sg->length, dir_of(dir), &sg->dma_address);
		if (ret) {
			gk_unmap_sg(dev, sgl, i, dir, attrs);
			return GK_MAP_SG_ERROR(ret == -ENOMEM ? -ENOMEM : -EIO);
		}
		sg_dma_len(sg) = sg->length;
	}
	return nents;
}

static void gk_sync_for_cpu(struct device *dev, dma_addr_t addr, size_t size, enum dma_data_direction dir)
{
	gk_bounce_sync(gk_dma_of(dev), addr, size, false);
}

static void gk_sync_for_device(struct device *dev, dma_addr_t addr, size_t size, enum dma_data_direction dir)
{
	gk_bounce_sync(gk_dma_of(dev), addr, size, true);
}

static void gk_sync_sg_for_cpu(struct device *dev, struct scatterlist *sgl, int nents, enum dma_data_direction dir)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i) gk_sync_for_cpu(dev, sg_dma_address(sg), sg_dma_len(sg), dir);
}

static void gk_sync_sg_for_device(struct device *dev, struct scatterlist *sgl, int nents, enum dma_data_direction dir)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i) gk_sync_for_device(dev, sg_dma_address(sg), sg_dma_len(sg), dir);
}

/* What is allocated belongs to the mapping to the end of its last unit, so that it is granted, not copied. */
static size_t coherent_size(size_t size)
{
	return ALIGN(size, GIO_PAGE_SIZE);
}

/* Pages with a count each (alloc_pages_exact), so that those that the backend still holds can go to quarantine alone.
 */
static void *gk_alloc(struct device *dev, size_t size, dma_addr_t *addr, gfp_t gfp, unsigned long attrs)
{
	void *va = alloc_pages_exact(PAGE_ALIGN(size), (gfp & ~(__GFP_HIGHMEM | __GFP_COMP)) | __GFP_ZERO);

	if (va && map(dev, __pa(va), coherent_size(size), GIO_DMA_BOTH, addr)) {
		free_pages_exact(va, PAGE_ALIGN(size));
		va = NULL;
	}
	return va;
}

static void gk_free(struct device *dev, size_t size, void *va, dma_addr_t addr, unsigned long attrs)
{
	unmap(dev, addr, coherent_size(size));
	free_pages_exact(va, PAGE_ALIGN(size));
}

static struct page *gk_alloc_pages(struct device *dev, size_t size, dma_addr_t *addr, enum dma_data_direction dir,
				   gfp_t gfp)
{
	void *va = gk_alloc(dev, size, addr, gfp, 0);

	return va ? virt_to_page(va) : NULL;
}

static void gk_free_pages(struct device *dev, size_t size, struct page *page, dma_addr_t addr,
			  enum dma_data_direction dir)
{
	gk_free(dev, size, page_address(page), addr, 0);
}

static int gk_mmap(struct device *dev, struct vm_area_struct *vma, void *va, dma_addr_t addr, size_t size,
		   unsigned long attrs)
{
	unsigned long pages = PAGE_ALIGN(size) >> PAGE_SHIFT;

	if (vma->vm_pgoff >= pages || vma_pages(vma) > pages - vma->vm_pgoff)
		return -ENXIO;
	return remap_pfn_range(vma, vma->vm_start, PHYS_PFN(__pa(va)) + vma->vm_pgoff, vma_pages(vma) << PAGE_SHIFT,
			       vma->vm_page_prot);
}

static int gk_get_sgtable(struct device *dev, struct sg_table *sgt, void *va, dma_addr_t addr, size_t size,
			  unsigned long attrs)
{
	int ret = sg_alloc_table(sgt, 1, GFP_KERNEL);

	if (!ret)
		sg_set_page(sgt->sgl, virt_to_page(va), PAGE_ALIGN(size), 0);
	return ret;
}

static size_t gk_max_mapping_size(struct device *dev)
{
	return MAPPING_MAX;
}

/* The address of a grant has bit 63. */
static int gk_dma_supported(struct device *dev, u64 mask)
{
	return mask == DMA_BIT_MASK(64);
}

static u64 gk_get_required_mask(struct device *dev)
{
	return DMA_BIT_MASK(64);
}

static const struct dma_map_ops gk_dma_ops = {
	.alloc = gk_alloc,
	.free = gk_free,
	GK_DMA_OPS_PAGES(gk_alloc_pages, gk_free_pages),
	.mmap = gk_mmap,
	.get_sgtable = gk_get_sgtable,
	GK_DMA_OPS_MAP(gk_map_phys, gk_unmap),
	.map_sg = gk_map_sg,
	.unmap_sg = gk_unmap_sg,
	.sync_single_for_cpu = gk_sync_for_cpu,
	.sync_single_for_device = gk_sync_for_device,
	.sync_sg_for_cpu = gk_sync_sg_for_cpu,
	.sync_sg_for_device = gk_sync_sg_for_device,
	.dma_supported = gk_dma_supported,
	.get_required_mask = gk_get_required_mask,
	.max_mapping_size = gk_max_mapping_size,
};

int gk_dma_attach(struct device *dev, struct gk_dma *dma, domid_t backend)
{
	struct gk_dma **data;
	int ret = gio_dma_init(&dma->dma, &gk_os, gk_os.grants, backend, DMA_BIT_MASK(64));

	if (ret)
		return ret;
	dma->quarantined = 0;
	xa_init_flags(&dma->bounces, XA_FLAGS_LOCK_IRQ); /* empty again whenever a driver has let go of the device */
	atomic64_set(&dma->bounced, 0);
	data = kmalloc(sizeof(*data), GFP_KERNEL); /* a platform device frees it */
	if (!data)
		return -ENOMEM;
	*data = dma;
	dev->platform_data = data;
	set_dma_ops(dev, &gk_dma_ops);
	/* Only with these operations may it go on; a kernel without DMA operations per device ignores them. */
	if (get_dma_ops(dev) != &gk_dma_ops)
		ret = -EOPNOTSUPP;
	else if (dev->dma_mask)
		ret = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64));
	else
		ret = dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(64));
	if (ret)
		gk_dma_detach(dev);
	return ret;
}

void gk_dma_detach(struct device *dev)
{
	void *data = dev_get_platdata(dev);

	dev->platform_data = NULL;
	set_dma_ops(dev, NULL);
	kfree(data);
}

bool gk_dma_attached(const struct device *dev)
{
	return dev && get_dma_ops((struct device *)dev) == &gk_dma_ops;
}
