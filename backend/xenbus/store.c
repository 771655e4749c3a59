/* SPDX-License-Identifier: MIT */
#include "backend/base/error.h"
#include "backend/base/log.h"
#include "backend/base/number.h"
#include "backend/xenbus/store.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

#define ATTEMPTS 5 /* at a transaction; after a conflict there is a watch event as well, by which it is tried again */
#define PATH	 160
#define FRONT	 "front/" /* the beginning of the tokens of watches on guests' directories */

struct gd_store {
	struct xs_handle *xs;
	uint16_t domid;
	char roots[GD_CLASSES][64]; /* /local/domain/N/backend/CLASS */
};

/* Read our own domain's id: a relative path is in the directory of the caller's domain. */
static int own_domid(struct xs_handle *xs, uint16_t *out)
{
	char *text = xs_read(xs, XBT_NULL, "domid", NULL);
	uint64_t domid;
	int ret = 0;

	if (!text) {
		ret = gd_errno_or(EIO);
		gd_log(NULL, GD_ERR, "xenstore: cannot read our own 'domid': %s", strerror(-ret));
		return ret;
	}
	if (gd_number(text, false, GD_DOMID_MAX, &domid)) {
		*out = (uint16_t)domid;
	} else {
		gd_log(NULL, GD_ERR, "xenstore: domid '%.16s': must be a number, at most %u", text, GD_DOMID_MAX);
		ret = -EINVAL;
	}
	free(text);
	return ret;
}

static int watch(struct xs_handle *xs, const char *path)
{
	int ret;

	errno = 0;
	if (xs_watch(xs, path, path))
		return 0;
	ret = gd_errno_or(EIO);
	gd_log(NULL, GD_ERR, "xenstore: cannot watch '%s': %s", path, strerror(-ret));
	return ret;
}

static int store_connect(struct xs_handle **out)
{
	errno = 0;
	*out = xs_open(0);
	return *out ? 0 : gd_errno_or(EIO);
}

static int watches_set(const struct gd_store *store, struct xs_handle *xs)
{
	int ret = 0;

	for (unsigned class = 0; class < GD_CLASSES && !ret; class ++)
		ret = watch(xs, store->roots[class]);
	/* A driver domain may not watch these (Xen 4.17 and later): then directories that come and go have to do. */
	if (!ret && (!xs_watch(xs, "@releaseDomain", "@releaseDomain") ||
		     !xs_watch(xs, "@introduceDomain", "@introduceDomain")))
		gd_log(NULL, GD_NOTICE,
		       "xenstore: cannot watch for domains that end (%s): relying on the backend directories",
		       strerror(errno));
	return ret;
}

int gd_store_open(struct gd_store **out)
{
	struct gd_store *store = calloc(1, sizeof(*store));
	int ret;

	if (!store)
		return -ENOMEM;
	ret = store_connect(&store->xs);
	if (ret) {
		gd_log(NULL, GD_ERR, "xenstore: cannot connect: %s (is xenstored running?)", strerror(-ret));
		goto free_store;
	}
	ret = own_domid(store->xs, &store->domid);
	if (ret)
		goto close_xs;
	for (unsigned class = 0; class < GD_CLASSES; class ++)
		snprintf(store->roots[class], sizeof(store->roots[class]), "/local/domain/%u/backend/%s", store->domid,
			 gd_class_names[class]);
	ret = watches_set(store, store->xs);
	if (ret)
		goto close_xs;
	*out = store;
	return 0;

close_xs:
	xs_close(store->xs);
free_store:
	free(store);
	return ret;
}

int gd_store_again(struct gd_store *store)
{
	struct xs_handle *xs;
	uint16_t domid = 0;
	int ret = store_connect(&xs);

	if (ret)
		return ret;
	ret = own_domid(xs, &domid);
	if (!ret && domid != store->domid) {
		gd_log(NULL, GD_ERR, "xenstore: we were domain %u, and are domain %u now", store->domid, domid);
		ret = -EINVAL;
	}
	if (!ret)
		ret = watches_set(store, xs);
	if (ret) {
		xs_close(xs);
		return ret;
	}
	xs_close(store->xs); /* not before: calls on a lost connection fail, but calls without any connection crash */
	store->xs = xs;
	return 0;
}

void gd_store_close(struct gd_store *store)
{
	if (!store)
		return;
	xs_close(store->xs);
	free(store);
}

uint16_t gd_store_domid(const struct gd_store *store)
{
	return store->domid;
}

int gd_store_fd(const struct gd_store *store)
{
	return xs_fileno(store->xs);
}

/* The token of a watch on the guest's side: "front/CLASS/DOMID/DEVID". */
static void front_token(const struct gd_device_id *id, char token[PATH])
{
	snprintf(token, PATH, FRONT "%s/%u/%" PRIu32, gd_class_names[id->class], id->domid, id->devid);
}

static void front_path(const struct gd_device_id *id, const char *key, char path[PATH])
{
	snprintf(path, PATH, "/local/domain/%u/device/%s/%" PRIu32 "/%s", id->domid, gd_class_names[id->class],
		 id->devid, key);
}

static bool front_event(const char *token, struct gd_store_event *event)
{
	for (unsigned class = 0; class < GD_CLASSES; class ++) {
		size_t length = strlen(gd_class_names[class]);

		if (strncmp(token, gd_class_names[class], length) || token[length] != '/')
			continue;
		event->kind = GD_STORE_DEVICES;
		event->depth = 2;
		event->id.class = (enum gd_class) class;
		return gd_keys_path(token + length, &event->id.domid, &event->id.devid) == 2;
	}
	return false;
}

/* False: an event that is not for us. `token` is the path that was watched, or a front_token(). */
static bool event_parse(const struct gd_store *store, const char *path, const char *token, struct gd_store_event *event)
{
	if (!strncmp(token, FRONT, strlen(FRONT)))
		return front_event(token + strlen(FRONT), event);
	if (token[0] == '@') {
		event->kind = GD_STORE_DOMAINS;
		return true;
	}
	for (unsigned class = 0; class < GD_CLASSES; class ++) {
		size_t length = strlen(store->roots[class]);
		int depth;

		if (strcmp(token, store->roots[class]) || strncmp(path, token, length))
			continue;
		depth = gd_keys_path(path + length, &event->id.domid, &event->id.devid);
		if (depth < 0) {
			gd_log(NULL, GD_WARN, "xenstore: '%.*s': not a device's directory", PATH, path);
			return false;
		}
		event->kind = GD_STORE_DEVICES;
		event->depth = (unsigned)depth;
		event->id.class = (enum gd_class) class;
		return true;
	}
	return false;
}

int gd_store_next(struct gd_store *store, struct gd_store_event *event)
{
	for (;;) {
		char **watched;
		bool mine;

		errno = 0;
		watched = xs_check_watch(store->xs);
		if (!watched && errno == EINTR)
			continue;
		if (!watched)
			return errno == EAGAIN ? 0 : gd_errno_or(EPIPE);
		mine = event_parse(store, watched[XS_WATCH_PATH], watched[XS_WATCH_TOKEN], event);
		free(watched);
		if (mine)
			return 1;
	}
}

int gd_store_list(struct gd_store *store, enum gd_class class, const uint16_t *domid, gd_store_found *found,
		  void *opaque)
{
	struct gd_device_id id = {.class = class, .domid = domid ? *domid : 0};
	char path[PATH], **names;
	unsigned count;

	if (domid)
		snprintf(path, sizeof(path), "%s/%u", store->roots[class], *domid);
	else
		snprintf(path, sizeof(path), "%s", store->roots[class]);
	errno = 0;
	names = xs_directory(store->xs, XBT_NULL, path, &count);
	if (!names)
		return gd_errno_or(EIO);
	for (unsigned i = 0; i < count; i++) {
		uint64_t number;

		if (!gd_number(names[i], false, domid ? GD_DEVID_MAX : GD_DOMID_MAX, &number)) {
			gd_log(NULL, GD_WARN, "xenstore: '%s/%.64s': not a device's directory", path, names[i]);
			continue;
		}
		if (domid)
			id.devid = (uint32_t)number;
		else
			id.domid = (uint16_t)number;
		found(opaque, &id);
	}
	free(names);
	return 0;
}

static void device_path(const struct gd_store *store, const struct gd_device_id *id, const char *key, char path[PATH])
{
	snprintf(path, PATH, "%s/%u/%" PRIu32 "%s%s", store->roots[id->class], id->domid, id->devid, key ? "/" : "",
		 key ? key : "");
}

/* Read a node; *out is NULL if there is none. A NUL within the value becomes a byte that no check accepts. 0, -errno.
 */
static int node_read(struct gd_store *store, xs_transaction_t transaction, const char *path, char **out)
{
	unsigned length;

	errno = 0;
	*out = xs_read(store->xs, transaction, path, &length);
	if (!*out)
		return errno == ENOENT ? 0 : gd_errno_or(EIO);
	for (char *nul = *out; (nul = memchr(nul, '\0', (size_t)(*out + length - nul))) != NULL; nul++)
		*nul = '\1';
	return 0;
}

/* True when there is a directory; *ret becomes -errno on failure. */
static bool device_exists(struct gd_store *store, xs_transaction_t transaction, const struct gd_device_id *id, int *ret)
{
	char path[PATH], *value;

	device_path(store, id, NULL, path);
	*ret = node_read(store, transaction, path, &value);
	free(value);
	if (!*ret && !value)
		*ret = -ENOENT;
	return !*ret;
}

/* End a transaction: commit it if `ret` is 0. -EAGAIN: another client changed what it read. */
static int transaction_end(struct gd_store *store, xs_transaction_t transaction, int ret)
{
	errno = 0;
	if (xs_transaction_end(store->xs, transaction, ret != 0) || ret)
		return ret;
	return gd_errno_or(EIO);
}

static int transaction_start(struct gd_store *store, xs_transaction_t *transaction)
{
	errno = 0;
	*transaction = xs_transaction_start(store->xs);
	return *transaction != XBT_NULL ? 0 : gd_errno_or(EIO);
}

/* What is done in one transaction, with the caller's `arguments`; from its beginning again, if it was in conflict. */
typedef int store_work(struct gd_store *store, xs_transaction_t transaction, void *arguments);

static int transact(struct gd_store *store, store_work *work, void *arguments)
{
	int ret = -EAGAIN;

	for (unsigned i = 0; i < ATTEMPTS && ret == -EAGAIN; i++) {
		xs_transaction_t transaction;

		ret = transaction_start(store, &transaction);
		if (!ret)
			ret = transaction_end(store, transaction, work(store, transaction, arguments));
	}
	return ret;
}

struct read_arguments {
	const struct gd_device_id *id;
	struct gd_keys *keys;
};

static int keys_read(struct gd_store *store, xs_transaction_t transaction, void *arguments)
{
	const struct read_arguments *read = arguments;
	char path[PATH];
	int ret;

	gd_keys_free(read->keys); /* of an attempt before this one */
	if (!device_exists(store, transaction, read->id, &ret))
		return ret;
	for (unsigned key = 0; key < GD_KEYS && !ret; key++) {
		device_path(store, read->id, gd_key_names[key], path);
		ret = node_read(store, transaction, path, &read->keys->value[key]);
	}
	return ret;
}

int gd_store_read(struct gd_store *store, const struct gd_device_id *id, struct gd_keys *keys)
{
	struct read_arguments read = {id, keys};
	int ret;

	memset(keys, 0, sizeof(*keys));
	ret = transact(store, keys_read, &read);
	if (ret)
		gd_keys_free(keys);
	return ret;
}

static int key_write(struct gd_store *store, xs_transaction_t transaction, const struct gd_device_id *id,
		     enum gd_key key, uint64_t value)
{
	char path[PATH], text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	device_path(store, id, gd_key_names[key], path);
	errno = 0;
	if (xs_write(store->xs, transaction, path, text, (unsigned)strlen(text)))
		return 0;
	return gd_errno_or(EIO);
}

/* 0: `key` has that value; -EBUSY: it has another one; -ENOENT: there is no such key. */
static int key_compare(struct gd_store *store, xs_transaction_t transaction, const struct gd_device_id *id,
		       enum gd_key key, unsigned value)
{
	char path[PATH], *text;
	uint64_t number;
	int ret;

	device_path(store, id, gd_key_names[key], path);
	ret = node_read(store, transaction, path, &text);
	if (!ret && !text)
		ret = -ENOENT;
	if (!ret && (!gd_number(text, false, UINT_MAX, &number) || number != value))
		ret = -EBUSY;
	free(text);
	return ret;
}

static int key_remove(struct gd_store *store, xs_transaction_t transaction, const struct gd_device_id *id,
		      enum gd_key key)
{
	char path[PATH];

	device_path(store, id, gd_key_names[key], path);
	errno = 0;
	if (xs_rm(store->xs, transaction, path) || errno == ENOENT)
		return 0;
	return gd_errno_or(EIO);
}

static int note_write(struct gd_store *store, xs_transaction_t transaction, const struct gd_device_id *id,
		      const struct gd_store_note *note)
{
	int ret = key_write(store, transaction, id, GD_KEY_IOREQ_SERVER, note->server);

	if (!ret && note->others)
		ret = key_remove(store, transaction, id, GD_KEY_IOREQ_OTHERS);
	if (!ret && note->ledger)
		ret = key_write(store, transaction, id, GD_KEY_LEDGER, note->ledger);
	if (!ret && note->base)
		ret = key_write(store, transaction, id, GD_KEY_VERSION, GD_FRONT_VERSION);
	if (!ret && note->base)
		ret = key_write(store, transaction, id, GD_KEY_MMIO_BASE, note->base);
	return ret;
}

struct others_arguments {
	const struct gd_device_id *id;
	uint32_t servers;
};

static int others_write(struct gd_store *store, xs_transaction_t transaction, void *arguments)
{
	const struct others_arguments *others = arguments;
	int ret;

	if (device_exists(store, transaction, others->id, &ret))
		ret = key_write(store, transaction, others->id, GD_KEY_IOREQ_OTHERS, others->servers);
	return ret;
}

int gd_store_others(struct gd_store *store, const struct gd_device_id *id, uint32_t servers)
{
	struct others_arguments others = {id, servers};

	return transact(store, others_write, &others);
}

struct state_arguments {
	const struct gd_device_id *id;
	unsigned from, to;
	const struct gd_store_note *note;
};

static int state_write(struct gd_store *store, xs_transaction_t transaction, void *arguments)
{
	const struct state_arguments *state = arguments;
	int ret = key_compare(store, transaction, state->id, GD_KEY_STATE, state->from);

	if (!ret && state->note)
		ret = note_write(store, transaction, state->id, state->note);
	return ret ? ret : key_write(store, transaction, state->id, GD_KEY_STATE, state->to);
}

int gd_store_state(struct gd_store *store, const struct gd_device_id *id, unsigned from, unsigned to,
		   const struct gd_store_note *note)
{
	struct state_arguments state = {id, from, to, note};

	return transact(store, state_write, &state);
}

static int directory_remove(struct gd_store *store, xs_transaction_t transaction, void *arguments)
{
	const struct gd_device_id *id = arguments;
	int ret = key_compare(store, transaction, id, GD_KEY_STATE, GD_STATE_CLOSED);
	char path[PATH];

	if (!ret)
		ret = key_compare(store, transaction, id, GD_KEY_ONLINE, 0);
	if (ret)
		return ret;
	device_path(store, id, NULL, path);
	errno = 0;
	if (xs_rm(store->xs, transaction, path))
		return 0;
	return gd_errno_or(EIO);
}

int gd_store_forget(struct gd_store *store, const struct gd_device_id *id)
{
	struct gd_device_id copy = *id;

	return transact(store, directory_remove, &copy);
}

int gd_store_front_watch(struct gd_store *store, const struct gd_device_id *id)
{
	char path[PATH], token[PATH];

	front_path(id, gd_front_key_names[GD_FRONT_KEY_STATE], path);
	front_token(id, token);
	errno = 0;
	if (xs_watch(store->xs, path, token) || errno == EEXIST) /* EEXIST: it is watched already */
		return 0;
	return gd_errno_or(EIO);
}

void gd_store_front_unwatch(struct gd_store *store, const struct gd_device_id *id)
{
	char path[PATH], token[PATH];

	front_path(id, gd_front_key_names[GD_FRONT_KEY_STATE], path);
	front_token(id, token);
	xs_unwatch(store->xs, path, token);
}

struct front_arguments {
	const struct gd_device_id *id;
	struct gd_front_keys *keys;
};

static int front_keys_read(struct gd_store *store, xs_transaction_t transaction, void *arguments)
{
	const struct front_arguments *front = arguments;
	char path[PATH];
	int ret = 0;

	gd_front_keys_free(front->keys); /* of an attempt before this one */
	for (unsigned key = 0; key < GD_FRONT_KEYS && !ret; key++) {
		front_path(front->id, gd_front_key_names[key], path);
		ret = node_read(store, transaction, path, &front->keys->value[key]);
	}
	return ret;
}

int gd_store_front_read(struct gd_store *store, const struct gd_device_id *id, struct gd_front_keys *keys)
{
	struct front_arguments front = {id, keys};
	int ret;

	memset(keys, 0, sizeof(*keys));
	ret = transact(store, front_keys_read, &front);
	if (ret)
		gd_front_keys_free(keys);
	return ret;
}

void gd_store_remove(struct gd_store *store, const struct gd_device_id *id, enum gd_key key)
{
	key_remove(store, XBT_NULL, id, key);
}

/* Best effort: the log has the line as well. */
void gd_store_error(struct gd_store *store, const struct gd_device_id *id, const char *error)
{
	char path[PATH];

	snprintf(path, sizeof(path), "/local/domain/%u/error/backend/%s/%u/%" PRIu32 "%s", store->domid,
		 gd_class_names[id->class], id->domid, id->devid, error ? "/error" : "");
	if (error)
		xs_write(store->xs, XBT_NULL, path, error, (unsigned)strlen(error));
	else
		xs_rm(store->xs, XBT_NULL, path);
}

int gd_store_introduced(struct gd_store *store, uint16_t domid)
{
	errno = 0;
	if (xs_is_domain_introduced(store->xs, domid))
		return 1;
	return -errno;
}

/* The first entry of the permissions has the owner, and what all others may do; the other entries are single domains'.
 */
static bool guest_may_write(struct gd_store *store, const char *path, uint16_t domid)
{
	unsigned count = 0;
	struct xs_permissions *list = xs_get_permissions(store->xs, XBT_NULL, path, &count);
	bool may = !list || !count || list[0].id == domid || list[0].perms & XS_PERM_WRITE;

	for (unsigned i = 1; i < count && !may; i++)
		may = list[i].id == domid && list[i].perms & XS_PERM_WRITE;
	free(list);
	return may;
}

static int guest_key(struct gd_store *store, uint16_t domid, const char *key, char **out)
{
	char path[PATH];
	int ret;

	snprintf(path, sizeof(path), "/local/domain/%u/%s", domid, key);
	ret = node_read(store, XBT_NULL, path, out);
	if (!ret && *out && guest_may_write(store, path, domid)) {
		free(*out);
		*out = NULL;
	}
	return ret;
}

int gd_store_guest(struct gd_store *store, uint16_t domid, char **name, char **uuid)
{
	static const char vm[] = "/vm/";
	int ret;

	*uuid = NULL;
	ret = guest_key(store, domid, "name", name);
	if (!ret)
		ret = guest_key(store, domid, "vm", uuid);
	if (*uuid && strncmp(*uuid, vm, strlen(vm))) {
		free(*uuid);
		*uuid = NULL;
	} else if (*uuid) {
		memmove(*uuid, *uuid + strlen(vm), strlen(*uuid + strlen(vm)) + 1);
	}
	return ret;
}
