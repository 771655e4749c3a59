/* SPDX-License-Identifier: MIT */
/* The NBD engine's queues: a connection is opened, lost, and made again. */
#include "backend/disk/nbd_queue.h"

#include <errno.h>
#include <libnbd.h>
#include <stdio.h>

#include "backend/base/clock.h"

#define RETRY_MOST_MS 5000
#define RECONNECT_MS  8000 /* for one attempt to connect again */

/* --- losing the connection and making it again --- */

/* Close a handle that was to become a connection. */
static void handle_close(struct gd_nbd_queue *queue)
{
	gd_nbd_polls_cancel(queue);
	nbd_close(queue->handle);
	queue->handle = NULL;
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
	gd_nbd_stream_end(queue);
	lost = gd_nbd_io_lose(queue, -EIO, again);
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
	const struct gd_nbd_abilities *can = &queue->link.can;
	unsigned queues = __atomic_load_n(&disk->queues, __ATOMIC_RELAXED);
	char *why = queue->why;

	if (queues > 1 && !can->multi_conn)
		snprintf(why, sizeof(queue->why), "the export no longer allows more than one connection (multi-conn)");
	else if (info->flush && !can->flush)
		snprintf(why, sizeof(queue->why), "the export can no longer be flushed");
	else if (can->least > info->block_size || can->payload < info->block_size)
		snprintf(why, sizeof(queue->why), "the export no longer takes blocks of %u bytes", info->block_size);
	else if (can->size < 0)
		snprintf(why, sizeof(queue->why), "the server does not say the size");
	else
		return true;
	return false;
}

/* What is different, but can be lived with. */
static void difference_tell(const struct gd_nbd_disk *disk, const struct gd_nbd_abilities *can)
{
	uint64_t size = (uint64_t)can->size;

	if (!disk->disk.info.readonly && can->readonly)
		gd_log_guest(disk->disk.log, GD_ERR, "%s: the export is read-only now: writes fail", disk->disk.target);
	if (size < gd_disk_size(&disk->disk))
		gd_log_guest(disk->disk.log, GD_ERR,
			     "%s: the export has %llu bytes now, not %llu: requests beyond its end fail",
			     disk->disk.target, (unsigned long long)size,
			     (unsigned long long)gd_disk_size(&disk->disk));
}

static void connect_failed(struct gd_nbd_queue *queue)
{
	if (queue->handle)
		handle_close(queue);
	gd_nbd_link_end(&queue->link, true);
	retry_later(queue);
}

static void connection_made(struct gd_nbd_queue *queue)
{
	struct gd_nbd_disk *disk = gd_nbd_disk_of(queue->base.disk);
	struct nbd_handle *handle = queue->handle;

	gd_nbd_polls_cancel(queue);
	queue->handle = NULL;
	if (gd_nbd_link_take(&queue->link, handle, queue->why, sizeof(queue->why)) || !server_same(queue)) {
		connect_failed(queue);
		return;
	}
	gd_nbd_stream_begin(queue);
	queue->state = GD_NBD_SERVING;
	queue->why[0] = 0;
	gd_nbd_timer_cancel(queue); /* it stands for the connecting: silence may be due before that */
	__atomic_store_n(&disk->latest, (uint64_t)queue->link.can.size, __ATOMIC_RELAXED);
	__atomic_store_n(&disk->away, false, __ATOMIC_RELAXED);
	gd_log_guest(disk->disk.log, GD_NOTICE, "%s: connected again after %llu ms", disk->disk.target,
		     (unsigned long long)(gd_clock_ms() - queue->lost_at));
	difference_tell(disk, &queue->link.can);
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

static void connecting_look(struct gd_nbd_queue *queue)
{
	if (nbd_aio_is_ready(queue->handle))
		connection_made(queue);
	else if (nbd_aio_is_dead(queue->handle) || nbd_aio_is_closed(queue->handle))
		connect_failed(queue);
}

/* Have the ring wait for what the server says. False: there is no room in it. */
static bool server_await(struct gd_nbd_queue *queue)
{
	if (queue->state == GD_NBD_CONNECTING)
		return gd_nbd_polls_arm(queue);
	return queue->state != GD_NBD_SERVING || gd_nbd_stream_arm(queue);
}

static void nbd_settle(struct gd_disk_queue *base)
{
	struct gd_nbd_queue *queue = gd_nbd_queue_of(base);

	if (base->cancelled)
		return;
	if (queue->state == GD_NBD_CONNECTING)
		connecting_look(queue);
	if (gd_nbd_serving(queue))
		gd_nbd_stream_send(queue);
	if (queue->state == GD_NBD_SERVING && !gd_nbd_serving(queue)) /* perhaps by what was sent just now */
		connection_lost(queue, true);
	if (!server_await(queue)) { /* no answer would be seen: nothing may wait for one */
		snprintf(queue->why, sizeof(queue->why), "the ring takes no more");
		connection_drop(queue);
	}
	if (!gd_nbd_timer_arm(queue, next_due(queue)))
		queue->given_up = true; /* nothing would end the wait; the next call here tries to arm it again */
}

/* Tell libnbd, which connects, what its socket can do, if it waits for that. It asks the socket itself for more. */
static void handle_notify(struct gd_nbd_queue *queue, unsigned direction, int (*notify)(struct nbd_handle *handle))
{
	if (queue->state == GD_NBD_CONNECTING && nbd_aio_get_direction(queue->handle) & direction &&
	    notify(queue->handle))
		gd_nbd_why(queue->handle, queue->why, sizeof(queue->why));
}

static void nbd_cqe(struct gd_disk_queue *base, enum gd_disk_kind kind, uint32_t generation, struct gd_disk_slot *slot,
		    int result)
{
	struct gd_nbd_queue *queue = gd_nbd_queue_of(base);
	bool current = generation == queue->epoch;

	(void)slot;
	if (kind == GD_KIND_RECEIVE) {
		gd_nbd_stream_received(queue, generation, result);
	} else if (kind == GD_KIND_TIMER && generation == queue->timer && queue->timer_armed) {
		queue->timer_armed = false;
		queue->timer++;
		timer_fired(queue);
	} else if (kind == GD_KIND_POLL_IN && current && queue->in_armed) {
		queue->in_armed = false;
		handle_notify(queue, LIBNBD_AIO_DIRECTION_READ, nbd_aio_notify_read);
	} else if (kind == GD_KIND_POLL_OUT && current && queue->out_armed) {
		queue->out_armed = false;
		queue->full = false;
		handle_notify(queue, LIBNBD_AIO_DIRECTION_WRITE, nbd_aio_notify_write);
	}
}

/* 0, or -errno with the reason in `why`. */
static int queue_connect(struct gd_nbd_queue *queue)
{
	struct gd_nbd_disk *disk = gd_nbd_disk_of(queue->base.disk);

	queue->link = gd_nbd_spare_take(disk);
	if (queue->link.fd >= 0)
		return 0;
	return gd_nbd_connect(&queue->link, &disk->server, gd_nbd_queue_ms(disk), queue->why, sizeof(queue->why));
}

/* The server may tell this connection something else than the first one, by which the disk was described. */
static int queue_judge(struct gd_nbd_queue *queue)
{
	if (!server_same(queue))
		return -ENOTCONN;
	difference_tell(gd_nbd_disk_of(queue->base.disk), &queue->link.can);
	return 0;
}

static int nbd_queue_open(struct gd_disk_queue *base)
{
	struct gd_nbd_queue *queue = gd_nbd_queue_of(base);
	struct gd_nbd_disk *disk = gd_nbd_disk_of(base->disk);
	int err;

	queue->epoch = base->slots[0].generation; /* as far from other queues' as that is */
	queue->timer = queue->epoch;
	queue->link.fd = -1;
	err = gd_nbd_stream_open(queue);
	if (err) {
		gd_nbd_stream_close(queue);
		return err;
	}
	queue->backoff = GD_NBD_RETRY_FIRST_MS;
	__atomic_fetch_add(&disk->queues, 1, __ATOMIC_RELAXED);
	err = queue_connect(queue);
	if (!err)
		err = queue_judge(queue);
	if (err) {
		gd_log(disk->disk.log, GD_ERR, "%s: %s", disk->disk.target, queue->why);
		gd_nbd_link_end(&queue->link, true);
		gd_nbd_stream_close(queue);
		__atomic_fetch_sub(&disk->queues, 1, __ATOMIC_RELAXED);
		return err == -ENOMEM ? err : -ENOTCONN;
	}
	queue->state = GD_NBD_SERVING;
	gd_nbd_stream_begin(queue);
	nbd_settle(base); /* receives: the server's going is seen even while nothing is asked of it */
	return 0;
}

static void nbd_cancel(struct gd_disk_queue *base)
{
	struct gd_nbd_queue *queue = gd_nbd_queue_of(base);

	gd_nbd_timer_cancel(queue);
	if (queue->handle)
		handle_close(queue);
	if (base->active)
		gd_nbd_stream_end(queue);
	gd_nbd_io_lose(queue, -ECANCELED, false);
}

static void nbd_queue_close(struct gd_disk_queue *base)
{
	struct gd_nbd_queue *queue = gd_nbd_queue_of(base);

	if (queue->handle)
		handle_close(queue);
	gd_nbd_timer_cancel(queue);
	gd_nbd_stream_leave(queue);
	gd_nbd_polls_cancel(queue);
	io_uring_submit(base->ring); /* nothing of ours may be in the ring but what it has read */
	__atomic_fetch_sub(&gd_nbd_disk_of(base->disk)->queues, 1, __ATOMIC_RELAXED);
	if (gd_nbd_serving(queue) && gd_nbd_frame_idle(&queue->frame))
		gd_nbd_spare_put(gd_nbd_disk_of(base->disk), &queue->link);
	gd_nbd_link_end(&queue->link, false);
	gd_nbd_stream_close(queue);
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
