/* SPDX-License-Identifier: MIT */
/* Inside of a connection (grantio/virtio_msg.h): msg_connection.c makes and ends it, msg.c drives a device by it. */
#ifndef GRANTIO_VIRTIO_MSG_CONNECTION_H
#define GRANTIO_VIRTIO_MSG_CONNECTION_H

#include <grantio/dma.h>
#include <grantio/virtio_msg.h>

#include "msg_driver.h"

struct gio_msg_connection {
	struct gio_os *os;
	struct gio_dma dma;
	void *pages; /* the driver page, then the device page */
	gio_dma_t pages_addr;
	struct gio_msg_answer answer;
	struct gio_msg_driver driver; /* its counters live as long as the pages */
};

#endif
