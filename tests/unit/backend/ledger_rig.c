/* SPDX-License-Identifier: MIT */
#include "tests/unit/backend/ledger_rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

char ledger_rig_path[64];

int ledger_rig_setup(void **state)
{
	(void)state;
	snprintf(ledger_rig_path, sizeof(ledger_rig_path), "/tmp/gd-ledger-XXXXXX");
	return mkdtemp(ledger_rig_path) ? (strcat(ledger_rig_path, "/ledger"), 0) : -1;
}

int ledger_rig_teardown(void **state)
{
	(void)state;
	unlink(ledger_rig_path);
	*strrchr(ledger_rig_path, '/') = '\0';
	return rmdir(ledger_rig_path);
}

void ledger_rig_steps(void (*work)(void *opaque), void (*check)(void *opaque), void *opaque)
{
	pid_t child = fork();
	unsigned steps = 0;
	int status;

	assert_true(child >= 0);
	if (!child) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		work(opaque);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	for (; WIFSTOPPED(status); steps++) {
		check(opaque);
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
	}
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_true(steps > 100);
}
