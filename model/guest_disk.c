/* SPDX-License-Identifier: MIT */
/* Where the guest's disks are: what the toolstack wrote to xenstore (data as xl 4.20 writes it). */
#include "model/guest.h"
#include "model/guest_priv.h"
#include "model/wait.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>

#include <xenstore.h>

/* The backend's states between which the device can be used (xen/io/xenbus.h). */
#define STATE_INITWAIT 2u /* xenbus: the backend is there */
#define STATE_CLOSING  5u

static const char *const device_dirs[] = {"device/virtio_disk", "device/virtio"};

/*
 * libxenstore finds a socket only by the environment, which all threads of the process share. One at a time changes it,
 * and puts back what was there.
 */
struct xs_handle *gm_guest_store(struct gm_guest *guest)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct xs_handle *xs = NULL;
	char *path = NULL, *old;

	if (asprintf(&path, "%s/store.%u", gm_machine_dir(guest->m), guest->m->domid) < 0)
		return NULL;
	pthread_mutex_lock(&lock);
	old = getenv("XENSTORED_PATH");
	old = old ? strdup(old) : NULL;
	if (!setenv("XENSTORED_PATH", path, 1))
		xs = xs_open(XS_OPEN_SOCKETONLY);
	if (old)
		setenv("XENSTORED_PATH", old, 1);
	else
		unsetenv("XENSTORED_PATH");
	pthread_mutex_unlock(&lock);
	free(old);
	free(path);
	return xs;
}

/* NULL when the key is not there, and when there is no memory: in both cases the device is not ready yet. */
static char *read_key(struct xs_handle *xs, const char *dir, const char *key)
{
	char *path, *value = NULL;
	unsigned len;

	if (asprintf(&path, "%s/%s", dir, key) < 0)
		return NULL;
	value = xs_read(xs, XBT_NULL, path, &len);
	free(path);
	return value;
}

/* A number, decimal or 0x (xl writes both): 0, -ENOENT without the key, -EPROTO when it is not a number. */
static int read_number(struct xs_handle *xs, const char *dir, const char *key, uint64_t max, uint64_t *out)
{
	char *s = read_key(xs, dir, key), *end;
	int err = s ? 0 : -ENOENT;

	if (s) {
		errno = 0;
		*out = strtoull(s, &end, 0);
		if (errno || end == s || *end || *s == '-' || *out > max)
			err = -EPROTO;
	}
	free(s);
	return err;
}

static bool key_is(struct xs_handle *xs, const char *dir, const char *key, const char *want)
{
	char *s = read_key(xs, dir, key);
	bool same = s && !strcmp(s, want);

	free(s);
	return same;
}

/* A disk is asked for by its name ("xvda") or by its number; without either, any disk will do. */
static bool name_is(struct xs_handle *xs, const char *back, const char *devid, const char *name)
{
	return !name || !strcmp(name, devid) || key_is(xs, back, "dev", name);
}

/* Look at one device. 0: it is the one, and ready. -EAGAIN: it is, and not ready. -ENOENT: another. -EPROTO. */
static int disk_look(struct xs_handle *xs, const char *front, const char *devid, const char *name,
		     struct gm_guest_disk *out)
{
	uint64_t backend = 0, base = 0, irq = 0, id = 0, state = 0;
	char *back = read_key(xs, front, "backend"), *end;
	int err;

	if (!back || !name_is(xs, back, devid, name)) {
		free(back);
		return -ENOENT;
	}
	id = strtoul(devid, &end, 10);
	err = *end || id > UINT_MAX ? -EPROTO : read_number(xs, front, "backend-id", 0x7fef, &backend);
	if (!err)
		err = read_number(xs, back, "state", 6, &state);
	if (err == -ENOENT || (!err && (state < STATE_INITWAIT || state >= STATE_CLOSING)))
		err = -EAGAIN;
	if (!err) {
		err = read_number(xs, back, "base", UINT64_MAX, &base);
		if (!err)
			err = read_number(xs, back, "irq", 1019, &irq);
		if (err == -ENOENT)
			err = -EPROTO; /* a backend that is ready has both */
	}
	free(back);
	*out = (struct gm_guest_disk){
		.backend = (uint16_t)backend, .base = base, .irq = (unsigned)irq, .devid = (unsigned)id};
	if (snprintf(out->front, sizeof(out->front), "%s", front) >= (int)sizeof(out->front))
		return -EPROTO;
	return err;
}

/* Devices that are not asked for are passed over. The first one that is asked for decides, ready or not. */
static int dir_look(struct xs_handle *xs, const char *dir, const char *name, struct gm_guest_disk *out)
{
	unsigned n = 0;
	char **ids = xs_directory(xs, XBT_NULL, dir, &n);
	int err = -ENOENT;

	for (unsigned i = 0; i < n && err == -ENOENT; i++) {
		char *front;

		if (asprintf(&front, "%s/%s", dir, ids[i]) < 0)
			err = -ENOMEM;
		else
			err = disk_look(xs, front, ids[i], name, out);
		if (err != -ENOMEM)
			free(front);
	}
	free(ids);
	return err;
}

/* Be told of every change of the backend of each device; those we do not yet know come by the watch on the devices. */
static void watch_backends(struct xs_handle *xs, const char *dir)
{
	unsigned n = 0;
	char **ids = xs_directory(xs, XBT_NULL, dir, &n);

	for (unsigned i = 0; i < n; i++) {
		char *front, *back;

		if (asprintf(&front, "%s/%s", dir, ids[i]) < 0)
			continue;
		back = read_key(xs, front, "backend");
		if (back)
			xs_watch(xs, back, "backend"); /* again and again: EEXIST is fine */
		free(back);
		free(front);
	}
	free(ids);
}

int gm_guest_store_wait(struct xs_handle *store, int timeout_ms)
{
	int64_t deadline = timeout_ms < 0 ? -1 : gm_now_ms() + timeout_ms;
	struct pollfd pfd = {.fd = xs_fileno(store), .events = POLLIN};
	char **event;
	int n;

	do
		n = poll(&pfd, 1, gm_left_ms(deadline));
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return -ETIMEDOUT;
	while ((event = xs_check_watch(store)))
		free(event);
	return errno == EAGAIN ? 0 : -EPIPE;
}

/* The watches are set before the first look, so that no change between the look and the wait is missed. */
static int disk_find(struct xs_handle *xs, const char *name, int64_t deadline, struct gm_guest_disk *out)
{
	size_t dirs = sizeof(device_dirs) / sizeof(*device_dirs);
	int err;

	for (size_t i = 0; i < dirs; i++)
		if (!xs_watch(xs, device_dirs[i], "device"))
			return -errno;
	for (;;) {
		int found = -ENOENT;

		for (size_t i = 0; i < dirs && found == -ENOENT; i++) {
			watch_backends(xs, device_dirs[i]);
			found = dir_look(xs, device_dirs[i], name, out);
		}
		if (found != -ENOENT && found != -EAGAIN)
			return found;
		err = gm_guest_store_wait(xs, gm_left_ms(deadline));
		if (err)
			return err == -ETIMEDOUT && found == -ENOENT ? -ENOENT : err;
	}
}

int gm_guest_find_disk(struct gm_guest *guest, const char *name, int timeout_ms, struct gm_guest_disk *out)
{
	int64_t deadline = timeout_ms < 0 ? -1 : gm_now_ms() + timeout_ms;
	struct xs_handle *xs = gm_guest_store(guest);
	int err;

	if (!xs)
		return -ENOENT; /* no store, so no disk */
	err = disk_find(xs, name, deadline, out);
	xs_close(xs);
	return err;
}
