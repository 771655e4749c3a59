/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Mapping by copies in a device's pool (grantio/pool.h): what is mapped lies in pages that were granted when the device
 * came up, and the memory of the driver is never granted. Errors: 0 or -errno. Threads: any context.
 */
#ifndef GRANTIO_KMOD_POOLED_H
#define GRANTIO_KMOD_POOLED_H

#include <linux/types.h>

#include "dma.h"

/* Copy the memory into the pool, if the device may read it and `sync` is set. -ENOMEM: the pool is full for now. */
int gk_pooled_map(struct gk_dma *dma, phys_addr_t phys, size_t size, enum gio_dma_dir dir, bool sync, gio_dma_t *addr);
/*
 * Copy back what the device may have written, if `sync` is set, and let go of the space. False: that is no mapping, and
 * nothing was done.
 */
bool gk_pooled_unmap(struct gk_dma *dma, gio_dma_t addr, size_t size, enum gio_dma_dir dir, bool sync);
/* Copy a part of a mapping while it is mapped: to the pool, or back. */
void gk_pooled_sync(struct gk_dma *dma, gio_dma_t addr, size_t size, bool to_device);

#endif
