/* SPDX-License-Identifier: MIT */
#include "backend/virtio/device.h"

#include <string.h>

void gd_device_interrupt(struct gd_device *device, uint32_t bits)
{
	/*
	 * The bit is there before the interrupt is: the guest's handler reads InterruptStatus and takes 0 for a stray.
	 * Several threads set bits while the guest acknowledges others: one atomic operation each.
	 */
	__atomic_fetch_or(&device->interrupt, bits, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&device->interrupts, 1, __ATOMIC_RELAXED);
	device->raise(device->opaque);
}

void gd_device_break(struct gd_device *device, unsigned queue, const char *why, int err)
{
	uint32_t before = __atomic_fetch_or(&device->status, GIO_VIRTIO_STATUS_NEEDS_RESET, __ATOMIC_SEQ_CST);

	gd_log_guest(device->log, GD_WARN, "queue %u: %s (%s): the device needs a reset", queue, why, strerror(-err));
	if (before & GIO_VIRTIO_STATUS_NEEDS_RESET)
		return;
	__atomic_fetch_add(&device->needs_reset, 1, __ATOMIC_RELAXED);
	if (before & GIO_VIRTIO_STATUS_DRIVER_OK)
		gd_device_interrupt(device, GIO_VIRTIO_MMIO_INT_CONFIG);
}
