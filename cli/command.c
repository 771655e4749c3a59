/* SPDX-License-Identifier: MIT */
/*
 * Which command runs, its help, and error lines. Help is made from the tables that parse the command line, so that it
 * cannot name an option that does not exist.
 */
#include "cli/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CONTEXT_MAX 64

static char context[CONTEXT_MAX]; /* "disk attach": the command that runs */

/* Names that do not fit are cut: they only introduce error lines. */
static void context_add(const char *name)
{
	size_t used = strlen(context);

	snprintf(context + used, sizeof(context) - used, "%s%s", used ? " " : "", name);
}

/* The whole line in one write, so that lines of several processes do not mix. */
__attribute__((format(printf, 1, 0))) static void line_put(const char *format, va_list list)
{
	char text[1024];

	vsnprintf(text, sizeof(text), format, list);
	for (char *c = text; *c; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?'; /* one line, whatever the value holds */
	}
	fprintf(stderr, "grantio: %s%s%s\n", context, context[0] ? ": " : "", text);
}

int gc_fail(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	line_put(format, list);
	va_end(list);
	return GC_FAILED;
}

int gc_usage(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	line_put(format, list);
	va_end(list);
	return GC_USAGE;
}

void gc_warn(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	line_put(format, list);
	va_end(list);
}

/* A description that is longer than its column pushes the text to the right, and is still read. */
static void help_options(const struct gc_option *options)
{
	printf("\nOptions:\n");
	for (; options && options->name; options++) {
		char left[40];

		snprintf(left, sizeof(left), "--%s%s%s", options->name, options->value ? " " : "",
			 options->value ? options->value : "");
		printf("  %-22s %s\n", left, options->help);
	}
	printf("  %-22s %s\n", "--help", "this text");
}

static void help_commands(const struct gc_command *const *commands)
{
	printf("\nCommands:\n");
	for (; *commands; commands++)
		printf("  %-22s %s\n", (*commands)->name, (*commands)->summary);
	printf("\nEach command has its own --help.\n");
}

/* The usage line shows the words that led here, as the user has typed them. */
static int help_print(const struct gc_command *command)
{
	printf("Usage: grantio%s%s%s%s%s\n", context[0] ? " " : "", context, command->commands ? " COMMAND" : "",
	       command->args ? " " : "", command->args ? command->args : "");
	printf("\n%s.\n", command->summary);
	if (command->details)
		printf("\n%s", command->details);
	help_options(command->options);
	if (command->commands)
		help_commands(command->commands);
	return fflush(stdout) ? GC_FAILED : GC_OK;
}

static bool is_help(const char *text)
{
	return strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0;
}

/* Another program's --help is not ours. */
static bool help_wanted(const struct gc_command *command, int argc, char **argv)
{
	int end = command->program && argc > 2 ? 2 : argc;

	for (int i = 1; i < end && strcmp(argv[i], "--") != 0; i++) {
		if (is_help(argv[i]))
			return true;
	}
	return false;
}

static const struct gc_command *command_find(const struct gc_command *const *commands, const char *name)
{
	for (; *commands; commands++) {
		if (strcmp((*commands)->name, name) == 0)
			return *commands;
	}
	return NULL;
}

/* One letter too many, too few or another one, or two of them swapped. */
static bool nearly(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b), same = 0, end = 0;

	while (a[same] && a[same] == b[same])
		same++;
	while (end < la - same && end < lb - same && a[la - 1 - end] == b[lb - 1 - end])
		end++;
	la -= same + end;
	lb -= same + end;
	return (la <= 1 && lb <= 1) || (la == 2 && lb == 2 && a[same] == b[same + 1] && a[same + 1] == b[same]);
}

/* "disk stats' or 'model stats": where the groups have a command of this name. False: nowhere. */
static bool groups_find(const struct gc_command *const *commands, const char *name, char *text, size_t size)
{
	size_t used = 0;

	for (; *commands; commands++) {
		if (!(*commands)->commands || !command_find((*commands)->commands, name))
			continue;
		used += (size_t)snprintf(text + used, size - used, "%s%s %s", used ? "' or '" : "", (*commands)->name,
					 name);
		if (used >= size)
			break; /* cut; what is there is right */
	}
	return used != 0;
}

/* A command of xl typed without its group (`grantio attach`), or a slip of a finger (`grantio dsik`). */
static int unknown_say(const struct gc_command *const *commands, const char *name)
{
	char others[64];

	for (const struct gc_command *const *at = commands; *at; at++) {
		if (nearly((*at)->name, name))
			return gc_usage("command '%s': no such command, is it '%s' (see --help)?", name, (*at)->name);
	}
	if (groups_find(commands, name, others, sizeof(others)))
		return gc_usage("command '%s': no such command, is it '%s' (see --help)?", name, others);
	return gc_usage("command '%s': no such command (see --help)", name);
}

/*
 * Goes down one level of commands per call. A group that has options of its own (`grantio --version`) runs for words
 * that begin with a dash.
 */
static int dispatch(const struct gc_command *command, int argc, char **argv)
{
	if (!command->commands)
		return help_wanted(command, argc, argv) ? help_print(command) : command->run(argc, argv);
	if (argc < 2)
		return gc_usage("a command is missing (see --help)");
	if (is_help(argv[1]))
		return help_print(command);
	if (command->run && argv[1][0] == '-')
		return command->run(argc, argv); /* the options of the whole program */

	const struct gc_command *next = command_find(command->commands, argv[1]);

	if (!next && strcmp(argv[1], "help") == 0)
		return help_print(command);
	if (!next)
		return unknown_say(command->commands, argv[1]);
	context_add(next->name);
	return dispatch(next, argc - 1, argv + 1);
}

/* The context is reset for unit tests, which run several commands in one process. */
int gc_command_dispatch(const struct gc_command *root, int argc, char **argv)
{
	context[0] = '\0';
	return dispatch(root, argc, argv);
}
