/* SPDX-License-Identifier: MIT */
/*
 * How a worker's thread waits for its bell: by its own io_uring, together with all else that it waits for.
 *
 * The number of the channel is read by the ring, and written by the ring to let the bell ring again: both go to the
 * system with the I/O that the kick has asked for, and cost no system call of their own. That counts most in a PV
 * domain, where each system call of a process passes through Xen and changes the page table twice. A kernel that
 * refuses such a read or write has the bell polled instead.
 */
#include <poll.h>

#include "backend/base/count.h"
#include "backend/virtio/worker_priv.h"

/* Let the bell ring again. False: the ring is full. */
static bool silence_end(struct gd_worker *w)
{
	struct gd_bell *bell = w->config.bell;
	struct io_uring_sqe *sqe;

	if (!bell->written || !w->bell_reads || !(w->ring.features & IORING_FEAT_CQE_SKIP)) {
		gd_count_add(&w->syscalls, 1);
		bell->arm(bell);
		return true;
	}
	sqe = io_uring_get_sqe(&w->ring);
	if (!sqe)
		return false;
	w->bell_number = w->bell_heard;
	io_uring_prep_write(sqe, bell->fd, &w->bell_number, sizeof(w->bell_number), 0);
	/* It is no news that this has been done, and nothing that a sleep ends for; an error is. */
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	io_uring_sqe_set_data64(sqe, (uint64_t)GD_TAG_ARMED << GD_TAG_SHIFT);
	return true;
}

bool gd_worker_bell_arm(struct gd_worker *w)
{
	struct gd_bell *bell = w->config.bell;
	struct io_uring_sqe *sqe;

	if (bell && w->bell_rang) {
		if (!silence_end(w))
			return false;
		w->bell_rang = false;
	}
	if (!bell || w->bell_armed)
		return true;
	sqe = io_uring_get_sqe(&w->ring);
	if (!sqe)
		return false;
	if (w->bell_reads)
		io_uring_prep_read(sqe, bell->fd, &w->bell_heard, sizeof(w->bell_heard), 0);
	else
		io_uring_prep_poll_add(sqe, bell->fd, POLLIN);
	io_uring_sqe_set_data64(sqe, (uint64_t)GD_TAG_BELL << GD_TAG_SHIFT);
	w->bell_armed = true;
	w->bell_reading = w->bell_reads;
	return true;
}

void gd_worker_bell_rang(struct gd_worker *w, int result)
{
	struct gd_bell *bell = w->config.bell;

	w->bell_armed = false;
	if (w->bell_reading && result != (int)sizeof(w->bell_heard)) {
		w->bell_reads = false; /* it is polled from now on */
		return;
	}
	w->bell_rang = true;
	gd_count_add(&w->bells, 1);
	if (w->bell_reading) {
		bell->taken(bell, w->bell_heard);
		return;
	}
	gd_count_add(&w->syscalls, 1);
	bell->take(bell);
}

void gd_worker_bell_refused(struct gd_worker *w)
{
	w->bell_reads = false;
	gd_count_add(&w->syscalls, 1);
	w->config.bell->arm(w->config.bell);
}
