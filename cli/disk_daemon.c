/* SPDX-License-Identifier: MIT */
/* grantio disk stats, grantio disk refresh: what the grantiod of this domain knows of its disks. */
#include "cli/daemon.h"
#include "cli/disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONTROL };

static const struct gc_option daemon_options[] = {
	[CONTROL] = {"control", "SOCKET", "grantiod's control socket; default " GC_DAEMON_SOCKET},
	{0},
};

/* The answer, or NULL after an error line. The caller's to free. */
static char *answer(const struct gc_args *args, const char *question)
{
	const char *path = args->option[CONTROL] ? args->option[CONTROL] : GC_DAEMON_SOCKET;
	char *text = malloc(GC_DAEMON_TEXT);
	int ret = text ? gc_daemon_ask(path, question, text, GC_DAEMON_TEXT) : -ENOMEM;

	if (!ret)
		return text;
	gc_fail("control socket '%s': %s", path, strerror(-ret));
	free(text);
	return NULL;
}

static int stats_run(int argc, char **argv)
{
	struct gc_args args;
	char *text;

	if (!gc_args_parse(&args, daemon_options, argc, argv, 0, 0))
		return GC_USAGE;
	text = answer(&args, "stats\n");
	if (!text)
		return GC_FAILED;
	fputs(text, stdout);
	free(text);
	return fflush(stdout) ? gc_fail("output: %s", strerror(errno)) : GC_OK;
}

static int refresh_run(int argc, char **argv)
{
	char question[64], *text;
	struct gc_args args;
	int ret = GC_OK;

	if (!gc_args_parse(&args, daemon_options, argc, argv, 1, 1))
		return GC_USAGE;
	if (snprintf(question, sizeof(question), "refresh %s\n", args.arg[0]) >= (int)sizeof(question) ||
	    strchr(args.arg[0], '\n'))
		return gc_usage("disk '%s': must be as `grantio disk stats` names it, like d1/xvda", args.arg[0]);
	text = answer(&args, question);
	if (!text)
		return GC_FAILED;
	text[strcspn(text, "\n")] = '\0';
	if (strcmp(text, "ok") != 0)
		ret = gc_fail("%s", strncmp(text, "error: ", 7) == 0 ? text + 7 : text);
	free(text);
	return ret;
}

const struct gc_command gc_disk_stats_command = {
	.name = "stats",
	.summary = "Show what grantiod has counted for each disk it serves",
	.options = daemon_options,
	.details = "A line for each disk: dDOMID/VDEV key=value ... Counts are since the disk was opened.\n",
	.run = stats_run,
};

const struct gc_command gc_disk_refresh_command = {
	.name = "refresh",
	.summary = "Make grantiod look at an image's size again, or try a refused disk again",
	.args = "DISK",
	.options = daemon_options,
	.details = "DISK is what `grantio disk stats` names it: d1/xvda is xvda of domain 1.\n",
	.run = refresh_run,
};
