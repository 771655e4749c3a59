/* SPDX-License-Identifier: MIT */
/* Run a command of the table in this process, and catch what it writes. */
#ifndef CLI_CATCH_H
#define CLI_CATCH_H

#include "cli/command.h"

extern char cli_out[32768], cli_err[8192];

/* `words`: argv, NULL at the end. The exit code. */
int cli_run(const struct gc_command *root, const char *const *words);
#define RUN(root, ...) cli_run(root, (const char *const[]){"grantio", __VA_ARGS__, NULL})

/* The command failed as it should: exit code, nothing on stdout, this one line on stderr. */
void cli_refused(int code, int wanted, const char *line, const char *where);

#endif
