/* SPDX-License-Identifier: MIT */
/*
 * The device's side of the two pages that carry messages (abi/virtio_msg_bus.h): requests come in by the driver page,
 * responses and events go out by the device page.
 *
 * The driver may write its page at any time, and whatever it likes. Each of its counters is read once per call and
 * checked; a message is copied once, and callers see nothing but the copy.
 *
 * A process may end at any instruction, and its successor must know all that the driver has seen. So nothing is shown
 * when it is made: gd_msgbus_take() and gd_msgbus_put() change private memory only, `state`; the caller commits that to
 * the ledger; and then gd_msgbus_show() writes the device page.
 *
 * Threads: one at a time. Errors: -EPROTO: the driver broke the rules of the bus, which must not be used any more.
 */
#ifndef GD_MSGBUS_H
#define GD_MSGBUS_H

#include <stdbool.h>
#include <stdint.h>

#include <abi/virtio_msg_bus.h>

/* What a successor must know. Other versions read it: never change a field. */
struct gd_msgbus_state {
	uint32_t prod, cons;		     /* ours: messages written, and messages taken */
	struct gio_msg slots[GIO_MSG_SLOTS]; /* what lies in the device page, or is about to */
};

struct gd_msgbus {
	const struct gio_msg_page *driver; /* mapped read-only */
	struct gio_msg_page *device;	   /* written here, and never read back */
	uint32_t shown;			   /* how many of our messages the device page has */
	struct gd_msgbus_state state;
};

/* A bus that begins. -EPROTO unless all four counters are 0. */
int gd_msgbus_begin(struct gd_msgbus *bus, const struct gio_msg_page *driver, struct gio_msg_page *device);
/* The bus of a former process, by what it left. Nothing is written before gd_msgbus_show_again(). */
void gd_msgbus_resume(struct gd_msgbus *bus, const struct gio_msg_page *driver, struct gio_msg_page *device,
		      const struct gd_msgbus_state *state);

/* Take the next message of the driver, as a copy. 1; 0: there is none; -EPROTO. */
int gd_msgbus_take(struct gd_msgbus *bus, struct gio_msg *msg);
/* Append a message, whose bytes behind its end are 0. 0, or -EPROTO: the page is full, which no driver lets happen. */
int gd_msgbus_put(struct gd_msgbus *bus, const struct gio_msg *msg);
/* Show the driver what was taken and put. True: there is a new message, and the driver must be sent an event. */
bool gd_msgbus_show(struct gd_msgbus *bus);
/* Write the whole device page as `state` says. The driver may have seen all of it already, or a part. */
void gd_msgbus_show_again(struct gd_msgbus *bus);

/* Whether the driver has taken our message `number`, counted as `prod` counts: 1, 0, or -EPROTO. */
int gd_msgbus_taken(const struct gd_msgbus *bus, uint32_t number);

#endif
