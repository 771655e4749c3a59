/* SPDX-License-Identifier: MIT */
/* The guest library's system on the model: pages, holds, locks, the grant table, devices. */
#include "tests/unit/model/common.h"

#include "guest/os/model.h"

#include <grantio/os.h>

#include <pthread.h>

static struct gio_os *os_open(struct world *w)
{
	struct gio_os *os;

	assert_int_equal(gio_os_model_open(&os, w->guest), 0);
	return os;
}

static void test_pages(void **state)
{
	struct world *w = world_of(state);
	struct gio_os *os = os_open(w);
	size_t total = GUEST_RAM / PAGE;
	uint8_t *a, *b, *c;

	a = gio_os_pages_alloc(os, 3);
	assert_non_null(a);
	assert_int_equal((uintptr_t)a % PAGE, 0);
	assert_true(a > w->ram && a + 3 * PAGE <= w->ram + GUEST_RAM); /* frame 0 is never used */
	assert_int_equal(gio_os_gfn(os, a + PAGE + 5), (a - w->ram) / PAGE + 1);
	memset(a, 0xff, 3 * PAGE);
	assert_int_equal(gio_os_model_pages_used(os), 3);
	gio_os_pages_free(os, a, 3);
	assert_int_equal(gio_os_model_pages_used(os), 0);
	b = gio_os_pages_alloc(os, 3);
	assert_ptr_equal(b, a); /* recycled */
	for (unsigned i = 0; i < 3 * PAGE; i++)
		assert_int_equal(b[i], 0);
	assert_null(gio_os_pages_alloc(os, total));
	assert_null(gio_os_pages_alloc(os, 0));
	assert_null(gio_os_pages_alloc(os, SIZE_MAX));
	c = gio_os_pages_alloc(os, total - 4);
	assert_non_null(c);
	assert_null(gio_os_pages_alloc(os, 1));
	gio_os_pages_free(os, b, 3);
	gio_os_pages_free(os, c, total - 4);
	gio_os_pages_free(os, NULL, 1);
	assert_int_equal(gio_os_model_pages_used(os), 0);
	gio_os_model_close(os);
}

static void test_held_pages_are_not_reused(void **state)
{
	struct world *w = world_of(state);
	struct gio_os *os = os_open(w);
	uint8_t *a = gio_os_pages_alloc(os, 2), *b;
	gio_gfn_t gfn = gio_os_gfn(os, a);

	gio_os_page_get(os, gfn);
	gio_os_page_get(os, gfn);
	gio_os_pages_free(os, a, 2);
	assert_int_equal(gio_os_model_pages_used(os), 1);
	for (int i = 0; i < 2; i++) {
		b = gio_os_pages_alloc(os, 1);
		assert_ptr_not_equal(b, a);
		gio_os_pages_free(os, b, 1);
		gio_os_page_put(os, gfn);
	}
	assert_int_equal(gio_os_model_pages_used(os), 0);
	assert_ptr_equal(gio_os_pages_alloc(os, 1), a);
	gio_os_pages_free(os, a, 1);
	gio_os_model_close(os);
}

static void test_grant_table(void **state)
{
	struct gio_os *os = os_open(world_of(state));
	struct gio_os_grant_table t;
	void *shared;

	assert_int_equal(gio_os_grant_table(os, 0, &t), 0);
	assert_int_equal(t.version, 1);
	assert_int_equal(t.entries, 512);
	assert_int_equal(t.max, 512 * ANY_FRAMES);
	shared = t.shared;
	assert_int_equal(gio_os_grant_table(os, 700, &t), 0);
	assert_int_equal(t.entries, 1024);
	assert_ptr_equal(t.shared, shared);
	assert_int_equal(gio_os_grant_table(os, UINT32_MAX, &t), -GIO_ENOSPC);
	gio_os_model_close(os);
}

static void test_mmio_without_devices(void **state)
{
	struct world *w = world_of(state);
	struct gio_os *os = os_open(w);

	assert_int_equal(gio_os_mmio_read(os, 0x02000000, 4), 0xffffffff);
	assert_int_equal(gio_os_mmio_read(os, 0x02000000, 1), 0xff);
	gio_os_mmio_write(os, 0x02000000, 4, 1);
	assert_int_equal(gm_domain_destroy(w->m, w->domid), 0);
	assert_int_equal(gio_os_mmio_read(os, 0x02000000, 4), 0xffffffff);
	gio_os_model_close(os);
}

/* ---- threads ------------------------------------------------------------------------------------------------ */

struct alloc_thread {
	struct gio_os *os;
	struct gio_lock *lock;
	uint64_t *sum;
	uint32_t wrong;
	uint8_t mark;
};

static void *alloc_main(void *arg)
{
	struct alloc_thread *t = arg;

	for (int i = 0; i < 300; i++) {
		size_t n = (size_t)i % 3 + 1;
		uint8_t *p = gio_os_pages_alloc(t->os, n);
		void *m = gio_os_alloc(t->os, 100);

		if (!p || !m)
			return (void *)1;
		memset(p, t->mark, n * PAGE);
		gio_os_page_get(t->os, gio_os_gfn(t->os, p));
		for (size_t k = 0; k < n * PAGE; k += 512)
			t->wrong += p[k] != t->mark;
		gio_os_pages_free(t->os, p, n);
		gio_os_page_put(t->os, gio_os_gfn(t->os, p));
		gio_os_free(t->os, m, 100);
		gio_os_lock(t->lock);
		(*t->sum)++;
		gio_os_unlock(t->lock);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct gio_os *os = os_open(world_of(state));
	struct alloc_thread t[3];
	struct gio_lock lock;
	pthread_t thread[3];
	uint64_t sum = 0;

	gio_os_lock_init(&lock);
	for (uint8_t i = 0; i < 3; i++) {
		t[i] = (struct alloc_thread){os, &lock, &sum, 0, (uint8_t)(i + 1)};
		assert_int_equal(pthread_create(&thread[i], NULL, alloc_main, &t[i]), 0);
	}
	for (int i = 0; i < 3; i++) {
		void *failed;

		pthread_join(thread[i], &failed);
		assert_null(failed);
		assert_int_equal(t[i].wrong, 0);
	}
	assert_int_equal(sum, 900);
	assert_int_equal(gio_os_model_pages_used(os), 0);
	gio_os_lock_exit(&lock);
	gio_os_model_close(os);
}

/* ---- event channels ---------------------------------------------------------------------------------------------- */

static xenevtchn_handle *events_open(void)
{
	xenevtchn_handle *xce = xenevtchn_open(NULL, 0);

	assert_non_null(xce);
	return xce;
}

/* Domain 0 binds a port of the guest's, and takes the event that comes with it. */
static evtchn_port_t bind(xenevtchn_handle *xce, struct world *w, uint32_t port)
{
	int mine = xenevtchn_bind_interdomain(xce, w->domid, port);

	assert_true(mine > 0);
	assert_int_equal(xenevtchn_pending(xce), mine);
	assert_int_equal(xenevtchn_unmask(xce, (evtchn_port_t)mine), 0);
	return (evtchn_port_t)mine;
}

static void test_ports(void **state)
{
	struct world *w = world_of(state);
	struct gio_os *os = os_open(w);
	xenevtchn_handle *xce = events_open();
	uint32_t a = 0, b = 0, came[4];
	evtchn_port_t to_a, to_b;

	assert_int_equal(gio_os_port_open(os, 0, &a), 0);
	assert_int_equal(gio_os_port_open(os, 0, &b), 0);
	gio_os_port_send(os, a); /* nobody has bound it: lost */
	to_a = bind(xce, w, a);
	to_b = bind(xce, w, b);
	assert_false(gio_os_port_wait(os, a, 0));
	/* One that comes while another port is waited for is kept. */
	xenevtchn_notify(xce, to_b);
	assert_false(gio_os_port_wait(os, a, 1));
	assert_true(gio_os_port_wait(os, b, 0));
	assert_false(gio_os_port_wait(os, b, 0));
	xenevtchn_notify(xce, to_a);
	assert_true(gio_os_port_wait(os, a, LIMIT_MS));
	xenevtchn_notify(xce, to_a);
	xenevtchn_notify(xce, to_b);
	assert_int_equal(gio_os_model_ports_wait(os, came, 4, LIMIT_MS), 2);
	assert_int_equal(came[0] + came[1], a + b);
	assert_int_equal(gio_os_model_ports_wait(os, came, 4, 0), 0);
	gio_os_model_ports_wake(os);
	assert_int_equal(gio_os_model_ports_wait(os, came, 4, -1), -EINTR);
	assert_int_equal(gio_os_model_ports_wait(os, came, 4, 0), 0);
	gio_os_port_send(os, b);
	assert_int_equal(xenevtchn_pending(xce), to_b);
	gio_os_port_close(os, a);
	gio_os_port_close(os, b);
	xenevtchn_close(xce);
	gio_os_model_close(os);
}

#define ROUNDS 500u

struct listener {
	struct gio_os *os;
	uint32_t port;
	uint32_t heard; /* atomic */
	pthread_t thread;
};

static void *listener_main(void *opaque)
{
	struct listener *l = opaque;

	for (unsigned i = 0; i < ROUNDS; i++) {
		if (!gio_os_port_wait(l->os, l->port, LIMIT_MS))
			break;
		__atomic_fetch_add(&l->heard, 1, __ATOMIC_SEQ_CST);
		gio_os_port_send(l->os, l->port); /* the next, please */
	}
	return NULL;
}

/* Several threads wait, each for its own port: whichever reads from the pipe, each hears of its own. */
static void test_ports_of_threads(void **state)
{
	struct world *w = world_of(state);
	struct gio_os *os = os_open(w);
	xenevtchn_handle *xce = events_open();
	struct listener l[3] = {{0}};
	evtchn_port_t to[3];

	for (int i = 0; i < 3; i++) {
		l[i].os = os;
		assert_int_equal(gio_os_port_open(os, 0, &l[i].port), 0);
		to[i] = bind(xce, w, l[i].port);
	}
	for (int i = 0; i < 3; i++) {
		xenevtchn_notify(xce, to[i]);
		assert_int_equal(pthread_create(&l[i].thread, NULL, listener_main, &l[i]), 0);
	}
	for (unsigned i = 0; i < 3 * ROUNDS; i++) {
		int port = xenevtchn_pending(xce);

		assert_true(port > 0);
		xenevtchn_unmask(xce, (evtchn_port_t)port);
		xenevtchn_notify(xce, (evtchn_port_t)port);
	}
	for (int i = 0; i < 3; i++) {
		pthread_join(l[i].thread, NULL);
		assert_int_equal(l[i].heard, ROUNDS);
		gio_os_port_close(os, l[i].port);
	}
	xenevtchn_close(xce);
	gio_os_model_close(os);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
	const struct CMUnitTest tests[] = {
		T(test_pages),
		T(test_held_pages_are_not_reused),
		T(test_grant_table),
		T(test_mmio_without_devices),
		T(test_threads),
		T(test_ports),
		T(test_ports_of_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
