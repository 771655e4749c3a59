// SPDX-License-Identifier: GPL-2.0-only
/*
 * DMA operations of a device whose addresses are grants. Nothing here yields any other address, whatever fails.
 */
#include <linux/dma-map-ops.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/ratelimit.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/virtio_ring.h>
#include <linux/workqueue.h>

#include "bounce.h"
#include "compat.h"
#include "dma_ops.h"
#include "pooled.h"
#include "reap.h"

#define RING_MAX    32768u /* entries of a ring, by the standard */
#define MAPPING_MAX SZ_1M  /* of one mapping: it needs at most 257 consecutive references, which must be found */

#define BREAK_PERIOD (HZ / 8)  /* between looks at what is in flight */
#define BREAK_MAX    (30 * HZ) /* how long it is waited for */

#define COMPLAINTS	  10	    /* maximum of lines about one device */
#define COMPLAINTS_PERIOD (30 * HZ) /* within this time */

static const struct dma_map_ops grant_ops;
static void (*break_children)(struct device *dev);

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

/* ---- a backend that holds too much ------------------------------------------------------------------------------ */

static bool in_flight(struct gk_dma *dma)
{
	struct gio_dma_stats stats;

	gio_dma_stats(&dma->dma, &stats);
	return stats.granted > (u64)atomic_read(&dma->ring_units);
}

/*
 * A virtio driver takes a mapping that fails for a want of memory, and tries for ever; from a broken queue it has an
 * error at once. But a broken queue also gives nothing back any more, so first what is in flight may end.
 */
static void break_work(struct work_struct *work)
{
	struct gk_dma *dma = container_of(to_delayed_work(work), struct gk_dma, break_work);

	if (in_flight(dma) && time_before(jiffies, dma->break_by)) {
		schedule_delayed_work(&dma->break_work, BREAK_PERIOD);
		return;
	}
	xchg(&dma->breaking, 0); /* a driver that is bound anew has queues that are not broken */
	if (__ratelimit(&dma->complaints))
		dev_err(dma->dev, "grantio: the backend holds too many pages past their end: the device is broken\n");
	break_children(dma->dev);
}

/* In any context: where mappings fail, locks of the driver's are held. */
static void break_soon(struct gk_dma *dma)
{
	if (xchg(&dma->breaking, 1))
		return;
	dma->break_by = jiffies + BREAK_MAX;
	schedule_delayed_work(&dma->break_work, 0);
}

/* ---- mappings --------------------------------------------------------------------------------------------------- */

/* Memory of the driver's: any. */
static int map(struct device *dev, phys_addr_t phys, size_t size, enum gio_dma_dir dir, bool sync, dma_addr_t *addr)
{
	struct gk_dma *dma = gk_dma_of(dev);
	gio_dma_t got;
	int err;

	/* Only memory that has a page can be held in quarantine. */
	if (unlikely(!pfn_valid(PHYS_PFN(phys)) || !pfn_valid(PHYS_PFN(phys + size - 1))))
		return -EIO;
	if (dma->pooled)
		err = gk_pooled_map(dma, phys, size, dir, sync, &got);
	else if (gk_bounce_needed(phys, size))
		err = gk_bounce_map(dma, phys, size, dir, sync, &got);
	else
		err = gio_dma_map_gfn(&dma->dma, phys >> GIO_PAGE_SHIFT, phys & GIO_PAGE_MASK, size, dir, &got);
	if (likely(!err))
		*addr = got;
	else if (gio_dma_broken(&dma->dma))
		break_soon(dma);
	return err;
}

/* False: that is no mapping of this device's, and nothing was ended. */
static bool unmap_granted(struct gk_dma *dma, dma_addr_t addr, size_t size, bool sync)
{
	struct gk_bounce *bounce = gk_bounce_take(dma, addr);
	u64 quarantined;

	if (gio_dma_unmap(&dma->dma, addr, size))
		return false;
	if (bounce)
		gk_bounce_end(bounce, sync);
	quarantined = READ_ONCE(dma->dma.stats.quarantined);
	if (unlikely(quarantined != READ_ONCE(dma->quarantined))) {
		WRITE_ONCE(dma->quarantined, quarantined);
		gk_reap_schedule();
	}
	return true;
}

/* False: that is no mapping of this device's; whatever it was stays granted, and is kept. */
static bool unmap(struct device *dev, dma_addr_t addr, size_t size, enum gio_dma_dir dir, bool sync)
{
	struct gk_dma *dma = gk_dma_of(dev);
	bool done = dma->pooled ? gk_pooled_unmap(dma, addr, size, dir, sync) : unmap_granted(dma, addr, size, sync);

	WARN_ONCE(!done, "grantio: %s: unmaps %zu bytes at %pad, which are not mapped so\n", dev_name(dev), size,
		  &addr);
	return done;
}

/* Unless the driver syncs what it needs by itself. */
static bool syncs(unsigned long attrs)
{
	return !(attrs & DMA_ATTR_SKIP_CPU_SYNC);
}

static dma_addr_t ops_map_phys(struct device *dev, phys_addr_t phys, size_t size, enum dma_data_direction dir,
			       unsigned long attrs)
{
	dma_addr_t addr;

	if (WARN_ON_ONCE(dir == DMA_NONE) || GK_DMA_IS_MMIO(attrs) ||
	    map(dev, phys, size, dir_of(dir), syncs(attrs), &addr))
		return DMA_MAPPING_ERROR;
	return addr;
}

GK_DMA_DEFINE_MAP_PAGE(ops_map_phys)

static void ops_unmap(struct device *dev, dma_addr_t addr, size_t size, enum dma_data_direction dir,
		      unsigned long attrs)
{
	unmap(dev, addr, size, dir_of(dir), syncs(attrs));
}

static void ops_unmap_sg(struct device *dev, struct scatterlist *sgl, int nents, enum dma_data_direction dir,
			 unsigned long attrs)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i) unmap(dev, sg_dma_address(sg), sg_dma_len(sg), dir_of(dir), syncs(attrs));
}

static int ops_map_sg(struct device *dev, struct scatterlist *sgl, int nents, enum dma_data_direction dir,
		      unsigned long attrs)
{
	struct scatterlist *sg;
	int i, err;

	if (WARN_ON_ONCE(dir == DMA_NONE))
		return GK_MAP_SG_ERROR(-EINVAL);
	for_each_sg(sgl, sg, nents, i)
	{
		err = map(dev, sg_phys(sg), sg->length, dir_of(dir), syncs(attrs), &sg->dma_address);
		if (err) {
			ops_unmap_sg(dev, sgl, i, dir, attrs);
			/* For want of references as well: some come back. */
			return GK_MAP_SG_ERROR(err == -ENOMEM || err == -ENOSPC ? -ENOMEM : -EIO);
		}
		sg_dma_len(sg) = sg->length;
	}
	return nents;
}

static void sync_copies(struct device *dev, dma_addr_t addr, size_t size, bool to_device)
{
	struct gk_dma *dma = gk_dma_of(dev);

	if (dma->pooled)
		gk_pooled_sync(dma, addr, size, to_device);
	else
		gk_bounce_sync(dma, addr, size, to_device);
}

/* What the device only reads it has not changed. */
static void ops_sync_for_cpu(struct device *dev, dma_addr_t addr, size_t size, enum dma_data_direction dir)
{
	if (dir != DMA_TO_DEVICE)
		sync_copies(dev, addr, size, false);
}

/* What the device is to write it need not be shown, and it may have written some of it. */
static void ops_sync_for_device(struct device *dev, dma_addr_t addr, size_t size, enum dma_data_direction dir)
{
	if (dir != DMA_FROM_DEVICE)
		sync_copies(dev, addr, size, true);
}

static void ops_sync_sg_for_cpu(struct device *dev, struct scatterlist *sgl, int nents, enum dma_data_direction dir)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i) ops_sync_for_cpu(dev, sg_dma_address(sg), sg_dma_len(sg), dir);
}

static void ops_sync_sg_for_device(struct device *dev, struct scatterlist *sgl, int nents, enum dma_data_direction dir)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i) ops_sync_for_device(dev, sg_dma_address(sg), sg_dma_len(sg), dir);
}

/* What is allocated belongs to the mapping to the end of its last unit, so that it is granted, not copied. */
static size_t coherent_size(size_t size)
{
	return ALIGN(size, GIO_PAGE_SIZE);
}

/*
 * The bytes at the beginning of a ring that its driver alone writes, descriptors and available ring: Linux believes
 * what stands in them, and takes from there what to unmap. virtio_mmio has rings in one block, as vring_init() lays
 * them out, the used ring at a page of its own. 0: it is none of these.
 */
static size_t ring_readonly(const struct device *dev, size_t size)
{
	unsigned int num;

	if (!dev->driver || strcmp(dev->driver->name, "virtio-mmio"))
		return 0;
	for (num = 1; num <= RING_MAX; num *= 2)
		if (size == vring_size(num, PAGE_SIZE))
			return ALIGN(num * sizeof(struct vring_desc) + (3 + num) * sizeof(u16), PAGE_SIZE);
	return 0;
}

/*
 * The backend chooses how large its rings are, and the kernel tries smaller ones: one line is enough, and not more than
 * the device may cost, since the backend can begin anew as often as it likes.
 */
static void refuse(struct device *dev, size_t size)
{
	struct gk_dma *dma = gk_dma_of(dev);

	if (!dma->refused && __ratelimit(&dma->complaints))
		dev_err(dev, "grantio: %zu bytes of coherent memory: are no split ring of virtio-mmio: refused\n",
			size);
	dma->refused = true;
}

/* Pages with a count each (alloc_pages_exact): those that the backend still holds can go to quarantine alone. */
static void *ops_alloc(struct device *dev, size_t size, dma_addr_t *addr, gfp_t gfp, unsigned long attrs)
{
	size_t readonly = ring_readonly(dev, size);
	gio_dma_t got;
	void *va;

	if (!readonly) {
		refuse(dev, size);
		return NULL;
	}
	va = alloc_pages_exact(PAGE_ALIGN(size), (gfp & ~(__GFP_HIGHMEM | __GFP_COMP)) | __GFP_ZERO);
	if (!va)
		return NULL;
	if (gio_dma_map_gfn_split(&gk_dma_of(dev)->dma, __pa(va) >> GIO_PAGE_SHIFT, coherent_size(size), readonly,
				  &got)) {
		free_pages_exact(va, PAGE_ALIGN(size));
		return NULL;
	}
	atomic_add(coherent_size(size) >> GIO_PAGE_SHIFT, &gk_dma_of(dev)->ring_units);
	*addr = got;
	return va;
}

static void ops_free(struct device *dev, size_t size, void *va, dma_addr_t addr, unsigned long attrs)
{
	if (!unmap(dev, addr, coherent_size(size), GIO_DMA_BOTH, false))
		return;
	atomic_sub(coherent_size(size) >> GIO_PAGE_SHIFT, &gk_dma_of(dev)->ring_units);
	free_pages_exact(va, PAGE_ALIGN(size));
}

static struct page *ops_alloc_pages(struct device *dev, size_t size, dma_addr_t *addr, enum dma_data_direction dir,
				    gfp_t gfp)
{
	void *va = ops_alloc(dev, size, addr, gfp, 0);

	return va ? virt_to_page(va) : NULL;
}

static void ops_free_pages(struct device *dev, size_t size, struct page *page, dma_addr_t addr,
			   enum dma_data_direction dir)
{
	ops_free(dev, size, page_address(page), addr, 0);
}

static int ops_mmap(struct device *dev, struct vm_area_struct *vma, void *va, dma_addr_t addr, size_t size,
		    unsigned long attrs)
{
	unsigned long pages = PAGE_ALIGN(size) >> PAGE_SHIFT;

	if (vma->vm_pgoff >= pages || vma_pages(vma) > pages - vma->vm_pgoff)
		return -ENXIO;
	return remap_pfn_range(vma, vma->vm_start, PHYS_PFN(__pa(va)) + vma->vm_pgoff, vma_pages(vma) << PAGE_SHIFT,
			       vma->vm_page_prot);
}

static int ops_get_sgtable(struct device *dev, struct sg_table *sgt, void *va, dma_addr_t addr, size_t size,
			   unsigned long attrs)
{
	int err = sg_alloc_table(sgt, 1, GFP_KERNEL);

	if (!err)
		sg_set_page(sgt->sgl, virt_to_page(va), PAGE_ALIGN(size), 0);
	return err;
}

static size_t ops_max_mapping_size(struct device *dev)
{
	const struct gk_dma *dma = gk_dma_of(dev);

	return dma->pool ? gio_pool_mapping_max(dma->pool) : MAPPING_MAX;
}

/* The address of a grant has bit 63. */
static int ops_dma_supported(struct device *dev, u64 mask)
{
	return mask == DMA_BIT_MASK(64);
}

static u64 ops_get_required_mask(struct device *dev)
{
	return DMA_BIT_MASK(64);
}

static const struct dma_map_ops grant_ops = {
	.alloc = ops_alloc,
	.free = ops_free,
	GK_DMA_OPS_PAGES(ops_alloc_pages, ops_free_pages),
	.mmap = ops_mmap,
	.get_sgtable = ops_get_sgtable,
	GK_DMA_OPS_MAP(ops_map_phys, ops_unmap),
	.map_sg = ops_map_sg,
	.unmap_sg = ops_unmap_sg,
	.sync_single_for_cpu = ops_sync_for_cpu,
	.sync_single_for_device = ops_sync_for_device,
	.sync_sg_for_cpu = ops_sync_sg_for_cpu,
	.sync_sg_for_device = ops_sync_sg_for_device,
	.dma_supported = ops_dma_supported,
	.get_required_mask = ops_get_required_mask,
	.max_mapping_size = ops_max_mapping_size,
};

void gk_dma_init(struct gk_dma *dma)
{
	ratelimit_state_init(&dma->complaints, COMPLAINTS_PERIOD, COMPLAINTS);
	INIT_DELAYED_WORK(&dma->break_work, break_work);
}

int gk_dma_attach(struct device *dev, struct gk_dma *dma, domid_t backend, u32 type)
{
	struct gk_dma **data;
	int err = gio_dma_init(&dma->dma, &gk_os, gk_os.grants, backend, DMA_BIT_MASK(64));

	if (err)
		return err;
	if (!dma->user)
		dma->user = dma->dma.user;
	dma->dma.user = dma->user; /* what the backend still holds of a former connection counts */
	dma->type = type;
	dma->refused = false;
	dma->quarantined = 0;
	xa_init_flags(&dma->bounces, XA_FLAGS_LOCK_IRQ); /* empty again whenever a driver has let go of the device */
	atomic64_set(&dma->bounced, 0);
	atomic64_set(&dma->pooled_maps, 0);
	atomic_set(&dma->ring_units, 0);
	dma->breaking = 0;
	dma->dev = dev;
	data = kmalloc(sizeof(*data), GFP_KERNEL); /* a platform device frees it */
	if (!data)
		return -ENOMEM;
	*data = dma;
	dev->platform_data = data;
	set_dma_ops(dev, &grant_ops);
	/* Only with these operations may it go on; a kernel without DMA operations per device ignores them. */
	if (get_dma_ops(dev) != &grant_ops)
		err = -EOPNOTSUPP;
	else if (dev->dma_mask)
		err = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64));
	else
		err = dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(64));
	if (err)
		gk_dma_detach(dev);
	return err;
}

void gk_dma_keep(struct device *dev)
{
	set_dma_ops(dev, &grant_ops);
}

void gk_dma_break_by(void (*fn)(struct device *dev))
{
	break_children = fn;
}

void gk_dma_end(struct gk_dma *dma)
{
	cancel_delayed_work_sync(&dma->break_work);
}

void gk_dma_detach(struct device *dev)
{
	void *data = dev_get_platdata(dev);

	gk_dma_end(gk_dma_of(dev));
	dev->platform_data = NULL;
	set_dma_ops(dev, NULL);
	kfree(data);
}

bool gk_dma_attached(const struct device *dev)
{
	return dev && get_dma_ops((struct device *)dev) == &grant_ops;
}
