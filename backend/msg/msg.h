/* SPDX-License-Identifier: MIT */
/*
 * The transport by messages: two pages that the guest grants, and event channels. No access of the guest traps, nothing
 * of the guest is mapped that it has not granted, and no privilege over it is needed.
 *
 *   bus.h     the two pages: messages in and out
 *   handle.h  what a message means to the device
 *   port.h    an event channel
 *   msg.h     the transport: one connection of one device, its thread, its part of the ledger
 *
 * A *connection* lasts from a guest's answer (answer.h) until either side ends it. Its messages are handled by a thread
 * of its own, which waits for nothing but its event channel and, for a moment, for the threads of queues. Events of
 * queues do not pass through that thread: each queue's thread waits for its bell itself.
 *
 *   open --connect--> connected --begin, or go_on--> at work --stop--> connected --disconnect--> open
 *
 * Threads: the owner calls the functions below one at a time. While the connection is at work, its thread is the
 * transport's thread (virtio/transport.h); otherwise the owner is. Errors: 0 or -errno.
 */
#ifndef GD_MSG_H
#define GD_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/log.h"
#include "backend/msg/answer.h"
#include "backend/virtio/transport.h"

struct gd_msg;

struct gd_msg_config {
	uint16_t domid;
	struct gd_log *log; /* the caller's, outlives this */
	unsigned queues;    /* of the device: 1 to GIO_MSG_QUEUES_MAX; each gets a bell */
	uint32_t pool_most; /* pages of a pool that are mapped at most */
	/* The driver has broken the rules, and nothing of it is read any more. By the connection's thread, once. */
	void (*broken)(void *opaque);
	void *opaque;
};

/* Get all that does not depend on a guest's answer. */
int gd_msg_open(struct gd_msg **msg, const struct gd_msg_config *config);
/* Not connected, and no thread waits for a bell any more. Takes NULL. */
void gd_msg_close(struct gd_msg *msg);

/* The transport, for gd_vdev_transport_set(); and the bells of all queues, for gd_vdev_open(). */
struct gd_transport *gd_msg_transport(struct gd_msg *msg);
struct gd_bell *const *gd_msg_bells(const struct gd_msg *msg);

/*
 * Map the pages and the pool of an answer, and bind its event channels. `fresh`: the guest has just made the pages, so
 * that all of their counters must be 0. -EFAULT, -EPROTO, -EINVAL: what the guest answered is wrong; others are the
 * system's; with a line in `error` (`size` bytes) that names key and value. Then all is as before.
 */
int gd_msg_connect(struct gd_msg *msg, const struct gd_msg_answer *answer, bool fresh, char *error, size_t size);
/* The connection's pool; NULL: it has none. */
struct gd_pool *gd_msg_pool(const struct gd_msg *msg);

/* The device has this transport now: begin to handle its driver's messages. On failure it is connected as before. */
int gd_msg_begin(struct gd_msg *msg);
/* The same after gd_vdev_resume(), for a driver that was connected to a former process. */
int gd_msg_go_on(struct gd_msg *msg);
/* Handle no more messages: when it returns, the connection's thread has ended. */
void gd_msg_stop(struct gd_msg *msg);

/*
 * End the mappings and the bindings. The device has been reset, no I/O touches the pool any more, and another transport
 * drives the device. Does nothing when not connected.
 */
void gd_msg_disconnect(struct gd_msg *msg);

#endif
