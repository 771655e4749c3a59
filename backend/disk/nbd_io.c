/* SPDX-License-Identifier: MIT */
/*
 * Requests of an NBD queue, and their answers.
 *
 * Lost writes: which acknowledged writes a server may lose, nbd_doubt.c keeps.
 *
 * Lost answers: when a connection is lost, nobody can know what became of a request in flight that changes the disk.
 * The server may have done it, or not, or may do it later; even the end of the server proves nothing. So it fails. If
 * it were done again, it would be acknowledged while the first one may still be done, and overwrite what the guest
 * writes next. Reads and flushes are done again.
 */
#include "backend/base/clock.h"
#include "backend/disk/nbd_queue.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#define AGAIN_MOST                                                                                                    \
	3 /* so often an I/O is given to a new connection, so that a server that closes each one does not keep it for \
	     ever */

enum mode { MODE_DATA, MODE_ZERO, MODE_TRIM, MODE_SYNC };

/* --- requests --- */

static int slot_answered(void *opaque, int *error)
{
	struct gd_disk_slot *slot = opaque;
	struct gd_nbd_queue *queue = (struct gd_nbd_queue *)slot->owner;

	slot->error = *error;
	slot->next = queue->answered;
	queue->answered = slot;
	return 1; /* libnbd may forget the command */
}

static enum mode mode_choose(const struct gd_nbd_queue *queue, const struct gd_disk_io *io)
{
	if (!gd_io_unfinished(io))
		return MODE_SYNC;
	if (io->op == GD_DISK_DISCARD)
		return MODE_TRIM;
	return io->op == GD_DISK_WRITE_ZEROES && queue->can.zero ? MODE_ZERO : MODE_DATA;
}

static uint32_t chunk_length(const struct gd_nbd_queue *queue, const struct gd_disk_io *io, enum mode mode)
{
	uint64_t left = io->length - io->progress, most = queue->can.payload;

	if (mode != MODE_DATA)
		most = GD_DISK_MAX_DISCARD;
	else if (io->op == GD_DISK_WRITE_ZEROES && most > GD_DISK_ZEROES)
		most = GD_DISK_ZEROES;
	return (uint32_t)(left < most ? left : most);
}

static int64_t data_send(const struct gd_nbd_queue *queue, struct gd_disk_slot *slot)
{
	const nbd_completion_callback answered = {.callback = slot_answered, .user_data = slot};
	const struct gd_disk_io *io = slot->io;
	uint64_t at = io->offset + io->progress;

	if (io->op == GD_DISK_READ)
		return nbd_aio_pread(queue->handle, (char *)io->buf + io->progress, slot->chunk, at, answered, 0);
	return nbd_aio_pwrite(queue->handle, io->op == GD_DISK_WRITE ? (char *)io->buf + io->progress : gd_disk_zeroes,
			      slot->chunk, at, answered, io->fua && queue->can.fua ? LIBNBD_CMD_FLAG_FUA : 0);
}

static int64_t command_send(const struct gd_nbd_queue *queue, struct gd_disk_slot *slot)
{
	const nbd_completion_callback answered = {.callback = slot_answered, .user_data = slot};
	const struct gd_disk_io *io = slot->io;
	uint64_t at = io->offset + io->progress;
	uint32_t flags;

	switch (slot->mode) {
	case MODE_ZERO:
		flags = io->fua && queue->can.fua ? LIBNBD_CMD_FLAG_FUA : 0;
		if (!io->unmap || !queue->base.disk->discard)
			flags |= LIBNBD_CMD_FLAG_NO_HOLE;
		return nbd_aio_zero(queue->handle, slot->chunk, at, answered, flags);
	case MODE_TRIM:
		return nbd_aio_trim(queue->handle, slot->chunk, at, answered, 0);
	case MODE_SYNC:
		return nbd_aio_flush(queue->handle, answered, 0);
	default:
		return data_send(queue, slot);
	}
}

/*
 * Whether libnbd has given the command back. If the connection ends while the command is sent, it has done so already;
 * the cookie that it returns then means nothing, as it comes from memory that has been freed.
 */
static bool is_answered(const struct gd_nbd_queue *queue, const struct gd_disk_slot *slot)
{
	const struct gd_disk_slot *answered = queue->answered;

	while (answered && answered != slot)
		answered = answered->next;
	return answered;
}

/* Give the I/O to libnbd. 0: libnbd has it, or has given it back already. */
static int slot_send(struct gd_nbd_queue *queue, struct gd_disk_slot *slot)
{
	char why[160];

	slot->chunk = slot->mode == MODE_SYNC ? 0 : chunk_length(queue, slot->io, (enum mode)slot->mode);
	slot->owner = &queue->base;
	slot->sent = gd_clock_ms();
	if (command_send(queue, slot) >= 0 || is_answered(queue, slot))
		return 0;
	slot->owner = NULL;
	gd_nbd_why(queue->handle, why, sizeof(why));
	if (nbd_aio_is_dead(queue->handle)) /* the line about the lost connection will say why */
		snprintf(queue->why, sizeof(queue->why), "%s", why);
	else
		gd_io_complain(&queue->base, slot->io, why);
	return -EIO;
}

int gd_nbd_io_start(struct gd_disk_queue *base, struct gd_disk_slot *slot)
{
	struct gd_nbd_queue *queue = gd_nbd_queue_of(base);
	struct gd_nbd_disk *disk = gd_nbd_disk_of(base->disk);

	if (!gd_nbd_serving(queue)) { /* no part of it is in flight: it waits for the next connection */
		gd_queue_later(base, slot);
		return 0;
	}
	slot->mode = (uint8_t)mode_choose(queue, slot->io);
	if (slot->mode == MODE_TRIM && !queue->can.trim)
		return -EOPNOTSUPP;
	if (slot->mode == MODE_SYNC) {
		if (!queue->can.flush) { /* the server has no cache that could be flushed */
			gd_queue_finish(base, slot, 0);
			return 0;
		}
		if (gd_nbd_doubt_fails(disk, !slot->io->own)) {
			gd_io_complain(base, slot->io,
				       "writes before it may be lost: their connection ended before they were flushed");
			return -EIO;
		}
		slot->mark = gd_nbd_doubt_mark(disk);
	}
	return slot_send(queue, slot);
}

/* --- answers --- */

/*
 * Is there more to read? The socket is asked, as libnbd must not be told to read when there is nothing: it would take
 * it for the beginning of an answer, and would send nothing until that has come.
 */
static bool answers_more(const struct gd_nbd_queue *queue)
{
	struct pollfd socket = {.fd = nbd_aio_get_fd(queue->handle), .events = POLLIN};

	return nbd_aio_get_direction(queue->handle) & LIBNBD_AIO_DIRECTION_READ &&
	       nbd_aio_in_flight(queue->handle) > 0 && poll(&socket, 1, 0) > 0;
}

/* libnbd returns after each answer: it is told to read until there is no complete answer left. */
int gd_nbd_answers_read(struct gd_nbd_queue *queue)
{
	const struct gd_disk_slot *before;

	if (!(nbd_aio_get_direction(queue->handle) & LIBNBD_AIO_DIRECTION_READ))
		return 0;
	do {
		before = queue->answered;
		if (nbd_aio_notify_read(queue->handle))
			return -1;
	} while (queue->answered != before && answers_more(queue));
	return 0;
}

static void slot_proceed(struct gd_nbd_queue *queue, struct gd_disk_slot *slot)
{
	struct gd_nbd_disk *disk = gd_nbd_disk_of(queue->base.disk);
	struct gd_disk_io *io = slot->io;
	bool stable = io->fua && queue->can.fua;

	queue->backoff = GD_NBD_RETRY_FIRST_MS; /* the server works: a later attempt need not wait long */
	if (slot->mode == MODE_SYNC) {
		gd_nbd_doubt_covered(disk, (uint32_t)slot->mark);
		gd_queue_finish(&queue->base, slot, 0);
		return;
	}
	io->progress += slot->chunk;
	if ((io->op == GD_DISK_WRITE || io->op == GD_DISK_WRITE_ZEROES) && !stable)
		gd_nbd_doubt_write(disk);
	if (gd_io_unfinished(io) || (io->fua && !stable && io->op != GD_DISK_READ))
		gd_queue_run(&queue->base, slot);
	else
		gd_queue_finish(&queue->base, slot, 0);
}

static struct gd_disk_slot *answered_next(struct gd_nbd_queue *queue)
{
	struct gd_disk_slot *slot = queue->answered;

	if (slot) {
		queue->answered = slot->next;
		slot->next = NULL;
		slot->owner = NULL;
	}
	return slot;
}

/* Only while there is a connection: at its end libnbd gives back all commands, of which some were not answered. */
void gd_nbd_answers_take(struct gd_nbd_queue *queue)
{
	struct gd_disk_slot *slot;
	bool any = false;

	while (queue->answered && gd_nbd_serving(queue)) {
		slot = answered_next(queue);
		any = true;
		if (!slot->error) {
			slot_proceed(queue, slot);
		} else {
			gd_io_complain(&queue->base, slot->io, gd_log_errno(slot->error));
			gd_queue_finish(&queue->base, slot, -slot->error);
		}
	}
	if (any)
		gd_nbd_silence_end(queue);
}

/* --- a connection that is gone --- */

static void slot_lose(struct gd_nbd_queue *queue, struct gd_disk_slot *slot, int result, bool again,
		      struct gd_nbd_lost *lost)
{
	struct gd_disk_io *io = slot->io;

	if (again && (io->op == GD_DISK_READ || io->op == GD_DISK_FLUSH) && io->again++ < AGAIN_MOST) {
		gd_queue_later(&queue->base, slot);
		lost->again++;
		return;
	}
	gd_queue_finish(&queue->base, slot, result);
	lost->failed++;
}

struct gd_nbd_lost gd_nbd_io_lose(struct gd_nbd_queue *queue, int result, bool again)
{
	struct gd_nbd_lost lost = {0, 0};
	struct gd_disk_slot *slot;
	unsigned i;

	while ((slot = answered_next(queue))) { /* answered, or given back by libnbd when the connection broke */
		if (slot->error)
			slot_lose(queue, slot, result, again, &lost);
		else
			slot_proceed(queue, slot);
	}
	for (i = 0; i < queue->base.depth; i++) { /* the commands that libnbd has forgotten with the connection */
		slot = &queue->base.slots[i];
		if (slot->io && slot->owner) {
			slot->owner = NULL;
			slot_lose(queue, slot, result, again, &lost);
		}
	}
	queue->silent_since = 0;
	return lost;
}
