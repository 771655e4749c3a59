/* SPDX-License-Identifier: MIT */
#include "tests/unit/model/server.h"

#include <poll.h>
#include <sys/eventfd.h>

void server_open(struct server *s, uint16_t domid, unsigned vcpus)
{
	unsigned n = 0;
	void *addr = NULL;

	memset(s, 0, sizeof(*s));
	s->domid = domid;
	s->vcpus = vcpus;
	s->xce = xenevtchn_open(NULL, 0);
	s->fmem = xenforeignmemory_open(NULL, 0);
	s->dmod = xendevicemodel_open(NULL, 0);
	s->stop = eventfd(0, EFD_CLOEXEC);
	assert_true(s->xce && s->fmem && s->dmod);
	assert_int_equal(xendevicemodel_nr_vcpus(s->dmod, domid, &n), 0);
	assert_int_equal(n, vcpus);
	assert_int_equal(xendevicemodel_create_ioreq_server(s->dmod, domid, HVM_IOREQSRV_BUFIOREQ_OFF, &s->id), 0);
	s->res = xenforeignmemory_map_resource(s->fmem, domid, XENMEM_resource_ioreq_server, s->id,
					       XENMEM_resource_ioreq_server_frame_ioreq(0), 1, &addr,
					       PROT_READ | PROT_WRITE, 0);
	assert_non_null(s->res);
	s->page = addr;
}

void server_enable(struct server *s)
{
	assert_int_equal(xendevicemodel_set_ioreq_server_state(s->dmod, s->domid, s->id, 1), 0);
	for (unsigned i = 0; i < s->vcpus; i++) {
		s->port[i] = xenevtchn_bind_interdomain(s->xce, s->domid, s->page[i].vp_eport);
		assert_true(s->port[i] > 0);
	}
}

/* The bytes of an access among the registers, which begin as their own addresses. */
static void serve(struct server *s, struct ioreq *p)
{
	uint64_t off = p->addr - BASE, value = 0;

	if (off + p->size > BYTES)
		return;
	if (p->dir == IOREQ_WRITE) {
		value = p->data;
		memcpy((uint8_t *)s->regs + off, &value, p->size);
	} else {
		memcpy(&value, (uint8_t *)s->regs + off, p->size);
		p->data = value;
	}
}

static unsigned vcpu_answer(struct server *s, unsigned vcpu)
{
	struct ioreq *p = &s->page[vcpu];

	if (p->state != STATE_IOREQ_READY)
		return 0; /* a spurious event: allowed */
	__sync_synchronize();
	p->state = STATE_IOREQ_INPROCESS;
	serve(s, p);
	__sync_synchronize();
	p->state = STATE_IORESP_READY;
	server_notify(s, vcpu);
	return 1;
}

void server_notify(struct server *s, unsigned vcpu)
{
	assert_int_equal(xenevtchn_notify(s->xce, (uint32_t)s->port[vcpu]), 0);
}

unsigned server_poll(struct server *s, int ms)
{
	struct pollfd pfd[2] = {{.fd = xenevtchn_fd(s->xce), .events = POLLIN}, {.fd = s->stop, .events = POLLIN}};
	unsigned n = 0;

	while (poll(pfd, 2, n ? 0 : ms) > 0 && pfd[0].revents) {
		int port = xenevtchn_pending(s->xce);

		for (unsigned i = 0; i < s->vcpus; i++)
			if (port == s->port[i]) {
				xenevtchn_unmask(s->xce, (uint32_t)port);
				n += vcpu_answer(s, i);
			}
	}
	return n;
}

static void *server_main(void *arg)
{
	struct server *s = arg;

	while (__atomic_load_n(&s->running, __ATOMIC_ACQUIRE))
		__atomic_fetch_add(&s->served, server_poll(s, -1), __ATOMIC_RELAXED);
	return NULL;
}

void server_start(struct server *s)
{
	assert_int_equal(
		xendevicemodel_map_io_range_to_ioreq_server(s->dmod, s->domid, s->id, 1, BASE, BASE + BYTES - 1), 0);
	s->running = true;
	assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

void server_stop(struct server *s)
{
	__atomic_store_n(&s->running, false, __ATOMIC_RELEASE);
	assert_int_equal(eventfd_write(s->stop, 1), 0);
	pthread_join(s->thread, NULL);
}

void server_close(struct server *s)
{
	xendevicemodel_destroy_ioreq_server(s->dmod, s->domid, s->id);
	xenforeignmemory_unmap_resource(s->fmem, s->res);
	xendevicemodel_close(s->dmod);
	xenforeignmemory_close(s->fmem);
	xenevtchn_close(s->xce);
	close(s->stop);
}

struct ioreq *server_wait_ready(struct server *s, unsigned *vcpu)
{
	struct pollfd pfd = {.fd = xenevtchn_fd(s->xce), .events = POLLIN};

	while (poll(&pfd, 1, LIMIT_MS) == 1) {
		int port = xenevtchn_pending(s->xce);

		xenevtchn_unmask(s->xce, (uint32_t)port);
		for (unsigned i = 0; i < s->vcpus; i++)
			if (port == s->port[i] && s->page[i].state == STATE_IOREQ_READY) {
				*vcpu = i;
				return &s->page[i];
			}
	}
	fail_msg("no ioreq came");
	return NULL;
}
