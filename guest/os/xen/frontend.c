/* SPDX-License-Identifier: MIT */
/*
 * The states of a disk's two directories in xenstore, seen from the guest (docs/xenbus.md). The backend is not trusted:
 * what it writes is checked, and each wait for it has a limit.
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
#define PORTS	  2u   /* that a disk has at most */
#define TRIES	  100u /* of a transaction: each failure is another one's success */

static int state_write(struct frontend *front, enum xenbus_state state)
{
	return gio_xen_store_write_number(STORE_NO_TRANSACTION, front->dir, "state", (unsigned)state);
}

/*
 * Wait for one of the backend's states that are `wanted`. -GIO_EPROTO: it came to one that is `refused`, or that there
 * is not. All others it may be in for a while: the one of a connection before ours, for one. `which`, if not NULL, gets
 * the last state that was seen.
 */
static int state_wait(struct frontend *front, unsigned wanted, unsigned refused, uint64_t *which)
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
	if (which)
		*which = state;
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

static int registers_answer(const struct frontend *front, uint32_t transaction)
{
	int err = gio_xen_store_write_number(transaction, front->dir, GIO_XENBUS_KEY_VERSION, GIO_XENBUS_VERSION);

	if (!err)
		err = gio_xen_store_write(transaction, front->dir, GIO_XENBUS_KEY_DMA, GIO_XENBUS_DMA_GRANT);
	if (!err)
		err = gio_xen_store_write_number(transaction, front->dir, GIO_XENBUS_KEY_PORT, front->port);
	return err;
}

/* All of the answer is written in one transaction, so that the backend never reads a part of it. */
static int answer_try(struct frontend *front)
{
	uint32_t transaction;
	int err = gio_xen_store_begin(&transaction), end;

	if (err)
		return err;
	err = front->messages.connection ? gio_xen_messages_answer(&front->messages, transaction, front->dir)
					 : registers_answer(front, transaction);
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

/* ---- registers of the device tree -------------------------------------------------------------------------------- */

/* Address and line are the toolstack's: there is nothing to agree on. */
static int tree_open(struct frontend *front)
{
	uint64_t irq;
	int err = gio_xen_store_read_number(front->backend, "irq", &irq);

	if (err)
		return err;
	if (front->base < GIO_ARM_MMIO_BASE || front->base >= GIO_ARM_MMIO_END || front->base % GIO_VIRTIO_MMIO_BYTES ||
	    irq >= TREE_IRQS)
		return -GIO_EPROTO;
	err = gio_xen_irq_open((unsigned)irq);
	front->irq = err ? 0 : (unsigned)irq;
	return err;
}

/* ---- an offer ---------------------------------------------------------------------------------------------------- */

static int registers_take(struct frontend *front)
{
	int port, err = offer_read(front);

	if (err)
		return err;
	port = gio_xen_port_open(front->domid);
	if (port < 0)
		return port;
	front->port = (uint32_t)port;
	return 0;
}

/* Messages, if they are offered and wanted. */
static int offer_take(struct frontend *front, struct gio_grants *grants)
{
	int err = grants ? gio_xen_messages_offered(&front->messages, front->backend) : -GIO_EOPNOTSUPP;

	if (!err)
		err = gio_xen_messages_open(&front->messages, grants, front->domid);
	else if (err == -GIO_EOPNOTSUPP)
		err = registers_take(front);
	return err ? err : answer_write(front);
}

/* From the backend's state 2 to 4. */
static int offer_follow(struct frontend *front, struct gio_grants *grants)
{
	int err = offer_take(front, grants);

	if (!err)
		err = state_wait(front, STATE(XenbusStateConnected), ENDING, NULL);
	if (!err)
		err = state_write(front, XenbusStateConnected);
	return err;
}

/*
 * Each state is written when the step before it has been answered. At first the backend may be anywhere: in 4, since
 * whoever was here before us has not told it of the end, or in 5 or 6, since it was told. Our state 1 brings it to 2.
 */
static int offer_open(struct frontend *front, struct gio_grants *grants)
{
	int err = state_write(front, XenbusStateInitialising);

	if (!err)
		err = state_wait(front, STATE(XenbusStateInitWait), 0, NULL);
	return err ? err : offer_follow(front, grants);
}

/*
 * Whoever was here before us may have used messages: what stands in our own directory says so. While these last there
 * are no registers.
 */
static int former_end(struct frontend *front)
{
	uint64_t state, version;
	int err;

	if (gio_xen_store_read_number(front->dir, GIO_XENBUS_KEY_VERSION, &version) ||
	    gio_xen_store_read_number(front->dir, "state", &state) || version != GIO_XENBUS_VERSION_MSG ||
	    (state != XenbusStateInitialised && state != XenbusStateConnected))
		return 0;
	err = state_write(front, XenbusStateInitialising);
	return err ? err : state_wait(front, STATE(XenbusStateInitWait), 0, NULL);
}

/*
 * A device of the device tree has registers, and may have messages as well. In state 4 a driver has used the registers
 * before: they are what there is.
 */
static int placed_open(struct frontend *front, struct gio_grants *grants)
{
	uint64_t state;
	int err = former_end(front);

	if (!err)
		err = state_wait(front, STATE(XenbusStateInitWait) | STATE(XenbusStateConnected), ENDING, &state);
	if (err)
		return err;
	err = grants && state == XenbusStateInitWait ? gio_xen_messages_offered(&front->messages, front->backend)
						     : -GIO_EOPNOTSUPP;
	if (!err)
		return offer_follow(front, grants);
	return err == -GIO_EOPNOTSUPP ? tree_open(front) : err;
}

int gio_xen_frontend_open(struct frontend *front, unsigned number, struct gio_grants *grants)
{
	int err;

	*front = (struct frontend){0};
	err = directory_find(front, number);
	if (err)
		return err;
	front->placed = !gio_xen_store_read_number(front->backend, "base", &front->base) && front->base;
	if (front->placed)
		err = placed_open(front, grants);
	else
		err = offer_open(front, grants);
	if (err)
		gio_xen_frontend_close(front);
	return err;
}

/*
 * By our state 1 the backend lets go of all that it was lent, and says 2 after that; 6, if the toolstack removes the
 * device. What it has not let go of in time, or not at all, goes to quarantine when its grants are ended.
 */
static void lent_close(struct frontend *front)
{
	if (!state_write(front, XenbusStateInitialising))
		(void)state_wait(front, STATE(XenbusStateInitWait) | STATE(XenbusStateClosed), 0, NULL);
	gio_xen_messages_close(&front->messages);
}

void gio_xen_frontend_close(struct frontend *front)
{
	if (front->messages.connection)
		lent_close(front);
	if (front->irq)
		gio_xen_irq_close(front->irq);
	else if (!front->placed)
		state_write(front, XenbusStateClosed);
	if (front->port)
		gio_xen_port_close(front->port);
	front->port = 0;
	front->irq = 0;
}

/* ---- interrupts -------------------------------------------------------------------------------------------------- */

static unsigned ports_of(const struct frontend *front, uint32_t ports[PORTS])
{
	const struct gio_msg_answer *answer;

	ports[0] = front->port;
	if (!front->messages.connection)
		return 1;
	answer = gio_msg_connection_answer(front->messages.connection);
	ports[0] = answer->port;
	ports[1] = answer->queue_port[0];
	return 2;
}

int gio_xen_frontend_wait(const struct frontend *front, unsigned ms)
{
	uint32_t ports[PORTS];
	unsigned count = ports_of(front, ports);

	return front->irq ? gio_xen_irq_wait(front->irq, ms) : gio_xen_ports_wait(ports, count, ms);
}

bool gio_xen_frontend_take(const struct frontend *front)
{
	uint32_t ports[PORTS];
	unsigned count = ports_of(front, ports);
	bool taken = false;

	if (front->irq)
		return gio_xen_irq_take(front->irq);
	while (count)
		taken |= gio_xen_port_take(ports[--count]);
	return taken;
}
