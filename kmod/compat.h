/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All differences between the kernels that grantio.ko builds for (5.10 to 7.2). Each part is named after what our code
 * wants to do. No other file asks for a kernel's version or configuration.
 */
#ifndef GRANTIO_KMOD_COMPAT_H
#define GRANTIO_KMOD_COMPAT_H

#include <linux/dma-map-ops.h>
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/rcupdate.h>
#include <linux/version.h>
#include <linux/virtio.h>
#include <xen/events.h>
#include <xen/grant_table.h>
#include <xen/page.h>
#include <xen/xenbus.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 14, 0)
#include <linux/kstrtox.h> /* was in kernel.h */
#endif

#define GK_SINCE(major, minor) (LINUX_VERSION_CODE >= KERNEL_VERSION(major, minor, 0))

/* ---- grants ---------------------------------------------------------------------------------------------------- */

/* The hypervisor's number of a frame that is known by the guest's: another one in a PV guest only, which is on x86. */
static inline unsigned long gk_frame(unsigned long gfn)
{
#if IS_ENABLED(CONFIG_XEN_PV)
	return pfn_to_gfn(gfn);
#else
	return gfn;
#endif
}

/* End one grant, and keep the reference. False: the grant is still in use, and the kernel has logged that. */
static inline bool gk_grant_end(grant_ref_t ref)
{
#if GK_SINCE(5, 18)
	return gnttab_end_foreign_access_ref(ref);
#else
	return gnttab_end_foreign_access_ref(ref, 0);
#endif
}

/*
 * Leave a grant, and one hold on its page, to the kernel. It ends the grant and drops the hold when it can.
 * Kernels before 5.19 know the page by its address, and a page of highmem has none. Its hold is
 * dropped here if the grant can be ended now. Otherwise the hold stays for ever.
 */
#if GK_SINCE(5, 19)
static inline void gk_grant_leave(grant_ref_t ref, struct page *page)
{
	gnttab_end_foreign_access(ref, page);
}
#else
static inline void gk_grant_leave(grant_ref_t ref, struct page *page)
{
	unsigned long va = (unsigned long)page_address(page);

	if (!va && gnttab_try_end_foreign_access(ref)) {
		put_page(page);
		return;
	}
#if GK_SINCE(5, 18)
	gnttab_end_foreign_access(ref, va);
#else
	gnttab_end_foreign_access(ref, 0, va);
#endif
}
#endif

/* ---- xenbus ---------------------------------------------------------------------------------------------------- */

/* A member of struct xenbus_driver: the boot need not wait for our devices. Kernels before 5.16 wait. */
#if GK_SINCE(5, 16)
#define GK_XENBUS_NOT_ESSENTIAL .not_essential = true,
#else
#define GK_XENBUS_NOT_ESSENTIAL
#endif

/*
 * The member that removes a device returned an int once, and returns nothing now. Some stable kernels changed it as
 * well, so that the version does not tell: the type of the member does. `remove` returns nothing. Write
 * GK_XENBUS_DEFINE_REMOVE(remove) before GK_XENBUS_REMOVE(remove).
 */
#define GK_XENBUS_DEFINE_REMOVE(remove)                         \
	static int remove##_result(struct xenbus_device *xbdev) \
	{                                                       \
		remove(xbdev);                                  \
		return 0;                                       \
	}
#define GK_XENBUS_REMOVE(fn)                                                                                      \
	.remove = __builtin_choose_expr(__builtin_types_compatible_p(typeof(((struct xenbus_driver *)0)->remove), \
								     int (*)(struct xenbus_device *)),            \
					fn##_result, fn)

/* ---- memory ---------------------------------------------------------------------------------------------------- */

/* Map any page for a short time, in any context. Pages are unmapped in the reverse order. */
#if GK_SINCE(5, 11)
#define gk_kmap(page)	 kmap_local_page(page)
#define gk_kunmap(vaddr) kunmap_local(vaddr)
#else
#define gk_kmap(page)	 kmap_atomic(page)
#define gk_kunmap(vaddr) kunmap_atomic(vaddr)
#endif

/* True if get_page() does not keep the page from being freed and used again, or if the page cannot be granted. */
static inline bool gk_page_unholdable(struct page *page)
{
#if GK_SINCE(6, 15)
	if (folio_test_large_kmalloc(page_folio(page)))
		return true;
#endif
	/*
	 * A page of another domain, which is mapped here by a grant, cannot be granted to a third one. A page of the
	 * page cache may have the same flag: its mapping tells them apart.
	 */
	if (PageForeign(page) && !compound_head(page)->mapping)
		return true;
	return PageSlab(page) || !page_count(page);
}

/* ---- devices of the device tree -------------------------------------------------------------------------------- */

#if IS_ENABLED(CONFIG_OF_IOMMU)
#define GK_KERNEL_HAS_OF_IOMMU 1

static inline int gk_iommu_register(struct iommu_device *iommu, const struct iommu_ops *ops, struct device *dev)
{
#if GK_SINCE(5, 13)
	return iommu_device_register(iommu, ops, dev);
#else
	iommu_device_set_ops(iommu, ops);
	iommu_device_set_fwnode(iommu, dev_fwnode(dev));
	return iommu_device_register(iommu);
#endif
}
#else
#define GK_KERNEL_HAS_OF_IOMMU 0
#endif

/* Notifiers of PCI devices; kernels without PCI have none. */
#if IS_ENABLED(CONFIG_PCI)
static inline int gk_pci_notifier_register(struct notifier_block *block)
{
	return bus_register_notifier(&pci_bus_type, block);
}

static inline void gk_pci_notifier_unregister(struct notifier_block *block)
{
	bus_unregister_notifier(&pci_bus_type, block);
}
#else
static inline int gk_pci_notifier_register(struct notifier_block *block)
{
	return 0;
}

static inline void gk_pci_notifier_unregister(struct notifier_block *block)
{
}
#endif

/* The same for platform drivers, whose removal returned an int once, too. */
#define GK_PLATFORM_DEFINE_REMOVE(remove)                        \
	static int remove##_result(struct platform_device *pdev) \
	{                                                        \
		remove(pdev);                                    \
		return 0;                                        \
	}
#define GK_PLATFORM_REMOVE(fn)                                                                                      \
	.remove = __builtin_choose_expr(__builtin_types_compatible_p(typeof(((struct platform_driver *)0)->remove), \
								     int (*)(struct platform_device *)),            \
					fn##_result, fn)

/* ---- virtio ---------------------------------------------------------------------------------------------------- */

#if IS_ENABLED(CONFIG_XEN_VIRTIO)
#define GK_KERNEL_HAS_XEN_VIRTIO 1
#else
#define GK_KERNEL_HAS_XEN_VIRTIO 0
#endif

/*
 * Which virtio devices must offer VERSION_1 and ACCESS_PLATFORM. From 6.0 on the kernel asks one function about it.
 * Kernels before that do not ask. There, too, no device works without grants: in a Xen guest virtio always uses the DMA
 * operations, and virtio-mmio of version 1 cannot take their addresses.
 */
#if IS_ENABLED(CONFIG_VIRTIO_ANCHOR)
#include <linux/virtio_anchor.h>

typedef bool gk_restricted_fn(struct virtio_device *vdev);

static inline gk_restricted_fn *gk_restricted_get(void)
{
	return READ_ONCE(virtio_check_mem_acc_cb);
}

static inline void gk_restricted_set(gk_restricted_fn *fn)
{
	/* Release: all that `fn` reads is written before the pointer. A caller reads `fn` by this pointer first. */
	smp_store_release(&virtio_check_mem_acc_cb, fn);
}
#else
typedef bool gk_restricted_fn(struct virtio_device *vdev);

static inline gk_restricted_fn *gk_restricted_get(void)
{
	return NULL;
}

static inline void gk_restricted_set(gk_restricted_fn *fn)
{
}
#endif

/* What find_vqs() is to find: its parameters, and those of queue `i`. */
#if GK_SINCE(6, 11)
#define GK_FIND_VQS_WANTED struct virtqueue_info wanted[]
#define GK_FIND_VQS_ARGS   wanted
#define GK_VQ_NAME(i)	   (wanted[i].name)
#define GK_VQ_CALLBACK(i)  (wanted[i].callback)
#define GK_VQ_CTX(i)	   (wanted[i].ctx)
#else
#define GK_FIND_VQS_WANTED vq_callback_t *callbacks[], const char *const names[], const bool *ctx
#define GK_FIND_VQS_ARGS   callbacks, names, ctx
#define GK_VQ_NAME(i)	   (names[i])
#define GK_VQ_CALLBACK(i)  (callbacks[i])
#define GK_VQ_CTX(i)	   (ctx && ctx[i])
#endif

/* A member of struct virtio_config_ops: before there was one, a reset alone has to wait for callbacks. */
#if GK_SINCE(5, 19)
#define GK_VIRTIO_SYNCHRONIZE_CBS(fn) .synchronize_cbs = (fn),
#else
#define GK_VIRTIO_SYNCHRONIZE_CBS(fn)
#endif

/* How many entries the device would let a queue have. */
static inline void gk_vq_num_max_set(struct virtqueue *vq, unsigned int num)
{
#if GK_SINCE(6, 0)
	vq->num_max = num;
#endif
}

/* How a virtio driver freezes, or NULL. Kernels that cannot sleep have no such member. */
#if IS_ENABLED(CONFIG_PM)
#define gk_virtio_freeze_of(drv) ((drv)->freeze)
#else
#define gk_virtio_freeze_of(drv) ((void)(drv), NULL)
#endif

/* Have the driver of a virtio device freeze, and go on. Kernels that cannot sleep have no such functions. */
#if IS_ENABLED(CONFIG_PM_SLEEP)
#define gk_virtio_freeze(vdev)	virtio_device_freeze(vdev)
#define gk_virtio_restore(vdev) virtio_device_restore(vdev)
#else
#define gk_virtio_freeze(vdev)	((void)(vdev), -EOPNOTSUPP)
#define gk_virtio_restore(vdev) ((void)(vdev), -EOPNOTSUPP)
#endif

/* ---- DMA operations -------------------------------------------------------------------------------------------- */

/* Whether registers are to be mapped, not memory. Kernels without the flag never pass registers. */
#ifdef DMA_ATTR_MMIO
#define GK_DMA_IS_MMIO(attrs) ((attrs)&DMA_ATTR_MMIO)
#else
#define GK_DMA_IS_MMIO(attrs) 0
#endif

/* What map_sg() returns when it fails. */
#if GK_SINCE(5, 15)
#define GK_MAP_SG_ERROR(error) (error)
#else
#define GK_MAP_SG_ERROR(error) 0
#endif

/* Initialisers of two members of struct dma_map_ops, of which one had another name. */
#if GK_SINCE(6, 10)
#define GK_DMA_OPS_PAGES(alloc, free) .alloc_pages_op = (alloc), .free_pages = (free)
#else
#define GK_DMA_OPS_PAGES(alloc, free) .alloc_pages = (alloc), .free_pages = (free)
#endif

/*
 * Initialisers for mapping one buffer. `map` takes (dev, phys, size, dir, attrs) and `unmap` (dev, addr, size, dir,
 * attrs). Kernels before 6.19 pass a page and an offset: there gk_map_page() calls `map`.
 */
#if GK_SINCE(6, 19)
#define GK_DMA_OPS_MAP(map, unmap) .map_phys = (map), .unmap_phys = (unmap)
#define GK_DMA_DEFINE_MAP_PAGE(map)
#else
#define GK_DMA_OPS_MAP(map, unmap) .map_page = gk_map_page, .unmap_page = (unmap)
#define GK_DMA_DEFINE_MAP_PAGE(map)                                                                             \
	static dma_addr_t gk_map_page(struct device *dev, struct page *page, unsigned long offset, size_t size, \
				      enum dma_data_direction dir, unsigned long attrs)                         \
	{                                                                                                       \
		return map(dev, page_to_phys(page) + offset, size, dir, attrs);                                 \
	}
#endif

#endif
