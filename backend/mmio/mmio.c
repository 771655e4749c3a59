/* SPDX-License-Identifier: MIT */
/* Registers of virtio-mmio, version 2 (virtio 1.2, 4.2.2). Everything that comes in is the guest's. */
#include "backend/virtio/vdev_priv.h"

#include <abi/virtio_mmio.h>
#include <abi/virtio_ring.h>

#include "backend/base/count.h"

#define VENDOR_ID 0x4f495447u /* "GTIO" */

/*
 * Features without which a guest cannot use this device: its addresses are 64 bits of grant references. The second one
 * is not offered where they are not (see features_offered() in blk.c).
 */
#define FEATURES_NEEDED (GIO_VIRTIO_F_VERSION_1 | GIO_VIRTIO_F_ACCESS_PLATFORM)

/* The queue that the registers mean, or NULL: queue_sel may be any number. */
static struct gd_vdev_queue *queue_selected(struct gd_vdev *vdev)
{
	return vdev->queue_sel < vdev->config.queues ? &vdev->queues[vdev->queue_sel] : NULL;
}

static bool features_chosen(const struct gd_vdev *vdev)
{
	return gd_status_get(&vdev->status) & GIO_VIRTIO_STATUS_FEATURES_OK;
}

/* ---- reads ------------------------------------------------------------------------------------------------------ */

static uint32_t features_half(uint64_t features, uint32_t sel)
{
	return sel < 2 ? (uint32_t)(features >> (32 * sel)) : 0;
}

static uint32_t register_read(struct gd_vdev *vdev, uint64_t offset)
{
	const struct gd_vdev_queue *q = queue_selected(vdev);

	switch (offset) {
	case GIO_VIRTIO_MMIO_MAGIC:
		return GIO_VIRTIO_MMIO_MAGIC_VALUE;
	case GIO_VIRTIO_MMIO_VERSION:
		return GIO_VIRTIO_MMIO_VERSION_2;
	case GIO_VIRTIO_MMIO_DEVICE_ID:
		return GIO_VIRTIO_ID_BLOCK;
	case GIO_VIRTIO_MMIO_VENDOR_ID:
		return VENDOR_ID;
	case GIO_VIRTIO_MMIO_DEVICE_FEATURES:
		return features_half(vdev->blk.features, vdev->device_features_sel);
	case GIO_VIRTIO_MMIO_QUEUE_NUM_MAX:
		return q ? vdev->config.queue_size : 0;
	case GIO_VIRTIO_MMIO_QUEUE_READY:
		return q && q->ready;
	case GIO_VIRTIO_MMIO_INTERRUPT_STATUS:
		return __atomic_load_n(&vdev->status.interrupt, __ATOMIC_SEQ_CST);
	case GIO_VIRTIO_MMIO_STATUS:
		return gd_status_get(&vdev->status);
	case GIO_VIRTIO_MMIO_SHM_LEN_LOW:
	case GIO_VIRTIO_MMIO_SHM_LEN_HIGH:
	case GIO_VIRTIO_MMIO_SHM_BASE_LOW:
	case GIO_VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX; /* there is no such region, whatever SHMSel says */
	case GIO_VIRTIO_MMIO_CONFIG_GENERATION:
		return gd_blk_generation(&vdev->blk);
	default:
		return 0;
	}
}

uint64_t gd_vdev_read(struct gd_vdev *vdev, uint64_t offset, unsigned size)
{
	if (offset >= GIO_VIRTIO_MMIO_CONFIG)
		return gd_blk_config_read(&vdev->blk, offset - GIO_VIRTIO_MMIO_CONFIG, size);
	return size == sizeof(uint32_t) ? register_read(vdev, offset) : 0;
}

/* ---- writes ----------------------------------------------------------------------------------------------------- */

static void features_write(struct gd_vdev *vdev, uint32_t value)
{
	unsigned shift = 32 * vdev->driver_features_sel;

	if (vdev->driver_features_sel > 1 || features_chosen(vdev))
		return;
	vdev->features = (vdev->features & ~(UINT64_C(0xffffffff) << shift)) | (uint64_t)value << shift;
}

bool gd_vdev_acceptable(const struct gd_vdev *vdev)
{
	uint64_t needed = vdev->blk.features & FEATURES_NEEDED;

	return (vdev->features & ~vdev->blk.features) == 0 && (vdev->features & needed) == needed;
}

/* The driver sets bits; it clears them only all at once, by 0. */
static void status_write(struct gd_vdev *vdev, uint32_t value)
{
	uint32_t before = gd_status_get(&vdev->status), fresh = value & GD_VDEV_STATUS_DRIVER & ~before;

	if (value == 0) {
		gd_count_add(&vdev->resets, 1);
		gd_vdev_reset(vdev);
		return;
	}
	if ((fresh & GIO_VIRTIO_STATUS_FEATURES_OK) && !gd_vdev_acceptable(vdev)) {
		gd_log_guest(vdev->config.log, GD_WARN,
			     "features 0x%llx refused: VERSION_1%s needed, 0x%llx are offered",
			     (unsigned long long)vdev->features,
			     vdev->blk.features & GIO_VIRTIO_F_ACCESS_PLATFORM ? " and ACCESS_PLATFORM are" : " is",
			     (unsigned long long)vdev->blk.features);
		fresh &= ~GIO_VIRTIO_STATUS_FEATURES_OK;
	}
	if (fresh & GIO_VIRTIO_STATUS_FEATURES_OK)
		gd_blk_negotiated(&vdev->blk, vdev->features);
	if (!((before | fresh) & GIO_VIRTIO_STATUS_FEATURES_OK))
		fresh &= ~GIO_VIRTIO_STATUS_DRIVER_OK;
	__atomic_fetch_or(&vdev->status.bits, fresh, __ATOMIC_SEQ_CST);
	if (fresh & GIO_VIRTIO_STATUS_DRIVER_OK)
		gd_vdev_driver_ok(vdev);
}

static void notify_write(struct gd_vdev *vdev, uint32_t index)
{
	gd_count_add(&vdev->kicks, 1);
	if (index < vdev->config.queues && vdev->queues[index].ready)
		gd_worker_kick(vdev->queues[index].worker);
}

static void ready_write(struct gd_vdev *vdev, uint32_t value)
{
	if (!queue_selected(vdev) || !features_chosen(vdev))
		return;
	if (value == 1)
		gd_vdev_queue_start(vdev, vdev->queue_sel);
	else if (value == 0)
		gd_vdev_queue_stop(vdev, vdev->queue_sel);
}

static void half_write(uint64_t *address, unsigned shift, uint32_t value)
{
	*address = (*address & ~(UINT64_C(0xffffffff) << shift)) | (uint64_t)value << shift;
}

/* Size and addresses of the selected queue: of no effect while it is ready. They are checked when it gets ready. */
static void queue_write(struct gd_vdev *vdev, uint64_t offset, uint32_t value)
{
	struct gd_vdev_queue *q = queue_selected(vdev);

	if (!q || q->ready)
		return;
	switch (offset) {
	case GIO_VIRTIO_MMIO_QUEUE_NUM:
		q->num = value;
		break;
	case GIO_VIRTIO_MMIO_QUEUE_DESC_LOW:
	case GIO_VIRTIO_MMIO_QUEUE_DESC_HIGH:
		half_write(&q->desc, offset == GIO_VIRTIO_MMIO_QUEUE_DESC_HIGH ? 32 : 0, value);
		break;
	case GIO_VIRTIO_MMIO_QUEUE_DRIVER_LOW:
	case GIO_VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
		half_write(&q->driver, offset == GIO_VIRTIO_MMIO_QUEUE_DRIVER_HIGH ? 32 : 0, value);
		break;
	case GIO_VIRTIO_MMIO_QUEUE_DEVICE_LOW:
	case GIO_VIRTIO_MMIO_QUEUE_DEVICE_HIGH:
		half_write(&q->device, offset == GIO_VIRTIO_MMIO_QUEUE_DEVICE_HIGH ? 32 : 0, value);
		break;
	default:
		break;
	}
}

static void register_write(struct gd_vdev *vdev, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case GIO_VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		vdev->device_features_sel = value;
		break;
	case GIO_VIRTIO_MMIO_DRIVER_FEATURES:
		features_write(vdev, value);
		break;
	case GIO_VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		vdev->driver_features_sel = value;
		break;
	case GIO_VIRTIO_MMIO_QUEUE_SEL:
		vdev->queue_sel = value;
		break;
	case GIO_VIRTIO_MMIO_QUEUE_READY:
		ready_write(vdev, value);
		break;
	case GIO_VIRTIO_MMIO_QUEUE_NOTIFY:
		notify_write(vdev, value);
		return;
	case GIO_VIRTIO_MMIO_INTERRUPT_ACK:
		gd_status_acknowledge(&vdev->status, value);
		return;
	case GIO_VIRTIO_MMIO_STATUS:
		status_write(vdev, value);
		break;
	default:
		queue_write(vdev, offset, value);
	}
	gd_vdev_save(vdev);
}

static void config_write(struct gd_vdev *vdev, uint64_t offset, unsigned size, uint64_t value)
{
	gd_blk_config_write(&vdev->blk, offset, size, value, vdev->features);
	gd_vdev_save(vdev);
}

void gd_vdev_write(struct gd_vdev *vdev, uint64_t offset, unsigned size, uint64_t value)
{
	if (offset >= GIO_VIRTIO_MMIO_CONFIG)
		config_write(vdev, offset - GIO_VIRTIO_MMIO_CONFIG, size, value);
	else if (size == sizeof(uint32_t))
		register_write(vdev, offset, (uint32_t)value);
}
