/* SPDX-License-Identifier: MIT */
/* The transport of virtio over messages: the driver's side of msg_driver.h as a table of operations (transport.h). */
#ifndef GRANTIO_VIRTIO_MSG_TRANSPORT_H
#define GRANTIO_VIRTIO_MSG_TRANSPORT_H

#include <grantio/virtio_msg.h>

#include "transport.h"

/*
 * Ask what the device of a connection is, which its backend has bound. -GIO_ENODEV: it is not of type `device_id`;
 * -GIO_EPROTO; -GIO_ETIMEDOUT: no answer came. `connection` stays the caller's and must outlive the transport.
 */
int gio_msg_open(struct gio_transport **out, struct gio_os *os, struct gio_msg_connection *connection,
		 uint32_t device_id);

#endif
