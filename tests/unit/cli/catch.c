/* SPDX-License-Identifier: MIT */
#include "tests/unit/cli/catch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

char cli_out[32768], cli_err[8192];

struct caught {
	FILE *stream, *file;
	int saved;
};

static void catch_begin(struct caught *caught, FILE *stream)
{
	fflush(stream);
	caught->stream = stream;
	caught->file = tmpfile();
	assert_non_null(caught->file);
	caught->saved = dup(fileno(stream));
	dup2(fileno(caught->file), fileno(stream));
}

static void catch_end(struct caught *caught, char *text, size_t size)
{
	size_t got;

	fflush(caught->stream);
	dup2(caught->saved, fileno(caught->stream));
	close(caught->saved);
	rewind(caught->file);
	got = fread(text, 1, size - 1, caught->file);
	text[got] = '\0';
	fclose(caught->file);
}

int cli_run(const struct gc_command *root, const char *const *words)
{
	char *argv[24] = {NULL};
	struct caught out, err;
	int argc = 0, code;

	for (; words[argc]; argc++)
		argv[argc] = (char *)(uintptr_t)words[argc];
	catch_begin(&out, stdout);
	catch_begin(&err, stderr);
	code = gc_command_dispatch(root, argc, argv);
	catch_end(&err, cli_err, sizeof(cli_err));
	catch_end(&out, cli_out, sizeof(cli_out));
	return code;
}

void cli_refused(int code, int wanted, const char *line, const char *where)
{
	if (code != wanted || strcmp(cli_err, line) != 0 || cli_out[0])
		fail_msg("%s: exit code %d \"%s\" \"%s\" instead of %d \"%s\"", where, code, cli_err, cli_out, wanted,
			 line);
	assert_ptr_equal(strchr(cli_err, '\n'), cli_err + strlen(cli_err) - 1);
}
