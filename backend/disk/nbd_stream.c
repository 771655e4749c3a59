/* SPDX-License-Identifier: MIT */
#include "backend/disk/nbd_queue.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "backend/base/clock.h"

#define BUFFER_BYTES (256u << 10) /* more than the answers to 32 reads of 4 KiB, and than a socket usually holds */
#define PEEK_BYTES   4096u	  /* what is received into the buffer while the answer to a big read is to come */
#define PIECES	     64u	  /* of one system call that sends */

int gd_nbd_stream_open(struct gd_nbd_queue *queue)
{
	int err = gd_nbd_frame_open(&queue->frame, queue->base.depth);

	queue->buffer = malloc(BUFFER_BYTES); /* from the system, page by page, as it is used */
	return !err && queue->buffer ? 0 : -ENOMEM;
}

void gd_nbd_stream_close(struct gd_nbd_queue *queue)
{
	gd_nbd_frame_close(&queue->frame);
	free(queue->buffer);
	queue->buffer = NULL;
}

void gd_nbd_stream_begin(struct gd_nbd_queue *queue)
{
	uint64_t base;

	/* The system has random numbers, and gives so few in one piece. Without them, a server may guess cookies: it
	 * cannot gain anything by them, since an answer to what was not sent is refused. */
	if (getrandom(&base, sizeof(base), GRND_NONBLOCK) != sizeof(base))
		base = gd_clock_ns() * 0x9e3779b97f4a7c15u;
	gd_nbd_frame_reset(&queue->frame, base);
	queue->broken = queue->full = false;
}

/* The reason why the connection is of no use any more. Whoever called the ring or the disk looks at it (nbd_settle). */
static void stream_break(struct gd_nbd_queue *queue, const char *what, int error)
{
	if (error)
		snprintf(queue->why, sizeof(queue->why), "%s: %s", what, gd_log_errno(error));
	else
		snprintf(queue->why, sizeof(queue->why), "%s", what);
	queue->broken = true;
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

void gd_nbd_stream_send(struct gd_nbd_queue *queue)
{
	struct iovec pieces[PIECES];
	struct msghdr message = {.msg_iov = pieces};
	ssize_t n;

	while (!queue->full && (message.msg_iovlen = gd_nbd_frame_unsent(&queue->frame, pieces, PIECES))) {
		n = sendmsg(queue->link.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0) {
			gd_nbd_frame_sent(&queue->frame, (size_t)n);
		} else if (n < 0 && errno == EAGAIN) {
			queue->full = true;
		} else if (n == 0 || errno != EINTR) {
			stream_break(queue, "send", n ? errno : EPIPE);
			return;
		}
	}
}

/* ---- answers ---------------------------------------------------------------------------------------------------- */

static void answers_take(struct gd_nbd_queue *queue, const char *bytes, size_t n)
{
	struct gd_nbd_answer answer;
	int result;

	while ((result = gd_nbd_frame_take(&queue->frame, &bytes, &n, &answer)) > 0)
		gd_nbd_io_answered(queue, &answer);
	if (result)
		stream_break(queue, queue->frame.fault, 0);
}

/* How much the ring and we receive into the buffer at once. The data of a big read is better received in its place. */
static size_t buffer_room(const struct gd_nbd_queue *queue)
{
	return queue->frame.big ? PEEK_BYTES : BUFFER_BYTES;
}

/* Receive the data of the answer that comes now, straight into its place, and what is there behind it. False: all that
 * was there is taken. */
static bool data_receive(struct gd_nbd_queue *queue)
{
	struct iovec places[2] = {{0}, {queue->buffer, 0}};
	struct msghdr message = {.msg_iov = places, .msg_iovlen = 2};
	struct gd_nbd_answer answer;
	size_t room;
	ssize_t n;

	places[0].iov_base = gd_nbd_frame_room(&queue->frame, &room);
	places[0].iov_len = room;
	places[1].iov_len = buffer_room(queue);
	if (!room || queue->broken)
		return false;
	n = recvmsg(queue->link.fd, &message, MSG_DONTWAIT);
	if (n <= 0) /* the ring asks again, and has the error or the end then */
		return false;
	if (gd_nbd_frame_filled(&queue->frame, (size_t)n < room ? (size_t)n : room, &answer)) {
		gd_nbd_io_answered(queue, &answer);
		answers_take(queue, queue->buffer, (size_t)n - room);
	}
	return true;
}

void gd_nbd_stream_received(struct gd_nbd_queue *queue, uint32_t generation, int result)
{
	if (queue->receiving == gd_queue_user_data(&queue->base, GD_KIND_RECEIVE, generation, 0))
		queue->receiving = 0;
	if (generation != queue->epoch || !gd_nbd_serving(queue) || result == -EINTR || result == -EAGAIN)
		return; /* a former connection's; or nothing was received, and the ring is asked again */
	if (result == 0) {
		stream_break(queue, "the server closed the connection", 0);
		return;
	}
	if (result < 0) {
		stream_break(queue, "recv", result);
		return;
	}
	answers_take(queue, queue->buffer, (size_t)result);
	/* The server is writing an answer: the rest of it is often there by now. It ends, since each turn but the last
	 * takes bytes of answers that are due, of which there is no more than what was asked for. */
	while (data_receive(queue))
		;
	gd_nbd_silence_end(queue);
}

bool gd_nbd_stream_arm(struct gd_nbd_queue *queue)
{
	struct io_uring_sqe *sqe;

	if (!queue->receiving) { /* otherwise it is this connection's, or a former one's, which ends soon */
		sqe = gd_queue_sqe(&queue->base);
		if (!sqe)
			return false;
		io_uring_prep_recv(sqe, queue->link.fd, queue->buffer, buffer_room(queue), 0);
		queue->receiving = gd_queue_user_data(&queue->base, GD_KIND_RECEIVE, queue->epoch, 0);
		io_uring_sqe_set_data64(sqe, queue->receiving);
	}
	return !queue->full || gd_nbd_poll_out_arm(queue);
}

/* ---- the end ---------------------------------------------------------------------------------------------------- */

/*
 * If the system has not taken the receive from the ring yet, it becomes a submission that does nothing. Otherwise it
 * would be done on whatever has the number of its socket by then. True if that was so.
 */
static bool receive_withdraw(struct gd_nbd_queue *queue)
{
	const struct io_uring_sq *sq = &queue->base.ring->sq;
	unsigned taken = __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE);

	for (unsigned i = sq->sqe_tail; i != taken; i--) {
		struct io_uring_sqe *sqe = &sq->sqes[(i - 1) & *sq->kring_mask];

		if (sqe->user_data != queue->receiving)
			continue;
		io_uring_prep_nop(sqe);
		io_uring_sqe_set_data64(sqe, queue->receiving);
		return true;
	}
	return false;
}

void gd_nbd_stream_leave(struct gd_nbd_queue *queue)
{
	struct io_uring_sync_cancel_reg which = {.addr = queue->receiving, .fd = -1, .timeout = {-1, -1}};

	if (!queue->receiving || receive_withdraw(queue))
		return;
	/* It returns when the receive is over. Linux before 6.0 has no such call; there, a receive that is cancelled is
	 * over when the submission of the cancellation returns. */
	if (io_uring_register_sync_cancel(queue->base.ring, &which) == -EINVAL) {
		gd_nbd_ring_cancel(queue, GD_KIND_RECEIVE, (uint32_t)(queue->receiving >> 16));
		io_uring_submit(queue->base.ring);
	}
}

void gd_nbd_stream_end(struct gd_nbd_queue *queue)
{
	if (queue->link.fd < 0)
		return;
	if (queue->receiving)
		receive_withdraw(queue);
	gd_nbd_polls_cancel(queue);
	gd_nbd_link_end(&queue->link, !queue->broken && gd_nbd_frame_between(&queue->frame));
}
