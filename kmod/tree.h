/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a device tree says of one device: whether it is used by grants, and to which domain. Pure: of.c reads the
 * properties, the unit tests (tests/unit/kmod) make them up.
 *
 * A device's "iommus" (or, for a PCI device, what its host bridge's "iommu-map" makes of its requester id) names nodes,
 * with a number each. A node "xen,grant-dma" is ours, and its number the backend's domain: one cell.
 *
 * Errors: 0 or a negative enum gio_error, as each function says. Threads: any.
 * Not defended: a tree is the toolstack's, who is trusted. What makes no sense is refused all the same.
 */
#ifndef GRANTIO_KMOD_TREE_H
#define GRANTIO_KMOD_TREE_H

#include <grantio/types.h>

#define GK_TREE_IDS 8u /* of one device; more are refused */

struct gk_tree_id {
	bool ours;	/* the node is a "xen,grant-dma" */
	uint32_t cells; /* that the node has for its number */
	uint32_t id;	/* in the first of them */
};

/*
 * The domain that all of a device's `n` ids name. -GIO_ENODEV: none is ours. -GIO_EINVAL: some are and some are not,
 * they name different domains, or they are too many, or not one cell each. -GIO_ERANGE: no guest's or backend's domain
 * id.
 */
int gk_tree_backend(const struct gk_tree_id *ids, size_t n, gio_domid_t *backend);

/*
 * The type of virtio device that `text`, a "compatible" of a device's child node, names: "virtio,deviceN", N
 * hexadecimal in lower case. -GIO_EINVAL: it names none, 0 among them.
 */
int gk_tree_type(const char *text, uint32_t *type);

/* A line of "iommu-map": `count` requester ids, from `rid` on, are `id` and so on of the node `phandle`. */
struct gk_tree_line {
	uint32_t rid;
	uint32_t phandle;
	uint32_t id;
	uint32_t count;
};

/*
 * Which node and number requester id `rid` has, `mask` being "iommu-map-mask" (else all bits): by the first line that
 * has it. -GIO_ENODEV: none has. -GIO_EINVAL: a line before that is for ids that the mask excludes, or its
 * numbers wrap.
 */
int gk_tree_map(const struct gk_tree_line *lines, size_t n, uint32_t mask, uint32_t rid, uint32_t *phandle,
		uint32_t *id);

#endif
