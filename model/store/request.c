/* SPDX-License-Identifier: MIT */
/*
 * What all requests need: their arguments out of the payload, and the node that a path names, as far as the client may
 * know of it.
 */
#include "model/store/request.h"

#include <errno.h>
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
	int err;

	strcpy(above, request->path); /* of the same size */
	do {
		above[gm_path_parent(above)] = '\0';
		err = gm_transaction_touch(request->connection, request->transaction, above, GM_TOUCH_READ);
	} while (!err && !gm_tree_find(request->tree, above)); /* ends at "/" at the latest */
	return err;
}

/* Note in the transaction what the answer depends on: the nodes above, too, where they say what the client may know. */
static int touch_read(struct gm_request *request, bool above)
{
	int err;

	if (!request->transaction)
		return 0;
	err = gm_transaction_touch(request->connection, request->transaction, request->path, GM_TOUCH_READ);
	return err || !above ? err : gm_request_touch_above(request);
}

/* Whoever has no rights must not learn whether a node is there: it gets EACCES in both cases. */
int gm_request_node(struct gm_request *request, const char *name, unsigned rights, const struct gm_node **node)
{
	const struct gm_node *nearest;
	unsigned missing = 0, has;
	bool denied;
	int err;

	err = gm_path_resolve(request->path, request->domid, name, true);
	if (err)
		return err;
	if (gm_path_special(request->path))
		nearest = gm_tree_find(request->tree, request->path);
	else
		nearest = gm_tree_nearest(request->tree, request->path, &missing);
	has = gm_perms_rights(&nearest->perms, request->domid) & rights;
	/* Of a node that is not there whoever may do some of it above may know. */
	denied = missing ? !has : has != rights;
	err = touch_read(request, (missing || denied) && !gm_path_special(request->path));
	if (err)
		return err;
	if (denied)
		return -EACCES;
	*node = missing ? NULL : nearest;
	return missing ? -ENOENT : 0;
}
