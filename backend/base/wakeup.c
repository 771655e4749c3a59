/* SPDX-License-Identifier: MIT */
#include "backend/base/wakeup.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void wakeup_ready(struct gd_loop_source *source, uint32_t events)
{
	struct gd_wakeup *wakeup = source->opaque;
	eventfd_t count;

	(void)events;
	/* Read before `woken` looks: what comes later wakes the loop again. */
	if (!eventfd_read(source->fd, &count))
		wakeup->woken(wakeup->opaque);
}

int gd_wakeup_open(struct gd_wakeup *wakeup, struct gd_loop *loop, void (*woken)(void *opaque), void *opaque)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), err;

	if (fd < 0)
		return -errno;
	*wakeup = (struct gd_wakeup){.loop = loop, .woken = woken, .opaque = opaque};
	wakeup->source = (struct gd_loop_source){fd, wakeup_ready, wakeup};
	err = gd_loop_add(loop, &wakeup->source, EPOLLIN);
	if (err) {
		close(fd);
		wakeup->loop = NULL;
	}
	return err;
}

void gd_wakeup_close(struct gd_wakeup *wakeup)
{
	if (!wakeup->loop)
		return;
	gd_loop_remove(wakeup->loop, &wakeup->source);
	close(wakeup->source.fd);
	wakeup->loop = NULL;
}

void gd_wakeup_send(struct gd_wakeup *wakeup)
{
	/* It fails only where 2^64 - 2 wake-ups have not been seen yet: then the loop is woken all the same. */
	(void)eventfd_write(wakeup->source.fd, 1);
}
