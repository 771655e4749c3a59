/* SPDX-License-Identifier: MIT */
/*
 * A fake device (fake_dev.h) that is reached by messages instead of registers: the device's side of a connection. It is
 * written from docs/xenbus.md, reaches the pages by the grants that the connection has answered with, and checks that
 * what the driver may only show is granted so. It answers within the driver's send, as registers do.
 */
#ifndef TESTS_FAKE_MSG_H
#define TESTS_FAKE_MSG_H

#include <abi/virtio_msg_bus.h>
#include <grantio/virtio_msg.h>

#include "tests/unit/virtio/fake_dev.h"

struct fake_msg {
	struct fake_dev *dev;
	struct gio_msg_answer answer;
	const struct gio_msg_page *driver; /* as the grants say, read-only */
	struct gio_msg_page *device;
	uint32_t taken, sent;
	bool event_unread; /* an EVENT_CONFIG is in the page, and the driver has not said that it took it */
	bool event_due;	   /* and something has changed since */

	unsigned sends;	   /* events of the driver, by any port */
	unsigned requests; /* messages answered */

	/* Called with each response before it is written; false: it is not. */
	bool (*hook)(struct fake_msg *fm, const struct gio_msg *request, struct gio_msg *response);
	unsigned hooked; /* for the hook's own use */
};

/* Bind what the connection has answered, and serve `dev` by it. */
void fake_msg_bind(struct fake_msg *fm, struct fake_dev *dev, const struct gio_msg_connection *connection);
/* The same by an answer that has come in another way. */
void fake_msg_bind_answer(struct fake_msg *fm, struct fake_dev *dev, const struct gio_msg_answer *answer);
/* Let go of the pages. Nobody is told of anything afterwards. */
void fake_msg_unbind(struct fake_msg *fm);

#endif
