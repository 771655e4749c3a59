/* SPDX-License-Identifier: MIT */
/*
 * One grantiod for a domain: a second one would map the same ledgers and rings, and serve the same requests.
 *
 * A lock on one byte of a file, by the number of the domain: /run/grantiod/lock for the system's xenstore, and
 * grantiod.lock beside the socket of any other (a model machine's). The kernel ends it with the process, however that
 * ends. Where a killed process is still held up by its last I/O, it serves nothing any more, but the kernel has not yet
 * taken its lock: then another byte of the same domain is taken.
 *
 * Threads: the main thread, once. Errors: 0 or -errno, logged.
 * Not defended: two that do not see the same /run, and root, who may remove the file.
 */
#ifndef GD_ALONE_H
#define GD_ALONE_H

#include <stdint.h>

/*
 * Be the only one that serves the backends of `domid`, for as long as this process lives. Waits a moment for one that
 * is about to end. -EEXIST: there is another.
 */
int gd_alone_take(uint16_t domid);

#endif
