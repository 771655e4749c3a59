/* SPDX-License-Identifier: MIT */
/*
 * Questions to grantiod, on its control socket (backend/control.h). What it says is text; it is bounded here, in size
 * and in time, so that a daemon that hangs is an error and no wait.
 *
 * Threads: any. Errors: -errno.
 */
#ifndef GC_DAEMON_H
#define GC_DAEMON_H

#include <stddef.h>

#define GC_DAEMON_SOCKET "/run/grantiod/control" /* where Debian's service has it */
#define GC_DAEMON_TEXT	 65536			 /* bytes: room for a line each of several hundred disks */

/*
 * Send `question` (with its \n) to the daemon at `path`; its whole answer into `text`, NUL-terminated. 0, or -errno:
 * -ENAMETOOLONG, connect()'s; -ETIMEDOUT after five silent seconds; -EMSGSIZE for a longer answer.
 */
int gc_daemon_ask(const char *path, const char *question, char *text, size_t size);

#endif
