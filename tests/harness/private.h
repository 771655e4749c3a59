/* SPDX-License-Identifier: MIT */
/* What the parts of the harness share. */
#ifndef TH_PRIVATE_H
#define TH_PRIVATE_H

#include "tests/harness/harness.h"

#define TH_GRANTIODS 4
#define TH_IMAGES    64
#define TH_ARGS	     32

struct th_process {
	pid_t pid;
	int pidfd;
	char log[96];	      /* its stderr */
	size_t mark;	      /* where th_log_*() begin to look */
	unsigned descriptors; /* at th_leaks_mark() */
};

struct th_outstanding {
	uint32_t grants_active, mappings_held, ports, ioreq_servers;
};

struct th_machine {
	char *files, *dir;
	struct th_process daemon, grantiod[TH_GRANTIODS];
	unsigned grantiods;
	struct gm_machine *model;
	struct xs_handle *xs;
	char image[TH_IMAGES][80];
	unsigned images;
	struct th_outstanding mark[GM_MAX_DOMAINS];
	char vdev[32];
	int reported; /* bad ends of processes */
};

int64_t th_now_ms(void);
/* Collect arguments from a list; `argv` holds TH_ARGS. */
void th_args(char **argv, unsigned *argc, va_list list);
/*
 * Start argv[0] as domain `domid`, on the model's libraries if `preload`; stdout to `out` (-1: /dev/null), stderr to
 * `err`. Fails the test.
 */
void th_process_start(struct th_machine *m, struct th_process *process, char *const *argv, unsigned domid, bool preload,
		      int out, int err);
/* Send a signal (0: none) and wait. The wait status; -1: still there. */
int th_process_wait(struct th_process *process, int signal_number, int limit_ms);
/* th_run() with argv[0] as the program. */
int th_run_argv(struct th_machine *m, char *out, size_t size, char *const *argv);
/* The grantiod that is meant; fails the test if there is none. */
struct th_process *th_grantiod(struct th_machine *m);
/* Print the end of a process's log, for a test that fails. */
void th_log_print(const struct th_process *process);
/* The whole log, NUL at the end; to be freed. */
char *th_log_load(const struct th_process *process, size_t *length);
unsigned th_descriptors(pid_t pid);

#endif
