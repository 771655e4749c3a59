/* SPDX-License-Identifier: MIT */
#include "backend/base/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

struct gd_loop {
	int epoll;
};

int gd_loop_open(struct gd_loop **out)
{
	struct gd_loop *loop = calloc(1, sizeof(*loop));
	int err;

	if (!loop)
		return -ENOMEM;
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll < 0) {
		err = -errno;
		free(loop);
		return err;
	}
	*out = loop;
	return 0;
}

void gd_loop_close(struct gd_loop *loop)
{
	if (!loop)
		return;
	close(loop->epoll);
	free(loop);
}

static int control(struct gd_loop *loop, int op, struct gd_loop_source *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	return epoll_ctl(loop->epoll, op, source->fd, &event) ? -errno : 0;
}

int gd_loop_add(struct gd_loop *loop, struct gd_loop_source *source, uint32_t events)
{
	return control(loop, EPOLL_CTL_ADD, source, events);
}

int gd_loop_change(struct gd_loop *loop, struct gd_loop_source *source, uint32_t events)
{
	return control(loop, EPOLL_CTL_MOD, source, events);
}

void gd_loop_remove(struct gd_loop *loop, struct gd_loop_source *source)
{
	(void)control(loop, EPOLL_CTL_DEL, source, 0); /* cannot fail: it was added */
}

int gd_loop_step(struct gd_loop *loop, int timeout_ms)
{
	/* One event at a time: otherwise a source that an earlier callback removed could still be in the list. */
	struct epoll_event event;
	struct gd_loop_source *source;
	int got = epoll_wait(loop->epoll, &event, 1, timeout_ms);

	if (got < 0)
		return errno == EINTR ? 0 : -errno;
	if (!got)
		return -ETIMEDOUT;
	source = event.data.ptr;
	source->ready(source, event.events);
	return 0;
}
