/* SPDX-License-Identifier: MIT */
#include "model/store/transaction.h"

#include "model/store/limits.h"
#include "model/store/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Two snapshots, each of which costs a reference: what was there, to find conflicts, and what the transaction makes of
 * it.
 */
int gm_transaction_start(struct gm_connection *connection, uint32_t *id)
{
	struct gm_store_domain *domain = connection->domain;
	struct gm_transaction *transaction;

	if (domain->domid && domain->transactions >= GM_STORE_TRANSACTIONS)
		return -ENOSPC;
	transaction = calloc(1, sizeof(*transaction));
	if (!transaction)
		return -ENOMEM;
	if (gm_tree_copy(&transaction->base, &domain->store->tree))
		goto err_free_transaction;
	if (gm_tree_copy(&transaction->tree, &domain->store->tree))
		goto err_exit_base;
	do {
		connection->transaction_last++;
	} while (!connection->transaction_last || gm_transaction_find(connection, connection->transaction_last));
	*id = transaction->id = connection->transaction_last;
	transaction->next = connection->transaction;
	connection->transaction = transaction;
	domain->transactions++;
	return 0;

err_exit_base:
	gm_tree_exit(&transaction->base);
err_free_transaction:
	free(transaction);
	return -ENOMEM;
}

struct gm_transaction *gm_transaction_find(struct gm_connection *connection, uint32_t id)
{
	struct gm_transaction *transaction = connection->transaction;

	while (transaction && transaction->id != id)
		transaction = transaction->next;
	return transaction;
}

/* Each path once, with all that was done to it. The list is bounded for guests, and searched from its beginning. */
int gm_transaction_touch(struct gm_connection *connection, struct gm_transaction *transaction, const char *path,
			 enum gm_touch how)
{
	char *copy;

	for (size_t i = 0; i < transaction->touches; i++) {
		if (strcmp(transaction->touched[i].path, path) == 0) {
			transaction->touched[i].how |= how;
			return 0;
		}
	}
	if (connection->domain->domid && transaction->touches >= GM_STORE_TOUCHED_MAX)
		return -ENOSPC;
	if (transaction->touches == transaction->room) {
		size_t room = transaction->room ? transaction->room * 2 : 16;
		struct gm_touched *grown = realloc(transaction->touched, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		transaction->touched = grown;
		transaction->room = room;
	}
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	transaction->touched[transaction->touches++] = (struct gm_touched){.path = copy, .how = how};
	return 0;
}

/* What tells one state of a path from another; 0: there is no such node. */
static uint64_t version(const struct gm_tree *tree, const struct gm_touched *touched)
{
	const struct gm_node *node = gm_tree_find(tree, touched->path);

	if (!node)
		return 0;
	return touched->how & GM_TOUCH_REMOVED ? node->newest + 1 : node->generation + 1;
}

/* A path that was only read counts as well: the client decided something by it. */
static bool conflicts(const struct gm_transaction *transaction, const struct gm_tree *now)
{
	for (size_t i = 0; i < transaction->touches; i++) {
		if (version(&transaction->base, &transaction->touched[i]) != version(now, &transaction->touched[i]))
			return true;
	}
	return false;
}

/*
 * Bring the changes into `tree`: first all that was removed goes, then all that was made or changed, and is there at
 * the end, is made as it is at the end.
 */
static int merge(struct gm_tree *tree, const struct gm_transaction *transaction)
{
	int err = 0;

	for (size_t i = 0; i < transaction->touches && !err; i++) {
		const struct gm_touched *touched = &transaction->touched[i];

		if ((touched->how & GM_TOUCH_REMOVED) && gm_tree_find(tree, touched->path))
			err = gm_tree_remove(tree, touched->path);
	}
	for (size_t i = 0; i < transaction->touches && !err; i++) {
		const struct gm_touched *touched = &transaction->touched[i];

		if ((touched->how & GM_TOUCH_MODIFIED) && gm_tree_find(&transaction->tree, touched->path))
			err = gm_tree_adopt(tree, &transaction->tree, touched->path);
	}
	return err;
}

/* Events come after the commit, in the order in which the client first touched the paths. */
static void fire(struct gm_store *store, const struct gm_transaction *transaction, const struct gm_tree *before)
{
	for (size_t i = 0; i < transaction->touches; i++) {
		const struct gm_touched *touched = &transaction->touched[i];

		if (touched->how)
			gm_watch_fire(store, before, touched->path,
				      touched->how & GM_TOUCH_REMOVED ? GM_REMOVED : GM_CHANGED);
	}
}

/* The changes are made in a copy of the store's tree, which takes its place when all of them have succeeded. */
static int commit(struct gm_store_domain *domain, const struct gm_transaction *transaction)
{
	struct gm_store *store = domain->store;
	struct gm_tree merged, before;
	int err;

	if (conflicts(transaction, &store->tree))
		return -EAGAIN;
	if (gm_tree_copy(&merged, &store->tree))
		return -ENOMEM;
	err = merge(&merged, transaction);
	/* Each transaction kept the limit; together with what others did meanwhile it may be exceeded. */
	if (!err && domain->domid && gm_tree_owned(&merged, domain->domid) > GM_STORE_NODES_MAX &&
	    gm_tree_owned(&merged, domain->domid) > gm_tree_owned(&store->tree, domain->domid))
		err = -ENOSPC;
	if (err) {
		gm_tree_exit(&merged);
		return err;
	}
	before = store->tree;
	store->tree = merged;
	fire(store, transaction, &before);
	gm_tree_exit(&before);
	return 0;
}

int gm_transaction_end(struct gm_connection *connection, struct gm_transaction *transaction, bool apply)
{
	struct gm_transaction **at = &connection->transaction;
	int err = apply ? commit(connection->domain, transaction) : 0;

	while (*at != transaction)
		at = &(*at)->next;
	*at = transaction->next;
	connection->domain->transactions--;
	for (size_t i = 0; i < transaction->touches; i++)
		free(transaction->touched[i].path);
	free(transaction->touched);
	gm_tree_exit(&transaction->base);
	gm_tree_exit(&transaction->tree);
	free(transaction);
	return err;
}

void gm_transaction_end_all(struct gm_connection *connection)
{
	while (connection->transaction)
		gm_transaction_end(connection, connection->transaction, false);
}
