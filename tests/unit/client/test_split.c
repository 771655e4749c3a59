/* SPDX-License-Identifier: MIT */
/* Cutting transfers by a device's limits, hostile limits among them. */
#include "client/split.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const struct gio_blk_info usual = {
	.capacity = 2048,
	.block_size = 512,
	.seg_max = 126,
	.max_discard = 1 << 20,
	.max_write_zeroes = 7,
	.queue_size = 128,
};

static int limits_of(struct gp_limits *limits, uint32_t size_max, uint32_t seg_max, unsigned ring, uint32_t block)
{
	struct gio_blk_info info = usual;

	info.size_max = size_max;
	info.seg_max = seg_max;
	info.queue_size = ring;
	info.block_size = block;
	return gp_limits_init(limits, &info);
}

static void test_no_limits(void **state)
{
	struct gp_limits limits;

	(void)state;
	assert_int_equal(gp_limits_init(&limits, &usual), 0);
	assert_int_equal(limits.request, GP_CHUNK_BYTES);
	assert_int_equal(limits.segment, GP_CHUNK_BYTES);
	assert_int_equal(limits.segments, 1);
	assert_int_equal(limits.discard, 512u << 20);
	assert_int_equal(limits.zero, 7 * 512);
}

static void test_segment_limit(void **state)
{
	struct gp_limits limits;

	(void)state;
	assert_int_equal(limits_of(&limits, 4096, 64, 128, 512), 0);
	assert_int_equal(limits.request, 64 * 4096);
	assert_int_equal(limits.segments, 64);
	assert_int_equal(limits_of(&limits, 4096, 8, 128, 512), 0);
	assert_int_equal(limits.request, 8 * 4096);
}

static void test_ring_limit(void **state)
{
	struct gp_limits limits;

	(void)state;
	/* a chain of header, data and status fits in four descriptors with two of data */
	assert_int_equal(limits_of(&limits, 4096, 126, 4, 512), 0);
	assert_int_equal(limits.request, 2 * 4096);
	assert_int_equal(limits_of(&limits, 4096, 126, 2, 512), -GIO_ERANGE);
}

static void test_no_seg_max_is_one_segment(void **state)
{
	struct gp_limits limits;

	(void)state;
	assert_int_equal(limits_of(&limits, 8192, 0, 128, 512), 0);
	assert_int_equal(limits.request, 8192);
}

/* Each segment takes whole pages of the pool: 3 of 8193 bytes, so that 7 pages hold two of them. */
static void test_pool_limit(void **state)
{
	struct gio_blk_info info = usual;
	struct gp_limits limits;

	(void)state;
	info.pages_max = 16;
	assert_int_equal(gp_limits_init(&limits, &info), -GIO_ERANGE); /* a segment of 256 KiB does not fit */
	info.size_max = 4096;
	assert_int_equal(gp_limits_init(&limits, &info), 0);
	assert_int_equal(limits.request, 65536);
	assert_int_equal(limits.segments, 16);
	info.size_max = 8193;
	info.pages_max = 7;
	assert_int_equal(gp_limits_init(&limits, &info), 0);
	assert_int_equal(limits.request, 2 * 8193 - 2 * 8193 % 512);
	info.pages_max = 2;
	assert_int_equal(gp_limits_init(&limits, &info), -GIO_ERANGE);
}

static void test_odd_segments_make_whole_blocks(void **state)
{
	struct gp_limits limits;
	struct gio_sg sg[8];
	char buf[3072];
	size_t sum = 0;

	(void)state;
	assert_int_equal(limits_of(&limits, 1000, 4, 128, 512), 0);
	assert_int_equal(limits.request, 3584);
	assert_int_equal(limits.segments, 4);
	assert_int_equal(gp_limits_segments(&limits, buf, sizeof(buf), sg), 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_ptr_equal(sg[i].va, buf + sum);
		assert_true(sg[i].len <= 1000);
		sum += sg[i].len;
	}
	assert_int_equal(sum, sizeof(buf));
}

static void test_hostile_limits(void **state)
{
	struct gp_limits limits;

	(void)state;
	assert_int_equal(limits_of(&limits, 100, 5, 128, 512), -GIO_ERANGE);
	assert_int_equal(limits_of(&limits, 0, 126, 128, 1000), -GIO_ERANGE);
	assert_int_equal(limits_of(&limits, 0, 126, 128, 1u << 31), -GIO_ERANGE);
	assert_int_equal(limits_of(&limits, UINT32_MAX, UINT32_MAX, UINT32_MAX, 512), 0);
	assert_int_equal(limits.request, GP_CHUNK_BYTES);
	assert_int_equal(limits_of(&limits, 1, 1024, 1024, 512), 0);
	assert_int_equal(limits.request, 512);
	assert_int_equal(limits.segments, 512);
	assert_int_equal(limits_of(&limits, 0, 126, 128, 0), 0);
	assert_int_equal(limits.block, 512);
}

static void test_ranges_of_whole_blocks(void **state)
{
	struct gp_limits limits;

	(void)state;
	assert_int_equal(limits_of(&limits, 0, 126, 128, 4096), 0);
	assert_int_equal(limits.zero, 0); /* seven sectors are no block of 4096 */
	assert_int_equal(gp_limits_range(&limits, 1 << 20, 0, 1 << 20), 0);
	assert_int_equal(gp_limits_range(&limits, 1 << 20, 1 << 20, 0), 0);
	assert_int_equal(gp_limits_range(&limits, 1 << 20, 4096, 1 << 20), -GIO_EINVAL);
	assert_int_equal(gp_limits_range(&limits, 1 << 20, 512, 4096), -GIO_EINVAL);
	assert_int_equal(gp_limits_range(&limits, 1 << 20, 0, 512), -GIO_EINVAL);
	assert_int_equal(gp_limits_range(&limits, 1 << 20, UINT64_MAX - 4095, 8192), -GIO_EINVAL);
	assert_int_equal(gp_limits_range(&limits, 1 << 20, 4096, UINT64_MAX - 4095), -GIO_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_limits),
		cmocka_unit_test(test_segment_limit),
		cmocka_unit_test(test_ring_limit),
		cmocka_unit_test(test_no_seg_max_is_one_segment),
		cmocka_unit_test(test_odd_segments_make_whole_blocks),
		cmocka_unit_test(test_pool_limit),
		cmocka_unit_test(test_hostile_limits),
		cmocka_unit_test(test_ranges_of_whole_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
