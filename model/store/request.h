/* SPDX-License-Identifier: MIT */
/* Requests: one message that came in, and what is needed to answer it. Each handler answers, or returns -errno. */
#ifndef GM_STORE_REQUEST_H
#define GM_STORE_REQUEST_H

#include "model/store/connection.h"
#include "model/store/path.h"
#include "model/store/transaction.h"

struct gm_request {
	struct gm_store *store;
	struct gm_connection *connection;
	uint16_t domid;
	struct gm_transaction *transaction; /* NULL: none */
	struct gm_tree *tree;		    /* the transaction's, or the store's */
	const char *data;		    /* the payload; a NUL stands behind it */
	size_t length;
	char path[GM_PATH_MAX]; /* of the node that gm_request_node() was called for */
};

/*
 * Take the payload apart into exactly `count` NUL-terminated strings, with nothing behind them; or with `rest`, which
 * then gets what is behind them. 0 or -EINVAL.
 */
int gm_request_strings(const struct gm_request *request, const char **string, unsigned count, const char **rest);
/*
 * Find the node that the client calls `name`; request->path is its path. 0; -EINVAL: no valid path; -EACCES: it, or the
 * nearest node above it that there is, does not give the rights; -ENOENT: there is no such node, and the client may
 * know that.
 */
int gm_request_node(struct gm_request *request, const char *name, unsigned rights, const struct gm_node **node);
/*
 * Note in the transaction that the nodes above request->path are looked at, all that are missing and the first that is
 * not: what making or removing it, and knowing that it is not there, depend on.
 */
int gm_request_touch_above(struct gm_request *request);
int gm_request_done(struct gm_request *request); /* answers "OK"; 0 */

/* request_node.c: one for each message on nodes; the names are those of xs_wire.h. */
int gm_request_directory(struct gm_request *request);
int gm_request_directory_part(struct gm_request *request);
int gm_request_read(struct gm_request *request);
int gm_request_write(struct gm_request *request);
int gm_request_mkdir(struct gm_request *request);
int gm_request_rm(struct gm_request *request);
int gm_request_get_perms(struct gm_request *request);
int gm_request_set_perms(struct gm_request *request);

/* request_domain.c: the same for messages on domains. */
int gm_request_introduce(struct gm_request *request);
int gm_request_release(struct gm_request *request);
int gm_request_resume(struct gm_request *request);
int gm_request_domain_path(struct gm_request *request);
int gm_request_is_introduced(struct gm_request *request);
int gm_request_control(struct gm_request *request);

#endif
