/* SPDX-License-Identifier: GPL-2.0-only */
/* Give devices DMA operations whose addresses are grants, and take them away. Errors: 0 or -errno. */
#ifndef GRANTIO_KMOD_DMA_OPS_H
#define GRANTIO_KMOD_DMA_OPS_H

#include <linux/device.h>
#include <xen/xenbus.h>

#include "dma.h"

/* Before the other functions: what breaks the virtio devices on a device. It may be called until gk_dma_end(). */
void gk_dma_break_by(void (*fn)(struct device *dev));
/* Set up the parts that live longer than one connection. Call it once, before the other functions. */
void gk_dma_init(struct gk_dma *dma);

/*
 * Make `dev`, which no driver uses yet, use grants to `backend`, if it is a virtio device of `type`. Its platform_data,
 * which must be free for that, keeps a pointer to `dma`. 0 or -errno; after an error `dev` is unchanged.
 */
int gk_dma_attach(struct device *dev, struct gk_dma *dma, domid_t backend, u32 type);
/*
 * Give it these operations again: a kernel with CONFIG_XEN_VIRTIO may have given it others when its virtio device said
 * which features it has.
 */
void gk_dma_keep(struct device *dev);
/* No driver uses the device any more: its work ends, too. Call it while `dev` is there. May sleep. */
void gk_dma_end(struct gk_dma *dma);
/* Undo gk_dma_attach() when no driver uses `dev` any more. For a platform device that is removed gk_dma_end() does. */
void gk_dma_detach(struct device *dev);
/* True for a device that was given to gk_dma_attach(). */
bool gk_dma_attached(const struct device *dev);
/* The `dma` that was given with it. */
struct gk_dma *gk_dma_of(const struct device *dev);

#endif
