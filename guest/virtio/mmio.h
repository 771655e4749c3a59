/* SPDX-License-Identifier: MIT */
/*
 * Driver side of virtio over MMIO, version 2 (virtio 1.2, 4.2): registers, whatever the device type.
 *
 * Concepts. Every register access is a trip to the backend, which blocks the vCPU until it is answered; so nothing is
 * read that is not needed. What a register says is a peer's value: it is checked, and waiting for one is bounded.
 *
 * Threads: set-up is for one thread; notify, interrupt and the configuration registers may be used by any.
 * Errors: -GIO_ENODEV when there is no device, or one that this driver must not drive; -GIO_EPROTO when it breaks the
 * protocol.
 */
#ifndef GRANTIO_VIRTIO_MMIO_DRIVER_H
#define GRANTIO_VIRTIO_MMIO_DRIVER_H

#include <abi/virtio.h>
#include <abi/virtio_mmio.h>
#include <grantio/os.h>
#include <grantio/types.h>

#include "virtq.h"

struct gio_mmio {
	struct gio_os *os;
	uint64_t base;	 /* guest-physical address of the registers */
	uint32_t status; /* bits that we have set; the device's own are never echoed */
};

/* Find a device of type `device_id` at `base` (4.2.3.1.1). Changes nothing. */
int gio_mmio_probe(struct gio_mmio *mmio, struct gio_os *os, uint64_t base, uint32_t device_id);

/* Reset the device and wait until it says so (2.4, 4.2.2.1): -GIO_EPROTO when it does not within GIO_MMIO_RESET_READS.
 */
int gio_mmio_reset(struct gio_mmio *mmio);
#define GIO_MMIO_RESET_READS 10000u /* some 0.1 s of register reads on hardware, 10 s emulated */

/* Set bits of the status register, and keep those set before. */
void gio_mmio_status_add(struct gio_mmio *mmio, uint32_t bits);
/* The register as it is now: whether the device needs a reset. */
uint32_t gio_mmio_status_read(struct gio_mmio *mmio);

/*
 * Say hello and agree on features (3.1.1, steps 2 to 6): all of `required`, those of `wanted` that are offered. The
 * result is in `features`. -GIO_ENODEV when one is missing or FEATURES_OK does not stay; the status is then FAILED.
 */
int gio_mmio_negotiate(struct gio_mmio *mmio, uint64_t required, uint64_t wanted, uint64_t *features);

/* Select queue `index`: its most entries; -GIO_ENODEV when there is none, -GIO_EPROTO when it is in use already. */
int gio_mmio_queue_probe(struct gio_mmio *mmio, unsigned index, uint32_t *max);
/* Hand `vq` to the device as the queue probed last (4.2.3.2). -GIO_EPROTO when it does not become ready. */
int gio_mmio_queue_enable(struct gio_mmio *mmio, const struct gio_virtq *vq);
void gio_mmio_notify(struct gio_mmio *mmio, unsigned index);

/* Read and acknowledge the interrupt causes: GIO_VIRTIO_INT_*, unknown bits left out. */
uint32_t gio_mmio_interrupt(struct gio_mmio *mmio);

/* One field of the configuration space, `size` 1, 2 or 4 bytes as the field has (4.2.2.2). */
uint32_t gio_mmio_config_read(struct gio_mmio *mmio, unsigned offset, unsigned size);
/* A 64-bit field, in two halves: needs the generation check around it (2.5.1). */
uint64_t gio_mmio_config_read64(struct gio_mmio *mmio, unsigned offset);
uint32_t gio_mmio_config_generation(struct gio_mmio *mmio);

#endif
