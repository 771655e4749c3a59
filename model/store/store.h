/* SPDX-License-Identifier: MIT */
/*
 * The model's xenstore: a tree of values that speaks the xenstore wire protocol (xen/io/xs_wire.h, and xenstore.txt in
 * Xen's docs/misc) on Unix sockets.
 *
 * A connection to DIR/store is domain 0; one to DIR/store.<N> *is* domain N: relative paths start at /local/domain/N
 * and permissions are enforced. The socket of a domain comes with INTRODUCE and goes with RELEASE, which also ends its
 * connections, removes the nodes that it owns and drops its rights to others' nodes, as xenstored does.
 *
 * Errors: 0 or -errno; towards clients the names of xsd_errors. Threads: one, the caller's; nothing blocks.
 * A domain's nodes, watches, transactions, connections, node size and unread output are limited (limits.h), so that it
 * can neither fill the store nor stop it for others. A message that cannot be parsed ends its connection only.
 * Not defended: whoever may open the socket file of a domain is that domain; the files' modes decide (0600).
 */
#ifndef GM_STORE_H
#define GM_STORE_H

#include <stdint.h>

struct gm_store;

/* Make the tree as xen-init-dom0 leaves it and listen on DIR/store. 0 or -errno. */
int gm_store_open(struct gm_store **store, const char *dir);
/* End all connections and remove the socket files; takes NULL. */
void gm_store_close(struct gm_store *store);

/* An epoll descriptor: readable when gm_store_run() has something to do. Stays the store's. */
int gm_store_fd(const struct gm_store *store);
/* Do a bounded amount of what there is to do, without blocking. */
void gm_store_run(struct gm_store *store);

#endif
