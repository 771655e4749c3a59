/* SPDX-License-Identifier: MIT */
/*
 * Device trees of guests that share by grants: made (`grantio dt emit`), and read as a guest reads them (`check`,
 * `explain`).
 *
 * A device whose "iommus" names a node "xen,grant-dma" is *restricted*: the guest grants its buffers to the domain that
 * the specifier names, and uses no other addresses. Any other virtio device is *unrestricted*: its backend has to map
 * whatever guest memory it is told of. What is meant to be the first and turns out to be the second, or a device that
 * the guest cannot use at all, is *broken*. Reference: Linux 6.12, drivers/xen/grant-dma-ops.c and drivers/of.
 *
 * A tree that is read may be hostile: it is checked as a whole first (libfdt), and sizes, depth and counts are bounded.
 * Errors: 0 or -errno, with a line in `error`. Threads: any.
 */
#ifndef GC_DT_H
#define GC_DT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/command.h"

#define GC_DT_SPI_FIRST 32u /* GIC: shared peripheral interrupts */
#define GC_DT_SPI_LAST	1019u
/* xen/device_tree_defs.h: what the toolstack gives to its own nodes. */
#define GC_DT_PHANDLE_GIC   65000u
#define GC_DT_PHANDLE_IOMMU 65001u

extern const struct gc_command gc_dt_command, gc_dt_emit_command, gc_dt_check_command, gc_dt_explain_command;

/* ---- making: build.c, text.c -------------------------------------------------------------------------------- */

#define GC_DT_EMIT_MAX 64

struct gc_dt_node {
	uint64_t base;	  /* of GIO_VIRTIO_MMIO_BYTES bytes of registers */
	unsigned irq;	  /* GIC number: 32 to 1019 */
	unsigned backend; /* domain id */
};

enum gc_dt_layout {
	GC_DT_WHOLE,   /* at the root, as libxl writes them */
	GC_DT_PARTIAL, /* for xl's device_tree=: below /passthrough */
	GC_DT_DOM0LESS /* for Xen's dom0less guests: the same, and the /gic that Xen takes the phandle of */
};

/* A blob of `*size` bytes; the caller frees it. -ENOMEM, or -EINVAL for more than GC_DT_EMIT_MAX. */
int gc_dt_build(enum gc_dt_layout layout, const struct gc_dt_node *nodes, unsigned count, void **blob, size_t *size);

/* A good blob (of gc_dt_build(), or checked) as source text. */
void gc_dt_text(const void *blob, FILE *out);

/* ---- reading: read.c ---------------------------------------------------------------------------------------- */

#define GC_DT_BLOB_MAX (2u << 20) /* Linux: MAX_FDT_SIZE */
#define GC_DT_DEVICES  256u
#define GC_DT_DEPTH    32
#define GC_DT_WHY      192

enum gc_dt_fate { GC_DT_BROKEN, GC_DT_DISABLED, GC_DT_UNRESTRICTED, GC_DT_RESTRICTED };

/* A virtio-mmio device, or a range of the requester IDs of a PCI host bridge. */
struct gc_dt_device {
	char path[128]; /* printable; cut if longer */
	bool pci;
	uint64_t base, size;  /* registers, as the guest's CPU sees them; size 0: not known */
	unsigned irq;	      /* 0: not known */
	uint16_t first, last; /* PCI: requester IDs */
	enum gc_dt_fate fate;
	uint16_t backend;    /* restricted: to this domain; PCI: that of the first ID, the next one has the next */
	char why[GC_DT_WHY]; /* unrestricted, broken */
};

struct gc_dt_report {
	struct gc_dt_device devices[GC_DT_DEVICES];
	unsigned count;
};

/* What a guest makes of `size` bytes at `blob`, which must be aligned to 8. 0, -EINVAL, -ENOMEM or -E2BIG. */
int gc_dt_read(const void *blob, size_t size, struct gc_dt_report *report, char *error, size_t error_size);

#endif
