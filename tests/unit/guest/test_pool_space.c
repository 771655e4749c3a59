/* SPDX-License-Identifier: MIT */
/* The space of a pool: who gets it, what is refused, and when it is full. */
#include "tests/unit/guest/pool_rig.h"

static void test_small(void **state)
{
	struct pool_rig f;
	gio_dma_t header[256], status[4096], page;

	(void)state;
	pr_open(&f, SMALL);
	for (unsigned i = 0; i < 256; i++) {
		header[i] = pr_get(&f, 16, GIO_DMA_TO_DEVICE);
		assert_int_equal(header[i], header[0] + i * 16);
	}
	for (unsigned i = 0; i < 4096; i++) { /* rounded up to a page */
		status[i] = pr_get(&f, 1, GIO_DMA_FROM_DEVICE);
		assert_int_equal(status[i], status[0] + i);
	}
	assert_int_equal(pr_stats(&f).small[0], 256);
	assert_int_equal(pr_stats(&f).small[1], 4096);
	assert_int_equal(pr_stats(&f).used, 0);
	page = pr_get(&f, 16, GIO_DMA_TO_DEVICE); /* the slots are full: of the data's units, then */
	assert_int_equal(page & GIO_PAGE_MASK, 0);
	assert_int_not_equal(gio_dma_addr_gref(page), gio_dma_addr_gref(header[0]));
	pr_put(&f, page, 16);
	page = pr_get(&f, 17, GIO_DMA_TO_DEVICE);
	assert_int_equal(pr_stats(&f).used, 1);
	pr_put(&f, page, 17);
	for (unsigned i = 0; i < 256; i++)
		pr_put(&f, header[i], 16);
	for (unsigned i = 0; i < 4096; i++)
		pr_put(&f, status[i], 1);
	pr_close(&f);
}

/* All of the room can be got, no unit twice; then it says so, and goes on with the next put. */
static void test_exhaustion(void **state)
{
	struct pool_rig f;
	gio_dma_t addr[128], more;

	(void)state;
	pr_open(&f, SMALL);
	for (unsigned i = 0; i < 127; i++) {
		addr[i] = pr_get(&f, 4096, GIO_DMA_FROM_DEVICE);
		for (unsigned j = 0; j < i; j++)
			assert_int_not_equal(addr[i], addr[j]);
	}
	assert_int_equal(gio_pool_data_bytes(f.pool, GIO_DMA_FROM_DEVICE), 127 * 4096);
	assert_int_equal(gio_pool_get(f.pool, 0, 4096, GIO_DMA_BOTH, 0, &more), -GIO_ENOMEM);
	assert_int_equal(pr_stats(&f).full, 1);
	more = pr_get(&f, 4096, GIO_DMA_TO_DEVICE); /* the other area is not touched by that */
	pr_put(&f, more, 4096);
	pr_put(&f, addr[77], 4096);
	assert_int_equal(pr_get(&f, 4096, GIO_DMA_FROM_DEVICE), addr[77]);
	for (unsigned i = 0; i < 127; i++)
		pr_put(&f, addr[i], 4096);
	pr_close(&f);
}

/* Hints begin apart, and take the others' space when theirs is gone. */
static void test_shares(void **state)
{
	struct gio_pool_config config = {.read_pages = 256, .write_pages = 64, .shares = 4};
	struct pool_rig f;
	gio_dma_t addr[4], more;

	(void)state;
	pr_open(&f, config);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(gio_pool_get(f.pool, i, 4096, GIO_DMA_TO_DEVICE, 0, &addr[i]), 0);
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(addr[i], addr[0] + i * 64 * 4096);
	for (unsigned i = 0; i < 4; i++)
		pr_put(&f, addr[i], 4096);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(gio_pool_get(f.pool, 2, 64 * 4096, GIO_DMA_TO_DEVICE, 0, &addr[i]), 0);
	assert_int_equal(gio_pool_get(f.pool, 2, 1, GIO_DMA_TO_DEVICE, 0, &more), -GIO_ENOMEM);
	pr_put(&f, addr[3], 64 * 4096);
	assert_int_equal(gio_pool_get(f.pool, UINT32_MAX, 1, GIO_DMA_TO_DEVICE, 0, &more), 0);
	pr_put(&f, more, 1);
	for (unsigned i = 0; i < 3; i++)
		pr_put(&f, addr[i], 64 * 4096);
	pr_close(&f);
}

static void test_refused(void **state)
{
	struct pool_rig f;
	gio_dma_t a, b, got, small;

	(void)state;
	pr_open(&f, SMALL);
	assert_int_equal(gio_pool_get(f.pool, 0, 0, GIO_DMA_BOTH, 0, &got), -GIO_EINVAL);
	assert_int_equal(gio_pool_get(f.pool, 0, 64 * 4096 + 1, GIO_DMA_BOTH, 0, &got), -GIO_ERANGE);
	assert_int_equal(gio_pool_get(f.pool, 0, SIZE_MAX, GIO_DMA_BOTH, 0, &got), -GIO_ERANGE);
	a = pr_get(&f, 10000, GIO_DMA_BOTH);
	b = pr_get(&f, 10000, GIO_DMA_BOTH);
	small = pr_get(&f, 16, GIO_DMA_TO_DEVICE);
	const struct {
		gio_dma_t addr;
		size_t len;
	} wrong[] = {
		{a, 0},
		{a, 9999},
		{a, 10001},
		{a, 4096},
		{a + 1, 10000},
		{a + 4096, 10000},
		{a + 4096, 5904},
		{a, SIZE_MAX},
		{0, 10000},
		{a ^ GIO_DMA_GRANT_BIT, 10000},
		{small + 1, 15},
		{small + 16, 16},
		{small, 15},
		{gio_dma_addr(0, 0), 16},
		{gio_dma_addr(UINT32_MAX, 0), 16},
	};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(gio_pool_put(f.pool, wrong[i].addr, wrong[i].len), -GIO_EINVAL);
	assert_int_equal(pr_stats(&f).misuses, sizeof(wrong) / sizeof(wrong[0]));
	assert_int_equal(pr_stats(&f).used, 6);
	pr_put(&f, a, 10000);
	assert_int_equal(gio_pool_put(f.pool, a, 10000), -GIO_EINVAL);
	pr_put(&f, b, 10000);
	pr_put(&f, small, 16);
	pr_close(&f);
}

static void test_find(void **state)
{
	struct pool_rig f;
	gio_dma_t addr;
	uint64_t cookie;
	size_t left;

	(void)state;
	pr_open(&f, SMALL);
	assert_int_equal(gio_pool_get(f.pool, 0, 10000, GIO_DMA_BOTH, 0x123456000, &addr), 0);
	for (size_t i = 0; i < 10000; i += 37) {
		assert_int_equal(gio_pool_find(f.pool, addr + i, &cookie, &left), 0);
		assert_int_equal(cookie, 0x123456000 + i);
		assert_int_equal(left, 10000 - i);
		assert_ptr_equal(gio_pool_va(f.pool, addr + i), (uint8_t *)gio_pool_va(f.pool, addr) + i);
	}
	assert_int_equal(gio_pool_find(f.pool, addr + 10000, &cookie, &left), -GIO_EINVAL);
	assert_int_equal(gio_pool_find(f.pool, addr + 3 * 4096, &cookie, &left), -GIO_EINVAL);
	pr_put(&f, addr, 10000);
	for (size_t i = 0; i < 12000; i += 1000)
		assert_int_equal(gio_pool_find(f.pool, addr + i, &cookie, &left), -GIO_EINVAL);
	assert_int_equal(gio_pool_find(f.pool, 4096, &cookie, &left), -GIO_EINVAL);
	assert_null(gio_pool_va(f.pool, 4096));
	assert_null(gio_pool_va(f.pool, gio_dma_addr(0, 0)));
	pr_close(&f);
}

static uint32_t next(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

struct live {
	gio_dma_t addr;
	size_t len;
	uint8_t mark;
};

static void live_put(const struct pool_rig *f, struct live *l)
{
	const uint8_t *va = gio_pool_va(f->pool, l->addr);

	if (!l->len)
		return;
	assert_true(va[0] == l->mark && va[l->len - 1] == l->mark);
	pr_put(f, l->addr, l->len);
	l->len = 0;
}

static int live_get(const struct pool_rig *f, struct live *l, uint32_t *seed, uint32_t pages)
{
	l->len = next(seed) % 3 ? next(seed) % (pages * 4096) + 1 : pages * 4096;
	l->mark = (uint8_t)next(seed);
	if (gio_pool_get(f->pool, next(seed), l->len, GIO_DMA_BOTH, 0, &l->addr)) {
		l->len = 0;
		return -1;
	}
	memset(gio_pool_va(f->pool, l->addr), l->mark, l->len);
	return 0;
}

/*
 * Space of any length comes and goes; each holds what its owner put there. Whenever all of it has been put back, a
 * request of the pages that are promised can be mapped, whatever its mappings' lengths are.
 */
static void random_rounds(uint32_t pages, uint32_t mapping, uint32_t seed)
{
	struct gio_pool_config config = {.read_pages = pages,
					 .write_pages = pages,
					 .small_read = 1,
					 .small_write = 1,
					 .mapping_pages = mapping,
					 .shares = 3};
	struct live live[512] = {{0}};
	struct pool_rig f;
	uint32_t promised;

	pr_open(&f, config);
	promised = gio_pool_request_pages(f.pool);
	assert_in_range(promised, mapping, pages / 2 > mapping ? pages / 2 : mapping);
	for (unsigned round = 0; round < 200; round++) {
		uint32_t left = promised;

		for (unsigned i = 0; i < 100; i++) {
			struct live *l = &live[next(&seed) % 40];

			if (l->len)
				live_put(&f, l);
			else
				live_get(&f, l, &seed, mapping);
		}
		for (unsigned k = 0; k < 40; k++)
			live_put(&f, &live[k]);
		for (unsigned k = 0; left; k++) {
			assert_int_equal(live_get(&f, &live[k], &seed, left < mapping ? left : mapping), 0);
			left -= (uint32_t)((live[k].len + 4095) / 4096);
		}
		for (unsigned k = 0; k < 512; k++)
			live_put(&f, &live[k]);
	}
	pr_close(&f);
}

static void test_random(void **state)
{
	(void)state;
	random_rounds(200, 16, 88172645);
	random_rounds(520, 64, 1234567);
	random_rounds(520, 33, 7654321);
	random_rounds(65, 60, 99);
	random_rounds(2, 1, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small),	cmocka_unit_test(test_exhaustion), cmocka_unit_test(test_shares),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_find),	   cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
