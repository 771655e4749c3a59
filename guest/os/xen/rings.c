/* SPDX-License-Identifier: MIT */
/* The two rings that the toolstack has made for each guest: its console (xen/io/console.h), xenstore (io/xs_wire.h). */
#include "arch.h"
#include "guest.h"
#include "xen.h"

#include <string.h>
#include <xen/hvm/params.h>
#include <xen/io/console.h>
#include <xen/io/xs_wire.h>
#include <xen/sched.h>

#define CONSOLE_MS 1000u

static struct xencons_interface *console;
static struct xenstore_domain_interface *store;
static uint32_t console_port, store_port;

/* Xen keeps the frame and the port of each ring as parameters of the domain; 0: the toolstack has made no such ring. */
static int ring_find(unsigned pfn_param, unsigned port_param, void **ring, uint32_t *port)
{
	uint64_t pfn, number;
	int err = gio_xen_param(pfn_param, &pfn);

	if (!err)
		err = gio_xen_param(port_param, &number);
	if (err)
		return err;
	if (!pfn || !number)
		return -GIO_EIO;
	*ring = (void *)(pfn << GIO_PAGE_SHIFT);
	*port = (uint32_t)number;
	return 0;
}

int gio_xen_console_start(void)
{
	void *ring;
	int err = ring_find(HVM_PARAM_CONSOLE_PFN, HVM_PARAM_CONSOLE_EVTCHN, &ring, &console_port);

	console = err ? NULL : ring;
	return err;
}

int gio_xen_store_start(void)
{
	void *ring;
	int err = ring_find(HVM_PARAM_STORE_PFN, HVM_PARAM_STORE_EVTCHN, &ring, &store_port);

	store = err ? NULL : ring;
	return err;
}

/*
 * Wait for an event of a ring, after `*index` was seen to be `seen`. The event is taken before the index is looked at
 * again: one that comes after that ends the wait.
 */
static int ring_wait(uint32_t port, const uint32_t *index, uint32_t seen, unsigned ms)
{
	uint64_t end = gio_xen_now_ms() + ms, now;

	for (;;) {
		gio_xen_port_take(port);
		if (__atomic_load_n(index, __ATOMIC_ACQUIRE) != seen)
			return 0;
		now = gio_xen_now_ms();
		if (now >= end)
			return -GIO_EAGAIN;
		gio_xen_port_wait(port, (unsigned)(end - now));
	}
}

/* Copy into a ring of `size` bytes, as the reader makes room: 0, or -GIO_EAGAIN when it does not in `ms`. */
static int ring_write(char *ring, uint32_t size, const uint32_t *cons, uint32_t *prod, uint32_t port, const char *data,
		      size_t bytes, unsigned ms)
{
	while (bytes) {
		/* Acquire: the reader is through with what it has counted. Pairs with its store of `cons`. */
		uint32_t read = __atomic_load_n(cons, __ATOMIC_ACQUIRE), at = *prod, used = at - read;

		if (used >= size) {
			gio_xen_port_send(port);
			if (used > size || ring_wait(port, cons, read, ms))
				return -GIO_EAGAIN;
			continue;
		}
		for (; used < size && bytes; used++, bytes--)
			ring[at++ & (size - 1)] = *data++;
		/* Release: the bytes are there before they are counted. Pairs with the reader's load of `prod`. */
		__atomic_store_n(prod, at, __ATOMIC_RELEASE);
	}
	gio_xen_port_send(port);
	return 0;
}

/* A reader that has stopped costs the guest a second for each line, and the line. */
void gio_xen_console_write(const char *text, size_t bytes)
{
	(void)ring_write(console->out, sizeof(console->out), &console->out_cons, &console->out_prod, console_port, text,
			 bytes, CONSOLE_MS);
}

/* The domain's last lines would be lost if it ended before the reader has them. */
void gio_xen_console_flush(void)
{
	uint32_t read;

	while ((read = __atomic_load_n(&console->out_cons, __ATOMIC_ACQUIRE)) != console->out_prod)
		if (ring_wait(console_port, &console->out_cons, read, CONSOLE_MS))
			return;
}

int gio_xen_store_send(const void *data, size_t bytes, unsigned ms)
{
	return ring_write(store->req, XENSTORE_RING_SIZE, &store->req_cons, &store->req_prod, store_port, data, bytes,
			  ms);
}

int gio_xen_store_receive(void *data, size_t bytes, unsigned ms)
{
	char *out = data;
	uint32_t at = store->rsp_cons, written;

	/* Acquire: the bytes are there when they are counted. Pairs with xenstored's store of `rsp_prod`. */
	while ((written = __atomic_load_n(&store->rsp_prod, __ATOMIC_ACQUIRE)) == at)
		if (ring_wait(store_port, &store->rsp_prod, at, ms))
			return -GIO_EAGAIN;
	if (written - at > XENSTORE_RING_SIZE)
		return -GIO_EPROTO;
	for (; at != written && bytes; bytes--)
		*out++ = store->rsp[MASK_XENSTORE_IDX(at++)];
	/* Release: we are through with the bytes before xenstored may write there. Pairs with its load. */
	__atomic_store_n(&store->rsp_cons, at, __ATOMIC_RELEASE);
	gio_xen_port_send(store_port);
	return (int)(out - (char *)data);
}
