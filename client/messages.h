/* SPDX-License-Identifier: MIT */
/*
 * A disk's way by messages, as a guest's frontend goes it (docs/xenbus.md, version 2): it takes the backend's offer,
 * makes what the answer names (two pages, ports, a pool), writes the answer, and follows the states.
 *
 * Threads: one, that of the disk's open and close. Errors: 0 or -errno; on failure nothing is left.
 * What the backend sees: the two pages of messages and the pool, from open to close.
 * Not done: to begin again when the backend begins anew by itself, which a grantiod that is started again does not.
 */
#ifndef GP_MESSAGES_H
#define GP_MESSAGES_H

#include <grantio/grant.h>
#include <grantio/pool.h>
#include <grantio/virtio_msg.h>

#include "model/guest.h"

struct gp_messages;

struct gp_messages_config {
	struct gm_guest *guest;
	struct gio_os *os;
	struct gio_grants *grants;
	const struct gm_guest_disk *place;
	unsigned queues;     /* each has a port of its own, as far as the backend takes so many. 0: one */
	unsigned wait_ms;    /* for each of the backend's states */
	unsigned timeout_ms; /* for each answer to a message; 0: the library's 30 s */
};

/*
 * From our state 1 to state 4 on both sides. -EOPNOTSUPP: the backend offers no messages; -EPROTO: its offer is wrong,
 * or it refuses our answer; -ETIMEDOUT; -EPIPE: xenstored has gone; -ENOMEM; -ENOSPC.
 */
int gp_messages_open(struct gp_messages **messages, const struct gp_messages_config *config);
/* State 1; when the backend says that it has let go, or at the latest after a minute, all is taken back. Takes NULL. */
void gp_messages_close(struct gp_messages *messages);

/* For the driver's configuration. Borrowed. */
struct gio_msg_connection *gp_messages_connection(const struct gp_messages *messages);
struct gio_pool *gp_messages_pool(const struct gp_messages *messages);
/* The port by which messages are told of; any other port of the guest is a queue's. */
uint32_t gp_messages_port(const struct gp_messages *messages);

#endif
