/* SPDX-License-Identifier: MIT */
#include "model/store/request.h"

#include "model/store/watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int gm_request_strings(const struct gm_request *request, const char **string, unsigned count, const char **rest)
{
	size_t at = 0;

	for (unsigned i = 0; i < count; i++) {
		if (at >= request->length)
			return -EINVAL;
		string[i] = request->data + at;
		at += strlen(string[i]) + 1;
	}
	/* The NUL behind the payload ends the last string for us, but the client must have sent one of its own. */
	if (at > request->length || (!rest && at < request->length))
		return -EINVAL;
	if (rest)
		*rest = request->data + at;
	return 0;
}

int gm_request_done(struct gm_request *request)
{
	gm_connection_reply(request->connection, "OK", sizeof("OK"));
	return 0;
}

int gm_request_touch_above(struct gm_request *request)
{
	char above[GM_PATH_MAX];
	int rc;

	strcpy(above, request->path); /* of the same size */
	do {
		above[gm_path_parent(above)] = '\0';
		rc = gm_transaction_touch(request->connection, request->transaction, above, GM_TOUCH_READ);
	} while (!rc && !gm_tree_find(request->tree, above)); /* ends at "/" at the latest */
	return rc;
}

/* Note in the transaction what the answer depends on: the nodes above, too, where they say what the client may know. */
static int touch_read(struct gm_request *request, bool above)
{
	int rc;

	if (!request->transaction)
		return 0;
	rc = gm_transaction_touch(request->connection, request->transaction, request->path, GM_TOUCH_READ);
	return rc || !above ? rc : gm_request_touch_above(request);
}

int gm_request_node(struct gm_request *request, const char *name, unsigned rights, const struct gm_node **node)
{
	const struct gm_node *nearest;
	unsigned missing = 0, has;
	bool denied;
	int rc;

	rc = gm_path_resolve(request->path, request->domid, name, true);
	if (rc)
		return rc;
	if (gm_path_special(request->path))
		nearest = gm_tree_find(request->tree, request->path);
	else
		nearest = gm_tree_nearest(request->tree, request->path, &missing);
	has = gm_perms_rights(&nearest->perms, request->domid) & rights;
	/* Of a node that is not there whoever may do some of it above may know. */
	denied = missing ? !has : has != rights;
	rc = touch_read(request, (missing || denied) && !gm_path_special(request->path));
	if (rc)
		return rc;
	if (denied)
		return -EACCES;
	*node = missing ? NULL : nearest;
	return missing ? -ENOENT : 0;
}

static int request_watch(struct gm_request *request)
{
	const char *string[2];
	int rc;

	rc = gm_request_strings(request, string, 2, NULL);
	if (rc)
		return rc;
	rc = gm_path_resolve_watch(request->path, request->domid, string[0]);
	if (rc)
		return rc;
	rc = gm_watch_add(request->connection, string[0], request->path, string[1]);
	if (rc)
		return rc;
	gm_request_done(request);
	gm_connection_event(request->connection, string[0], string[1]); /* the first one comes at once */
	return 0;
}

static int request_unwatch(struct gm_request *request)
{
	const char *string[2];
	int rc;

	rc = gm_request_strings(request, string, 2, NULL);
	if (rc)
		return rc;
	rc = gm_path_resolve_watch(request->path, request->domid, string[0]);
	if (rc)
		return rc;
	rc = gm_watch_remove(request->connection, request->path, string[1]);
	return rc ? rc : gm_request_done(request);
}

static int request_reset_watches(struct gm_request *request)
{
	gm_watch_remove_all(request->connection);
	gm_transaction_end_all(request->connection);
	return gm_request_done(request);
}

static int request_transaction_start(struct gm_request *request)
{
	char text[16];
	uint32_t id;
	int rc;

	if (request->transaction)
		return -EBUSY;
	rc = gm_transaction_start(request->connection, &id);
	if (rc)
		return rc;
	gm_connection_reply(request->connection, text, (size_t)snprintf(text, sizeof(text), "%u", id) + 1);
	return 0;
}

static int request_transaction_end(struct gm_request *request)
{
	const char *apply;
	int rc;

	rc = gm_request_strings(request, &apply, 1, NULL);
	if (rc)
		return rc;
	if (strcmp(apply, "T") != 0 && strcmp(apply, "F") != 0)
		return -EINVAL;
	if (!request->transaction)
		return -ENOENT;
	rc = gm_transaction_end(request->connection, request->transaction, *apply == 'T');
	return rc ? rc : gm_request_done(request);
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
	[XS_SET_TARGET] = {NULL, true, false}, /* who may not is told so, before what there is not */
	[XS_RESUME] = {gm_request_resume, true, false},
	[XS_RESET_WATCHES] = {request_reset_watches, false, false},
	[XS_DIRECTORY_PART] = {gm_request_directory_part, false, false},
};

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

void gm_request_handle(struct gm_connection *connection)
{
	struct gm_request request = {
		.store = connection->domain->store,
		.connection = connection,
		.domid = connection->domain->domid,
		.tree = &connection->domain->store->tree,
		.data = connection->payload,
		.length = connection->header.len,
	};
	int rc = handle(&request);

	if (rc)
		gm_connection_error(connection, rc);
}
