/* SPDX-License-Identifier: MIT */
#include "backend/sizewatch.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "backend/base/timer.h"

#define REARM_MS 1000
#define BUCKETS	 256u

struct gd_sizewatch {
	struct gd_loop *loop;
	struct gd_loop_source inotify;
	struct gd_timer timer;
	struct gd_sizewatch_file *armed[BUCKETS]; /* by `wd` */
	struct gd_sizewatch_file *spent;	  /* to be armed again, when the timer expires */
};

static void file_link(struct gd_sizewatch_file **list, struct gd_sizewatch_file *file)
{
	file->next = *list;
	file->link = list;
	if (file->next)
		file->next->link = &file->next;
	*list = file;
}

static void file_unlink(struct gd_sizewatch_file *file)
{
	*file->link = file->next;
	if (file->next)
		file->next->link = file->link;
	file->link = NULL;
}

/* Two files of one inode share a watch descriptor. IN_MASK_ADD is not needed, as all masks are the same. */
static void file_arm(struct gd_sizewatch *watch, struct gd_sizewatch_file *file)
{
	file->wd = inotify_add_watch(watch->inotify.fd, file->path, IN_MODIFY | IN_ATTRIB | IN_ONESHOT);
	if (file->wd < 0)
		gd_log(file->log, GD_DEBUG, "%s: its size is not watched: %s", file->path, strerror(errno));
	file_link(file->wd < 0 ? &watch->spent : &watch->armed[(unsigned)file->wd % BUCKETS], file);
}

static void file_spend(struct gd_sizewatch *watch, struct gd_sizewatch_file *file)
{
	file_unlink(file);
	file->wd = -1;
	file_link(&watch->spent, file);
	if (!gd_timer_pending(&watch->timer))
		gd_timer_set(&watch->timer, REARM_MS);
}

/* Events were lost, and with each of them the watch that it ended. */
static void overflow(struct gd_sizewatch *watch)
{
	for (unsigned i = 0; i < BUCKETS; i++)
		while (watch->armed[i])
			file_spend(watch, watch->armed[i]);
}

static void inotify_event(struct gd_sizewatch *watch, const struct inotify_event *event)
{
	struct gd_sizewatch_file *file, *next;

	if (event->mask & IN_Q_OVERFLOW) {
		overflow(watch);
		return;
	}
	for (file = watch->armed[(unsigned)event->wd % BUCKETS]; file; file = next) {
		next = file->next;
		if (file->wd != event->wd)
			continue;
		file_spend(watch, file);
		if (event->mask & (IN_MODIFY | IN_ATTRIB))
			file->changed(file);
	}
}

static void inotify_ready(struct gd_loop_source *source, uint32_t events)
{
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	struct gd_sizewatch *watch = source->opaque;
	ssize_t got = read(source->fd, buffer, sizeof(buffer));

	(void)events;
	for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= got;) {
		const struct inotify_event *event = (const void *)(buffer + at);

		inotify_event(watch, event);
		at += (ssize_t)(sizeof(*event) + event->len);
	}
}

/* Watch first, and look afterwards: so a change in between is not missed. */
static void timer_expired(void *opaque)
{
	struct gd_sizewatch *watch = opaque;
	struct gd_sizewatch_file *file = watch->spent, *next;

	watch->spent = NULL;
	for (; file; file = next) {
		next = file->next;
		file_arm(watch, file);
		file->changed(file);
	}
}

int gd_sizewatch_open(struct gd_sizewatch **out, struct gd_loop *loop)
{
	struct gd_sizewatch *watch = calloc(1, sizeof(*watch));
	int err;

	if (!watch)
		return -ENOMEM;
	watch->loop = loop;
	watch->inotify = (struct gd_loop_source){inotify_init1(IN_CLOEXEC | IN_NONBLOCK), inotify_ready, watch};
	if (watch->inotify.fd < 0) {
		err = -errno;
		goto free_watch;
	}
	err = gd_loop_add(loop, &watch->inotify, EPOLLIN);
	if (err)
		goto close_inotify;
	err = gd_timer_open(&watch->timer, loop, timer_expired, watch);
	if (err)
		goto remove_inotify;
	*out = watch;
	return 0;

remove_inotify:
	gd_loop_remove(loop, &watch->inotify);
close_inotify:
	close(watch->inotify.fd);
free_watch:
	free(watch);
	return err;
}

void gd_sizewatch_close(struct gd_sizewatch *watch)
{
	if (!watch)
		return;
	gd_timer_close(&watch->timer);
	gd_loop_remove(watch->loop, &watch->inotify);
	close(watch->inotify.fd);
	free(watch);
}

void gd_sizewatch_add(struct gd_sizewatch *watch, struct gd_sizewatch_file *file)
{
	if (file->path[0] == '/')
		file_arm(watch, file);
}

void gd_sizewatch_remove(struct gd_sizewatch *watch, struct gd_sizewatch_file *file)
{
	bool shared = false;

	if (!file->link)
		return;
	file_unlink(file);
	if (file->wd < 0)
		return;
	for (struct gd_sizewatch_file *other = watch->armed[(unsigned)file->wd % BUCKETS]; other; other = other->next)
		shared |= other->wd == file->wd;
	if (!shared)
		inotify_rm_watch(watch->inotify.fd, file->wd);
}

bool gd_sizewatch_local(const char *path)
{
	static const uint32_t local[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
					 TMPFS_MAGIC,	   RAMFS_MAGIC,	    F2FS_SUPER_MAGIC};
	struct statfs fs;

	if (path[0] != '/' || statfs(path, &fs))
		return false;
	for (unsigned i = 0; i < sizeof(local) / sizeof(local[0]); i++)
		if ((uint32_t)fs.f_type == local[i])
			return true;
	return false;
}
