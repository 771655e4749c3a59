/* SPDX-License-Identifier: MIT */
/*
 * The NBD engine's queues. A queue is a connection, driven from the thread's io_uring: one-shot polls on the socket,
 * armed for what libnbd waits for. libnbd's callbacks run while it holds the handle's lock, so they only put the slot
 * into a list; nbd_settle() empties it when libnbd has returned.
 *
 * States: SERVING -> (connection lost) -> WAITING -> (timer) -> CONNECTING -> SERVING, or back to WAITING for longer.
 *
 * Lost writes: a server that goes may take acknowledged writes with it that were not flushed. The disk counts writes
 * and how many of them a flush has covered; when a connection is lost while some are not, the next flush on any queue
 * fails.
 */
#include "backend/disk/nbd.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#define PATIENCE_MS    5000 /* how long I/O waits for the server to come back */
#define RETRY_FIRST_MS 100
#define RETRY_MOST_MS  5000

enum state { NBD_SERVING, NBD_WAITING, NBD_CONNECTING };
enum mode { MODE_DATA, MODE_ZERO, MODE_TRIM, MODE_SYNC };

struct nbd_queue {
	struct gd_disk_queue base;
	struct nbd_handle *handle; /* in SERVING and CONNECTING */
	enum state state;
	uint32_t link; /* changes with each handle: tells its polls from its predecessors' */
	bool in_armed, out_armed, timer_armed;
	uint32_t timer; /* the same for timers */
	struct __kernel_timespec timer_span;
	uint64_t timer_at, lost_at, retry_at, connect_until;
	unsigned backoff, attempt;
	bool given_up; /* the server is away for longer than PATIENCE_MS */
	struct gd_disk_slot *answered;
	char why[160];
};

static struct gd_nbd_disk *disk_of(struct gd_disk *disk)
{
	return (struct gd_nbd_disk *)disk;
}

static struct nbd_queue *queue_of(struct gd_disk_queue *queue)
{
	return (struct nbd_queue *)queue;
}

/* --- flushes and what they cover --- */

static void flushed_raise(struct gd_nbd_disk *disk, uint64_t to)
{
	uint64_t flushed = __atomic_load_n(&disk->flushed, __ATOMIC_RELAXED);

	while (flushed < to &&
	       !__atomic_compare_exchange_n(&disk->flushed, &flushed, to, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

/* A connection is gone: writes that no flush covered are in doubt. */
static void writes_doubt(struct gd_nbd_disk *disk)
{
	uint64_t written = __atomic_load_n(&disk->written, __ATOMIC_RELAXED);

	if (written == __atomic_load_n(&disk->flushed, __ATOMIC_RELAXED))
		return;
	flushed_raise(disk, written); /* told once */
	__atomic_store_n(&disk->lost, 1, __ATOMIC_RELAXED);
}

/* --- I/O --- */

static int slot_answered(void *opaque, int *error)
{
	struct gd_disk_slot *slot = opaque;
	struct nbd_queue *queue = (struct nbd_queue *)slot->owner;

	slot->error = *error;
	slot->next = queue->answered;
	queue->answered = slot;
	return 1; /* libnbd may forget the command */
}

static enum mode mode_choose(const struct gd_nbd_disk *disk, const struct gd_disk_io *io)
{
	if (!gd_io_unfinished(io))
		return MODE_SYNC;
	if (io->op == GD_DISK_DISCARD)
		return MODE_TRIM;
	return io->op == GD_DISK_WRITE_ZEROES && disk->can_zero ? MODE_ZERO : MODE_DATA;
}

static uint32_t chunk_length(const struct gd_nbd_disk *disk, const struct gd_disk_io *io, enum mode mode)
{
	uint64_t left = io->length - io->progress, most = disk->payload;

	if (mode != MODE_DATA)
		most = GD_DISK_MAX_DISCARD;
	else if (io->op == GD_DISK_WRITE_ZEROES && most > GD_DISK_ZEROES)
		most = GD_DISK_ZEROES;
	return (uint32_t)(left < most ? left : most);
}

static int64_t data_send(const struct gd_nbd_disk *disk, struct nbd_handle *handle, struct gd_disk_slot *slot)
{
	const nbd_completion_callback answered = {.callback = slot_answered, .user_data = slot};
	const struct gd_disk_io *io = slot->io;
	uint64_t at = io->offset + io->progress;

	if (io->op == GD_DISK_READ)
		return nbd_aio_pread(handle, (char *)io->buf + io->progress, slot->chunk, at, answered, 0);
	return nbd_aio_pwrite(handle, io->op == GD_DISK_WRITE ? (char *)io->buf + io->progress : gd_disk_zeroes,
			      slot->chunk, at, answered, io->fua && disk->can_fua ? LIBNBD_CMD_FLAG_FUA : 0);
}

static int64_t command_send(const struct gd_nbd_disk *disk, struct nbd_handle *handle, struct gd_disk_slot *slot)
{
	const nbd_completion_callback answered = {.callback = slot_answered, .user_data = slot};
	const struct gd_disk_io *io = slot->io;
	uint64_t at = io->offset + io->progress;
	uint32_t flags;

	switch (slot->mode) {
	case MODE_ZERO:
		flags = io->fua && disk->can_fua ? LIBNBD_CMD_FLAG_FUA : 0;
		if (!io->unmap || !disk->disk.discard)
			flags |= LIBNBD_CMD_FLAG_NO_HOLE;
		return nbd_aio_zero(handle, slot->chunk, at, answered, flags);
	case MODE_TRIM:
		return nbd_aio_trim(handle, slot->chunk, at, answered, 0);
	case MODE_SYNC:
		return nbd_aio_flush(handle, answered, 0);
	default:
		return data_send(disk, handle, slot);
	}
}

static int nbd_start(struct gd_disk_queue *base, struct gd_disk_slot *slot)
{
	struct nbd_queue *queue = queue_of(base);
	struct gd_nbd_disk *disk = disk_of(base->disk);

	if (!queue->handle || queue->state != NBD_SERVING)
		return -EIO; /* lost in the middle of an I/O of several commands */
	slot->mode = (uint8_t)mode_choose(disk, slot->io);
	if (slot->mode == MODE_TRIM && !disk->can_trim)
		return -EOPNOTSUPP;
	if (slot->mode == MODE_SYNC) {
		if (!disk->disk.info.flush) { /* the server has no cache that could be flushed */
			gd_queue_finish(base, slot, 0);
			return 0;
		}
		if (__atomic_exchange_n(&disk->lost, 0, __ATOMIC_RELAXED)) {
			gd_io_complain(base, slot->io,
				       "writes before it may be lost: the server went before they were flushed");
			return -EIO;
		}
		slot->mark = __atomic_load_n(&disk->written, __ATOMIC_RELAXED);
	}
	slot->chunk = slot->mode == MODE_SYNC ? 0 : chunk_length(disk, slot->io, (enum mode)slot->mode);
	slot->owner = base;
	if (command_send(disk, queue->handle, slot) < 0) {
		slot->owner = NULL;
		gd_nbd_why(queue->handle, queue->why, sizeof(queue->why));
		if (!nbd_aio_is_dead(queue->handle)) /* else the line about the connection says it */
			gd_io_complain(base, slot->io, queue->why);
		return -EIO;
	}
	return 0;
}

static void slot_proceed(struct nbd_queue *queue, struct gd_disk_slot *slot)
{
	struct gd_nbd_disk *disk = disk_of(queue->base.disk);
	struct gd_disk_io *io = slot->io;
	bool stable = io->fua && disk->can_fua;

	queue->backoff = RETRY_FIRST_MS; /* a server that answers is a good one */
	if (slot->mode == MODE_SYNC) {
		flushed_raise(disk, slot->mark);
		gd_queue_finish(&queue->base, slot, 0);
		return;
	}
	io->progress += slot->chunk;
	if ((io->op == GD_DISK_WRITE || io->op == GD_DISK_WRITE_ZEROES) && !stable)
		__atomic_fetch_add(&disk->written, 1, __ATOMIC_RELAXED);
	if (gd_io_unfinished(io) || (io->fua && !stable && io->op != GD_DISK_READ))
		gd_queue_run(&queue->base, slot);
	else
		gd_queue_finish(&queue->base, slot, 0);
}

/*
 * Is libnbd to be told once more that there may be an answer? If it finds none it goes back to where it waits for one,
 * and forgets that it was in the middle of sending a request: in that case the socket is asked first.
 */
static bool answers_more(const struct nbd_queue *queue)
{
	struct pollfd socket = {.fd = nbd_aio_get_fd(queue->handle), .events = POLLIN};
	unsigned direction = nbd_aio_get_direction(queue->handle);

	if (!(direction & LIBNBD_AIO_DIRECTION_READ) || nbd_aio_in_flight(queue->handle) <= 0)
		return false;
	return !(direction & LIBNBD_AIO_DIRECTION_WRITE) || poll(&socket, 1, 0) > 0;
}

/*
 * Read what the server has sent. libnbd returns after each answer: it is told again until it has none that is whole. 0,
 * or -1 when it has an error.
 */
static int answers_read(struct nbd_queue *queue)
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

/* Take the answers; what a lost connection did not answer fails with `lost`. Returns how many did. */
static unsigned answers_take(struct nbd_queue *queue, int lost)
{
	unsigned failed = 0;

	while (queue->answered) {
		struct gd_disk_slot *slot = queue->answered;

		queue->answered = slot->next;
		slot->next = NULL;
		slot->owner = NULL;
		if (!slot->error) {
			slot_proceed(queue, slot);
		} else if (lost) {
			gd_queue_finish(&queue->base, slot, lost);
			failed++;
		} else {
			gd_io_complain(&queue->base, slot->io, gd_log_errno(slot->error));
			gd_queue_finish(&queue->base, slot, -slot->error);
		}
	}
	return failed;
}

/* --- what the ring waits for --- */

static bool poll_arm(struct nbd_queue *queue, enum gd_disk_kind kind, unsigned events)
{
	struct io_uring_sqe *sqe = gd_queue_sqe(&queue->base);

	if (!sqe)
		return false;
	io_uring_prep_poll_add(sqe, nbd_aio_get_fd(queue->handle), events);
	io_uring_sqe_set_data64(sqe, gd_queue_user_data(&queue->base, kind, queue->link, 0));
	return true;
}

static bool polls_arm(struct nbd_queue *queue)
{
	unsigned direction = nbd_aio_get_direction(queue->handle);

	if (direction & LIBNBD_AIO_DIRECTION_READ && !queue->in_armed)
		queue->in_armed = poll_arm(queue, GD_KIND_POLL_IN, POLLIN);
	if (direction & LIBNBD_AIO_DIRECTION_WRITE && !queue->out_armed)
		queue->out_armed = poll_arm(queue, GD_KIND_POLL_OUT, POLLOUT);
	return (queue->in_armed || !(direction & LIBNBD_AIO_DIRECTION_READ)) &&
	       (queue->out_armed || !(direction & LIBNBD_AIO_DIRECTION_WRITE));
}

static void ring_cancel(struct nbd_queue *queue, enum gd_disk_kind kind, uint32_t generation)
{
	struct io_uring_sqe *sqe = gd_queue_sqe(&queue->base);
	uint64_t user_data = gd_queue_user_data(&queue->base, kind, generation, 0);

	if (!sqe)
		return; /* it fires some time, and is not known any more */
	if (kind == GD_KIND_TIMER)
		io_uring_prep_timeout_remove(sqe, user_data, 0);
	else
		io_uring_prep_cancel64(sqe, user_data, 0);
	io_uring_sqe_set_data64(sqe, gd_queue_user_data(&queue->base, GD_KIND_CANCEL, 0, 0));
}

/* A poll holds the socket: without this, the server would not see it closed. */
static void polls_cancel(struct nbd_queue *queue)
{
	if (queue->in_armed)
		ring_cancel(queue, GD_KIND_POLL_IN, queue->link);
	if (queue->out_armed)
		ring_cancel(queue, GD_KIND_POLL_OUT, queue->link);
	queue->in_armed = false;
	queue->out_armed = false;
	queue->link++;
}

static void timer_cancel(struct nbd_queue *queue)
{
	if (queue->timer_armed)
		ring_cancel(queue, GD_KIND_TIMER, queue->timer);
	queue->timer_armed = false;
	queue->timer++;
}

/* When something is due that no completion announces; 0: never. */
static uint64_t next_due(const struct nbd_queue *queue)
{
	uint64_t due;

	if (queue->state == NBD_SERVING)
		return 0;
	due = queue->state == NBD_WAITING ? queue->retry_at : queue->connect_until;
	if (!queue->given_up && queue->lost_at + PATIENCE_MS < due)
		due = queue->lost_at + PATIENCE_MS;
	return due;
}

/* The ring reads timer_span when it is submitted: at the latest before the next change of it, by timer_cancel()'s
 * caller. */
static bool timer_arm(struct nbd_queue *queue)
{
	uint64_t due = next_due(queue), now;
	struct io_uring_sqe *sqe;

	if (queue->timer_armed && (!due || due < queue->timer_at)) {
		timer_cancel(queue);
		io_uring_submit(queue->base.ring);
	}
	if (!due || queue->timer_armed)
		return true;
	sqe = gd_queue_sqe(&queue->base);
	if (!sqe)
		return false;
	now = gd_nbd_now();
	due = due > now ? due : now + 1;
	queue->timer_span.tv_sec = (long long)((due - now) / 1000);
	queue->timer_span.tv_nsec = (long long)((due - now) % 1000 * 1000000);
	queue->timer_at = due;
	io_uring_prep_timeout(sqe, &queue->timer_span, 0, 0);
	io_uring_sqe_set_data64(sqe, gd_queue_user_data(&queue->base, GD_KIND_TIMER, queue->timer, 0));
	queue->timer_armed = true;
	return true;
}

/* --- losing the connection and making it again --- */

/* Close the handle; what was in flight fails with `result`. Returns how many I/Os did. */
static unsigned handle_close(struct nbd_queue *queue, int result)
{
	struct nbd_handle *handle = queue->handle;
	unsigned failed, i;

	polls_cancel(queue);
	queue->handle = NULL;
	gd_nbd_end(handle);
	failed = answers_take(queue, result); /* those that libnbd gave back when the connection broke */
	for (i = 0; i < queue->base.depth; i++) {
		struct gd_disk_slot *slot = &queue->base.slots[i];

		if (slot->io && slot->owner) { /* those that it has now forgotten */
			slot->owner = NULL;
			gd_queue_finish(&queue->base, slot, result);
			failed++;
		}
	}
	return failed;
}

static void retry_later(struct nbd_queue *queue)
{
	queue->state = NBD_WAITING;
	queue->retry_at = gd_nbd_now() + queue->backoff;
	queue->backoff = queue->backoff < RETRY_MOST_MS / 2 ? queue->backoff * 2 : RETRY_MOST_MS;
}

static void connection_lost(struct nbd_queue *queue)
{
	struct gd_disk *disk = queue->base.disk;
	unsigned failed;

	queue->lost_at = gd_nbd_now();
	queue->given_up = false;
	queue->state = NBD_WAITING;
	if (!queue->why[0])
		gd_nbd_why(queue->handle, queue->why, sizeof(queue->why));
	failed = handle_close(queue, -EIO);
	writes_doubt(disk_of(disk));
	retry_later(queue);
	gd_log_guest(disk->log, GD_ERR, "%s: connection lost (%s): %u requests failed; connecting again", disk->target,
		     queue->why, failed);
}

static void connection_made(struct nbd_queue *queue)
{
	struct gd_nbd_disk *disk = disk_of(queue->base.disk);
	int64_t size = nbd_get_size(queue->handle);

	queue->state = NBD_SERVING;
	queue->why[0] = 0;
	if (size >= 0)
		__atomic_store_n(&disk->latest, (uint64_t)size, __ATOMIC_RELAXED);
	gd_log_guest(disk->disk.log, GD_NOTICE, "%s: connected again after %llu ms%s", disk->disk.target,
		     (unsigned long long)(gd_nbd_now() - queue->lost_at),
		     !disk->disk.info.readonly && nbd_is_read_only(queue->handle) > 0
			     ? ", but it is read-only now: writes will fail"
			     : "");
}

static void connect_begin(struct nbd_queue *queue)
{
	queue->handle = gd_nbd_start(&disk_of(queue->base.disk)->server, queue->attempt++);
	if (!queue->handle) {
		gd_nbd_why(queue->handle, queue->why, sizeof(queue->why));
		retry_later(queue);
		return;
	}
	queue->state = NBD_CONNECTING;
	queue->connect_until = gd_nbd_now() + GD_NBD_CONNECT_MS;
}

static void connect_failed(struct nbd_queue *queue)
{
	handle_close(queue, -EIO);
	retry_later(queue);
}

static void connection_drop(struct nbd_queue *queue)
{
	if (queue->state == NBD_SERVING)
		connection_lost(queue);
	else
		connect_failed(queue);
}

static void timer_fired(struct nbd_queue *queue)
{
	uint64_t now = gd_nbd_now();

	if (queue->base.cancelled || queue->state == NBD_SERVING)
		return;
	if (queue->state == NBD_CONNECTING && now >= queue->connect_until) {
		snprintf(queue->why, sizeof(queue->why), "no answer in time");
		connect_failed(queue);
	}
	if (queue->state == NBD_WAITING && now >= queue->retry_at)
		connect_begin(queue);
	if (!queue->given_up && now >= queue->lost_at + PATIENCE_MS) {
		queue->given_up = true;
		gd_log_guest(queue->base.disk->log, GD_ERR,
			     "%s: no server for %u s (%s): requests fail until it is back", queue->base.disk->target,
			     PATIENCE_MS / 1000, queue->why);
	}
}

static int nbd_ready(struct gd_disk_queue *base)
{
	struct nbd_queue *queue = queue_of(base);

	if (queue->state == NBD_SERVING)
		return 0;
	return queue->given_up ? -EIO : -EAGAIN;
}

static void nbd_settle(struct gd_disk_queue *base)
{
	struct nbd_queue *queue = queue_of(base);
	bool armed = true;

	if (base->cancelled)
		return;
	if (queue->handle && (nbd_aio_is_dead(queue->handle) || nbd_aio_is_closed(queue->handle))) {
		connection_drop(queue);
	} else if (queue->state == NBD_CONNECTING && nbd_aio_is_ready(queue->handle)) {
		connection_made(queue);
		gd_queue_pump(base);
	}
	answers_take(queue, 0);
	if (queue->handle)
		armed = polls_arm(queue);
	if (!armed) { /* no answer would be seen: nothing may wait for one */
		snprintf(queue->why, sizeof(queue->why), "the ring takes no more");
		connection_drop(queue);
	}
	if (!timer_arm(queue))
		queue->given_up = true; /* nothing would end the wait; the next call here tries to arm it again */
}

static void nbd_cqe(struct gd_disk_queue *base, enum gd_disk_kind kind, uint32_t generation, struct gd_disk_slot *slot,
		    int result)
{
	struct nbd_queue *queue = queue_of(base);
	int failed = 0;

	(void)slot;
	(void)result; /* whatever it is, libnbd asks the socket itself */
	if (kind == GD_KIND_TIMER && generation == queue->timer && queue->timer_armed) {
		queue->timer_armed = false;
		queue->timer++;
		timer_fired(queue);
	} else if (kind == GD_KIND_POLL_IN && generation == queue->link && queue->in_armed) {
		queue->in_armed = false;
		failed = answers_read(queue);
	} else if (kind == GD_KIND_POLL_OUT && generation == queue->link && queue->out_armed) {
		queue->out_armed = false;
		if (nbd_aio_get_direction(queue->handle) & LIBNBD_AIO_DIRECTION_WRITE)
			failed = nbd_aio_notify_write(queue->handle);
	}
	if (failed)
		gd_nbd_why(queue->handle, queue->why, sizeof(queue->why));
}

/* --- queues --- */

static int nbd_queue_open(struct gd_disk_queue *base)
{
	struct nbd_queue *queue = queue_of(base);
	struct gd_nbd_disk *disk = disk_of(base->disk);
	int result;

	queue->link = base->slots[0].generation; /* as far from other queues' as that is */
	queue->timer = queue->link;
	queue->backoff = RETRY_FIRST_MS;
	queue->handle = gd_nbd_spare_take(disk);
	if (!queue->handle) {
		result = gd_nbd_connect(&queue->handle, &disk->server, GD_NBD_CONNECT_MS, queue->why,
					sizeof(queue->why));
		if (result) {
			gd_log(disk->disk.log, GD_ERR, "%s: %s", disk->disk.target, queue->why);
			return result;
		}
	}
	queue->state = NBD_SERVING;
	nbd_settle(base); /* arms the polls: the server's going is seen even while nothing is asked of it */
	return 0;
}

static void nbd_cancel(struct gd_disk_queue *base)
{
	struct nbd_queue *queue = queue_of(base);

	timer_cancel(queue);
	if (queue->handle && (base->active || queue->state != NBD_SERVING))
		handle_close(queue, -ECANCELED);
}

static void nbd_queue_close(struct gd_disk_queue *base)
{
	struct nbd_queue *queue = queue_of(base);
	struct nbd_handle *handle = queue->handle;

	timer_cancel(queue);
	polls_cancel(queue);
	io_uring_submit(base->ring); /* nothing of ours may be in the ring but what it has read */
	if (handle && queue->state == NBD_SERVING)
		gd_nbd_spare_put(disk_of(base->disk), handle);
	else
		gd_nbd_end(handle);
}

const struct gd_disk_engine gd_nbd_engine = {
	.queue_bytes = sizeof(struct nbd_queue),
	.stream = true,
	.close = gd_nbd_disk_close,
	.measure = gd_nbd_measure,
	.queue_open = nbd_queue_open,
	.queue_close = nbd_queue_close,
	.ready = nbd_ready,
	.start = nbd_start,
	.cqe = nbd_cqe,
	.settle = nbd_settle,
	.cancel = nbd_cancel,
};
