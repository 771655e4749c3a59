/* SPDX-License-Identifier: MIT */
/* Event channels, as /dev/xen/evtchn has them: pending, masked, bound and closed. */
#include "tests/unit/model/common.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>

/* Two handles of domain 0, bound to each other; nothing pending. */
struct pair {
	xenevtchn_handle *a, *b;
	uint32_t pa, pb;
};

static bool ready(xenevtchn_handle *xce, int ms)
{
	struct pollfd pfd = {.fd = xenevtchn_fd(xce), .events = POLLIN};

	return poll(&pfd, 1, ms) == 1;
}

static void pair_open(struct pair *p)
{
	int port;

	p->a = xenevtchn_open(NULL, 0);
	p->b = xenevtchn_open(NULL, 0);
	port = xenevtchn_bind_unbound_port(p->a, 0);
	assert_true(port > 0);
	p->pa = (uint32_t)port;
	port = xenevtchn_bind_interdomain(p->b, 0, p->pa);
	assert_true(port > 0);
	p->pb = (uint32_t)port;
	/* Binding raises the side that bound. */
	assert_true(ready(p->b, 0));
	assert_int_equal(xenevtchn_pending(p->b), p->pb);
	assert_int_equal(xenevtchn_unmask(p->b, p->pb), 0);
	assert_false(ready(p->a, 0));
	assert_false(ready(p->b, 0));
}

static void pair_close(struct pair *p)
{
	xenevtchn_close(p->a);
	xenevtchn_close(p->b);
}

static void test_notify_both_ways(void **state)
{
	struct world *w = world_of(state);
	struct pair p;

	pair_open(&p);
	assert_int_equal(xenevtchn_notify(p.a, p.pa), 0);
	assert_false(ready(p.a, 0));
	assert_int_equal(xenevtchn_pending(p.b), p.pb);
	assert_int_equal(xenevtchn_notify(p.b, p.pb), 0);
	assert_int_equal(xenevtchn_pending(p.a), p.pa);
	assert_int_equal(stats_of(w, 0).event_sends, 2);
	assert_int_equal(stats_of(w, 0).ports, 2);
	pair_close(&p);
}

/* Delivered means masked: what comes then is kept, as one, until the unmask. */
static void test_masked_until_unmask(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	xenevtchn_notify(p.a, p.pa);
	xenevtchn_notify(p.a, p.pa);
	assert_int_equal(xenevtchn_pending(p.b), p.pb);
	assert_false(ready(p.b, 0));
	xenevtchn_notify(p.a, p.pa);
	assert_false(ready(p.b, 0));
	assert_int_equal(xenevtchn_unmask(p.b, p.pb), 0);
	assert_true(ready(p.b, 0));
	assert_int_equal(xenevtchn_pending(p.b), p.pb);
	assert_int_equal(xenevtchn_unmask(p.b, p.pb), 0);
	assert_false(ready(p.b, 0));
	/* Unmasking again, or before the event is read, delivers nothing twice. */
	assert_int_equal(xenevtchn_unmask(p.b, p.pb), 0);
	assert_false(ready(p.b, 0));
	pair_close(&p);
}

static void test_not_blocking(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	assert_int_equal(fcntl(xenevtchn_fd(p.b), F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(xenevtchn_pending(p.b), -1);
	assert_int_equal(errno, EAGAIN);
	pair_close(&p);
}

static void test_wrong_ports(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	assert_int_equal(xenevtchn_notify(p.a, p.pb), -1);
	assert_int_equal(errno, ENOTCONN);
	assert_int_equal(xenevtchn_notify(p.a, 500), -1);
	assert_int_equal(errno, ENOTCONN);
	assert_int_equal(xenevtchn_notify(p.a, UINT32_MAX), -1);
	assert_int_equal(errno, ENOTCONN);
	assert_int_equal(xenevtchn_unbind(p.a, p.pb), -1);
	assert_int_equal(errno, ENOTCONN);
	assert_int_equal(xenevtchn_unbind(p.a, 1u << 20), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(xenevtchn_unmask(p.a, p.pb), 0); /* passed over, as the driver does */
	assert_int_equal(xenevtchn_bind_virq(p.a, 3), -1);
	assert_int_equal(errno, ENOSYS);
	pair_close(&p);
}

static void test_bind_checks(void **state)
{
	struct gm_domain_config config = {.domid = 3, .ram_bytes = PAGE, .vcpus = 1};
	struct world *w = world_of(state);
	xenevtchn_handle *xce;
	struct pair p;
	int port;

	pair_open(&p);
	assert_int_equal(xenevtchn_bind_interdomain(p.b, 0, p.pa), -1); /* bound already */
	assert_int_equal(errno, EINVAL);
	assert_int_equal(xenevtchn_bind_interdomain(p.b, 0, 700), -1); /* free */
	assert_int_equal(errno, EINVAL);
	assert_int_equal(xenevtchn_bind_interdomain(p.b, 0, UINT32_MAX), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(xenevtchn_bind_interdomain(p.b, 9, 1), -1);
	assert_int_equal(errno, ESRCH);
	/* For domain 3 and nobody else. */
	assert_int_equal(gm_domain_create(w->m, &config, NULL), 0);
	port = xenevtchn_bind_unbound_port(p.a, 3);
	assert_true(port > 0);
	assert_int_equal(xenevtchn_bind_interdomain(p.b, 0, (uint32_t)port), -1);
	assert_int_equal(errno, EINVAL);
	pair_close(&p);

	become(3);
	xce = xenevtchn_open(NULL, 0);
	assert_int_equal(xenevtchn_bind_interdomain(xce, 0, (uint32_t)port), -1); /* closed meanwhile */
	assert_int_equal(errno, EINVAL);
	assert_true(xenevtchn_bind_unbound_port(xce, DOMID_SELF) > 0);
	xenevtchn_close(xce);
	assert_int_equal(gm_domain_destroy(w->m, 3), 0);
}

/* Closing one side makes the other unbound: it can be bound again, and events to nobody are dropped. */
static void test_close_unbinds_the_peer(void **state)
{
	struct pair p;
	int port;

	(void)state;
	pair_open(&p);
	assert_int_equal(xenevtchn_unbind(p.b, p.pb), 0);
	assert_int_equal(xenevtchn_unbind(p.b, p.pb), -1);
	assert_int_equal(errno, ENOTCONN);
	assert_int_equal(xenevtchn_notify(p.a, p.pa), 0);
	assert_false(ready(p.b, 0));
	port = xenevtchn_bind_interdomain(p.b, 0, p.pa);
	assert_true(port > 0);
	assert_int_equal(xenevtchn_pending(p.b), port);
	xenevtchn_unmask(p.b, (uint32_t)port);
	assert_int_equal(xenevtchn_notify(p.a, p.pa), 0);
	assert_int_equal(xenevtchn_pending(p.b), port);
	pair_close(&p);
}

static void test_ports_run_out(void **state)
{
	struct world *w = world_of(state);
	xenevtchn_handle *xce = xenevtchn_open(NULL, 0);
	int n = 0;

	while (n < 5000 && xenevtchn_bind_unbound_port(xce, 0) > 0)
		n++;
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(n, 1023);
	assert_int_equal(stats_of(w, 0).ports, 1023);
	xenevtchn_close(xce);
	assert_int_equal(stats_of(w, 0).ports, 0);
}

static void test_restrict(void **state)
{
	xenevtchn_handle *xce = xenevtchn_open(NULL, 0);
	struct world *w = world_of(state);

	assert_int_equal(xenevtchn_restrict(xce, 0), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(xenevtchn_restrict(xce, w->domid), 0);
	assert_int_equal(xenevtchn_restrict(xce, w->domid), -1);
	assert_int_equal(errno, EACCES);
	assert_true(xenevtchn_bind_unbound_port(xce, w->domid) > 0);
	assert_int_equal(xenevtchn_bind_unbound_port(xce, 0), -1);
	assert_int_equal(errno, EACCES);
	assert_int_equal(xenevtchn_bind_interdomain(xce, 0, 1), -1);
	assert_int_equal(errno, EACCES);
	assert_int_equal(xenevtchn_bind_virq(xce, 3), -1);
	assert_int_equal(errno, EACCES);
	xenevtchn_close(xce);
}

static void test_fdopen(void **state)
{
	xenevtchn_handle *xce = xenevtchn_open(NULL, XENEVTCHN_NO_CLOEXEC), *again;
	int fd = dup(xenevtchn_fd(xce)), null = open("/dev/null", O_RDWR);

	(void)state;
	assert_int_equal(fcntl(xenevtchn_fd(xce), F_GETFD) & FD_CLOEXEC, 0);
	assert_true(xenevtchn_bind_unbound_port(xce, 0) > 0);
	assert_null(xenevtchn_fdopen(NULL, null, 0));
	assert_int_equal(errno, EINVAL);
	again = xenevtchn_fdopen(NULL, fd, 0);
	assert_non_null(again);
	assert_int_equal(xenevtchn_notify(again, 1), 0);
	xenevtchn_close(again);
	xenevtchn_close(xce);
	close(null);
	xce = xenevtchn_open(NULL, 0);
	assert_int_equal(fcntl(xenevtchn_fd(xce), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	xenevtchn_close(xce);
}

/* ---- two threads: no event is lost -------------------------------------------------------------------------- */

#define ROUNDS 5000

struct sender {
	struct pair *p;
	uint32_t sent; /* a counter that the receiver must see whole */
};

static void *sender_main(void *arg)
{
	struct sender *s = arg;

	for (uint32_t i = 1; i <= ROUNDS; i++) {
		__atomic_store_n(&s->sent, i, __ATOMIC_RELEASE);
		xenevtchn_notify(s->p->a, s->p->pa);
	}
	return NULL;
}

static void test_no_event_is_lost(void **state)
{
	struct sender s = {0};
	uint32_t seen = 0;
	pthread_t thread;
	struct pair p;

	(void)state;
	pair_open(&p);
	s.p = &p;
	assert_int_equal(pthread_create(&thread, NULL, sender_main, &s), 0);
	while (seen < ROUNDS) {
		/* Were one lost, the receiver would wait here for ever. */
		assert_true(ready(p.b, LIMIT_MS));
		assert_int_equal(xenevtchn_pending(p.b), p.pb);
		xenevtchn_unmask(p.b, p.pb);
		seen = __atomic_load_n(&s.sent, __ATOMIC_ACQUIRE);
	}
	pthread_join(thread, NULL);
	pair_close(&p);
}

/* Bind and close on one side while the other notifies. */
static void *rebinder_main(void *arg)
{
	struct pair *p = arg;

	for (int i = 0; i < 500; i++) {
		xenevtchn_unbind(p->b, p->pb);
		p->pb = (uint32_t)xenevtchn_bind_interdomain(p->b, 0, p->pa);
	}
	return NULL;
}

static void test_notify_while_rebound(void **state)
{
	pthread_t thread;
	struct pair p;

	(void)state;
	pair_open(&p);
	assert_int_equal(pthread_create(&thread, NULL, rebinder_main, &p), 0);
	for (int i = 0; i < 2000; i++)
		assert_int_equal(xenevtchn_notify(p.a, p.pa), 0);
	pthread_join(thread, NULL);
	/* Whatever came: after all is read, the new binding works. */
	while (ready(p.b, 0))
		assert_true(xenevtchn_pending(p.b) > 0);
	xenevtchn_unmask(p.b, p.pb);
	while (ready(p.b, 0)) {
		xenevtchn_pending(p.b);
		xenevtchn_unmask(p.b, p.pb);
	}
	xenevtchn_notify(p.a, p.pa);
	assert_true(ready(p.b, LIMIT_MS));
	assert_int_equal(xenevtchn_pending(p.b), p.pb);
	pair_close(&p);
}

static uint32_t guest_event(struct gm_guest_events *events)
{
	struct pollfd pfd = {.fd = gm_guest_events_fd(events), .events = POLLIN};
	uint32_t port = 0;

	assert_int_equal(poll(&pfd, 1, 0), 1);
	assert_int_equal(read(pfd.fd, &port, sizeof(port)), sizeof(port));
	return port;
}

/* A guest's own ports: left for domain 0, bound by it, raised from both sides, and gone with the guest's events. */
static void test_guest_events(void **state)
{
	struct world *w = world_of(state);
	xenevtchn_handle *xce = xenevtchn_open(NULL, 0);
	struct gm_guest_events *events;
	struct pollfd pfd;
	int port, bound;

	assert_int_equal(gm_guest_events_open(&events, w->dir, w->domid), 0);
	pfd = (struct pollfd){.fd = gm_guest_events_fd(events), .events = POLLIN};
	port = gm_guest_port_open(events, 0);
	assert_true(port > 0);
	bound = xenevtchn_bind_interdomain(xce, w->domid, (uint32_t)port);
	assert_true(bound > 0);
	assert_int_equal(xenevtchn_pending(xce), bound);
	xenevtchn_unmask(xce, (uint32_t)bound);
	assert_int_equal(xenevtchn_notify(xce, (uint32_t)bound), 0);
	assert_int_equal(guest_event(events), port);
	xenevtchn_notify(xce, (uint32_t)bound); /* kept until the unmask */
	assert_int_equal(poll(&pfd, 1, 0), 0);
	gm_guest_port_unmask(events, (uint32_t)port);
	assert_int_equal(guest_event(events), port);
	assert_int_equal(gm_guest_port_send(events, (uint32_t)port), 0);
	assert_int_equal(xenevtchn_pending(xce), bound);
	assert_int_equal(gm_guest_port_close(events, (uint32_t)bound + 100), -ENOTCONN);
	assert_int_equal(gm_guest_port_close(events, (uint32_t)port), 0);
	assert_true(gm_guest_port_open(events, 0) > 0);
	gm_guest_events_close(events);
	assert_int_equal(stats_of(w, w->domid).ports, 0);
	xenevtchn_close(xce);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
	const struct CMUnitTest tests[] = {
		T(test_notify_both_ways),
		T(test_masked_until_unmask),
		T(test_not_blocking),
		T(test_wrong_ports),
		T(test_bind_checks),
		T(test_close_unbinds_the_peer),
		T(test_ports_run_out),
		T(test_restrict),
		T(test_fdopen),
		T(test_no_event_is_lost),
		T(test_notify_while_rebound),
		T(test_guest_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
