/* SPDX-License-Identifier: MIT */
/* Device accesses by ioreq, the servers' bookkeeping, and interrupt lines. */
#include "tests/unit/model/server.h"

#include <sched.h>

/* An access in a thread of its own, since it blocks. */
struct access_thread {
	struct world *w;
	uint64_t value;
	int err, timeout;
	bool write;
	pthread_t thread;
};

static void *access_main(void *arg)
{
	struct access_thread *a = arg;

	a->err = gm_guest_mmio(a->w->guest, BASE, 4, a->write, &a->value, a->timeout);
	return NULL;
}

static void access_start(struct access_thread *a, struct world *w)
{
	*a = (struct access_thread){.w = w, .timeout = LIMIT_MS};
	assert_int_equal(pthread_create(&a->thread, NULL, access_main, a), 0);
}

static int access_end(struct access_thread *a)
{
	pthread_join(a->thread, NULL);
	return a->err;
}

static void map_range(struct server *s)
{
	assert_int_equal(
		xendevicemodel_map_io_range_to_ioreq_server(s->dmod, s->domid, s->id, 1, BASE, BASE + BYTES - 1), 0);
}

/* ---- accesses ----------------------------------------------------------------------------------------------- */

static void test_state_byte(void **state)
{
	struct ioreq p = {0};

	(void)state;
	p.state = 0xf;
	assert_int_equal(((uint8_t *)&p)[30], 0x0f);
	assert_int_equal(sizeof(p), 32);
}

static void test_unserved_reads_ones(void **state)
{
	struct world *w = world_of(state);
	const uint64_t ones[] = {0, 0xff, 0xffff, 0, 0xffffffff, 0, 0, 0, UINT64_MAX};
	uint64_t v;

	for (unsigned size = 1; size <= 8; size *= 2) {
		v = 0;
		assert_int_equal(gm_guest_mmio(w->guest, BASE, size, false, &v, LIMIT_MS), 0);
		assert_int_equal(v, ones[size]);
		assert_int_equal(gm_guest_mmio(w->guest, BASE, size, true, &v, LIMIT_MS), 0);
	}
	assert_int_equal(gm_guest_mmio(w->guest, BASE, 3, false, &v, LIMIT_MS), -EINVAL);
	assert_int_equal(stats_of(w, w->domid).ioreqs, 0);
}

static void test_round_trips(void **state)
{
	struct world *w = world_of(state);
	struct server s;
	uint64_t v;

	server_open(&s, w->domid, VCPUS);
	server_enable(&s);
	server_start(&s);
	for (unsigned size = 1; size <= 8; size *= 2) {
		v = 0x1122334455667788u + size;
		assert_int_equal(gm_guest_mmio(w->guest, BASE + 16, size, true, &v, LIMIT_MS), 0);
		v = 0;
		assert_int_equal(gm_guest_mmio(w->guest, BASE + 16, size, false, &v, LIMIT_MS), 0);
		assert_int_equal(v, (0x1122334455667788u + size) & (size == 8 ? ~0ull : (1ull << size * 8) - 1));
	}
	/* Half in, half out: nobody's. */
	assert_int_equal(gm_guest_mmio(w->guest, BASE + BYTES - 2, 4, false, &v, LIMIT_MS), 0);
	assert_int_equal(v, 0xffffffff);
	server_stop(&s);
	assert_int_equal(s.served, 8);
	assert_int_equal(stats_of(w, w->domid).ioreqs, 8);
	server_close(&s);
}

#define THREADS	 4
#define ACCESSES 150

struct hammer {
	struct world *w;
	unsigned n;
	uint32_t wrong;
};

static void *hammer_main(void *arg)
{
	struct hammer *h = arg;
	uint64_t addr = BASE + h->n * 8u, v;

	for (uint32_t i = 0; i < ACCESSES; i++) {
		v = i * THREADS + h->n;
		h->wrong += gm_guest_mmio(h->w->guest, addr, 4, true, &v, LIMIT_MS) != 0;
		v = 0;
		h->wrong += gm_guest_mmio(h->w->guest, addr, 4, false, &v, LIMIT_MS) != 0;
		h->wrong += v != i * THREADS + h->n;
	}
	return NULL;
}

static void test_vcpus_in_parallel(void **state)
{
	struct world *w = world_of(state);
	struct hammer h[THREADS];
	pthread_t t[THREADS];
	struct server s;

	server_open(&s, w->domid, VCPUS);
	server_enable(&s);
	server_start(&s);
	for (unsigned i = 0; i < THREADS; i++) {
		h[i] = (struct hammer){w, i, 0};
		assert_int_equal(pthread_create(&t[i], NULL, hammer_main, &h[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(h[i].wrong, 0);
	}
	server_stop(&s);
	assert_int_equal(s.served, THREADS * ACCESSES * 2);
	assert_int_equal(stats_of(w, w->domid).ioreqs, THREADS * ACCESSES * 2);
	server_close(&s);
}

static void test_ports_only_when_enabled(void **state)
{
	struct world *w = world_of(state);
	struct server s;
	void *addr = NULL;

	server_open(&s, w->domid, VCPUS);
	assert_int_equal(s.page[0].vp_eport, 0);
	assert_int_equal(xenevtchn_bind_interdomain(s.xce, w->domid, 0), -1);
	assert_int_equal(errno, EINVAL);
	server_enable(&s);
	assert_int_not_equal(s.page[0].vp_eport, s.page[1].vp_eport);
	/* The page that is mapped again is the same. */
	assert_null(xenforeignmemory_map_resource(s.fmem, w->domid, XENMEM_resource_ioreq_server, s.id, 0, 1, &addr,
						  PROT_READ, 0));
	assert_int_equal(errno, ENOENT);
	assert_null(xenforeignmemory_map_resource(s.fmem, w->domid, XENMEM_resource_ioreq_server, s.id, 2, 1, &addr,
						  PROT_READ, 0));
	assert_int_equal(errno, EINVAL);
	assert_null(xenforeignmemory_map_resource(s.fmem, w->domid, XENMEM_resource_ioreq_server, 7, 1, 1, &addr,
						  PROT_READ, 0));
	assert_int_equal(errno, ENOENT);
	server_close(&s);
}

static void test_enabled_before_mapped_has_no_ports(void **state)
{
	struct world *w = world_of(state);
	xendevicemodel_handle *dmod = xendevicemodel_open(NULL, 0);
	xenforeignmemory_handle *fmem = xenforeignmemory_open(NULL, 0);
	xenforeignmemory_resource_handle *res;
	void *addr = NULL;
	ioservid_t id;

	assert_int_equal(xendevicemodel_create_ioreq_server(dmod, w->domid, 0, &id), 0);
	assert_int_equal(xendevicemodel_set_ioreq_server_state(dmod, w->domid, id, 1), 0);
	res = xenforeignmemory_map_resource(fmem, w->domid, XENMEM_resource_ioreq_server, id, 1, 1, &addr, PROT_READ,
					    0);
	assert_non_null(res);
	assert_int_equal(((struct ioreq *)addr)->vp_eport, 0);
	assert_int_equal(xenforeignmemory_unmap_resource(fmem, res), 0);
	assert_int_equal(xendevicemodel_destroy_ioreq_server(dmod, w->domid, id), 0);
	xenforeignmemory_close(fmem);
	xendevicemodel_close(dmod);
}

static void test_unanswered_vcpu_stays_stuck(void **state)
{
	struct world *w = world_of(state);
	struct server s;
	uint64_t v;

	server_open(&s, w->domid, VCPUS);
	server_enable(&s);
	map_range(&s);
	for (unsigned i = 0; i < VCPUS; i++)
		assert_int_equal(gm_guest_mmio(w->guest, BASE, 4, false, &v, 1), -ETIMEDOUT);
	assert_int_equal(stats_of(w, w->domid).ioreqs, VCPUS);
	/* No vCPU is left even to read what nobody serves. */
	assert_int_equal(gm_guest_mmio(w->guest, 0, 4, false, &v, 1), -ETIMEDOUT);
	assert_int_equal(stats_of(w, w->domid).ioreqs, VCPUS);
	/* The answers come at last. */
	assert_int_equal(server_poll(&s, LIMIT_MS), VCPUS);
	assert_int_equal(gm_guest_mmio(w->guest, 0, 4, false, &v, LIMIT_MS), 0);
	server_close(&s);
}

/* ---- a device model that breaks the rules ------------------------------------------------------------------- */

static void test_state_beyond_the_last_crashes(void **state)
{
	struct world *w = world_of(state);
	struct access_thread a;
	struct server s;
	unsigned vcpu;
	struct ioreq *p;
	uint64_t v;

	server_open(&s, w->domid, VCPUS);
	server_enable(&s);
	map_range(&s);
	access_start(&a, w);
	p = server_wait_ready(&s, &vcpu);
	p->state = 4;
	server_notify(&s, vcpu);
	assert_int_equal(access_end(&a), -ESHUTDOWN);
	assert_int_equal(gm_domain_state(w->m, w->domid), GM_DOMAIN_CRASHED);
	assert_int_equal(gm_guest_mmio(w->guest, 0, 4, false, &v, LIMIT_MS), -ESHUTDOWN);
	assert_int_equal(gm_guest_irq_wait(w->guest, 33, LIMIT_MS), -ESHUTDOWN);
	server_close(&s);
	assert_int_equal(gm_domain_destroy(w->m, w->domid), 0);
	assert_int_equal(gm_domain_state(w->m, w->domid), GM_DOMAIN_NONE);
}

static void test_state_that_falls_crashes(void **state)
{
	struct world *w = world_of(state);
	struct access_thread a;
	struct server s;
	unsigned vcpu;
	struct ioreq *p;

	server_open(&s, w->domid, VCPUS);
	server_enable(&s);
	map_range(&s);
	access_start(&a, w);
	p = server_wait_ready(&s, &vcpu);
	/* Until the guest has seen INPROCESS, READY is no fall: so both, until it has. */
	while (gm_domain_state(w->m, w->domid) == GM_DOMAIN_RUNNING) {
		p->state = STATE_IOREQ_INPROCESS;
		server_notify(&s, vcpu);
		sched_yield();
		p->state = STATE_IOREQ_READY;
		server_notify(&s, vcpu);
		sched_yield();
	}
	assert_int_equal(access_end(&a), -ESHUTDOWN);
	assert_int_equal(gm_domain_state(w->m, w->domid), GM_DOMAIN_CRASHED);
	server_close(&s);
}

static void test_event_port_overwritten(void **state)
{
	struct world *w = world_of(state);
	struct server s;
	uint64_t v;

	server_open(&s, w->domid, VCPUS);
	server_enable(&s);
	map_range(&s);
	for (unsigned i = 0; i < VCPUS; i++)
		s.page[i].vp_eport++;
	assert_int_equal(gm_guest_mmio(w->guest, BASE, 4, false, &v, LIMIT_MS), -EFAULT);
	for (unsigned i = 0; i < VCPUS; i++) {
		s.page[i].vp_eport--;
		s.page[i].state = STATE_IOREQ_INPROCESS;
	}
	assert_int_equal(gm_guest_mmio(w->guest, BASE, 4, false, &v, LIMIT_MS), -EFAULT);
	assert_int_equal(gm_domain_state(w->m, w->domid), GM_DOMAIN_RUNNING);
	server_close(&s);
}

static void test_server_goes_while_asked(void **state)
{
	struct world *w = world_of(state);
	struct access_thread a;
	struct server s;
	unsigned vcpu;

	server_open(&s, w->domid, VCPUS);
	server_enable(&s);
	map_range(&s);
	access_start(&a, w);
	server_wait_ready(&s, &vcpu);
	server_close(&s);
	assert_int_equal(access_end(&a), 0);
	assert_int_equal(a.value, 0xffffffff);
}

static void test_domain_goes_while_asked(void **state)
{
	struct world *w = world_of(state);
	struct access_thread a;
	struct server s;
	unsigned vcpu;

	server_open(&s, w->domid, VCPUS);
	server_enable(&s);
	map_range(&s);
	access_start(&a, w);
	server_wait_ready(&s, &vcpu);
	assert_int_equal(gm_domain_destroy(w->m, w->domid), 0);
	assert_int_equal(access_end(&a), -ESHUTDOWN);
	assert_int_equal(gm_domain_state(w->m, w->domid), GM_DOMAIN_DYING); /* the ioreq page is still mapped */
	server_close(&s);
	assert_int_equal(gm_domain_state(w->m, w->domid), GM_DOMAIN_NONE);
}

/* ---- servers' books ----------------------------------------------------------------------------------------- */

static int range(struct server *s, bool map, uint64_t start, uint64_t end)
{
	int rc = map ? xendevicemodel_map_io_range_to_ioreq_server(s->dmod, s->domid, s->id, 1, start, end)
		     : xendevicemodel_unmap_io_range_from_ioreq_server(s->dmod, s->domid, s->id, 1, start, end);

	return rc ? -errno : 0;
}

static void test_ranges(void **state)
{
	struct world *w = world_of(state);
	struct server s;

	server_open(&s, w->domid, VCPUS);
	assert_int_equal(range(&s, true, 0x2000, 0x1fff), -EINVAL);
	assert_int_equal(range(&s, true, 0x2000, 0x21ff), 0);
	assert_int_equal(range(&s, true, 0x2000, 0x21ff), -EEXIST);
	assert_int_equal(range(&s, true, 0x21ff, 0x2200), -EEXIST);
	assert_int_equal(range(&s, true, 0x1000, 0x3000), -EEXIST);
	assert_int_equal(range(&s, false, 0x2000, 0x2200), -ENOENT);
	assert_int_equal(range(&s, false, 0x1000, 0x11ff), -ENOENT);
	assert_int_equal(range(&s, true, 0x2400, 0x25ff), 0);
	assert_int_equal(range(&s, true, 0x2200, 0x23ff), 0); /* joins both */
	assert_int_equal(range(&s, false, 0x2100, 0x24ff), 0);
	assert_int_equal(range(&s, true, 0x2100, 0x24ff), 0);
	assert_int_equal(range(&s, false, 0x2300, 0x23ff), 0); /* splits */
	assert_int_equal(range(&s, true, 0x22ff, 0x2300), -EEXIST);
	assert_int_equal(range(&s, false, 0x2000, 0x22ff), 0);
	assert_int_equal(range(&s, false, 0x2400, 0x25ff), 0);
	/* Side by side they are one; apart, 256 are the most. */
	for (uint64_t i = 0; i < 300; i++)
		assert_int_equal(range(&s, true, 0x100000 + i * 0x200, 0x1001ff + i * 0x200), 0);
	for (uint64_t i = 0; i < 255; i++)
		assert_int_equal(range(&s, true, 0x800000 + i * 0x400, 0x8001ff + i * 0x400), 0);
	assert_int_equal(range(&s, true, 0x700000, 0x7001ff), -ENOMEM);
	server_close(&s);
}

static void test_eight_servers(void **state)
{
	struct world *w = world_of(state);
	xendevicemodel_handle *dmod = xendevicemodel_open(NULL, 0);
	evtchn_port_t port;
	xen_pfn_t gfn;
	ioservid_t id;

	assert_int_equal(xendevicemodel_create_ioreq_server(dmod, w->domid, 1, &id), -1);
	assert_int_equal(errno, EINVAL); /* buffered: not on Arm */
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(xendevicemodel_create_ioreq_server(dmod, w->domid, 0, &id), 0);
		assert_int_equal(id, i);
	}
	assert_int_equal(xendevicemodel_create_ioreq_server(dmod, w->domid, 0, &id), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(stats_of(w, w->domid).ioreq_servers, 8);
	assert_int_equal(stats_of(w, w->domid).ports, 8 * VCPUS);
	assert_int_equal(xendevicemodel_get_ioreq_server_info(dmod, w->domid, 3, NULL, NULL, &port), 0);
	assert_int_equal(xendevicemodel_get_ioreq_server_info(dmod, w->domid, 3, &gfn, NULL, &port), -1);
	assert_int_equal(errno, EOPNOTSUPP);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(xendevicemodel_destroy_ioreq_server(dmod, w->domid, (ioservid_t)i), 0);
	assert_int_equal(xendevicemodel_destroy_ioreq_server(dmod, w->domid, 0), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(xendevicemodel_set_ioreq_server_state(dmod, w->domid, 0, 1), -1);
	assert_int_equal(errno, ENOENT);
	xendevicemodel_close(dmod);
}

static void test_newest_server_wins(void **state)
{
	struct world *w = world_of(state);
	struct server old, new;
	uint64_t v = 0;

	server_open(&old, w->domid, VCPUS);
	server_open(&new, w->domid, VCPUS);
	server_enable(&old);
	server_enable(&new);
	server_start(&old);
	server_start(&new);
	assert_int_equal(gm_guest_mmio(w->guest, BASE, 4, false, &v, LIMIT_MS), 0);
	assert_int_equal(xendevicemodel_set_ioreq_server_state(new.dmod, w->domid, new.id, 0), 0);
	assert_int_equal(gm_guest_mmio(w->guest, BASE, 4, false, &v, LIMIT_MS), 0);
	server_stop(&old);
	server_stop(&new);
	assert_int_equal(new.served, 1);
	assert_int_equal(old.served, 1);
	server_close(&new);
	server_close(&old);
}

/* ---- privilege ---------------------------------------------------------------------------------------------- */

static void test_privilege(void **state)
{
	struct gm_domain_config config = {.domid = 2, .ram_bytes = PAGE, .vcpus = 1};
	struct world *w = world_of(state);
	xendevicemodel_handle *dmod;
	xenforeignmemory_handle *fmem;
	void *addr = NULL;
	ioservid_t id;

	assert_int_equal(gm_domain_create(w->m, &config, NULL), 0);
	become(2);
	dmod = xendevicemodel_open(NULL, 0);
	fmem = xenforeignmemory_open(NULL, 0);
	assert_int_equal(xendevicemodel_create_ioreq_server(dmod, w->domid, 0, &id), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(xendevicemodel_set_irq_level(dmod, w->domid, 33, 1), -1);
	assert_int_equal(errno, EPERM);
	assert_null(xenforeignmemory_map_resource(fmem, w->domid, XENMEM_resource_ioreq_server, 0, 1, 1, &addr,
						  PROT_READ, 0));
	assert_int_equal(errno, EPERM);
	assert_null(xenforeignmemory_map(fmem, w->domid, PROT_READ, 1, (xen_pfn_t[]){1}, NULL));
	assert_int_equal(errno, EPERM);
	assert_int_equal(xendevicemodel_create_ioreq_server(dmod, 2, 0, &id), -1);
	assert_int_equal(errno, EPERM); /* not for itself */
	assert_int_equal(xendevicemodel_create_ioreq_server(dmod, 9, 0, &id), -1);
	assert_int_equal(errno, ESRCH);
	assert_int_equal(gm_domain_set_target(w->m, 2, w->domid), 0);
	assert_int_equal(xendevicemodel_create_ioreq_server(dmod, w->domid, 0, &id), 0);
	xendevicemodel_close(dmod);
	xenforeignmemory_close(fmem);
	/* Another domain's server is not ours, though we are domain 0. */
	become(0);
	dmod = xendevicemodel_open(NULL, 0);
	assert_int_equal(xendevicemodel_destroy_ioreq_server(dmod, w->domid, id), -1);
	assert_int_equal(errno, EPERM);
	xendevicemodel_close(dmod);
	assert_int_equal(gm_domain_destroy(w->m, 2), 0);
	assert_int_equal(gm_domain_destroy(w->m, w->domid), 0);
}

static void test_restrict(void **state)
{
	struct gm_domain_config config = {.domid = 2, .ram_bytes = PAGE, .vcpus = 1};
	struct world *w = world_of(state);
	xendevicemodel_handle *dmod = xendevicemodel_open(NULL, 0);
	xenforeignmemory_handle *fmem = xenforeignmemory_open(NULL, 0);
	unsigned n;

	assert_int_equal(gm_domain_create(w->m, &config, NULL), 0);
	assert_int_equal(xendevicemodel_restrict(dmod, w->domid), 0);
	assert_int_equal(xendevicemodel_restrict(dmod, w->domid), 0);
	assert_int_equal(xendevicemodel_restrict(dmod, 2), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(xendevicemodel_nr_vcpus(dmod, w->domid, &n), 0);
	assert_int_equal(xendevicemodel_nr_vcpus(dmod, 2, &n), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(xenforeignmemory_restrict(fmem, w->domid), 0);
	assert_null(xenforeignmemory_map(fmem, 2, PROT_READ, 1, (xen_pfn_t[]){0}, NULL));
	assert_int_equal(errno, EPERM);
	xenforeignmemory_close(fmem);
	xendevicemodel_close(dmod);
	assert_int_equal(gm_domain_destroy(w->m, 2), 0);
}

static void test_unsupported(void **state)
{
	struct world *w = world_of(state);
	xendevicemodel_handle *dmod = xendevicemodel_open(NULL, 0);

	assert_int_equal(xendevicemodel_inject_msi(dmod, w->domid, 0xfee00000, 0), -1);
	assert_int_equal(errno, EOPNOTSUPP);
	assert_int_equal(xendevicemodel_set_isa_irq_level(dmod, w->domid, 5, 1), -1);
	assert_int_equal(errno, EOPNOTSUPP);
	assert_int_equal(xendevicemodel_map_pcidev_to_ioreq_server(dmod, w->domid, 0, 0, 0, 1, 0), -1);
	assert_int_equal(errno, EOPNOTSUPP);
	xendevicemodel_close(dmod);
}

/* ---- interrupts --------------------------------------------------------------------------------------------- */

static int set_irq(xendevicemodel_handle *dmod, struct world *w, unsigned irq, unsigned level)
{
	return xendevicemodel_set_irq_level(dmod, w->domid, irq, level) ? -errno : 0;
}

static void test_irq_edges(void **state)
{
	struct world *w = world_of(state);
	xendevicemodel_handle *dmod = xendevicemodel_open(NULL, 0);

	assert_int_equal(set_irq(dmod, w, 31, 1), -EINVAL);
	assert_int_equal(set_irq(dmod, w, 1020, 1), -EINVAL);
	assert_int_equal(set_irq(dmod, w, 33, 2), -EINVAL);
	assert_int_equal(gm_guest_irq_wait(w->guest, 33, 0), -ETIMEDOUT);
	assert_int_equal(set_irq(dmod, w, 33, 1), 0);
	assert_int_equal(set_irq(dmod, w, 33, 1), 0);
	assert_int_equal(set_irq(dmod, w, 33, 0), 0);
	assert_int_equal(gm_guest_irq_wait(w->guest, 34, 0), -ETIMEDOUT);
	assert_int_equal(gm_guest_irq_wait(w->guest, 33, LIMIT_MS), 0);
	assert_int_equal(gm_guest_irq_wait(w->guest, 33, 1), -ETIMEDOUT); /* kept as one */
	assert_int_equal(stats_of(w, 0).irqs_raised, 2);
	assert_int_equal(stats_of(w, 0).dm_ops, 6);
	assert_int_equal(gm_guest_irq_wait(w->guest, 5000, 0), -EINVAL);
	xendevicemodel_close(dmod);
}

struct irq_thread {
	struct world *w;
	uint32_t got;
	int last;
};

static void *irq_main(void *arg)
{
	struct irq_thread *t = arg;

	while (!(t->last = gm_guest_irq_wait(t->w->guest, 40, LIMIT_MS)))
		__atomic_fetch_add(&t->got, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void test_irq_wakes_a_waiter(void **state)
{
	struct world *w = world_of(state);
	xendevicemodel_handle *dmod = xendevicemodel_open(NULL, 0);
	struct irq_thread t = {.w = w};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, irq_main, &t), 0);
	for (uint32_t i = 1; i <= 100; i++) {
		assert_int_equal(set_irq(dmod, w, 40, 1), 0);
		assert_true(await(&t.got, i));
	}
	gm_guest_irq_wake(w->guest, 40);
	pthread_join(thread, NULL);
	assert_int_equal(t.last, -EINTR);
	/* A wake with nobody waiting is kept for the next wait, once. */
	gm_guest_irq_wake(w->guest, 40);
	assert_int_equal(gm_guest_irq_wait(w->guest, 40, LIMIT_MS), -EINTR);
	assert_int_equal(gm_guest_irq_wait(w->guest, 40, 0), -ETIMEDOUT);
	xendevicemodel_close(dmod);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state_byte),
		T(test_unserved_reads_ones),
		T(test_round_trips),
		T(test_vcpus_in_parallel),
		T(test_ports_only_when_enabled),
		T(test_enabled_before_mapped_has_no_ports),
		T(test_unanswered_vcpu_stays_stuck),
		T(test_state_beyond_the_last_crashes),
		T(test_state_that_falls_crashes),
		T(test_event_port_overwritten),
		T(test_server_goes_while_asked),
		T(test_domain_goes_while_asked),
		T(test_ranges),
		T(test_eight_servers),
		T(test_newest_server_wins),
		T(test_privilege),
		T(test_restrict),
		T(test_unsupported),
		T(test_irq_edges),
		T(test_irq_wakes_a_waiter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
