/* SPDX-License-Identifier: MIT */
/*
 * The transport virtio-mmio, version 2 (virtio 1.2, 4.2.2): registers, their selectors, and InterruptStatus.
 *
 * Who routes register accesses here (backend/xen) knows nothing of what they mean, and this room knows nothing of
 * ioreqs, of xenstore, or of what kind of device it is.
 *
 * Threads: accesses by the domain's ioreq thread; interrupts are raised by any.
 */
#ifndef GD_MMIO_H
#define GD_MMIO_H

#include <abi/virtio.h>
#include <stdint.h>

#include "backend/virtio/transport.h"

struct gd_mmio {
	struct gd_transport transport;
	void (*raise)(void *opaque);
	void *opaque;

	/* The ioreq thread's. */
	uint32_t device_features_sel, driver_features_sel, queue_sel;

	/* Atomics. */
	uint32_t interrupt; /* GIO_VIRTIO_INT_*: InterruptStatus */
	uint64_t raised_at; /* microseconds: when the interrupt was raised that is not acknowledged yet; 0: none is */
};

/*
 * Registers without a device: give &mmio->transport to gd_vdev_open(). `mmio` outlives the device. `raise` raises the
 * device's interrupt (an edge); any thread calls it, and it must not wait.
 */
void gd_mmio_init(struct gd_mmio *mmio, void (*raise)(void *opaque), void *opaque);

/*
 * Register accesses. `offset` and `size` are the guest's: anything is answered, unknown or misaligned accesses by 0
 * (reads) or nothing (writes). They answer at once: no disk I/O is waited for.
 */
uint64_t gd_mmio_read(struct gd_mmio *mmio, uint64_t offset, unsigned size);
void gd_mmio_write(struct gd_mmio *mmio, uint64_t offset, unsigned size, uint64_t value);

#endif
