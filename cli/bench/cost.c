/* SPDX-License-Identifier: MIT */
/*
 * What the machine, the driver and grantiod have counted, before and after a load. The machine counts by domain: other
 * work of the backend's domain in the meantime is counted with it.
 */
#include "cli/bench/bench.h"
#include "cli/grantiod.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The key must begin a word: "requests" is also the end of other keys. */
bool gc_cost_word(const char *line, const char *key, uint64_t *value)
{
	size_t length = strlen(key);

	for (const char *at = line; (at = strstr(at, key)); at += length) {
		char *end;

		if ((at != line && at[-1] != ' ') || at[length] != '=' || !strchr("0123456789", at[length + 1]))
			continue;
		*value = strtoull(at + length + 1, &end, 10);
		return end != at + length + 1 && (!*end || *end == ' ' || *end == '\n');
	}
	return false;
}

/* Cut the line of one device out of the text; NULL when there is none. */
static char *device_line(char *text, const char *device)
{
	size_t length = strlen(device);
	char *rest = text, *line;

	while ((line = strsep(&rest, "\n"))) {
		if (!strncmp(line, device, length) && line[length] == ' ')
			return line;
	}
	return NULL;
}

/* A grantiod that lacks one of the counts is another version: no figure is made up for it. */
static int daemon_cost(struct gc_cost *cost, const char *path, const char *device, char *error, size_t size)
{
	char *text = malloc(GC_GRANTIOD_TEXT), *line;
	int err = text ? gc_grantiod_ask(path, "stats\n", text, GC_GRANTIOD_TEXT) : -ENOMEM;

	if (err) {
		snprintf(error, size, "control socket %s: %s", path, strerror(-err));
		goto free_text;
	}
	line = device_line(text, device);
	err = -EPROTO;
	if (!line)
		snprintf(error, size, "control socket %s: has no device %s", path, device);
	else if (!gc_cost_word(line, "syscalls", &cost->syscalls) || !gc_cost_word(line, "batches", &cost->batches) ||
		 !gc_cost_word(line, "copy_calls", &cost->copy_calls) ||
		 !gc_cost_word(line, "requests", &cost->daemon_requests))
		snprintf(error, size, "control socket %s: device %s: a count is missing", path, device);
	else
		err = 0;
	cost->daemon = !err;

free_text:
	free(text);
	return err;
}

/* ---- all of it ---------------------------------------------------------------------------------------------- */

/* The two domains' counts and the driver's are not read at one moment. The load stands still when this is called. */
int gc_cost_read(struct gc_cost *cost, struct gp_disk *disk, const char *control, const char *device, char *error,
		 size_t size)
{
	struct gm_machine *machine = gm_guest_machine(gp_disk_guest(disk));
	int err = gm_domain_stats(machine, gp_disk_place(disk)->backend, &cost->backend);

	cost->daemon = false;
	if (!err)
		err = gm_domain_stats(machine, gm_guest_domid(gp_disk_guest(disk)), &cost->guest);
	if (err) {
		snprintf(error, size, "the machine's counters: %s", strerror(-err));
		return err;
	}
	gio_blk_stats(gp_disk_blk(disk), &cost->driver);
	return control ? daemon_cost(cost, control, device, error, size) : 0;
}

/* The counts that the report uses; what is outstanding has no difference. */
static void stats_since(struct gm_stats *now, const struct gm_stats *before)
{
	now->hypercalls -= before->hypercalls;
	now->grant_maps -= before->grant_maps;
	now->grant_unmaps -= before->grant_unmaps;
	now->grant_copy_calls -= before->grant_copy_calls;
	now->grant_copies -= before->grant_copies;
	now->grant_copy_ops -= before->grant_copy_ops;
	now->bytes_copied -= before->bytes_copied;
	now->event_sends -= before->event_sends;
	now->dm_ops -= before->dm_ops;
	now->irqs_raised -= before->irqs_raised;
	now->ioreqs -= before->ioreqs;
}

/* System calls have a difference only if grantiod answered both times. */
void gc_cost_since(struct gc_cost *now, const struct gc_cost *before)
{
	stats_since(&now->backend, &before->backend);
	stats_since(&now->guest, &before->guest);
	now->driver.requests -= before->driver.requests;
	now->driver.kicks -= before->driver.kicks;
	now->driver.interrupts -= before->driver.interrupts;
	now->daemon = now->daemon && before->daemon;
	now->syscalls -= before->syscalls;
	now->copy_calls -= before->copy_calls;
	now->batches -= before->batches;
	now->daemon_requests -= before->daemon_requests;
}
