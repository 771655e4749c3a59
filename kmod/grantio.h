/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * grantio.ko: virtio disks over grants for Linux kernels that were built without CONFIG_XEN_VIRTIO.
 *
 * Concepts. Toolstack and backend describe a device in xenstore (docs/xenbus.md). The frontend (frontend.c) turns it
 * into a "virtio-mmio" platform device, for the kernel's own virtio_mmio driver, with DMA operations (dma_ops.c) that
 * grant what is mapped to that device's backend. Grants are the guest library's (guest/grant, guest/dma), whose system
 * is this kernel: os_linux.c gives memory and locks, entry_linux.c the kernel's grant references. Devices that a device
 * tree describes have their platform device (or PCI device) already: of.c gives them these DMA operations.
 *
 * Restricted. These DMA operations are the only ones that such a device ever has, they know no address but grants, and
 * the device must offer VERSION_1 and ACCESS_PLATFORM. A grant that the backend still holds at unmap goes to quarantine
 * with its page; the request completes and the device goes on.
 *
 * Whole units or copies. A unit of 4 KiB is granted if all of it is mapped; of another the backend sees a copy, with
 * zeroes around it (bounce.c).
 *
 * Errors: 0 or -errno. Threads: as each function says.
 */
#ifndef GRANTIO_KMOD_GRANTIO_H
#define GRANTIO_KMOD_GRANTIO_H

#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/platform_device.h>
#include <linux/ratelimit_types.h>
#include <linux/types.h>
#include <linux/xarray.h>
#include <xen/xenbus.h>

#include <grantio/dma.h>

#include "reap.h"

/* ---- dma_ops.c ------------------------------------------------------------------------------------------------- */

/* DMA for one backend; it lies in the frontend's device, and outlives the platform device. */
struct gk_dma {
	struct gio_dma dma;
	u32 type;			   /* the virtio device must be of this one (virtio.c) */
	bool refused;			   /* coherent memory was, and that was said */
	struct ratelimit_state complaints; /* lines that the backend can cause, however often it begins anew */
	u64 quarantined;		   /* as we last saw it in dma.stats */
	struct xarray bounces;		   /* struct gk_bounce, by each of its references */
	atomic64_t bounced;		   /* mappings that went by one, so far */
};

/* Once, before all of these: what lives longer than one connection. */
void gk_dma_init(struct gk_dma *dma);

/*
 * Make `dev`, which no driver uses yet, use grants to `backend`, if it is a virtio device of `type`. Its platform_data,
 * which must be free for that, keeps a pointer to `dma`. 0 or -errno, and then it is as it was.
 */
int gk_dma_attach(struct device *dev, struct gk_dma *dma, domid_t backend, u32 type);
/* Undo it, when no driver uses `dev` any more; a platform device that goes away needs none of it. */
void gk_dma_detach(struct device *dev);
/* True for a device that gk_dma_attach() has had. */
bool gk_dma_attached(const struct device *dev);
/* What it was given then. */
struct gk_dma *gk_dma_of(const struct device *dev);

/* ---- bounce.c --------------------------------------------------------------------------------------------------- */

/*
 * Some memory is not granted: pages of ours are, with copies.
 * - Units of 4 KiB that a mapping has only a part of: the backend shall not see what else is in them. virtio_blk's
 *   status byte lies among the kernel's pointers.
 * - Memory that cannot be held in quarantine page by page: slab pages, whose objects are reused while the page stays,
 *   and the inner pages of a large allocation, which have no count of their own. All of such a mapping is copied.
 */
bool gk_bounce_needed(phys_addr_t phys, size_t size);
/* Map a copy of it, or what the driver makes one (`sync` is false). 0 or -errno. Any context, as all of these. */
int gk_bounce_map(struct gk_dma *dma, phys_addr_t phys, size_t size, enum gio_dma_dir dir, bool sync, gio_dma_t *addr);
/* Take what belongs to a mapping, before it is unmapped: NULL, if it is none of ours. */
struct gk_bounce *gk_bounce_take(struct gk_dma *dma, gio_dma_t addr);
/* After it is unmapped: copy back what the device wrote, unless the driver has it (`sync` is false), and free it. */
void gk_bounce_end(struct gk_bounce *bounce, bool sync);
/* Copy while it is mapped: to the device's copy, or back. Nothing for other addresses. */
void gk_bounce_sync(struct gk_dma *dma, gio_dma_t addr, size_t size, bool to_device);

/* ---- frontend.c ------------------------------------------------------------------------------------------------ */

/* One device of the xenbus, from probe to remove. */
struct gk_front {
	struct xenbus_device *xbdev;
	struct delayed_work work; /* does what the backend's state asks for; never runs twice at once */
	/* Have `work` run soon; any context. After a save, however it ended, so that a frozen driver goes on again. */
	void (*look)(struct gk_front *front);
	evtchn_port_t port;	      /* 0: none. Ours, its peer is the backend's domain */
	int irq;		      /* bound to it */
	u32 type;		      /* of virtio device, as the toolstack has it */
	u64 base;		      /* the registers, as published, and nobody else's; 0: none */
	u32 retries;		      /* of a connection for which there was no memory */
	struct platform_device *pdev; /* NULL unless connected, or frozen */
	bool frozen;		      /* by a save; its driver waits for gk_platform_revive() */
	bool kept;		      /* a second save found it so */
	int restored;		      /* xchg(): what was connected is no more */
	struct gk_dma dma;
};

/* ---- platform.c ------------------------------------------------------------------------------------------------ */

/* Make the device and give it to its driver, from the registers at `base` and `irq`; the module stays with it. */
int gk_platform_create(struct gk_front *front);
/* Take it from its driver, and have it go. Nothing without one. Not when it is frozen. */
void gk_platform_destroy(struct gk_front *front);
/* Have a frozen device go on, with the interrupt that it has now. 0 or -errno, and it is still frozen. */
int gk_platform_revive(struct gk_front *front);

int gk_front_register(void);
void gk_front_unregister(void);

/* ---- of.c: where the kernel has CONFIG_OF_IOMMU -------------------------------------------------------------- */

/* Devices of the device tree that name a "xen,grant-dma" node are probed, with our DMA operations. 0 or -errno. */
int gk_tree_register(void);
/* No device has them any more: the module is not unloaded before. */
void gk_tree_unregister(void);

/* ---- sysfs.c --------------------------------------------------------------------------------------------------- */

/* The directory "grantio" of a device; and for the xenbus driver, whose devices all have it. */
extern const struct attribute_group gk_group;
extern const struct attribute_group *gk_groups[];

#endif
