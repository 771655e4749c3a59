/* SPDX-License-Identifier: MIT */
#include "blk.h"
#include "transports.h"

#include <abi/virtio.h>

#define QUEUE_SIZE_DEFAULT_MAX 1024u /* when the caller leaves the size to the device */
#define QUEUE_SIZE_MIN	       4u    /* header, data, status; and a power of two */

static bool blk_broken_load(const struct gio_blk *blk)
{
	return __atomic_load_n(&blk->broken, __ATOMIC_ACQUIRE) != 0;
}

/*
 * The device cannot be trusted any more, or is going away: refuse what is yet to come, complete what is in flight.
 * A submit that does not see `broken` has the queue's lock before us, and so its request is found in its slot.
 */
static unsigned blk_break(struct gio_blk *blk, int result)
{
	unsigned count = 0;

	__atomic_store_n(&blk->broken, 1, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < blk->queues; i++)
		count += gio_blk_queue_fail(blk, &blk->queue[i], result);
	return count;
}

/* ---- open and close --------------------------------------------------------------------------------------------- */

/* Entries that queue `index`, whose most are `max`, is to have. 0: it cannot be used. */
static uint32_t queue_size_choose(const struct gio_blk_config *config, uint32_t max)
{
	uint32_t limit = config->queue_size ? config->queue_size : QUEUE_SIZE_DEFAULT_MAX;
	uint32_t size = QUEUE_SIZE_MIN;

	if (limit > max)
		limit = max; /* not a power of two, if the device is odd: the largest one below will do */
	if (limit < size)
		return 0;
	while (size * 2 <= limit)
		size *= 2;
	return size;
}

static int blk_queue_open(struct gio_blk *blk, const struct gio_blk_config *config, unsigned index)
{
	struct blk_queue *q = &blk->queue[index];
	uint32_t max, size;
	int err = gio_transport_queue_probe(blk->transport, index, &max);

	if (err)
		return err;
	size = queue_size_choose(config, max);
	if (!size)
		return -GIO_ENODEV;
	err = gio_blk_queue_init(blk, index, size);
	if (err)
		return err;
	blk->queues++;
	return gio_transport_queue_enable(blk->transport, &q->vq);
}

/* A chain must fit the smallest ring beside its header and status; and a table never makes it longer than that. */
static void seg_max_limit(struct gio_blk *blk)
{
	uint32_t size = GIO_VIRTQ_MAX;

	for (unsigned i = 0; i < blk->queues; i++)
		if (blk->queue[i].vq.size < size)
			size = blk->queue[i].vq.size;
	blk->info.queues = blk->queues;
	blk->info.queue_size = size;
	if (blk->info.seg_max > size - BLK_EXTRA_BUFS)
		blk->info.seg_max = size - BLK_EXTRA_BUFS;
}

static void queues_exit(struct gio_blk *blk)
{
	for (unsigned i = 0; i < blk->queues; i++)
		gio_blk_queue_exit(blk, &blk->queue[i]);
	gio_os_free(blk->os, blk->queue, blk->queues_max * sizeof(*blk->queue));
}

/* From reset to the moment before DRIVER_OK: 3.1.1, steps 1 to 7. */
static int device_setup(struct gio_blk *blk, const struct gio_blk_config *config)
{
	const uint64_t required = GIO_VIRTIO_F_VERSION_1 | GIO_VIRTIO_F_ACCESS_PLATFORM;
	unsigned offered, wanted = config->queues ? config->queues : 1;
	unsigned most = blk->transport->queues;
	uint64_t features;
	int err;

	err = gio_transport_negotiate(blk->transport, required, gio_blk_features_wanted(config), &features);
	if (err)
		return err;
	err = gio_blk_config_load(blk->transport, features, &blk->info, &offered);
	if (err)
		return err;
	most = most < offered ? most : offered;
	blk->queues_max = wanted < most ? wanted : most;
	blk->queue = gio_os_alloc(blk->os, blk->queues_max * sizeof(*blk->queue));
	if (!blk->queue)
		return -GIO_ENOMEM;
	for (unsigned i = 0; i < blk->queues_max && !err; i++)
		err = blk_queue_open(blk, config, i);
	return err;
}

/*
 * Give up on a device. One that knows rings of ours is reset before they are freed (if it refuses, it loses their
 * grants all the same); one that we refuse to drive is told so.
 */
static void device_abandon(struct gio_blk *blk, int err)
{
	if (err != -GIO_ENODEV || blk->queues)
		gio_transport_reset(blk->transport);
	if (err == -GIO_ENODEV && !(blk->transport->status & GIO_VIRTIO_STATUS_FAILED))
		gio_transport_status_add(blk->transport, GIO_VIRTIO_STATUS_FAILED);
	queues_exit(blk);
}

/* What is wrong with a device that cannot be reached: its answers have been made up since. */
static int device_error(struct gio_blk *blk, int err)
{
	int lost = gio_transport_error(blk->transport);

	return lost ? lost : err;
}

static bool config_valid(const struct gio_blk_config *config)
{
	return config->queue_size == 0 ||
	       (gio_virtq_size_valid(config->queue_size) && config->queue_size >= QUEUE_SIZE_MIN);
}

int gio_blk_open(struct gio_blk **out, const struct gio_blk_config *config)
{
	const struct gio_transports_place place = {.connection = config->connection, .base = config->base};
	struct gio_blk *blk;
	int err;

	if (!config_valid(config))
		return -GIO_EINVAL;
	blk = gio_os_alloc(config->os, sizeof(*blk));
	if (!blk)
		return -GIO_ENOMEM;
	blk->os = config->os;
	blk->pool = config->pool;
	err = gio_dma_init(&blk->dma, config->os, config->grants, config->backend, UINT64_MAX);
	if (err)
		goto free_blk;
	err = gio_transports_open(&blk->transport, config->os, &place, GIO_VIRTIO_ID_BLOCK);
	if (err)
		goto free_blk;
	err = gio_transport_reset(blk->transport);
	if (err)
		goto close_transport;
	err = device_setup(blk, config);
	if (err)
		goto abandon_device;
	seg_max_limit(blk);
	err = gio_blk_data_limit(blk, &blk->info);
	if (err)
		goto abandon_device;
	gio_transport_status_add(blk->transport, GIO_VIRTIO_STATUS_DRIVER_OK);
	err = gio_transport_error(blk->transport);
	if (err)
		goto abandon_device;
	gio_os_lock_init(&blk->info_lock);
	*out = blk;
	return 0;

abandon_device:
	err = device_error(blk, err);
	device_abandon(blk, err);
close_transport:
	gio_transport_close(blk->transport);
free_blk:
	gio_os_free(config->os, blk, sizeof(*blk));
	return err;
}

void gio_blk_close(struct gio_blk *blk)
{
	struct gio_os *os;

	if (!blk)
		return;
	os = blk->os;
	/*
	 * First, so that the device is through with the rings and buffers. One that does not say so in time is not
	 * waited for: ending a grant that it still holds sends the page to quarantine.
	 */
	gio_transport_reset(blk->transport);
	blk_break(blk, -GIO_EIO);
	gio_os_lock_exit(&blk->info_lock);
	queues_exit(blk);
	gio_transport_close(blk->transport);
	gio_os_free(os, blk, sizeof(*blk));
}

/* ---- submission ------------------------------------------------------------------------------------------------- */

/* Check the data segments, and add their bytes up. */
static int segments_check(const struct gio_blk *blk, const struct gio_blk_req *req, uint64_t *bytes)
{
	uint64_t most = blk->info.size_max ? blk->info.size_max : UINT32_MAX, pages = 0;

	if (req->segments == 0 || req->segments > blk->info.seg_max)
		return -GIO_EINVAL;
	*bytes = 0;
	for (unsigned i = 0; i < req->segments; i++) {
		if (req->sg[i].len == 0 || req->sg[i].len > most)
			return -GIO_EINVAL;
		*bytes += req->sg[i].len; /* cannot overflow: 2^15 segments of less than 2^32 bytes */
		pages += ((uint64_t)req->sg[i].len + GIO_PAGE_MASK) >> GIO_PAGE_SHIFT;
	}
	if (blk->pool && pages > blk->info.pages_max)
		return -GIO_EINVAL;
	/* A chain has at most 2^32 bytes in all (2.7.4); leave room for header and status. */
	return *bytes > UINT32_MAX - GIO_VIRTIO_BLK_SECTOR ? -GIO_EINVAL : 0;
}

static int data_plan(const struct gio_blk *blk, const struct gio_blk_req *req, struct blk_plan *plan)
{
	uint64_t bytes;
	int err = segments_check(blk, req, &bytes);

	if (err)
		return err;
	if (req->op == GIO_BLK_GET_ID) {
		plan->type = GIO_VIRTIO_BLK_T_GET_ID;
		plan->reads = true;
		return bytes == GIO_VIRTIO_BLK_ID_BYTES ? 0 : -GIO_EINVAL;
	}
	plan->type = req->op == GIO_BLK_WRITE ? GIO_VIRTIO_BLK_T_OUT : GIO_VIRTIO_BLK_T_IN;
	plan->reads = req->op == GIO_BLK_READ;
	plan->first = req->sector;
	plan->count = bytes / GIO_VIRTIO_BLK_SECTOR;
	return bytes % GIO_VIRTIO_BLK_SECTOR ? -GIO_EINVAL : 0;
}

/* DISCARD and WRITE_ZEROES. A limit of 0 says that the device does not have the request. */
static int range_plan(const struct gio_blk_req *req, uint32_t type, uint32_t most, struct blk_plan *plan)
{
	if (!most)
		return -GIO_EOPNOTSUPP;
	if (req->sectors == 0 || req->segments)
		return -GIO_EINVAL;
	if (req->sectors > most)
		return -GIO_ERANGE;
	plan->type = type;
	plan->range = true;
	plan->first = req->sector;
	plan->count = req->sectors;
	return 0;
}

static int flush_plan(const struct gio_blk *blk, const struct gio_blk_req *req, struct blk_plan *plan)
{
	if (!blk->info.flush)
		return -GIO_EOPNOTSUPP;
	plan->type = GIO_VIRTIO_BLK_T_FLUSH;
	return req->segments ? -GIO_EINVAL : 0;
}

static bool op_writes(enum gio_blk_op op)
{
	return op == GIO_BLK_WRITE || op == GIO_BLK_DISCARD || op == GIO_BLK_WRITE_ZEROES;
}

/* What `req` needs, or why it cannot be. Reads only what does not change after open. */
static int blk_plan_make(const struct gio_blk *blk, const struct gio_blk_req *req, struct blk_plan *plan)
{
	int err = -GIO_EINVAL;

	*plan = (struct blk_plan){0};
	if (op_writes(req->op) && blk->info.readonly)
		return -GIO_EROFS;
	switch (req->op) {
	case GIO_BLK_READ:
	case GIO_BLK_WRITE:
	case GIO_BLK_GET_ID:
		err = data_plan(blk, req, plan);
		break;
	case GIO_BLK_FLUSH:
		err = flush_plan(blk, req, plan);
		break;
	case GIO_BLK_DISCARD:
		err = range_plan(req, GIO_VIRTIO_BLK_T_DISCARD, blk->info.max_discard, plan);
		break;
	case GIO_BLK_WRITE_ZEROES:
		err = range_plan(req, GIO_VIRTIO_BLK_T_WRITE_ZEROES, blk->info.max_write_zeroes, plan);
		break;
	}
	plan->bufs = BLK_EXTRA_BUFS + req->segments + plan->range;
	plan->table = (blk->info.features & GIO_VIRTIO_F_INDIRECT_DESC) && plan->bufs <= BLK_TABLE_ENTRIES;
	return err;
}

int gio_blk_submit(struct gio_blk *blk, unsigned queue, struct gio_blk_req *req)
{
	struct blk_plan plan;
	int err;

	if (queue >= blk->queues)
		return -GIO_EINVAL;
	if (blk_broken_load(blk))
		return -GIO_EPROTO;
	err = blk_plan_make(blk, req, &plan);
	if (err)
		return err;
	return gio_blk_queue_submit(blk, &blk->queue[queue], req, &plan);
}

void gio_blk_kick(struct gio_blk *blk, unsigned queue)
{
	struct blk_queue *q;
	bool kick;

	if (queue >= blk->queues)
		return;
	q = &blk->queue[queue];
	gio_os_lock(&q->lock);
	kick = gio_virtq_kick_prepare(&q->vq);
	q->kicks += kick;
	gio_os_unlock(&q->lock);
	if (kick)
		gio_transport_notify(blk->transport, queue); /* without the lock: may block until the device answers */
}

/* ---- completion ------------------------------------------------------------------------------------------------- */

static unsigned queue_complete(struct gio_blk *blk, unsigned queue, bool arm)
{
	unsigned count;
	int err;

	if (queue >= blk->queues)
		return 0;
	count = gio_blk_queue_complete(blk, &blk->queue[queue], arm, &err);
	if (err)
		count += blk_break(blk, err);
	return count;
}

unsigned gio_blk_poll(struct gio_blk *blk, unsigned queue)
{
	return queue_complete(blk, queue, true);
}

unsigned gio_blk_reap(struct gio_blk *blk, unsigned queue)
{
	return queue_complete(blk, queue, false);
}

/*
 * Capacity and writeback are all that changes while a device is in use; limits by which requests in flight were made do
 * not. A reading that does not settle is dropped: after its last change the device raises another interrupt.
 */
static int config_changed(struct gio_blk *blk)
{
	struct gio_blk_info now;
	int err;

	gio_blk_info(blk, &now);
	err = gio_blk_config_reload(blk->transport, &now);
	if (err)
		return err == -GIO_EAGAIN ? 0 : err;
	gio_os_lock(&blk->info_lock);
	blk->info.capacity = now.capacity;
	blk->info.writeback = now.writeback;
	gio_os_unlock(&blk->info_lock);
	for (unsigned i = 0; i < blk->queues; i++) {
		gio_os_lock(&blk->queue[i].lock);
		blk->queue[i].capacity = now.capacity;
		gio_os_unlock(&blk->queue[i].lock);
	}
	return 0;
}

static void config_interrupt(struct gio_blk *blk)
{
	int err = -GIO_EPROTO;

	if (!(gio_transport_status_read(blk->transport) & GIO_VIRTIO_STATUS_NEEDS_RESET))
		err = config_changed(blk);
	if (err)
		blk_break(blk, err);
}

unsigned gio_blk_interrupt_ack(struct gio_blk *blk)
{
	uint32_t causes = gio_transport_interrupt(blk->transport);

	gio_os_lock(&blk->info_lock);
	blk->interrupts++;
	gio_os_unlock(&blk->info_lock);
	if ((causes & GIO_VIRTIO_INT_CONFIG) && !blk_broken_load(blk))
		config_interrupt(blk);
	return (causes & GIO_VIRTIO_INT_QUEUE ? GIO_BLK_IRQ_QUEUE : 0) |
	       (causes & GIO_VIRTIO_INT_CONFIG ? GIO_BLK_IRQ_CONFIG : 0) |
	       (causes & GIO_TRANSPORT_INT_AGAIN ? GIO_BLK_IRQ_AGAIN : 0);
}

unsigned gio_blk_interrupt(struct gio_blk *blk)
{
	/* Before the queues: requests made in `done` then go by a new capacity. */
	unsigned causes = gio_blk_interrupt_ack(blk);

	/* Whatever the causes are: looking costs nothing, and a device that forgets to name one loses no request. */
	for (unsigned i = 0; i < blk->queues; i++)
		gio_blk_poll(blk, i);
	return causes;
}

/* ---- state ------------------------------------------------------------------------------------------------------ */

void gio_blk_info(struct gio_blk *blk, struct gio_blk_info *info)
{
	gio_os_lock(&blk->info_lock);
	*info = blk->info;
	gio_os_unlock(&blk->info_lock);
}

bool gio_blk_broken(struct gio_blk *blk)
{
	return blk_broken_load(blk) || gio_dma_broken(&blk->dma);
}

void gio_blk_stats(struct gio_blk *blk, struct gio_blk_stats *out)
{
	*out = (struct gio_blk_stats){0};
	gio_os_lock(&blk->info_lock);
	out->interrupts = blk->interrupts;
	gio_os_unlock(&blk->info_lock);
	for (unsigned i = 0; i < blk->queues; i++) {
		struct blk_queue *q = &blk->queue[i];

		gio_os_lock(&q->lock);
		out->requests += q->requests;
		out->kicks += q->kicks;
		gio_os_unlock(&q->lock);
	}
}
