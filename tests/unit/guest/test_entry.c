/* SPDX-License-Identifier: MIT */
/* Grant entries of both versions against the fake's hypervisor. */
#include "tests/unit/guest/fake_os.h"

#include <abi/grant_table.h>
#include <guest/grant/entry.h>

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#if defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZER 1
#endif
#endif
#ifndef THREAD_SANITIZER
#define THREAD_SANITIZER 0
#endif

#define PEER 7
#define REF  9

struct fixture {
	struct gio_os *os;
	struct gio_entries *entries;
	struct gio_os_grant_table table;
	gio_gfn_t gfn;
	void *page;
};

static void fixture_open(struct fixture *f, uint32_t version)
{
	f->os = fake_os_new(&(struct fake_os_config){.version = version});
	assert_int_equal(gio_entries_open(&f->entries, f->os), 0);
	assert_int_equal(gio_os_grant_table(f->os, 0, &f->table), 0);
	f->page = gio_os_pages_alloc(f->os, 1);
	f->gfn = gio_os_gfn(f->os, f->page);
}

static void fixture_close(struct fixture *f)
{
	gio_os_pages_free(f->os, f->page, 1);
	gio_entries_close(f->entries);
	assert_int_equal(fake_os_delete(f->os), 0);
}

/* Every test runs on both versions. */
#define FOR_VERSIONS(v) for (uint32_t v = 1; v <= 2; v++)

static uint16_t flags(const struct fixture *f, gio_gref_t ref)
{
	return f->table.version == 1 ? ((struct gio_grant_entry_v1 *)f->table.shared)[ref].flags
				     : ((union gio_grant_entry_v2 *)f->table.shared)[ref].hdr.flags;
}

static void test_wire_v1(void **state)
{
	struct fixture f;
	struct gio_grant_entry_v1 *e;

	(void)state;
	fixture_open(&f, 1);
	e = &((struct gio_grant_entry_v1 *)f.table.shared)[REF];
	assert_int_equal(gio_entry_set(f.entries, REF, PEER, UINT32_MAX, false), 0);
	assert_int_equal(e->flags, GIO_GTF_PERMIT_ACCESS);
	assert_int_equal(e->domid, PEER);
	assert_int_equal(e->frame, UINT32_MAX);
	assert_int_equal(gio_entry_end(f.entries, REF), 0);
	assert_int_equal(e->flags, 0);
	assert_int_equal(gio_entry_set(f.entries, REF, PEER, UINT64_C(1) << 32, false), -GIO_ERANGE);
	assert_int_equal(e->flags, 0);
	assert_int_equal(e->frame, UINT32_MAX); /* untouched */
	assert_int_equal(gio_entry_set(f.entries, REF, 0x7ff0, 3, true), 0);
	assert_int_equal(e->flags, GIO_GTF_PERMIT_ACCESS | GIO_GTF_READONLY);
	assert_int_equal(e->domid, 0x7ff0);
	assert_int_equal(e[1].flags | e[1].domid | e[1].frame | e[-1].flags | e[-1].domid | e[-1].frame, 0);
	assert_int_equal(gio_entry_revoke(f.entries, REF), 0);
	fixture_close(&f);
}

static void test_wire_v2(void **state)
{
	struct fixture f;
	union gio_grant_entry_v2 *e;

	(void)state;
	fixture_open(&f, 2);
	e = &((union gio_grant_entry_v2 *)f.table.shared)[REF];
	assert_int_equal(gio_entry_set(f.entries, REF, PEER, UINT64_C(0x123456789ab), true), 0);
	assert_int_equal(e->hdr.flags, GIO_GTF_PERMIT_ACCESS | GIO_GTF_READONLY);
	assert_int_equal(e->hdr.domid, PEER);
	assert_true(e->full_page.frame == UINT64_C(0x123456789ab));
	assert_int_equal(f.table.status[REF], 0);
	assert_int_equal(gio_entry_revoke(f.entries, REF), 0);
	assert_int_equal(e->hdr.flags, 0);
	assert_int_equal(e[1].spacer[0] | e[-1].spacer[0], 0);
	fixture_close(&f);
}

static void test_set_checks(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;
		gio_gfn_t got;

		fixture_open(&f, v);
		assert_int_equal(gio_entry_set(f.entries, gio_entries_count(f.entries), PEER, f.gfn, false),
				 -GIO_EINVAL);
		assert_int_equal(gio_entry_set(f.entries, UINT32_MAX, PEER, f.gfn, false), -GIO_EINVAL);
		assert_false(gio_entry_active(f.entries, UINT32_MAX));
		assert_false(gio_entry_active(f.entries, REF));
		assert_int_equal(gio_entry_set(f.entries, REF, PEER, f.gfn, false), 0);
		assert_true(gio_entry_active(f.entries, REF));
		assert_int_equal(gio_entry_set(f.entries, REF, PEER + 1, f.gfn + 1, true), -GIO_EBUSY);
		assert_int_equal(fake_peer_pin(f.os, PEER, REF, true, &got), 0); /* as it was */
		assert_true(got == f.gfn);
		fake_peer_unpin(f.os, REF, true);
		assert_int_equal(gio_entry_end(f.entries, REF), 0);
		assert_int_equal(gio_entry_end(f.entries, REF), 0); /* an inactive one: nothing to do */
		fixture_close(&f);
	}
}

static void test_permissions(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;

		fixture_open(&f, v);
		assert_int_not_equal(fake_peer_pin(f.os, PEER, REF, false, NULL), 0);
		assert_int_equal(gio_entry_set(f.entries, REF, PEER, f.gfn, true), 0);
		assert_int_not_equal(fake_peer_pin(f.os, PEER + 1, REF, false, NULL), 0);
		assert_int_not_equal(fake_peer_pin(f.os, PEER, REF, true, NULL), 0);
		assert_int_equal(fake_peer_pin(f.os, PEER, REF, false, NULL), 0);
		fake_peer_unpin(f.os, REF, false);
		assert_int_equal(gio_entry_end(f.entries, REF), 0);
		assert_int_not_equal(fake_peer_pin(f.os, PEER, REF, false, NULL), 0);
		fixture_close(&f);
	}
}

/* Ending a grant in use changes nothing: the peer may begin further uses. Reading or writing alike. */
static void test_end_in_use(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	for (unsigned write = 0; write < 2; write++) {
		struct fixture f;
		uint16_t before;

		fixture_open(&f, v);
		assert_int_equal(gio_entry_set(f.entries, REF, PEER, f.gfn, false), 0);
		assert_int_equal(fake_peer_pin(f.os, PEER, REF, write, NULL), 0);
		before = flags(&f, REF);
		assert_int_equal(gio_entry_end(f.entries, REF), -GIO_EAGAIN);
		assert_int_equal(flags(&f, REF), before);
		assert_int_equal(fake_peer_pin(f.os, PEER, REF, true, NULL), 0);
		fake_peer_unpin(f.os, REF, write);
		assert_int_equal(gio_entry_end(f.entries, REF), -GIO_EAGAIN);
		fake_peer_unpin(f.os, REF, true);
		assert_int_equal(gio_entry_end(f.entries, REF), 0);
		assert_false(gio_entry_active(f.entries, REF));
		fixture_close(&f);
	}
}

/* Revoking a grant in use: version 2 closes it at once, version 1 cannot; both end when the peer lets go. */
static void test_revoke_in_use(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;

		fixture_open(&f, v);
		assert_int_equal(gio_entry_set(f.entries, REF, PEER, f.gfn, false), 0);
		assert_int_equal(fake_peer_pin(f.os, PEER, REF, false, NULL), 0);
		assert_int_equal(gio_entry_revoke(f.entries, REF), -GIO_EAGAIN);
		assert_int_equal(gio_entry_active(f.entries, REF), v == 1);
		/* A write needs a new mark, and so a look at flags. */
		assert_int_equal(fake_peer_pin(f.os, PEER, REF, true, NULL), v == 1 ? 0 : GIO_GNTST_GENERAL_ERROR);
		if (v == 1)
			fake_peer_unpin(f.os, REF, true);
		assert_int_equal(gio_entry_revoke(f.entries, REF), -GIO_EAGAIN);
		fake_peer_unpin(f.os, REF, false);
		assert_int_equal(fake_peer_pin(f.os, PEER, REF, false, NULL), v == 1 ? 0 : GIO_GNTST_GENERAL_ERROR);
		if (v == 1)
			fake_peer_unpin(f.os, REF, false);
		assert_int_equal(gio_entry_revoke(f.entries, REF), 0);
		assert_int_not_equal(fake_peer_pin(f.os, PEER, REF, false, NULL), 0);
		fixture_close(&f);
	}
}

struct window {
	struct gio_entries *entries;
	int (*end)(struct gio_entries *entries, gio_gref_t ref);
	int ret;
	unsigned calls;
};

static void end_in_window(struct gio_os *os, gio_gref_t ref, void *opaque)
{
	struct window *w = opaque;

	(void)os;
	if (w->calls++ == 0)
		w->ret = w->end(w->entries, ref);
}

/*
 * The guest ends a grant while the hypervisor is between its two steps. Never may both succeed. In version 1 the guest
 * wins (its exchange comes first); in version 2 the mark of use is there, so the guest has to leave it, and whether the
 * hypervisor goes on depends on flags being restored (end) or not (revoke).
 */
static void test_window(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	for (unsigned revoke = 0; revoke < 2; revoke++) {
		struct fixture f;
		struct window w = {.end = revoke ? gio_entry_revoke : gio_entry_end};
		int pin;

		fixture_open(&f, v);
		w.entries = f.entries;
		assert_int_equal(gio_entry_set(f.entries, REF, PEER, f.gfn, false), 0);
		fake_peer_hook(f.os, end_in_window, &w);
		pin = fake_peer_pin(f.os, PEER, REF, true, NULL);
		fake_peer_hook(f.os, NULL, NULL);
		assert_int_equal(w.ret, v == 1 ? 0 : -GIO_EAGAIN);
		assert_int_equal(pin == 0, v == 2 && !revoke);
		if (!pin)
			fake_peer_unpin(f.os, REF, true);
		assert_int_equal(gio_entry_revoke(f.entries, REF), 0);
		if (v == 2)
			assert_int_equal(f.table.status[REF], 0);
		fixture_close(&f);
	}
}

/* Ended, and given to another page, while the hypervisor has looked once: what it gets is the new grant, whole. */
struct reuse {
	struct fixture *f;
	gio_gfn_t gfn;
	gio_domid_t domid;
	int ended;
	bool done;
};

static void reuse_in_window(struct gio_os *os, gio_gref_t ref, void *opaque)
{
	struct reuse *r = opaque;

	(void)os;
	if (r->done)
		return;
	r->done = true;
	r->ended = gio_entry_revoke(r->f->entries, ref);
	if (!r->ended)
		assert_int_equal(gio_entry_set(r->f->entries, ref, r->domid, r->gfn, true), 0);
}

static void test_reuse_in_window(void **state)
{
	(void)state;
	for (unsigned other = 0; other < 2; other++) {
		struct fixture f;
		struct reuse r = {.f = &f, .gfn = 0x777, .domid = (gio_domid_t)(PEER + other)};
		gio_gfn_t got = 0;

		fixture_open(&f, 1);
		assert_int_equal(gio_entry_set(f.entries, REF, PEER, f.gfn, false), 0);
		fake_peer_hook(f.os, reuse_in_window, &r);
		/* The new grant is read-only: the exchange failed, and the second look must find that. */
		assert_int_not_equal(fake_peer_pin(f.os, PEER, REF, true, &got), 0);
		assert_int_equal(r.ended, 0);
		fake_peer_hook(f.os, NULL, NULL);
		assert_int_equal(fake_peer_pin(f.os, PEER, REF, false, &got) == 0, !other);
		if (!other) {
			assert_true(got == 0x777);
			fake_peer_unpin(f.os, REF, false);
		}
		assert_int_equal(gio_entry_revoke(f.entries, REF), 0);
		fixture_close(&f);
	}
}

/*
 * The other way round: the hypervisor takes the entry into use just before the guest's write of flags, after whatever
 * the guest looked at before. The table is write-protected, and the fault handler plays the hypervisor.
 */
static struct {
	struct gio_os *os;
	struct gio_os_grant_table table;
	int pin;
	unsigned faults;
} trap;

static void table_protect(int prot)
{
	size_t bytes = (size_t)trap.table.max * (trap.table.version == 1 ? 8 : 16);

	if (mprotect(trap.table.shared, bytes, prot))
		abort();
}

static void pin_at_fault(int sig)
{
	(void)sig;
	if (trap.faults++)
		abort(); /* not the write that was waited for */
	table_protect(PROT_READ | PROT_WRITE);
	trap.pin = fake_peer_pin(trap.os, PEER, REF, true, NULL);
}

static int end_trapped(struct fixture *f, int (*end)(struct gio_entries *entries, gio_gref_t ref))
{
	struct sigaction handle = {.sa_handler = pin_at_fault}, before;
	int ret;

	trap.os = f->os;
	trap.table = f->table;
	trap.faults = 0;
	assert_int_equal(sigaction(SIGSEGV, &handle, &before), 0);
	table_protect(PROT_READ);
	ret = end(f->entries, REF);
	table_protect(PROT_READ | PROT_WRITE);
	assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
	return ret;
}

static void test_window_of_guest(void **state)
{
	(void)state;
	if (THREAD_SANITIZER)
		skip(); /* its runtime does the guest's write, under a lock that the handler's own accesses need */
	FOR_VERSIONS(v)
	for (unsigned revoke = 0; revoke < 2; revoke++) {
		struct fixture f;

		fixture_open(&f, v);
		assert_int_equal(gio_entry_set(f.entries, REF, PEER, f.gfn, false), 0);
		assert_int_equal(end_trapped(&f, revoke ? gio_entry_revoke : gio_entry_end), -GIO_EAGAIN);
		assert_int_equal(trap.faults, 1);
		assert_int_equal(trap.pin, 0);
		/* Ending leaves it active, as does revoking in version 1. */
		assert_int_equal(gio_entry_active(f.entries, REF), !(v == 2 && revoke));
		/* In use already: ending does not even write. */
		if (!revoke) {
			assert_int_equal(end_trapped(&f, gio_entry_end), -GIO_EAGAIN);
			assert_int_equal(trap.faults, 0);
		}
		fake_peer_unpin(f.os, REF, true);
		assert_int_equal(gio_entry_revoke(f.entries, REF), 0);
		fixture_close(&f);
	}
}

/* The word changes under every try (a peer at work all the time): bounded, called in use, nothing lost. */
struct flicker {
	struct fixture *f;
	bool stop;
	unsigned long pins;
};

static void *flicker_run(void *arg)
{
	struct flicker *k = arg;

	while (!__atomic_load_n(&k->stop, __ATOMIC_ACQUIRE)) {
		bool write = k->pins & 1;

		if (fake_peer_pin(k->f->os, PEER, REF, write, NULL))
			continue;
		/* The page is the peer's until it unpins: the guest's canary (below) must not appear. */
		if (write)
			__atomic_store_n((char *)k->f->page, 'p', __ATOMIC_RELAXED);
		if (__atomic_load_n((char *)k->f->page, __ATOMIC_RELAXED) == 'g')
			__atomic_store_n((char *)k->f->page + 1, '!', __ATOMIC_RELAXED);
		__atomic_store_n(&k->pins, k->pins + 1, __ATOMIC_RELAXED);
		fake_peer_unpin(k->f->os, REF, write);
	}
	return NULL;
}

/*
 * A peer pins and unpins without pause while the guest grants and ends. Whenever ending says 0 the page is the guest's
 * alone: no use may be under way or begin.
 */
static void test_concurrent_peer(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;
		struct flicker k = {.f = &f};
		pthread_t thread;
		unsigned ended = 0, busy = 0;

		fixture_open(&f, v);
		assert_int_equal(pthread_create(&thread, NULL, flicker_run, &k), 0);
		while (ended < 3000 || __atomic_load_n(&k.pins, __ATOMIC_RELAXED) < 2000) {
			bool revoke = ended & 1;

			__atomic_store_n((char *)f.page, 0, __ATOMIC_RELAXED);
			assert_int_equal(gio_entry_set(f.entries, REF, PEER, f.gfn, false), 0);
			while ((revoke ? gio_entry_revoke : gio_entry_end)(f.entries, REF)) {
				busy++;
				if (busy > 100000000u)
					fail_msg("the peer never let go");
			}
			__atomic_store_n((char *)f.page, 'g', __ATOMIC_RELAXED);
			for (unsigned i = 0; i < 20; i++)
				assert_int_equal(__atomic_load_n((char *)f.page, __ATOMIC_RELAXED), 'g');
			ended++;
		}
		__atomic_store_n(&k.stop, true, __ATOMIC_RELEASE);
		pthread_join(thread, NULL);
		assert_int_not_equal(((char *)f.page)[1], '!');
		fixture_close(&f);
	}
}

static void test_growth(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;
		struct gio_entries_range a, b;
		uint32_t per = v == 1 ? 512 : 256;

		fixture_open(&f, v);
		assert_int_equal(gio_entries_count(f.entries), per);
		assert_int_equal(gio_entries_max(f.entries), 4 * per);
		assert_int_equal(gio_entry_set(f.entries, per, PEER, f.gfn, false), -GIO_EINVAL);
		/* Two at once: the one that claims first gets it, the other finds the rest. */
		assert_int_equal(gio_entries_grow(f.entries, 0, 1, &a), 0);
		assert_int_equal(gio_entries_grow(f.entries, 10, per + 11, &b), 0);
		assert_int_equal(a.count, per);
		assert_int_equal(b.count, 2 * per); /* 10 of those asked for are there */
		gio_entries_claim(f.entries, &a);
		gio_entries_claim(f.entries, &b);
		assert_int_equal(a.first, per);
		assert_int_equal(a.count, per);
		assert_int_equal(b.first, 2 * per);
		assert_int_equal(b.count, per);
		gio_entries_claim(f.entries, &a);
		assert_int_equal(a.count, 0);
		assert_int_equal(gio_entry_set(f.entries, 3 * per - 1, PEER, f.gfn, false), 0);
		assert_int_equal(gio_entry_revoke(f.entries, 3 * per - 1), 0);
		assert_int_equal(gio_entries_grow(f.entries, 0, per + 1, &a), -GIO_ENOSPC);
		assert_int_equal(gio_entries_grow(f.entries, 0, UINT32_MAX, &a), -GIO_ENOSPC);
		fake_os_fail(f.os, FAKE_GROW, 1);
		assert_int_equal(gio_entries_grow(f.entries, 0, per, &a), -GIO_ENOMEM);
		assert_int_equal(gio_entries_grow(f.entries, 0, per, &a), 0);
		gio_entries_claim(f.entries, &a);
		assert_int_equal(gio_entries_count(f.entries), 4 * per);
		assert_int_equal(gio_entries_grow(f.entries, 0, 1, &a), -GIO_ENOSPC);
		fixture_close(&f);
	}
}

/* Entries side by side: each gets its frame, and a run ends at the first one in use, which has the rest left as it was.
 */
static void test_runs(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;
		uint32_t count, held = REF + 5;
		gio_gfn_t gfns[8], gfn;

		fixture_open(&f, v);
		count = gio_entries_count(f.entries);
		for (unsigned i = 0; i < 8; i++)
			gfns[i] = f.gfn + 2 * i;
		assert_int_equal(gio_entries_set(f.entries, count - 7, 8, PEER, gfns, false), -GIO_EINVAL);
		assert_int_equal(gio_entries_set(f.entries, REF, UINT32_MAX, PEER, gfns, false), -GIO_EINVAL);
		assert_int_equal(gio_entries_set(f.entries, REF, 8, PEER, gfns, true), 0);
		for (unsigned i = 0; i < 8; i++)
			assert_int_equal(gio_entry_gfn(f.entries, REF + i), gfns[i]);
		assert_int_equal(fake_peer_pin(f.os, PEER, held, false, &gfn), 0);
		assert_int_equal(gfn, gfns[5]);
		assert_int_equal(gio_entries_set(f.entries, REF + 6, 2, PEER, gfns, true), -GIO_EBUSY);
		assert_int_equal(gio_entries_revoke(f.entries, REF, 8), 5);
		assert_false(gio_entry_active(f.entries, REF + 4));
		assert_true(gio_entry_active(f.entries, REF + 6));
		assert_int_equal(gio_entry_gfn(f.entries, held), gfns[5]);
		assert_int_equal(gio_entries_revoke(f.entries, REF + 6, 2), 2);
		fake_peer_unpin(f.os, held, false);
		assert_int_equal(gio_entries_revoke(f.entries, REF, 8), 8);
		/* One that is active stops a run that is to be set; those before it are. */
		assert_int_equal(gio_entry_set(f.entries, REF + 2, PEER, f.gfn, false), 0);
		assert_int_equal(gio_entries_set(f.entries, REF, 4, PEER, gfns, false), -GIO_EBUSY);
		assert_true(gio_entry_active(f.entries, REF + 1));
		assert_false(gio_entry_active(f.entries, REF + 3));
		assert_int_equal(gio_entries_revoke(f.entries, REF, 4), 4);
		fixture_close(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wire_v1),		cmocka_unit_test(test_wire_v2),
		cmocka_unit_test(test_set_checks),	cmocka_unit_test(test_permissions),
		cmocka_unit_test(test_end_in_use),	cmocka_unit_test(test_revoke_in_use),
		cmocka_unit_test(test_window),		cmocka_unit_test(test_reuse_in_window),
		cmocka_unit_test(test_window_of_guest), cmocka_unit_test(test_concurrent_peer),
		cmocka_unit_test(test_growth),		cmocka_unit_test(test_runs),
	};

	return cmocka_run_group_tests_name("entry", tests, NULL, NULL);
}
