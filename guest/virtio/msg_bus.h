/* SPDX-License-Identifier: MIT */
/*
 * The driver's side of the two pages that carry messages (abi/virtio_msg_bus.h): one message out, one message in. What
 * the messages mean is msg_driver.h's.
 *
 * The device may write its page at any time. Its counters are read once per call, and a message is copied once; callers
 * see nothing but the copy. Our own counters are kept here, and never read back from a page.
 *
 * Threads: one caller at a time. Nothing here allocates memory, sleeps or sends an event.
 * Errors: 0 or -GIO_E*. -GIO_EPROTO is a violation of the bus by the device, after which the bus must not be used.
 */
#ifndef GRANTIO_VIRTIO_MSG_BUS_DRIVER_H
#define GRANTIO_VIRTIO_MSG_BUS_DRIVER_H

#include <abi/virtio_msg_bus.h>
#include <grantio/types.h>

struct gio_msg_bus {
	struct gio_msg_page *ours;	   /* the driver page: written here, never read */
	const struct gio_msg_page *theirs; /* the device page */
	uint32_t sent, taken;		   /* our `prod` and `cons` */
};

/* Both pages are zeroed, and nothing was said by them yet. */
void gio_msg_bus_init(struct gio_msg_bus *bus, struct gio_msg_page *driver, const struct gio_msg_page *device);

/*
 * Write `msg`, whose bytes behind the message are 0. The caller then sends an event. -GIO_EPROTO when the page is full
 * or the device's counter is impossible: with one request at a time there is always room.
 */
int gio_msg_bus_send(struct gio_msg_bus *bus, const struct gio_msg *msg);

/* Take the next message, as a copy of which every byte is set. -GIO_EAGAIN when there is none, or -GIO_EPROTO. */
int gio_msg_bus_take(struct gio_msg_bus *bus, struct gio_msg *msg);

#endif
