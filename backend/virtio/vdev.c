/* SPDX-License-Identifier: MIT */
#include "backend/virtio/vdev_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <abi/virtio_ring.h>

#include "backend/base/count.h"

/* The last orphan of a reset is gone: every queue may go on. In a worker's thread. */
static void vdev_drained(void *opaque)
{
	struct gd_vdev *vdev = opaque;

	for (unsigned i = 0; i < vdev->config.queues; i++)
		gd_worker_kick(vdev->queues[i].worker);
}

static int refuse(const char *what, int err, char *error, size_t size)
{
	snprintf(error, size, "%s: %s", what, strerror(-err));
	return err;
}

static int config_check(const struct gd_vdev_config *config)
{
	if (config->queues < 1 || config->queues > GD_VDEV_QUEUES || config->queue_size > GD_VDEV_QUEUE_SIZE)
		return -EINVAL;
	if (!gio_virtq_size_valid(config->queue_size) || !config->way || !config->disk || !config->raise ||
	    !config->log)
		return -EINVAL;
	return 0;
}

static void workers_close(struct gd_vdev *vdev)
{
	for (unsigned i = 0; i < vdev->config.queues; i++)
		gd_worker_quit(vdev->queues[i].worker);
	for (unsigned i = 0; i < vdev->config.queues; i++)
		gd_worker_join(vdev->queues[i].worker);
	for (unsigned i = 0; i < vdev->config.queues; i++)
		gd_worker_close(vdev->queues[i].worker);
}

/* All begin before the first is waited for. */
static int workers_begin(struct gd_vdev *vdev, char *error, size_t size)
{
	struct gd_worker_config config = {.status = &vdev->status,
					  .way = vdev->config.way,
					  .blk = &vdev->blk,
					  .disk = vdev->config.disk,
					  .domid = vdev->config.domid,
					  .queue_size = vdev->config.queue_size,
					  .indirect = vdev->config.indirect,
					  .drained = vdev_drained,
					  .opaque = vdev};
	int err = 0;

	for (; !err && config.index < vdev->config.queues; config.index++) {
		config.ledger = gd_ledger_queue(vdev->config.ledger, config.index);
		err = gd_worker_open(&vdev->queues[config.index].worker, &config, error, size);
	}
	for (unsigned i = 0; !err && i < vdev->config.queues; i++)
		err = gd_worker_ready(vdev->queues[i].worker, error, size);
	return err;
}

static int workers_open(struct gd_vdev *vdev, char *error, size_t size)
{
	int err = workers_begin(vdev, error, size);

	if (err)
		workers_close(vdev);
	return err;
}

static int blk_open(struct gd_vdev *vdev)
{
	struct gd_blk_config config;
	struct gd_disk_info info;

	gd_disk_info(vdev->config.disk, &info);
	if (!info.multi_queue)
		vdev->config.queues = 1;
	config = (struct gd_blk_config){.queues = vdev->config.queues,
					.queue_size = vdev->config.queue_size,
					.indirect = vdev->config.indirect,
					.features = gd_way_features(vdev->config.way),
					.writeback = vdev->config.writeback,
					.discard = vdev->config.discard};
	return gd_blk_init(&vdev->blk, &info, &config);
}

/* All but the workers. */
static int parts_open(struct gd_vdev *vdev, char *error, size_t size)
{
	int err = vdev->config.ledger ? 0 : gd_ledger_make(&vdev->config.ledger, NULL);

	if (err)
		return refuse("no memory for a ledger", err, error, size);
	err = blk_open(vdev);
	if (err)
		return refuse("the disk is none that can be offered", err, error, size);
	err = gd_guestmem_open(&vdev->mem, vdev->config.domid, vdev->config.way);
	if (!err)
		return 0;
	gd_blk_exit(&vdev->blk);
	return refuse("cannot get at the guest's memory", err, error, size);
}

int gd_vdev_open(struct gd_vdev **out, const struct gd_vdev_config *config, char *error, size_t size)
{
	struct gd_vdev *vdev;
	int err = config_check(config);

	*error = '\0';
	if (err)
		return refuse("its settings are not possible", err, error, size);
	vdev = calloc(1, sizeof(*vdev));
	if (!vdev)
		return refuse("no memory for it", -ENOMEM, error, size);
	vdev->config = *config;
	vdev->status = (struct gd_status){
		.log = config->log, .raise = config->raise, .quiet = config->quiet, .opaque = config->opaque};
	err = parts_open(vdev, error, size);
	if (err)
		goto err_free_vdev;
	err = workers_open(vdev, error, size);
	if (err)
		goto err_close_parts;
	*out = vdev;
	return 0;

err_close_parts:
	gd_guestmem_close(vdev->mem);
	gd_blk_exit(&vdev->blk);
err_free_vdev:
	if (!config->ledger)
		gd_ledger_close(vdev->config.ledger);
	free(vdev);
	return err;
}

void gd_vdev_close(struct gd_vdev *vdev)
{
	if (!vdev)
		return;
	gd_vdev_reset(vdev);
	workers_close(vdev);
	gd_guestmem_close(vdev->mem);
	gd_blk_exit(&vdev->blk);
	gd_disk_close(vdev->config.disk);
	gd_ledger_close(vdev->config.ledger);
	free(vdev);
}

/* ---- queues ----------------------------------------------------------------------------------------------------- */

static void queue_work(struct gd_vdev *vdev, unsigned index)
{
	struct gd_vdev_queue *q = &vdev->queues[index];

	gd_worker_start(q->worker, &q->ring);
}

static struct gd_ring_layout queue_layout(struct gd_vdev *vdev, unsigned index)
{
	const struct gd_vdev_queue *q = &vdev->queues[index];

	return (struct gd_ring_layout){.desc = q->desc,
				       .driver = q->driver,
				       .device = q->device,
				       .size = q->num,
				       .event_idx = vdev->features & GIO_VIRTIO_F_EVENT_IDX,
				       .indirect = vdev->features & GIO_VIRTIO_F_INDIRECT_DESC,
				       .ledger = gd_ledger_queue(vdev->config.ledger, index)};
}

void gd_vdev_queue_start(struct gd_vdev *vdev, unsigned index)
{
	struct gd_vdev_queue *q = &vdev->queues[index];
	struct gd_ring_layout layout = queue_layout(vdev, index);
	int err;

	if (q->ready)
		return;
	err = gd_ring_open(&q->ring, vdev->mem, &layout, vdev->config.queue_size);
	if (err) {
		gd_status_break(&vdev->status, index, "its rings cannot be mapped", err);
		return;
	}
	q->ready = true;
	if (gd_status_get(&vdev->status) & GIO_VIRTIO_STATUS_DRIVER_OK)
		queue_work(vdev, index);
}

void gd_vdev_queue_stop(struct gd_vdev *vdev, unsigned index)
{
	struct gd_vdev_queue *q = &vdev->queues[index];

	if (!q->ready)
		return;
	gd_worker_stop(q->worker);
	gd_ring_close(&q->ring, vdev->mem);
	q->ready = false;
}

void gd_vdev_driver_ok(struct gd_vdev *vdev)
{
	for (unsigned i = 0; i < vdev->config.queues; i++)
		if (vdev->queues[i].ready)
			queue_work(vdev, i);
}

void gd_vdev_reset(struct gd_vdev *vdev)
{
	for (unsigned i = 0; i < vdev->config.queues; i++) {
		struct gd_vdev_queue *q = &vdev->queues[i];

		gd_vdev_queue_stop(vdev, i);
		/* Not the worker: an orphan's thread may be looking at it (vdev_drained). */
		q->num = 0;
		q->desc = q->driver = q->device = 0;
	}
	vdev->device_features_sel = vdev->driver_features_sel = vdev->queue_sel = 0;
	vdev->features = 0;
	gd_blk_reset(&vdev->blk);
	/* No thread of the device is left that could set a bit of these, but for a change of size: harmless. */
	__atomic_store_n(&vdev->status.interrupt, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&vdev->status.bits, 0, __ATOMIC_SEQ_CST);
}

/* ---- the ledger ------------------------------------------------------------------------------------------------- */

void gd_vdev_save(struct gd_vdev *vdev)
{
	struct gd_ledger_registers r = {.features = vdev->features,
					.status = gd_status_get(&vdev->status),
					.device_features_sel = vdev->device_features_sel,
					.driver_features_sel = vdev->driver_features_sel,
					.queue_sel = vdev->queue_sel,
					.writeback = gd_blk_writeback(&vdev->blk),
					.block_size = vdev->blk.info.block_size};

	for (unsigned i = 0; i < vdev->config.queues; i++) {
		const struct gd_vdev_queue *q = &vdev->queues[i];

		r.queue[i].num = q->num;
		r.queue[i].ready = q->ready;
		r.queue[i].desc = q->desc;
		r.queue[i].driver = q->driver;
		r.queue[i].device = q->device;
	}
	gd_ledger_save(vdev->config.ledger, &r);
}

static int queues_resume(struct gd_vdev *vdev, const struct gd_ledger_registers *r)
{
	for (unsigned i = 0; i < GD_VDEV_QUEUES; i++) {
		struct gd_vdev_queue *q = &vdev->queues[i];
		struct gd_ring_layout layout;
		int err;

		if (i >= vdev->config.queues && r->queue[i].ready)
			return -EINVAL;
		if (i >= vdev->config.queues)
			continue;
		q->num = r->queue[i].num;
		q->desc = r->queue[i].desc;
		q->driver = r->queue[i].driver;
		q->device = r->queue[i].device;
		if (!r->queue[i].ready)
			continue;
		layout = queue_layout(vdev, i);
		err = gd_ring_resume(&q->ring, vdev->mem, &layout, vdev->config.queue_size);
		if (err)
			return err;
		q->ready = true;
	}
	return 0;
}

/* A driver does not look again at what it was told of blocks: virtio 1.2 has no way to tell it that they changed. */
static int blocks_check(const struct gd_vdev *vdev, const struct gd_ledger_registers *r)
{
	if (!(r->status & GIO_VIRTIO_STATUS_DRIVER) || !r->block_size || r->block_size == vdev->blk.info.block_size)
		return 0;
	gd_log(vdev->config.log, GD_WARN, "the image has blocks of %u bytes now, and its driver knows blocks of %u",
	       vdev->blk.info.block_size, r->block_size);
	return -EINVAL;
}

static int registers_resume(struct gd_vdev *vdev)
{
	const uint32_t known = GD_VDEV_STATUS_DRIVER | GIO_VIRTIO_STATUS_NEEDS_RESET;
	struct gd_ledger_registers r;

	gd_ledger_load(vdev->config.ledger, &r);
	if (blocks_check(vdev, &r))
		return -EINVAL;
	vdev->features = r.features;
	vdev->device_features_sel = r.device_features_sel;
	vdev->driver_features_sel = r.driver_features_sel;
	vdev->queue_sel = r.queue_sel;
	gd_blk_writeback_set(&vdev->blk, r.writeback);
	if (r.status & ~known || (r.status & GIO_VIRTIO_STATUS_FEATURES_OK && !gd_vdev_acceptable(vdev)))
		return -EINVAL;
	__atomic_store_n(&vdev->status.bits, r.status, __ATOMIC_SEQ_CST);
	return queues_resume(vdev, &r);
}

/* Whether what the former process had in flight is over, or harmless. */
static int replay_check(const struct gd_vdev *vdev)
{
	struct gd_disk_info info;

	gd_disk_info(vdev->config.disk, &info);
	return info.fenced || !gd_ledger_pending(vdev->config.ledger) ? 0 : -ESTALE;
}

int gd_vdev_resume(struct gd_vdev *vdev)
{
	int err = replay_check(vdev);

	if (!err)
		err = registers_resume(vdev);
	if (err) {
		gd_vdev_reset(vdev);
		gd_vdev_orphan(vdev); /* before what was in flight is forgotten: no successor takes it for settled */
	}
	gd_ledger_forget(vdev->config.ledger, err != 0);
	if (err)
		return err;
	if (gd_status_get(&vdev->status) & GIO_VIRTIO_STATUS_DRIVER_OK)
		for (unsigned i = 0; i < vdev->config.queues; i++)
			if (vdev->queues[i].ready)
				queue_work(vdev, i);
	/* What the former process told may not have been heard; the caller raises the interrupt. */
	__atomic_fetch_or(&vdev->status.interrupt, GIO_VIRTIO_MMIO_INT_QUEUE | GIO_VIRTIO_MMIO_INT_CONFIG,
			  __ATOMIC_SEQ_CST);
	return 0;
}

/* ---- from outside ----------------------------------------------------------------------------------------------- */

uint32_t gd_vdev_status(const struct gd_vdev *vdev)
{
	return gd_status_get(&vdev->status);
}

void gd_vdev_orphan(struct gd_vdev *vdev)
{
	uint32_t before = __atomic_fetch_or(&vdev->status.bits, GIO_VIRTIO_STATUS_NEEDS_RESET, __ATOMIC_SEQ_CST);

	__atomic_fetch_or(&vdev->status.interrupt, GIO_VIRTIO_MMIO_INT_CONFIG, __ATOMIC_SEQ_CST);
	if (!(before & GIO_VIRTIO_STATUS_NEEDS_RESET))
		gd_count_add(&vdev->status.needs_reset, 1);
	gd_vdev_save(vdev);
}

void gd_vdev_quiesce(struct gd_vdev *vdev)
{
	__atomic_store_n(&vdev->status.quiesced, true, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < vdev->config.queues; i++)
		gd_worker_kick(vdev->queues[i].worker);
}

unsigned gd_vdev_inflight(const struct gd_vdev *vdev)
{
	unsigned held = 0;

	for (unsigned i = 0; i < vdev->config.queues; i++)
		held += gd_worker_held(vdev->queues[i].worker);
	return held;
}

void gd_vdev_refresh(struct gd_vdev *vdev)
{
	struct gd_disk_info info;

	if (!gd_disk_refresh(vdev->config.disk))
		return;
	gd_disk_info(vdev->config.disk, &info);
	if (!gd_blk_resize(&vdev->blk, info.size))
		return;
	gd_log(vdev->config.log, GD_NOTICE, "size is now %llu bytes", (unsigned long long)info.size);
	if (gd_status_get(&vdev->status) & GIO_VIRTIO_STATUS_DRIVER_OK)
		gd_status_interrupt(&vdev->status, GIO_VIRTIO_MMIO_INT_CONFIG);
}

void gd_vdev_stats(struct gd_vdev *vdev, struct gd_vdev_stats *out)
{
	*out = (struct gd_vdev_stats){.kicks = gd_count_read(&vdev->kicks),
				      .resets = gd_count_read(&vdev->resets),
				      .interrupts = gd_count_read(&vdev->status.interrupts),
				      .needs_reset = gd_count_read(&vdev->status.needs_reset)};
	for (unsigned i = 0; i < vdev->config.queues; i++)
		gd_worker_stats(vdev->queues[i].worker, out);
}
