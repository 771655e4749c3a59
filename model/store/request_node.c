/* SPDX-License-Identifier: MIT */
/* Requests on nodes. */
#include "model/store/request.h"

#include "model/store/limits.h"
#include "model/store/watch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The node that the payload, one string, names; no special one. */
static int node_only(struct gm_request *request, unsigned rights, const struct gm_node **node)
{
	const char *name;
	int err;

	err = gm_request_strings(request, &name, 1, NULL);
	if (err)
		return err;
	return gm_path_special(name) ? -EINVAL : gm_request_node(request, name, rights, node);
}

int gm_request_read(struct gm_request *request)
{
	const struct gm_node *node;
	int err;

	err = node_only(request, GM_RIGHT_READ, &node);
	if (err)
		return err;
	gm_connection_reply(request->connection, node->value, node->length);
	return 0;
}

/* ---- directory ---- */

/* Copy the names of children behind the first `skip` bytes of them, to the end of a name, at most `room` bytes. */
static size_t names_copy(char *out, size_t room, const struct gm_node *node, size_t skip)
{
	size_t used = 0;

	for (uint32_t i = 0; i < node->children; i++) {
		const char *name = node->child[i]->name;
		size_t bytes = strlen(name) + 1;

		if (skip >= bytes) {
			skip -= bytes;
			continue;
		}
		if (used + bytes - skip > room)
			break;
		memcpy(out + used, name + skip, bytes - skip);
		used += bytes - skip;
		skip = 0;
	}
	return used;
}

int gm_request_directory(struct gm_request *request)
{
	char names[XENSTORE_PAYLOAD_MAX];
	const struct gm_node *node;
	int err;

	err = node_only(request, GM_RIGHT_READ, &node);
	if (err)
		return err;
	if (node->child_bytes > sizeof(names))
		return -E2BIG;
	gm_connection_reply(request->connection, names, names_copy(names, sizeof(names), node, 0));
	return 0;
}

/*
 * The answer is the node's generation, names from an offset on, and one more NUL behind the last of them. A client
 * whose second answer has another generation than its first begins again.
 */
int gm_request_directory_part(struct gm_request *request)
{
	char answer[XENSTORE_PAYLOAD_MAX], *end;
	const struct gm_node *node;
	const char *string[2];
	unsigned long offset;
	size_t used, got = 0;
	int err;

	err = gm_request_strings(request, string, 2, NULL);
	if (err)
		return err;
	offset = strtoul(string[1], &end, 10);
	if (*end || string[1][0] < '0' || string[1][0] > '9' || gm_path_special(string[0]))
		return -EINVAL;
	err = gm_request_node(request, string[0], GM_RIGHT_READ, &node);
	if (err)
		return err;
	used = (size_t)snprintf(answer, sizeof(answer), "%" PRIu64, node->generation) + 1;
	if (offset < node->child_bytes)
		got = names_copy(answer + used, sizeof(answer) - used - 1, node, offset);
	used += got;
	if (offset >= node->child_bytes || offset + got >= node->child_bytes)
		answer[used++] = '\0';
	gm_connection_reply(request->connection, answer, used);
	return 0;
}

/* ---- changing ---- */

/* Note in the transaction, if there is one, what will be done to request->path. */
static int touch(struct gm_request *request, enum gm_touch how, bool above)
{
	int err;

	if (!request->transaction)
		return 0;
	err = above ? gm_request_touch_above(request) : 0;
	return err ? err : gm_transaction_touch(request->connection, request->transaction, request->path, how);
}

/* Is a node of a value and names that long within the limit? It counts what xenstored's database keeps of it. */
static bool size_allowed(const struct gm_perms *perms, size_t value, size_t names)
{
	return GM_STORE_NODE_HEAD + perms->count * GM_STORE_NODE_PERM + value + names < GM_STORE_NODE_BYTES;
}

/* Bytes of the first name of which a path's last `missing` are, with its NUL. */
static size_t new_name_bytes(const char *path, unsigned missing)
{
	const char *at = path + strlen(path), *end = at;

	for (; missing; missing--) {
		end = at;
		while (*--at != '/')
			;
	}
	return (size_t)(end - at); /* the slash stands for the NUL */
}

/* May the domain have the node of request->path with a value of that length? 0 or -ENOSPC. */
static int limits_check(const struct gm_request *request, size_t length)
{
	const struct gm_node *node;
	unsigned missing;
	size_t names;

	if (request->domid == 0)
		return 0;
	node = gm_tree_nearest(request->tree, request->path, &missing);
	if (!missing)
		return size_allowed(&node->perms, length, node->child_bytes) ? 0 : -ENOSPC;
	names = node->child_bytes + new_name_bytes(request->path, missing);
	if (!size_allowed(&node->perms, length, 0) || !size_allowed(&node->perms, node->length, names))
		return -ENOSPC;
	return gm_tree_owned(request->tree, request->domid) + missing > GM_STORE_NODES_MAX ? -ENOSPC : 0;
}

/* Everything that can be refused is asked before the tree changes; watches fire once it has. */
static int value_write(struct gm_request *request, bool made, const char *value, size_t length)
{
	int err;

	err = limits_check(request, length);
	if (err)
		return err;
	err = touch(request, GM_TOUCH_MODIFIED, made);
	if (err)
		return err;
	err = gm_tree_write(request->tree, request->path, request->domid, value, length);
	if (err)
		return err;
	if (!request->transaction)
		gm_watch_fire(request->store, NULL, request->path, GM_CHANGED);
	return gm_request_done(request);
}

int gm_request_write(struct gm_request *request)
{
	const char *name, *value;
	const struct gm_node *node;
	int err;

	err = gm_request_strings(request, &name, 1, &value);
	if (err)
		return err;
	if (gm_path_special(name))
		return -EINVAL;
	err = gm_request_node(request, name, GM_RIGHT_WRITE, &node);
	if (err && err != -ENOENT)
		return err;
	return value_write(request, err == -ENOENT, value, request->length - (size_t)(value - request->data));
}

/* A node that is there already is no error, and is left as it is. */
int gm_request_mkdir(struct gm_request *request)
{
	const struct gm_node *node;
	int err = node_only(request, GM_RIGHT_WRITE, &node);

	if (err == -ENOENT)
		return value_write(request, true, "", 0);
	return err ? err : gm_request_done(request);
}

/* What is missing may be removed, if its parent is there. */
static int missing_remove(struct gm_request *request)
{
	unsigned missing;

	gm_tree_nearest(request->tree, request->path, &missing);
	return missing == 1 ? gm_request_done(request) : -ENOENT;
}

/* The tree of before is kept until the watches have fired: they are about nodes that have gone. */
int gm_request_rm(struct gm_request *request)
{
	const struct gm_node *node;
	struct gm_tree before;
	int err = node_only(request, GM_RIGHT_WRITE, &node);

	if (err == -ENOENT)
		return missing_remove(request);
	if (err)
		return err;
	if (strcmp(request->path, "/") == 0)
		return -EINVAL;
	err = touch(request, GM_TOUCH_REMOVED, true);
	if (err)
		return err;
	if (gm_tree_copy(&before, request->tree))
		return -ENOMEM;
	err = gm_tree_remove(request->tree, request->path);
	if (!err && !request->transaction)
		gm_watch_fire(request->store, &before, request->path, GM_REMOVED);
	gm_tree_exit(&before);
	return err ? err : gm_request_done(request);
}

/* ---- permissions ---- */

int gm_request_get_perms(struct gm_request *request)
{
	char text[GM_PERMS_TEXT_MAX];
	const struct gm_node *node;
	const char *name;
	int err;

	err = gm_request_strings(request, &name, 1, NULL);
	if (err)
		return err;
	err = gm_request_node(request, name, GM_RIGHT_READ, &node);
	if (err)
		return err;
	gm_connection_reply(request->connection, text, gm_perms_format(&node->perms, text));
	return 0;
}

/* Only domain 0 can give a node to another domain. */
static int perms_check(const struct gm_request *request, const struct gm_node *node, const struct gm_perms *perms)
{
	if (gm_path_special(request->path) && request->transaction)
		return -EINVAL;
	if (request->domid == 0)
		return 0;
	if (perms->entry[0].domid != node->perms.entry[0].domid)
		return -EPERM;
	return size_allowed(perms, node->length, node->child_bytes) ? 0 : -ENOSPC;
}

int gm_request_set_perms(struct gm_request *request)
{
	const char *name, *text;
	const struct gm_node *node;
	struct gm_perms perms;
	struct gm_tree before;
	int err;

	err = gm_request_strings(request, &name, 1, &text);
	if (err)
		return err;
	err = gm_perms_parse(&perms, text, request->length - (size_t)(text - request->data));
	if (err)
		return err;
	if (request->domid && perms.count > GM_STORE_PERMS_DOMAIN)
		return -ENOSPC;
	err = gm_request_node(request, name, GM_RIGHT_WRITE | GM_RIGHT_OWN, &node);
	if (err)
		return err;
	err = perms_check(request, node, &perms);
	if (err)
		return err;
	err = touch(request, GM_TOUCH_MODIFIED, false);
	if (err)
		return err;
	if (gm_tree_copy(&before, request->tree))
		return -ENOMEM;
	err = gm_tree_perms_set(request->tree, request->path, &perms);
	if (!err && !request->transaction && !gm_path_special(request->path)) /* those stand for other events */
		gm_watch_fire(request->store, &before, request->path, GM_CHANGED);
	gm_tree_exit(&before);
	return err ? err : gm_request_done(request);
}
