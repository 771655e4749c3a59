/* SPDX-License-Identifier: MIT */
/* What xl does, and guests. Keys and permissions as xl 4.20 writes them on Arm. */
#include "tests/host/host.h"
#include "tests/host/host_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GUEST_RAM (32u * TH_MIB)

/* Paths of images, until the test ends; one test at a time. */
static char *images[64];
static unsigned image_count;

void th_toolstack_exit(struct th_host *host)
{
	(void)host;
	while (image_count)
		free(images[--image_count]);
}

const char *th_image(struct th_host *host, const char *name, uint64_t size)
{
	char *path;
	int fd;

	assert_true(image_count < sizeof(images) / sizeof(images[0]));
	assert_true(asprintf(&path, "%s/%s", host->files, name) > 0);
	images[image_count++] = path;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
	return path;
}

/* ---- domains ------------------------------------------------------------------------------------------------ */

/* Owned by `owner`, to be read by `reader`. */
static void node_dir(struct th_host *host, xs_transaction_t transaction, const char *path, uint16_t owner,
		     uint16_t reader)
{
	struct xs_permissions permissions[] = {{.id = owner, .perms = XS_PERM_NONE},
					       {.id = reader, .perms = XS_PERM_READ}};

	assert_true(xs_mkdir(host->xs, transaction, path));
	assert_true(xs_set_permissions(host->xs, transaction, path, permissions, 2));
}

static void node_write(struct th_host *host, xs_transaction_t transaction, const char *dir, const char *key,
		       const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, key);
	assert_true(xs_write(host->xs, transaction, path, value, (unsigned)strlen(value)));
}

void th_domain_create(struct th_host *host, uint16_t domid)
{
	th_domain_make(host, domid, 2);
}

void th_domain_make(struct th_host *host, uint16_t domid, unsigned vcpus)
{
	struct gm_domain_config config = {.domid = domid, .ram_bytes = GUEST_RAM, .vcpus = vcpus};
	uint16_t made;

	assert_int_equal(gm_domain_create(host->machine, &config, &made), 0);
	assert_int_equal(made, domid);
	th_domain_introduce(host, domid);
}

void th_domain_introduce(struct th_host *host, uint16_t domid)
{
	char path[64];

	snprintf(path, sizeof(path), "/local/domain/%u", domid);
	node_dir(host, XBT_NULL, path, 0, domid);
	snprintf(path, sizeof(path), "/local/domain/%u/device", domid);
	node_dir(host, XBT_NULL, path, 0, domid);
	assert_true(xs_introduce_domain(host->xs, domid, 1, 1));
}

void th_domain_destroy(struct th_host *host, uint16_t domid)
{
	char path[64];

	assert_int_equal(gm_domain_destroy(host->machine, domid), 0);
	assert_true(xs_release_domain(host->xs, domid));
	snprintf(path, sizeof(path), "/local/domain/0/backend/virtio_disk/%u", domid);
	xs_rm(host->xs, XBT_NULL, path); /* none, when it had no disk */
	snprintf(path, sizeof(path), "/local/domain/%u", domid);
	xs_rm(host->xs, XBT_NULL, path);
}

/* ---- disks -------------------------------------------------------------------------------------------------- */

struct paths {
	char backend[80], frontend[80];
};

static struct paths disk_paths(uint16_t domid, unsigned index)
{
	struct paths paths;

	snprintf(paths.backend, sizeof(paths.backend), "/local/domain/0/backend/virtio_disk/%u/%u", domid,
		 51712 + 16 * index);
	snprintf(paths.frontend, sizeof(paths.frontend), "/local/domain/%u/device/virtio_disk/%u", domid,
		 51712 + 16 * index);
	return paths;
}

struct value {
	const char *key;
	char value[96];
};

static void backend_write(struct th_host *host, xs_transaction_t transaction, const char *dir,
			  const struct value *values, const struct th_key *keys)
{
	const struct th_key *other;

	for (; values->key; values++) {
		for (other = keys; other && other->key && strcmp(other->key, values->key);)
			other++;
		if (!other || !other->key)
			node_write(host, transaction, dir, values->key, values->value);
	}
	for (other = keys; other && other->key; other++)
		if (other->value)
			node_write(host, transaction, dir, other->key, other->value);
}

void th_disk_write(struct th_host *host, uint16_t domid, unsigned index, const char *image, const struct th_key *keys)
{
	struct paths paths = disk_paths(domid, index);
	struct value values[] = {
		{"frontend", ""},
		{"params", ""},
		{"frontend-id", ""},
		{"online", "1"},
		{"removable", "0"},
		{"bootable", "1"},
		{"state", "1"},
		{"dev", ""},
		{"type", "standalone"},
		{"mode", "w"},
		{"device-type", "disk"},
		{"discard-enable", "1"},
		{"specification", "virtio"},
		{"transport", "mmio"},
		{"base", ""},
		{"irq", ""},
		{"grant_usage", "1"},
		{NULL, ""},
	};
	xs_transaction_t transaction = xs_transaction_start(host->xs);

	snprintf(values[0].value, sizeof(values[0].value), "%s", paths.frontend);
	snprintf(values[1].value, sizeof(values[1].value), "%s", image);
	snprintf(values[2].value, sizeof(values[2].value), "%u", domid);
	snprintf(values[7].value, sizeof(values[7].value), "xvd%c", 'a' + (int)index);
	snprintf(values[14].value, sizeof(values[14].value), "%u", 0x2000000 + 0x200 * index);
	snprintf(values[15].value, sizeof(values[15].value), "%u", 33 + index);
	assert_true(transaction != XBT_NULL);
	node_dir(host, transaction, paths.frontend, domid, 0);
	node_write(host, transaction, paths.frontend, "backend", paths.backend);
	node_write(host, transaction, paths.frontend, "backend-id", "0");
	node_write(host, transaction, paths.frontend, "state", "1");
	node_write(host, transaction, paths.frontend, "device-type", "disk");
	node_write(host, transaction, paths.frontend, "virtual-device", strrchr(paths.frontend, '/') + 1);
	node_dir(host, transaction, paths.backend, 0, domid);
	backend_write(host, transaction, paths.backend, values, keys);
	assert_true(xs_transaction_end(host->xs, transaction, false));
}

void th_disk_key(struct th_host *host, uint16_t domid, unsigned index, const char *key, const char *value)
{
	struct paths paths = disk_paths(domid, index);
	char path[128];

	if (value) {
		node_write(host, XBT_NULL, paths.backend, key, value);
		return;
	}
	snprintf(path, sizeof(path), "%s/%s", paths.backend, key);
	assert_true(xs_rm(host->xs, XBT_NULL, path));
}

char *th_disk_read(struct th_host *host, uint16_t domid, unsigned index, const char *key)
{
	struct paths paths = disk_paths(domid, index);
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", paths.backend, key);
	return xs_read(host->xs, XBT_NULL, path, NULL);
}

char *th_store_read(struct th_host *host, const char *path)
{
	return xs_read(host->xs, XBT_NULL, path, NULL);
}

static void events_drop(struct th_host *host)
{
	char **event;

	while ((event = xs_check_watch(host->xs)))
		free(event);
}

void th_store_wait(struct th_host *host, const char *path, const char *value)
{
	struct pollfd fd = {.fd = xs_fileno(host->xs), .events = POLLIN};
	int64_t end = th_now_ms() + TH_SECONDS * 1000;
	char *now;

	assert_true(xs_watch(host->xs, path, "value"));
	while (!(now = th_store_read(host, path)) || strcmp(now, value) != 0) {
		if (th_now_ms() > end)
			fail_msg("%s is %s, and not %s after %d s", path, now ? now : "missing", value, TH_SECONDS);
		free(now);
		poll(&fd, 1, (int)(end - th_now_ms()));
		events_drop(host);
	}
	free(now);
	xs_unwatch(host->xs, path, "value");
}

static bool state_is(struct th_host *host, uint16_t domid, unsigned index, unsigned state)
{
	char *value = th_disk_read(host, domid, index, "state");
	bool is = value && strtoul(value, NULL, 10) == state;

	free(value);
	return is;
}

void th_disk_wait(struct th_host *host, uint16_t domid, unsigned index, unsigned state)
{
	struct paths paths = disk_paths(domid, index);
	struct pollfd fd = {.fd = xs_fileno(host->xs), .events = POLLIN};
	int64_t end = th_now_ms() + TH_SECONDS * 1000;
	bool is;

	assert_true(xs_watch(host->xs, paths.backend, "wait"));
	while (!(is = state_is(host, domid, index, state)) && th_now_ms() < end) {
		poll(&fd, 1, (int)(end - th_now_ms()));
		events_drop(host);
	}
	xs_unwatch(host->xs, paths.backend, "wait");
	if (!is)
		fail_msg("domain %u, disk %u: no state %u within %d s", domid, index, state, TH_SECONDS);
}

bool th_disk_verdict(struct th_host *host, uint16_t domid, unsigned index)
{
	struct paths paths = disk_paths(domid, index);
	struct pollfd fd = {.fd = xs_fileno(host->xs), .events = POLLIN};
	bool served = false, refused = false;
	char error[128], *reason;

	snprintf(error, sizeof(error), "/local/domain/0/error/%s/error", strstr(paths.backend, "backend/"));
	assert_true(xs_watch(host->xs, paths.backend, "verdict") && xs_watch(host->xs, error, "verdict"));
	while (!served && !refused) {
		assert_int_equal(poll(&fd, 1, TH_SECONDS * 1000), 1);
		events_drop(host);
		served = state_is(host, domid, index, 2);
		reason = th_store_read(host, error);
		refused = reason && *reason;
		free(reason);
	}
	xs_unwatch(host->xs, paths.backend, "verdict");
	xs_unwatch(host->xs, error, "verdict");
	return served;
}

void th_disk_attach(struct th_host *host, uint16_t domid, unsigned index, const char *image)
{
	th_disk_write(host, domid, index, image, NULL);
	th_disk_wait(host, domid, index, 2);
}

void th_disk_remove(struct th_host *host, uint16_t domid, unsigned index)
{
	struct paths paths = disk_paths(domid, index);

	assert_true(xs_rm(host->xs, XBT_NULL, paths.backend));
	assert_true(xs_rm(host->xs, XBT_NULL, paths.frontend));
}

/* As libxl: grantiod writes the same key, so that the transaction may have to be tried again. */
static void removal_write(struct th_host *host, const char *backend)
{
	bool done = false;

	for (unsigned i = 0; i < 100 && !done; i++) {
		xs_transaction_t transaction = xs_transaction_start(host->xs);

		assert_true(transaction != XBT_NULL);
		node_write(host, transaction, backend, "online", "0");
		node_write(host, transaction, backend, "state", "5");
		done = xs_transaction_end(host->xs, transaction, false);
		assert_true(done || errno == EAGAIN);
	}
	assert_true(done);
}

void th_disk_detach(struct th_host *host, uint16_t domid, unsigned index)
{
	removal_write(host, disk_paths(domid, index).backend);
	th_disk_wait(host, domid, index, 6);
	th_disk_remove(host, domid, index);
}

/* ---- guests ------------------------------------------------------------------------------------------------- */

/* libxenstore finds a socket by the environment only. */
struct xs_handle *th_store_connect(struct th_host *host, uint16_t domid)
{
	struct xs_handle *xs;
	char path[96];

	snprintf(path, sizeof(path), "%s/store.%u", host->dir, domid);
	setenv("XENSTORED_PATH", path, 1);
	xs = xs_open(0);
	snprintf(path, sizeof(path), "%s/store", host->dir);
	setenv("XENSTORED_PATH", path, 1);
	assert_non_null(xs);
	return xs;
}

struct gp_disk *th_guest_open(struct th_host *host, uint16_t domid, unsigned index)
{
	char name[] = {'x', 'v', 'd', (char)('a' + (int)index), '\0'}, error[256];
	struct gp_disk_config config = {.machine = host->dir,
					.domid = domid,
					.name = name,
					.buffers = 4,
					.wait_ms = TH_SECONDS * 1000,
					.timeout_ms = TH_SECONDS * 1000};
	struct gp_disk *disk;

	if (gp_disk_open(&disk, &config, error, sizeof(error)))
		fail_msg("%s", error);
	return disk;
}

void th_guest_close(struct gp_disk *disk)
{
	struct gp_disk_leaks leaks;
	int err = gp_disk_close(disk, &leaks);

	if (err)
		fail_msg("the guest leaks: %u grants, %u of them held, %zu pages", leaks.grants, leaks.held,
			 leaks.pages);
}

void th_guest_check(struct gp_disk *disk, const char *image, uint64_t offset, size_t bytes, unsigned seed)
{
	uint8_t *wrote = malloc(bytes), *read_back = malloc(bytes);
	int fd = open(image, O_RDONLY | O_CLOEXEC);

	assert_true(wrote && read_back && fd >= 0);
	for (size_t i = 0; i < bytes; i++)
		wrote[i] = (uint8_t)((i * 2654435761u + seed * 40503u) >> 7);
	assert_int_equal(gp_disk_write(disk, wrote, offset, bytes), 0);
	assert_int_equal(gp_disk_flush(disk), 0);
	assert_int_equal(gp_disk_read(disk, read_back, offset, bytes), 0);
	assert_memory_equal(read_back, wrote, bytes);
	memset(read_back, 0, bytes);
	assert_int_equal(pread(fd, read_back, bytes, (off_t)offset), (ssize_t)bytes);
	assert_memory_equal(read_back, wrote, bytes);
	close(fd);
	free(read_back);
	free(wrote);
}
