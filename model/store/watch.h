/* SPDX-License-Identifier: MIT */
/*
 * Watches. A change at a path makes an event for every watch on it or above it. A removal also makes one for the
 * watches on nodes below it. An event is sent only to a domain that may read the node or its parent, before the change
 * or after it.
 */
#ifndef GM_STORE_WATCH_H
#define GM_STORE_WATCH_H

#include "model/store/connection.h"

struct gm_watch {
	struct gm_watch *next;
	size_t base; /* bytes to leave out of an event's path: the watch was given as a relative path */
	const char *token;
	char path[]; /* and behind it the token */
};

enum gm_change { GM_CHANGED, GM_REMOVED };

/* `given`: the path as the client named it; `path`: absolute. 0, -EEXIST, -E2BIG: too many, -ENOMEM. No event yet. */
int gm_watch_add(struct gm_connection *connection, const char *given, const char *path, const char *token);
/* 0 or -ENOENT. */
int gm_watch_remove(struct gm_connection *connection, const char *path, const char *token);
/* Remove all of a connection's. */
void gm_watch_remove_all(struct gm_connection *connection);

/* Tell everyone. `before`: the tree before the change; NULL where it gave nobody rights that it does not give now. */
void gm_watch_fire(struct gm_store *store, const struct gm_tree *before, const char *path, enum gm_change change);

#endif
