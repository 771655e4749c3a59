/* SPDX-License-Identifier: MIT */
/*
 * There is one grantiod per domain: a second one would map the same ledgers and rings, and serve the same requests.
 *
 * Each holds a lock on one byte of a file; the number of its domain says which. The file is /run/grantiod/lock for the
 * system's xenstore, and grantiod.lock beside the socket of any other (a model machine's). The kernel ends the lock
 * with the process. A process that was killed while its last I/O is under way serves nothing any more, but the kernel
 * has not ended its lock yet: then another byte of the same domain is taken.
 *
 * Threads: the main thread, once. Errors: 0 or -errno, logged.
 * Not defended: two processes that do not see the same /run, and root, who may remove the file.
 */
#ifndef GD_ALONE_H
#define GD_ALONE_H

#include <stdint.h>

/*
 * Be the only process that serves the backends of `domid`, for as long as this process lives. Waits a moment for
 * another one that is about to end. -EEXIST: another one serves them.
 */
int gd_alone_take(uint16_t domid);

#endif
