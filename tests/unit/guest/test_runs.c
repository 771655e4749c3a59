/* SPDX-License-Identifier: MIT */
#include "tests/unit/guest/fake_os.h"
#include "tests/unit/guest/runs_shadow.h"

#include <guest/grant/run.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void ok(const char *error)
{
	if (error)
		fail_msg("%s", error);
}

/* xorshift: the same numbers everywhere. */
static uint32_t next(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

static void test_random_against_shadow(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= 20; seed++) {
		uint8_t script[4 * 300];
		uint32_t s = seed * 2654435761u;

		for (size_t i = 0; i < sizeof(script); i++)
			script[i] = (uint8_t)(next(&s) >> 7);
		ok(shadow_play(script, sizeof(script), 3));
	}
}

/* Small lengths from the start to the end: all orders of allocating and freeing three runs in a space of 8. */
static void test_exhaustive_small(void **state)
{
	static const uint8_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
	struct shadow s;

	(void)state;
	shadow_open(&s);
	ok(shadow_add(&s, 20, 8));
	for (uint32_t mix = 0; mix < 6 * 6 * 6 * 6; mix++) {
		uint32_t len[3] = {mix % 6 + 1, mix / 6 % 6 + 1, mix / 36 % 6 + 1}, at[3];
		const uint8_t *order = orders[mix / 216];

		for (unsigned i = 0; i < 3; i++)
			ok(shadow_alloc(&s, len[i], &at[i]));
		for (unsigned i = 0; i < 3; i++) {
			if (at[order[i]] != SHADOW_LIMIT)
				ok(shadow_free(&s, at[order[i]], len[order[i]]));
			if (i == 1)
				ok(shadow_check(&s));
		}
		assert_int_equal(s.used, 0);
		assert_int_equal(gio_runs_tail(&s.runs, 28), 8);
	}
	ok(shadow_close(&s));
}

/* Every length that a space has is found, at an exact fit and with one index to spare, at every list's border. */
static void test_every_length(void **state)
{
	struct shadow s;
	uint32_t got;

	(void)state;
	shadow_open(&s);
	ok(shadow_add(&s, 1, 2100));
	for (uint32_t len = 1; len <= 2100; len++) {
		ok(shadow_alloc(&s, len, &got));
		assert_int_equal(got, 1);
		ok(shadow_free(&s, got, len));
	}
	for (uint32_t len = 2099; len; len -= 11) { /* a free run of exactly `len` */
		uint32_t rest, none;

		ok(shadow_alloc(&s, 2100 - len, &rest));
		ok(shadow_alloc(&s, len, &got));
		assert_int_not_equal(got, SHADOW_LIMIT);
		assert_int_equal(gio_runs_alloc(&s.runs, 1, &none), -GIO_ENOSPC);
		ok(shadow_free(&s, rest, 2100 - len));
		ok(shadow_free(&s, got, len));
		if (len < 11)
			break;
	}
	ok(shadow_check(&s));
	ok(shadow_close(&s));
}

/* Every other index taken: nothing longer than 1 fits; freeing melts all into one run again. */
static void test_fragmentation(void **state)
{
	struct shadow s;
	uint32_t got;

	(void)state;
	shadow_open(&s);
	ok(shadow_add(&s, 0, 1024));
	for (uint32_t i = 0; i < 1024; i++)
		ok(shadow_alloc(&s, 1, &got));
	assert_int_equal(gio_runs_alloc(&s.runs, 1, &got), -GIO_ENOSPC);
	for (uint32_t i = 0; i < 1024; i += 2)
		ok(shadow_free(&s, i, 1));
	ok(shadow_alloc(&s, 2, &got));
	assert_int_equal(got, SHADOW_LIMIT);
	for (uint32_t i = 1; i < 1024; i += 2)
		ok(shadow_free(&s, i, 1));
	ok(shadow_check(&s));
	ok(shadow_alloc(&s, 1024, &got));
	assert_int_equal(got, 0);
	ok(shadow_free(&s, 0, 1024));
	ok(shadow_close(&s));
}

/* A list of unequal lengths: the 16 newest are looked at, so that an exact fit just freed is found. */
static void test_near_fit(void **state)
{
	struct shadow s;
	uint32_t at[20], wall, got;

	(void)state;
	shadow_open(&s);
	ok(shadow_add(&s, 0, 2000));
	for (unsigned i = 0; i < 20; i++) { /* 64 and 65 share a list */
		ok(shadow_alloc(&s, i == 3 ? 65 : 64, &at[i]));
		ok(shadow_alloc(&s, 1, &wall));
	}
	ok(shadow_alloc(&s, 2000 - s.used, &wall));
	ok(shadow_free(&s, at[3], 65));
	for (unsigned i = 0; i < 15; i++)
		if (i != 3)
			ok(shadow_free(&s, at[i], 64));
	assert_int_equal(gio_runs_alloc(&s.runs, 66, &got), -GIO_ENOSPC);
	ok(shadow_alloc(&s, 65, &got)); /* 14 shorter ones lie before it */
	assert_int_equal(got, at[3]);
	ok(shadow_free(&s, got, 65));
	for (unsigned i = 15; i < 20; i++)
		ok(shadow_free(&s, at[i], 64));
	assert_int_equal(gio_runs_alloc(&s.runs, 65, &got), 0); /* newest first */
	assert_int_equal(got, at[3]);
	assert_int_equal(gio_runs_free(&s.runs, got, 65), 0);
	ok(shadow_close(&s));
}

static void test_ranges(void **state)
{
	struct shadow s;
	uint32_t got;

	(void)state;
	shadow_open(&s);
	ok(shadow_alloc(&s, 1, &got)); /* nothing there yet */
	assert_int_equal(got, SHADOW_LIMIT);
	assert_int_equal(gio_runs_add(&s.runs, 5, 1), -GIO_EINVAL); /* not reserved */
	ok(shadow_add(&s, 500, 100));
	ok(shadow_add(&s, 700, 100));
	ok(shadow_alloc(&s, 150, &got));
	assert_int_equal(got, SHADOW_LIMIT);
	ok(shadow_add(&s, 600, 100)); /* closes the gap */
	ok(shadow_check(&s));
	ok(shadow_add(&s, 599, 2));		 /* overlaps: refused */
	ok(shadow_add(&s, SHADOW_LIMIT - 1, 2)); /* beyond the limit: refused */
	ok(shadow_add(&s, UINT32_MAX, 2));
	ok(shadow_add(&s, 0, 0));
	ok(shadow_alloc(&s, 300, &got));
	assert_int_equal(got, 500);
	ok(shadow_add(&s, 800, 10)); /* beside an allocated run */
	ok(shadow_add(&s, 490, 10));
	ok(shadow_check(&s));
	ok(shadow_free(&s, 500, 300));
	assert_int_equal(gio_runs_tail(&s.runs, 810), 320);
	ok(shadow_add(&s, SHADOW_LIMIT - 1, 1));
	ok(shadow_add(&s, 0, 1));
	ok(shadow_check(&s));
	ok(shadow_close(&s));
}

static void test_wrong_frees(void **state)
{
	static const uint32_t wrong[][2] = {{10, 7},  {10, 9},		 {11, 7},	  {9, 8},
					    {10, 0},  {17, 1},		 {3, 1},	  {100, 1},
					    {300, 4}, {SHADOW_LIMIT, 1}, {UINT32_MAX, 2}, {10, UINT32_MAX}};
	struct shadow s;
	uint32_t a, b;

	(void)state;
	shadow_open(&s);
	ok(shadow_add(&s, 10, 30));
	ok(shadow_alloc(&s, 8, &a));
	ok(shadow_alloc(&s, 8, &b));
	assert_int_equal(a, 10);
	assert_int_equal(b, 18);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(gio_runs_free(&s.runs, wrong[i][0], wrong[i][1]), -GIO_EINVAL);
		ok(shadow_check(&s));
	}
	assert_int_equal(gio_runs_free(&s.runs, a, 16), -GIO_EINVAL); /* two runs are not one */
	ok(shadow_free(&s, a, 8));
	ok(shadow_free(&s, a, 8)); /* again: refused */
	ok(shadow_check(&s));
	ok(shadow_free(&s, b, 8));
	ok(shadow_free(&s, b, 8));
	ok(shadow_check(&s));
	ok(shadow_close(&s));
}

static void test_retire(void **state)
{
	struct shadow s;
	uint32_t got, pos = 0, first, count;

	(void)state;
	shadow_open(&s);
	ok(shadow_add(&s, 0, 64));
	ok(shadow_alloc(&s, 10, &got));
	assert_int_equal(gio_runs_retire(&s.runs, 0, 10), 0);
	assert_int_equal(gio_runs_free(&s.runs, 0, 10), -GIO_EINVAL);
	assert_false(gio_runs_next(&s.runs, &pos, &first, &count)); /* no longer the owner's */
	assert_int_equal(s.runs.used, 10);			    /* but not free */
	gio_runs_release(&s.runs, 0, 4);
	gio_runs_release(&s.runs, 5, 5);
	assert_int_equal(gio_runs_tail(&s.runs, 4), 4); /* 4 is held between two free runs */
	assert_int_equal(gio_runs_tail(&s.runs, 64), 59);
	assert_int_equal(s.runs.used, 1);
	gio_runs_release(&s.runs, 4, 1);
	assert_int_equal(gio_runs_tail(&s.runs, 64), 64);
	/* The first index stays, what follows is allocated anew: seen as what it is. */
	assert_int_equal(gio_runs_alloc(&s.runs, 10, &got), 0);
	assert_int_equal(gio_runs_retire(&s.runs, 0, 10), 0);
	gio_runs_release(&s.runs, 1, 9);
	assert_int_equal(gio_runs_alloc(&s.runs, 5, &got), 0);
	assert_int_equal(got, 1);
	pos = 0;
	assert_true(gio_runs_next(&s.runs, &pos, &first, &count));
	assert_int_equal(first, 1);
	assert_int_equal(count, 5);
	assert_false(gio_runs_next(&s.runs, &pos, &first, &count));
	assert_int_equal(gio_runs_free(&s.runs, 1, 5), 0);
	gio_runs_release(&s.runs, 0, 1);
	s.used = 0;
	memset(s.state, SHADOW_FREE, 64);
	memset(s.len, 0, sizeof(s.len));
	ok(shadow_check(&s));
	ok(shadow_close(&s));
}

/* A middle part leaves for good: its neighbours do not melt over it, nobody gets it, and it may be added again. */
static void test_forget(void **state)
{
	struct shadow s;
	uint32_t got;

	(void)state;
	shadow_open(&s);
	ok(shadow_add(&s, 0, 64));
	ok(shadow_alloc(&s, 10, &got));
	assert_int_equal(gio_runs_retire(&s.runs, 0, 10), 0);
	gio_runs_release(&s.runs, 0, 4);
	gio_runs_release(&s.runs, 6, 4);
	gio_runs_forget(&s.runs, 4, 2);
	assert_int_equal(s.runs.used, 0);
	assert_int_equal(s.runs.total, 62);
	assert_int_equal(gio_runs_tail(&s.runs, 4), 4);
	assert_int_equal(gio_runs_tail(&s.runs, 64), 58);
	assert_false(gio_runs_plausible(&s.runs, 4));
	assert_false(gio_runs_plausible(&s.runs, 5));
	assert_int_equal(gio_runs_alloc(&s.runs, 59, &got), -GIO_ENOSPC);
	assert_int_equal(gio_runs_add(&s.runs, 4, 2), 0);
	assert_int_equal(gio_runs_tail(&s.runs, 64), 64);
	s.used = 0;
	memset(s.state, SHADOW_FREE, 64);
	memset(s.len, 0, sizeof(s.len));
	ok(shadow_check(&s));
	ok(shadow_close(&s));
}

static void test_init_limits(void **state)
{
	struct gio_os *os = fake_os_new(NULL);
	struct gio_runs runs;
	uint32_t got;

	(void)state;
	assert_int_equal(gio_runs_init(&runs, os, 0), -GIO_ERANGE);
	assert_int_equal(gio_runs_init(&runs, os, GIO_RUNS_LIMIT + 1), -GIO_ERANGE);
	assert_int_equal(gio_runs_init(&runs, os, GIO_RUNS_LIMIT), 0);
	assert_int_equal(gio_runs_reserve(&runs, GIO_RUNS_LIMIT - 300, 300), 0);
	assert_int_equal(gio_runs_add(&runs, GIO_RUNS_LIMIT - 300, 300), 0);
	assert_int_equal(gio_runs_alloc(&runs, 300, &got), 0);
	assert_int_equal(got, GIO_RUNS_LIMIT - 300);
	assert_int_equal(gio_runs_alloc(&runs, GIO_RUNS_LIMIT, &got), -GIO_ENOSPC);
	assert_int_equal(gio_runs_alloc(&runs, UINT32_MAX, &got), -GIO_ENOSPC);
	assert_int_equal(gio_runs_free(&runs, GIO_RUNS_LIMIT - 300, 300), 0);
	gio_runs_exit(&runs);
	assert_int_equal(fake_os_delete(os), 0);
}

/* Metadata that cannot be had, at every step: an error, no change, and success the next time. */
static void test_reserve_faults(void **state)
{
	unsigned n = 0;
	bool struck;

	(void)state;
	do {
		struct gio_os *os = fake_os_new(NULL);
		struct gio_runs runs;
		uint32_t got;

		fake_os_fail(os, FAKE_ALLOC, ++n);
		if (gio_runs_init(&runs, os, 4096) == -GIO_ENOMEM) {
			struck = fake_os_struck(os, FAKE_ALLOC);
			assert_true(struck);
			assert_int_equal(fake_os_delete(os), 0);
			continue;
		}
		struck = gio_runs_reserve(&runs, 100, 1000) != 0;
		assert_true(struck == fake_os_struck(os, FAKE_ALLOC));
		if (struck) {
			assert_int_equal(gio_runs_add(&runs, 100, 1000), -GIO_EINVAL);
			assert_int_equal(gio_runs_alloc(&runs, 1, &got), -GIO_ENOSPC);
			assert_int_equal(gio_runs_reserve(&runs, 100, 1000), 0);
		}
		assert_int_equal(gio_runs_add(&runs, 100, 1000), 0);
		assert_int_equal(gio_runs_alloc(&runs, 1000, &got), 0);
		gio_runs_exit(&runs);
		assert_int_equal(fake_os_delete(os), 0);
	} while (struck && n < 100);
	assert_int_equal(n, 1 + 5 + 1); /* the directory, pages 0 to 4, and the round without a fault */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_against_shadow),
		cmocka_unit_test(test_exhaustive_small),
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_fragmentation),
		cmocka_unit_test(test_near_fit),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_wrong_frees),
		cmocka_unit_test(test_retire),
		cmocka_unit_test(test_forget),
		cmocka_unit_test(test_init_limits),
		cmocka_unit_test(test_reserve_faults),
	};

	return cmocka_run_group_tests_name("runs", tests, NULL, NULL);
}
