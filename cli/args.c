/* SPDX-License-Identifier: MIT */
/*
 * Command lines taken apart by a table of options. All words are looked at before a command does anything, so that a
 * mistake at the end of a line does not leave half of the work done.
 */
#include "cli/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Say what is wrong with the command line; false. */
#define REFUSE(...) (gc_usage(__VA_ARGS__), false)

/* By name and length, since the name on the command line may be followed by '=' and its value. */
static int option_find(const struct gc_option *options, const char *name, size_t length)
{
	for (int i = 0; options && options[i].name && i < GC_MAX_OPTIONS; i++) {
		if (strlen(options[i].name) == length && memcmp(options[i].name, name, length) == 0)
			return i;
	}
	return -1;
}

/* One option at argv[*at]; moves *at to the last word it took. */
static bool option_take(struct gc_args *out, const struct gc_option *options, int argc, char **argv, int *at)
{
	const char *word = argv[*at], *name = word + 2, *equals = NULL;
	int i = -1;

	if (strncmp(word, "--", 2) == 0) {
		equals = strchr(name, '=');
		i = option_find(options, name, equals ? (size_t)(equals - name) : strlen(name));
	}
	if (i < 0)
		return REFUSE("option '%s': no such option (see --help)", word);
	if (out->option[i])
		return REFUSE("option --%s: given twice", options[i].name);
	if (!options[i].value) {
		out->option[i] = "";
		return !equals || REFUSE("option --%s: takes no value", options[i].name);
	}
	if (equals) {
		out->option[i] = equals + 1;
		return true;
	}
	if (*at + 1 >= argc)
		return REFUSE("option --%s: %s is missing", options[i].name, options[i].value);
	out->option[i] = argv[++*at];
	return true;
}

/* The table of a command says how many there may be. GC_MAX_ARGS is the room for them, whatever a table says. */
static bool arg_take(struct gc_args *out, const char *word, int most)
{
	if (out->args >= most || out->args >= GC_MAX_ARGS)
		return REFUSE("argument '%s': one too many (see --help)", word);
	out->arg[out->args++] = word;
	return true;
}

/* "-" alone is an argument, as it is for most programs: it often stands for standard input. */
bool gc_args_parse(struct gc_args *out, const struct gc_option *options, int argc, char **argv, int least, int most)
{
	bool plain = false;

	memset(out, 0, sizeof(*out));
	for (int i = 1; i < argc; i++) {
		if (!plain && strcmp(argv[i], "--") == 0) {
			plain = true;
			continue;
		}
		if (plain || argv[i][0] != '-' || !argv[i][1]) {
			if (!arg_take(out, argv[i], most))
				return false;
		} else if (!option_take(out, options, argc, argv, &i)) {
			return false;
		}
	}
	if (out->args < least)
		return REFUSE("an argument is missing: %d given, %d needed (see --help)", out->args, least);
	return true;
}

/* The program's own options must not be taken for ours: the first word that is no option ends the search. */
bool gc_args_program(struct gc_args *out, const struct gc_option *options, int argc, char **argv, int *at)
{
	memset(out, 0, sizeof(*out));
	for (*at = 1; *at < argc && argv[*at][0] == '-' && argv[*at][1]; (*at)++) {
		if (strcmp(argv[*at], "--") == 0) {
			(*at)++;
			break;
		}
		if (!option_take(out, options, argc, argv, at))
			return false;
	}
	return *at < argc || REFUSE("a command is missing (see --help)");
}

/* Decimal unless it begins with 0x. Octal, which strtoull() would take, is a trap: 010 is ten here. */
static bool number_read(const char *text, uint64_t *out, char **end)
{
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	const char *digits = hex ? text + 2 : text;

	if (!*digits || !strchr(hex ? "0123456789abcdefABCDEF" : "0123456789", *digits))
		return false; /* strtoull would take spaces and signs */
	errno = 0;
	*out = strtoull(digits, end, hex ? 16 : 10);
	return errno == 0;
}

bool gc_number(const char *what, const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
	char *end;

	if (!number_read(text, out, &end) || *end)
		return REFUSE("%s '%s': not a number", what, text);
	if (*out < least || *out > most)
		return REFUSE("%s '%s': not between %llu and %llu", what, text, (unsigned long long)least,
			      (unsigned long long)most);
	return true;
}

/* A shift that loses bits is found by shifting back, so that no size wraps around to a small one. */
bool gc_size(const char *what, const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
	static const char suffixes[] = "KMGT";
	const char *suffix;
	unsigned shift = 0;
	uint64_t count;
	char *end;

	if (!number_read(text, &count, &end))
		return REFUSE("%s '%s': not a size", what, text);
	if (*end) {
		suffix = strchr(suffixes, *end >= 'a' ? *end - 'a' + 'A' : *end);
		if (!suffix || end[1])
			return REFUSE("%s '%s': not a size (bytes, or a suffix K, M, G, T)", what, text);
		shift = 10 * (unsigned)(suffix - suffixes + 1);
	}
	*out = count << shift;
	if (*out >> shift != count || *out < least || *out > most)
		return REFUSE("%s '%s': not between %llu and %llu bytes", what, text, (unsigned long long)least,
			      (unsigned long long)most);
	return true;
}
