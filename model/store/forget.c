/* SPDX-License-Identifier: MIT */
/* What is left of a domain that is gone: its nodes, and its rights to others' nodes, which its successor must not have.
 */
#include "model/store/forget.h"

#include "model/store/path.h"
#include "model/store/watch.h"

#include <errno.h>
#include <string.h>

/* Look for the next node that has to do with the domain; its path goes behind the `length` bytes of `path`. */
static const struct gm_node *trace_find(const struct gm_node *node, uint16_t domid, char *path, size_t length)
{
	struct gm_perms perms = node->perms;

	path[length] = '\0';
	if (perms.entry[0].domid == domid || gm_perms_drop(&perms, domid))
		return node;
	for (uint32_t i = 0; i < node->children; i++) {
		size_t bytes = strlen(node->child[i]->name);
		const struct gm_node *found;

		path[length] = '/';
		memcpy(path + length + 1, node->child[i]->name, bytes); /* fits: it was made by a valid path */
		found = trace_find(node->child[i], domid, path, length + 1 + bytes);
		if (found)
			return found;
	}
	return NULL;
}

/*
 * A node that the domain owned is removed; of another's node its entries go. The root and the special nodes cannot be
 * removed, and become domain 0's.
 */
static int trace_remove(struct gm_tree *tree, const struct gm_node *node, uint16_t domid, const char *path)
{
	struct gm_perms perms = node->perms;

	gm_perms_drop(&perms, domid);
	if (perms.entry[0].domid != domid)
		return gm_tree_perms_set(tree, path, &perms);
	if (strcmp(path, "/") != 0 && !gm_path_special(path))
		return gm_tree_remove(tree, path);
	perms.entry[0] = (struct gm_perm){.domid = 0};
	return gm_tree_perms_set(tree, path, &perms);
}

/* The same for a special node, which has no children. */
static int special_forget(struct gm_tree *tree, uint16_t domid, const char *path)
{
	const struct gm_node *node = gm_tree_find(tree, path);
	struct gm_perms perms = node->perms;

	if (perms.entry[0].domid != domid && !gm_perms_drop(&perms, domid))
		return 0;
	return trace_remove(tree, node, domid, path);
}

/*
 * Remove one trace. 1: there may be more, 0: there is none. One at a time, because a removal changes the tree that the
 * search walks over.
 */
static int forget_next(struct gm_store *store, uint16_t domid)
{
	char path[GM_PATH_MAX];
	const struct gm_node *node = trace_find(store->tree.root, domid, path, 0);
	struct gm_tree before;
	int err;

	if (!node)
		return 0;
	if (!path[0])
		strcpy(path, "/");
	if (gm_tree_copy(&before, &store->tree))
		return -ENOMEM;
	err = trace_remove(&store->tree, node, domid, path);
	if (!err)
		gm_watch_fire(store, &before, path, gm_tree_find(&store->tree, path) ? GM_CHANGED : GM_REMOVED);
	gm_tree_exit(&before);
	return err ? err : 1;
}

int gm_store_forget(struct gm_store *store, uint16_t domid)
{
	int err;

	/* Ends: each turn removes one node or one node's entries. */
	do {
		err = forget_next(store, domid);
	} while (err > 0);
	if (!err)
		err = special_forget(&store->tree, domid, "@introduceDomain");
	return err ? err : special_forget(&store->tree, domid, "@releaseDomain");
}
