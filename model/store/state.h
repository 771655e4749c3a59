/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the store share: the store, its domains, and what the epoll descriptor waits for.
 *
 * Lifetime: while events are handled nothing is freed. A connection that is to end is marked `broken`, a domain `gone`;
 * gm_store_run() frees them when all events of its turn are done.
 */
#ifndef GM_STORE_STATE_H
#define GM_STORE_STATE_H

#include "model/store/store.h"
#include "model/store/tree.h"

#include <stdbool.h>

/* Behind each descriptor in the epoll set. */
struct gm_source {
	void (*ready)(struct gm_source *source, uint32_t events);
};

struct gm_connection;
struct gm_client_ops;

struct gm_store_domain {
	struct gm_source source; /* its listening socket; first */
	struct gm_store *store;
	struct gm_store_domain *next;
	struct gm_connection *connection;
	int fd;
	uint16_t domid;
	bool gone;
	unsigned connections, watches, transactions; /* held by all its connections */
};

struct gm_store {
	int epoll;
	int reserve; /* a descriptor to refuse clients with when none is free; -1 if it could not be had again */
	bool sweep;  /* something is broken or gone */
	struct gm_tree tree;
	struct gm_store_domain *domain;
	const struct gm_client_ops *client; /* of every connection */
	char dir[80];
};

#endif
