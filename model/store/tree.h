/* SPDX-License-Identifier: MIT */
/*
 * The tree of nodes: immutable where it is shared.
 *
 * A node that only one tree reaches is changed in place; one that a snapshot reaches too is copied first, with its
 * ancestors. So a snapshot (gm_tree_copy) costs a reference, and a transaction sees the store as it was at its start.
 * Children are listed in the order of their creation, as in xenstored.
 *
 * Every change has a generation, new and higher for each tree. A node's `generation` is that of its last change: value,
 * permissions, or names of children. Its `newest` is the highest below it, its own included. Equal generations in two
 * snapshots of one tree mean the same contents.
 *
 * Paths are absolute and valid (path.h). Special nodes are kept beside the root, under their names.
 * Errors: 0, -ENOENT, -ENOMEM; after an error the tree holds what it held before.
 */
#ifndef GM_STORE_TREE_H
#define GM_STORE_TREE_H

#include "model/store/node.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gm_tree {
	struct gm_node *root, *introduce, *release;
	uint64_t generation; /* the last one given */
	struct gm_owner {
		uint16_t domid;
		uint32_t nodes;
	} * owner; /* how many nodes each domain owns */
	size_t owners;
};

/* A tree with a root and the two special nodes, a copy of a tree, and the end of either. 0 or -ENOMEM. */
int gm_tree_init(struct gm_tree *tree);
int gm_tree_copy(struct gm_tree *out, const struct gm_tree *from);
void gm_tree_exit(struct gm_tree *tree);

/* NULL if there is none. Valid until the tree is changed. */
const struct gm_node *gm_tree_find(const struct gm_tree *tree, const char *path);
/* The deepest node on the way to `path` that there is, and in *missing how many components are not. */
const struct gm_node *gm_tree_nearest(const struct gm_tree *tree, const char *path, unsigned *missing);
/* How many nodes the domain owns. */
uint32_t gm_tree_owned(const struct gm_tree *tree, uint16_t domid);

/*
 * Write a value; a node that is missing is made, with its parents. New nodes have their parent's permissions, and
 * `domid` as owner unless that is 0.
 */
int gm_tree_write(struct gm_tree *tree, const char *path, uint16_t domid, const void *value, size_t length);
/* Remove the node and all below it. Not for "/". */
int gm_tree_remove(struct gm_tree *tree, const char *path);
/* Set a node's permissions, which may give it another owner. */
int gm_tree_perms_set(struct gm_tree *tree, const char *path, const struct gm_perms *perms);
/* Make the node at `path` as it is in `from` (value, permissions; children are left), and missing parents too. */
int gm_tree_adopt(struct gm_tree *tree, const struct gm_tree *from, const char *path);

#endif
