/* SPDX-License-Identifier: MIT */
/* Memory that both sides use for long: its grants, the pages that it may be made of, and what a device holds of it. */
#include "tests/unit/guest/fake_os.h"

#include <abi/dma_addr.h>
#include <grantio/dma.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BACKEND		7
#define FOR_VERSIONS(v) for (uint32_t v = 1; v <= 2; v++)

struct fixture {
	struct gio_os *os;
	struct gio_grants *grants;
	struct gio_dma dma;
};

static void fixture_open_config(struct fixture *f, const struct fake_os_config *config)
{
	f->os = fake_os_new(config);
	assert_int_equal(gio_grants_open(&f->grants, f->os, 8), 0);
	assert_int_equal(gio_dma_init(&f->dma, f->os, f->grants, BACKEND, UINT64_MAX), 0);
}

static void fixture_open(struct fixture *f, uint32_t version)
{
	fixture_open_config(f, &(struct fake_os_config){.version = version});
}

static struct gio_dma_stats stats(const struct fixture *f)
{
	struct gio_dma_stats s;

	gio_dma_stats(&f->dma, &s);
	return s;
}

static uint32_t refs_used(const struct fixture *f)
{
	struct gio_grants_stats s;

	gio_grants_stats(f->grants, &s);
	return s.used;
}

/* The leak oracle, after every test. */
static void fixture_close(struct fixture *f)
{
	assert_int_equal(stats(f).granted, 0);
	assert_int_equal(stats(f).maps, stats(f).unmaps);
	assert_int_equal(refs_used(f), 0);
	assert_int_equal(gio_grants_close(f->grants), 0);
	assert_int_equal(fake_os_delete(f->os), 0);
}
static void test_coherent(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;
		struct fake_os_counts c;
		gio_dma_t addr;
		char *va, buf[5000];

		fixture_open(&f, v);
		va = gio_dma_alloc(&f.dma, 5000, 0, &addr);
		assert_non_null(va);
		assert_int_equal((uintptr_t)va & GIO_PAGE_MASK, 0);
		assert_int_equal(addr & GIO_PAGE_MASK, 0);
		for (unsigned i = 0; i < 2 * GIO_PAGE_SIZE; i++)
			assert_int_equal(va[i], 0);
		memset(buf, 'k', sizeof(buf));
		assert_int_equal(fake_peer_copy(f.os, BACKEND, addr, buf, sizeof(buf), true), 0);
		assert_memory_equal(va, buf, sizeof(buf));
		fake_os_count(f.os, &c);
		assert_int_equal(c.pages, 2);
		gio_dma_free(&f.dma, va, 5000, addr);
		fake_os_count(f.os, &c);
		assert_int_equal(c.pages, 0);
		gio_dma_free(&f.dma, NULL, 5000, addr);
		assert_int_equal(stats(&f).misuses, 0);
		assert_null(gio_dma_alloc(&f.dma, 0, 0, &addr));
		assert_null(gio_dma_alloc(&f.dma, SIZE_MAX, 0, &addr));
		assert_null(gio_dma_alloc(&f.dma, 257 * GIO_PAGE_SIZE, 0, &addr)); /* the arena has 256 */
		assert_int_equal(stats(&f).failures, 3);
		fixture_close(&f);
	}
}

/* A ring: the device reads all of it, and writes only behind `readonly`. */
static void test_coherent_split(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;
		gio_dma_t addr;
		char *va, byte = 'w';

		fixture_open(&f, v);
		va = gio_dma_alloc(&f.dma, 3 * GIO_PAGE_SIZE - 1, 2 * GIO_PAGE_SIZE, &addr);
		assert_non_null(va);
		va[0] = va[2 * GIO_PAGE_SIZE] = 'g';
		for (unsigned page = 0; page < 3; page++) {
			gio_dma_t at = addr + page * GIO_PAGE_SIZE;

			assert_int_equal(fake_peer_copy(f.os, BACKEND, at, &byte, 1, false), 0);
			byte = 'w';
			assert_int_equal(!fake_peer_copy(f.os, BACKEND, at, &byte, 1, true), page == 2);
		}
		assert_int_equal(va[0], 'g');
		assert_int_equal(va[2 * GIO_PAGE_SIZE], 'w');
		gio_dma_free(&f.dma, va, 3 * GIO_PAGE_SIZE - 1, addr);
		/* Not whole units, or nothing to write. */
		assert_null(gio_dma_alloc(&f.dma, 3 * GIO_PAGE_SIZE, 100, &addr));
		assert_null(gio_dma_alloc(&f.dma, GIO_PAGE_SIZE, GIO_PAGE_SIZE, &addr));
		assert_int_equal(stats(&f).failures, 2);
		fixture_close(&f);
	}
}

/* The same of memory that is known by its frames. */
static void test_gfn_split(void **state)
{
	struct fixture f;
	gio_dma_t addr;
	char *va, byte = 'w';
	gio_gfn_t gfn;

	(void)state;
	fixture_open(&f, 1);
	va = gio_os_pages_alloc(f.os, 2);
	gfn = gio_os_gfn(f.os, va);
	assert_int_equal(gio_dma_map_gfn_split(&f.dma, gfn, 2 * GIO_PAGE_SIZE, GIO_PAGE_SIZE, &addr), 0);
	assert_int_not_equal(fake_peer_copy(f.os, BACKEND, addr, &byte, 1, true), 0);
	assert_int_equal(fake_peer_copy(f.os, BACKEND, addr + GIO_PAGE_SIZE, &byte, 1, true), 0);
	gio_dma_unmap(&f.dma, addr, 2 * GIO_PAGE_SIZE);
	assert_int_equal(gio_dma_map_gfn_split(&f.dma, gfn, 2 * GIO_PAGE_SIZE, 1, &addr), -GIO_EINVAL);
	assert_int_equal(gio_dma_map_gfn_split(&f.dma, gfn, GIO_PAGE_SIZE, GIO_PAGE_SIZE, &addr), -GIO_EINVAL);
	assert_int_equal(stats(&f).granted, 0);
	gio_os_pages_free(f.os, va, 2);
	fixture_close(&f);
}

/* Freed while the backend has it mapped: the page does not come back until the backend lets go. */
static void test_coherent_quarantine(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;
		struct fake_os_counts c;
		gio_dma_t addr;
		char *va;

		fixture_open(&f, v);
		va = gio_dma_alloc(&f.dma, 2 * GIO_PAGE_SIZE, 0, &addr);
		assert_non_null(va);
		assert_int_equal(fake_peer_pin(f.os, BACKEND, gio_dma_addr_gref(addr) + 1, true, NULL), 0);
		gio_dma_free(&f.dma, va, 2 * GIO_PAGE_SIZE, addr);
		fake_os_count(f.os, &c);
		assert_int_equal(c.pages, 1);
		assert_int_equal(stats(&f).quarantined, 1);
		fake_peer_unpin(f.os, gio_dma_addr_gref(addr) + 1, true);
		assert_int_equal(gio_grants_reap(f.grants), 0);
		fixture_close(&f);
	}
}

/* Freed by a wrong address: the pages may still be granted by the right one, so they stay. */
static void test_coherent_misuse(void **state)
{
	struct fixture f;
	struct fake_os_counts c;
	gio_dma_t addr;
	char *va;

	(void)state;
	fixture_open(&f, 1);
	va = gio_dma_alloc(&f.dma, 100, 0, &addr);
	assert_non_null(va);
	gio_dma_free(&f.dma, va, 100, addr + GIO_PAGE_SIZE);
	gio_dma_free(&f.dma, va, 5000, addr);
	assert_int_equal(stats(&f).misuses, 2);
	fake_os_count(f.os, &c);
	assert_int_equal(c.pages, 1);
	gio_dma_free(&f.dma, va, 100, addr);
	fixture_close(&f);
}

/* Fail the N-th thing the system is asked for, over a scenario with all kinds of mappings. */
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_coherent),	cmocka_unit_test(test_coherent_split),
		cmocka_unit_test(test_gfn_split),	cmocka_unit_test(test_coherent_quarantine),
		cmocka_unit_test(test_coherent_misuse),
	};

	return cmocka_run_group_tests_name("dma", tests, NULL, NULL);
}
