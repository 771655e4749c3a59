/* SPDX-License-Identifier: GPL-2.0-only */
/* Which devices have DMA operations whose addresses are grants. Errors: 0 or -errno. */
#ifndef GRANTIO_KMOD_DMA_OPS_H
#define GRANTIO_KMOD_DMA_OPS_H

#include <linux/device.h>
#include <xen/xenbus.h>

#include "dma.h"

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

#endif
