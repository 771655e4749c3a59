/* SPDX-License-Identifier: MIT */
/*
 * grantio disk stats, grantio disk refresh: what the grantiod of this domain knows of its disks. Its lines are passed
 * on as they are, so that a new counter of grantiod's needs no change here.
 */
#include "cli/grantiod.h"
#include "cli/disk/disk.h"
#include "cli/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONTROL, JSON };

static const struct gc_option refresh_options[] = {
	[CONTROL] = GC_OPTION_CONTROL,
	{0},
};

static const struct gc_option stats_options[] = {
	[CONTROL] = GC_OPTION_CONTROL,
	[JSON] = {"json", NULL, "as JSON"},
	{0},
};

/* The answer, or NULL after an error line. The caller's to free. */
static char *answer(const struct gc_args *args, const char *question)
{
	const char *path = gc_grantiod_path(args->option[CONTROL], NULL);
	char *text = malloc(GC_GRANTIOD_TEXT);
	int err = text ? gc_grantiod_ask(path, question, text, GC_GRANTIOD_TEXT) : -ENOMEM;

	if (!err)
		return text;
	gc_fail("control socket '%s': %s%s", path, strerror(-err), gc_grantiod_hint(err));
	free(text);
	return NULL;
}

/* A line "d1/xvda phase=served requests=7 ... target=FILE" as an object; its image comes last, and may hold anything.
 */
static void line_json(char *line)
{
	char *name = strsep(&line, " ");

	printf("\n  {\"disk\": ");
	gc_json_string(stdout, name);
	while (line && *line) {
		bool last = strncmp(line, "target=", 7) == 0;
		char *word = last ? line : strsep(&line, " "), *value = strchr(word, '=');

		if (value) {
			*value++ = '\0';
			printf(", ");
			gc_json_string(stdout, word);
			printf(": ");
			if (*value && !value[strspn(value, "0123456789")])
				fputs(value, stdout);
			else
				gc_json_string(stdout, value);
		}
		if (last)
			break;
	}
	printf("}");
}

/* The lines of all disks, or of one; how many. */
static unsigned lines_print(char *text, const char *disk, bool json)
{
	unsigned count = 0;
	char *line;

	while ((line = strsep(&text, "\n"))) {
		size_t length = strcspn(line, " ");

		if (!*line || (disk && (strlen(disk) != length || strncmp(line, disk, length))))
			continue;
		if (json)
			printf("%s", count ? "," : "");
		if (json)
			line_json(line);
		else
			printf("%s\n", line);
		count++;
	}
	return count;
}

/* A disk that is named and not there is an error, an empty list is none. */
static int stats_run(int argc, char **argv)
{
	struct gc_args args;
	const char *disk;
	unsigned count;
	char *text;
	bool json;

	if (!gc_args_parse(&args, stats_options, argc, argv, 0, 1))
		return GC_USAGE;
	text = answer(&args, "stats\n");
	if (!text)
		return GC_FAILED;
	disk = args.args ? args.arg[0] : NULL;
	json = args.option[JSON] != NULL;
	if (json)
		printf("[");
	count = lines_print(text, disk, json);
	if (json)
		printf("%s]\n", count ? "\n" : "");
	free(text);
	if (fflush(stdout))
		return gc_fail("output: %s", strerror(errno));
	return disk && !count ? gc_fail("'%s': grantiod knows no such disk", disk) : GC_OK;
}

/* The name goes into a line of grantiod's protocol: one with a line break would be a second question. */
static int refresh_run(int argc, char **argv)
{
	char question[64], *text;
	struct gc_args args;
	int rc = GC_OK;

	if (!gc_args_parse(&args, refresh_options, argc, argv, 1, 1))
		return GC_USAGE;
	if (snprintf(question, sizeof(question), "refresh %s\n", args.arg[0]) >= (int)sizeof(question) ||
	    strchr(args.arg[0], '\n'))
		return gc_usage("disk '%s': must be as `grantio disk stats` names it, like d1/xvda", args.arg[0]);
	text = answer(&args, question);
	if (!text)
		return GC_FAILED;
	text[strcspn(text, "\n")] = '\0';
	if (strcmp(text, "ok") != 0)
		rc = gc_fail("%s", strncmp(text, "error: ", 7) == 0 ? text + 7 : text);
	free(text);
	return rc;
}

const struct gc_command gc_disk_stats_command = {
	.name = "stats",
	.summary = "Show what grantiod has counted for each disk it serves",
	.args = "[DISK]",
	.options = stats_options,
	.details = "Each disk has one line: dDOMID/VDEV key=value ... The counts begin when the disk is opened. DISK "
		   "is one of\n"
		   "these names, for instance d1/xvda.\n",
	.run = stats_run,
};

const struct gc_command gc_disk_refresh_command = {
	.name = "refresh",
	.summary = "Make grantiod look at an image's size again, or try a refused disk again",
	.args = "DISK",
	.options = refresh_options,
	.details = "DISK is the name that `grantio disk stats` shows: d1/xvda is xvda of domain 1.\n",
	.run = refresh_run,
};
