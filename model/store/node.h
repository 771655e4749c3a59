/* SPDX-License-Identifier: MIT */
/*
 * Nodes by themselves: references, copies on change, the list of children. Only tree.c changes them; tree.h says what
 * the generations mean.
 */
#ifndef GM_STORE_NODE_H
#define GM_STORE_NODE_H

#include "model/store/perms.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gm_node {
	uint32_t refs;
	uint32_t children;
	uint64_t generation, newest;
	struct gm_perms perms;
	struct gm_node **child;
	size_t child_bytes; /* of the names, with their NULs: what DIRECTORY sends */
	char *value;
	size_t length;
	char name[];
};

/* A node without value and children, with one reference; NULL: no memory. */
struct gm_node *gm_node_new(const char *name, size_t length, const struct gm_perms *perms);
/* One reference more, or less. */
struct gm_node *gm_node_get(struct gm_node *node);
void gm_node_put(struct gm_node *node); /* takes NULL */
/* Make *slot's node the slot's alone, by copying it if others reach it too. 0 or -ENOMEM. */
int gm_node_own(struct gm_node **slot);

/* Replace the value by a copy of this one. 0 or -ENOMEM, with the old value kept. */
int gm_node_value_set(struct gm_node *node, const void *value, size_t length);
/* Append a child; takes over the caller's reference on success. */
int gm_node_child_add(struct gm_node *node, struct gm_node *child);
/* Where the child stands in node->child, or -1. */
int gm_node_child_find(const struct gm_node *node, const char *name, size_t length);
/* Take a child out of the list, and put its reference. */
void gm_node_child_remove(struct gm_node *node, uint32_t at);

#endif
