/* SPDX-License-Identifier: MIT */
#include "tests/unit/guest/fake_os.h"

#include <grantio/grant.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define PEER		7
#define FOR_VERSIONS(v) for (uint32_t v = 1; v <= 2; v++)

struct fixture {
	struct gio_os *os;
	struct gio_grants *grants;
	uint32_t per; /* entries per frame of table */
};

static void fixture_open(struct fixture *f, uint32_t version)
{
	f->os = fake_os_new(&(struct fake_os_config){.version = version});
	f->per = version == 1 ? 512 : 256;
	assert_int_equal(gio_grants_open(&f->grants, f->os, 8), 0);
}

static struct gio_grants_stats stats(const struct fixture *f)
{
	struct gio_grants_stats s;

	gio_grants_stats(f->grants, &s);
	return s;
}

/* The leak oracle, after every test. */
static void fixture_close(struct fixture *f)
{
	assert_int_equal(stats(f).used, 0);
	assert_int_equal(stats(f).quarantined, 0);
	assert_int_equal(gio_grants_close(f->grants), 0);
	assert_int_equal(fake_os_delete(f->os), 0);
}

/* A granted run over fresh pages. */
struct granted {
	gio_gref_t first;
	uint32_t count;
	char *va;
};

static struct granted grant(const struct fixture *f, uint32_t count)
{
	struct granted g = {.count = count, .va = gio_os_pages_alloc(f->os, count)};

	assert_non_null(g.va);
	assert_int_equal(gio_grants_alloc(f->grants, count, &g.first), 0);
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(gio_grant_access(f->grants, g.first + i, PEER,
						  gio_os_gfn(f->os, g.va + i * GIO_PAGE_SIZE), false),
				 0);
	return g;
}

static void test_init(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;
		gio_gref_t ref;

		fixture_open(&f, v);
		assert_int_equal(stats(&f).entries, f.per - 8);
		assert_int_equal(gio_grants_alloc(f.grants, 0, &ref), -GIO_EINVAL);
		assert_int_equal(gio_grants_alloc(f.grants, 1, &ref), 0);
		assert_true(ref >= 8);
		gio_grants_free(f.grants, ref, 1);
		fixture_close(&f);
	}
	assert_int_equal(gio_grants_close(NULL), 0);
}

/* The reserved entries may be more than there are; they are nobody's. */
static void test_init_all_reserved(void **state)
{
	struct fixture f = {.os = fake_os_new(NULL)};
	gio_gref_t ref;

	(void)state;
	assert_int_equal(gio_grants_open(&f.grants, f.os, 512), 0);
	assert_int_equal(stats(&f).entries, 0);
	assert_int_equal(gio_grants_alloc(f.grants, 3, &ref), 0);
	assert_int_equal(ref, 512);
	gio_grants_free(f.grants, ref, 3);
	fixture_close(&f);
}

/*
 * A table that a system before us left: what its backend still uses is not handed out, nor is the page, until it is let
 * go; what nobody uses is ours at once.
 */
static void test_init_of_a_left_table(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct gio_grants *before;
		struct granted g;
		struct fixture f;
		gio_gref_t refs[3], ref;

		fixture_open(&f, v);
		before = f.grants;
		g = grant(&f, 4);
		assert_int_equal(fake_peer_pin(f.os, PEER, g.first + 1, true, NULL), 0);
		assert_int_equal(fake_peer_pin(f.os, PEER, g.first + 2, false, NULL), 0);
		assert_int_equal(gio_grants_open(&f.grants, f.os, 8), 0); /* as one that never heard of `before` */
		assert_int_equal(stats(&f).quarantined, 2);
		assert_int_equal(fake_os_page_holds(f.os, gio_os_gfn(f.os, g.va + GIO_PAGE_SIZE)), 1);
		for (int i = 0; i < 3; i++) {
			assert_int_equal(gio_grants_alloc(f.grants, 1, &refs[i]), 0);
			assert_true(refs[i] != g.first + 1 && refs[i] != g.first + 2);
			assert_int_equal(gio_grant_access(f.grants, refs[i], PEER, gio_os_gfn(f.os, g.va), false), 0);
		}
		assert_int_equal(gio_grants_alloc(f.grants, f.per - 8 - 2 - 3, &ref), 0); /* beyond them: grown */
		gio_grants_free(f.grants, ref, f.per - 8 - 2 - 3);
		for (int i = 0; i < 3; i++)
			assert_int_equal(gio_grants_revoke(f.grants, refs[i], 1), 0);
		fake_peer_unpin(f.os, g.first + 1, true);
		fake_peer_unpin(f.os, g.first + 2, false);
		assert_int_equal(gio_grants_reap(f.grants), 0);
		gio_os_pages_free(f.os, g.va, 4);
		gio_grants_close(before);
		fixture_close(&f);
	}
}

static void test_init_faults(void **state)
{
	unsigned n = 0;
	int ret;

	(void)state;
	do {
		struct gio_os *os = fake_os_new(NULL);
		struct gio_grants *grants;

		fake_os_fail(os, FAKE_ANY, ++n);
		ret = gio_grants_open(&grants, os, 8);
		assert_int_equal(ret, fake_os_struck(os, FAKE_ANY) ? -GIO_ENOMEM : 0);
		if (!ret)
			assert_int_equal(gio_grants_close(grants), 0);
		assert_int_equal(fake_os_delete(os), 0);
	} while (ret && n < 100);
	assert_in_range(n, 4, 99);
}

/* The table grows when it must, by what it must, up to the limit; then nothing changes any more. */
static void test_growth_and_limit(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;
		struct fake_os_counts c;
		gio_gref_t a, b, none;
		uint32_t all;

		fixture_open(&f, v);
		assert_int_equal(gio_grants_alloc(f.grants, f.per - 8, &a), 0);
		fake_os_count(f.os, &c);
		assert_int_equal(c.grows, 0);
		assert_int_equal(gio_grants_alloc(f.grants, 1, &b), 0);
		fake_os_count(f.os, &c);
		assert_int_equal(c.grows, 1);
		assert_int_equal(c.entries, 2 * f.per);
		gio_grants_free(f.grants, b, 1);
		/* A longer run uses the free end of the table, and grows by the rest. */
		assert_int_equal(gio_grants_alloc(f.grants, 2 * f.per, &b), 0);
		assert_int_equal(b, f.per);
		fake_os_count(f.os, &c);
		assert_int_equal(c.entries, 3 * f.per);
		assert_int_equal(gio_grants_alloc(f.grants, f.per + 1, &none), -GIO_ENOSPC);
		fake_os_count(f.os, &c);
		assert_int_equal(c.entries, 3 * f.per); /* did not grow in vain */
		gio_grants_free(f.grants, a, f.per - 8);
		gio_grants_free(f.grants, b, 2 * f.per);
		all = 4 * f.per - 8;
		assert_int_equal(gio_grants_alloc(f.grants, all + 1, &none), -GIO_ENOSPC);
		assert_int_equal(gio_grants_alloc(f.grants, UINT32_MAX, &none), -GIO_ENOSPC);
		assert_int_equal(gio_grants_alloc(f.grants, all, &a), 0);
		assert_int_equal(a, 8);
		assert_int_equal(gio_grants_alloc(f.grants, 1, &none), -GIO_ENOSPC);
		assert_int_equal(stats(&f).used, all);
		gio_grants_free(f.grants, a, all);
		assert_int_equal(stats(&f).misuses, 0);
		fixture_close(&f);
	}
}

static void test_growth_faults(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		unsigned n = 0;
		int ret;

		do {
			struct fixture f;
			struct gio_grants_stats before, after;
			gio_gref_t a, b;

			fixture_open(&f, v);
			assert_int_equal(gio_grants_alloc(f.grants, 100, &a), 0);
			before = stats(&f);
			fake_os_fail(f.os, FAKE_ANY, ++n);
			ret = gio_grants_alloc(f.grants, 3 * f.per, &b);
			assert_int_equal(ret, fake_os_struck(f.os, FAKE_ANY) ? -GIO_ENOMEM : 0);
			if (ret) {
				after = stats(&f);
				assert_memory_equal(&before, &after, sizeof(before));
				assert_int_equal(gio_grants_alloc(f.grants, 3 * f.per, &b), 0);
			}
			gio_grants_free(f.grants, b, 3 * f.per);
			gio_grants_free(f.grants, a, 100);
			assert_int_equal(stats(&f).misuses, 0);
			fixture_close(&f);
		} while (ret && n < 100);
		assert_in_range(n, 3, 99);
	}
}

static void test_access_checks(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;
		gio_gref_t ref;

		fixture_open(&f, v);
		assert_int_equal(gio_grants_alloc(f.grants, 2, &ref), 0);
		assert_int_equal(gio_grant_access(f.grants, 0, PEER, 1, false), -GIO_EINVAL);	    /* reserved */
		assert_int_equal(gio_grant_access(f.grants, ref + 2, PEER, 1, false), -GIO_EINVAL); /* free */
		assert_int_equal(gio_grant_access(f.grants, UINT32_MAX, PEER, 1, false), -GIO_EINVAL);
		assert_int_equal(gio_grant_end(f.grants, 3), -GIO_EINVAL);
		assert_int_equal(gio_grant_end(f.grants, 4 * f.per), -GIO_EINVAL);
		assert_int_equal(gio_grant_access(f.grants, ref, PEER, UINT64_C(1) << 40, false),
				 v == 1 ? -GIO_ERANGE : 0);
		assert_int_equal(gio_grant_access(f.grants, ref + 1, PEER, 1, false), 0);
		assert_int_equal(gio_grant_access(f.grants, ref + 1, PEER, 2, false), -GIO_EBUSY);
		assert_int_equal(gio_grant_end(f.grants, ref + 1), 0);
		assert_int_equal(gio_grant_access(f.grants, ref + 1, PEER, 2, false), 0);
		assert_int_equal(gio_grants_revoke(f.grants, ref, 2), 0);
		fixture_close(&f);
	}
}

static void test_end(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;
		struct granted g;

		fixture_open(&f, v);
		g = grant(&f, 2);
		assert_int_equal(fake_peer_pin(f.os, PEER, g.first, true, NULL), 0);
		assert_int_equal(gio_grant_end(f.grants, g.first), -GIO_EAGAIN);
		assert_int_equal(fake_peer_pin(f.os, PEER, g.first, true, NULL), 0); /* still active */
		assert_int_equal(gio_grant_end(f.grants, g.first + 1), 0);
		assert_int_not_equal(fake_peer_pin(f.os, PEER, g.first + 1, true, NULL), 0);
		assert_int_equal(stats(&f).used, 2); /* ending frees nothing */
		fake_peer_unpin(f.os, g.first, true);
		fake_peer_unpin(f.os, g.first, true);
		assert_int_equal(gio_grant_end(f.grants, g.first), 0);
		gio_grants_free(f.grants, g.first, 2);
		assert_int_equal(stats(&f).misuses, 0);
		gio_os_pages_free(f.os, g.va, 2);
		fixture_close(&f);
	}
}

/* Callers' errors: counted, refused, and nothing changes. */
static void test_misuse(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;
		struct granted g;
		gio_gref_t b;

		fixture_open(&f, v);
		g = grant(&f, 4);
		assert_int_equal(gio_grants_alloc(f.grants, 4, &b), 0);
		gio_grants_free(f.grants, g.first, 4); /* active */
		assert_int_equal(stats(&f).misuses, 1);
		gio_grants_free(f.grants, g.first, 3);
		gio_grants_free(f.grants, g.first + 1, 3);
		gio_grants_free(f.grants, g.first, 8);
		gio_grants_free(f.grants, 0, 1);
		gio_grants_free(f.grants, UINT32_MAX, 1);
		assert_int_equal(stats(&f).misuses, 6);
		assert_int_equal(gio_grants_revoke(f.grants, g.first, 5), -GIO_EINVAL);
		assert_int_equal(gio_grants_revoke(f.grants, g.first, 0), -GIO_EINVAL);
		assert_int_equal(stats(&f).misuses, 8);
		assert_int_equal(stats(&f).used, 8);
		assert_int_equal(fake_peer_pin(f.os, PEER, g.first + 3, true, NULL), 0); /* all still granted */
		fake_peer_unpin(f.os, g.first + 3, true);
		assert_int_equal(gio_grants_revoke(f.grants, g.first, 4), 0);
		assert_int_equal(gio_grants_revoke(f.grants, g.first, 4), -GIO_EINVAL);
		gio_grants_free(f.grants, b, 4);
		gio_grants_free(f.grants, b, 4);
		assert_int_equal(stats(&f).misuses, 10);
		gio_os_pages_free(f.os, g.va, 4);
		fixture_close(&f);
	}
}

/* Every subset of a run of 5 held by the peer: the rest is free at once, the held ones later, pages kept until then. */
static void test_quarantine_subsets(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	for (unsigned held = 0; held < 32; held++) {
		struct fixture f;
		struct granted g;
		struct fake_os_counts c;
		gio_gref_t all;

		fixture_open(&f, v);
		g = grant(&f, 5);
		for (uint32_t i = 0; i < 5; i++)
			if (held >> i & 1)
				assert_int_equal(fake_peer_pin(f.os, PEER, g.first + i, i & 1, NULL), 0);
		assert_int_equal(gio_grants_revoke(f.grants, g.first, 5), __builtin_popcount(held));
		assert_int_equal(stats(&f).used, __builtin_popcount(held));
		assert_int_equal(stats(&f).quarantined, __builtin_popcount(held));
		gio_os_pages_free(f.os, g.va, 5);
		for (uint32_t i = 0; i < 5; i++) {
			assert_int_equal(fake_os_page_used(f.os, gio_os_gfn(f.os, g.va + i * GIO_PAGE_SIZE)),
					 held >> i & 1);
			gio_grants_free(f.grants, g.first + i, 1); /* nobody's: refused */
		}
		assert_int_equal(gio_grants_reap(f.grants), __builtin_popcount(held));
		for (uint32_t i = 0; i < 5; i++) {
			if (!(held >> i & 1))
				continue;
			fake_peer_unpin(f.os, g.first + i, i & 1);
			assert_int_equal(gio_grants_reap(f.grants), __builtin_popcount(held >> (i + 1)));
			assert_false(fake_os_page_used(f.os, gio_os_gfn(f.os, g.va + i * GIO_PAGE_SIZE)));
		}
		fake_os_count(f.os, &c);
		assert_int_equal(c.pages + c.holds + c.active, 0);
		assert_int_equal(gio_grants_alloc(f.grants, f.per - 8, &all), 0); /* in one piece again */
		gio_grants_free(f.grants, all, f.per - 8);
		fixture_close(&f);
	}
}

/* Two grants of one page, both held: the page stays until the second has ended. */
static void test_quarantine_same_page(void **state)
{
	struct fixture f;
	gio_gref_t first;
	void *page;
	gio_gfn_t gfn;

	(void)state;
	fixture_open(&f, 1);
	page = gio_os_pages_alloc(f.os, 1);
	gfn = gio_os_gfn(f.os, page);
	assert_int_equal(gio_grants_alloc(f.grants, 2, &first), 0);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(gio_grant_access(f.grants, first + i, PEER, gfn, true), 0);
		assert_int_equal(fake_peer_pin(f.os, PEER, first + i, false, NULL), 0);
	}
	assert_int_equal(gio_grants_revoke(f.grants, first, 2), 2);
	gio_os_pages_free(f.os, page, 1);
	assert_int_equal(fake_os_page_holds(f.os, gfn), 2);
	fake_peer_unpin(f.os, first, false);
	assert_int_equal(gio_grants_reap(f.grants), 1);
	assert_true(fake_os_page_used(f.os, gfn));
	fake_peer_unpin(f.os, first + 1, false);
	assert_int_equal(gio_grants_reap(f.grants), 0);
	assert_false(fake_os_page_used(f.os, gfn));
	fixture_close(&f);
}

/* The quarantine drains by itself: some at each later allocation and revocation, in the order in which they came. */
static void test_quarantine_drains_aside(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;
		struct granted g;
		uint32_t left = 20;

		fixture_open(&f, v);
		g = grant(&f, 20);
		for (uint32_t i = 0; i < 20; i++)
			assert_int_equal(fake_peer_pin(f.os, PEER, g.first + i, false, NULL), 0);
		assert_int_equal(gio_grants_revoke(f.grants, g.first, 20), 20);
		gio_os_pages_free(f.os, g.va, 20);
		for (uint32_t i = 0; i < 20; i++)
			fake_peer_unpin(f.os, g.first + i, false);
		for (unsigned round = 0; left; round++) {
			gio_gref_t ref;

			assert_in_range(round, 0, 9);
			assert_int_equal(gio_grants_alloc(f.grants, 1, &ref), 0);
			assert_in_range(stats(&f).quarantined, 0, left - 1);
			left = stats(&f).quarantined;
			assert_int_equal(gio_grants_revoke(f.grants, ref, 1), 0);
			if (left)
				assert_in_range(stats(&f).quarantined, 0, left - 1);
			left = stats(&f).quarantined;
		}
		fixture_close(&f);
	}
}

/* A long quarantine: one call tries a bounded number, those still held go to the end and do not bar the others. */
static void test_quarantine_bounded(void **state)
{
	struct fixture f;
	struct granted g;
	unsigned calls = 0;

	(void)state;
	fixture_open(&f, 1);
	g = grant(&f, 200);
	for (uint32_t i = 0; i < 200; i++)
		assert_int_equal(fake_peer_pin(f.os, PEER, g.first + i, false, NULL), 0);
	assert_int_equal(gio_grants_revoke(f.grants, g.first, 200), 200);
	gio_os_pages_free(f.os, g.va, 200);
	for (uint32_t i = 100; i < 200; i++)
		fake_peer_unpin(f.os, g.first + i, false);
	assert_int_equal(gio_grants_reap(f.grants), 200); /* the first 64 are held */
	while (gio_grants_reap(f.grants) > 100)
		assert_in_range(++calls, 1, 3);
	for (uint32_t i = 0; i < 100; i++)
		fake_peer_unpin(f.os, g.first + i, false);
	assert_int_equal(gio_grants_reap(f.grants), 36);
	assert_int_equal(gio_grants_reap(f.grants), 0);
	fixture_close(&f);
}

/* At the limit, an allocation looks into the quarantine before it gives up. */
static void test_quarantine_feeds_allocation(void **state)
{
	struct fixture f;
	struct granted g;
	gio_gref_t rest, again;

	(void)state;
	fixture_open(&f, 1);
	g = grant(&f, 40);
	for (uint32_t i = 0; i < 40; i++)
		assert_int_equal(fake_peer_pin(f.os, PEER, g.first + i, false, NULL), 0);
	assert_int_equal(gio_grants_revoke(f.grants, g.first, 40), 40);
	gio_os_pages_free(f.os, g.va, 40);
	assert_int_equal(gio_grants_alloc(f.grants, 4 * f.per - 8 - 40, &rest), 0);
	assert_int_equal(gio_grants_alloc(f.grants, 40, &again), -GIO_ENOSPC);
	for (uint32_t i = 0; i < 40; i++)
		fake_peer_unpin(f.os, g.first + i, false);
	assert_int_equal(gio_grants_alloc(f.grants, 40, &again), 0);
	assert_int_equal(again, g.first);
	gio_grants_free(f.grants, again, 40);
	gio_grants_free(f.grants, rest, 4 * f.per - 8 - 40);
	fixture_close(&f);
}

/* Exit ends what it can, also what callers left; what the peer holds stays, and so does its page. */
static void test_exit_with_held(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;
		struct granted left, gone, free_soon;
		unsigned found;

		fixture_open(&f, v);
		left = grant(&f, 3);	  /* never revoked */
		gone = grant(&f, 2);	  /* revoked, one held */
		free_soon = grant(&f, 1); /* revoked, let go before exit */
		assert_int_equal(fake_peer_pin(f.os, PEER, left.first + 1, true, NULL), 0);
		assert_int_equal(fake_peer_pin(f.os, PEER, gone.first, false, NULL), 0);
		assert_int_equal(fake_peer_pin(f.os, PEER, free_soon.first, false, NULL), 0);
		assert_int_equal(gio_grants_revoke(f.grants, gone.first, 2), 1);
		assert_int_equal(gio_grants_revoke(f.grants, free_soon.first, 1), 1);
		fake_peer_unpin(f.os, free_soon.first, false);
		assert_int_equal(gio_grants_close(f.grants), 2);
		gio_os_pages_free(f.os, left.va, 3);
		gio_os_pages_free(f.os, gone.va, 2);
		gio_os_pages_free(f.os, free_soon.va, 1);
		assert_true(fake_os_page_used(f.os, gio_os_gfn(f.os, left.va + GIO_PAGE_SIZE)));
		assert_true(fake_os_page_used(f.os, gio_os_gfn(f.os, gone.va)));
		assert_false(fake_os_page_used(f.os, gio_os_gfn(f.os, left.va)));
		assert_false(fake_os_page_used(f.os, gio_os_gfn(f.os, free_soon.va)));
		fake_peer_unpin(f.os, left.first + 1, true);
		fake_peer_unpin(f.os, gone.first, false);
		found = fake_os_delete(
			f.os); /* the oracle sees the pages and their holds; in version 1 the grants too */
		assert_int_equal(found, v == 1 ? 3 : 2);
	}
}

/* What was released beside a held reference and allocated again is found by exit. */
static void test_exit_beside_held(void **state)
{
	struct fixture f;
	struct granted a, b;

	(void)state;
	fixture_open(&f, 1);
	a = grant(&f, 5);
	assert_int_equal(fake_peer_pin(f.os, PEER, a.first, false, NULL), 0);
	assert_int_equal(gio_grants_revoke(f.grants, a.first, 5), 1);
	b = grant(&f, 3);
	assert_in_range(b.first, a.first + 1, a.first + 4);
	assert_int_equal(gio_grants_close(f.grants), 1);
	assert_int_not_equal(fake_peer_pin(f.os, PEER, b.first, false, NULL), 0);
	fake_peer_unpin(f.os, a.first, false);
	gio_os_pages_free(f.os, a.va, 5);
	gio_os_pages_free(f.os, b.va, 3);
	assert_int_equal(fake_os_delete(f.os), 3); /* the held page, its hold, its grant */
}

/* A part of a run is granted at once; no part reaches beyond it, and nothing is granted by what is no run. */
static void test_access_of_runs(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;
		gio_gref_t first;
		gio_gfn_t gfns[5], seen;

		fixture_open(&f, v);
		for (unsigned i = 0; i < 5; i++)
			gfns[i] = 100 + 3 * i;
		assert_int_equal(gio_grants_alloc(f.grants, 5, &first), 0);
		assert_int_equal(gio_grants_access(f.grants, first, 0, 6, PEER, gfns, false), -GIO_EINVAL);
		assert_int_equal(gio_grants_access(f.grants, first, 1, 5, PEER, gfns, false), -GIO_EINVAL);
		assert_int_equal(gio_grants_access(f.grants, first, UINT32_MAX, 5, PEER, gfns, false), -GIO_EINVAL);
		assert_int_equal(gio_grants_access(f.grants, first + 1, 0, 1, PEER, gfns, false), -GIO_EINVAL);
		assert_int_equal(gio_grants_access(f.grants, first + 5, 0, 1, PEER, gfns, false), -GIO_EINVAL);
		assert_int_equal(gio_grants_access(f.grants, first, 0, 2, PEER, gfns, true), 0);
		assert_int_equal(gio_grants_access(f.grants, first, 2, 3, PEER, gfns + 2, false), 0);
		for (unsigned i = 0; i < 5; i++) {
			assert_int_equal(fake_peer_pin(f.os, PEER, first + i, i >= 2, &seen), 0);
			assert_int_equal(seen, gfns[i]);
			fake_peer_unpin(f.os, first + i, i >= 2);
		}
		assert_int_not_equal(fake_peer_pin(f.os, PEER, first + 1, true, NULL), 0);
		assert_int_equal(gio_grants_revoke(f.grants, first, 5), 0);
		assert_int_equal(gio_grants_access(f.grants, first, 0, 1, PEER, gfns, false), -GIO_EINVAL);
		fixture_close(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_init),
		cmocka_unit_test(test_init_all_reserved),
		cmocka_unit_test(test_init_of_a_left_table),
		cmocka_unit_test(test_init_faults),
		cmocka_unit_test(test_growth_and_limit),
		cmocka_unit_test(test_growth_faults),
		cmocka_unit_test(test_access_checks),
		cmocka_unit_test(test_access_of_runs),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_misuse),
		cmocka_unit_test(test_quarantine_subsets),
		cmocka_unit_test(test_quarantine_same_page),
		cmocka_unit_test(test_quarantine_drains_aside),
		cmocka_unit_test(test_quarantine_bounded),
		cmocka_unit_test(test_quarantine_feeds_allocation),
		cmocka_unit_test(test_exit_with_held),
		cmocka_unit_test(test_exit_beside_held),
	};

	return cmocka_run_group_tests_name("grants", tests, NULL, NULL);
}
