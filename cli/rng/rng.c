/* SPDX-License-Identifier: MIT */
/*
 * grantio rng attach, detach: a device that gives a guest random numbers, as xl's `virtio` list has it, for a guest
 * that runs.
 */
#include "cli/rng/rng.h"

#include "cli/disk/disk.h"
#include "cli/domain.h"
#include "cli/grantiod.h"
#include "cli/vdev.h"

#include <abi/virtio.h>

#include <string.h>

/* ---- attach ---- */

enum { BACKEND, NO_WAIT, MACHINE };

static const struct gc_option attach_options[] = {
	[BACKEND] = {"backend", "DOMAIN", "the domain that serves it; default 0"},
	[NO_WAIT] = {"no-wait", NULL, "do not wait until the backend is ready"},
	[MACHINE] = {"machine", "DIR", "the machine; default $GRANTIO_MACHINE"},
	{0},
};

/* Such a device always has its memory by grants. */
static int attach_run(int argc, char **argv)
{
	struct gc_disk disk = {.class = "virtio", .type = GIO_VIRTIO_ID_RNG, .grants = true};
	struct xs_handle *xs;
	struct gc_args args;
	int rc;

	if (!gc_args_parse(&args, attach_options, argc, argv, 1, 1))
		return GC_USAGE;
	xs = gc_store_open(args.option[MACHINE]);
	if (!xs)
		return GC_FAILED;
	rc = gc_domain_find(xs, "domain", args.arg[0], 1, &disk.domid);
	if (!rc && args.option[BACKEND])
		rc = gc_domain_find(xs, "backend", args.option[BACKEND], 0, &disk.backend);
	if (!rc)
		rc = gc_disk_attach(xs, &disk, !args.option[NO_WAIT]);
	xs_close(xs);
	return rc;
}

static const struct gc_command attach_command = {
	.name = "attach",
	.summary = "Give a domain a device of random numbers (virtio-rng)",
	.args = "DOMAIN",
	.options = attach_options,
	.details = "DOMAIN is the guest's number, name or UUID. The command writes the keys that xl writes for\n"
		   "virtio = [ 'type=virtio,device4,...' ], waits at most 10 s until the backend is ready, and prints "
		   "the device's\n"
		   "name. A device that is refused is removed again.\n",
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

/* Its name as `grantio disk list` shows it, or its number. */
static bool device_parse(const char *text, uint32_t *devid)
{
	const char *number = strncmp(text, "virtio", 6) == 0 ? text + 6 : text;

	if (*number >= '0' && *number <= '9' && !gc_vdev_parse(number, devid))
		return true;
	gc_usage("device '%s': must be a name as virtio0, or a number", text);
	return false;
}

static int detach_run(int argc, char **argv)
{
	struct gc_disk disk = {.class = "virtio"};
	struct xs_handle *xs;
	struct gc_args args;
	uint32_t devid;
	int rc;

	if (!gc_args_parse(&args, detach_options, argc, argv, 2, 2) || !device_parse(args.arg[1], &devid))
		return GC_USAGE;
	xs = gc_store_open(args.option[DETACH_MACHINE]);
	if (!xs)
		return GC_FAILED;
	rc = gc_domain_find(xs, "domain", args.arg[0], 1, &disk.domid);
	if (!rc && (gc_disk_find(xs, disk.domid, devid, &disk) || disk.type != GIO_VIRTIO_ID_RNG))
		rc = gc_fail("device '%s': domain %u has no such device of random numbers", args.arg[1], disk.domid);
	if (!rc)
		rc = gc_disk_detach(xs, &disk, gc_grantiod_path(args.option[CONTROL], args.option[DETACH_MACHINE]),
				    args.option[FORCE] != NULL);
	xs_close(xs);
	return rc;
}

static const struct gc_command detach_command = {
	.name = "detach",
	.summary = "Take a device of random numbers away",
	.args = "DOMAIN DEVICE",
	.options = detach_options,
	.details = "DOMAIN is the guest's number, name or UUID, DEVICE the device's name or number, as `grantio disk "
		   "list` shows\n"
		   "them. The command waits at most 10 s until the backend lets go of the device. On Arm it refuses to "
		   "detach a\n"
		   "device that the guest uses, since such a guest cannot be told to let go.\n",
	.run = detach_run,
};

static const struct gc_command *const commands[] = {&attach_command, &detach_command, NULL};

const struct gc_command gc_rng_command = {
	.name = "rng",
	.summary = "Attach and detach devices of random numbers (virtio-rng)",
	.commands = commands,
};
