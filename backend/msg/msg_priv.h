/* SPDX-License-Identifier: MIT */
/*
 * The inside of the transport by messages: its connections are made and ended in connect.c, and are at work in msg.c.
 * The interface is msg.h.
 */
#ifndef GD_MSG_PRIV_H
#define GD_MSG_PRIV_H

#include <pthread.h>

#include "backend/guestmem/guestmem.h"
#include "backend/msg/bus.h"
#include "backend/msg/handle.h"
#include "backend/msg/msg.h"
#include "backend/msg/port.h"

/* A queue's bell: its event channel, if the guest has made one for that queue alone or for it and others. */
struct gd_msg_bell {
	struct gd_bell bell; /* first: bell_of() */
	struct gd_port port;
	struct gd_msg *msg;
	unsigned queue;
};

struct gd_msg {
	struct gd_transport transport; /* first: msg_of() */
	struct gd_msg_config config;
	struct gd_guestmem *mem;
	struct gd_port port;
	int wake; /* eventfd: `changed` or `quit` is new */
	struct gd_msg_bell bell[GIO_MSG_QUEUES_MAX];
	struct gd_bell *bells[GIO_MSG_QUEUES_MAX];

	/* Of the connection. */
	bool connected, running;
	struct gd_msg_answer answer;
	struct gd_guestmap driver_page, device_page;
	struct gd_pool *pool;
	unsigned channels; /* atomic: queue threads read it; 0: not connected */
	pthread_t thread;
	bool quit;    /* atomic */
	bool changed; /* atomic: the driver is to be told of a change */

	/* The transport's thread only. */
	struct gd_msgbus bus;
	struct gd_handle handle;
	uint32_t malformed;
	bool event; /* there is an EVENT_CONFIG that was not taken, as far as we know, */
	uint32_t event_at;
};

extern const struct gd_transport_ops gd_msg_ops;

#endif
