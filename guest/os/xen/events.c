/* SPDX-License-Identifier: MIT */
/*
 * Event channels without interrupts: the pending bits in the shared page are looked at, and SCHEDOP_poll puts the vCPU
 * to sleep until one of a port is set (xen/event_channel.h, xen/sched.h). Time, which has the same page.
 */
#include "arch.h"
#include "guest.h"
#include "xen.h"

#include <xen/event_channel.h>
#include <xen/memory.h>
#include <xen/sched.h>

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

int gio_xen_port_open(gio_domid_t remote)
{
	struct evtchn_alloc_unbound alloc = {.dom = DOMID_SELF, .remote_dom = remote};
	int ret = event_op(EVTCHNOP_alloc_unbound, &alloc);

	return ret ? ret : (int)alloc.port;
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

int gio_xen_port_wait(uint32_t port, unsigned ms)
{
	uint64_t end = now_ns() + (uint64_t)ms * NS_PER_MS;
	evtchn_port_t ports[1] = {port};
	struct sched_poll poll = {.nr_ports = 1, .timeout = end};

	set_xen_guest_handle(poll.ports, ports);
	while (!pending(port)) {
		if (now_ns() >= end)
			return -GIO_EAGAIN;
		hypercall(__HYPERVISOR_sched_op, SCHEDOP_poll, (uint64_t)&poll, 0);
	}
	return 0;
}
