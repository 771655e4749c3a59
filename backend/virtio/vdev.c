/* SPDX-License-Identifier: MIT */
#include "backend/virtio/vdev_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <abi/virtio.h>
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
	if (!gio_virtq_size_valid(config->queue_size) || !config->way || !config->disk || !config->transport ||
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
		.log = config->log, .transport = config->transport, .quiet = config->quiet, .opaque = config->opaque};
	config->transport->vdev = vdev;
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

/* ---- from outside ----------------------------------------------------------------------------------------------- */

uint32_t gd_vdev_status(const struct gd_vdev *vdev)
{
	return gd_status_get(&vdev->status);
}

bool gd_vdev_driving(const struct gd_vdev *vdev)
{
	return gd_status_get(&vdev->status) & GIO_VIRTIO_STATUS_DRIVER_OK;
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
	if (gd_vdev_driving(vdev))
		gd_status_changed(&vdev->status);
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
