/* SPDX-License-Identifier: MIT */
/*
 * Event channels by their pending bits in the shared page (xen/event_channel.h), lines of devices as the processor's
 * part notes them, and time. Nothing interrupts: who waits for an event sleeps until there is one, which that part
 * knows how to do.
 */
#include "arch.h"
#include "guest.h"
#include "xen.h"

#include <xen/event_channel.h>
#include <xen/memory.h>

#define NS_PER_MS 1000000u
#define WORD_BITS (8u * sizeof(xen_ulong_t))

static struct shared_info *shared;

int gio_xen_events_start(void)
{
	shared = gio_xen_memory_map(XENMAPSPACE_shared_info, 0, ARCH_SHARED_INFO_FRAME);
	return shared ? 0 : -GIO_EIO;
}

static uint64_t now_ns(void)
{
	return gio_xen_arch_now(&shared->vcpu_info[0]);
}

uint64_t gio_xen_now_ms(void)
{
	return now_ns() / NS_PER_MS;
}

static int event_op(unsigned op, void *argument)
{
	return (int)hypercall(__HYPERVISOR_event_channel_op, op, (uint64_t)argument, 0);
}

/* The port is unbound until the remote domain binds it. What is sent before that is lost, and is no error. */
int gio_xen_port_open(gio_domid_t remote)
{
	struct evtchn_alloc_unbound alloc = {.dom = DOMID_SELF, .remote_dom = remote};
	int err = event_op(EVTCHNOP_alloc_unbound, &alloc);

	return err ? err : (int)alloc.port;
}

int gio_xen_port_close(uint32_t port)
{
	struct evtchn_close close = {.port = port};

	return event_op(EVTCHNOP_close, &close);
}

int gio_xen_port_send(uint32_t port)
{
	struct evtchn_send send = {.port = port};

	return event_op(EVTCHNOP_send, &send);
}

static xen_ulong_t *pending_word(uint32_t port)
{
	return &shared->evtchn_pending[port / WORD_BITS];
}

bool gio_xen_port_take(uint32_t port)
{
	xen_ulong_t bit = (xen_ulong_t)1 << port % WORD_BITS;

	/* Acquire: what the peer did before it sent is seen after this. Release: we look at it after the bit is clear.
	 */
	return __atomic_fetch_and(pending_word(port), ~bit, __ATOMIC_ACQ_REL) & bit;
}

static bool pending(uint32_t port)
{
	return __atomic_load_n(pending_word(port), __ATOMIC_ACQUIRE) >> port % WORD_BITS & 1;
}

static bool any_pending(const uint32_t *ports, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (pending(ports[i]))
			return true;
	return false;
}

/* Settled first, looked at then: what comes after that ends the sleep. */
int gio_xen_ports_wait(const uint32_t *ports, unsigned count, unsigned ms)
{
	uint64_t end = now_ns() + (uint64_t)ms * NS_PER_MS;

	for (;;) {
		gio_xen_arch_settle(&shared->vcpu_info[0]);
		if (any_pending(ports, count))
			return 0;
		if (now_ns() >= end)
			return -GIO_EAGAIN;
		gio_xen_arch_sleep(ports, count, end);
	}
}

int gio_xen_port_wait(uint32_t port, unsigned ms)
{
	return gio_xen_ports_wait(&port, 1, ms);
}

/* ---- grantio/os.h ------------------------------------------------------------------------------------------------ */

int gio_os_port_open(struct gio_os *os, gio_domid_t remote, uint32_t *port)
{
	int number = gio_xen_port_open(remote);

	(void)os;
	if (number < 0)
		return -GIO_ENOSPC;
	*port = (uint32_t)number;
	return 0;
}

void gio_os_port_close(struct gio_os *os, uint32_t port)
{
	(void)os;
	gio_xen_port_close(port);
	gio_xen_port_take(port); /* the number may be another's next */
}

/* A full barrier: what was stored before is seen by whoever gets the event. */
void gio_os_port_send(struct gio_os *os, uint32_t port)
{
	(void)os;
	gio_xen_port_send(port);
}

bool gio_os_port_wait(struct gio_os *os, uint32_t port, unsigned ms)
{
	(void)os;
	return !gio_xen_port_wait(port, ms) && gio_xen_port_take(port);
}

uint64_t gio_os_now_ms(struct gio_os *os)
{
	(void)os;
	return gio_xen_now_ms();
}

/* ---- interrupt lines --------------------------------------------------------------------------------------------- */

int gio_xen_irq_open(unsigned irq)
{
	return gio_xen_arch_irq_enable(irq, true) ? 0 : -GIO_EOPNOTSUPP;
}

/* An interrupt that was noted before belongs to the former user of the line: the next one must not see it. */
void gio_xen_irq_close(unsigned irq)
{
	if (gio_xen_arch_irq_enable(irq, false))
		gio_xen_irq_take(irq);
}

bool gio_xen_irq_take(unsigned irq)
{
	gio_xen_arch_settle(&shared->vcpu_info[0]);
	return gio_xen_arch_irq_noted(irq, true);
}

int gio_xen_irq_wait(unsigned irq, unsigned ms)
{
	uint64_t end = now_ns() + (uint64_t)ms * NS_PER_MS;

	for (;;) {
		gio_xen_arch_settle(&shared->vcpu_info[0]);
		if (gio_xen_arch_irq_noted(irq, false))
			return 0;
		if (now_ns() >= end)
			return -GIO_EAGAIN;
		gio_xen_arch_sleep(NULL, 0, end);
	}
}
