/* SPDX-License-Identifier: MIT */
/* Registers of virtio-mmio, version 2 (virtio 1.2, 4.2.2). The guest chooses every offset, size and value. */
#include "backend/mmio/mmio.h"

#include <string.h>

#include <abi/virtio.h>
#include <abi/virtio_mmio.h>

#include "backend/base/clock.h"
#include "backend/virtio/vdev.h"

#define VENDOR_ID 0x4f495447u /* "GTIO" */

/* The transport's part of the ledger. Other versions read it: never change a field, and add new ones at the end. */
struct mmio_state {
	uint32_t device_features_sel, driver_features_sel, queue_sel;
};

static struct gd_mmio *mmio_of(struct gd_transport *transport)
{
	return (struct gd_mmio *)transport; /* its first field */
}

/* ---- interrupts ------------------------------------------------------------------------------------------------- */

static void interrupt(struct gd_mmio *mmio, uint32_t bits)
{
	/*
	 * The bit is set before the interrupt is raised: the guest's handler reads InterruptStatus, and ignores an
	 * interrupt without a bit. Several threads set bits while the guest clears others, so each step is atomic.
	 */
	if (!__atomic_fetch_or(&mmio->interrupt, bits, __ATOMIC_SEQ_CST))
		__atomic_store_n(&mmio->raised_at, gd_clock_us(), __ATOMIC_RELAXED);
	mmio->raise(mmio->opaque);
}

static void mmio_used(struct gd_transport *transport, unsigned queue)
{
	(void)queue; /* one interrupt stands for all queues */
	interrupt(mmio_of(transport), GIO_VIRTIO_INT_QUEUE);
}

static void mmio_changed(struct gd_transport *transport)
{
	interrupt(mmio_of(transport), GIO_VIRTIO_INT_CONFIG);
}

/* The guest acknowledges when it likes, so the time that it took is only a hint. */
static void acknowledge(struct gd_mmio *mmio, uint32_t bits)
{
	uint64_t raised = __atomic_exchange_n(&mmio->raised_at, 0, __ATOMIC_RELAXED);

	__atomic_fetch_and(&mmio->interrupt, ~bits, __ATOMIC_SEQ_CST);
	if (raised)
		gd_vdev_interrupt_took(mmio->transport.vdev, gd_clock_us() - raised);
}

/* ---- the ledger, and a reset ------------------------------------------------------------------------------------ */

static void mmio_pend(struct gd_transport *transport, uint32_t what)
{
	uint32_t bits =
		(what & GD_TELL_USED ? GIO_VIRTIO_INT_QUEUE : 0) | (what & GD_TELL_CHANGED ? GIO_VIRTIO_INT_CONFIG : 0);

	__atomic_fetch_or(&mmio_of(transport)->interrupt, bits, __ATOMIC_SEQ_CST);
}

static void mmio_reset(struct gd_transport *transport)
{
	struct gd_mmio *mmio = mmio_of(transport);

	mmio->device_features_sel = mmio->driver_features_sel = mmio->queue_sel = 0;
	/* The queues' threads are stopped. Only a change of size may set a bit now, which a driver must tolerate. */
	__atomic_store_n(&mmio->interrupt, 0, __ATOMIC_SEQ_CST);
}

static void mmio_save(const struct gd_transport *transport, void *state)
{
	const struct gd_mmio *mmio = (const struct gd_mmio *)transport;
	struct mmio_state s = {.device_features_sel = mmio->device_features_sel,
			       .driver_features_sel = mmio->driver_features_sel,
			       .queue_sel = mmio->queue_sel};

	memcpy(state, &s, sizeof(s));
}

static int mmio_load(struct gd_transport *transport, const void *state)
{
	struct gd_mmio *mmio = mmio_of(transport);
	struct mmio_state s;

	memcpy(&s, state, sizeof(s));
	mmio->device_features_sel = s.device_features_sel; /* every value is valid: the guest may write any */
	mmio->driver_features_sel = s.driver_features_sel;
	mmio->queue_sel = s.queue_sel;
	return 0;
}

static const struct gd_transport_ops mmio_ops = {.id = GD_TRANSPORT_MMIO,
						 .state_bytes = sizeof(struct mmio_state),
						 .used = mmio_used,
						 .changed = mmio_changed,
						 .pend = mmio_pend,
						 .reset = mmio_reset,
						 .save = mmio_save,
						 .load = mmio_load};

void gd_mmio_init(struct gd_mmio *mmio, void (*raise)(void *opaque), void *opaque)
{
	*mmio = (struct gd_mmio){.transport = {.ops = &mmio_ops}, .raise = raise, .opaque = opaque};
}

/* ---- reads ------------------------------------------------------------------------------------------------------ */

static uint32_t features_half(uint64_t features, uint32_t sel)
{
	return sel < 2 ? (uint32_t)(features >> (32 * sel)) : 0;
}

static uint32_t register_read(const struct gd_mmio *mmio, uint64_t offset)
{
	struct gd_vdev *vdev = mmio->transport.vdev;

	switch (offset) {
	case GIO_VIRTIO_MMIO_MAGIC:
		return GIO_VIRTIO_MMIO_MAGIC_VALUE;
	case GIO_VIRTIO_MMIO_VERSION:
		return GIO_VIRTIO_MMIO_VERSION_2;
	case GIO_VIRTIO_MMIO_DEVICE_ID:
		return gd_vdev_id(vdev);
	case GIO_VIRTIO_MMIO_VENDOR_ID:
		return VENDOR_ID;
	case GIO_VIRTIO_MMIO_DEVICE_FEATURES:
		return features_half(gd_vdev_offered(vdev), mmio->device_features_sel);
	case GIO_VIRTIO_MMIO_QUEUE_NUM_MAX:
		return gd_vdev_queue_max(vdev, mmio->queue_sel);
	case GIO_VIRTIO_MMIO_QUEUE_READY:
		return gd_vdev_queue_ready(vdev, mmio->queue_sel);
	case GIO_VIRTIO_MMIO_INTERRUPT_STATUS:
		return __atomic_load_n(&mmio->interrupt, __ATOMIC_SEQ_CST);
	case GIO_VIRTIO_MMIO_STATUS:
		return gd_vdev_status(vdev);
	case GIO_VIRTIO_MMIO_SHM_LEN_LOW:
	case GIO_VIRTIO_MMIO_SHM_LEN_HIGH:
	case GIO_VIRTIO_MMIO_SHM_BASE_LOW:
	case GIO_VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX; /* there is no such region, whatever SHMSel says */
	case GIO_VIRTIO_MMIO_CONFIG_GENERATION:
		return gd_vdev_generation(vdev);
	default:
		return 0;
	}
}

uint64_t gd_mmio_read(struct gd_mmio *mmio, uint64_t offset, unsigned size)
{
	uint64_t value = 0;

	if (offset < GIO_VIRTIO_MMIO_CONFIG)
		return size == sizeof(uint32_t) ? register_read(mmio, offset) : 0;
	if (size <= sizeof(value))
		gd_vdev_config_read(mmio->transport.vdev, offset - GIO_VIRTIO_MMIO_CONFIG, &value, size);
	return value;
}

/* ---- writes ----------------------------------------------------------------------------------------------------- */

static uint64_t half_set(uint64_t whole, unsigned shift, uint32_t value)
{
	return (whole & ~(UINT64_C(0xffffffff) << shift)) | (uint64_t)value << shift;
}

static void features_write(const struct gd_mmio *mmio, uint32_t value)
{
	struct gd_vdev *vdev = mmio->transport.vdev;

	if (mmio->driver_features_sel < 2)
		gd_vdev_features_choose(vdev, half_set(gd_vdev_features(vdev), 32 * mmio->driver_features_sel, value));
}

static void ready_write(const struct gd_mmio *mmio, uint32_t value)
{
	if (value == 1)
		gd_vdev_queue_start(mmio->transport.vdev, mmio->queue_sel);
	else if (value == 0)
		gd_vdev_queue_stop(mmio->transport.vdev, mmio->queue_sel);
}

/* Size and addresses of the selected queue. Each address has two registers, of 32 bits each. */
static void queue_write(const struct gd_mmio *mmio, uint64_t offset, uint32_t value)
{
	struct gd_vdev *vdev = mmio->transport.vdev;
	struct gd_vdev_layout layout = gd_vdev_queue_layout(vdev, mmio->queue_sel);

	switch (offset) {
	case GIO_VIRTIO_MMIO_QUEUE_NUM:
		layout.size = value;
		break;
	case GIO_VIRTIO_MMIO_QUEUE_DESC_LOW:
	case GIO_VIRTIO_MMIO_QUEUE_DESC_HIGH:
		layout.desc = half_set(layout.desc, offset == GIO_VIRTIO_MMIO_QUEUE_DESC_HIGH ? 32 : 0, value);
		break;
	case GIO_VIRTIO_MMIO_QUEUE_DRIVER_LOW:
	case GIO_VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
		layout.driver = half_set(layout.driver, offset == GIO_VIRTIO_MMIO_QUEUE_DRIVER_HIGH ? 32 : 0, value);
		break;
	case GIO_VIRTIO_MMIO_QUEUE_DEVICE_LOW:
	case GIO_VIRTIO_MMIO_QUEUE_DEVICE_HIGH:
		layout.device = half_set(layout.device, offset == GIO_VIRTIO_MMIO_QUEUE_DEVICE_HIGH ? 32 : 0, value);
		break;
	default:
		return;
	}
	gd_vdev_queue_lay_out(vdev, mmio->queue_sel, &layout);
}

static void register_write(struct gd_mmio *mmio, uint64_t offset, uint32_t value)
{
	struct gd_vdev *vdev = mmio->transport.vdev;

	switch (offset) {
	case GIO_VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		mmio->device_features_sel = value;
		break;
	case GIO_VIRTIO_MMIO_DRIVER_FEATURES:
		features_write(mmio, value);
		break;
	case GIO_VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		mmio->driver_features_sel = value;
		break;
	case GIO_VIRTIO_MMIO_QUEUE_SEL:
		mmio->queue_sel = value;
		break;
	case GIO_VIRTIO_MMIO_QUEUE_READY:
		ready_write(mmio, value);
		break;
	case GIO_VIRTIO_MMIO_QUEUE_NOTIFY:
		gd_vdev_kick(vdev, value);
		return;
	case GIO_VIRTIO_MMIO_INTERRUPT_ACK:
		acknowledge(mmio, value);
		return;
	case GIO_VIRTIO_MMIO_STATUS:
		gd_vdev_status_write(vdev, value);
		break;
	default:
		queue_write(mmio, offset, value);
	}
	gd_vdev_commit(vdev);
}

static void config_write(const struct gd_mmio *mmio, uint64_t offset, unsigned size, uint64_t value)
{
	if (size > sizeof(value))
		return;
	gd_vdev_config_write(mmio->transport.vdev, offset, &value, size);
	gd_vdev_commit(mmio->transport.vdev);
}

void gd_mmio_write(struct gd_mmio *mmio, uint64_t offset, unsigned size, uint64_t value)
{
	if (offset >= GIO_VIRTIO_MMIO_CONFIG)
		config_write(mmio, offset - GIO_VIRTIO_MMIO_CONFIG, size, value);
	else if (size == sizeof(uint32_t))
		register_write(mmio, offset, (uint32_t)value);
}
