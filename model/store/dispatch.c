/* SPDX-License-Identifier: MIT */
/* Which request each message is, and the requests on what a connection itself has: watches and transactions. */
#include "model/store/dispatch.h"

#include "model/store/request.h"
#include "model/store/transaction.h"
#include "model/store/watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The path, absolute, to request->path; both strings of the payload to `string`: the path as it was given, the token.
 */
static int watch_strings(struct gm_request *request, const char *string[2])
{
	int err = gm_request_strings(request, string, 2, NULL);

	return err ? err : gm_path_resolve_watch(request->path, request->domid, string[0]);
}

static int request_watch(struct gm_request *request)
{
	const char *string[2];
	int err = watch_strings(request, string);

	if (!err)
		err = gm_watch_add(request->connection, string[0], request->path, string[1]);
	if (err)
		return err;
	gm_request_done(request);
	gm_connection_event(request->connection, string[0], string[1]); /* the first one comes at once */
	return 0;
}

static int request_unwatch(struct gm_request *request)
{
	const char *string[2];
	int err = watch_strings(request, string);

	if (!err)
		err = gm_watch_remove(request->connection, request->path, string[1]);
	return err ? err : gm_request_done(request);
}

/* A guest's kernel that has just started says with this that it knows of nothing from before. */
static int request_reset_watches(struct gm_request *request)
{
	gm_watch_remove_all(request->connection);
	gm_transaction_end_all(request->connection);
	return gm_request_done(request);
}

/* EBUSY: transactions do not nest, neither here nor in xenstored. */
static int request_transaction_start(struct gm_request *request)
{
	char text[16];
	uint32_t id;
	int err;

	if (request->transaction)
		return -EBUSY;
	err = gm_transaction_start(request->connection, &id);
	if (err)
		return err;
	gm_connection_reply(request->connection, text, (size_t)snprintf(text, sizeof(text), "%u", id) + 1);
	return 0;
}

/* The transaction is gone after this, also when it could not be committed; the client begins a new one then. */
static int request_transaction_end(struct gm_request *request)
{
	const char *apply;
	int err;

	err = gm_request_strings(request, &apply, 1, NULL);
	if (err)
		return err;
	if (strcmp(apply, "T") != 0 && strcmp(apply, "F") != 0)
		return -EINVAL;
	if (!request->transaction)
		return -ENOENT;
	err = gm_transaction_end(request->connection, request->transaction, *apply == 'T');
	return err ? err : gm_request_done(request);
}

static const struct {
	int (*handle)(struct gm_request *request);
	bool privileged; /* domain 0 only */
	bool outside;	 /* whatever transaction the message names */
} requests[XS_TYPE_COUNT] = {
	[XS_CONTROL] = {gm_request_control, true, false},
	[XS_DIRECTORY] = {gm_request_directory, false, false},
	[XS_READ] = {gm_request_read, false, false},
	[XS_GET_PERMS] = {gm_request_get_perms, false, false},
	[XS_WATCH] = {request_watch, false, true},
	[XS_UNWATCH] = {request_unwatch, false, true},
	[XS_TRANSACTION_START] = {request_transaction_start, false, false},
	[XS_TRANSACTION_END] = {request_transaction_end, false, false},
	[XS_INTRODUCE] = {gm_request_introduce, true, false},
	[XS_RELEASE] = {gm_request_release, true, false},
	[XS_GET_DOMAIN_PATH] = {gm_request_domain_path, false, false},
	[XS_WRITE] = {gm_request_write, false, false},
	[XS_MKDIR] = {gm_request_mkdir, false, false},
	[XS_RM] = {gm_request_rm, false, false},
	[XS_SET_PERMS] = {gm_request_set_perms, false, false},
	[XS_IS_DOMAIN_INTRODUCED] = {gm_request_is_introduced, true, false},
	[XS_SET_TARGET] = {NULL, true, false}, /* other domains get EACCES, and domain 0 ENOSYS */
	[XS_RESUME] = {gm_request_resume, true, false},
	[XS_RESET_WATCHES] = {request_reset_watches, false, false},
	[XS_DIRECTORY_PART] = {gm_request_directory_part, false, false},
};

/*
 * The order is xenstored's: what no request can be, what this domain may not do, what there is not, and then the
 * transaction that the message names.
 */
static int handle(struct gm_request *request)
{
	uint32_t type = request->connection->header.type;

	if (type >= XS_TYPE_COUNT)
		return -ENOSYS;
	if (requests[type].privileged && request->domid)
		return -EACCES;
	if (!requests[type].handle)
		return -ENOSYS;
	if (request->connection->header.tx_id && !requests[type].outside) {
		request->transaction = gm_transaction_find(request->connection, request->connection->header.tx_id);
		if (!request->transaction)
			return -ENOENT;
		request->tree = &request->transaction->tree;
	}
	return requests[type].handle(request);
}

static void message_handle(struct gm_connection *connection)
{
	struct gm_request request = {
		.store = connection->domain->store,
		.connection = connection,
		.domid = connection->domain->domid,
		.tree = &connection->domain->store->tree,
		.data = connection->payload,
		.length = connection->header.len,
	};
	int err = handle(&request);

	if (err)
		gm_connection_error(connection, err);
}

static void connection_closed(struct gm_connection *connection)
{
	gm_watch_remove_all(connection);
	gm_transaction_end_all(connection);
}

const struct gm_client_ops gm_dispatch_ops = {.message = message_handle, .closed = connection_closed};
