/* SPDX-License-Identifier: MIT */
/*
 * Many threads on one pool that is too small for all of them: what each gets must be its alone. Meant for
 * ThreadSanitizer too; bounded by counts, not by time.
 */
#include "tests/unit/guest/fake_os.h"

#include <abi/dma_addr.h>
#include <grantio/pool.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define THREADS 4u
#define ROUNDS	8000u
#define DEPTH	24u

struct worker {
	struct gio_pool *pool;
	unsigned hint;
	uint32_t seed;
	unsigned got, failures;
	pthread_barrier_t *start;
	pthread_t thread;
};

struct space {
	gio_dma_t addr;
	size_t len;
};

static uint32_t next(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

static uint8_t mark(const struct worker *w, const struct space *s)
{
	return (uint8_t)(w->hint * 64 + s->len % 61 + 1);
}

static void take(struct worker *w, struct space *s)
{
	static const enum gio_dma_dir dirs[] = {GIO_DMA_TO_DEVICE, GIO_DMA_FROM_DEVICE, GIO_DMA_BOTH};
	uint32_t kind = next(&w->seed) % 4;
	enum gio_dma_dir dir = dirs[next(&w->seed) % 3];
	uint8_t *va;
	int err;

	s->len = kind == 0 ? 1 : kind == 1 ? 16 : next(&w->seed) % (kind == 2 ? 5000 : 40000) + 1;
	err = gio_pool_get(w->pool, w->hint, s->len, dir, 0, &s->addr);
	if (err) {
		w->failures += err != -GIO_ENOMEM;
		s->len = 0;
		return;
	}
	va = gio_pool_va(w->pool, s->addr);
	va[0] = va[s->len - 1] = va[s->len / 2] = mark(w, s);
	w->got++;
}

static void give(struct worker *w, struct space *s)
{
	const uint8_t *va = gio_pool_va(w->pool, s->addr);
	uint64_t cookie;
	size_t left;

	w->failures += va[0] != mark(w, s) || va[s->len - 1] != mark(w, s) || va[s->len / 2] != mark(w, s);
	w->failures += gio_pool_find(w->pool, s->addr, &cookie, &left) || left != s->len;
	w->failures += gio_pool_put(w->pool, s->addr, s->len) != 0;
	s->len = 0;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct space spaces[DEPTH] = {0};

	pthread_barrier_wait(w->start);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct space *s = &spaces[next(&w->seed) % DEPTH];

		if (s->len)
			give(w, s);
		else
			take(w, s);
	}
	for (unsigned i = 0; i < DEPTH; i++)
		if (spaces[i].len)
			give(w, &spaces[i]);
	return NULL;
}

static void test_stress(void **state)
{
	struct fake_os_config config = {.pages = 512};
	struct gio_pool_config c = {.backend = 7,
				    .read_pages = 24,
				    .write_pages = 24,
				    .small_read = 256,
				    .small_write = 64,
				    .shares = THREADS};
	struct worker w[THREADS];
	pthread_barrier_t start;
	struct gio_pool *pool;
	struct gio_pool_stats stats;

	(void)state;
	pthread_barrier_init(&start, NULL, THREADS);
	c.os = fake_os_new(&config);
	assert_int_equal(gio_grants_open(&c.grants, c.os, 8), 0);
	assert_int_equal(gio_pool_open(&pool, &c), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		w[i] = (struct worker){.pool = pool, .hint = i, .start = &start, .seed = (i + 1) * 2654435761u};
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(w[i].thread, NULL);
		assert_int_equal(w[i].failures, 0);
		assert_in_range(w[i].got, ROUNDS / 8, ROUNDS);
	}
	pthread_barrier_destroy(&start);
	gio_pool_stats(pool, &stats);
	assert_int_equal(stats.used + stats.small[0] + stats.small[1], 0);
	assert_int_equal(stats.misuses, 0);
	assert_in_range(stats.full, 1, UINT64_MAX); /* else there was room for all */
	assert_int_equal(gio_pool_close(pool), 0);
	assert_int_equal(gio_grants_close(c.grants), 0);
	assert_int_equal(fake_os_delete(c.os), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_stress)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
