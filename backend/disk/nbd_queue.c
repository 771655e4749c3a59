/* SPDX-License-Identifier: MIT */
/* The NBD engine's queues: a connection is opened, lost, and made again. */
#include "backend/disk/nbd_queue.h"

#include <errno.h>
#include <stdio.h>

#include "backend/base/clock.h"

#define RETRY_MOST_MS 5000
#define RECONNECT_MS  8000 /* for one attempt to connect again */

/* --- losing the connection and making it again --- */

/* Close the handle. What was in flight: see gd_nbd_io_lose(). */
static struct gd_nbd_lost handle_close(struct gd_nbd_queue *queue, int result, bool again)
{
	struct nbd_handle *handle = queue->handle;

	gd_nbd_polls_cancel(queue);
	queue->handle = NULL;
	gd_nbd_end(handle);
	return gd_nbd_io_lose(queue, result, again);
}

static void retry_later(struct gd_nbd_queue *queue)
{
	queue->state = GD_NBD_WAITING;
	queue->retry_at = gd_clock_ms() + queue->backoff;
	queue->backoff = queue->backoff < RETRY_MOST_MS / 2 ? queue->backoff * 2 : RETRY_MOST_MS;
}

/* `again`: reads and flushes wait for the next connection. */
static void connection_lost(struct gd_nbd_queue *queue, bool again)
{
	struct gd_disk *disk = queue->base.disk;
	struct gd_nbd_lost lost;

	queue->lost_at = gd_clock_ms();
	queue->away = false;
	queue->given_up = false;
	queue->state = GD_NBD_WAITING;
	if (!queue->why[0])
		gd_nbd_why(queue->handle, queue->why, sizeof(queue->why));
	lost = handle_close(queue, -EIO, again);
	gd_nbd_doubt_begin(gd_nbd_disk_of(disk));
	retry_later(queue);
	/* Each queue has its connection: of those that were idle nobody need be warned. */
	gd_log_guest(disk->log, lost.failed || lost.again ? GD_ERR : GD_INFO,
		     "%s: connection lost (%s): %u requests failed, %u are done again; connecting again", disk->target,
		     queue->why, lost.failed, lost.again);
}

/* Is what the server tells now a disk that the guest can go on with? Else `why`. */
static bool server_same(struct gd_nbd_queue *queue)
{
	const struct gd_nbd_disk *disk = gd_nbd_disk_of(queue->base.disk);
	const struct gd_disk_info *info = &disk->disk.info;
	unsigned queues = __atomic_load_n(&disk->queues, __ATOMIC_RELAXED);
	char *why = queue->why;

	if (queues > 1 && !queue->can.multi_conn)
		snprintf(why, sizeof(queue->why), "the export no longer allows more than one connection (multi-conn)");
	else if (info->flush && !queue->can.flush)
		snprintf(why, sizeof(queue->why), "the export can no longer be flushed");
	else if (queue->can.least > info->block_size || queue->can.payload < info->block_size)
		snprintf(why, sizeof(queue->why), "the export no longer takes blocks of %u bytes", info->block_size);
	else if (nbd_get_size(queue->handle) < 0)
		snprintf(why, sizeof(queue->why), "the server does not say the size");
	else
		return true;
	return false;
}

/* What is different, but can be lived with. */
static void difference_tell(const struct gd_nbd_disk *disk, struct nbd_handle *handle, uint64_t size)
{
	if (!disk->disk.info.readonly && nbd_is_read_only(handle) > 0)
		gd_log_guest(disk->disk.log, GD_ERR, "%s: the export is read-only now: writes fail", disk->disk.target);
	if (size < gd_disk_size(&disk->disk))
		gd_log_guest(disk->disk.log, GD_ERR,
			     "%s: the export has %llu bytes now, not %llu: requests beyond its end fail",
			     disk->disk.target, (unsigned long long)size,
			     (unsigned long long)gd_disk_size(&disk->disk));
}

static void connect_failed(struct gd_nbd_queue *queue)
{
	handle_close(queue, -EIO, true);
	retry_later(queue);
}

static void connection_made(struct gd_nbd_queue *queue)
{
	struct gd_nbd_disk *disk = gd_nbd_disk_of(queue->base.disk);
	uint64_t size;

	gd_nbd_abilities_ask(queue->handle, &queue->can);
	if (!server_same(queue)) {
		connect_failed(queue);
		return;
	}
	size = (uint64_t)nbd_get_size(queue->handle);
	queue->state = GD_NBD_SERVING;
	queue->why[0] = 0;
	gd_nbd_timer_cancel(queue); /* it stands for the connecting: silence may be due before that */
	__atomic_store_n(&disk->latest, size, __ATOMIC_RELAXED);
	__atomic_store_n(&disk->away, false, __ATOMIC_RELAXED);
	gd_log_guest(disk->disk.log, GD_NOTICE, "%s: connected again after %llu ms", disk->disk.target,
		     (unsigned long long)(gd_clock_ms() - queue->lost_at));
	difference_tell(disk, queue->handle, size);
	gd_queue_pump(&queue->base);
}

static void connect_begin(struct gd_nbd_queue *queue)
{
	struct gd_nbd_server *server = &gd_nbd_disk_of(queue->base.disk)->server;

	gd_nbd_server_again(server);
	queue->handle = gd_nbd_start(server, queue->attempt++);
	if (!queue->handle) {
		gd_nbd_why(queue->handle, queue->why, sizeof(queue->why));
		retry_later(queue);
		return;
	}
	queue->state = GD_NBD_CONNECTING;
	queue->connect_until = gd_clock_ms() + RECONNECT_MS;
}

static void connection_drop(struct gd_nbd_queue *queue)
{
	if (queue->state == GD_NBD_SERVING)
		connection_lost(queue, true);
	else
		connect_failed(queue);
}

/* --- time --- */

/* How long it is before it is said that there is no server; then I/O fails, if its time to wait has a limit. */
static unsigned away_ms(const struct gd_nbd_disk *disk)
{
	return disk->reconnect_ms ? disk->reconnect_ms : GD_NBD_SILENT_MS;
}

/* When something is due that no completion announces; 0: never. */
static uint64_t next_due(const struct gd_nbd_queue *queue)
{
	uint64_t due, away = queue->lost_at + away_ms(gd_nbd_disk_of(queue->base.disk));

	if (queue->state == GD_NBD_SERVING)
		return gd_nbd_silence_due(queue);
	due = queue->state == GD_NBD_WAITING ? queue->retry_at : queue->connect_until;
	return !queue->away && away < due ? away : due;
}

static void away_tell(struct gd_nbd_queue *queue)
{
	struct gd_nbd_disk *disk = gd_nbd_disk_of(queue->base.disk);

	queue->away = true;
	queue->given_up = disk->reconnect_ms != 0;
	if (__atomic_exchange_n(&disk->away, true, __ATOMIC_RELAXED))
		return; /* another queue of the disk has said so */
	gd_log_guest(disk->disk.log, GD_ERR, "%s: no server for %u s (%s): requests %s until it is back",
		     disk->disk.target, away_ms(disk) / 1000, queue->why, queue->given_up ? "fail" : "wait");
}

static void timer_fired(struct gd_nbd_queue *queue)
{
	uint64_t now = gd_clock_ms();

	if (queue->base.cancelled)
		return;
	if (queue->state == GD_NBD_SERVING) {
		if (gd_nbd_silence_look(queue))
			connection_lost(queue, false);
		return;
	}
	if (queue->state == GD_NBD_CONNECTING && now >= queue->connect_until) {
		snprintf(queue->why, sizeof(queue->why), "no answer in time");
		connect_failed(queue);
	}
	if (queue->state == GD_NBD_WAITING && now >= queue->retry_at)
		connect_begin(queue);
	if (!queue->away && now >= queue->lost_at + away_ms(gd_nbd_disk_of(queue->base.disk)))
		away_tell(queue);
}

/* --- the engine --- */

static int nbd_ready(struct gd_disk_queue *base)
{
	struct gd_nbd_queue *queue = gd_nbd_queue_of(base);

	if (gd_nbd_serving(queue))
		return 0;
	return queue->state != GD_NBD_SERVING && queue->given_up ? -EIO : -EAGAIN;
}

static void nbd_settle(struct gd_disk_queue *base)
{
	struct gd_nbd_queue *queue = gd_nbd_queue_of(base);
	bool armed = true;

	if (base->cancelled)
		return;
	if (queue->state == GD_NBD_CONNECTING && nbd_aio_is_ready(queue->handle))
		connection_made(queue);
	else if (queue->state == GD_NBD_CONNECTING &&
		 (nbd_aio_is_dead(queue->handle) || nbd_aio_is_closed(queue->handle)))
		connect_failed(queue);
	gd_nbd_answers_take(queue);
	if (queue->state == GD_NBD_SERVING && !gd_nbd_serving(queue)) /* perhaps by what was sent just now */
		connection_lost(queue, true);
	if (queue->handle)
		armed = gd_nbd_polls_arm(queue);
	if (!armed) { /* no answer would be seen: nothing may wait for one */
		snprintf(queue->why, sizeof(queue->why), "the ring takes no more");
		connection_drop(queue);
	}
	if (!gd_nbd_timer_arm(queue, next_due(queue)))
		queue->given_up = true; /* nothing would end the wait; the next call here tries to arm it again */
}

static void nbd_cqe(struct gd_disk_queue *base, enum gd_disk_kind kind, uint32_t generation, struct gd_disk_slot *slot,
		    int result)
{
	struct gd_nbd_queue *queue = gd_nbd_queue_of(base);
	int failed = 0;

	(void)slot;
	(void)result; /* whatever it is, libnbd asks the socket itself */
	if (kind == GD_KIND_TIMER && generation == queue->timer && queue->timer_armed) {
		queue->timer_armed = false;
		queue->timer++;
		timer_fired(queue);
	} else if (kind == GD_KIND_POLL_IN && generation == queue->link && queue->in_armed) {
		queue->in_armed = false;
		failed = gd_nbd_answers_read(queue);
	} else if (kind == GD_KIND_POLL_OUT && generation == queue->link && queue->out_armed) {
		queue->out_armed = false;
		if (nbd_aio_get_direction(queue->handle) & LIBNBD_AIO_DIRECTION_WRITE)
			failed = nbd_aio_notify_write(queue->handle);
	}
	if (failed)
		gd_nbd_why(queue->handle, queue->why, sizeof(queue->why));
}

/* 0, or -errno with the reason in `why`. */
static int queue_connect(struct gd_nbd_queue *queue)
{
	struct gd_nbd_disk *disk = gd_nbd_disk_of(queue->base.disk);

	queue->handle = gd_nbd_spare_take(disk);
	if (queue->handle)
		return 0;
	return gd_nbd_connect(&queue->handle, &disk->server, gd_nbd_queue_ms(disk), queue->why, sizeof(queue->why));
}

/* The server may tell this connection something else than the first one, by which the disk was described. */
static int queue_judge(struct gd_nbd_queue *queue)
{
	gd_nbd_abilities_ask(queue->handle, &queue->can);
	if (!server_same(queue))
		return -ENOTCONN;
	difference_tell(gd_nbd_disk_of(queue->base.disk), queue->handle, (uint64_t)nbd_get_size(queue->handle));
	return 0;
}

static int nbd_queue_open(struct gd_disk_queue *base)
{
	struct gd_nbd_queue *queue = gd_nbd_queue_of(base);
	struct gd_nbd_disk *disk = gd_nbd_disk_of(base->disk);
	int err;

	queue->link = base->slots[0].generation; /* as far from other queues' as that is */
	queue->timer = queue->link;
	queue->backoff = GD_NBD_RETRY_FIRST_MS;
	__atomic_fetch_add(&disk->queues, 1, __ATOMIC_RELAXED);
	err = queue_connect(queue);
	if (!err)
		err = queue_judge(queue);
	if (err) {
		gd_log(disk->disk.log, GD_ERR, "%s: %s", disk->disk.target, queue->why);
		gd_nbd_end(queue->handle);
		__atomic_fetch_sub(&disk->queues, 1, __ATOMIC_RELAXED);
		return err == -ENOMEM ? err : -ENOTCONN;
	}
	queue->state = GD_NBD_SERVING;
	nbd_settle(base); /* arms the polls: the server's going is seen even while nothing is asked of it */
	return 0;
}

static void nbd_cancel(struct gd_disk_queue *base)
{
	struct gd_nbd_queue *queue = gd_nbd_queue_of(base);

	gd_nbd_timer_cancel(queue);
	if (queue->handle && (base->active || queue->state != GD_NBD_SERVING))
		handle_close(queue, -ECANCELED, false);
}

static void nbd_queue_close(struct gd_disk_queue *base)
{
	struct gd_nbd_queue *queue = gd_nbd_queue_of(base);
	struct nbd_handle *handle = queue->handle;

	gd_nbd_timer_cancel(queue);
	gd_nbd_polls_cancel(queue);
	io_uring_submit(base->ring); /* nothing of ours may be in the ring but what it has read */
	__atomic_fetch_sub(&gd_nbd_disk_of(base->disk)->queues, 1, __ATOMIC_RELAXED);
	if (handle && queue->state == GD_NBD_SERVING)
		gd_nbd_spare_put(gd_nbd_disk_of(base->disk), handle);
	else
		gd_nbd_end(handle);
}

const struct gd_disk_engine gd_nbd_engine = {
	.queue_bytes = sizeof(struct gd_nbd_queue),
	.stream = true,
	.close = gd_nbd_disk_close,
	.measure = gd_nbd_measure,
	.remember = gd_nbd_doubt_remember,
	.unflushed = gd_nbd_doubt_unflushed,
	.queue_open = nbd_queue_open,
	.queue_close = nbd_queue_close,
	.ready = nbd_ready,
	.start = gd_nbd_io_start,
	.cqe = nbd_cqe,
	.settle = nbd_settle,
	.cancel = nbd_cancel,
};
