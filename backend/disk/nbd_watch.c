/* SPDX-License-Identifier: MIT */
/*
 * What an NBD queue waits for, in the thread's io_uring, besides answers: one-shot polls of the socket, for the events
 * that libnbd waits for while it connects, and for room to send; and one timer.
 *
 * Silence is how long the oldest request in flight has had no answer. The timer is armed when there is a request and
 * the timer is not armed yet; when it expires, it looks at the requests that are in flight then. So watching costs
 * nothing per request.
 */
#include "backend/base/clock.h"
#include "backend/disk/nbd_queue.h"

#include <libnbd.h>
#include <poll.h>
#include <stdio.h>

static bool poll_arm(struct gd_nbd_queue *queue, enum gd_disk_kind kind, int fd, unsigned events)
{
	struct io_uring_sqe *sqe = gd_queue_sqe(&queue->base);

	if (!sqe)
		return false;
	io_uring_prep_poll_add(sqe, fd, events);
	io_uring_sqe_set_data64(sqe, gd_queue_user_data(&queue->base, kind, queue->epoch, 0));
	return true;
}

bool gd_nbd_polls_arm(struct gd_nbd_queue *queue)
{
	unsigned direction = nbd_aio_get_direction(queue->handle);
	int fd = nbd_aio_get_fd(queue->handle);

	if (direction & LIBNBD_AIO_DIRECTION_READ && !queue->in_armed)
		queue->in_armed = poll_arm(queue, GD_KIND_POLL_IN, fd, POLLIN);
	if (direction & LIBNBD_AIO_DIRECTION_WRITE && !queue->out_armed)
		queue->out_armed = poll_arm(queue, GD_KIND_POLL_OUT, fd, POLLOUT);
	return (queue->in_armed || !(direction & LIBNBD_AIO_DIRECTION_READ)) &&
	       (queue->out_armed || !(direction & LIBNBD_AIO_DIRECTION_WRITE));
}

bool gd_nbd_poll_out_arm(struct gd_nbd_queue *queue)
{
	if (!queue->out_armed)
		queue->out_armed = poll_arm(queue, GD_KIND_POLL_OUT, queue->link.fd, POLLOUT);
	return queue->out_armed;
}

void gd_nbd_ring_cancel(struct gd_nbd_queue *queue, enum gd_disk_kind kind, uint32_t generation)
{
	struct io_uring_sqe *sqe = gd_queue_sqe(&queue->base);
	uint64_t user_data = gd_queue_user_data(&queue->base, kind, generation, 0);

	if (!sqe)
		return; /* it expires some time, and is then not taken for the current one */
	if (kind == GD_KIND_TIMER)
		io_uring_prep_timeout_remove(sqe, user_data, 0);
	else
		io_uring_prep_cancel64(sqe, user_data, 0);
	io_uring_sqe_set_data64(sqe, gd_queue_user_data(&queue->base, GD_KIND_CANCEL, 0, 0));
}

void gd_nbd_polls_cancel(struct gd_nbd_queue *queue)
{
	if (queue->in_armed)
		gd_nbd_ring_cancel(queue, GD_KIND_POLL_IN, queue->epoch);
	if (queue->out_armed)
		gd_nbd_ring_cancel(queue, GD_KIND_POLL_OUT, queue->epoch);
	queue->in_armed = false;
	queue->out_armed = false;
	queue->epoch++;
}

void gd_nbd_timer_cancel(struct gd_nbd_queue *queue)
{
	if (queue->timer_armed)
		gd_nbd_ring_cancel(queue, GD_KIND_TIMER, queue->timer);
	queue->timer_armed = false;
	queue->timer++;
}

/* The ring reads timer_span when it is submitted, and so it is submitted before timer_span changes again. */
bool gd_nbd_timer_arm(struct gd_nbd_queue *queue, uint64_t due)
{
	struct io_uring_sqe *sqe;
	uint64_t now;

	if (!due)
		return true;
	if (queue->timer_armed && due < queue->timer_at) {
		gd_nbd_timer_cancel(queue);
		io_uring_submit(queue->base.ring);
	}
	if (queue->timer_armed)
		return true;
	sqe = gd_queue_sqe(&queue->base);
	if (!sqe)
		return false;
	now = gd_clock_ms();
	due = due > now ? due : now + 1;
	queue->timer_span.tv_sec = (long long)((due - now) / 1000);
	queue->timer_span.tv_nsec = (long long)((due - now) % 1000 * 1000000);
	queue->timer_at = due;
	io_uring_prep_timeout(sqe, &queue->timer_span, 0, 0);
	io_uring_sqe_set_data64(sqe, gd_queue_user_data(&queue->base, GD_KIND_TIMER, queue->timer, 0));
	queue->timer_armed = true;
	return true;
}

/* --- silence --- */

static unsigned silent_ms(const struct gd_nbd_disk *disk)
{
	return disk->silent_ms ? disk->silent_ms : GD_NBD_SILENT_MS;
}

/* When the oldest request in flight was sent, and how many there are; 0: there is none. */
static uint64_t oldest_sent(const struct gd_nbd_queue *queue, unsigned *count)
{
	uint64_t oldest = 0;
	unsigned i;

	*count = 0;
	for (i = 0; i < queue->base.depth; i++) {
		const struct gd_disk_slot *slot = &queue->base.slots[i];

		if (!slot->io || !slot->asked)
			continue;
		++*count;
		if (!oldest || slot->sent < oldest)
			oldest = slot->sent;
	}
	return oldest;
}

uint64_t gd_nbd_silence_due(const struct gd_nbd_queue *queue)
{
	const struct gd_nbd_disk *disk = gd_nbd_disk_of(queue->base.disk);
	uint64_t limit = disk->timeout_ms, oldest;
	unsigned count;

	if (!queue->base.active || queue->timer_armed)
		return 0;
	if (!queue->silent_since && (!limit || limit > silent_ms(disk)))
		limit = silent_ms(disk);
	oldest = limit ? oldest_sent(queue, &count) : 0;
	return oldest ? oldest + limit : 0;
}

static void silence_begin(struct gd_nbd_queue *queue, uint64_t since, uint64_t age, unsigned count)
{
	const struct gd_nbd_disk *disk = gd_nbd_disk_of(queue->base.disk);
	char then[64] = "they wait";

	queue->silent_since = since;
	if (disk->timeout_ms)
		snprintf(then, sizeof(then), "they fail after %u s", (disk->timeout_ms + 999) / 1000);
	gd_log_guest(disk->disk.log, GD_WARN,
		     "%s: the server has not answered for %llu s, with %u requests in flight: %s", disk->disk.target,
		     (unsigned long long)(age / 1000), count, then);
}

bool gd_nbd_silence_look(struct gd_nbd_queue *queue)
{
	const struct gd_nbd_disk *disk = gd_nbd_disk_of(queue->base.disk);
	uint64_t now = gd_clock_ms(), age;
	unsigned count;
	uint64_t oldest = oldest_sent(queue, &count);

	if (!oldest)
		return false;
	age = now - oldest;
	if (disk->timeout_ms && age >= disk->timeout_ms) {
		snprintf(queue->why, sizeof(queue->why), "no answer for %llu s", (unsigned long long)(age / 1000));
		return true;
	}
	if (!queue->silent_since && age >= silent_ms(disk))
		silence_begin(queue, oldest, age, count);
	return false;
}

void gd_nbd_silence_end(struct gd_nbd_queue *queue)
{
	const struct gd_nbd_disk *disk = gd_nbd_disk_of(queue->base.disk);
	uint64_t now = gd_clock_ms(), oldest;
	unsigned count;

	if (!queue->silent_since)
		return;
	oldest = oldest_sent(queue, &count);
	if (oldest && now - oldest >= silent_ms(disk))
		return; /* other requests still have no answer */
	gd_log_guest(disk->disk.log, GD_NOTICE, "%s: the server answers again, after %llu s", disk->disk.target,
		     (unsigned long long)((now - queue->silent_since) / 1000));
	queue->silent_since = 0;
	gd_nbd_timer_cancel(queue); /* it was set for the time-out of a request that has been answered now */
}
