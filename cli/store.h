/* SPDX-License-Identifier: MIT */
/*
 * The commands' side of xenstore: libxenstore, of real Xen or of the model. The store is, in this order: that of the
 * machine named by --machine; XENSTORED_PATH; that of the machine named by GRANTIO_MACHINE; real Xen's, if there is
 * one; that of the default machine.
 *
 * Changes are made in transactions: a function runs, and runs again, a bounded number of times, if another client has
 * changed what it read. Errors: 0 or -errno.
 */
#ifndef GC_STORE_H
#define GC_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <xenstore.h>

#define GC_PATH_MAX 256 /* of a path of xenstore that a command makes */

/* The directory of the machine: `option` (NULL: none), GRANTIO_MACHINE, or /dev/shm/grantio-<uid>. In a static buffer.
 */
const char *gc_store_machine(const char *option);

/* NULL after gc_fail(). Sets XENSTORED_PATH. */
struct xs_handle *gc_store_open(const char *machine);

/* A value, to be freed, or NULL. `xs` outside of transactions; `format` makes the path. */
__attribute__((format(printf, 2, 3))) char *gc_store_read(struct xs_handle *xs, const char *format, ...);
/* The same as a number; `missing` if there is none. */
__attribute__((format(printf, 3, 4))) uint64_t gc_store_number(struct xs_handle *xs, uint64_t missing,
							       const char *format, ...);

/* In a transaction. After the first error all of these do nothing; the transaction is then dropped. */
struct gc_tx {
	struct xs_handle *xs;
	xs_transaction_t id;
	int error;
};
__attribute__((format(printf, 3, 4))) void gc_tx_write(struct gc_tx *tx, const char *path, const char *format, ...);
/* A key in a directory, "DIR/KEY". */
__attribute__((format(printf, 4, 5))) void gc_tx_key(struct gc_tx *tx, const char *dir, const char *key,
						     const char *format, ...);
/* Make the directory `path` anew, empty; owned by one domain, readable for another (the same: for nobody else). */
void gc_tx_dir(struct gc_tx *tx, const char *path, unsigned owner, unsigned reader);
/* Its children's names, to be freed; NULL and *count 0: there are none, or no such node. */
char **gc_tx_list(struct gc_tx *tx, const char *path, unsigned *count);
char *gc_tx_read(struct gc_tx *tx, const char *path);
bool gc_tx_exists(struct gc_tx *tx, const char *path);
/* Remove a node; none is no error. */
void gc_tx_rm(struct gc_tx *tx, const char *path);
/* Remove a node, and then the directories above it that are empty, as libxl does, but not `keep` and what is above
 * that. */
void gc_tx_remove(struct gc_tx *tx, const char *path, const char *keep);
/* End the work with an error of the caller's. */
void gc_tx_fail(struct gc_tx *tx, int error);

/* Run `work` in a transaction until it could be committed. 0, the error of the work or of the commit. */
int gc_store_transact(struct xs_handle *xs, void (*work)(struct gc_tx *tx, void *arg), void *arg);

/*
 * Wait until `done` says so of the xenbus state at `path` (0: there is no such node). 0; -ETIMEDOUT; -ECANCELED: there
 * is a node `error` (NULL: none is looked for); -EINTR: a signal came whose handler is the caller's. `state`: the last
 * one seen.
 */
int gc_store_state_wait(struct xs_handle *xs, const char *path, const char *error, bool (*done)(unsigned state),
			int timeout_ms, unsigned *state);

#endif
