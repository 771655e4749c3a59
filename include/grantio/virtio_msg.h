/* SPDX-License-Identifier: MIT */
/*
 * A connection to a device without registers: messages over two granted pages, and event channels (docs/xenbus.md,
 * version 2).
 *
 * Concepts. The guest makes a *connection* before it answers the backend's offer: the pages that carry messages, a port
 * for them (the *message port*), and ports for queues. It publishes them in xenstore, which is the system's own to do.
 * Once the backend has bound the ports, a driver may be opened on the connection (gio_blk_open()), closed, and opened
 * again, one at a time. A connection that was broken stays broken: the guest closes it and begins with a new one.
 *
 * What the backend sees: the driver page, which it cannot write, the device page, and that they belong together.
 * Threads: open and close are for one thread; in between it belongs to the driver that was opened on it.
 * Errors: 0 or -GIO_E*; on failure there is nothing to undo.
 */
#ifndef GRANTIO_VIRTIO_MSG_H
#define GRANTIO_VIRTIO_MSG_H

#include <grantio/grant.h>
#include <grantio/types.h>

#define GIO_MSG_PORTS_MAX 16u /* for queues */

struct gio_msg_connection;

/* What the guest answers. */
struct gio_msg_answer {
	gio_gref_t driver_page, device_page;
	uint32_t port;	/* for messages */
	unsigned ports; /* for queues; queue q uses queue_port[q % ports] */
	uint32_t queue_port[GIO_MSG_PORTS_MAX];
};

/*
 * Make a connection to domain `backend` with `ports` queue ports, 1 to GIO_MSG_PORTS_MAX. -GIO_EINVAL: `ports`;
 * -GIO_ENOMEM; -GIO_ENOSPC: neither ports nor references are left.
 */
int gio_msg_connection_open(struct gio_msg_connection **connection, struct gio_os *os, struct gio_grants *grants,
			    gio_domid_t backend, unsigned ports);
/* End the grants of both pages, and close the ports. Pages that the backend still maps go to quarantine. Takes NULL. */
void gio_msg_connection_close(struct gio_msg_connection *connection);

/* Wait for each of the device's answers at most so long, in place of 30 s. Before a driver is opened on it. */
void gio_msg_connection_patience(struct gio_msg_connection *connection, unsigned ms);

/* What stands in the answer; as long as the connection lives. */
const struct gio_msg_answer *gio_msg_connection_answer(const struct gio_msg_connection *connection);

#endif
