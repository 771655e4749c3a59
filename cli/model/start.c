/* SPDX-License-Identifier: MIT */
/*
 * grantio model start, stop. A machine is a directory and a daemon. The daemon's lock on a file there is what tells a
 * machine that runs from files that a dead one has left: those are cleared away by the next start.
 */
#include "cli/model/machine.h"
#include "cli/store.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DIR_MAX	     80 /* a socket's path has room for 108 bytes with all */
#define STOP_WAIT_MS 10000
#define KILL_WAIT_MS 2000

/* ---- start ---- */

enum { FOREGROUND, ENV, MACHINE };

static const struct gc_option start_options[] = {
	[FOREGROUND] = {"foreground", NULL, "be the daemon, until SIGTERM or SIGINT"},
	[ENV] = {"env", NULL, "print what a shell has to evaluate, instead of the directory"},
	[MACHINE] = GC_OPTION_MACHINE,
	{0},
};

/* Make the directory, and its path absolute: what is printed is meant for GRANTIO_MACHINE of any process. */
static int dir_make(const char *option, char *dir)
{
	const char *named = gc_store_machine(option);
	char *path;
	int err;

	if (mkdir(named, 0700) && errno != EEXIST)
		return gc_fail("machine %s: %s", named, strerror(errno));
	path = realpath(named, NULL);
	if (!path)
		return gc_fail("machine %s: %s", named, strerror(errno));
	if (strlen(path) >= DIR_MAX) {
		free(path);
		return gc_fail("machine %s: the path is longer than %d bytes", named, DIR_MAX - 1);
	}
	strcpy(dir, path);
	free(path);
	err = gc_machine_claim(dir);
	if (err == -ENOTEMPTY)
		return gc_fail("machine %s: the directory holds other files", dir);
	return err ? gc_fail("machine %s: %s", dir, strerror(-err)) : GC_OK;
}

/* The machine to be started, and how its place is to be printed once it runs. */
struct place {
	char dir[DIR_MAX];
	bool env;
};

/* For a shell's eval, with quotes that hold whatever is in it. */
static void variable_print(const char *name, const char *value)
{
	printf("export %s='", name);
	for (; *value; value++) {
		if (*value == '\'')
			printf("'\\''");
		else
			putchar(*value);
	}
	printf("';\n");
}

/* The plugin's path is for nbdkit, which looks for plugins in its own folder only. */
static void place_print(const struct place *place)
{
	char *plugin = gc_machine_plugin();

	variable_print("GRANTIO_MACHINE", place->dir);
	variable_print("GRANTIO_PLUGIN", plugin ? plugin : "grantio"); /* nbdkit may know it by its name */
	free(plugin);
}

/* The first line of output is the machine's directory: scripts take it from there. */
static void ready_print(int error, const char *what, void *arg)
{
	const struct place *place = arg;

	if (error)
		gc_fail("machine %s: %s: %s", place->dir, what, strerror(-error));
	else if (place->env)
		place_print(place);
	else
		printf("%s\n", place->dir);
	fflush(stdout);
}

/* How the daemon's start went, from the child to the command that waits for it: small enough for one write to a pipe.
 */
struct outcome {
	int error;
	char what[28];
};

/* The daemon's first words to the command that started it. */
static void ready_send(int error, const char *what, void *arg)
{
	struct outcome outcome = {.error = error};
	int *fd = arg, null = open("/dev/null", O_RDWR | O_CLOEXEC);

	snprintf(outcome.what, sizeof(outcome.what), "%s", what);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO); /* who reads our output must not wait for the daemon's end */
		close(null);
	}
	/* If this fails, the command that waited has gone, and needs no answer. */
	if (write(*fd, &outcome, sizeof(outcome)) == sizeof(outcome))
		close(*fd);
}

/* setsid(): the daemon must not end with the terminal that it was started from. */
static int background_child(const char *dir, int lock, int fd)
{
	int err = gc_machine_pid_write(lock);

	if (setsid() < 0)
		err = -errno;
	if (err) {
		ready_send(err, "daemon", &fd);
		return GC_FAILED;
	}
	return gc_model_run(dir, ready_send, &fd);
}

/* The parent waits for the child's word, so that the machine can be used when the command returns. */
static int background(struct place *place, int lock)
{
	struct outcome outcome = {.error = -EPIPE, .what = "daemon"};
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return gc_fail("pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0) {
		close(fds[0]);
		close(fds[1]);
		return gc_fail("fork: %s", strerror(errno));
	}
	if (pid == 0) {
		close(fds[0]);
		exit(background_child(place->dir, lock, fds[1]));
	}
	close(fds[1]);
	if (read(fds[0], &outcome, sizeof(outcome)) != sizeof(outcome))
		outcome.error = -EPIPE; /* it died */
	close(fds[0]);
	ready_print(outcome.error, outcome.what, place);
	return outcome.error ? GC_FAILED : GC_OK;
}

/* The lock is taken before anything is removed: files of a machine that runs are not touched. */
static int start_run(int argc, char **argv)
{
	struct place place;
	struct gc_args args;
	pid_t pid = 0;
	char *dir = place.dir;
	int lock, rc;

	if (!gc_args_parse(&args, start_options, argc, argv, 0, 0))
		return GC_USAGE;
	place.env = args.option[ENV] != NULL;
	rc = dir_make(args.option[MACHINE], dir);
	if (rc)
		return rc;
	lock = gc_machine_lock(dir, &pid);
	if (lock == -EBUSY)
		return gc_fail("machine %s: it runs already, as process %d", dir, (int)pid);
	if (lock < 0)
		return gc_fail("machine %s: daemon.pid: %s", dir, strerror(-lock));
	gc_machine_clear(dir); /* what a daemon that was killed has left */
	rc = args.option[FOREGROUND] ? gc_model_run(dir, ready_print, &place) : background(&place, lock);
	close(lock);
	return rc;
}

const struct gc_command gc_model_start_command = {
	.name = "start",
	.summary = "Make a machine and start its daemon (keeper and xenstore)",
	.options = start_options,
	.details = "The command prints the machine's directory once it can be used. Programs find the machine by\n"
		   "GRANTIO_MACHINE=DIR, and libxenstore finds its store by XENSTORED_PATH=DIR/store.\n"
		   "eval $(grantio model start --env) sets GRANTIO_MACHINE, and GRANTIO_PLUGIN to the nbdkit plugin.\n",
	.run = start_run,
};

/* ---- stop ---- */

enum { FORCE, STOP_MACHINE };

static const struct gc_option stop_options[] = {
	[FORCE] = {"force", NULL, "stop it even if a grantiod runs on it"},
	[STOP_MACHINE] = GC_OPTION_MACHINE,
	{0},
};

/* A process descriptor stays that process's, while a number may be used again. */
static int process_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static bool process_end(int process, int signal_number, int wait_ms)
{
	struct pollfd wait = {.fd = process, .events = POLLIN};

	syscall(SYS_pidfd_send_signal, process, signal_number, NULL, 0);
	return poll(&wait, 1, wait_ms) == 1;
}

/* The daemon, by a descriptor that cannot come to mean another process; -1: it has ended. */
static int daemon_open(const char *dir, pid_t *pid)
{
	int process = -1;

	*pid = gc_machine_pid(dir);
	if (*pid)
		process = process_open(*pid);
	/* Still the one that holds the lock: then the number was not used again before it was opened. */
	if (process >= 0 && gc_machine_pid(dir) != *pid) {
		close(process);
		process = -1;
	}
	return process;
}

/* grantiod outlives its xenstore, as guests on Xen need it to: it would wait for this machine's for ever. */
static int grantiod_gone(const char *dir)
{
	pid_t pid = gc_machine_grantiod(dir);

	return pid ? gc_fail("machine %s: process %d is a grantiod that runs on it: end that first (or see --force)",
			     dir, (int)pid)
		   : GC_OK;
}

/* SIGKILL only after the daemon had time to remove its files. The keeper needs no orderly end. */
static int daemon_end(const char *dir, int process, pid_t pid)
{
	bool ended = process_end(process, SIGTERM, STOP_WAIT_MS);

	if (!ended)
		gc_warn("machine %s: process %d did not end in %d s, and is killed", dir, (int)pid,
			STOP_WAIT_MS / 1000);
	ended = ended || process_end(process, SIGKILL, KILL_WAIT_MS);
	return ended ? GC_OK : gc_fail("machine %s: process %d cannot be killed", dir, (int)pid);
}

/* Files are removed even if the daemon was dead already: it may have been killed. */
static int stop_run(int argc, char **argv)
{
	int process, rc = GC_OK, err;
	struct gc_args args;
	const char *dir;
	pid_t pid;

	if (!gc_args_parse(&args, stop_options, argc, argv, 0, 0))
		return GC_USAGE;
	dir = gc_store_machine(args.option[STOP_MACHINE]);
	process = daemon_open(dir, &pid);
	if (process < 0 && !gc_machine_there(dir))
		return gc_fail("machine %s: there is none", dir);
	if (!args.option[FORCE])
		rc = grantiod_gone(dir);
	if (!rc && process >= 0)
		rc = daemon_end(dir, process, pid);
	if (process >= 0)
		close(process);
	if (rc)
		return rc;
	err = gc_machine_remove(dir);
	if (err == -ENOTEMPTY)
		gc_warn("machine %s: the directory stays, it holds other files", dir);
	else if (err)
		return gc_fail("machine %s: %s", dir, strerror(-err));
	return GC_OK;
}

const struct gc_command gc_model_stop_command = {
	.name = "stop",
	.summary = "End a machine's daemon and remove the machine",
	.options = stop_options,
	.details = "A machine on which a grantiod runs is refused: that grantiod would go on, and wait for a xenstore "
		   "that is\n"
		   "gone.\n",
	.run = stop_run,
};
