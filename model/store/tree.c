/* SPDX-License-Identifier: MIT */
#include "model/store/tree.h"

#include "model/store/node.h"
#include "model/store/path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- the number of nodes that each domain owns ---- */

static struct gm_owner *owner_find(const struct gm_tree *tree, uint16_t domid)
{
	for (size_t i = 0; i < tree->owners; i++) {
		if (tree->owner[i].domid == domid)
			return &tree->owner[i];
	}
	return NULL;
}

/* Make sure that the owner can be counted; what cannot fail afterwards is owner_count(). */
static int owner_reserve(struct gm_tree *tree, uint16_t domid)
{
	struct gm_owner *grown;

	if (owner_find(tree, domid))
		return 0;
	for (size_t i = 0; i < tree->owners; i++) {
		if (tree->owner[i].nodes == 0) {
			tree->owner[i].domid = domid;
			return 0;
		}
	}
	grown = realloc(tree->owner, (tree->owners + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	grown[tree->owners] = (struct gm_owner){.domid = domid};
	tree->owner = grown;
	tree->owners++;
	return 0;
}

static void owner_count(struct gm_tree *tree, uint16_t domid, int nodes)
{
	owner_find(tree, domid)->nodes += (uint32_t)nodes; /* not NULL: reserved, or a node's owner already */
}

/* A removal takes everything below the node with it. */
static void owner_count_below(struct gm_tree *tree, const struct gm_node *node)
{
	owner_count(tree, node->perms.entry[0].domid, -1);
	for (uint32_t i = 0; i < node->children; i++)
		owner_count_below(tree, node->child[i]);
}

uint32_t gm_tree_owned(const struct gm_tree *tree, uint16_t domid)
{
	const struct gm_owner *owner = owner_find(tree, domid);

	return owner ? owner->nodes : 0;
}

/* ---- whole trees ---- */

int gm_tree_init(struct gm_tree *tree)
{
	struct gm_perms perms = gm_perms_owner(0);

	memset(tree, 0, sizeof(*tree));
	tree->root = gm_node_new("", 0, &perms);
	tree->introduce = gm_node_new("@introduceDomain", strlen("@introduceDomain"), &perms);
	tree->release = gm_node_new("@releaseDomain", strlen("@releaseDomain"), &perms);
	if (!tree->root || !tree->introduce || !tree->release || owner_reserve(tree, 0)) {
		gm_tree_exit(tree);
		return -ENOMEM;
	}
	owner_count(tree, 0, 1);
	return 0;
}

/* Nodes are shared with the copy; whichever of the two trees changes one first makes its own. */
int gm_tree_copy(struct gm_tree *out, const struct gm_tree *from)
{
	struct gm_owner *owner = malloc(from->owners * sizeof(*owner));

	if (!owner)
		return -ENOMEM;
	memcpy(owner, from->owner, from->owners * sizeof(*owner));
	*out = *from;
	out->owner = owner;
	gm_node_get(out->root);
	gm_node_get(out->introduce);
	gm_node_get(out->release);
	return 0;
}

void gm_tree_exit(struct gm_tree *tree)
{
	gm_node_put(tree->root);
	gm_node_put(tree->introduce);
	gm_node_put(tree->release);
	free(tree->owner);
	memset(tree, 0, sizeof(*tree));
}

/* ---- finding ---- */

/* A path begins at the root, or is a special node itself. */
static struct gm_node **top_slot(struct gm_tree *tree, const char *path)
{
	if (!gm_path_special(path))
		return &tree->root;
	return strcmp(path, tree->introduce->name) == 0 ? &tree->introduce : &tree->release;
}

const struct gm_node *gm_tree_nearest(const struct gm_tree *tree, const char *path, unsigned *missing)
{
	const struct gm_node *node = tree->root;
	size_t at = 0, length;
	const char *name;

	*missing = 0;
	while (gm_path_next(path, &at, &name, &length)) {
		int i = *missing ? -1 : gm_node_child_find(node, name, length);

		if (i < 0)
			(*missing)++;
		else
			node = node->child[i];
	}
	return node;
}

const struct gm_node *gm_tree_find(const struct gm_tree *tree, const char *path)
{
	const struct gm_node *node;
	unsigned missing;

	if (gm_path_special(path))
		return strcmp(path, tree->introduce->name) == 0 ? tree->introduce : tree->release;
	node = gm_tree_nearest(tree, path, &missing);
	return missing ? NULL : node;
}

/*
 * Make the way to `path` this tree's own, as far as there is one; *at is the path's length up to there.
 * NULL: no memory (some nodes may have been copied, which changes nothing that can be seen).
 */
static struct gm_node **way_own(struct gm_tree *tree, const char *path, size_t *at)
{
	struct gm_node **slot = top_slot(tree, path);
	const char *name;
	size_t length;

	*at = 0;
	if (gm_path_special(path))
		*at = strlen(path);
	for (;;) {
		size_t next = *at;
		int i = -1;

		if (gm_node_own(slot))
			return NULL;
		if (gm_path_next(path, &next, &name, &length))
			i = gm_node_child_find(*slot, name, length);
		if (i < 0)
			return slot;
		slot = &(*slot)->child[i];
		*at = next;
	}
}

/* True when nothing of the path is missing. "/" has its slash left. */
static bool path_done(const char *path, size_t at)
{
	return !path[at] || (path[at] == '/' && !path[at + 1]);
}

/* A change: give all nodes on the way the new generation as their newest. */
static uint64_t way_stamp(struct gm_tree *tree, const char *path)
{
	struct gm_node *node = *top_slot(tree, path);
	size_t at = gm_path_special(path) ? strlen(path) : 0, length;
	const char *name;

	node->newest = ++tree->generation;
	while (gm_path_next(path, &at, &name, &length)) {
		int i = gm_node_child_find(node, name, length);

		if (i < 0)
			break; /* the node that was removed */
		node = node->child[i];
		node->newest = tree->generation;
	}
	return tree->generation;
}

/* ---- changing ---- */

/* New nodes are as old as the change that made them. */
static void chain_stamp(struct gm_node *node, uint64_t generation)
{
	for (;; node = node->child[0]) {
		node->generation = generation;
		if (!node->children)
			return;
	}
}

/* The missing rest of a path as nodes, each with the next as its only child; NULL: no memory. */
static struct gm_node *chain_new(const char *path, size_t at, const struct gm_perms *perms, const void *value,
				 size_t length, int *nodes)
{
	struct gm_node *first = NULL, *last = NULL, *node;
	const char *name;
	size_t bytes;

	for (*nodes = 0; gm_path_next(path, &at, &name, &bytes); ++*nodes, last = node) {
		node = gm_node_new(name, bytes, perms);
		if (!node)
			goto err_put_chain;
		if (!last) {
			first = node;
		} else if (gm_node_child_add(last, node)) {
			gm_node_put(node);
			goto err_put_chain;
		}
	}
	if (gm_node_value_set(last, value, length)) /* not NULL: called for at least one component */
		goto err_put_chain;
	return first;

err_put_chain:
	gm_node_put(first);
	return NULL;
}

/*
 * Hang a chain below its parent; it is consumed. Each step that can fail comes before the first one that changes the
 * tree.
 */
static int chain_add(struct gm_tree *tree, struct gm_node *parent, const char *path, struct gm_node *chain, int nodes)
{
	uint16_t owner = chain->perms.entry[0].domid;

	if (owner_reserve(tree, owner) || gm_node_child_add(parent, chain)) {
		gm_node_put(chain);
		return -ENOMEM;
	}
	owner_count(tree, owner, nodes);
	parent->generation = way_stamp(tree, path);
	chain_stamp(chain, tree->generation);
	return 0;
}

/* New nodes have their parent's permissions, and the domain that makes them as owner, unless that is domain 0. */
static struct gm_perms perms_inherit(const struct gm_node *parent, uint16_t domid)
{
	struct gm_perms perms = parent->perms;

	if (domid)
		perms.entry[0].domid = domid;
	return perms;
}

int gm_tree_write(struct gm_tree *tree, const char *path, uint16_t domid, const void *value, size_t length)
{
	struct gm_node **slot, *chain;
	struct gm_perms perms;
	size_t at;
	int nodes;

	slot = way_own(tree, path, &at);
	if (!slot)
		return -ENOMEM;
	if (!path_done(path, at)) {
		perms = perms_inherit(*slot, domid);
		chain = chain_new(path, at, &perms, value, length, &nodes);
		return chain ? chain_add(tree, *slot, path, chain, nodes) : -ENOMEM;
	}
	if (gm_node_value_set(*slot, value, length))
		return -ENOMEM;
	(*slot)->generation = way_stamp(tree, path);
	return 0;
}

/* Looked up first, so that a path which is not there copies no node. */
int gm_tree_remove(struct gm_tree *tree, const char *path)
{
	char parent[GM_PATH_MAX];
	size_t above = gm_path_parent(path), at, length;
	struct gm_node **slot;
	const char *name;
	int i;

	if (!gm_tree_find(tree, path))
		return -ENOENT;
	memcpy(parent, path, above);
	parent[above] = '\0';
	slot = way_own(tree, parent, &at);
	if (!slot)
		return -ENOMEM;
	at = above;
	gm_path_next(path, &at, &name, &length);
	i = gm_node_child_find(*slot, name, length); /* there: found above */
	owner_count_below(tree, (*slot)->child[i]);
	gm_node_child_remove(*slot, (uint32_t)i);
	(*slot)->generation = way_stamp(tree, parent);
	return 0;
}

int gm_tree_perms_set(struct gm_tree *tree, const char *path, const struct gm_perms *perms)
{
	struct gm_node **slot;
	size_t at;

	if (!gm_tree_find(tree, path))
		return -ENOENT;
	slot = way_own(tree, path, &at);
	if (!slot || owner_reserve(tree, perms->entry[0].domid))
		return -ENOMEM;
	if (!gm_path_special(path)) {
		owner_count(tree, (*slot)->perms.entry[0].domid, -1);
		owner_count(tree, perms->entry[0].domid, 1);
	}
	(*slot)->perms = *perms;
	(*slot)->generation = way_stamp(tree, path);
	return 0;
}

/* Value and permissions of one node, whose parent there is. */
static int adopt_one(struct gm_tree *tree, const struct gm_node *from, const char *path)
{
	int err = gm_tree_write(tree, path, 0, from->value, from->length);

	return err ? err : gm_tree_perms_set(tree, path, &from->perms);
}

/* A parent that is missing is made as it is in `from`, before its child. */
int gm_tree_adopt(struct gm_tree *tree, const struct gm_tree *from, const char *path)
{
	const struct gm_node *node = gm_tree_find(from, path);
	char part[GM_PATH_MAX];
	size_t at = 0, length;
	const char *name;
	int err;

	if (!node)
		return -ENOENT;
	while (gm_path_next(path, &at, &name, &length) && path[at]) {
		memcpy(part, path, at);
		part[at] = '\0';
		if (gm_tree_find(tree, part))
			continue;
		err = adopt_one(tree, gm_tree_find(from, part), part); /* not NULL: a node below it is there */
		if (err)
			return err;
	}
	return adopt_one(tree, node, path);
}
