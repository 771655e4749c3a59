/* SPDX-License-Identifier: MIT */
/* What the tests of ledgers share: the path of a file in a directory of its own, and a process that runs in steps. */
#ifndef LEDGER_RIG_H
#define LEDGER_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The ledger's file. ledger_rig_setup() makes the directory, and no file. */
extern char ledger_rig_path[64];

/* cmocka's set-up and tear-down; the latter removes the file, and fails if anything else is in the directory. */
int ledger_rig_setup(void **state);
int ledger_rig_teardown(void **state);

/*
 * Run `work` in a child process that stops after each instruction. At each stop the process might have been killed, and
 * `check` is called in the parent to look at what it would have left.
 */
void ledger_rig_steps(void (*work)(void *opaque), void (*check)(void *opaque), void *opaque);

#endif
