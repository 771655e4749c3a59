/* SPDX-License-Identifier: MIT */
/*
 * grantio model, and its commands that look: status, stats. They only read the machine's shared state: a
 * figure may be a moment older than the one beside it.
 */
#include "cli/grantiod.h"
#include "cli/disk/disk.h"
#include "cli/json.h"
#include "cli/model/machine.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static int output_end(void)
{
	return fflush(stdout) ? gc_fail("output: %s", strerror(errno)) : GC_OK;
}

/* ---- status ---- */

static const struct gc_option status_options[] = {
	GC_OPTION_MACHINE,
	{0},
};

static const char *domain_state_name(enum gm_domain_state state)
{
	switch (state) {
	case GM_DOMAIN_RUNNING:
		return "running";
	case GM_DOMAIN_DYING:
		return "dying";
	case GM_DOMAIN_CRASHED:
		return "crashed";
	default:
		return "none";
	}
}

/* By xenstore, where xl has them too: the model itself keeps no names of vCPUs. */
static unsigned vcpus_count(struct xs_handle *xs, unsigned domid)
{
	char path[GC_PATH_MAX];
	unsigned count = 0;

	snprintf(path, sizeof(path), "/local/domain/%u/cpu", domid);
	free(xs_directory(xs, XBT_NULL, path, &count));
	return count;
}

/* A domain that ends while the list is printed is left out. */
static void domain_print(struct gm_machine *machine, struct xs_handle *xs, uint16_t domid)
{
	enum gm_domain_state state = gm_domain_state(machine, domid);
	struct gm_stats stats = {0};
	char *name;

	if (state == GM_DOMAIN_NONE || gm_domain_stats(machine, domid, &stats))
		return;
	name = gc_store_read(xs, "/local/domain/%u/name", domid);
	printf("%-5u %-16s %-8s %7" PRIu64 " %5u %7u %8u %5u %6u\n", domid, name ? name : "-", domain_state_name(state),
	       gc_store_number(xs, 0, "/local/domain/%u/memory/static-max", domid) / 1024, vcpus_count(xs, domid),
	       stats.grants_active, stats.mappings_held, stats.ports, stats.ioreq_servers);
	free(name);
}

/* Domains first, then disks, as `xl list` and `xl block-list` have them. */
static int status_run(int argc, char **argv)
{
	struct gm_machine *machine;
	struct xs_handle *xs;
	struct gc_args args;

	if (!gc_args_parse(&args, status_options, argc, argv, 0, 0))
		return GC_USAGE;
	if (!gc_machine_open_store(&machine, &xs, args.option[0]))
		return GC_FAILED;
	printf("machine %s: runs, process %d\n\n", gm_machine_dir(machine),
	       (int)gc_machine_pid(gm_machine_dir(machine)));
	printf("%-5s %-16s %-8s %7s %5s %7s %8s %5s %6s\n", "DOMID", "NAME", "STATE", "MEM/MiB", "VCPUS", "GRANTED",
	       "MAPPINGS", "PORTS", "IOREQS");
	for (uint16_t domid = 0; domid < GM_MAX_DOMAINS; domid++)
		domain_print(machine, xs, domid);
	printf("\n");
	gc_disk_table(xs, -1, gc_grantiod_path(NULL, gm_machine_dir(machine)));
	xs_close(xs);
	gm_machine_close(machine);
	return output_end();
}

const struct gc_command gc_model_status_command = {
	.name = "status",
	.summary = "Show a machine's domains and disks",
	.options = status_options,
	.details = "GRANTED counts the domain's grants that others have mapped or are copying. MAPPINGS counts grants "
		   "of other\n"
		   "domains that it has mapped. IOREQS counts its ioreq servers.\n",
	.run = status_run,
};

/* ---- stats ---- */

enum { JSON, MACHINE };

static const struct gc_option stats_options[] = {
	[JSON] = {"json", NULL, "as JSON"},
	[MACHINE] = GC_OPTION_MACHINE,
	{0},
};

#define COUNTER(name)                                                                        \
	{                                                                                    \
#name, offsetof(struct gm_stats, name), sizeof(((struct gm_stats *)0)->name) \
	}

static const struct counter {
	const char *name;
	size_t offset, size;
} counters[] = {
	COUNTER(hypercalls),	   COUNTER(grant_maps),	   COUNTER(grant_unmaps),   COUNTER(pages_mapped),
	COUNTER(grant_copy_calls), COUNTER(grant_copies),  COUNTER(grant_copy_ops), COUNTER(bytes_copied),
	COUNTER(event_sends),	   COUNTER(dm_ops),	   COUNTER(irqs_raised),    COUNTER(grants_refused),
	COUNTER(ioreqs),	   COUNTER(grants_active), COUNTER(mappings_held),  COUNTER(ports),
	COUNTER(ioreq_servers),
};
#define COUNTERS (sizeof(counters) / sizeof(*counters))

/* All counters of one domain, read at one time. */
struct column {
	uint16_t domid;
	struct gm_stats stats;
};

/* Counters are of two sizes. They are read by offset, so that table, JSON and names come from one list. */
static uint64_t counter_value(const struct gm_stats *stats, const struct counter *counter)
{
	const char *at = (const char *)stats + counter->offset;
	uint32_t narrow;
	uint64_t wide;

	if (counter->size == sizeof(wide)) {
		memcpy(&wide, at, sizeof(wide));
		return wide;
	}
	memcpy(&narrow, at, sizeof(narrow));
	return narrow;
}

/* All domains are read before anything is printed, so that a table's columns are of about the same moment. */
static unsigned columns_load(struct gm_machine *machine, struct column *columns)
{
	unsigned count = 0;

	for (uint16_t domid = 0; domid < GM_MAX_DOMAINS; domid++) {
		columns[count].domid = domid;
		if (gm_domain_state(machine, domid) != GM_DOMAIN_NONE &&
		    gm_domain_stats(machine, domid, &columns[count].stats) == 0)
			count++;
	}
	return count;
}

/* One column for each domain: what is compared is the same counter of two domains. */
static void stats_table(const struct column *columns, unsigned count)
{
	printf("%-18s", "");
	for (unsigned i = 0; i < count; i++)
		printf("    domain %3u", columns[i].domid);
	printf("\n");
	for (size_t c = 0; c < COUNTERS; c++) {
		printf("%-18s", counters[c].name);
		for (unsigned i = 0; i < count; i++)
			printf(" %13" PRIu64, counter_value(&columns[i].stats, &counters[c]));
		printf("\n");
	}
}

static void stats_json(const struct column *columns, unsigned count)
{
	printf("[");
	for (unsigned i = 0; i < count; i++) {
		printf("%s\n  {\"domid\": %u", i ? "," : "", columns[i].domid);
		for (size_t c = 0; c < COUNTERS; c++)
			printf(", \"%s\": %" PRIu64, counters[c].name, counter_value(&columns[i].stats, &counters[c]));
		printf("}");
	}
	printf("\n]\n");
}

static int stats_run(int argc, char **argv)
{
	struct column columns[GM_MAX_DOMAINS];
	struct gm_machine *machine;
	struct gc_args args;
	unsigned count;

	if (!gc_args_parse(&args, stats_options, argc, argv, 0, 0))
		return GC_USAGE;
	if (!gc_machine_open(&machine, gc_store_machine(args.option[MACHINE])))
		return GC_FAILED;
	count = columns_load(machine, columns);
	gm_machine_close(machine);
	if (args.option[JSON])
		stats_json(columns, count);
	else
		stats_table(columns, count);
	return output_end();
}

const struct gc_command gc_model_stats_command = {
	.name = "stats",
	.summary = "Show what each domain has done, and what it still holds",
	.options = stats_options,
	.run = stats_run,
};

/* ---- the group ---- */

static const struct gc_command *const commands[] = {
	&gc_model_start_command, &gc_model_stop_command,   &gc_model_status_command,
	&gc_model_stats_command, &gc_model_create_command, &gc_model_destroy_command,
	&gc_model_allow_command, &gc_model_exec_command,   NULL,
};

const struct gc_command gc_model_command = {
	.name = "model",
	.summary = "Run a machine of the Xen model",
	.commands = commands,
};
