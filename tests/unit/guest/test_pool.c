/* SPDX-License-Identifier: MIT */
/* What a pool is, what it shows, and how it ends. */
#include "tests/unit/guest/pool_rig.h"

/* ---- what a pool is ----------------------------------------------------------------------------------------- */

/* Each reference that a pool names is granted with the permission that is said, to the backend alone. */
static void check_runs(const struct pool_rig *f, uint32_t pages)
{
	struct gio_pool_run runs[GIO_POOL_RUNS];
	unsigned count = gio_pool_runs(f->pool, runs);
	uint8_t byte = 1;

	assert_in_range(count, 2, GIO_POOL_RUNS);
	for (unsigned i = 0; i < count; i++)
		for (uint32_t j = 0; j < runs[i].count; j++, pages--) {
			gio_dma_t addr = gio_dma_addr(runs[i].first + j, 5);

			assert_int_equal(pr_read(f, addr, &byte, 1), 0);
			assert_int_equal(pr_write(f, addr, &byte, 1) == 0, !runs[i].readonly);
			assert_int_not_equal(fake_peer_copy(f->os, BACKEND + 1, addr, &byte, 1, false), 0);
		}
	assert_int_equal(pages, 0);
}

static void test_open(void **state)
{
	struct pool_rig f;
	struct fake_os_counts counts;

	(void)state;
	for (uint32_t version = 1; version <= 2; version++) {
		pr_system_open(&f, version);
		assert_int_equal(pr_pool_open(&f, SMALL), 0);
		check_runs(&f, 256);
		assert_int_equal(pr_stats(&f).pages, 256);
		assert_int_equal(pr_grants(&f).used, 256);
		fake_os_count(f.os, &counts);
		assert_int_equal(counts.active, 256); /* and so nothing else is granted: no bookkeeping, for one */
		pr_close(&f);
	}
}

static void test_defaults(void **state)
{
	struct pool_rig f;

	(void)state;
	pr_open(&f, (struct gio_pool_config){0});
	check_runs(&f, 1024);
	assert_int_equal(gio_pool_mapping_max(f.pool), 256 << 10);
	assert_int_equal(gio_pool_request_pages(f.pool), 7 * 32);
	assert_int_equal(gio_pool_data_bytes(f.pool, GIO_DMA_TO_DEVICE), 2 << 20);
	assert_int_equal(gio_pool_data_bytes(f.pool, GIO_DMA_FROM_DEVICE), 2 << 20);
	pr_close(&f);
}

static void test_sizes(void **state)
{
	static const struct gio_pool_config bad[] = {
		{.read_pages = GIO_POOL_PAGES_MAX, .write_pages = 1},
		{.read_pages = UINT32_MAX, .write_pages = 1},
		{.read_pages = 1, .write_pages = UINT32_MAX},
		{.read_pages = 1, .write_pages = 1, .small_read = 1},
		{.read_pages = 1, .write_pages = 2, .small_write = 2 * GIO_PAGE_SIZE},
		{.small_read = UINT32_MAX},
		{.small_write = UINT32_MAX},
		{.read_pages = 8, .write_pages = 64, .mapping_pages = 9},
		{.read_pages = 64, .write_pages = 64, .mapping_pages = 65},
		{.mapping_pages = UINT32_MAX},
	};
	struct pool_rig f;

	(void)state;
	pr_system_open(&f, 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(pr_pool_open(&f, bad[i]), -GIO_EINVAL);
	assert_int_equal(pr_pool_open(&f, (struct gio_pool_config){.read_pages = 1, .write_pages = 1}), 0);
	assert_int_equal(gio_pool_mapping_max(f.pool), GIO_PAGE_SIZE);
	assert_int_equal(gio_pool_request_pages(f.pool), 1);
	pr_put(&f, pr_get(&f, 1, GIO_DMA_TO_DEVICE), 1);
	pr_close(&f);
}

/* Each step of opening fails once; then nothing is left. */
static void test_open_faults(void **state)
{
	(void)state;
	for (unsigned n = 1;; n++) {
		struct pool_rig f;
		int err;

		pr_system_open(&f, 1);
		fake_os_fail(f.os, FAKE_ANY, n);
		err = pr_pool_open(&f, SMALL);
		if (!fake_os_struck(f.os, FAKE_ANY)) {
			assert_int_equal(err, 0);
			assert_in_range(n, 4, 20);
			pr_close(&f);
			return;
		}
		assert_int_equal(err, -GIO_ENOMEM);
		pr_system_close(&f);
	}
}

/* A table whose free references lie in pieces: several runs, none of which a mapping leaves. */
static void test_pieces(void **state)
{
	const struct fake_os_config config = {.pages = ARENA, .max_frames = 1};
	struct gio_pool_run runs[GIO_POOL_RUNS];
	gio_gref_t hole[3], piece[3];
	struct pool_rig f = {.os = fake_os_new(&config)};
	gio_dma_t addr[8];

	(void)state;
	assert_int_equal(gio_grants_open(&f.grants, f.os, 8), 0);
	for (unsigned i = 0; i < 3; i++) { /* 504 references: cut at 140, 281 and 422 */
		assert_int_equal(gio_grants_alloc(f.grants, 140, &piece[i]), 0);
		assert_int_equal(gio_grants_alloc(f.grants, 1, &hole[i]), 0);
	}
	for (unsigned i = 0; i < 3; i++)
		gio_grants_free(f.grants, piece[i], 140);
	assert_int_equal(pr_pool_open(&f, (struct gio_pool_config){.read_pages = 192, .write_pages = 64}), 0);
	assert_int_equal(gio_pool_runs(f.pool, runs), 3);
	check_runs(&f, 256);
	for (unsigned i = 0; i < 3; i++) {
		uint32_t last;

		addr[i] = pr_get(&f, 64 * GIO_PAGE_SIZE, GIO_DMA_TO_DEVICE);
		last = gio_dma_addr_gref(addr[i]) + 63;
		for (unsigned j = 0; j < 3; j++)
			assert_false(gio_dma_addr_gref(addr[i]) < hole[j] && hole[j] <= last);
		assert_ptr_equal((uint8_t *)gio_pool_va(f.pool, addr[i]) + 63 * GIO_PAGE_SIZE,
				 gio_pool_va(f.pool, gio_dma_addr(last, 0)));
	}
	for (unsigned i = 0; i < 3; i++)
		pr_put(&f, addr[i], 64 * GIO_PAGE_SIZE);
	assert_int_equal(gio_pool_close(f.pool), 0);
	/* More pieces than there may be runs: refused, and nothing is left. */
	assert_int_equal(pr_pool_open(&f, (struct gio_pool_config){.read_pages = 500, .write_pages = 500}),
			 -GIO_ENOSPC);
	for (unsigned i = 0; i < 3; i++)
		gio_grants_free(f.grants, hole[i], 1);
	pr_system_close(&f);
}

/* ---- data --------------------------------------------------------------------------------------------------- */

static const size_t lengths[] = {1, 2, 16, 17, 512, 4095, 4096, 4097, 20000, 64 * 4096 - 1, 64 * 4096};

/* The right bytes in both directions, whatever the length. */
static void test_map(void **state)
{
	static uint8_t buf[64 * 4096], seen[64 * 4096];
	struct pool_rig f;

	(void)state;
	pr_open(&f, SMALL);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		for (enum gio_dma_dir dir = GIO_DMA_TO_DEVICE; dir <= GIO_DMA_BOTH; dir++) {
			size_t len = lengths[i];
			gio_dma_t addr;

			pr_pattern(buf, sizeof(buf), (uint8_t)i);
			assert_int_equal(gio_pool_map(f.pool, 0, buf, len, dir, &addr), 0);
			assert_int_equal(pr_read(&f, addr, seen, len), 0);
			if (dir != GIO_DMA_FROM_DEVICE)
				assert_memory_equal(seen, buf, len);
			pr_pattern(seen, len, (uint8_t)(i + 99));
			assert_int_equal(pr_write(&f, addr, seen, len) == 0, dir != GIO_DMA_TO_DEVICE);
			assert_int_equal(gio_pool_unmap(f.pool, buf, len, dir, addr), 0);
			if (dir == GIO_DMA_TO_DEVICE)
				pr_pattern(seen, sizeof(seen), (uint8_t)i); /* untouched */
			assert_memory_equal(seen, buf, len);
			pr_pattern(seen, sizeof(seen), (uint8_t)i);
			assert_memory_equal(buf + len, seen + len, sizeof(buf) - len); /* and nothing behind it */
		}
	pr_close(&f);
}

/* Nothing of what lay in these pages before they were the pool's, in either area, small slots included. */
static void test_nothing_old(void **state)
{
	struct gio_pool_run runs[GIO_POOL_RUNS];
	struct pool_rig f;
	uint8_t *all, page[GIO_PAGE_SIZE];
	unsigned count;

	(void)state;
	pr_system_open(&f, 1);
	all = gio_os_pages_alloc(f.os, ARENA);
	memset(all, 0xee, (size_t)ARENA * GIO_PAGE_SIZE);
	gio_os_pages_free(f.os, all, ARENA);
	assert_int_equal(pr_pool_open(&f, SMALL), 0);
	count = gio_pool_runs(f.pool, runs);
	for (unsigned i = 0; i < count; i++)
		for (uint32_t j = 0; j < runs[i].count; j++) {
			assert_int_equal(pr_read(&f, gio_dma_addr(runs[i].first + j, 0), page, sizeof(page)), 0);
			assert_true(pr_is_zero(page, sizeof(page)));
		}
	pr_close(&f);
}

/* Space that the device reads shows what was asked for and zeroes: no rest of what was there before. */
static void test_rest_is_zero(void **state)
{
	static uint8_t buf[64 * 4096], seen[64 * 4096];
	struct pool_rig f;

	(void)state;
	pr_open(&f, SMALL);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		for (enum gio_dma_dir dir = GIO_DMA_TO_DEVICE; dir <= GIO_DMA_BOTH; dir += 2) {
			size_t len = lengths[i], unit = len > 16 || dir == GIO_DMA_BOTH ? 4096 : 16;
			size_t whole = dir == GIO_DMA_BOTH && len == 1 ? 1 : (len + unit - 1) / unit * unit;
			gio_dma_t addr;

			memset(buf, 0xee, sizeof(buf));
			assert_int_equal(gio_pool_map(f.pool, 0, buf, whole, dir, &addr), 0); /* dirty it */
			pr_put(&f, addr, whole);
			assert_int_equal(gio_pool_map(f.pool, 0, buf, len, dir, &addr), 0);
			assert_int_equal(pr_read(&f, addr, seen, whole), 0);
			assert_memory_equal(seen, buf, len);
			assert_true(pr_is_zero(seen + len, whole - len));
			pr_put(&f, addr, len);
		}
	pr_close(&f);
}

/* What the device does to its space after the copy does not reach the buffer; nor does a wrong unmap copy anything. */
static void test_copied_once(void **state)
{
	uint8_t buf[4096] = {0}, evil[4096], was[4096];
	struct pool_rig f;
	gio_dma_t addr;

	(void)state;
	memset(evil, 0x66, sizeof(evil));
	pr_pattern(was, sizeof(was), 3);
	pr_open(&f, SMALL);
	assert_int_equal(gio_pool_map(f.pool, 0, buf, sizeof(buf), GIO_DMA_FROM_DEVICE, &addr), 0);
	assert_int_equal(pr_write(&f, addr, was, sizeof(was)), 0);
	assert_int_equal(gio_pool_unmap(f.pool, buf, 512, GIO_DMA_FROM_DEVICE, addr), -GIO_EINVAL);
	assert_true(pr_is_zero(buf, sizeof(buf)));
	assert_int_equal(gio_pool_unmap(f.pool, buf, sizeof(buf), GIO_DMA_FROM_DEVICE, addr), 0);
	assert_int_equal(pr_write(&f, addr, evil, sizeof(evil)), 0); /* its grant lasts */
	assert_memory_equal(buf, was, sizeof(was));
	assert_int_equal(gio_pool_unmap(f.pool, buf, sizeof(buf), GIO_DMA_FROM_DEVICE, addr), -GIO_EINVAL);
	assert_memory_equal(buf, was, sizeof(was));
	pr_close(&f);
}

/* ---- the end ------------------------------------------------------------------------------------------------ */

/* A backend that keeps what it has mapped: that much is held, is used for nothing else, and comes back in the end. */
static void test_held(void **state)
{
	struct gio_pool_run runs[GIO_POOL_RUNS];
	struct pool_rig f;
	gio_gfn_t gfn[2];

	(void)state;
	for (uint32_t version = 1; version <= 2; version++) {
		pr_system_open(&f, version);
		assert_int_equal(pr_pool_open(&f, SMALL), 0);
		assert_int_equal(gio_pool_runs(f.pool, runs), 2);
		assert_int_equal(fake_peer_pin(f.os, BACKEND, runs[0].first + 3, false, &gfn[0]), 0);
		assert_int_equal(fake_peer_pin(f.os, BACKEND, runs[1].first + 127, true, &gfn[1]), 0);
		assert_int_equal(gio_pool_close(f.pool), 2);
		assert_int_equal(pr_grants(&f).quarantined, 2);
		assert_int_equal(pr_grants(&f).used, 2);
		for (unsigned i = 0; i < 2; i++)
			assert_true(fake_os_page_used(f.os, gfn[i]));
		assert_int_equal(pr_pool_open(&f, SMALL), 0); /* another one, beside what is held */
		fake_peer_unpin(f.os, runs[0].first + 3, false);
		fake_peer_unpin(f.os, runs[1].first + 127, true);
		gio_grants_reap(f.grants);
		for (unsigned i = 0; i < 2; i++)
			assert_int_equal(fake_os_page_holds(f.os, gfn[i]), 0);
		pr_close(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),	    cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_sizes),	    cmocka_unit_test(test_open_faults),
		cmocka_unit_test(test_pieces),	    cmocka_unit_test(test_map),
		cmocka_unit_test(test_nothing_old), cmocka_unit_test(test_rest_is_zero),
		cmocka_unit_test(test_copied_once), cmocka_unit_test(test_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
