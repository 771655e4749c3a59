/* SPDX-License-Identifier: MIT */
/* The transports that there are: the one place that names them (transport.h). */
#ifndef GRANTIO_VIRTIO_TRANSPORTS_H
#define GRANTIO_VIRTIO_TRANSPORTS_H

#include <grantio/virtio_msg.h>

#include "transport.h"

/* Where a device is. */
struct gio_transports_place {
	struct gio_msg_connection *connection; /* over messages; NULL: */
	uint64_t base;			       /* over registers at this guest-physical address */
};

/*
 * Find a device of type `device_id` at `place`. Changes nothing in the device. -GIO_ENODEV: there is none of that type;
 * -GIO_EPROTO, -GIO_ETIMEDOUT: it does not answer as it should.
 */
int gio_transports_open(struct gio_transport **out, struct gio_os *os, const struct gio_transports_place *place,
			uint32_t device_id);

#endif
