/* SPDX-License-Identifier: MIT */
#include "msg_connection.h"

#include <abi/dma_addr.h>

#define PAGES_BYTES (2 * GIO_PAGE_SIZE)

_Static_assert(GIO_MSG_PAGE_BYTES == GIO_PAGE_SIZE, "each page is one grant");
_Static_assert(GIO_MSG_PORTS_MAX == GIO_MSG_CHANNELS_MAX, "a port for each channel");

/* ---- what the driver's side of messages needs of the system ------------------------------------------------------ */

static void message_notify(void *opaque)
{
	struct gio_msg_connection *c = opaque;

	gio_os_port_send(c->os, c->answer.port);
}

static void message_wait(void *opaque, unsigned ms)
{
	struct gio_msg_connection *c = opaque;

	(void)gio_os_port_wait(c->os, c->answer.port, ms);
}

static uint64_t message_now(void *opaque)
{
	return gio_os_now_ms(((struct gio_msg_connection *)opaque)->os);
}

static const struct gio_msg_driver_ops message_ops = {
	.notify = message_notify,
	.wait = message_wait,
	.now_ms = message_now,
};

/* ---- open and close ---------------------------------------------------------------------------------------------- */

static void ports_close(struct gio_msg_connection *c)
{
	while (c->answer.ports)
		gio_os_port_close(c->os, c->answer.queue_port[--c->answer.ports]);
	gio_os_port_close(c->os, c->answer.port);
}

static int ports_open(struct gio_msg_connection *c, gio_domid_t backend, unsigned ports)
{
	int err = gio_os_port_open(c->os, backend, &c->answer.port);

	if (err)
		return err;
	for (; c->answer.ports < ports; c->answer.ports++) {
		err = gio_os_port_open(c->os, backend, &c->answer.queue_port[c->answer.ports]);
		if (err) {
			ports_close(c);
			return err;
		}
	}
	return 0;
}

/* The driver page is the device's to read alone. Two pages in a row have two references in a row. */
static int pages_alloc(struct gio_msg_connection *c)
{
	struct gio_msg_page *pages;

	c->pages = gio_dma_alloc(&c->dma, PAGES_BYTES, GIO_PAGE_SIZE, &c->pages_addr);
	if (!c->pages)
		return -GIO_ENOMEM;
	pages = c->pages;
	c->answer.driver_page = gio_dma_addr_gref(c->pages_addr);
	c->answer.device_page = c->answer.driver_page + 1;
	gio_msg_driver_init(&c->driver, &pages[0], &pages[1], &message_ops, c);
	return 0;
}

int gio_msg_connection_open(struct gio_msg_connection **out, struct gio_os *os, struct gio_grants *grants,
			    gio_domid_t backend, unsigned ports)
{
	struct gio_msg_connection *c;
	int err;

	if (!ports || ports > GIO_MSG_PORTS_MAX)
		return -GIO_EINVAL;
	c = gio_os_alloc(os, sizeof(*c));
	if (!c)
		return -GIO_ENOMEM;
	c->os = os;
	err = gio_dma_init(&c->dma, os, grants, backend, UINT64_MAX);
	if (!err)
		err = pages_alloc(c);
	if (err)
		goto free_connection;
	err = ports_open(c, backend, ports);
	if (err)
		goto free_pages;
	*out = c;
	return 0;

free_pages:
	gio_dma_free(&c->dma, c->pages, PAGES_BYTES, c->pages_addr);
free_connection:
	gio_os_free(os, c, sizeof(*c));
	return err;
}

void gio_msg_connection_close(struct gio_msg_connection *connection)
{
	if (!connection)
		return;
	ports_close(connection);
	gio_dma_free(&connection->dma, connection->pages, PAGES_BYTES, connection->pages_addr);
	gio_os_free(connection->os, connection, sizeof(*connection));
}

void gio_msg_connection_patience(struct gio_msg_connection *connection, unsigned ms)
{
	connection->driver.limit_ms = ms;
}

const struct gio_msg_answer *gio_msg_connection_answer(const struct gio_msg_connection *connection)
{
	return &connection->answer;
}
