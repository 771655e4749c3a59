/* SPDX-License-Identifier: GPL-2.0-only */
/* Copies of memory that is not granted itself. Errors: 0 or -errno. Threads: any context. */
#ifndef GRANTIO_KMOD_BOUNCE_H
#define GRANTIO_KMOD_BOUNCE_H

#include <linux/types.h>

#include "dma.h"

struct gk_bounce;

/*
 * Some memory is not granted; instead pages of this module are granted, with a copy of the data:
 * - Units of 4 KiB that a mapping covers only in part: the backend must not see the other data in them. For example,
 *   virtio_blk's status byte lies among the kernel's pointers.
 * - Memory that cannot be held in quarantine page by page: slab pages, whose objects are reused while the page stays,
 *   and the inner pages of a large allocation, which have no count of their own. All of such a mapping is copied.
 */
bool gk_bounce_needed(phys_addr_t phys, size_t size);
/* Map a copy of the memory. With `sync` false its content is the driver's task. 0 or -errno. Any context, like all. */
int gk_bounce_map(struct gk_dma *dma, phys_addr_t phys, size_t size, enum gio_dma_dir dir, bool sync, gio_dma_t *addr);
/* Take the bounce of a mapping out of the table before the mapping is unmapped. NULL: the mapping has none. */
struct gk_bounce *gk_bounce_take(struct gk_dma *dma, gio_dma_t addr);
/* After the unmapping: copy back what the device wrote, unless `sync` is false, and free the bounce. */
void gk_bounce_end(struct gk_bounce *bounce, bool sync);
/* Copy while the memory is mapped: to the device's copy, or back. Does nothing for an address without a bounce. */
void gk_bounce_sync(struct gk_dma *dma, gio_dma_t addr, size_t size, bool to_device);

#endif
