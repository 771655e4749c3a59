/* SPDX-License-Identifier: MIT */
/* The transport of virtio over MMIO, version 2 (virtio 1.2, 4.2): registers, whatever the device type. See transport.h.
 */
#ifndef GRANTIO_VIRTIO_MMIO_DRIVER_H
#define GRANTIO_VIRTIO_MMIO_DRIVER_H

#include "transport.h"

/* Find a device of type `device_id` whose registers are at guest-physical `base` (4.2.3.1.1). Changes nothing. */
int gio_mmio_open(struct gio_transport **out, struct gio_os *os, uint64_t base, uint32_t device_id);

/* Reads of the status after which a reset has failed: some 0.1 s on hardware, 10 s emulated. */
#define GIO_MMIO_RESET_READS 10000u

#endif
