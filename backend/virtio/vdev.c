/* SPDX-License-Identifier: MIT */
#include "backend/virtio/vdev_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <abi/virtio.h>
#include <abi/virtio_ring.h>

#include "backend/base/clock.h"
#include "backend/base/count.h"

/* The last orphan of a reset is gone: every queue may go on. Called by a worker's thread. */
static void vdev_drained(void *opaque)
{
	struct gd_vdev *vdev = opaque;

	for (unsigned i = 0; i < vdev->class->config.queues; i++)
		gd_worker_kick(vdev->queues[i].worker);
	pthread_mutex_lock(&vdev->lock);
	pthread_cond_broadcast(&vdev->drained);
	pthread_mutex_unlock(&vdev->lock);
}

static int refuse(const char *what, int err, char *error, size_t size)
{
	snprintf(error, size, "%s: %s", what, strerror(-err));
	return err;
}

static int config_check(const struct gd_vdev_config *config)
{
	const struct gd_device_config *device = &config->class->config;

	if (device->queues < 1 || device->queues > GD_VDEV_QUEUES || device->queue_size > GD_VDEV_QUEUE_SIZE)
		return -EINVAL;
	if (!gio_virtq_size_valid(device->queue_size) || !device->way || !device->log || !config->transport)
		return -EINVAL;
	/* Their parts of the ledger have a fixed size. */
	if (config->class->ops->state_bytes > GD_LEDGER_CLASS ||
	    config->transport->ops->state_bytes > GD_LEDGER_TRANSPORT)
		return -EINVAL;
	return 0;
}

static void workers_close(struct gd_vdev *vdev)
{
	for (unsigned i = 0; i < vdev->class->config.queues; i++)
		gd_worker_quit(vdev->queues[i].worker);
	for (unsigned i = 0; i < vdev->class->config.queues; i++)
		gd_worker_join(vdev->queues[i].worker);
	for (unsigned i = 0; i < vdev->class->config.queues; i++)
		gd_worker_close(vdev->queues[i].worker);
}

/* Begin all workers before the first one is waited for. */
static int workers_begin(struct gd_vdev *vdev, char *error, size_t size)
{
	struct gd_worker_config config = {
		.status = &vdev->status, .class = vdev->class, .drained = vdev_drained, .opaque = vdev};
	int err = 0;

	for (; !err && config.index < vdev->class->config.queues; config.index++) {
		config.ledger = gd_ledger_queue(vdev->config.ledger, config.index);
		config.bell = vdev->config.bells ? vdev->config.bells[config.index] : NULL;
		err = gd_worker_open(&vdev->queues[config.index].worker, &config, error, size);
	}
	for (unsigned i = 0; !err && i < vdev->class->config.queues; i++)
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

static void features_offer(struct gd_vdev *vdev)
{
	const struct gd_device_config *config = &vdev->class->config;
	uint64_t features = GIO_VIRTIO_F_VERSION_1 | GIO_VIRTIO_F_EVENT_IDX | gd_way_features(config->way);

	if (config->indirect)
		features |= GIO_VIRTIO_F_INDIRECT_DESC;
	vdev->offered = features | vdev->class->features;
}

/* Open all but the workers. */
static int parts_open(struct gd_vdev *vdev, char *error, size_t size)
{
	int err = vdev->config.ledger ? 0 : gd_ledger_make(&vdev->config.ledger, NULL);

	if (err)
		return refuse("no memory for a ledger", err, error, size);
	err = gd_guestmem_open(&vdev->mem, vdev->class->config.domid, vdev->class->config.way);
	return err ? refuse("cannot reach the guest's memory", err, error, size) : 0;
}

static void vdev_free(struct gd_vdev *vdev)
{
	pthread_cond_destroy(&vdev->drained);
	pthread_mutex_destroy(&vdev->lock);
	free(vdev);
}

int gd_vdev_open(struct gd_vdev **out, const struct gd_vdev_config *config, char *error, size_t size)
{
	struct gd_vdev *vdev;
	int err = config_check(config);

	*error = '\0';
	if (err)
		return refuse("its settings are invalid", err, error, size);
	vdev = calloc(1, sizeof(*vdev));
	if (!vdev)
		return refuse("no memory for it", -ENOMEM, error, size);
	vdev->config = *config;
	vdev->class = config->class;
	vdev->status = (struct gd_status){.log = vdev->class->config.log,
					  .transport = config->transport,
					  .quiet = config->quiet,
					  .opaque = config->opaque};
	config->transport->vdev = vdev;
	pthread_mutex_init(&vdev->lock, NULL);
	pthread_cond_init(&vdev->drained, NULL);
	features_offer(vdev);
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
err_free_vdev:
	if (!config->ledger)
		gd_ledger_close(vdev->config.ledger);
	vdev_free(vdev);
	return err;
}

void gd_vdev_transport_set(struct gd_vdev *vdev, struct gd_transport *transport)
{
	vdev->config.transport = transport;
	transport->vdev = vdev;
	/* Queue threads read it, and so may a thread that has found a change of the disk. */
	__atomic_store_n(&vdev->status.transport, transport, __ATOMIC_RELEASE);
}

void gd_vdev_close(struct gd_vdev *vdev)
{
	if (!vdev)
		return;
	gd_vdev_reset(vdev);
	workers_close(vdev);
	gd_guestmem_close(vdev->mem);
	gd_class_close(vdev->class);
	gd_ledger_close(vdev->config.ledger);
	vdev_free(vdev);
}

/* ---- from outside ----------------------------------------------------------------------------------------------- */

uint32_t gd_vdev_status(const struct gd_vdev *vdev)
{
	return gd_status_get(&vdev->status);
}

void gd_vdev_quiesce(struct gd_vdev *vdev)
{
	__atomic_store_n(&vdev->status.quiesced, true, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < vdev->class->config.queues; i++)
		gd_worker_kick(vdev->queues[i].worker);
}

unsigned gd_vdev_inflight(const struct gd_vdev *vdev)
{
	unsigned held = 0;

	for (unsigned i = 0; i < vdev->class->config.queues; i++)
		held += gd_worker_held(vdev->queues[i].worker);
	return held;
}

bool gd_vdev_drain(struct gd_vdev *vdev, unsigned ms)
{
	struct timespec end = gd_clock_after(ms); /* by a clock that nobody can set */
	int err = 0;

	pthread_mutex_lock(&vdev->lock);
	while (gd_vdev_orphans(vdev) && !err)
		err = pthread_cond_clockwait(&vdev->drained, &vdev->lock, CLOCK_MONOTONIC, &end);
	pthread_mutex_unlock(&vdev->lock);
	return !gd_vdev_orphans(vdev);
}

void gd_vdev_refresh(struct gd_vdev *vdev)
{
	const struct gd_class_ops *ops = vdev->class->ops;

	if (ops->refresh && ops->refresh(vdev->class) && gd_vdev_driving(vdev))
		gd_status_changed(&vdev->status);
}

void gd_vdev_stats(struct gd_vdev *vdev, struct gd_vdev_stats *out)
{
	*out = (struct gd_vdev_stats){.kicks = gd_count_read(&vdev->kicks),
				      .resets = gd_count_read(&vdev->resets),
				      .interrupts = gd_count_read(&vdev->status.interrupts),
				      .needs_reset = gd_count_read(&vdev->status.needs_reset)};
	for (unsigned i = 0; i < vdev->class->config.queues; i++)
		gd_worker_stats(vdev->queues[i].worker, out);
}
