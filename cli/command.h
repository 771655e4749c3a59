/* SPDX-License-Identifier: MIT */
/*
 * The command table of `grantio`: commands, their options, help and error lines.
 *
 * A command is one constant `struct gc_command`. It either runs (`run`) or holds further commands (`commands`).
 * `--help` (and `-h`) works behind every command and needs nothing from it: the text is made of the table. To add a
 * command, export its table and name it in main.c.
 *
 * Exit codes: 0 done, 1 the work failed, 2 the command line is wrong. A variable `rc` holds one; 0 or -errno is in
 * `err`. Each failure is one line on stderr that starts with the command: "grantio: disk attach: vdev 'foo': ...".
 *
 * Threads: one. The command that runs is kept in a static variable, for the error lines.
 */
#ifndef GC_COMMAND_H
#define GC_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

enum { GC_OK = 0, GC_FAILED = 1, GC_USAGE = 2 };

#define GC_MAX_OPTIONS 24
#define GC_MAX_ARGS    16

/* `--name VALUE` or `--name=VALUE`, or, where `value` is NULL, a flag. A table ends with a NULL name. */
struct gc_option {
	const char *name;  /* without the dashes */
	const char *value; /* what the help calls the value */
	const char *help;  /* one line */
};

struct gc_command {
	const char *name;
	const char *summary;			  /* one line, no full stop */
	const char *args;			  /* positional arguments as the usage line shows them; NULL: none */
	const struct gc_option *options;	  /* for the help (and gc_args_parse); NULL: none */
	const char *details;			  /* further help, lines ended by \n; NULL: none */
	bool program;				  /* its arguments are another program's command line */
	int (*run)(int argc, char **argv);	  /* argv[0] is the name; returns an exit code */
	const struct gc_command *const *commands; /* instead of `run`: further commands, NULL at the end */
};

/* Run what argv[1] names below `root`; returns the exit code. */
int gc_command_dispatch(const struct gc_command *root, int argc, char **argv);

/* A command line taken apart. Strings are argv's own. */
struct gc_args {
	const char *option[GC_MAX_OPTIONS]; /* by place in the option table: the value (flags: ""), NULL if not given */
	const char *arg[GC_MAX_ARGS];	    /* positional arguments */
	int args;
};

/*
 * Take argv apart by `options` (NULL: none). Options may stand anywhere before "--"; each may be given once.
 * True, or false after gc_usage() has said what is wrong; also when there are fewer than `least` or more than `most`
 * positional arguments.
 */
bool gc_args_parse(struct gc_args *out, const struct gc_option *options, int argc, char **argv, int least, int most);
/*
 * For a command whose arguments are another program's command line: options end with the first word that is none, or
 * with
 * "--". `at`: the word of argv that names the program; there is one.
 */
bool gc_args_program(struct gc_args *out, const struct gc_option *options, int argc, char **argv, int *at);

/*
 * Numbers. `what` names the value in the error line. True, or false after gc_usage() has said what is wrong.
 * gc_number: decimal or 0x hexadecimal, `least` to `most`. gc_size: bytes, or with a suffix K, M, G, T (1024's powers).
 */
bool gc_number(const char *what, const char *text, uint64_t least, uint64_t most, uint64_t *out);
bool gc_size(const char *what, const char *text, uint64_t least, uint64_t most, uint64_t *out);

/* One line on stderr. They return GC_FAILED and GC_USAGE, for `return gc_fail(...)`. */
__attribute__((format(printf, 1, 2))) int gc_fail(const char *format, ...);
__attribute__((format(printf, 1, 2))) int gc_usage(const char *format, ...);
/* The same without failing. */
__attribute__((format(printf, 1, 2))) void gc_warn(const char *format, ...);

#endif
