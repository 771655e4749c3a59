/* SPDX-License-Identifier: MIT */
/*
 * The driver's accesses, as its transport passes them on: status, features, queues and configuration. The driver is not
 * trusted: it may write any value, in any order.
 */
#include <errno.h>
#include <string.h>

#include <abi/virtio.h>

#include "backend/base/count.h"
#include "backend/virtio/vdev_priv.h"

/*
 * A driver must accept these features where they are offered, since its DMA addresses are made of grant references and
 * have 64 bits. ACCESS_PLATFORM is not offered where the way to guest memory is not by grants (gd_way_features()).
 */
#define FEATURES_NEEDED (GIO_VIRTIO_F_VERSION_1 | GIO_VIRTIO_F_ACCESS_PLATFORM)

/* NULL: there is no such queue. The index may be any number. */
static struct gd_vdev_queue *queue_at(struct gd_vdev *vdev, uint32_t index)
{
	return index < vdev->class->config.queues ? &vdev->queues[index] : NULL;
}

static bool features_chosen(const struct gd_vdev *vdev)
{
	return gd_status_get(&vdev->status) & GIO_VIRTIO_STATUS_FEATURES_OK;
}

/* ---- features and status ---------------------------------------------------------------------------------------- */

uint32_t gd_vdev_id(const struct gd_vdev *vdev)
{
	return vdev->class->ops->id;
}

uint32_t gd_vdev_queues(const struct gd_vdev *vdev)
{
	return vdev->class->config.queues;
}

bool gd_vdev_driving(const struct gd_vdev *vdev)
{
	return gd_status_get(&vdev->status) & GIO_VIRTIO_STATUS_DRIVER_OK;
}

uint64_t gd_vdev_offered(const struct gd_vdev *vdev)
{
	return vdev->offered;
}

uint64_t gd_vdev_features(const struct gd_vdev *vdev)
{
	return vdev->features;
}

void gd_vdev_features_choose(struct gd_vdev *vdev, uint64_t features)
{
	if (!features_chosen(vdev))
		vdev->features = features;
}

static uint64_t features_needed(const struct gd_vdev *vdev)
{
	return gd_vdev_offered(vdev) & FEATURES_NEEDED;
}

bool gd_vdev_acceptable(const struct gd_vdev *vdev)
{
	uint64_t needed = features_needed(vdev);

	return (vdev->features & ~gd_vdev_offered(vdev)) == 0 && (vdev->features & needed) == needed;
}

static void features_refuse(const struct gd_vdev *vdev)
{
	bool platform = features_needed(vdev) & GIO_VIRTIO_F_ACCESS_PLATFORM;

	gd_log_guest(vdev->class->config.log, GD_WARN,
		     "features 0x%llx refused: VERSION_1%s needed, 0x%llx are offered",
		     (unsigned long long)vdev->features, platform ? " and ACCESS_PLATFORM are" : " is",
		     (unsigned long long)gd_vdev_offered(vdev));
}

void gd_vdev_status_write(struct gd_vdev *vdev, uint32_t value)
{
	uint32_t before = gd_status_get(&vdev->status), fresh = value & GD_VDEV_STATUS_DRIVER & ~before;

	if (value == 0) {
		gd_count_add(&vdev->resets, 1);
		gd_vdev_reset(vdev);
		return;
	}
	if ((fresh & GIO_VIRTIO_STATUS_FEATURES_OK) && !gd_vdev_acceptable(vdev)) {
		features_refuse(vdev);
		fresh &= ~GIO_VIRTIO_STATUS_FEATURES_OK;
	}
	if (fresh & GIO_VIRTIO_STATUS_FEATURES_OK && vdev->class->ops->negotiated)
		vdev->class->ops->negotiated(vdev->class, vdev->features);
	if (!((before | fresh) & GIO_VIRTIO_STATUS_FEATURES_OK))
		fresh &= ~GIO_VIRTIO_STATUS_DRIVER_OK;
	__atomic_fetch_or(&vdev->status.bits, fresh, __ATOMIC_SEQ_CST);
	if (fresh & GIO_VIRTIO_STATUS_DRIVER_OK && vdev->config.driver_ok)
		vdev->config.driver_ok(vdev->config.opaque);
}

/* ---- queues ----------------------------------------------------------------------------------------------------- */

uint32_t gd_vdev_queue_max(const struct gd_vdev *vdev, uint32_t index)
{
	return index < vdev->class->config.queues ? vdev->class->config.queue_size : 0;
}

bool gd_vdev_queue_ready(const struct gd_vdev *vdev, uint32_t index)
{
	return index < vdev->class->config.queues && vdev->queues[index].ready;
}

struct gd_vdev_layout gd_vdev_queue_layout(const struct gd_vdev *vdev, uint32_t index)
{
	return index < vdev->class->config.queues ? vdev->queues[index].layout : (struct gd_vdev_layout){0};
}

void gd_vdev_queue_lay_out(struct gd_vdev *vdev, uint32_t index, const struct gd_vdev_layout *layout)
{
	struct gd_vdev_queue *q = queue_at(vdev, index);

	if (q && !q->ready)
		q->layout = *layout;
}

struct gd_ring_layout gd_vdev_ring_layout(const struct gd_vdev *vdev, unsigned index)
{
	const struct gd_vdev_layout *layout = &vdev->queues[index].layout;

	return (struct gd_ring_layout){.desc = layout->desc,
				       .driver = layout->driver,
				       .device = layout->device,
				       .size = layout->size,
				       .event_idx = vdev->features & GIO_VIRTIO_F_EVENT_IDX,
				       .indirect = vdev->features & GIO_VIRTIO_F_INDIRECT_DESC,
				       .ledger = gd_ledger_queue(vdev->config.ledger, index),
				       .pool = vdev->pool};
}

void gd_vdev_use_pool(struct gd_vdev *vdev, const struct gd_pool *pool)
{
	vdev->pool = pool;
}

unsigned gd_vdev_orphans(const struct gd_vdev *vdev)
{
	return __atomic_load_n(&vdev->status.orphans, __ATOMIC_ACQUIRE);
}

void gd_vdev_queue_start(struct gd_vdev *vdev, uint32_t index)
{
	struct gd_vdev_queue *q = queue_at(vdev, index);
	struct gd_ring_layout layout;
	int err;

	if (!q || q->ready || !features_chosen(vdev))
		return;
	layout = gd_vdev_ring_layout(vdev, index);
	err = gd_ring_open(&q->ring, vdev->mem, &layout, vdev->class->config.queue_size);
	if (err)
		gd_status_break(&vdev->status, index, "its rings cannot be mapped", err);
	q->ready = !err;
}

bool gd_vdev_address_valid(const struct gd_vdev *vdev, gio_dma_t addr)
{
	return gd_guestmem_range_valid(vdev->class->config.way, addr, 1);
}

int gd_vdev_queue_enable(struct gd_vdev *vdev, uint32_t index, const struct gd_vdev_layout *layout)
{
	struct gd_vdev_queue *q = queue_at(vdev, index);
	struct gd_vdev_layout before;
	struct gd_ring_layout ring;
	int err;

	if (!q || q->ready || !features_chosen(vdev))
		return -EINVAL;
	before = q->layout;
	q->layout = *layout;
	ring = gd_vdev_ring_layout(vdev, index);
	err = gd_ring_open(&q->ring, vdev->mem, &ring, vdev->class->config.queue_size);
	if (err)
		q->layout = before;
	q->ready = !err;
	return err == -EPROTO ? -EINVAL : err;
}

static void queue_end(struct gd_vdev *vdev, struct gd_vdev_queue *q)
{
	if (!q->ready)
		return;
	gd_worker_stop(q->worker);
	gd_ring_close(&q->ring, vdev->mem);
	q->ready = q->working = false;
}

void gd_vdev_queue_stop(struct gd_vdev *vdev, uint32_t index)
{
	struct gd_vdev_queue *q = queue_at(vdev, index);

	if (q && features_chosen(vdev))
		queue_end(vdev, q);
}

void gd_vdev_kick(struct gd_vdev *vdev, uint32_t index)
{
	gd_count_add(&vdev->kicks, 1);
	if (index < vdev->class->config.queues && vdev->queues[index].ready)
		gd_worker_kick(vdev->queues[index].worker);
}

void gd_vdev_wake(struct gd_vdev *vdev, uint32_t index)
{
	/* `ready` is the transport's thread's. A driver that uses one queue of four must not wake the other threads. */
	if (index < vdev->class->config.queues)
		gd_worker_wake(vdev->queues[index].worker);
}

void gd_vdev_queues_work(struct gd_vdev *vdev)
{
	if (!gd_vdev_driving(vdev))
		return;
	for (unsigned i = 0; i < vdev->class->config.queues; i++) {
		struct gd_vdev_queue *q = &vdev->queues[i];

		if (q->ready && !q->working)
			gd_worker_start(q->worker, &q->ring);
		q->working = q->ready;
	}
}

void gd_vdev_reset(struct gd_vdev *vdev)
{
	for (unsigned i = 0; i < vdev->class->config.queues; i++) {
		queue_end(vdev, &vdev->queues[i]);
		/* The worker stays: another queue's thread may kick it when the last orphan is gone. */
		vdev->queues[i].layout = (struct gd_vdev_layout){0};
	}
	vdev->features = 0;
	if (vdev->class->ops->reset)
		vdev->class->ops->reset(vdev->class);
	vdev->config.transport->ops->reset(vdev->config.transport);
	__atomic_store_n(&vdev->status.bits, 0, __ATOMIC_SEQ_CST);
}

/* ---- configuration ---------------------------------------------------------------------------------------------- */

void gd_vdev_config_read(struct gd_vdev *vdev, uint64_t offset, void *data, size_t length)
{
	if (vdev->class->ops->config_read)
		vdev->class->ops->config_read(vdev->class, offset, data, length);
	else
		memset(data, 0, length);
}

bool gd_vdev_config_write(struct gd_vdev *vdev, uint64_t offset, const void *data, size_t length)
{
	return vdev->class->ops->config_write &&
	       vdev->class->ops->config_write(vdev->class, offset, data, length, vdev->features);
}

uint32_t gd_vdev_config_bytes(const struct gd_vdev *vdev)
{
	return vdev->class->ops->config_bytes;
}

struct gd_class_range gd_vdev_config_changes(const struct gd_vdev *vdev)
{
	return vdev->class->ops->changes;
}

uint32_t gd_vdev_generation(struct gd_vdev *vdev)
{
	return vdev->class->ops->generation ? vdev->class->ops->generation(vdev->class) : 0;
}

void gd_vdev_interrupt_took(struct gd_vdev *vdev, uint64_t us)
{
	gd_status_interrupt_took(&vdev->status, us);
}
