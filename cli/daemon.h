/* SPDX-License-Identifier: MIT */
/*
 * Questions to grantiod, on its control socket (backend/control.h). What it says is text; it is bounded here, in size
 * and in time, so that a daemon that hangs is an error and no wait.
 *
 * Threads: any. Errors: -errno.
 */
#ifndef GC_DAEMON_H
#define GC_DAEMON_H

#include <stdbool.h>
#include <stddef.h>

#define GC_DAEMON_SOCKET "/run/grantiod/control" /* where the service has it */
#define GC_DAEMON_TEXT	 (4u << 20)		 /* bytes: room for a line each of several thousand disks */
#define GC_OPTION_CONTROL                                                                                     \
	{                                                                                                     \
		"control", "SOCKET",                                                                          \
			"grantiod's control socket; default $GRANTIO_MACHINE/control, else " GC_DAEMON_SOCKET \
	}

struct gc_disk;

/*
 * Where the socket is: `option` (NULL: none); else `control` in the directory of the machine that `machine` (NULL:
 * none) or GRANTIO_MACHINE names; else where the service has it. In a static buffer, until the next call.
 */
const char *gc_daemon_path(const char *option, const char *machine);

/*
 * Send `question` (with its \n) to the daemon at `path`; its whole answer into `text`, NUL-terminated. 0, or -errno:
 * -ENAMETOOLONG, connect()'s; -ETIMEDOUT after five silent seconds; -EMSGSIZE for a longer answer.
 */
int gc_daemon_ask(const char *path, const char *question, char *text, size_t size);

/* What a person can do about that error, to follow strerror()'s text in a message; "": nothing is known. */
const char *gc_daemon_hint(int err);

/* What a grantiod knows of its disks, asked for once. */
struct gc_daemon {
	int error;  /* 0, or why it said nothing: -ENOENT, -ECONNREFUSED (nobody listens any more) ... */
	char *text; /* its lines */
};

/* What it says of one disk. */
struct gc_daemon_disk {
	char phase[16]; /* "served" ...; "" : it does not know the disk */
	bool served;
	bool told, in_use; /* a driver of the guest's uses it, if that was told */
};

/* Ask the daemon at `path`. To be freed by gc_daemon_free(), whether it has answered or not. */
void gc_daemon_look(struct gc_daemon *daemon, const char *path);
void gc_daemon_free(struct gc_daemon *daemon);
/* What it said of the disk; false: it did not answer, or does not know the disk. */
bool gc_daemon_find(const struct gc_daemon *daemon, const struct gc_disk *disk, struct gc_daemon_disk *out);
/* The value of `key` in a line of its statistics, up to its end: in a buffer of `size`. False: there is none. */
bool gc_daemon_value(const char *line, const char *key, char *value, size_t size);

#endif
