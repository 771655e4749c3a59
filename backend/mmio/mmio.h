/* SPDX-License-Identifier: MIT */
/*
 * The transport virtio-mmio, version 2 (virtio 1.2, 4.2.2): registers, their selectors, and InterruptStatus.
 *
 * The code that passes register accesses to this room (backend/xen) does not know their meaning, and this room knows
 * nothing of ioreqs, of xenstore, or of the device's class.
 *
 * Threads: the domain's ioreq thread makes the accesses; any thread may raise the interrupt.
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

	/* Only the ioreq thread uses these. */
	uint32_t device_features_sel, driver_features_sel, queue_sel;

	/* Atomics. */
	uint32_t interrupt; /* GIO_VIRTIO_INT_*: InterruptStatus */
	uint64_t raised_at; /* microseconds: when an interrupt was raised that is not acknowledged yet; 0: none is */
};

/*
 * Registers without a device: give &mmio->transport to gd_vdev_open(). `mmio` outlives the device. `raise` raises the
 * device's interrupt (an edge); any thread calls it, and it must not wait.
 */
void gd_mmio_init(struct gd_mmio *mmio, void (*raise)(void *opaque), void *opaque);

/*
 * Register accesses. The guest chooses `offset` and `size`, and every access is answered: an unknown or misaligned read
 * returns 0, and such a write has no effect. No access waits for disk I/O.
 */
uint64_t gd_mmio_read(struct gd_mmio *mmio, uint64_t offset, unsigned size);
void gd_mmio_write(struct gd_mmio *mmio, uint64_t offset, unsigned size, uint64_t value);

#endif
