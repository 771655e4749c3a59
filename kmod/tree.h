/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a device tree says of one device: whether its driver must use grants, and to which domain.
 *
 * The functions here take the values of properties as arguments. of.c reads those from the kernel's tree, and the unit
 * tests (tests/unit/kmod) choose them.
 *
 * A device's "iommus" names nodes, and has a number for each. For a PCI device the host bridge's "iommu-map" gives the
 * node and the number, by the device's requester id. A node "xen,grant-dma" is ours. Its number has one cell, and is
 * the backend's domain.
 *
 * Errors: 0 or a negative enum gio_error, as each function says. Threads: any.
 * Not defended: the toolstack writes the tree, and it is trusted. Values that make no sense are refused all the same.
 */
#ifndef GRANTIO_KMOD_TREE_H
#define GRANTIO_KMOD_TREE_H

#include <grantio/types.h>

#define GK_TREE_IDS 8u /* of one device; more are refused */

struct gk_tree_id {
	bool ours;	/* the node is a "xen,grant-dma" */
	uint32_t cells; /* how many cells the number has */
	uint32_t id;	/* the first of them */
};

/*
 * Find the backend's domain, which all of a device's `n` ids must name. -GIO_ENODEV: no id is ours. -GIO_EINVAL: only
 * some are ours, they name different domains, there are too many, or one does not have exactly one cell. -GIO_ERANGE:
 * the number is too large for a domain.
 */
int gk_tree_backend(const struct gk_tree_id *ids, size_t n, gio_domid_t *backend);

/*
 * Read the type of virtio device from `text`, the "compatible" of a device's child node: "virtio,deviceN", where N is
 * hexadecimal in lower case. -GIO_EINVAL: it has another form, or N is 0.
 */
int gk_tree_type(const char *text, uint32_t *type);

/* A line of "iommu-map": requester ids `rid` to `rid` + `count` - 1 have the numbers from `id` on at node `phandle`. */
struct gk_tree_line {
	uint32_t rid;
	uint32_t phandle;
	uint32_t id;
	uint32_t count;
};

/*
 * Find the node and the number of requester id `rid`, in the first line that has it. `mask` is "iommu-map-mask", or all
 * bits where that is absent. -GIO_ENODEV: no line has it. -GIO_EINVAL: that line, or one before it, is for ids that the
 * mask excludes, or its numbers wrap.
 */
int gk_tree_map(const struct gk_tree_line *lines, size_t n, uint32_t mask, uint32_t rid, uint32_t *phandle,
		uint32_t *id);

#endif
