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
#include <stdio.h>

#define AGAIN_MOST                                                                                                    \
	3 /* so often an I/O is given to a new connection, so that a server that closes each one does not keep it for \
	     ever */

enum mode { MODE_DATA, MODE_ZERO, MODE_TRIM, MODE_SYNC };

/* --- requests --- */

static enum mode mode_choose(const struct gd_nbd_queue *queue, const struct gd_disk_io *io)
{
	if (!gd_io_unfinished(io))
		return MODE_SYNC;
	if (io->op == GD_DISK_DISCARD)
		return MODE_TRIM;
	return io->op == GD_DISK_WRITE_ZEROES && queue->link.can.zero ? MODE_ZERO : MODE_DATA;
}

static uint32_t chunk_length(const struct gd_nbd_queue *queue, const struct gd_disk_io *io, enum mode mode)
{
	uint64_t left = io->length - io->progress, most = queue->link.can.payload;

	if (mode != MODE_DATA)
		most = GD_DISK_MAX_DISCARD;
	else if (io->op == GD_DISK_WRITE_ZEROES && most > GD_DISK_ZEROES)
		most = GD_DISK_ZEROES;
	return (uint32_t)(left < most ? left : most);
}

/* The request for the next part of the slot's I/O. */
static struct gd_nbd_ask slot_request(const struct gd_nbd_queue *queue, const struct gd_disk_slot *slot)
{
	const struct gd_disk_io *io = slot->io;
	struct gd_nbd_ask ask = {.offset = io->offset + io->progress, .length = slot->chunk};

	switch (slot->mode) {
	case MODE_ZERO:
		ask.type = GD_NBD_ZERO;
		if (!io->unmap || !queue->base.disk->discard)
			ask.flags = GD_NBD_FLAG_NO_HOLE;
		break;
	case MODE_TRIM:
		ask.type = GD_NBD_TRIM;
		break;
	case MODE_SYNC: /* "offset and length MUST be zero" */
		return (struct gd_nbd_ask){.type = GD_NBD_FLUSH};
	default:
		ask.type = io->op == GD_DISK_READ ? GD_NBD_READ : GD_NBD_WRITE;
		ask.data = io->op == GD_DISK_WRITE_ZEROES ? gd_disk_zeroes : (char *)io->buf + io->progress;
	}
	if (io->fua && queue->link.can.fua && ask.type != GD_NBD_READ && ask.type != GD_NBD_TRIM)
		ask.flags |= GD_NBD_FLAG_FUA;
	return ask;
}

static void slot_ask(struct gd_nbd_queue *queue, struct gd_disk_slot *slot)
{
	struct gd_nbd_ask ask;

	slot->chunk = slot->mode == MODE_SYNC ? 0 : chunk_length(queue, slot->io, (enum mode)slot->mode);
	slot->asked = true;
	slot->sent = gd_clock_ms();
	ask = slot_request(queue, slot);
	gd_nbd_frame_ask(&queue->frame, slot->index, &ask);
}

/*
 * The export may have become smaller, or read-only, since the disk was described to the guest. What it does not have or
 * take is not asked of the server. True: the I/O can be asked for.
 */
static bool slot_possible(struct gd_nbd_queue *queue, const struct gd_disk_slot *slot)
{
	const struct gd_nbd_abilities *can = &queue->link.can;
	const struct gd_disk_io *io = slot->io;
	char why[64];

	if (slot->mode == MODE_SYNC)
		return true;
	if (can->readonly && io->op != GD_DISK_READ) {
		gd_io_complain(&queue->base, io, "the export is read-only now");
		return false;
	}
	if (io->offset + io->length <= (uint64_t)can->size)
		return true;
	snprintf(why, sizeof(why), "the export ends at %lld now", (long long)can->size);
	gd_io_complain(&queue->base, io, why);
	return false;
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
	if (slot->mode == MODE_TRIM && !queue->link.can.trim)
		return -EOPNOTSUPP;
	if (!slot_possible(queue, slot))
		return -EIO;
	if (slot->mode == MODE_SYNC) {
		if (!queue->link.can.flush) { /* the server has no cache that could be flushed */
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
	slot_ask(queue, slot);
	return 0;
}

/* --- answers --- */

static void slot_proceed(struct gd_nbd_queue *queue, struct gd_disk_slot *slot)
{
	struct gd_nbd_disk *disk = gd_nbd_disk_of(queue->base.disk);
	struct gd_disk_io *io = slot->io;
	bool stable = io->fua && queue->link.can.fua;

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

void gd_nbd_io_answered(struct gd_nbd_queue *queue, const struct gd_nbd_answer *answer)
{
	struct gd_disk_slot *slot = &queue->base.slots[answer->slot];

	slot->asked = false;
	if (!answer->error) {
		slot_proceed(queue, slot);
		return;
	}
	gd_io_complain(&queue->base, slot->io, gd_log_errno(answer->error));
	gd_queue_finish(&queue->base, slot, -answer->error);
}

/* --- a connection that is gone --- */

/* True if the server has not seen the request, or what it did for it changes nothing. */
static bool slot_harmless(const struct gd_nbd_queue *queue, const struct gd_disk_slot *slot)
{
	return slot->io->op == GD_DISK_READ || slot->io->op == GD_DISK_FLUSH ||
	       gd_nbd_frame_untouched(&queue->frame, slot->index);
}

struct gd_nbd_lost gd_nbd_io_lose(struct gd_nbd_queue *queue, int result, bool again)
{
	struct gd_nbd_lost lost = {0, 0};

	for (unsigned i = queue->base.depth; i-- > 0;) {
		struct gd_disk_slot *slot = &queue->base.slots[i];

		if (!slot->io || !slot->asked)
			continue;
		slot->asked = false;
		if (again && slot_harmless(queue, slot) && slot->io->again++ < AGAIN_MOST) {
			gd_queue_later(&queue->base, slot);
			lost.again++;
		} else {
			gd_queue_finish(&queue->base, slot, result);
			lost.failed++;
		}
	}
	queue->silent_since = 0;
	return lost;
}
