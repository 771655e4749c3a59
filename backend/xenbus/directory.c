/* SPDX-License-Identifier: MIT */
/* Reads and writes of one device's keys: in its own directory, and in its guest's. */
#include "backend/base/error.h"
#include "backend/base/number.h"
#include "backend/xenbus/store_priv.h"

#include <abi/xenbus.h>

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS 5 /* at a transaction; after a conflict there is a watch event as well, by which it is tried again */

static void device_path(const struct gd_store *store, const struct gd_device_id *id, const char *key,
			char path[GD_STORE_PATH])
{
	snprintf(path, GD_STORE_PATH, "%s/%u/%" PRIu32 "%s%s", store->roots[id->class], id->domid, id->devid,
		 key ? "/" : "", key ? key : "");
}

/* True when there is a directory; *err becomes -errno on failure. */
static bool device_exists(struct gd_store *store, xs_transaction_t transaction, const struct gd_device_id *id, int *err)
{
	char path[GD_STORE_PATH], *value;

	device_path(store, id, NULL, path);
	*err = gd_store_node_read(store, transaction, path, &value);
	free(value);
	if (!*err && !value)
		*err = -ENOENT;
	return !*err;
}

/* End a transaction: commit it if `err` is 0. -EAGAIN: another client changed what it read. */
static int transaction_end(struct gd_store *store, xs_transaction_t transaction, int err)
{
	errno = 0;
	if (xs_transaction_end(store->xs, transaction, err != 0) || err)
		return err;
	return gd_errno_or(EIO);
}

static int transaction_start(struct gd_store *store, xs_transaction_t *transaction)
{
	errno = 0;
	*transaction = xs_transaction_start(store->xs);
	return *transaction != XBT_NULL ? 0 : gd_errno_or(EIO);
}

/* The work of one transaction, with the caller's `arguments`. After a conflict it is done again from the beginning. */
typedef int store_work(struct gd_store *store, xs_transaction_t transaction, void *arguments);

static int transact(struct gd_store *store, store_work *work, void *arguments)
{
	int err = -EAGAIN;

	for (unsigned i = 0; i < ATTEMPTS && err == -EAGAIN; i++) {
		xs_transaction_t transaction;

		err = transaction_start(store, &transaction);
		if (!err)
			err = transaction_end(store, transaction, work(store, transaction, arguments));
	}
	return err;
}

struct read_arguments {
	const struct gd_device_id *id;
	struct gd_keys *keys;
};

static int keys_read(struct gd_store *store, xs_transaction_t transaction, void *arguments)
{
	const struct read_arguments *read = arguments;
	char path[GD_STORE_PATH];
	int err;

	gd_keys_free(read->keys); /* of a former attempt */
	if (!device_exists(store, transaction, read->id, &err))
		return err;
	for (unsigned key = 0; key < GD_KEYS && !err; key++) {
		device_path(store, read->id, gd_key_names[key], path);
		err = gd_store_node_read(store, transaction, path, &read->keys->value[key]);
	}
	return err;
}

int gd_store_read(struct gd_store *store, const struct gd_device_id *id, struct gd_keys *keys)
{
	struct read_arguments read = {id, keys};
	int err;

	memset(keys, 0, sizeof(*keys));
	err = transact(store, keys_read, &read);
	if (err)
		gd_keys_free(keys);
	return err;
}

static int key_write(struct gd_store *store, xs_transaction_t transaction, const struct gd_device_id *id,
		     enum gd_key key, uint64_t value)
{
	char path[GD_STORE_PATH], text[24];

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
	char path[GD_STORE_PATH], *text;
	uint64_t number;
	int err;

	device_path(store, id, gd_key_names[key], path);
	err = gd_store_node_read(store, transaction, path, &text);
	if (!err && !text)
		err = -ENOENT;
	if (!err && (!gd_number(text, false, UINT_MAX, &number) || number != value))
		err = -EBUSY;
	free(text);
	return err;
}

static int key_remove(struct gd_store *store, xs_transaction_t transaction, const struct gd_device_id *id,
		      enum gd_key key)
{
	char path[GD_STORE_PATH];

	device_path(store, id, gd_key_names[key], path);
	errno = 0;
	if (xs_rm(store->xs, transaction, path) || errno == ENOENT)
		return 0;
	return gd_errno_or(EIO);
}

static void front_path(const struct gd_device_id *id, const char *key, char path[GD_STORE_PATH])
{
	snprintf(path, GD_STORE_PATH, "/local/domain/%u/device/%s/%" PRIu32 "/%s", id->domid, gd_class_names[id->class],
		 id->devid, key);
}

/* Whether the guest's directory has this key: 1, 0 or -errno. */
static int front_has(struct gd_store *store, xs_transaction_t transaction, const struct gd_device_id *id,
		     const char *key)
{
	char path[GD_STORE_PATH], *value;
	bool there;
	int err;

	front_path(id, key, path);
	err = gd_store_node_read(store, transaction, path, &value);
	there = value;
	free(value);
	return err ? err : there;
}

/* Without `state` there is no directory: the guest may have removed it, and we must not make another one. */
static int front_type_write(struct gd_store *store, xs_transaction_t transaction, const struct gd_device_id *id,
			    uint32_t type)
{
	char path[GD_STORE_PATH], text[sizeof(GIO_XENBUS_TYPE) + 8];
	int there = front_has(store, transaction, id, "state");

	if (there != 1)
		return there;
	there = front_has(store, transaction, id, GIO_XENBUS_KEY_TYPE);
	if (there)
		return there < 0 ? there : 0;
	front_path(id, GIO_XENBUS_KEY_TYPE, path);
	snprintf(text, sizeof(text), GIO_XENBUS_TYPE "%" PRIx32, type);
	errno = 0;
	if (xs_write(store->xs, transaction, path, text, (unsigned)strlen(text)))
		return 0;
	return gd_errno_or(EIO);
}

static int text_write(struct gd_store *store, xs_transaction_t transaction, const struct gd_device_id *id,
		      const char *key, const char *text)
{
	char path[GD_STORE_PATH];

	device_path(store, id, key, path);
	errno = 0;
	return xs_write(store->xs, transaction, path, text, (unsigned)strlen(text)) ? 0 : gd_errno_or(EIO);
}

/* Offer messages to the guest. No successor of ours reads these keys, and so they are none of gd_key_names. */
static int offer_write(struct gd_store *store, xs_transaction_t transaction, const struct gd_device_id *id,
		       unsigned channels)
{
	const struct {
		const char *key;
		unsigned value;
	} numbers[] = {{GIO_XENBUS_KEY_REVISION, 1},
		       {GIO_XENBUS_KEY_MAX_SIZE, GIO_MSG_MAX},
		       {GIO_XENBUS_KEY_BUS_FEATURES, 0},
		       {GIO_XENBUS_KEY_MAX_CHANNELS, channels},
		       {GIO_XENBUS_KEY_POOL_MAX, GIO_POOL_RUN_MAX}};
	int err = text_write(store, transaction, id, GIO_XENBUS_KEY_DRAFT, GIO_MSG_DRAFT);
	char text[24];

	for (size_t i = 0; !err && i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		snprintf(text, sizeof(text), "%u", numbers[i].value);
		err = text_write(store, transaction, id, numbers[i].key, text);
	}
	return err;
}

static int note_write(struct gd_store *store, xs_transaction_t transaction, const struct gd_device_id *id,
		      const struct gd_store_note *note)
{
	int err = note->registers ? key_write(store, transaction, id, GD_KEY_IOREQ_SERVER, note->server) : 0;

	if (!err && note->others)
		err = key_remove(store, transaction, id, GD_KEY_IOREQ_OTHERS);
	if (!err && note->ledger)
		err = key_write(store, transaction, id, GD_KEY_LEDGER, note->ledger);
	/* Version 1 also where messages are offered, as long as the registers are served as well. */
	if (!err && (note->base || note->channels))
		err = key_write(store, transaction, id, GD_KEY_VERSION,
				note->registers ? GIO_XENBUS_VERSION : GIO_XENBUS_VERSION_MSG);
	if (!err && note->base)
		err = key_write(store, transaction, id, GD_KEY_MMIO_BASE, note->base);
	if (!err && note->type && store->domid == 0)
		err = front_type_write(store, transaction, id, note->type);
	if (!err && note->channels)
		err = offer_write(store, transaction, id, note->channels);
	return err;
}

struct others_arguments {
	const struct gd_device_id *id;
	uint32_t servers;
};

static int others_write(struct gd_store *store, xs_transaction_t transaction, void *arguments)
{
	const struct others_arguments *others = arguments;
	int err;

	if (device_exists(store, transaction, others->id, &err))
		err = key_write(store, transaction, others->id, GD_KEY_IOREQ_OTHERS, others->servers);
	return err;
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
	int err = key_compare(store, transaction, state->id, GD_KEY_STATE, state->from);

	if (!err && state->note)
		err = note_write(store, transaction, state->id, state->note);
	return err ? err : key_write(store, transaction, state->id, GD_KEY_STATE, state->to);
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
	int err = key_compare(store, transaction, id, GD_KEY_STATE, GD_STATE_CLOSED);
	char path[GD_STORE_PATH];

	if (!err)
		err = key_compare(store, transaction, id, GD_KEY_ONLINE, 0);
	if (err)
		return err;
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

/* The token of a watch on the guest's side: "front/CLASS/DOMID/DEVID". */
static void front_token(const struct gd_device_id *id, char token[GD_STORE_PATH])
{
	snprintf(token, GD_STORE_PATH, GD_STORE_FRONT "%s/%u/%" PRIu32, gd_class_names[id->class], id->domid,
		 id->devid);
}

int gd_store_front_watch(struct gd_store *store, const struct gd_device_id *id)
{
	char path[GD_STORE_PATH], token[GD_STORE_PATH];

	front_path(id, "state", path);
	front_token(id, token);
	errno = 0;
	if (xs_watch(store->xs, path, token) || errno == EEXIST) /* EEXIST: it is watched already */
		return 0;
	return gd_errno_or(EIO);
}

void gd_store_front_unwatch(struct gd_store *store, const struct gd_device_id *id)
{
	char path[GD_STORE_PATH], token[GD_STORE_PATH];

	front_path(id, "state", path);
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
	char path[GD_STORE_PATH], name[GD_FRONT_NAME];
	int err = 0;

	gd_front_keys_free(front->keys); /* of a former attempt */
	for (unsigned key = 0; key < GD_FRONT_KEYS && !err; key++) {
		if (!gd_front_key_wanted(front->keys, key))
			continue;
		front_path(front->id, gd_front_key_name(key, name), path);
		err = gd_store_node_read(store, transaction, path, &front->keys->value[key]);
	}
	return err;
}

int gd_store_front_read(struct gd_store *store, const struct gd_device_id *id, struct gd_front_keys *keys)
{
	struct front_arguments front = {id, keys};
	int err;

	memset(keys, 0, sizeof(*keys));
	err = transact(store, front_keys_read, &front);
	if (err)
		gd_front_keys_free(keys);
	return err == -EACCES ? 0 : err;
}

void gd_store_remove(struct gd_store *store, const struct gd_device_id *id, enum gd_key key)
{
	key_remove(store, XBT_NULL, id, key);
}

/* Best effort: the log has the line as well. */
void gd_store_error(struct gd_store *store, const struct gd_device_id *id, const char *error)
{
	char path[GD_STORE_PATH];

	snprintf(path, sizeof(path), "/local/domain/%u/error/backend/%s/%u/%" PRIu32 "%s", store->domid,
		 gd_class_names[id->class], id->domid, id->devid, error ? "/error" : "");
	if (error)
		xs_write(store->xs, XBT_NULL, path, error, (unsigned)strlen(error));
	else
		xs_rm(store->xs, XBT_NULL, path);
}
