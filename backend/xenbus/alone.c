/* SPDX-License-Identifier: MIT */
#include "backend/base/log.h"
#include "backend/xenbus/alone.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SYSTEM_DIR  "/run/grantiod"
#define SYSTEM_LOCK SYSTEM_DIR "/lock"
#define OTHER_LOCK  "grantiod.lock"

#define PLACES	 4	 /* bytes per domain: the usual one, and others for a process that follows a dying one */
#define STRIDE	 0x10000 /* from one place to the next */
#define PAUSE_MS 20
#define PAUSES	 100 /* two seconds in all */

/* The directory of xenstored's socket, found as libxenstore finds it (xs_open(3)); empty: the system's. */
static int store_dir(char dir[PATH_MAX])
{
	const char *socket = getenv("XENSTORED_PATH"), *run = getenv("XENSTORED_RUNDIR");
	const char *slash = socket ? strrchr(socket, '/') : NULL;
	int length = 0;

	dir[0] = '\0';
	if (slash)
		length = snprintf(dir, PATH_MAX, "%.*s/", (int)(slash - socket), socket);
	else if (!socket && run)
		length = snprintf(dir, PATH_MAX, "%s/", run);
	return length < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* The file's name, by the xenstore that libxenstore will find: that of the system, or a model machine's own. */
static int lock_path(char path[PATH_MAX])
{
	static const char *const system[] = {"/run/xenstored", "/var/lib/xenstored", "/dev/xen", "/proc/xen", "/dev"};
	char dir[PATH_MAX], real[PATH_MAX];
	int err = store_dir(dir);

	snprintf(path, PATH_MAX, "%s", SYSTEM_LOCK);
	if (err || !dir[0])
		return err;
	if (!realpath(dir, real))
		return -errno;
	for (unsigned i = 0; i < sizeof(system) / sizeof(system[0]); i++)
		if (!strcmp(real, system[i]))
			return 0;
	return snprintf(path, PATH_MAX, "%s/" OTHER_LOCK, real) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* Open the file. Its descriptor is never closed, as that would end the lock. */
static int lock_open(const char *path)
{
	int fd;

	if (!strcmp(path, SYSTEM_LOCK) && mkdir(SYSTEM_DIR, 0700) && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

static struct flock place_lock(uint16_t domid, unsigned place)
{
	return (struct flock){
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)domid + (off_t)place * STRIDE, .l_len = 1};
}

/* True: the process was killed, and none of its threads will return to the program: only the kernel is still busy. */
static bool process_dying(pid_t pid)
{
	char path[40], line[512], *state;
	FILE *file;
	size_t got;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = pid > 0 ? fopen(path, "re") : NULL;
	if (!file)
		return false; /* it has gone, and the next look finds its lock free; or it is hidden from us */
	got = fread(line, 1, sizeof(line) - 1, file);
	fclose(file);
	line[got] = '\0';
	state = strrchr(line, ')'); /* behind the name, in which there may be any character */
	return state && (state[2] == 'Z' || state[2] == 'X');
}

/* Whether another process that may serve holds one of the domain's places: 1, with its number in `pid`; 0; -errno. */
static int other_find(int fd, uint16_t domid, pid_t *pid)
{
	for (unsigned place = 0; place < PLACES; place++) {
		struct flock lock = place_lock(domid, place);

		if (fcntl(fd, F_GETLK, &lock))
			return -errno;
		if (lock.l_type == F_UNLCK || process_dying(lock.l_pid))
			continue;
		*pid = lock.l_pid;
		return 1;
	}
	return 0;
}

static int place_take(int fd, uint16_t domid)
{
	for (unsigned place = 0; place < PLACES; place++) {
		struct flock lock = place_lock(domid, place);

		if (!fcntl(fd, F_SETLK, &lock))
			return 0;
		if (errno != EAGAIN && errno != EACCES)
			return -errno;
	}
	return -EAGAIN;
}

/* Take a place first, and then look at the others: of two processes that start at once, at least one sees the other. */
static int lock_take(int fd, uint16_t domid, pid_t *pid)
{
	struct flock none = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
	int found = other_find(fd, domid, pid);

	if (!found)
		found = place_take(fd, domid);
	if (!found)
		found = other_find(fd, domid, pid);
	if (found > 0)
		fcntl(fd, F_SETLK, &none);
	return found > 0 ? -EEXIST : found;
}

int gd_alone_take(uint16_t domid)
{
	const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
	char path[PATH_MAX];
	pid_t pid = 0;
	int err = lock_path(path), fd;

	fd = err ? err : lock_open(path);
	err = fd < 0 ? fd : lock_take(fd, domid, &pid);
	for (unsigned i = 0; i < PAUSES && (err == -EEXIST || err == -EAGAIN); i++) {
		nanosleep(&pause, NULL);
		err = lock_take(fd, domid, &pid);
	}
	if (err == -EEXIST)
		gd_log(NULL, GD_ERR,
		       "process %d is a grantiod that serves domain %u's disks already (%s): there can be one only",
		       (int)pid, domid, path);
	else if (err)
		gd_log(NULL, GD_ERR, "lock %s: %s", path, strerror(-err));
	if (err && fd >= 0)
		close(fd);
	return err;
}
