/* SPDX-License-Identifier: MIT */
/*
 * A disk's way from its directory in xenstore to a connection (docs/xenbus.md). There are two ways. On Arm the
 * toolstack has chosen registers and interrupt, and both ends find them in the directory. On x86 it has chosen none:
 * the backend offers an address, and the guest answers with an event channel.
 *
 * The backend is not trusted: what it writes is checked, and each wait for it has a limit.
 */
#include "frontend.h"

#include "xen.h"

#include <abi/virtio_mmio.h>
#include <abi/xen.h>
#include <abi/xenbus.h>

#include <string.h>
#include <xen/io/xenbus.h>

#define TREE_IRQS 1020u
#define TOKEN	  "backend"
#define STATE(n)  (1u << (n))
#define ENDING	  (STATE(XenbusStateClosing) | STATE(XenbusStateClosed))
#define TRIES	  100u /* of a transaction: each failure is another one's success */

static int state_write(struct frontend *front, enum xenbus_state state)
{
	return gio_xen_store_write_number(STORE_NO_TRANSACTION, front->dir, "state", (unsigned)state);
}

/*
 * Wait for one of the backend's states that are `wanted`. -GIO_EPROTO: it came to one that is `refused`, or that there
 * is not. All others it may be in for a while: the one of a connection before ours, for one.
 */
static int state_wait(struct frontend *front, unsigned wanted, unsigned refused)
{
	uint64_t end = gio_xen_now_ms() + FRONTEND_MS, now, state = 0;
	char path[STORE_PATH_MAX], token[16];
	int err = gio_xen_store_watch(front->backend, TOKEN);

	while (!err) {
		err = gio_xen_store_read_number(front->backend, "state", &state);
		if (!err && (state > XenbusStateReconfigured || STATE(state) & refused))
			err = -GIO_EPROTO;
		if (err || STATE(state) & wanted)
			break;
		now = gio_xen_now_ms();
		err = now < end ? gio_xen_store_event(path, sizeof(path), token, sizeof(token), (unsigned)(end - now))
				: -GIO_EAGAIN;
		err = err == -GIO_ERANGE ? 0 : err; /* a key with a long name: an event as any other */
	}
	gio_xen_store_unwatch(front->backend, TOKEN);
	return err;
}

/* Read what the backend offers. Registers anywhere else than in their window could lie over the guest's memory. */
static int offer_read(struct frontend *front)
{
	char transport[8];
	uint64_t version;
	int err = gio_xen_store_read_number(front->backend, GIO_XENBUS_KEY_VERSION, &version);

	if (!err)
		err = gio_xen_store_read_number(front->backend, GIO_XENBUS_KEY_MMIO_BASE, &front->base);
	if (!err)
		err = gio_xen_store_read(front->backend, GIO_XENBUS_KEY_TRANSPORT, transport, sizeof(transport));
	if (err < 0)
		return err;
	if (version != GIO_XENBUS_VERSION || strcmp(transport, GIO_XENBUS_TRANSPORT_MMIO) ||
	    front->base < GIO_XENBUS_MMIO_BASE || front->base >= GIO_XENBUS_MMIO_END ||
	    front->base % GIO_XENBUS_MMIO_STEP)
		return -GIO_EPROTO;
	return 0;
}

/* All of the answer is written in one transaction, so that the backend never reads a part of it. */
static int answer_try(struct frontend *front)
{
	uint32_t transaction;
	int err = gio_xen_store_begin(&transaction), end;

	if (err)
		return err;
	err = gio_xen_store_write_number(transaction, front->dir, GIO_XENBUS_KEY_VERSION, GIO_XENBUS_VERSION);
	if (!err)
		err = gio_xen_store_write(transaction, front->dir, GIO_XENBUS_KEY_DMA, GIO_XENBUS_DMA_GRANT);
	if (!err)
		err = gio_xen_store_write_number(transaction, front->dir, GIO_XENBUS_KEY_PORT, front->port);
	end = gio_xen_store_end(transaction, !err);
	return err ? err : end;
}

static int answer_write(struct frontend *front)
{
	int err = -GIO_EAGAIN;

	for (unsigned i = 0; i < TRIES && err == -GIO_EAGAIN; i++)
		err = answer_try(front);
	return err ? err : state_write(front, XenbusStateInitialised);
}

/* xl's two directories, as far as we can tell them from another's. */
static int directory_find(struct frontend *front, unsigned number)
{
	static const char base[] = "device/virtio_disk/";
	char digits[12];
	unsigned n = sizeof(digits) - 1;
	uint64_t domid;
	int err;

	digits[n] = '\0';
	for (; number || n == sizeof(digits) - 1; number /= 10)
		digits[--n] = (char)('0' + number % 10);
	memcpy(front->dir, base, sizeof(base) - 1);
	memcpy(front->dir + sizeof(base) - 1, digits + n, sizeof(digits) - n);
	err = gio_xen_store_read(front->dir, "backend", front->backend, sizeof(front->backend));
	if (err < 0)
		return err;
	err = gio_xen_store_read_number(front->dir, "backend-id", &domid);
	if (!err && domid > GIO_DOMID_MAX)
		return -GIO_EPROTO;
	front->domid = (gio_domid_t)domid;
	return err;
}

/* Address and line are the toolstack's: there is nothing to agree on. The backend is in state 4 once it was used. */
static int tree_open(struct frontend *front)
{
	uint64_t irq;
	int err = state_wait(front, STATE(XenbusStateInitWait) | STATE(XenbusStateConnected), ENDING);

	if (!err)
		err = gio_xen_store_read_number(front->backend, "irq", &irq);
	if (err)
		return err;
	if (front->base < GIO_ARM_MMIO_BASE || front->base >= GIO_ARM_MMIO_END || front->base % GIO_VIRTIO_MMIO_BYTES ||
	    irq >= TREE_IRQS)
		return -GIO_EPROTO;
	err = gio_xen_irq_open((unsigned)irq);
	front->irq = err ? 0 : (unsigned)irq;
	return err;
}

static int offer_take(struct frontend *front)
{
	int port, err = offer_read(front);

	if (err)
		return err;
	port = gio_xen_port_open(front->domid);
	if (port < 0)
		return port;
	front->port = (uint32_t)port;
	return answer_write(front);
}

/*
 * The states of docs/xenbus.md, seen from the guest: each one is written when the step before it has been answered. At
 * first the backend may be anywhere: in 4, since whoever was here before us has not told it of the end, or in 5 or 6,
 * since it was told. Our state 1 brings it to 2.
 */
static int offer_open(struct frontend *front)
{
	int err = state_write(front, XenbusStateInitialising);

	if (!err)
		err = state_wait(front, STATE(XenbusStateInitWait), 0);
	if (!err)
		err = offer_take(front);
	if (!err)
		err = state_wait(front, STATE(XenbusStateConnected), ENDING);
	if (!err)
		err = state_write(front, XenbusStateConnected);
	if (err)
		gio_xen_frontend_close(front);
	return err;
}

int gio_xen_frontend_open(struct frontend *front, unsigned number)
{
	int err;

	*front = (struct frontend){0};
	err = directory_find(front, number);
	if (err)
		return err;
	if (!gio_xen_store_read_number(front->backend, "base", &front->base) && front->base)
		return tree_open(front);
	return offer_open(front);
}

void gio_xen_frontend_close(struct frontend *front)
{
	if (front->irq)
		gio_xen_irq_close(front->irq);
	else
		state_write(front, XenbusStateClosed);
	if (front->port)
		gio_xen_port_close(front->port);
	front->port = 0;
	front->irq = 0;
}

int gio_xen_frontend_wait(const struct frontend *front, unsigned ms)
{
	return front->irq ? gio_xen_irq_wait(front->irq, ms) : gio_xen_ports_wait(&front->port, 1, ms);
}

bool gio_xen_frontend_take(const struct frontend *front)
{
	return front->irq ? gio_xen_irq_take(front->irq) : gio_xen_port_take(front->port);
}
