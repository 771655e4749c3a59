/* SPDX-License-Identifier: MIT */
/* grantio disk, grantio disk list. */
#include "cli/disk.h"

#include "cli/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { JSON, MACHINE };

static const struct gc_option list_options[] = {
	[JSON] = {"json", NULL, "as JSON"},
	[MACHINE] = {"machine", "DIR", "the machine; default $GRANTIO_MACHINE"},
	{0},
};

const char *gc_disk_state_name(unsigned state)
{
	static const char *const names[] = {"-",	 "Initialising", "InitWait", "Initialised",
					    "Connected", "Closing",	 "Closed"}; /* enum xenbus_state */

	return state < sizeof(names) / sizeof(*names) ? names[state] : "?";
}

/* What is shown beside what libxl's directory says: that is the backend's and the guest's own. */
struct shown {
	unsigned backend_state, frontend_state;
	char *mode, *target;
};

static void shown_load(struct xs_handle *xs, const struct gc_disk *disk, struct shown *shown)
{
	struct gc_disk_paths paths;

	gc_disk_paths(disk, &paths);
	shown->backend_state = (unsigned)gc_store_number(xs, 0, "%s/state", paths.backend);
	shown->frontend_state = (unsigned)gc_store_number(xs, 0, "%s/state", paths.frontend);
	shown->mode = gc_store_read(xs, "%s/mode", paths.libxl);
	shown->target = gc_store_read(xs, "%s/params", paths.libxl);
}

static void shown_free(struct shown *shown)
{
	free(shown->mode);
	free(shown->target);
}

static int row_print(struct xs_handle *xs, const struct gc_disk *disk, void *arg)
{
	struct shown shown;

	(void)arg;
	shown_load(xs, disk, &shown);
	printf("%-5u %-6s %-7" PRIu32 " %-7u %-12s %-12s %-4s %-6s 0x%08" PRIx64 " %-3u %s\n", disk->domid, disk->name,
	       disk->devid, disk->backend, gc_disk_state_name(shown.backend_state),
	       gc_disk_state_name(shown.frontend_state), shown.mode ? shown.mode : "-", disk->grants ? "yes" : "no",
	       disk->base, disk->irq, shown.target ? shown.target : "-");
	shown_free(&shown);
	return 0;
}

static int row_json(struct xs_handle *xs, const struct gc_disk *disk, void *arg)
{
	bool *first = arg;
	struct shown shown;

	shown_load(xs, disk, &shown);
	printf("%s\n  {\"domid\": %u, \"vdev\": ", *first ? "" : ",", disk->domid);
	gc_json_string(stdout, disk->name);
	printf(", \"devid\": %" PRIu32 ", \"backend\": %u, \"backend_state\": %u, \"frontend_state\": %u, \"mode\": ",
	       disk->devid, disk->backend, shown.backend_state, shown.frontend_state);
	gc_json_string(stdout, shown.mode ? shown.mode : "");
	printf(", \"grants\": %s, \"base\": %" PRIu64 ", \"irq\": %u, \"target\": ", disk->grants ? "true" : "false",
	       disk->base, disk->irq);
	gc_json_string(stdout, shown.target ? shown.target : "");
	printf("}");
	*first = false;
	shown_free(&shown);
	return 0;
}

int gc_disk_table(struct xs_handle *xs, int domid)
{
	printf("%-5s %-6s %-7s %-7s %-12s %-12s %-4s %-6s %-10s %-3s %s\n", "DOMID", "VDEV", "DEVID", "BACKEND",
	       "STATE", "FRONTEND", "MODE", "GRANTS", "BASE", "IRQ", "TARGET");
	return gc_disk_each(xs, domid, row_print, NULL);
}

static int list_run(int argc, char **argv)
{
	uint64_t domid = 0;
	struct xs_handle *xs;
	struct gc_args args;
	bool first = true;
	int all;

	if (!gc_args_parse(&args, list_options, argc, argv, 0, 1) ||
	    (args.args && !gc_number("domain", args.arg[0], 1, 0x7fef, &domid)))
		return GC_USAGE;
	xs = gc_store_open(args.option[MACHINE]);
	if (!xs)
		return GC_FAILED;
	all = args.args ? (int)domid : -1;
	if (args.option[JSON]) {
		printf("[");
		gc_disk_each(xs, all, row_json, &first);
		printf("\n]\n");
	} else {
		gc_disk_table(xs, all);
	}
	xs_close(xs);
	return fflush(stdout) ? gc_fail("output: %s", strerror(errno)) : GC_OK;
}

const struct gc_command gc_disk_list_command = {
	.name = "list",
	.summary = "Show virtio disks and their states",
	.args = "[DOMID]",
	.options = list_options,
	.run = list_run,
};

static const struct gc_command *const commands[] = {
	&gc_disk_attach_command,  &gc_disk_detach_command, &gc_disk_list_command,
	&gc_disk_refresh_command, &gc_disk_stats_command,  NULL,
};

const struct gc_command gc_disk_command = {
	.name = "disk",
	.summary = "Attach, detach, list and watch virtio disks",
	.commands = commands,
};
