/* SPDX-License-Identifier: MIT */
/*
 * Virtio disks in xenstore: where they are, how they are written, closed and removed; the same for random numbers. The
 * keys and their order are xl's (recordings in tests/unit/cli/fixtures), so that any backend which serves xl's disks
 * serves these. Each change is one transaction: a backend never sees half of a disk.
 */
#include "cli/disk/disk.h"

#include "cli/domain.h"
#include "cli/vdev.h"

#include <abi/virtio.h>
#include <abi/virtio_mmio.h>
#include <abi/xen.h>
#include <abi/xenbus.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

/* The interrupts that xl has for virtio-mmio devices of an Arm guest (xen/public/arch-arm.h: GUEST_VIRTIO_MMIO_*). */
#define SPI_FIRST 33u
#define SPI_LAST  43u
#define SLOTS	  (SPI_LAST - SPI_FIRST + 1)

/* The three directories that libxl makes for each device. The last one is dom0's alone, so it is what is believed. */
void gc_disk_paths(const struct gc_disk *disk, struct gc_disk_paths *paths)
{
	snprintf(paths->backend, GC_PATH_MAX, "/local/domain/%u/backend/%s/%u/%" PRIu32, disk->backend, disk->class,
		 disk->domid, disk->devid);
	snprintf(paths->frontend, GC_PATH_MAX, "/local/domain/%u/device/%s/%" PRIu32, disk->domid, disk->class,
		 disk->devid);
	snprintf(paths->libxl, GC_PATH_MAX, "/libxl/%u/device/%s/%" PRIu32, disk->domid, disk->class, disk->devid);
}

/* Outside of the device's directories, so that the reason outlives them: `disk attach` reads it when they go. */
void gc_disk_error_path(const struct gc_disk *disk, char path[GC_PATH_MAX])
{
	snprintf(path, GC_PATH_MAX, "/local/domain/%u/error/backend/%s/%u/%" PRIu32 "/error", disk->backend,
		 disk->class, disk->domid, disk->devid);
}

/* ---- what is taken ---- */

static uint64_t tx_number(struct gc_tx *tx, const char *dir, const char *key)
{
	char path[GC_PATH_MAX + 16], *value;
	uint64_t number;

	snprintf(path, sizeof(path), "%s/%s", dir, key);
	value = gc_tx_read(tx, path);
	number = value ? strtoull(value, NULL, 0) : 0; /* decimal for virtio_disk, hexadecimal for virtio */
	free(value);
	return number;
}

/* Mark the slots that the domain's devices of one class take. */
static void slots_mark(struct gc_tx *tx, unsigned domid, const char *class, bool taken[SLOTS])
{
	char dir[GC_PATH_MAX], device[GC_PATH_MAX];
	unsigned count;
	char **names;

	snprintf(dir, sizeof(dir), "/libxl/%u/device/%s", domid, class);
	names = gc_tx_list(tx, dir, &count);
	for (unsigned i = 0; i < count; i++) {
		uint64_t base, irq;

		if ((size_t)snprintf(device, sizeof(device), "%s/%s", dir, names[i]) >= sizeof(device))
			continue; /* none of xl's: its names are numbers */
		base = (tx_number(tx, device, "base") - GIO_ARM_MMIO_BASE) / GIO_VIRTIO_MMIO_BYTES;
		irq = tx_number(tx, device, "irq") - SPI_FIRST;
		if (base < SLOTS)
			taken[base] = true;
		if (irq < SLOTS)
			taken[irq] = true;
	}
	free(names);
}

/* Base and interrupt number of a slot belong together, as libxl has them: a slot is free if both are. */
static void slot_choose(struct gc_tx *tx, struct gc_disk *disk)
{
	bool taken[SLOTS] = {false};

	slots_mark(tx, disk->domid, "virtio_disk", taken);
	slots_mark(tx, disk->domid, "virtio", taken);
	for (unsigned i = 0; i < SLOTS; i++) {
		if (!taken[i]) {
			disk->base = GIO_ARM_MMIO_BASE + i * GIO_VIRTIO_MMIO_BYTES;
			disk->irq = SPI_FIRST + i;
			return;
		}
	}
	gc_tx_fail(tx, -ENOSPC);
}

/* By the kernel's machine name: grantio may be a 32-bit program on a 64-bit host. */
static bool host_is_arm(void)
{
	struct utsname uts;

	return !uname(&uts) && (strncmp(uts.machine, "aarch64", 7) == 0 || strncmp(uts.machine, "arm", 3) == 0);
}

/*
 * Does xl place the domain's devices, as on Arm, or does the backend, as on x86? A guest has the architecture of its
 * host. Only the model keeps an architecture for each of its domains (cli/domain.c).
 */
static bool is_placed(struct gc_tx *tx, unsigned domid)
{
	char path[GC_PATH_MAX], *arch;
	bool arm;

	snprintf(path, sizeof(path), "/libxl/%u/" GC_DOMAIN_ARCH, domid);
	arch = gc_tx_read(tx, path);
	arm = arch ? strcmp(arch, "arm") == 0 : host_is_arm();
	free(arch);
	return arm;
}

/* Base and irq stay 0 if the backend chooses the place (docs/xenbus.md). Such a guest always grants. */
static void place_choose(struct gc_tx *tx, struct gc_disk *disk)
{
	disk->base = 0;
	disk->irq = 0;
	disk->placed = is_placed(tx, disk->domid);
	if (disk->placed)
		slot_choose(tx, disk);
	else if (!disk->grants)
		gc_tx_fail(tx, -EOPNOTSUPP);
}

/* Devices of xl's `virtio` list are numbered from 0. They are called as grantiod calls them. */
static void number_choose(struct gc_tx *tx, struct gc_disk *disk)
{
	struct gc_disk_paths paths;

	for (disk->devid = 0; disk->devid < GC_DISK_NUMBERS && !tx->error; disk->devid++) {
		snprintf(disk->name, sizeof(disk->name), "virtio%" PRIu32, disk->devid);
		gc_disk_paths(disk, &paths);
		if (!gc_tx_exists(tx, paths.libxl))
			return;
	}
	gc_tx_fail(tx, -ENOSPC);
}

/* The first name, xvda to xvdz, that the domain has no disk of. */
static void name_choose(struct gc_tx *tx, struct gc_disk *disk)
{
	struct gc_disk_paths paths;

	for (char letter = 'a'; letter <= 'z' && !tx->error; letter++) {
		snprintf(disk->name, sizeof(disk->name), "xvd%c", letter);
		gc_vdev_parse(disk->name, &disk->devid); /* cannot fail: a valid name */
		gc_disk_paths(disk, &paths);
		if (!gc_tx_exists(tx, paths.libxl))
			return;
	}
	gc_tx_fail(tx, -ENOSPC);
}

/* ---- writing ---- */

/* The keys that both the backend's and libxl's directory have, in xl's order. */
static void keys_write(struct gc_tx *tx, const struct gc_disk *disk, const char *dir)
{
	gc_tx_key(tx, dir, "params", "%s", disk->target);
	gc_tx_key(tx, dir, "frontend-id", "%u", disk->domid);
	gc_tx_key(tx, dir, "online", "1");
	gc_tx_key(tx, dir, "removable", "0");
	gc_tx_key(tx, dir, "bootable", "1");
	gc_tx_key(tx, dir, "state", "1");
	gc_tx_key(tx, dir, "dev", "%s", disk->name);
	gc_tx_key(tx, dir, "type", "standalone");
	gc_tx_key(tx, dir, "mode", "%s", disk->readonly ? "r" : "w");
	gc_tx_key(tx, dir, "device-type", "disk");
	if (disk->direct_io_safe)
		gc_tx_key(tx, dir, "direct-io-safe", "1");
	if (disk->raw)
		gc_tx_key(tx, dir, "grantio-format", "raw");
	gc_tx_key(tx, dir, "discard-enable", "%d", disk->discard);
	gc_tx_key(tx, dir, "specification", "virtio");
	gc_tx_key(tx, dir, GIO_XENBUS_KEY_TRANSPORT, GIO_XENBUS_TRANSPORT_MMIO);
	gc_tx_key(tx, dir, "base", "%" PRIu64, disk->base);
	gc_tx_key(tx, dir, "irq", "%u", disk->irq);
	if (disk->placed) /* where the backend does it, the guest says itself that it grants */
		gc_tx_key(tx, dir, "grant_usage", "%d", disk->grants);
}

/* The same for a device of xl's `virtio` list. xl writes this base in hexadecimal, but 0 as a single digit. */
static void rng_keys_write(struct gc_tx *tx, const struct gc_disk *disk, const char *dir)
{
	gc_tx_key(tx, dir, "frontend-id", "%u", disk->domid);
	gc_tx_key(tx, dir, "online", "1");
	gc_tx_key(tx, dir, "state", "1");
	gc_tx_key(tx, dir, "irq", "%u", disk->irq);
	gc_tx_key(tx, dir, "base", "%#" PRIx64, disk->base);
	gc_tx_key(tx, dir, GIO_XENBUS_KEY_TYPE, GIO_XENBUS_TYPE "%" PRIx32, disk->type);
	gc_tx_key(tx, dir, GIO_XENBUS_KEY_TRANSPORT, GIO_XENBUS_TRANSPORT_MMIO);
	gc_tx_key(tx, dir, "grant_usage", "%d", disk->grants);
}

/* Owned by the guest, as with xl: its frontend writes its state there. All keys are xl's, but for `type`. */
static void frontend_write(struct gc_tx *tx, const struct gc_disk *disk, const struct gc_disk_paths *paths)
{
	gc_tx_dir(tx, paths->frontend, disk->domid, disk->backend);
	gc_tx_key(tx, paths->frontend, "backend", "%s", paths->backend);
	gc_tx_key(tx, paths->frontend, "backend-id", "%u", disk->backend);
	gc_tx_key(tx, paths->frontend, "state", "1");
	if (disk->type == GIO_VIRTIO_ID_RNG) { /* the guest believes the type only here: docs/xenbus.md */
		gc_tx_key(tx, paths->frontend, GIO_XENBUS_KEY_TYPE, GIO_XENBUS_TYPE "%" PRIx32, disk->type);
		return;
	}
	gc_tx_key(tx, paths->frontend, "virtual-device", "%" PRIu32, disk->devid);
	gc_tx_key(tx, paths->frontend, "device-type", "disk");
	gc_tx_key(tx, paths->frontend, "trusted", "1");
}

/* A directory in /local/domain is made and removed by the toolstack only. */
static bool domain_exists(struct gc_tx *tx, unsigned domid)
{
	char path[GC_PATH_MAX];

	snprintf(path, sizeof(path), "/local/domain/%u", domid);
	return gc_tx_exists(tx, path);
}

/* What a transaction's function gets: it may be run again, and must then choose again. */
struct write_job {
	struct gc_disk *disk;
	bool choose; /* the name too */
};

/*
 * The function may run several times, until its transaction is committed: all that it chooses is chosen anew each time.
 */
static void disk_write(struct gc_tx *tx, void *arg)
{
	const struct write_job *job = arg;
	struct gc_disk *disk = job->disk;
	bool rng = disk->type == GIO_VIRTIO_ID_RNG;
	struct gc_disk_paths paths;
	char error[GC_PATH_MAX];

	if (!domain_exists(tx, disk->domid) || !domain_exists(tx, disk->backend))
		gc_tx_fail(tx, -ENODEV);
	if (job->choose && rng)
		number_choose(tx, disk);
	else if (job->choose)
		name_choose(tx, disk);
	place_choose(tx, disk);
	gc_disk_paths(disk, &paths);
	if (gc_tx_exists(tx, paths.libxl))
		gc_tx_fail(tx, -EEXIST);
	gc_tx_dir(tx, paths.libxl, 0, 0);
	gc_tx_key(tx, paths.libxl, "frontend", "%s", paths.frontend);
	gc_tx_key(tx, paths.libxl, "backend", "%s", paths.backend);
	frontend_write(tx, disk, &paths);
	gc_disk_error_path(disk, error);
	gc_tx_rm(tx, error); /* of an earlier disk */
	gc_tx_dir(tx, paths.backend, disk->backend, disk->domid);
	gc_tx_key(tx, paths.backend, "frontend", "%s", paths.frontend);
	(rng ? rng_keys_write : keys_write)(tx, disk, paths.backend);
	(rng ? rng_keys_write : keys_write)(tx, disk, paths.libxl);
}

/*
 * An empty name asks for a free one: it is chosen within the transaction, so that two commands do not choose the same.
 */
int gc_disk_write(struct xs_handle *xs, struct gc_disk *disk)
{
	struct write_job job = {.disk = disk, .choose = !disk->name[0]};

	return gc_store_transact(xs, disk_write, &job);
}

/* ---- closing and removing ---- */

/* A backend whose state is Closed already must not be set to Closing again: it would not answer twice. */
static void disk_close(struct gc_tx *tx, void *arg)
{
	const struct gc_disk *disk = arg;
	struct gc_disk_paths paths;
	char path[GC_PATH_MAX + 16], *state;

	gc_disk_paths(disk, &paths);
	snprintf(path, sizeof(path), "%s/state", paths.backend);
	state = gc_tx_read(tx, path);
	if (!state)
		return; /* the backend's directory is gone: it is closed */
	gc_tx_key(tx, paths.backend, "online", "0");
	if (strcmp(state, "6") != 0)
		gc_tx_write(tx, path, "5");
	free(state);
}

/* State 0 means that the directory is gone: somebody else has removed the disk meanwhile. */
static bool is_closed(unsigned state)
{
	return state == 6 || state == 0;
}

int gc_disk_close(struct xs_handle *xs, const struct gc_disk *disk)
{
	struct gc_disk copy = *disk;

	return gc_store_transact(xs, disk_close, &copy);
}

/* No error node is looked for: a backend that closes has nothing to refuse. */
int gc_disk_wait_closed(struct xs_handle *xs, const struct gc_disk *disk, int wait_ms, unsigned *state)
{
	struct gc_disk_paths paths;
	char path[GC_PATH_MAX + 16];

	gc_disk_paths(disk, &paths);
	snprintf(path, sizeof(path), "%s/state", paths.backend);
	return gc_store_state_wait(xs, path, NULL, is_closed, wait_ms, state);
}

/* Empty directories above are removed as well, as libxl does, so that nothing of a disk is left in xenstore. */
static void disk_remove(struct gc_tx *tx, void *arg)
{
	const struct gc_disk *disk = arg;
	struct gc_disk_paths paths;
	char keep[64];

	gc_disk_paths(disk, &paths);
	snprintf(keep, sizeof(keep), "/local/domain/%u", disk->domid);
	gc_tx_remove(tx, paths.frontend, keep);
	snprintf(keep, sizeof(keep), "/local/domain/%u", disk->backend);
	gc_tx_remove(tx, paths.backend, keep);
	snprintf(keep, sizeof(keep), "/libxl/%u", disk->domid);
	gc_tx_remove(tx, paths.libxl, keep);
}

int gc_disk_remove(struct xs_handle *xs, const struct gc_disk *disk)
{
	struct gc_disk copy = *disk;

	return gc_store_transact(xs, disk_remove, &copy);
}

/* The number comes from the other domain, and may be any. */
const char *gc_disk_state_name(unsigned state)
{
	static const char *const names[] = {"-",	 "Initialising", "InitWait", "Initialised",
					    "Connected", "Closing",	 "Closed"}; /* enum xenbus_state */

	return state < sizeof(names) / sizeof(*names) ? names[state] : "?";
}
