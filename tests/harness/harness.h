/* SPDX-License-Identifier: MIT */
/*
 * A whole system for a test: a machine of the model, grantiod on it, domains, disks, images; and what to ask of it.
 *
 * Concepts: `struct th_machine` owns everything: a temporary directory on /dev/shm, the machine's daemon, the
 * grantiods, images. th_machine_stop() ends and removes all of it, whatever state the test was left in; call it in
 * cmocka's teardown. All processes die with the test program (PR_SET_PDEATHSIG). Errors: what goes wrong fails the
 * running test, with a line that says what; so nothing needs to be checked. Only th_machine_stop() and
 * th_grantiod_stop() return: -1 if a process did not end well, for the teardown. Threads: one, the main one (processes
 * die with the *thread* that started them). Waiting: for events, each with a limit in milliseconds; TH_LIMIT_MS is
 * generous enough for sanitizers on a busy machine.
 */
#ifndef TH_HARNESS_H
#define TH_HARNESS_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdbool.h>
#include <sys/types.h>
#include <xenstore.h>

#include "model/machine.h"

#define TH_LIMIT_MS 60000

struct th_machine;

struct th_machine *th_machine_start(void);
/* 0, or -1: a grantiod, or the machine's daemon, ended with a status other than 0, or had to be killed. Takes NULL. */
int th_machine_stop(struct th_machine *m);
/* The machine's directory, for gm_guest_open() and the like. */
const char *th_machine_dir(const struct th_machine *m);
/* The machine, for gm_domain_stats(), gm_fault_set() and the like. */
struct gm_machine *th_machine_model(const struct th_machine *m);
/* Where the test may put files; removed at the end. */
const char *th_files_dir(const struct th_machine *m);

/* ---- grantiod ---- */

/* Start it in domain 0, or in `domid`, with further arguments (NULL at the end), and wait until it is ready. */
__attribute__((sentinel)) void th_grantiod_start(struct th_machine *m, ... /* const char *, NULL */);
__attribute__((sentinel)) void th_grantiod_start_as(struct th_machine *m, unsigned domid, ... /* const char *, NULL */);
/*
 * The functions below, and th_log_*, are about the grantiod that was started last, if it was not stopped, or else about
 * the one before it.
 */
/* SIGTERM. 0, or -1: it did not end with status 0 within the limit (then it is killed), and that is printed. */
int th_grantiod_stop(struct th_machine *m);
/* SIGKILL: as if it had crashed. */
void th_grantiod_kill(struct th_machine *m);
pid_t th_grantiod_pid(const struct th_machine *m);

/* Wait until what grantiod wrote since its start, or since th_log_mark(), contains `text`. */
void th_log_wait(struct th_machine *m, const char *text, int limit_ms);
void th_log_mark(struct th_machine *m);
/* Does it contain it now? */
bool th_log_has(struct th_machine *m, const char *text);
/* How many lines contain it. */
unsigned th_log_count(struct th_machine *m, const char *text);

/* ---- domains, disks, images: by the grantio command ---- */

unsigned th_domain_create(struct th_machine *m, const char *memory, unsigned vcpus);
void th_domain_destroy(struct th_machine *m, unsigned domid);
/* Further options of `grantio disk attach`, NULL at the end. The disk's name ("xvda"), until the next call. */
__attribute__((sentinel)) const char *th_disk_attach(struct th_machine *m, unsigned domid, const char *target,
						     ... /* const char *, NULL */);
void th_disk_detach(struct th_machine *m, unsigned domid, const char *vdev);
/* A sparse file of that size. Its path, until the machine is stopped. */
const char *th_image(struct th_machine *m, uint64_t bytes);

/* ---- xenstore, as domain 0 ---- */

struct xs_handle *th_store(struct th_machine *m);
/* To be freed; NULL: there is none. */
__attribute__((format(printf, 2, 3))) char *th_store_read(struct th_machine *m, const char *format, ...);
__attribute__((format(printf, 3, 4))) void th_store_write(struct th_machine *m, const char *value, const char *format,
							  ...);
__attribute__((format(printf, 2, 3))) void th_store_rm(struct th_machine *m, const char *format, ...);
/* Wait until the node has that value; NULL: until it is gone. */
__attribute__((format(printf, 4, 5))) void th_store_wait(struct th_machine *m, const char *value, int limit_ms,
							 const char *format, ...);

/* ---- programs ---- */

/*
 * Run a program (by PATH) with its arguments, NULL at the end, as domain 0 of the machine, for TH_LIMIT_MS at the most.
 * `out` (NULL: not wanted) gets stdout and stderr. Its exit status; 128 + the signal that ended it.
 */
__attribute__((sentinel)) int th_run(struct th_machine *m, char *out, size_t size, ... /* const char *, NULL */);
/* The same for `grantio`, whose name is left out. */
__attribute__((sentinel)) int th_grantio(struct th_machine *m, char *out, size_t size, ... /* const char *, NULL */);

/* ---- the leak oracle ---- */

/* Remember what is outstanding: every domain's grants, mappings, ports, ioreq servers; grantiod's descriptors. */
void th_leaks_mark(struct th_machine *m); /* th_grantiod_start() does it too, once it is ready */
/* It is the same again, now or within the limit. Domains that there were not then must have nothing outstanding. */
void th_leaks_check(struct th_machine *m);
/* Is anything outstanding now that was not then? What, goes to `text`. */
bool th_leaks_now(struct th_machine *m, char *text, size_t size);

#endif
