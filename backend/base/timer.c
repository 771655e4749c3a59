/* SPDX-License-Identifier: MIT */
#include "backend/base/timer.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void timer_ready(struct gd_loop_source *source, uint32_t events)
{
	struct gd_timer *timer = source->opaque;
	uint64_t count;

	(void)events;
	/* It fails where the timer has been set again since epoll saw it: then its time has not come yet. */
	if (read(source->fd, &count, sizeof(count)) == sizeof(count))
		timer->expired(timer->opaque);
}

int gd_timer_open(struct gd_timer *timer, struct gd_loop *loop, void (*expired)(void *opaque), void *opaque)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), err;

	if (fd < 0)
		return -errno;
	*timer = (struct gd_timer){.loop = loop, .expired = expired, .opaque = opaque};
	timer->source = (struct gd_loop_source){fd, timer_ready, timer};
	err = gd_loop_add(loop, &timer->source, EPOLLIN);
	if (err) {
		close(fd);
		timer->loop = NULL;
	}
	return err;
}

void gd_timer_close(struct gd_timer *timer)
{
	if (!timer->loop)
		return;
	gd_loop_remove(timer->loop, &timer->source);
	close(timer->source.fd);
	timer->loop = NULL;
}

void gd_timer_set(struct gd_timer *timer, uint64_t ms)
{
	/* A time of 0 would stop the timer. */
	const struct itimerspec when = {
		.it_value = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = ms ? (long)(ms % 1000 * 1000000) : 1}};

	timerfd_settime(timer->source.fd, 0, &when, NULL); /* cannot fail: the descriptor and `when` are ours */
}

bool gd_timer_pending(const struct gd_timer *timer)
{
	struct itimerspec left;

	timerfd_gettime(timer->source.fd, &left); /* cannot fail, as above */
	return left.it_value.tv_sec || left.it_value.tv_nsec;
}
