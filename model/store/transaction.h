/* SPDX-License-Identifier: MIT */
/*
 * Transactions. Each has the store as it was at its start (`base`) and as it has made it (`tree`), and the paths that
 * it has touched. It can be committed when every path that it touched is in the store as it is in `base`: otherwise
 * somebody else changed it meanwhile, and the client must try again (EAGAIN).
 */
#ifndef GM_STORE_TRANSACTION_H
#define GM_STORE_TRANSACTION_H

#include "model/store/connection.h"

enum gm_touch { GM_TOUCH_READ = 0, GM_TOUCH_MODIFIED = 1, GM_TOUCH_REMOVED = 2 };

struct gm_transaction {
	struct gm_transaction *next;
	uint32_t id; /* on its connection; not 0 */
	struct gm_tree base, tree;
	struct gm_touched {
		char *path;
		unsigned how; /* a set of gm_touch */
	} * touched;
	size_t touches, room;
};

/* 0, -ENOSPC: too many, -ENOMEM. */
int gm_transaction_start(struct gm_connection *connection, uint32_t *id);
/* NULL: the connection has none of that id. */
struct gm_transaction *gm_transaction_find(struct gm_connection *connection, uint32_t id);
/* Note that a path was read or is to be changed. 0, -ENOSPC: too many, -ENOMEM. */
int gm_transaction_touch(struct gm_connection *connection, struct gm_transaction *transaction, const char *path,
			 enum gm_touch how);
/* Commit or drop it; it is gone then, whatever is returned. 0, -EAGAIN: conflict, -ENOSPC: too many nodes, -ENOMEM. */
int gm_transaction_end(struct gm_connection *connection, struct gm_transaction *transaction, bool apply);
/* Drop all of a connection's. */
void gm_transaction_end_all(struct gm_connection *connection);

#endif
