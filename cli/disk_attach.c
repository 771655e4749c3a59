/* SPDX-License-Identifier: MIT */
/* grantio disk attach, detach: what xl does with a disk of specification=virtio. */
#include "cli/disk.h"

#include "cli/vdev.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOMID_MOST 0x7fef

/* ---- attach ---- */

enum { VDEV, MODE, BACKEND, NO_GRANTS, NO_DISCARD, DIRECT_IO_SAFE, NO_WAIT, MACHINE };

static const struct gc_option attach_options[] = {
	[VDEV] = {"vdev", "NAME", "the disk's name in the guest (xvda ...); default: the first that is free"},
	[MODE] = {"mode", "w|r", "writable (default) or read-only"},
	[BACKEND] = {"backend", "DOMID", "the domain that serves it; default 0"},
	[NO_GRANTS] = {"no-grants", NULL, "the guest shares all its memory instead (grant_usage=0)"},
	[NO_DISCARD] = {"no-discard", NULL, "no discard; read-only disks have none anyway"},
	[DIRECT_IO_SAFE] = {"direct-io-safe", NULL, "tell the backend that it may use O_DIRECT"},
	[NO_WAIT] = {"no-wait", NULL, "do not wait until the backend is ready"},
	[MACHINE] = {"machine", "DIR", "the machine; default $GRANTIO_MACHINE"},
	{0},
};

static bool target_check(const char *target)
{
	if (target[0] != '/' && !strstr(target, "://"))
		gc_usage("target '%s': neither an absolute path nor a URI", target);
	else if (strlen(target) > GC_DISK_TARGET_MAX)
		gc_usage("target: longer than %d bytes", GC_DISK_TARGET_MAX);
	else
		return true;
	return false;
}

static bool vdev_check(const char *vdev, struct gc_disk *disk)
{
	if (strlen(vdev) >= sizeof(disk->name) || gc_vdev_parse(vdev, &disk->devid)) {
		gc_usage("vdev '%s': not a disk's name (xvda, xvda1, hda, sda, d0p1, a number)", vdev);
		return false;
	}
	strcpy(disk->name, vdev);
	return true;
}

static bool attach_parse(int argc, char **argv, struct gc_args *args, struct gc_disk *disk)
{
	uint64_t domid, backend = 0;
	const char *mode;

	if (!gc_args_parse(args, attach_options, argc, argv, 2, 2))
		return false;
	mode = args->option[MODE] ? args->option[MODE] : "w";
	if (!gc_number("domain", args->arg[0], 1, DOMID_MOST, &domid) || !target_check(args->arg[1]))
		return false;
	if (args->option[BACKEND] && !gc_number("backend", args->option[BACKEND], 0, DOMID_MOST, &backend))
		return false;
	if (args->option[VDEV] && !vdev_check(args->option[VDEV], disk))
		return false;
	if (strcmp(mode, "w") != 0 && strcmp(mode, "r") != 0) {
		gc_usage("mode '%s': neither w nor r", mode);
		return false;
	}
	disk->domid = (unsigned)domid;
	disk->backend = (unsigned)backend;
	disk->target = args->arg[1];
	disk->readonly = *mode == 'r';
	disk->grants = !args->option[NO_GRANTS];
	disk->discard = !disk->readonly && !args->option[NO_DISCARD];
	disk->direct_io_safe = args->option[DIRECT_IO_SAFE] != NULL;
	return true;
}

static bool domain_known(struct xs_handle *xs, unsigned domid)
{
	char *value = gc_store_read(xs, "/local/domain/%u", domid);

	free(value);
	return value != NULL;
}

static int attach_failed(struct xs_handle *xs, const struct gc_disk *disk, int rc)
{
	switch (rc) {
	case -ENODEV:
		return gc_fail("domain %u: no such domain",
			       domain_known(xs, disk->domid) ? disk->backend : disk->domid);
	case -EEXIST:
		return gc_fail("vdev '%s': domain %u has device %" PRIu32 " already", disk->name, disk->domid,
			       disk->devid);
	case -ENOSPC:
		return disk->placed ? gc_fail("domain %u: no virtio-mmio device is free, there are 11", disk->domid)
				    : gc_fail("domain %u: no name from xvda to xvdz is free (see --vdev)", disk->domid);
	case -EOPNOTSUPP:
		return gc_fail("domain %u: a guest on x86 has its disks by grants, --no-grants is for Arm",
			       disk->domid);
	default:
		return gc_fail("domain %u, vdev '%s': xenstore: %s", disk->domid, disk->name, strerror(-rc));
	}
}

/* Ready, or about to go again. */
static bool is_answered(unsigned state)
{
	return state >= 2 || state == 0;
}

static int attach_wait(struct xs_handle *xs, const struct gc_disk *disk)
{
	struct gc_disk_paths paths;
	char path[GC_PATH_MAX + 16], error_path[GC_PATH_MAX], *error;
	unsigned state = 0;
	int rc;

	gc_disk_paths(disk, &paths);
	gc_disk_error_path(disk, error_path);
	snprintf(path, sizeof(path), "%s/state", paths.backend);
	rc = gc_store_state_wait(xs, path, error_path, is_answered, GC_DISK_WAIT_MS, &state);
	if (!rc && state >= 2 && state <= 4)
		return GC_OK;
	error = gc_store_read(xs, "%s", error_path);
	if (error)
		gc_fail("vdev '%s': refused by the backend: %s", disk->name, error);
	else if (!rc)
		gc_fail("vdev '%s': the backend in domain %u does not serve it, its state is %s", disk->name,
			disk->backend, gc_disk_state_name(state));
	else if (rc != -ETIMEDOUT)
		gc_fail("vdev '%s': xenstore: %s", disk->name, strerror(-rc));
	else
		gc_fail("vdev '%s': the backend in domain %u is not ready after %d s, its state is %s", disk->name,
			disk->backend, GC_DISK_WAIT_MS / 1000, gc_disk_state_name(state));
	free(error);
	gc_disk_remove(xs, disk); /* as if it had not been asked for */
	return GC_FAILED;
}

static int attach_run(int argc, char **argv)
{
	struct gc_disk disk = {.class = "virtio_disk"};
	struct xs_handle *xs;
	struct gc_args args;
	int rc;

	if (!attach_parse(argc, argv, &args, &disk))
		return GC_USAGE;
	xs = gc_store_open(args.option[MACHINE]);
	if (!xs)
		return GC_FAILED;
	rc = gc_disk_write(xs, &disk);
	if (rc)
		rc = attach_failed(xs, &disk, rc);
	else if (!args.option[NO_WAIT])
		rc = attach_wait(xs, &disk);
	if (rc == GC_OK)
		printf("%s\n", disk.name);
	xs_close(xs);
	return rc;
}

const struct gc_command gc_disk_attach_command = {
	.name = "attach",
	.summary = "Give a domain a virtio disk",
	.args = "DOMID TARGET",
	.options = attach_options,
	.details = "TARGET is an absolute path, or a URI that grantiod knows (nbd://..., nbd+unix://...).\n"
		   "Writes the keys that xl writes for specification=virtio, waits until the backend is ready, 10 s at "
		   "the\n"
		   "most, and prints the disk's name.\n",
	.run = attach_run,
};

/* ---- detach ---- */

enum { FORCE, DETACH_MACHINE };

static const struct gc_option detach_options[] = {
	[FORCE] = {"force", NULL, "do not wait for the backend"},
	[DETACH_MACHINE] = {"machine", "DIR", "the machine; default $GRANTIO_MACHINE"},
	{0},
};

static int detach(struct xs_handle *xs, const struct gc_disk *disk, bool force)
{
	unsigned state = 0;
	int rc = gc_disk_close(xs, disk);

	if (!rc && !force)
		rc = gc_disk_wait_closed(xs, disk, GC_DISK_WAIT_MS, &state);
	if (rc == -ETIMEDOUT)
		return gc_fail("vdev '%s': the backend in domain %u has not let go of it after %d s, its state is %s "
			       "(see --force)",
			       disk->name, disk->backend, GC_DISK_WAIT_MS / 1000, gc_disk_state_name(state));
	if (!rc)
		rc = gc_disk_remove(xs, disk);
	return rc ? gc_fail("vdev '%s': xenstore: %s", disk->name, strerror(-rc)) : GC_OK;
}

static int detach_run(int argc, char **argv)
{
	struct gc_disk disk = {.class = "virtio_disk"};
	struct xs_handle *xs;
	struct gc_args args;
	uint64_t domid;
	int rc;

	if (!gc_args_parse(&args, detach_options, argc, argv, 2, 2) ||
	    !gc_number("domain", args.arg[0], 1, DOMID_MOST, &domid) || !vdev_check(args.arg[1], &disk))
		return GC_USAGE;
	xs = gc_store_open(args.option[DETACH_MACHINE]);
	if (!xs)
		return GC_FAILED;
	if (gc_disk_find(xs, (unsigned)domid, disk.devid, &disk))
		rc = gc_fail("vdev '%s': domain %u has no such virtio disk", args.arg[1], (unsigned)domid);
	else
		rc = detach(xs, &disk, args.option[FORCE] != NULL);
	xs_close(xs);
	return rc;
}

const struct gc_command gc_disk_detach_command = {
	.name = "detach",
	.summary = "Take a virtio disk away",
	.args = "DOMID VDEV",
	.options = detach_options,
	.details =
		"VDEV is the disk's name or device number. Waits 10 s at the most until the backend lets go of it.\n",
	.run = detach_run,
};
