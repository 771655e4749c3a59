/* SPDX-License-Identifier: MIT */
/*
 * A machine's directory and its daemon, as the commands see them.
 *
 * `daemon.pid` holds the daemon's process id, and the daemon holds a lock on it for as long as it lives: whether a
 * machine runs is asked of the lock, never of the number alone. Only files of a machine are ever removed from the
 * directory. Errors: 0 or -errno.
 */
#ifndef GC_MACHINE_H
#define GC_MACHINE_H

#include "cli/command.h"
#include "model/machine.h"

#include <stdbool.h>
#include <sys/types.h>

struct xs_handle;

extern const struct gc_command gc_model_command, gc_model_start_command, gc_model_stop_command, gc_model_status_command,
	gc_model_stats_command, gc_model_create_command, gc_model_destroy_command, gc_model_allow_command,
	gc_model_exec_command;

/* The option of every command here. */
#define GC_OPTION_MACHINE                                                                              \
	{                                                                                              \
		"machine", "DIR", "the machine; default $GRANTIO_MACHINE, else /dev/shm/grantio-<uid>" \
	}

/* May the directory become a machine's: it is empty, or a machine's? 0 or -ENOTEMPTY. */
int gc_machine_claim(const char *dir);
/* Take the lock and write the caller's pid. A descriptor, to be kept open; -EBUSY with *pid: it runs already. */
int gc_machine_lock(const char *dir, pid_t *pid);
/* Write the caller's pid: the lock was taken by its parent. */
int gc_machine_pid_write(int lock);
/* The daemon's pid; 0: it does not run. */
pid_t gc_machine_pid(const char *dir);
/* Is it a machine's directory, whether it runs or not? */
bool gc_machine_there(const char *dir);
/* A process that is a grantiod of the machine, whatever domain it serves (backend/xenbus/alone.c); 0: there is none. */
pid_t gc_machine_grantiod(const char *dir);
/* Remove what an earlier machine left, but for daemon.pid. */
void gc_machine_clear(const char *dir);
/* Remove a machine's files and then the directory. -ENOTEMPTY: it holds other files too; those are left. */
int gc_machine_remove(const char *dir);

/* The nbdkit plugin that belongs to this program, to be freed; NULL: there is none. */
char *gc_machine_plugin(void);

/* Map a machine that runs. False after gc_fail(). */
bool gc_machine_open(struct gm_machine **machine, const char *dir);
/* The same with its xenstore. */
bool gc_machine_open_store(struct gm_machine **machine, struct xs_handle **xs, const char *option);

/*
 * Be the daemon of the machine in `dir` until SIGTERM or SIGINT: make the machine, say so through `ready` (called with
 * 0, or with -errno and what failed), run keeper and store. The caller holds the lock. An exit code.
 */
int gc_model_run(const char *dir, void (*ready)(int error, const char *what, void *arg), void *arg);

#endif
