/* SPDX-License-Identifier: MIT */
/*
 * One event channel of the guest's: the backend's end, with a handle of its own, so that a thread can wait for it
 * alone.
 *
 * An event that comes is read once and then masked: no other one is reported before gd_port_unmask(). What comes in the
 * meantime is reported then, once.
 *
 * Threads: gd_port_send() by any; gd_port_take() and gd_port_unmask() by one thread, which waits for the descriptor;
 * all others by the owner, also while that thread waits. Errors: 0 or -errno.
 */
#ifndef GD_PORT_H
#define GD_PORT_H

#include <stdbool.h>
#include <stdint.h>

struct xenevtchn_handle;

struct gd_port {
	struct xenevtchn_handle *evtchn;
	uint16_t domid;
	int64_t local;	/* our end, -1: none; atomic */
	int64_t masked; /* the end that is masked, -1: none; of the thread that waits */
};

/* Get a handle for nothing but this guest. The port is not bound. */
int gd_port_open(struct gd_port *port, uint16_t domid);
/* End the binding, too. Nobody waits for the descriptor any more. Does nothing on a port that is all zeroes. */
void gd_port_close(struct gd_port *port);

/* Bind the guest's port `remote`, which it made for our domain. Does not send. */
int gd_port_bind(struct gd_port *port, uint32_t remote);
/* What the guest sends from then on is lost, and gd_port_send() does nothing. Does nothing when it is not bound. */
void gd_port_unbind(struct gd_port *port);

/* Send an event. It never waits. -errno: the guest's end has gone, which is no reason for anything. */
int gd_port_send(const struct gd_port *port);

/* Readable when an event has come. It stays the same as long as the port is open. */
int gd_port_fd(const struct gd_port *port);
/* The descriptor is readable: take the event. */
void gd_port_take(struct gd_port *port);
/* Somebody has read this number from the descriptor instead: as gd_port_take(). */
void gd_port_taken(struct gd_port *port, uint32_t number);
/* Let the next event be reported. */
void gd_port_unmask(struct gd_port *port);
/*
 * Whether the number that was read, written to the descriptor, does what gd_port_unmask() does. So it is with Linux's
 * evtchn device (include/uapi/xen/evtchn.h); a library that models Xen has another kind of descriptor.
 */
bool gd_port_written(const struct gd_port *port);

#endif
