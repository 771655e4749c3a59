/* SPDX-License-Identifier: MIT */
/* Single references that are kept aside: by themselves, within the grants, and among threads. */
#include "tests/unit/guest/fake_os.h"

#include <grantio/grant.h>
#include <guest/grant/spare.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define PEER	7
#define THREADS 4u
#define ROUNDS	20000u
#define DEPTH	12u

/* Last in, first out; a ring takes as many as it has places, and another ring's are not touched. */
static void test_ring(void **state)
{
	struct gio_spare spare = {0};
	gio_gref_t ref;

	(void)state;
	assert_false(gio_spare_take(&spare, 3, &ref));
	for (unsigned round = 0; round < 3; round++) {
		for (gio_gref_t i = 1; i <= GIO_SPARE_PLACES; i++)
			assert_true(gio_spare_give(&spare, 3, 100 + i));
		assert_false(gio_spare_give(&spare, 3, 99));
		assert_int_equal(gio_spare_count(&spare), GIO_SPARE_PLACES);
		assert_false(gio_spare_take(&spare, 4, &ref));
		for (gio_gref_t i = GIO_SPARE_PLACES; i; i--) {
			assert_true(gio_spare_take(&spare, 3, &ref));
			assert_int_equal(ref, 100 + i);
		}
		assert_false(gio_spare_take(&spare, 3, &ref));
		/* Not always from the same place. */
		assert_true(gio_spare_give(&spare, 3, 7));
		assert_true(gio_spare_give(&spare, 3 + GIO_SPARE_RINGS, 8));
		assert_true(gio_spare_drain(&spare, &ref));
		assert_true(gio_spare_drain(&spare, &ref));
		assert_false(gio_spare_drain(&spare, &ref));
		assert_int_equal(gio_spare_count(&spare), 0);
	}
}

/* The top is a hint: a wrong one costs some looks, but neither a place nor what lies there. */
static void test_wrong_top(void **state)
{
	struct gio_spare spare = {0};
	gio_gref_t ref;

	(void)state;
	assert_true(gio_spare_give(&spare, 0, 100));
	spare.ring[0].top = 0;
	assert_true(gio_spare_give(&spare, 0, 101)); /* behind it */
	spare.ring[0].top = 4;
	assert_true(gio_spare_take(&spare, 0, &ref)); /* before it */
	assert_int_equal(ref, 101);
	assert_true(gio_spare_drain(&spare, &ref));
	assert_int_equal(ref, 100);
}

static struct gio_grants *grants_open(struct gio_os *os)
{
	struct gio_grants *grants;

	assert_int_equal(gio_grants_open(&grants, os, 8), 0);
	return grants;
}

static struct gio_grants_stats stats(struct gio_grants *grants)
{
	struct gio_grants_stats s;

	gio_grants_stats(grants, &s);
	return s;
}

static void end(struct gio_os *os, struct gio_grants *grants)
{
	assert_int_equal(stats(grants).used, 0);
	assert_int_equal(gio_grants_close(grants), 0);
	assert_int_equal(fake_os_delete(os), 0);
}

/* A reference that is aside is free: nobody can revoke, free or grant by it, and it is nobody's. */
static void test_free_aside(void **state)
{
	struct gio_os *os = fake_os_new(NULL);
	struct gio_grants *grants = grants_open(os);
	gio_gref_t ref[3], got;
	gio_gfn_t gfn = 5;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(gio_grants_alloc_for(grants, 1, 9, &ref[i]), 0);
	assert_int_equal(stats(grants).used, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(gio_grants_revoke(grants, ref[i], 1), 0);
	assert_int_equal(stats(grants).used, 0);
	assert_int_equal(gio_grants_revoke(grants, ref[1], 1), -GIO_EINVAL);
	gio_grants_free(grants, ref[1], 1);
	assert_int_equal(stats(grants).misuses, 2);
	assert_int_equal(gio_grants_access(grants, ref[1], 0, 1, PEER, &gfn, true), -GIO_EINVAL);
	assert_false(gio_grants_owned(grants, ref[1], 9));
	for (unsigned i = 3; i--;) { /* the warmest first: they were aside, not melted */
		assert_int_equal(gio_grants_alloc_for(grants, 1, 9, &got), 0);
		assert_int_equal(got, ref[i]);
		assert_true(gio_grants_owned(grants, got, 9));
	}
	for (unsigned i = 0; i < 3; i++)
		gio_grants_free(grants, ref[i], 1);
	end(os, grants);
}

/* What is aside is missing nowhere: a run of all references there are can be had, and single ones by anybody. */
static void test_melt(void **state)
{
	const struct fake_os_config config = {.max_frames = 1};
	struct gio_os *os = fake_os_new(&config);
	struct gio_grants *grants = grants_open(os);
	gio_gref_t ref[504], first;

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 504; i++)
			assert_int_equal(gio_grants_alloc_for(grants, 1, i, &ref[i]), 0);
		assert_int_equal(gio_grants_alloc(grants, 1, &first), -GIO_ENOSPC);
		for (unsigned i = 0; i < 504; i++)
			assert_int_equal(gio_grants_revoke(grants, ref[i], 1), 0);
		assert_int_equal(gio_grants_alloc(grants, 504, &first), 0);
		gio_grants_free(grants, first, 504);
	}
	end(os, grants);
}

/* A held reference never comes aside; while it is held, others look after it. */
static void test_held(void **state)
{
	struct gio_os *os = fake_os_new(NULL);
	struct gio_grants *grants = grants_open(os);
	void *va = gio_os_pages_alloc(os, 1);
	gio_gref_t ref, other;

	(void)state;
	assert_int_equal(gio_grants_alloc(grants, 1, &ref), 0);
	assert_int_equal(gio_grant_access(grants, ref, PEER, gio_os_gfn(os, va), false), 0);
	assert_int_equal(fake_peer_pin(os, PEER, ref, false, NULL), 0);
	assert_int_equal(gio_grants_revoke(grants, ref, 1), 1);
	assert_int_equal(gio_grants_alloc(grants, 1, &other), 0);
	assert_int_not_equal(other, ref);
	assert_int_equal(stats(grants).quarantined, 1);
	fake_peer_unpin(os, ref, false);
	assert_int_equal(gio_grants_revoke(grants, other, 1), 0);
	assert_int_equal(stats(grants).quarantined, 0);
	gio_os_pages_free(os, va, 1);
	end(os, grants);
}

struct worker {
	struct gio_grants *grants;
	uint32_t seed, user;
	unsigned failures;
	pthread_barrier_t *start;
	pthread_t thread;
};

static uint32_t next(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

/* Each reference is this thread's alone: a second owner would find it active. */
static void *work(void *arg)
{
	struct worker *w = arg;
	gio_gref_t ref[DEPTH] = {0}, run;

	pthread_barrier_wait(w->start);
	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned k = next(&w->seed) % DEPTH;

		if (ref[k]) {
			w->failures += !gio_grants_owned(w->grants, ref[k], w->user);
			w->failures += gio_grants_revoke(w->grants, ref[k], 1) != 0;
			ref[k] = 0;
		} else if (!gio_grants_alloc_for(w->grants, 1, w->user, &ref[k])) {
			w->failures += gio_grant_access(w->grants, ref[k], PEER, 1, true) != 0;
		} else {
			ref[k] = 0;
		}
		if (next(&w->seed) % 64 == 0 && !gio_grants_alloc(w->grants, 40, &run)) /* melts what is aside */
			gio_grants_free(w->grants, run, 40);
	}
	for (unsigned k = 0; k < DEPTH; k++)
		if (ref[k])
			w->failures += gio_grants_revoke(w->grants, ref[k], 1) != 0;
	return NULL;
}

/* Two threads share a ring, in a table that is nearly too small for all. */
static void test_threads(void **state)
{
	const struct fake_os_config config = {.max_frames = 1};
	struct gio_os *os = fake_os_new(&config);
	struct gio_grants *grants = grants_open(os);
	pthread_barrier_t start;
	struct worker w[THREADS];
	gio_gref_t taken;

	(void)state;
	assert_int_equal(gio_grants_alloc(grants, 440, &taken), 0); /* 64 are left */
	pthread_barrier_init(&start, NULL, THREADS);
	for (uint32_t i = 0; i < THREADS; i++) {
		w[i] = (struct worker){.grants = grants, .seed = (i + 1) * 2654435761u, .user = i / 2 + 1};
		w[i].start = &start;
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(w[i].thread, NULL);
		assert_int_equal(w[i].failures, 0);
	}
	pthread_barrier_destroy(&start);
	gio_grants_free(grants, taken, 440);
	assert_int_equal(stats(grants).misuses, 0);
	end(os, grants);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ring), cmocka_unit_test(test_wrong_top), cmocka_unit_test(test_free_aside),
		cmocka_unit_test(test_melt), cmocka_unit_test(test_held),      cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
