/* SPDX-License-Identifier: MIT */
/*
 * Many threads on one grant table, beside a peer that takes grants into use at random. Meant for ThreadSanitizer too;
 * bounded by counts, not by time.
 */
#include "tests/unit/guest/fake_os.h"

#include <abi/dma_addr.h>
#include <grantio/dma.h>
#include <grantio/grant.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define PEER	7
#define THREADS 4u
#define ROUNDS	2000u
#define DEPTH	8u

struct stress;

struct worker {
	struct stress *s;
	uint32_t seed;
	gio_gref_t handed; /* in use in the peer's name; 0: none */
	pthread_t thread;
};

struct stress {
	struct gio_os *os;
	struct gio_grants *grants;
	struct gio_dma dma;
	struct worker runs[THREADS / 2], maps[THREADS / 2], peer;
	bool stop;
	unsigned failures; /* of the threads' own checks */
};

static uint32_t next(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

static void check(struct stress *s, bool ok)
{
	if (!ok)
		__atomic_fetch_add(&s->failures, 1, __ATOMIC_RELAXED);
}

/* Runs of references that are never granted: each must be this thread's alone. */
static void *run_worker(void *arg)
{
	struct worker *w = arg;
	gio_gref_t first[DEPTH];
	uint32_t count[DEPTH] = {0};

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned k = next(&w->seed) % DEPTH;

		if (count[k]) {
			for (uint32_t j = 0; j < count[k]; j++) /* a second owner would get -GIO_EBUSY */
				check(w->s, !gio_grant_access(w->s->grants, first[k] + j, 1, 1, true));
			check(w->s, gio_grants_revoke(w->s->grants, first[k], count[k]) == 0);
			count[k] = 0;
		} else {
			uint32_t n = next(&w->seed) % 40 + 1;
			int ret = gio_grants_alloc(w->s->grants, n, &first[k]);

			check(w->s, !ret || ret == -GIO_ENOSPC);
			count[k] = ret ? 0 : n;
		}
	}
	for (unsigned k = 0; k < DEPTH; k++)
		if (count[k])
			gio_grants_free(w->s->grants, first[k], count[k]);
	return NULL;
}

/*
 * Buffers that are mapped for the peer, which may hold some of them when they are unmapped: by its guesses, and, so
 * that this does not depend on luck, where the worker takes one into use in the peer's name and leaves it to the peer
 * to let go.
 */
static void *map_worker(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		size_t pages = next(&w->seed) % 4 + 1, len = pages * GIO_PAGE_SIZE - next(&w->seed) % 4000;
		char *va = gio_os_pages_alloc(w->s->os, pages);
		gio_dma_t addr;

		if (!va)
			continue; /* the arena is full of pages in quarantine */
		if (!gio_dma_map(&w->s->dma, va, len, GIO_DMA_BOTH, &addr)) {
			gio_gref_t ref = gio_dma_addr_gref(addr);

			if (!__atomic_load_n(&w->handed, __ATOMIC_ACQUIRE) &&
			    !fake_peer_pin(w->s->os, PEER, ref, true, NULL))
				__atomic_store_n(&w->handed, ref, __ATOMIC_RELEASE);
			gio_dma_unmap(&w->s->dma, addr, len);
		}
		gio_os_pages_free(w->s->os, va, pages);
	}
	return NULL;
}

/* Let go of what the map workers took in the peer's name. */
static void unpin_handed(struct stress *s)
{
	for (unsigned i = 0; i < THREADS / 2; i++) {
		gio_gref_t ref = __atomic_load_n(&s->maps[i].handed, __ATOMIC_ACQUIRE);

		if (!ref)
			continue;
		fake_peer_unpin(s->os, ref, true);
		__atomic_store_n(&s->maps[i].handed, 0, __ATOMIC_RELEASE);
	}
}

/* Guesses references; keeps up to DEPTH in use, each for some rounds. A frame that it reaches must be in use. */
static void *peer_worker(void *arg)
{
	struct worker *w = arg;
	gio_gref_t held[DEPTH] = {0};

	while (!__atomic_load_n(&w->s->stop, __ATOMIC_ACQUIRE)) {
		unsigned k = next(&w->seed) % DEPTH;
		gio_gfn_t gfn;

		unpin_handed(w->s);
		if (held[k]) {
			fake_peer_unpin(w->s->os, held[k], k & 1);
			held[k] = 0;
			continue;
		}
		held[k] = 8 + next(&w->seed) % 300;
		if (fake_peer_pin(w->s->os, PEER, held[k], k & 1, &gfn))
			held[k] = 0;
		else
			check(w->s, fake_os_page_used(w->s->os, gfn));
	}
	unpin_handed(w->s);
	for (unsigned k = 0; k < DEPTH; k++)
		if (held[k])
			fake_peer_unpin(w->s->os, held[k], k & 1);
	return NULL;
}

static void start(struct worker *w, struct stress *s, uint32_t seed, void *(*run)(void *))
{
	*w = (struct worker){.s = s, .seed = seed * 2654435761u};
	assert_int_equal(pthread_create(&w->thread, NULL, run, w), 0);
}

static void stress(uint32_t version)
{
	struct stress s = {.os = fake_os_new(&(struct fake_os_config){.version = version, .max_frames = 8})};
	struct gio_grants_stats stats;
	struct gio_dma_stats dma;

	assert_int_equal(gio_grants_open(&s.grants, s.os, 8), 0);
	assert_int_equal(gio_dma_init(&s.dma, s.os, s.grants, PEER, UINT64_MAX), 0);
	for (unsigned i = 0; i < THREADS / 2; i++) {
		start(&s.runs[i], &s, i + 1, run_worker);
		start(&s.maps[i], &s, i + 10, map_worker);
	}
	start(&s.peer, &s, 99, peer_worker); /* last: it reads the others' words */
	for (unsigned i = 0; i < THREADS / 2; i++) {
		pthread_join(s.runs[i].thread, NULL);
		pthread_join(s.maps[i].thread, NULL);
	}
	__atomic_store_n(&s.stop, true, __ATOMIC_RELEASE);
	pthread_join(s.peer.thread, NULL);
	assert_int_equal(s.failures, 0);
	for (unsigned i = 0; gio_grants_reap(s.grants); i++)
		assert_in_range(i, 0, 1000);
	gio_grants_stats(s.grants, &stats);
	assert_int_equal(stats.used, 0);
	assert_int_equal(stats.misuses, 0);
	gio_dma_stats(&s.dma, &dma);
	assert_in_range(dma.quarantined, THREADS / 2, UINT64_MAX); /* each map worker at least once */
	assert_int_equal(dma.maps, dma.unmaps);
	assert_int_equal(dma.granted, 0);
	assert_int_equal(dma.misuses, 0);
	assert_int_equal(gio_grants_close(s.grants), 0);
	assert_int_equal(fake_os_delete(s.os), 0);
}

static void test_stress_v1(void **state)
{
	(void)state;
	stress(1);
}

static void test_stress_v2(void **state)
{
	(void)state;
	stress(2);
}

/* Threads that all have to grow the table at once, to its last entry: nobody is refused what is there. */
static void *grow_worker(void *arg)
{
	struct worker *w = arg;
	gio_gref_t ref;

	for (unsigned i = 0; i < 4 * 512 / 8 / THREADS; i++)
		check(w->s, !gio_grants_alloc(w->s->grants, 8, &ref));
	return NULL;
}

static void test_growth_at_once(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 20; round++) {
		struct stress s = {.os = fake_os_new(NULL)};
		struct worker w[THREADS];
		struct gio_grants_stats stats;
		struct fake_os_counts c;
		gio_gref_t ref;

		assert_int_equal(gio_grants_open(&s.grants, s.os, 0), 0);
		for (unsigned i = 0; i < THREADS; i++)
			start(&w[i], &s, i + 1, grow_worker);
		for (unsigned i = 0; i < THREADS; i++)
			pthread_join(w[i].thread, NULL);
		assert_int_equal(s.failures, 0);
		gio_grants_stats(s.grants, &stats);
		assert_int_equal(stats.entries, 2048);
		assert_int_equal(stats.used, 2048);
		fake_os_count(s.os, &c);
		assert_int_equal(c.grows, 3); /* nor did anybody grow it beyond need */
		assert_int_equal(gio_grants_alloc(s.grants, 1, &ref), -GIO_ENOSPC);
		assert_int_equal(gio_grants_close(s.grants), 0);
		assert_int_equal(fake_os_delete(s.os), 0);
	}
}

/* Two threads revoke the same run: one of them owns it, the other is a misuse; nothing is freed twice. */
struct twice {
	struct stress *s;
	gio_gref_t first;
	int ret;
	pthread_t thread;
};

static void *revoke_once(void *arg)
{
	struct twice *t = arg;

	t->ret = gio_grants_revoke(t->s->grants, t->first, 16);
	return NULL;
}

static void test_revoke_twice_at_once(void **state)
{
	struct stress s = {.os = fake_os_new(NULL)};
	struct gio_grants_stats stats;

	(void)state;
	assert_int_equal(gio_grants_open(&s.grants, s.os, 8), 0);
	for (unsigned round = 0; round < 200; round++) {
		struct twice t[2] = {{.s = &s}, {.s = &s}};
		gio_gref_t first;

		assert_int_equal(gio_grants_alloc(s.grants, 16, &first), 0);
		for (uint32_t i = 0; i < 16; i++)
			assert_int_equal(gio_grant_access(s.grants, first + i, PEER, i, false), 0);
		for (unsigned i = 0; i < 2; i++) {
			t[i].first = first;
			assert_int_equal(pthread_create(&t[i].thread, NULL, revoke_once, &t[i]), 0);
		}
		for (unsigned i = 0; i < 2; i++)
			pthread_join(t[i].thread, NULL);
		assert_int_equal(t[0].ret + t[1].ret, -GIO_EINVAL);
		gio_grants_stats(s.grants, &stats);
		assert_int_equal(stats.used, 0);
		assert_int_equal(stats.misuses, round + 1);
	}
	assert_int_equal(gio_grants_close(s.grants), 0);
	assert_int_equal(fake_os_delete(s.os), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stress_v1),
		cmocka_unit_test(test_stress_v2),
		cmocka_unit_test(test_growth_at_once),
		cmocka_unit_test(test_revoke_twice_at_once),
	};

	return cmocka_run_group_tests_name("grants_threads", tests, NULL, NULL);
}
