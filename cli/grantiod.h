/* SPDX-License-Identifier: MIT */
/*
 * Questions to grantiod, on its control socket (backend/control.h). Its answer is text. Size and time are bounded, so
 * that a grantiod that hangs is an error and not a wait. Threads: any. Errors: -errno.
 */
#ifndef GC_GRANTIOD_H
#define GC_GRANTIOD_H

#include <stdbool.h>
#include <stddef.h>

#define GC_GRANTIOD_SOCKET "/run/grantiod/control" /* where the service has it */
#define GC_GRANTIOD_TEXT   (4u << 20)		   /* bytes: room for a line each of several thousand disks */
#define GC_OPTION_CONTROL                                                                                       \
	{                                                                                                       \
		"control", "SOCKET",                                                                            \
			"grantiod's control socket; default $GRANTIO_MACHINE/control, else " GC_GRANTIOD_SOCKET \
	}

/*
 * Where the socket is: `option` (NULL: none); else `control` in the directory of the machine that `machine` (NULL:
 * none) or GRANTIO_MACHINE names; else where the service has it. In a static buffer, until the next call.
 */
const char *gc_grantiod_path(const char *option, const char *machine);

/*
 * Send `question` (with its \n) to the daemon at `path`; its whole answer into `text`, NUL-terminated. 0, or -errno:
 * -ENAMETOOLONG, connect()'s; -ETIMEDOUT after five silent seconds; -EMSGSIZE for a longer answer.
 */
int gc_grantiod_ask(const char *path, const char *question, char *text, size_t size);

/* What a person can do about that error, to follow strerror()'s text in a message; "": nothing is known. */
const char *gc_grantiod_hint(int err);

/* What a grantiod knows of its disks, asked for once. */
struct gc_grantiod {
	int error;  /* 0, or why it said nothing: -ENOENT, -ECONNREFUSED (nobody listens any more) ... */
	char *text; /* its lines */
};

/* Ask the daemon at `path`. To be freed by gc_grantiod_free(), whether it has answered or not. */
void gc_grantiod_look(struct gc_grantiod *grantiod, const char *path);
void gc_grantiod_free(struct gc_grantiod *grantiod);
/* The line of the disk that it calls `name` ("d1/xvda"), behind that name. NULL: it did not answer, or has no such
 * disk. */
const char *gc_grantiod_line(const struct gc_grantiod *grantiod, const char *name);
/* The value of `key` in a line of its statistics, up to its end: in a buffer of `size`. False: there is none. */
bool gc_grantiod_value(const char *line, const char *key, char *value, size_t size);

#endif
