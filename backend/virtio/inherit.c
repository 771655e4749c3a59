/* SPDX-License-Identifier: MIT */
/* How a device passes from one process to its successor: what is saved in the ledger, and how it is taken over. */
#include <errno.h>

#include <abi/virtio.h>
#include <abi/virtio_ring.h>

#include "backend/base/count.h"
#include "backend/virtio/vdev_priv.h"

void gd_vdev_save(struct gd_vdev *vdev)
{
	struct gd_transport *transport = vdev->config.transport;
	struct gd_ledger_registers r = {.features = vdev->features,
					.status = gd_status_get(&vdev->status),
					.transport_id = transport->ops->id,
					.class_id = vdev->class->ops->id};

	for (unsigned i = 0; i < vdev->class->config.queues; i++) {
		const struct gd_vdev_queue *q = &vdev->queues[i];

		r.queue[i].num = q->layout.size;
		r.queue[i].ready = q->ready;
		r.queue[i].desc = q->layout.desc;
		r.queue[i].driver = q->layout.driver;
		r.queue[i].device = q->layout.device;
	}
	transport->ops->save(transport, r.transport);
	if (vdev->class->ops->save)
		vdev->class->ops->save(vdev->class, r.class);
	gd_ledger_save(vdev->config.ledger, &r);
}

void gd_vdev_commit(struct gd_vdev *vdev)
{
	gd_vdev_save(vdev);
	gd_vdev_queues_work(vdev);
}

static int queue_resume(struct gd_vdev *vdev, unsigned index)
{
	struct gd_vdev_queue *q = &vdev->queues[index];
	struct gd_ring_layout layout = gd_vdev_ring_layout(vdev, index);
	int err = gd_ring_resume(&q->ring, vdev->mem, &layout, vdev->class->config.queue_size);

	q->ready = !err;
	return err;
}

static int queues_resume(struct gd_vdev *vdev, const struct gd_ledger_registers *r)
{
	int err = 0;

	for (unsigned i = vdev->class->config.queues; i < GD_VDEV_QUEUES; i++)
		if (r->queue[i].ready)
			return -EINVAL;
	for (unsigned i = 0; !err && i < vdev->class->config.queues; i++) {
		vdev->queues[i].layout = (struct gd_vdev_layout){.size = r->queue[i].num,
								 .desc = r->queue[i].desc,
								 .driver = r->queue[i].driver,
								 .device = r->queue[i].device};
		if (r->queue[i].ready)
			err = queue_resume(vdev, i);
	}
	return err;
}

/* Whether another transport or another class wrote the ledger, whose parts mean something else. */
static bool written_by_others(const struct gd_vdev *vdev, const struct gd_ledger_registers *r)
{
	if (!r->transport_id && !r->class_id)
		return false; /* nothing was saved yet */
	return r->transport_id != vdev->config.transport->ops->id || r->class_id != vdev->class->ops->id;
}

static int state_resume(struct gd_vdev *vdev)
{
	const uint32_t known = GD_VDEV_STATUS_DRIVER | GIO_VIRTIO_STATUS_NEEDS_RESET;
	struct gd_transport *transport = vdev->config.transport;
	struct gd_ledger_registers r;
	int err;

	gd_ledger_load(vdev->config.ledger, &r);
	if (written_by_others(vdev, &r))
		return -EINVAL;
	vdev->features = r.features;
	if (r.status & ~known || (r.status & GIO_VIRTIO_STATUS_FEATURES_OK && !gd_vdev_acceptable(vdev)))
		return -EINVAL;
	err = transport->ops->load(transport, r.transport);
	if (!err && vdev->class->ops->load)
		err = vdev->class->ops->load(vdev->class, r.class, r.status & GIO_VIRTIO_STATUS_DRIVER);
	if (err)
		return err;
	__atomic_store_n(&vdev->status.bits, r.status, __ATOMIC_SEQ_CST);
	return queues_resume(vdev, &r);
}

/* Whether the I/O that the former process had in flight is over or does no harm: 0 or -ESTALE. */
static int replay_check(const struct gd_vdev *vdev)
{
	bool fenced = !vdev->class->ops->fenced || vdev->class->ops->fenced(vdev->class);

	return fenced || !gd_ledger_pending(vdev->config.ledger) ? 0 : -ESTALE;
}

int gd_vdev_resume(struct gd_vdev *vdev)
{
	int err = replay_check(vdev);

	if (!err)
		err = state_resume(vdev);
	if (err) {
		gd_vdev_reset(vdev);
		gd_vdev_orphan(vdev); /* saved before the I/O in flight is forgotten, lest a successor go on */
	}
	gd_ledger_forget(vdev->config.ledger, err != 0);
	if (err)
		return err;
	gd_vdev_queues_work(vdev);
	/* The former process's last interrupt may have been lost. The caller raises another one. */
	vdev->config.transport->ops->pend(vdev->config.transport, GD_TELL_USED | GD_TELL_CHANGED);
	return 0;
}

void gd_vdev_abandon(struct gd_vdev *vdev)
{
	gd_vdev_reset(vdev);
	gd_vdev_save(vdev);
	gd_ledger_forget(vdev->config.ledger, true);
}

void gd_vdev_orphan(struct gd_vdev *vdev)
{
	uint32_t before = __atomic_fetch_or(&vdev->status.bits, GIO_VIRTIO_STATUS_NEEDS_RESET, __ATOMIC_SEQ_CST);

	vdev->config.transport->ops->pend(vdev->config.transport, GD_TELL_CHANGED);
	if (!(before & GIO_VIRTIO_STATUS_NEEDS_RESET))
		gd_count_add(&vdev->status.needs_reset, 1);
	gd_vdev_save(vdev);
}

void gd_device_config_keep(struct gd_device_config *config, const struct gd_ledger *ledger)
{
	struct gd_ledger_registers r;

	gd_ledger_load(ledger, &r);
	config->indirect |= !!(r.features & GIO_VIRTIO_F_INDIRECT_DESC);
	for (unsigned i = 0; i < GD_LEDGER_QUEUES; i++) {
		if (!r.queue[i].ready || !gio_virtq_size_valid(r.queue[i].num) || r.queue[i].num > GD_LEDGER_HEADS)
			continue;
		config->queues = config->queues > i ? config->queues : i + 1;
		config->queue_size = config->queue_size > r.queue[i].num ? config->queue_size : r.queue[i].num;
	}
}
