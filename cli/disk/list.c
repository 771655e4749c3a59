/* SPDX-License-Identifier: MIT */
/*
 * grantio disk, grantio disk list. One row joins three sources: libxl's directory (what the disk is), the two ends'
 * states in xenstore, and grantiod (what is really served and used).
 */
#include "cli/disk/disk.h"

#include "cli/grantiod.h"
#include "cli/domain.h"
#include "cli/json.h"

#include <abi/virtio.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { JSON, CONTROL, MACHINE };

static const struct gc_option list_options[] = {
	[JSON] = {"json", NULL, "as JSON"},
	[CONTROL] = GC_OPTION_CONTROL,
	[MACHINE] = {"machine", "DIR", "the machine; default $GRANTIO_MACHINE"},
	{0},
};

/*
 * What a row shows in addition to what libxl's directory has: the states of backend and guest, and grantiod's answer.
 */
struct shown {
	unsigned backend_state, frontend_state;
	char *name, *mode, *target, *error; /* NULL: there is none */
	const char *served, *guest;
	char phase[16];
};

/*
 * Is the disk served? The grantiod that we can ask knows. A socket on which no process listens any more is one of a
 * grantiod that has died. If grantiod cannot be asked, or serves another domain, nothing is known.
 */
static const char *served_word(const struct gc_grantiod *grantiod, const struct gc_disk_served *of, struct shown *shown)
{
	if (of->served)
		return "yes";
	snprintf(shown->phase, sizeof(shown->phase), "%s", of->phase);
	if (of->phase[0])
		return shown->phase;
	return !grantiod->error || grantiod->error == -ECONNREFUSED ? "no" : "?";
}

/*
 * What does the guest do with the disk? On x86 its frontend has a state. If the toolstack has placed the device, the
 * guest has nothing in xenstore: only grantiod knows whether a driver uses it, and state 4 says no more than that one
 * has used it.
 */
static const char *guest_word(const struct gc_disk *disk, const struct gc_disk_served *of, const struct shown *shown)
{
	if (!disk->placed)
		return gc_disk_state_name(shown->frontend_state);
	if (of->told)
		return of->in_use ? "uses it" : "-";
	return shown->backend_state == 4 ? "has used it" : "-";
}

/*
 * The image; or, of a device that has none, what it is. A disk of xl's `virtio` list has its image in grantiod's
 * settings, which are not looked at here.
 */
static char *target_load(struct xs_handle *xs, const struct gc_disk *disk, const struct gc_disk_paths *paths)
{
	char text[48];

	if (disk->type == GIO_VIRTIO_ID_BLOCK)
		return gc_store_read(xs, "%s/params", paths->libxl);
	if (disk->type == GIO_VIRTIO_ID_RNG)
		return strdup("random numbers");
	snprintf(text, sizeof(text), "a device of type %" PRIu32, disk->type);
	return disk->type ? strdup(text) : NULL;
}

/* grantiod at this control socket knows the disks of its own domain only: of others nothing is said. */
static void shown_load(struct xs_handle *xs, const struct gc_disk *disk, const struct gc_grantiod *grantiod,
		       struct shown *shown)
{
	struct gc_disk_paths paths;
	struct gc_disk_served of;
	char error[GC_PATH_MAX];

	gc_disk_paths(disk, &paths);
	gc_disk_error_path(disk, error);
	shown->error = gc_store_read(xs, "%s", error);
	gc_disk_served_find(grantiod, disk, &of);
	shown->backend_state = (unsigned)gc_store_number(xs, 0, "%s/state", paths.backend);
	shown->frontend_state = (unsigned)gc_store_number(xs, 0, "%s/state", paths.frontend);
	shown->name = gc_domain_name(xs, disk->domid);
	shown->mode = gc_store_read(xs, "%s/mode", paths.libxl);
	shown->target = target_load(xs, disk, &paths);
	shown->served = served_word(grantiod, &of, shown);
	if (of.phase[0] == '\0' && disk->backend != 0)
		shown->served = "?";
	shown->guest = guest_word(disk, &of, shown);
}

static void shown_free(struct shown *shown)
{
	free(shown->name);
	free(shown->mode);
	free(shown->target);
	free(shown->error);
}

/* The reason is the backend domain's text, and a driver domain may write anything into it: no control characters. */
static void reason_print(const char *reason)
{
	printf("%-5s error: ", "");
	for (; *reason; reason++)
		putchar((unsigned char)*reason < ' ' || *reason == 0x7f ? '?' : *reason);
	putchar('\n');
}

/* What each row needs beside its disk. */
struct list_job {
	const struct gc_grantiod *grantiod;
	bool first;
};

/* Columns are fixed, so that scripts which cut them go on working; the target comes last, as it may hold spaces. */
static int row_print(struct xs_handle *xs, const struct gc_disk *disk, void *arg)
{
	const struct list_job *job = arg;
	char place[32] = "-", irq[12] = "-";
	struct shown shown;

	shown_load(xs, disk, job->grantiod, &shown);
	if (disk->placed) {
		snprintf(place, sizeof(place), "0x%08" PRIx64, disk->base);
		snprintf(irq, sizeof(irq), "%u", disk->irq);
	}
	printf("%-5u %-12s %-7s %-7" PRIu32 " %-7u %-12s %-6s %-12s %-4s %-6s %-10s %-3s %s\n", disk->domid,
	       shown.name ? shown.name : "-", disk->name, disk->devid, disk->backend,
	       gc_disk_state_name(shown.backend_state), shown.served, shown.guest, shown.mode ? shown.mode : "-",
	       disk->grants ? "yes" : "no", place, irq, shown.target ? shown.target : "-");
	if (shown.error)
		reason_print(shown.error);
	shown_free(&shown);
	return 0;
}

/* What there is none of is an empty string, so that each object has the same members. */
static void json_member(const char *name, const char *value)
{
	printf(", \"%s\": ", name);
	gc_json_string(stdout, value ? value : "");
}

/* Members are only ever added: programs read this. */
static int row_json(struct xs_handle *xs, const struct gc_disk *disk, void *arg)
{
	struct list_job *job = arg;
	struct shown shown;

	shown_load(xs, disk, job->grantiod, &shown);
	printf("%s\n  {\"domid\": %u", job->first ? "" : ",", disk->domid);
	json_member("domain", shown.name);
	json_member("vdev", disk->name);
	printf(", \"devid\": %" PRIu32 ", \"backend\": %u, \"backend_state\": %u, \"frontend_state\": %u", disk->devid,
	       disk->backend, shown.backend_state, shown.frontend_state);
	json_member("served", shown.served);
	json_member("guest", shown.guest);
	json_member("mode", shown.mode);
	printf(", \"type\": %" PRIu32 ", \"grants\": %s, \"base\": %" PRIu64 ", \"irq\": %u", disk->type,
	       disk->grants ? "true" : "false", disk->base, disk->irq);
	json_member("target", shown.target);
	if (shown.error)
		json_member("error", shown.error);
	printf("}");
	job->first = false;
	shown_free(&shown);
	return 0;
}

/* grantiod is asked once for all disks: its answer is one text. */
int gc_disk_table(struct xs_handle *xs, int domid, const char *control)
{
	struct gc_grantiod grantiod;
	struct list_job job = {.grantiod = &grantiod};
	int err;

	gc_grantiod_look(&grantiod, control);
	printf("%-5s %-12s %-7s %-7s %-7s %-12s %-6s %-12s %-4s %-6s %-10s %-3s %s\n", "DOMID", "NAME", "VDEV", "DEVID",
	       "BACKEND", "STATE", "SERVED", "GUEST", "MODE", "GRANTS", "BASE", "IRQ", "TARGET");
	err = gc_disk_each(xs, domid, row_print, &job);
	gc_grantiod_free(&grantiod);
	return err;
}

static void json_list(struct xs_handle *xs, int domid, const char *control)
{
	struct gc_grantiod grantiod;
	struct list_job job = {.grantiod = &grantiod, .first = true};

	gc_grantiod_look(&grantiod, control);
	printf("[");
	gc_disk_each(xs, domid, row_json, &job);
	printf("%s]\n", job.first ? "" : "\n");
	gc_grantiod_free(&grantiod);
}

/* The domain that is asked for, -1: all of them. */
static int domain_wanted(struct xs_handle *xs, const struct gc_args *args, int *wanted)
{
	unsigned domid;
	int rc;

	*wanted = -1;
	if (!args->args)
		return GC_OK;
	rc = gc_domain_find(xs, "domain", args->arg[0], 0, &domid);
	if (!rc && !gc_domain_known(xs, domid))
		rc = gc_fail("domain %u: no such domain", domid);
	*wanted = (int)domid;
	return rc;
}

/* A domain that does not exist is an error; one without disks is an empty table. */
static int list_run(int argc, char **argv)
{
	struct xs_handle *xs;
	struct gc_args args;
	const char *control;
	int wanted, rc;

	if (!gc_args_parse(&args, list_options, argc, argv, 0, 1))
		return GC_USAGE;
	xs = gc_store_open(args.option[MACHINE]);
	if (!xs)
		return GC_FAILED;
	control = gc_grantiod_path(args.option[CONTROL], args.option[MACHINE]);
	rc = domain_wanted(xs, &args, &wanted);
	if (!rc && args.option[JSON])
		json_list(xs, wanted, control);
	else if (!rc)
		gc_disk_table(xs, wanted, control);
	xs_close(xs);
	if (fflush(stdout))
		return gc_fail("output: %s", strerror(errno));
	return rc;
}

const struct gc_command gc_disk_list_command = {
	.name = "list",
	.summary = "Show virtio disks and their states",
	.args = "[DOMAIN]",
	.options = list_options,
	.details = "DOMAIN is a domain's number, name or UUID; without it all domains are listed. SERVED is what "
		   "grantiod says\n"
		   "at its control socket, or ? where it cannot be asked. GUEST is the state of the guest's frontend, "
		   "or whether\n"
		   "the guest's driver uses the disk. Below a disk that the backend refuses or has trouble with, a "
		   "line 'error:'\n"
		   "has the reason. Devices of xl's virtio list are shown as well: virtio0, virtio1, ...\n",
	.run = list_run,
};

static const struct gc_command *const commands[] = {
	&gc_disk_attach_command,  &gc_disk_detach_command, &gc_disk_list_command,
	&gc_disk_refresh_command, &gc_disk_stats_command,  NULL,
};

const struct gc_command gc_disk_command = {
	.name = "disk",
	.summary = "Attach, detach and list virtio disks, and ask what grantiod has done for them",
	.commands = commands,
};
