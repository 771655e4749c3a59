/* SPDX-License-Identifier: MIT */
/* The transports that there are: the one place that names them (transport.h). */
#ifndef GRANTIO_VIRTIO_TRANSPORTS_H
#define GRANTIO_VIRTIO_TRANSPORTS_H

#include "transport.h"

/* Find a device of type `device_id` whose registers are at `base`. Changes nothing in the device. -GIO_ENODEV. */
int gio_transports_open(struct gio_transport **out, struct gio_os *os, uint64_t base, uint32_t device_id);

#endif
