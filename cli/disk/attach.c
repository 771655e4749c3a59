/* SPDX-License-Identifier: MIT */
/*
 * grantio disk attach, detach: what xl does with a disk of specification=virtio, for a guest that runs, which xl itself
 * cannot do. Both wait for the backend, and leave nothing half done: a disk that is not served is removed again.
 */
#include "cli/disk/disk.h"

#include "cli/grantiod.h"
#include "cli/domain.h"
#include "cli/vdev.h"

#include <abi/virtio.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- attach ---- */

enum { VDEV, MODE, BACKEND, NO_GRANTS, NO_DISCARD, DIRECT_IO_SAFE, FORMAT, NO_WAIT, MACHINE };

static const struct gc_option attach_options[] = {
	[VDEV] = {"vdev", "NAME", "the disk's name in the guest (xvda ...); default: the first that is free"},
	[MODE] = {"mode", "w|r", "writable (default) or read-only"},
	[BACKEND] = {"backend", "DOMAIN", "the domain that serves it; default 0"},
	[NO_GRANTS] = {"no-grants", NULL, "the guest shares all its memory instead (grant_usage=0)"},
	[NO_DISCARD] = {"no-discard", NULL, "offer no discard; a read-only disk never offers it"},
	[DIRECT_IO_SAFE] = {"direct-io-safe", NULL, "write xl's key of that name; grantiod uses O_DIRECT in any case"},
	[FORMAT] = {"format", "raw", "the image is raw data, even if it looks like one of another format"},
	[NO_WAIT] = {"no-wait", NULL, "do not wait until the backend is ready"},
	[MACHINE] = {"machine", "DIR", "the machine; default $GRANTIO_MACHINE"},
	{0},
};

/*
 * A relative path is made absolute, since grantiod has another working directory. In another domain our working
 * directory does not exist.
 */
static bool target_take(struct gc_disk *disk, const char *target)
{
	static char whole[GC_DISK_TARGET_MAX + 1];
	char here[GC_DISK_TARGET_MAX + 1];
	int length;

	if (target[0] == '/' || strstr(target, "://"))
		length = snprintf(whole, sizeof(whole), "%s", target);
	else if (!target[0])
		return gc_usage("target '': neither a path nor a URI"), false;
	else if (disk->backend)
		return gc_usage("target '%s': must be an absolute path of domain %u, or a URI", target, disk->backend),
		       false;
	else if (!getcwd(here, sizeof(here)))
		return gc_usage("target '%s': the working directory: %s", target, strerror(errno)), false;
	else
		length = snprintf(whole, sizeof(whole), "%s/%s", strcmp(here, "/") == 0 ? "" : here,
				  target + (strncmp(target, "./", 2) == 0 ? 2 : 0));
	if (length < 0 || length > GC_DISK_TARGET_MAX)
		return gc_usage("target: longer than %d bytes", GC_DISK_TARGET_MAX), false;
	disk->target = whole;
	return true;
}

/* The name is kept as the administrator wrote it: it is what grantiod's messages and `disk list` show. */
static bool vdev_check(const char *vdev, struct gc_disk *disk)
{
	if (strlen(vdev) >= sizeof(disk->name) || gc_vdev_parse(vdev, &disk->devid)) {
		gc_usage("vdev '%s': not a disk's name (xvda, xvda1, hda, sda, d0p1, a number)", vdev);
		return false;
	}
	strcpy(disk->name, vdev);
	return true;
}

/* What can be refused by looking at the words alone is refused before xenstore is asked. */
static bool attach_parse(int argc, char **argv, struct gc_args *args, struct gc_disk *disk)
{
	const char *mode;

	if (!gc_args_parse(args, attach_options, argc, argv, 2, 2))
		return false;
	mode = args->option[MODE] ? args->option[MODE] : "w";
	if (args->option[VDEV] && !vdev_check(args->option[VDEV], disk))
		return false;
	if (strcmp(mode, "w") != 0 && strcmp(mode, "r") != 0) {
		gc_usage("mode '%s': neither w nor r", mode);
		return false;
	}
	if (args->option[FORMAT] && strcmp(args->option[FORMAT], "raw") != 0) {
		gc_usage(
			"format '%s': only raw is served; let qemu-nbd serve others, and name nbd+unix:///?socket=PATH",
			args->option[FORMAT]);
		return false;
	}
	disk->readonly = *mode == 'r';
	disk->grants = !args->option[NO_GRANTS];
	disk->discard = !disk->readonly && !args->option[NO_DISCARD];
	disk->direct_io_safe = args->option[DIRECT_IO_SAFE] != NULL;
	disk->raw = args->option[FORMAT] != NULL;
	return true;
}

/* The target is judged last: whether a relative path means anything depends on the backend's domain. */
static int attach_find(struct xs_handle *xs, const struct gc_args *args, struct gc_disk *disk)
{
	int rc = gc_domain_find(xs, "domain", args->arg[0], 1, &disk->domid);

	if (!rc && args->option[BACKEND])
		rc = gc_domain_find(xs, "backend", args->option[BACKEND], 0, &disk->backend);
	if (!rc && !target_take(disk, args->arg[1]))
		rc = GC_USAGE;
	return rc;
}

/* Each error of gc_disk_write() in words of its own: the number alone would not say which domain or name is meant. */
static int attach_failed(struct xs_handle *xs, const struct gc_disk *disk, int err)
{
	switch (err) {
	case -ENODEV:
		return gc_fail("domain %u: no such domain",
			       gc_domain_known(xs, disk->domid) ? disk->backend : disk->domid);
	case -EEXIST:
		return gc_fail("vdev '%s': domain %u has device %" PRIu32 " already", disk->name, disk->domid,
			       disk->devid);
	case -ENOSPC:
		if (disk->placed)
			return gc_fail("domain %u: no virtio-mmio device is free, there are 11", disk->domid);
		if (disk->type != GIO_VIRTIO_ID_BLOCK)
			return gc_fail("domain %u: it has %u devices of xl's virtio list already", disk->domid,
				       GC_DISK_NUMBERS);
		return gc_fail("domain %u: no name from xvda to xvdz is free (see --vdev)", disk->domid);
	case -EOPNOTSUPP:
		return gc_fail("domain %u: a guest on x86 has its disks by grants, --no-grants is for Arm",
			       disk->domid);
	default:
		return gc_fail("domain %u, vdev '%s': xenstore: %s", disk->domid, disk->name, strerror(-err));
	}
}

/* The handler only ends the wait; attach_wait() then removes what has been written for the disk. */
static void interrupt(int signal_number)
{
	(void)signal_number;
}

/* Without SA_RESTART, so that the wait in poll() ends; attach_wait() then removes the disk. */
static void interrupts_catch(void)
{
	const struct sigaction action = {.sa_handler = interrupt}; /* no SA_RESTART */

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

/* Ready, or about to go again. */
static bool is_answered(unsigned state)
{
	return state >= 2 || state == 0;
}

/* A disk that is not served is removed again. Its reason is read first, since it goes with the directories. */
static int attach_wait(struct xs_handle *xs, const struct gc_disk *disk)
{
	struct gc_disk_paths paths;
	char path[GC_PATH_MAX + 16], error_path[GC_PATH_MAX], *error;
	unsigned state = 0;
	int err;

	gc_disk_paths(disk, &paths);
	gc_disk_error_path(disk, error_path);
	snprintf(path, sizeof(path), "%s/state", paths.backend);
	err = gc_store_state_wait(xs, path, error_path, is_answered, GC_DISK_WAIT_MS, &state);
	if (!err && state >= 2 && state <= 4)
		return GC_OK;
	error = gc_store_read(xs, "%s", error_path);
	if (error)
		gc_fail("vdev '%s': refused by the backend: %s", disk->name, error);
	else if (!err)
		gc_fail("vdev '%s': the backend in domain %u does not serve it, its state is %s", disk->name,
			disk->backend, gc_disk_state_name(state));
	else if (err == -EINTR)
		gc_fail("vdev '%s': interrupted, and removed", disk->name);
	else if (err != -ETIMEDOUT)
		gc_fail("vdev '%s': xenstore: %s", disk->name, strerror(-err));
	else
		gc_fail("vdev '%s': the backend in domain %u is not ready after %d s, its state is %s: "
			"does grantiod run there?",
			disk->name, disk->backend, GC_DISK_WAIT_MS / 1000, gc_disk_state_name(state));
	free(error);
	gc_disk_remove(xs, disk); /* as if it had not been asked for */
	return GC_FAILED;
}

/* The name is printed last, on standard output alone: scripts use it. */
int gc_disk_attach(struct xs_handle *xs, struct gc_disk *disk, bool wait)
{
	int rc = GC_OK, err;

	if (wait)
		interrupts_catch();
	err = gc_disk_write(xs, disk);
	if (err)
		return attach_failed(xs, disk, err);
	if (wait)
		rc = attach_wait(xs, disk);
	if (rc == GC_OK)
		printf("%s\n", disk->name);
	return rc;
}

static int attach_run(int argc, char **argv)
{
	struct gc_disk disk = {.class = "virtio_disk", .type = GIO_VIRTIO_ID_BLOCK};
	struct xs_handle *xs;
	struct gc_args args;
	int rc;

	if (!attach_parse(argc, argv, &args, &disk))
		return GC_USAGE;
	xs = gc_store_open(args.option[MACHINE]);
	if (!xs)
		return GC_FAILED;
	rc = attach_find(xs, &args, &disk);
	if (!rc)
		rc = gc_disk_attach(xs, &disk, !args.option[NO_WAIT]);
	xs_close(xs);
	return rc;
}

const struct gc_command gc_disk_attach_command = {
	.name = "attach",
	.summary = "Give a domain a virtio disk",
	.args = "DOMAIN TARGET",
	.options = attach_options,
	.details = "DOMAIN is the guest's number, name or UUID. TARGET is a path, or the URI of an NBD server "
		   "(nbd://...,\n"
		   "nbd+unix://...).\n"
		   "The command writes the keys that xl writes for specification=virtio, waits at most 10 s until the "
		   "backend\n"
		   "is ready, and prints the disk's name. A disk that is refused is removed again.\n",
	.run = attach_run,
};

/* ---- detach ---- */

enum { FORCE, CONTROL, DETACH_MACHINE };

static const struct gc_option detach_options[] = {
	[FORCE] = {"force", NULL, "even if the guest uses it, and without waiting for the backend"},
	[CONTROL] = GC_OPTION_CONTROL,
	[DETACH_MACHINE] = {"machine", "DIR", "the machine; default $GRANTIO_MACHINE"},
	{0},
};

/*
 * A guest on x86 is asked to let go, and answers. The driver of a device that the toolstack has placed, in the guest's
 * device tree, cannot be asked, and would wait for ever. grantiod knows whether it uses the disk.
 */
static int detach_allowed(struct xs_handle *xs, const struct gc_disk *disk, const char *control)
{
	struct gc_disk_paths paths;
	struct gc_disk_served of;
	struct gc_grantiod grantiod;
	bool known;

	if (!disk->placed)
		return GC_OK;
	gc_disk_paths(disk, &paths);
	gc_grantiod_look(&grantiod, control);
	known = gc_disk_served_find(&grantiod, disk, &of) && of.told;
	gc_grantiod_free(&grantiod);
	if (known && of.in_use)
		return gc_fail(
			"vdev '%s': in use by domain %u, which would wait for it for ever: let its driver go first "
			"(or see --force)",
			disk->name, disk->domid);
	if (!known && gc_store_number(xs, 0, "%s/state", paths.backend) == 4)
		return gc_fail("vdev '%s': domain %u has used it, and no grantiod answers at %s that could say whether "
			       "it still does: start it, or name its socket by --control (or see --force)",
			       disk->name, disk->domid, control);
	return GC_OK;
}

/*
 * The directories are removed only after the backend has let go, or by force: a backend that finds them gone cannot
 * say what it still holds.
 */
int gc_disk_detach(struct xs_handle *xs, const struct gc_disk *disk, const char *control, bool force)
{
	unsigned state = 0;
	int rc = force ? GC_OK : detach_allowed(xs, disk, control), err;

	if (rc)
		return rc;
	err = gc_disk_close(xs, disk);
	if (!err && !force)
		err = gc_disk_wait_closed(xs, disk, GC_DISK_WAIT_MS, &state);
	if (err == -ETIMEDOUT)
		return gc_fail("vdev '%s': the backend in domain %u has not let go of it after %d s, its state is %s: "
			       "does grantiod run there? (or see --force)",
			       disk->name, disk->backend, GC_DISK_WAIT_MS / 1000, gc_disk_state_name(state));
	if (!err)
		err = gc_disk_remove(xs, disk);
	return err ? gc_fail("vdev '%s': xenstore: %s", disk->name, strerror(-err)) : GC_OK;
}

/* A disk is found by its device number, so that xvda, d0 and 51712 are the same disk. */
static int detach_run(int argc, char **argv)
{
	struct gc_disk disk = {.class = "virtio_disk"};
	struct xs_handle *xs;
	struct gc_args args;
	int rc;

	if (!gc_args_parse(&args, detach_options, argc, argv, 2, 2) || !vdev_check(args.arg[1], &disk))
		return GC_USAGE;
	xs = gc_store_open(args.option[DETACH_MACHINE]);
	if (!xs)
		return GC_FAILED;
	rc = gc_domain_find(xs, "domain", args.arg[0], 1, &disk.domid);
	if (!rc && gc_disk_find(xs, disk.domid, disk.devid, &disk))
		rc = gc_fail("vdev '%s': domain %u has no such virtio disk", args.arg[1], disk.domid);
	if (!rc)
		rc = gc_disk_detach(xs, &disk, gc_grantiod_path(args.option[CONTROL], args.option[DETACH_MACHINE]),
				    args.option[FORCE] != NULL);
	xs_close(xs);
	return rc;
}

const struct gc_command gc_disk_detach_command = {
	.name = "detach",
	.summary = "Take a virtio disk away",
	.args = "DOMAIN VDEV",
	.options = detach_options,
	.details = "DOMAIN is the guest's number, name or UUID, VDEV the disk's name or device number. The command "
		   "waits at\n"
		   "most 10 s until the backend lets go of the disk. On Arm it refuses to detach a disk that the guest "
		   "uses,\n"
		   "since such a guest cannot be told to let go.\n",
	.run = detach_run,
};
