/* SPDX-License-Identifier: MIT */
#include "backend/base/error.h"
#include "backend/base/log.h"
#include "backend/base/number.h"
#include "backend/xenbus/store_priv.h"

#include <abi/xen.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

/* Read our own domain's id: a relative path is in the directory of the caller's domain. */
static int own_domid(struct xs_handle *xs, uint16_t *out)
{
	char *text = xs_read(xs, XBT_NULL, "domid", NULL);
	uint64_t domid;
	int err = 0;

	if (!text) {
		err = gd_errno_or(EIO);
		gd_log(NULL, GD_ERR, "xenstore: cannot read our own 'domid': %s", strerror(-err));
		return err;
	}
	if (gd_number(text, false, GIO_DOMID_MAX, &domid)) {
		*out = (uint16_t)domid;
	} else {
		gd_log(NULL, GD_ERR, "xenstore: domid '%.16s': must be a number, at most %u", text, GIO_DOMID_MAX);
		err = -EINVAL;
	}
	free(text);
	return err;
}

static int watch(struct xs_handle *xs, const char *path)
{
	int err;

	errno = 0;
	if (xs_watch(xs, path, path))
		return 0;
	err = gd_errno_or(EIO);
	gd_log(NULL, GD_ERR, "xenstore: cannot watch '%s': %s", path, strerror(-err));
	return err;
}

static int store_connect(struct xs_handle **out)
{
	errno = 0;
	*out = xs_open(0);
	return *out ? 0 : gd_errno_or(EIO);
}

static int watches_set(const struct gd_store *store, struct xs_handle *xs)
{
	int err = 0;

	for (unsigned class = 0; class < GD_CLASSES && !err; class ++)
		err = watch(xs, store->roots[class]);
	/* A driver domain may not watch these (Xen 4.17 and later): then directories that come and go have to do. */
	if (!err && (!xs_watch(xs, "@releaseDomain", "@releaseDomain") ||
		     !xs_watch(xs, "@introduceDomain", "@introduceDomain")))
		gd_log(NULL, GD_NOTICE,
		       "xenstore: cannot watch for domains that end (%s): relying on the backend directories",
		       strerror(errno));
	return err;
}

int gd_store_open(struct gd_store **out)
{
	struct gd_store *store = calloc(1, sizeof(*store));
	int err;

	if (!store)
		return -ENOMEM;
	err = store_connect(&store->xs);
	if (err) {
		gd_log(NULL, GD_ERR, "xenstore: cannot connect: %s (is xenstored running?)", strerror(-err));
		goto free_store;
	}
	err = own_domid(store->xs, &store->domid);
	if (err)
		goto close_xs;
	for (unsigned class = 0; class < GD_CLASSES; class ++)
		snprintf(store->roots[class], sizeof(store->roots[class]), "/local/domain/%u/backend/%s", store->domid,
			 gd_class_names[class]);
	err = watches_set(store, store->xs);
	if (err)
		goto close_xs;
	*out = store;
	return 0;

close_xs:
	xs_close(store->xs);
free_store:
	free(store);
	return err;
}

int gd_store_again(struct gd_store *store)
{
	struct xs_handle *xs;
	uint16_t domid = 0;
	int err = store_connect(&xs);

	if (err)
		return err;
	err = own_domid(xs, &domid);
	if (!err && domid != store->domid) {
		gd_log(NULL, GD_ERR, "xenstore: we were domain %u, and are domain %u now", store->domid, domid);
		err = -EINVAL;
	}
	if (!err)
		err = watches_set(store, xs);
	if (err) {
		xs_close(xs);
		return err;
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
	if (!strncmp(token, GD_STORE_FRONT, strlen(GD_STORE_FRONT)))
		return front_event(token + strlen(GD_STORE_FRONT), event);
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
			gd_log(NULL, GD_WARN, "xenstore: '%.*s': not a device's directory", GD_STORE_PATH, path);
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
	char path[GD_STORE_PATH], **names;
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

		if (!gd_number(names[i], false, domid ? GIO_DEVID_MAX : GIO_DOMID_MAX, &number)) {
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

int gd_store_node_read(struct gd_store *store, xs_transaction_t transaction, const char *path, char **out)
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

int gd_store_introduced(struct gd_store *store, uint16_t domid)
{
	errno = 0;
	if (xs_is_domain_introduced(store->xs, domid))
		return 1;
	return -errno;
}

/* The permissions' first entry has the owner, and what all others may do; the other entries are for single domains. */
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
	char path[GD_STORE_PATH];
	int err;

	snprintf(path, sizeof(path), "/local/domain/%u/%s", domid, key);
	err = gd_store_node_read(store, XBT_NULL, path, out);
	if (!err && *out && guest_may_write(store, path, domid)) {
		free(*out);
		*out = NULL;
	}
	return err;
}

int gd_store_guest(struct gd_store *store, uint16_t domid, char **name, char **uuid)
{
	static const char vm[] = "/vm/";
	int err;

	*uuid = NULL;
	err = guest_key(store, domid, "name", name);
	if (!err)
		err = guest_key(store, domid, "vm", uuid);
	if (*uuid && strncmp(*uuid, vm, strlen(vm))) {
		free(*uuid);
		*uuid = NULL;
	} else if (*uuid) {
		memmove(*uuid, *uuid + strlen(vm), strlen(*uuid + strlen(vm)) + 1);
	}
	return err;
}
