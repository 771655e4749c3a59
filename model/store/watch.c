/* SPDX-License-Identifier: MIT */
#include "model/store/watch.h"

#include "model/store/limits.h"
#include "model/store/path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct gm_watch **watch_find(struct gm_connection *connection, const char *path, const char *token)
{
	struct gm_watch **at = &connection->watch;

	while (*at && (strcmp((*at)->path, path) != 0 || strcmp((*at)->token, token) != 0))
		at = &(*at)->next;
	return at;
}

/* New watches go to the end of the list, so that events come in the order of the watches. */
int gm_watch_add(struct gm_connection *connection, const char *given, const char *path, const char *token)
{
	size_t bytes = strlen(path) + 1, token_bytes = strlen(token) + 1;
	struct gm_watch **at = watch_find(connection, path, token), *watch;

	if (*at)
		return -EEXIST;
	if (connection->domain->domid && connection->domain->watches >= GM_STORE_WATCHES_MAX)
		return -E2BIG;
	watch = malloc(sizeof(*watch) + bytes + token_bytes);
	if (!watch)
		return -ENOMEM;
	memcpy(watch->path, path, bytes);
	memcpy(watch->path + bytes, token, token_bytes);
	watch->token = watch->path + bytes;
	watch->base = strlen(path) - strlen(given);
	watch->next = NULL;
	*at = watch;
	connection->domain->watches++;
	return 0;
}

static void watch_unlink(struct gm_connection *connection, struct gm_watch **at)
{
	struct gm_watch *watch = *at;

	*at = watch->next;
	connection->domain->watches--;
	free(watch);
}

int gm_watch_remove(struct gm_connection *connection, const char *path, const char *token)
{
	struct gm_watch **at = watch_find(connection, path, token);

	if (!*at)
		return -ENOENT;
	watch_unlink(connection, at);
	return 0;
}

void gm_watch_remove_all(struct gm_connection *connection)
{
	while (connection->watch)
		watch_unlink(connection, &connection->watch);
}

static bool node_readable(const struct gm_node *node, uint16_t domid)
{
	return node && (gm_perms_rights(&node->perms, domid) & GM_RIGHT_READ);
}

/* Of a node that one may not read, one may learn that it changed if one may read its parent, which lists it. */
static bool path_readable(const struct gm_tree *tree, const char *path, uint16_t domid)
{
	const struct gm_node *node = gm_tree_find(tree, path);
	char parent[GM_PATH_MAX];
	size_t length;

	if (!node)
		return false;
	if (node_readable(node, domid) || gm_path_special(path))
		return node_readable(node, domid);
	length = gm_path_parent(path);
	memcpy(parent, path, length);
	parent[length] = '\0';
	return node_readable(gm_tree_find(tree, parent), domid);
}

static void watch_event(struct gm_connection *connection, const struct gm_watch *watch, const struct gm_tree *before,
			const char *path)
{
	uint16_t domid = connection->domain->domid;

	if (domid == 0 || path_readable(&connection->domain->store->tree, path, domid) ||
	    (before && path_readable(before, path, domid)))
		gm_connection_event(connection, path + watch->base, watch->token);
}

static void connection_fire(struct gm_connection *connection, const struct gm_tree *before, const char *path)
{
	for (const struct gm_watch *watch = connection->watch; watch; watch = watch->next)
		if (gm_path_below(path, watch->path))
			watch_event(connection, watch, before, path);
}

/* A node that has gone: whoever watches just that. */
static void connection_fire_gone(struct gm_connection *connection, const struct gm_tree *before, const char *path)
{
	for (const struct gm_watch *watch = connection->watch; watch; watch = watch->next)
		if (strcmp(watch->path, path) == 0)
			watch_event(connection, watch, before, path);
}

typedef void fire(struct gm_connection *connection, const struct gm_tree *before, const char *path);

/* Broken connections are skipped: they are freed at the end of the turn, and get nothing more. */
static void fire_all(struct gm_store *store, const struct gm_tree *before, const char *path, fire *one)
{
	for (struct gm_store_domain *domain = store->domain; domain; domain = domain->next)
		for (struct gm_connection *each = domain->connection; each; each = each->next)
			if (!each->broken)
				one(each, before, path);
}

/* Nodes below the one that was removed, each before its parent, as xenstored removes them. `path` has `length` bytes.
 */
static void fire_below(struct gm_store *store, const struct gm_tree *before, const struct gm_node *node, char *path,
		       size_t length)
{
	for (uint32_t i = 0; i < node->children; i++) {
		size_t bytes = strlen(node->child[i]->name);

		path[length] = '/';
		memcpy(path + length + 1, node->child[i]->name, bytes + 1); /* fits: it was made by a valid path */
		fire_below(store, before, node->child[i], path, length + 1 + bytes);
		fire_all(store, before, path, connection_fire_gone);
	}
	path[length] = '\0';
}

void gm_watch_fire(struct gm_store *store, const struct gm_tree *before, const char *path, enum gm_change change)
{
	const struct gm_node *gone = change == GM_REMOVED && !gm_path_special(path) ? gm_tree_find(before, path) : NULL;
	char below[GM_PATH_MAX];

	if (gone) {
		strcpy(below, path); /* of the same size */
		fire_below(store, before, gone, below, strlen(path));
	}
	fire_all(store, before, path, connection_fire);
}
