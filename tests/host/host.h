/* SPDX-License-Identifier: MIT */
/*
 * A whole host on the model, for one test: machine, store and keeper within the test program, grantiod as a process
 * (the same binary as on Xen), a toolstack that writes what xl writes, and guests that drive their disks.
 *
 * Waiting is always for an event (a line of grantiod's log, a state in xenstore), with a time limit. th_quiet() is the
 * leak oracle: a test calls it, most by th_grantiod_end(), to see that it left nothing behind.
 *
 * Threads: only the test's main thread calls these functions; the machine has a thread of its own. A failure ends the
 * running test with a message, so that no result needs to be checked.
 */
#ifndef TH_HOST_H
#define TH_HOST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>
#include <xenstore.h>

#include "client/disk.h"
#include "model/machine.h"

#define TH_SECONDS 60 /* the longest wait for anything */
#define TH_MIB	   (1024u * 1024u)

int64_t th_now_ms(void); /* since some moment; monotonic */

struct th_host {
	char files[32]; /* where a test may put files; removed at the end */
	char dir[48];	/* the machine's, the same or within it */
	char state[48]; /* th_state_dir(); empty: not made yet */
	struct gm_machine *machine;
	struct xs_handle *xs;	   /* as domain 0 */
	pid_t grantiod;		   /* 0: not running */
	unsigned fds, threads;	   /* of grantiod at rest; see th_grantiod_start() */
	struct th_log *log;	   /* what grantiod has written */
	struct th_machine *inner;  /* what runs in this process, if it does */
	struct th_process *daemon; /* of `grantio model start`, if the machine is that command's */
};

/* End the store, as if xenstored had died. host->xs is of no use from then on. */
void th_store_end(struct th_host *host);
/* Start another store, which knows domain 0 only and nothing of the former one's nodes. */
void th_store_begin(struct th_host *host);
/* Tell it of a domain that there is. */
void th_domain_introduce(struct th_host *host, uint16_t domid);

/* For cmocka_unit_test_setup_teardown(): a machine with domain 0 and nothing else. */
int th_setup(void **state);
/* The same by `grantio model start`, for tests of the command line; the teardown fails if its daemon ends badly. */
int th_setup_by_command(void **state);
int th_teardown(void **state);
/* An empty directory for grantiod's --state-dir, the same at each call; removed at the end with all that is in it. */
const char *th_state_dir(struct th_host *host);

/* ---- grantiod ----------------------------------------------------------------------------------------------- */

/* Start it with these arguments (NULL-terminated; NULL: none) and wait until it is ready. */
void th_grantiod_start(struct th_host *host, const char *const *arguments);
/* Stop all of its threads by SIGSTOP, and wait until they are; SIGCONT lets them go on. */
void th_grantiod_pause(struct th_host *host);
/* Send a signal and wait for its end: the status as of waitpid(2). */
int th_grantiod_stop(struct th_host *host, int signal);
/* SIGTERM; it ends with status 0, and nothing is left: th_quiet(). */
void th_grantiod_end(struct th_host *host, const uint16_t *domids);
unsigned th_grantiod_descriptors(const struct th_host *host); /* now */
/* Run another one until it ends by itself. Returns its exit status; `text` gets its log. */
int th_grantiod_run(struct th_host *host, const char *const *arguments, char *text, size_t size);
/* Wait until `text` stands in `count` lines of the log. */
void th_log_wait(struct th_host *host, const char *text, unsigned count);
unsigned th_log_count(struct th_host *host, const char *text); /* so far */

/*
 * Wait until nothing is left of any guest: domain 0 holds no mappings and no event channels, no domain in `domids` (0
 * ends it) has grants in use or an ioreq server, and grantiod has the files and threads that it had at rest. Not at
 * once: a thread that has ended, or a helper that the kernel had for its I/O, is seen for a moment longer.
 */
void th_quiet(struct th_host *host, const uint16_t *domids);
/* Is anything left at this moment? `text` says what it is. */
bool th_left_over(struct th_host *host, const uint16_t *domids, char *text, size_t size);

/* ---- toolstack ---------------------------------------------------------------------------------------------- */

void th_domain_create(struct th_host *host, uint16_t domid); /* with two vCPUs */
void th_domain_make(struct th_host *host, uint16_t domid, unsigned vcpus);
/* As xl destroy: the domain first, then its directories. */
void th_domain_destroy(struct th_host *host, uint16_t domid);

/* A key that is written with another value than xl's; with value NULL it is not written. */
struct th_key {
	const char *key, *value;
};

/* The image file `name` in the host's directory, `size` bytes; its path, which the host frees. */
const char *th_image(struct th_host *host, const char *name, uint64_t size);

/*
 * Disk `index` of a domain (0: xvda, base 0x2000000, irq 33; 1: xvdb, ...) as xl writes it, but for `keys` (ends with
 * key NULL; may be NULL).
 */
void th_disk_write(struct th_host *host, uint16_t domid, unsigned index, const char *image, const struct th_key *keys);
/* Write one key; value NULL: remove it. */
void th_disk_key(struct th_host *host, uint16_t domid, unsigned index, const char *key, const char *value);
/* Read a key of the backend's directory; the caller frees it. NULL: not there. */
char *th_disk_read(struct th_host *host, uint16_t domid, unsigned index, const char *key);
/* Wait until the backend of a disk has this state. */
void th_disk_wait(struct th_host *host, uint16_t domid, unsigned index, unsigned state);
/* Wait until it is served (state 2: true), or refused with a reason in xenstore. */
bool th_disk_verdict(struct th_host *host, uint16_t domid, unsigned index);
/* Write the disk, and wait until it is served (state 2). */
void th_disk_attach(struct th_host *host, uint16_t domid, unsigned index, const char *image);
/* Remove a disk as xl does: online 0 and state 5, then wait for state 6, then remove the directories. */
void th_disk_detach(struct th_host *host, uint16_t domid, unsigned index);
void th_disk_remove(struct th_host *host, uint16_t domid, unsigned index); /* the directories, at once */

/* Another key in xenstore, absolute; NULL: not there. The caller frees it. */
char *th_store_read(struct th_host *host, const char *path);
/* Wait until the key has that value. */
void th_store_wait(struct th_host *host, const char *path, const char *value);
/* A connection of a guest's own, to be closed by xs_close(). */
struct xs_handle *th_store_connect(struct th_host *host, uint16_t domid);

/* ---- commands ----------------------------------------------------------------------------------------------- */

/*
 * Run a program (by PATH) as domain 0 of the machine, with its arguments, NULL at the end; it has TH_SECONDS to end.
 * `out` (NULL: not wanted) gets stdout and stderr. Returns its exit status, or 128 + the signal that ended it.
 */
__attribute__((sentinel)) int th_run(char *out, size_t size, ... /* const char *, NULL */);
/* The same for `grantio`, whose name is left out. */
__attribute__((sentinel)) int th_grantio(char *out, size_t size, ... /* const char *, NULL */);

/* ---- guest -------------------------------------------------------------------------------------------------- */

/* Open a disk as its guest, whose driver is the guest library; closing it fails if the guest has leaked something. */
struct gp_disk *th_guest_open(struct th_host *host, uint16_t domid, unsigned index);
void th_guest_close(struct gp_disk *disk);
/* Write a pattern of `seed` at `offset`, flush, read it back, and find it in `image`. */
void th_guest_check(struct gp_disk *disk, const char *image, uint64_t offset, size_t bytes, unsigned seed);

#endif
