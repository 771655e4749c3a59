/* SPDX-License-Identifier: MIT */
/*
 * Nodes are shared between the store and its snapshots, and so counted. Whoever wants to change one makes it its own
 * first (gm_node_own); a node with one reference is changed in place.
 */
#include "model/store/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHILD_STEP 8u /* the list's room is always a multiple of it */

/* The room is computed from the number of children, so that no node has to keep it. */
static size_t room_for(uint32_t children)
{
	return (children + CHILD_STEP - 1) / CHILD_STEP * CHILD_STEP;
}

struct gm_node *gm_node_new(const char *name, size_t length, const struct gm_perms *perms)
{
	struct gm_node *node = calloc(1, sizeof(*node) + length + 1);

	if (!node)
		return NULL;
	node->refs = 1;
	node->perms = *perms;
	memcpy(node->name, name, length);
	return node;
}

struct gm_node *gm_node_get(struct gm_node *node)
{
	node->refs++;
	return node;
}

/* Recursion is as deep as the longest path has components: XENSTORE_ABS_PATH_MAX / 2. */
void gm_node_put(struct gm_node *node)
{
	if (!node || --node->refs)
		return;
	for (uint32_t i = 0; i < node->children; i++)
		gm_node_put(node->child[i]);
	free(node->child);
	free(node->value);
	free(node);
}

/* The children are shared with the original: only the list is copied. */
static struct gm_node *node_clone(const struct gm_node *from)
{
	struct gm_node *node = gm_node_new(from->name, strlen(from->name), &from->perms);

	if (!node)
		return NULL;
	if (gm_node_value_set(node, from->value, from->length))
		goto err_put_node;
	if (from->children) {
		node->child = malloc(room_for(from->children) * sizeof(*node->child));
		if (!node->child)
			goto err_put_node;
	}
	for (uint32_t i = 0; i < from->children; i++)
		node->child[i] = gm_node_get(from->child[i]);
	node->children = from->children;
	node->child_bytes = from->child_bytes;
	node->generation = from->generation;
	node->newest = from->newest;
	return node;

err_put_node:
	gm_node_put(node);
	return NULL;
}

int gm_node_own(struct gm_node **slot)
{
	struct gm_node *copy;

	if ((*slot)->refs == 1)
		return 0;
	copy = node_clone(*slot);
	if (!copy)
		return -ENOMEM;
	gm_node_put(*slot);
	*slot = copy;
	return 0;
}

/* The new value is there before the old one goes, so that a failure changes nothing. */
int gm_node_value_set(struct gm_node *node, const void *value, size_t length)
{
	char *copy = NULL;

	if (length) {
		copy = malloc(length);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, value, length);
	}
	free(node->value);
	node->value = copy;
	node->length = length;
	return 0;
}

int gm_node_child_add(struct gm_node *node, struct gm_node *child)
{
	if (node->children % CHILD_STEP == 0) {
		struct gm_node **grown = realloc(node->child, room_for(node->children + 1) * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		node->child = grown;
	}
	node->child[node->children++] = child;
	node->child_bytes += strlen(child->name) + 1;
	return 0;
}

int gm_node_child_find(const struct gm_node *node, const char *name, size_t length)
{
	for (uint32_t i = 0; i < node->children; i++) {
		const char *child = node->child[i]->name;

		if (strncmp(child, name, length) == 0 && !child[length])
			return (int)i;
	}
	return -1;
}

/* The others keep their order, which is that of their creation. */
void gm_node_child_remove(struct gm_node *node, uint32_t at)
{
	struct gm_node *child = node->child[at];

	node->child_bytes -= strlen(child->name) + 1;
	node->children--;
	memmove(node->child + at, node->child + at + 1, (node->children - at) * sizeof(*node->child));
	gm_node_put(child);
}
