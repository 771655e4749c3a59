/* SPDX-License-Identifier: GPL-2.0-only */
/* Copies of what is not granted itself. Errors: 0 or -errno. Threads: any context. */
#ifndef GRANTIO_KMOD_BOUNCE_H
#define GRANTIO_KMOD_BOUNCE_H

#include <linux/types.h>

#include "dma.h"

struct gk_bounce;

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

#endif
