/* SPDX-License-Identifier: MIT */
/* `grantio dt` for the lab's host, where the rest of grantio may lack its libraries: the command's own sources, and
 * this. */
#include "cli/command.h"
#include "cli/dt/dt.h"

static const struct gc_command *const commands[] = {&gc_dt_command, NULL};
static const struct gc_command root = {.name = "grantio", .summary = "device trees", .commands = commands};

int main(int argc, char **argv)
{
	return gc_command_dispatch(&root, argc, argv);
}
