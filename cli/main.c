/* SPDX-License-Identifier: MIT */
/*
 * grantio: the command line of the Xen model and of virtio disks by grants. To add a command, write its table in a
 * folder of its own, and name it here. All but this file is a library, so that unit tests run the commands within their
 * own process.
 */
#include "cli/bench/bench.h"
#include "cli/command.h"
#include "cli/disk/disk.h"
#include "cli/doctor/doctor.h"
#include "cli/dt/dt.h"
#include "cli/model/machine.h"
#include "cli/rng/rng.h"

#include <stdio.h>

static const struct gc_option root_options[] = {
	{"version", NULL, "the version"},
	{0},
};

/* The options of the program itself, which stand in place of a command. */
static int root_run(int argc, char **argv)
{
	struct gc_args args;

	if (!gc_args_parse(&args, root_options, argc, argv, 0, 0))
		return GC_USAGE;
	printf("grantio %s\n", GC_VERSION);
	return fflush(stdout) ? GC_FAILED : GC_OK;
}

static const struct gc_command *const commands[] = {
	&gc_bench_command,
	&gc_disk_command,
	&gc_doctor_command,
	&gc_dt_command,
	&gc_model_command,
	&gc_rng_command,
	NULL,
};

static const struct gc_command root = {
	.name = "grantio",
	.summary = "Virtio for Xen guests that share only what they grant",
	.options = root_options,
	.run = root_run,
	.commands = commands,
};

int main(int argc, char **argv)
{
	return gc_command_dispatch(&root, argc, argv);
}
