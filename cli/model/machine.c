/* SPDX-License-Identifier: MIT */
/*
 * A machine's files and its lock. The lock of the open file tells whether the daemon lives: unlike a process's number,
 * it cannot be somebody else's by now.
 */
#include "cli/model/machine.h"

#include "cli/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* Read and write, since a lock needs a descriptor that may write on some file systems. */
static int pid_open(const char *dir, int flags)
{
	char path[256];
	int fd;

	if ((size_t)snprintf(path, sizeof(path), "%s/daemon.pid", dir) >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, flags | O_RDWR | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

/* What cannot be a process of ours is no process: 1 and below must never be signalled. */
static pid_t pid_read(int fd)
{
	char text[16] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	long pid = n > 0 ? strtol(text, NULL, 10) : 0;

	return pid > 1 && pid <= INT32_MAX ? (pid_t)pid : 0;
}

/* The number is written after the lock is taken: who finds the lock taken and no number has come in between. */
int gc_machine_lock(const char *dir, pid_t *pid)
{
	int fd = pid_open(dir, O_CREAT), err;

	if (fd < 0)
		return fd;
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		err = errno == EWOULDBLOCK ? -EBUSY : -errno;
		*pid = pid_read(fd);
		close(fd);
		return err;
	}
	err = gc_machine_pid_write(fd);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

/* The former number is cut away first: a reader finds no number in between, and never a mixture of two. */
int gc_machine_pid_write(int lock)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (ftruncate(lock, 0))
		return -errno;
	return pwrite(lock, text, (size_t)length, 0) == length ? 0 : -EIO;
}

/* A shared lock that can be had shows that nobody holds the exclusive one. */
pid_t gc_machine_pid(const char *dir)
{
	int fd = pid_open(dir, 0);
	pid_t pid = 0;

	if (fd < 0)
		return 0;
	if (flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK)
		pid = pid_read(fd);
	close(fd);
	return pid;
}

/* daemon.pid is made first: where it is missing, no machine has ever been started. */
bool gc_machine_there(const char *dir)
{
	int fd = pid_open(dir, 0);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Each grantiod holds a lock on its domain's byte of this file, for as long as it lives. */
pid_t gc_machine_grantiod(const char *dir)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET}; /* the whole file */
	pid_t pid = 0;
	char path[256];
	int fd;

	if ((size_t)snprintf(path, sizeof(path), "%s/grantiod.lock", dir) >= sizeof(path))
		return 0;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return 0;
	if (!fcntl(fd, F_GETLK, &lock) && lock.l_type != F_UNLCK)
		pid = lock.l_pid;
	close(fd);
	return pid;
}

/* Only these are ever removed: the directory may be one that somebody named by mistake. */
static bool is_machines(const char *name)
{
	static const char *const names[] = {"machine",	     ".machine.*", "keeper",  "daemon.pid", "control",
					    "grantiod.lock", "store",	   "store.*", "dom[0-9]*",  "ev.[0-9]*"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (fnmatch(names[i], name, 0) == 0)
			return true;
	}
	return false;
}

/* An empty directory becomes a machine's. One with other files must not, or these would be mixed with them. */
int gc_machine_claim(const char *dir)
{
	DIR *list = opendir(dir);
	struct dirent *entry;
	int err = 0;

	if (!list)
		return -errno;
	while (!err && (entry = readdir(list))) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			err = -ENOTEMPTY;
	}
	if (err && faccessat(dirfd(list), "daemon.pid", F_OK, 0) == 0)
		err = 0;
	closedir(list);
	return err;
}

/* Unlink a machine's files, but the one called `keep`. */
static int files_remove(const char *dir, const char *keep)
{
	DIR *list = opendir(dir);
	struct dirent *entry;

	if (!list)
		return -errno;
	while ((entry = readdir(list))) {
		if (is_machines(entry->d_name) && strcmp(entry->d_name, keep) != 0)
			unlinkat(dirfd(list), entry->d_name,
				 0); /* what is left shows when it is to be made or at rmdir */
	}
	closedir(list);
	return 0;
}

/* daemon.pid stays: the lock that the caller holds is on this very file. */
void gc_machine_clear(const char *dir)
{
	files_remove(dir, "daemon.pid");
}

/* What is not a machine's stays, and then the directory stays as well. */
int gc_machine_remove(const char *dir)
{
	int err = files_remove(dir, "");

	if (!err && rmdir(dir))
		err = errno == EEXIST ? -ENOTEMPTY : -errno;
	return err == -ENOENT ? 0 : err;
}

/* Whether it runs is asked first: the files of a dead machine can be mapped as well. */
bool gc_machine_open(struct gm_machine **machine, const char *dir)
{
	int err;

	if (!gc_machine_pid(dir)) {
		gc_fail("machine %s: it does not run (see 'grantio model start')", dir);
		return false;
	}
	err = gm_machine_open(machine, dir);
	if (err)
		gc_fail("machine %s: %s", dir, strerror(-err));
	return err == 0;
}

/* Both or neither: on failure nothing is open. */
bool gc_machine_open_store(struct gm_machine **machine, struct xs_handle **xs, const char *option)
{
	const char *dir = gc_store_machine(option);

	if (!gc_machine_open(machine, dir))
		return false;
	*xs = gc_store_open(dir);
	if (!*xs)
		gm_machine_close(*machine);
	return *xs != NULL;
}
