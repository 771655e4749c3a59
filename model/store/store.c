/* SPDX-License-Identifier: MIT */
/* The store as a whole: its tree, and its turns. */
#include "model/store/store.h"

#include "model/store/connection.h"
#include "model/store/dispatch.h"
#include "model/store/domain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS_A_TURN 32

/* ---- turns ---- */

/* Nothing is freed while events are handled, because a later event of this turn may be about it. */
void gm_store_run(struct gm_store *store)
{
	struct epoll_event event[EVENTS_A_TURN];
	int events = epoll_wait(store->epoll, event, EVENTS_A_TURN, 0);

	for (int i = 0; i < events; i++) {
		struct gm_source *source = event[i].data.ptr;

		source->ready(source, event[i].events);
	}
	if (store->sweep)
		gm_store_sweep(store);
}

int gm_store_fd(const struct gm_store *store)
{
	return store->epoll;
}

/* ---- the whole ---- */

/* As xenstored and xen-init-dom0 leave it. */
static int tree_fill(struct gm_tree *tree)
{
	static const char *const nodes[][2] = {
		{"/tool/xenstored", ""},
		{"/local/domain/0/domid", "0"},
		{"/local/domain/0/name", "Domain-0"},
		{"/vm", ""},
		{"/libxl", ""},
	};

	for (size_t i = 0; i < sizeof(nodes) / sizeof(*nodes); i++) {
		if (gm_tree_write(tree, nodes[i][0], 0, nodes[i][1], strlen(nodes[i][1])))
			return -ENOMEM;
	}
	return 0;
}

/* The tree comes before the socket: the first client finds it filled. */
int gm_store_open(struct gm_store **out, const char *dir)
{
	struct gm_store *store = calloc(1, sizeof(*store));
	int err = -ENAMETOOLONG;

	if (!store)
		return -ENOMEM;
	store->client = &gm_dispatch_ops;
	if ((size_t)snprintf(store->dir, sizeof(store->dir), "%s", dir) >= sizeof(store->dir))
		goto err_free_store;
	err = gm_tree_init(&store->tree);
	if (err)
		goto err_free_store;
	err = tree_fill(&store->tree);
	if (err)
		goto err_exit_tree;
	store->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (store->epoll < 0) {
		err = -errno;
		goto err_exit_tree;
	}
	store->reserve = gm_store_reserve_open();
	if (store->reserve < 0) {
		err = -errno;
		goto err_close_epoll;
	}
	err = gm_store_domain_socket_add(store, 0);
	if (err)
		goto err_close_reserve;
	*out = store;
	return 0;

err_close_reserve:
	close(store->reserve);
err_close_epoll:
	close(store->epoll);
err_exit_tree:
	gm_tree_exit(&store->tree);
err_free_store:
	free(store);
	return err;
}

void gm_store_close(struct gm_store *store)
{
	if (!store)
		return;
	for (struct gm_store_domain *domain = store->domain; domain; domain = domain->next) {
		if (!domain->gone)
			gm_store_domain_socket_remove(store, domain->domid);
	}
	gm_store_sweep(store);
	if (store->reserve >= 0)
		close(store->reserve);
	close(store->epoll);
	gm_tree_exit(&store->tree);
	free(store);
}
