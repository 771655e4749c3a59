/* SPDX-License-Identifier: MIT */
/* For store.c, which has the connection, and directory.c only. */
#ifndef GD_STORE_PRIV_H
#define GD_STORE_PRIV_H

#include <xenstore.h>

#include "backend/xenbus/store.h"

#define GD_STORE_PATH  160
#define GD_STORE_FRONT "front/" /* the beginning of the tokens of watches on guests' directories */

struct gd_store {
	struct xs_handle *xs;
	uint16_t domid;
	char roots[GD_CLASSES][64]; /* /local/domain/N/backend/CLASS */
};

/* Read a node: 0, or -errno; *out is NULL if there is none. A NUL within it becomes a byte that no check accepts. */
int gd_store_node_read(struct gd_store *store, xs_transaction_t transaction, const char *path, char **out);

#endif
