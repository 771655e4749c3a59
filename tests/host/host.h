/* SPDX-License-Identifier: MIT */
/*
 * A whole host on the model, for one test: machine, store and keeper within the test program, grantiod as a process
 * (the same binary as on Xen), a toolstack that writes what xl writes, and guests that drive their disks.
 *
 * Waiting is always for an event (a line of grantiod's log, a state in xenstore), with a time limit. What a test leaves
 * behind is looked at when it ends: rig_quiet() is the leak oracle.
 *
 * Threads: the test's; the machine runs in one of the rig's. Failures end the test.
 */
#ifndef RIG_H
#define RIG_H

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

#define RIG_SECONDS 60 /* the longest wait for anything */
#define RIG_MIB	    (1024u * 1024u)

int64_t rig_now_ms(void); /* since some moment; monotonic */

struct rig {
	char dir[64]; /* the machine's */
	struct gm_machine *machine;
	struct xs_handle *xs; /* as domain 0 */
	pid_t daemon;	      /* 0: not running */
	struct rig_host *host;
	unsigned fds, threads; /* of grantiod at rest; see rig_daemon_start() */
};

/* End the store, as if xenstored had died. rig->xs is of no use from then on. */
void rig_store_end(struct rig *rig);
/* Another takes its place, which knows of no domain but 0, and of nothing that the former one knew. */
void rig_store_begin(struct rig *rig);
/* Tell it of a domain that there is. */
void rig_domain_introduce(struct rig *rig, uint16_t domid);

/* For cmocka_unit_test_setup_teardown(): a machine with domain 0 and nothing else. */
int rig_setup(void **state);
int rig_teardown(void **state);

/* ---- grantiod ----------------------------------------------------------------------------------------------- */

/* Start it with these arguments (NULL-terminated; NULL: none) and wait until it is ready. */
void rig_daemon_start(struct rig *rig, const char *const *arguments);
/* Stop all of its threads by SIGSTOP, and wait until they are; SIGCONT lets them go on. */
void rig_daemon_pause(struct rig *rig);
/* Send a signal and wait for its end: the status as of waitpid(2). */
int rig_daemon_stop(struct rig *rig, int signal);
/* SIGTERM; it ends with status 0, and nothing is left: rig_quiet(). */
void rig_daemon_end(struct rig *rig, const uint16_t *domids);
unsigned rig_daemon_descriptors(const struct rig *rig); /* now */
/* Run another one until it ends by itself; its exit status, and what it said in `text`. */
int rig_daemon_run(struct rig *rig, const char *const *arguments, char *text, size_t size);
/* Wait until `text` stands in `count` lines of the log. */
void rig_log_wait(struct rig *rig, const char *text, unsigned count);
unsigned rig_log_count(struct rig *rig, const char *text); /* so far */

/*
 * Wait until nothing is left of any guest: domain 0 holds no mappings and no event channels, no domain in `domids` (0
 * ends it) has grants in use or an ioreq server, and grantiod has the files and threads that it had at rest. Not at
 * once: a thread that has ended, or a helper that the kernel had for its I/O, is seen for a moment longer.
 */
void rig_quiet(struct rig *rig, const uint16_t *domids);

/* ---- toolstack ---------------------------------------------------------------------------------------------- */

void rig_domain_create(struct rig *rig, uint16_t domid); /* with two vCPUs */
void rig_domain_make(struct rig *rig, uint16_t domid, unsigned vcpus);
/* As xl destroy: the domain first, then its directories. */
void rig_domain_destroy(struct rig *rig, uint16_t domid);

/* A key to be written otherwise; value NULL: not at all. */
struct rig_key {
	const char *key, *value;
};

/* The image file `name` in the rig's directory, `size` bytes; its path, which the rig frees. */
const char *rig_image(struct rig *rig, const char *name, uint64_t size);

/*
 * Disk `index` of a domain (0: xvda, base 0x2000000, irq 33; 1: xvdb, ...) as xl writes it, but for `keys` (ends with
 * key NULL; may be NULL).
 */
void rig_disk_write(struct rig *rig, uint16_t domid, unsigned index, const char *image, const struct rig_key *keys);
void rig_disk_key(struct rig *rig, uint16_t domid, unsigned index, const char *key, const char *value);
/* Read a key of the backend's directory; the caller frees it. NULL: not there. */
char *rig_disk_read(struct rig *rig, uint16_t domid, unsigned index, const char *key);
void rig_disk_wait(struct rig *rig, uint16_t domid, unsigned index, unsigned state);
/* Wait until it is served (state 2: true), or refused with a reason in xenstore. */
bool rig_disk_verdict(struct rig *rig, uint16_t domid, unsigned index);
/* Written, and waited for until state 2. */
void rig_disk_attach(struct rig *rig, uint16_t domid, unsigned index, const char *image);
/* online 0 and state 5, waited for until state 6; the directories removed. */
void rig_disk_detach(struct rig *rig, uint16_t domid, unsigned index);
void rig_disk_remove(struct rig *rig, uint16_t domid, unsigned index); /* the directories, at once */

/* Another key in xenstore, absolute; NULL: not there. The caller frees it. */
char *rig_read(struct rig *rig, const char *path);
/* A connection of a guest's own, to be closed by xs_close(). */
struct xs_handle *rig_store_open(struct rig *rig, uint16_t domid);

/* ---- guest -------------------------------------------------------------------------------------------------- */

struct gp_disk *rig_guest_open(struct rig *rig, uint16_t domid, unsigned index);
void rig_guest_close(struct gp_disk *disk);
/* Write a pattern of `seed` at `offset`, flush, read it back, and find it in `image`. */
void rig_guest_check(struct gp_disk *disk, const char *image, uint64_t offset, size_t bytes, unsigned seed);

#endif
