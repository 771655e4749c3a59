/* SPDX-License-Identifier: MIT */
/* Guest addresses, mappings, and the copy batch: what it joins, what it must not join, and whose fault is whose. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/count.h"
#include "backend/guestmem/copy.h"
#include "backend/guestmem/guestmem.h"
#include "tests/unit/backend/fake.h"

#define CAPACITY 64u

static struct gd_copy *copy;
static uint8_t *local; /* 16 pages, page-aligned */

static int setup(void **state)
{
	fake_setup(state);
	assert_int_equal(gd_copy_open(&copy, FAKE_DOMID, &gd_way_grants, CAPACITY), 0);
	local = aligned_alloc(FAKE_PAGE, 16 * FAKE_PAGE);
	assert_non_null(local);
	memset(local, 0, 16 * FAKE_PAGE);
	for (unsigned i = 0; i < 32 * FAKE_PAGE; i++)
		fake_xen.ram[i] = (uint8_t)(i * 31 + i / FAKE_PAGE);
	return 0;
}

static int teardown(void **state)
{
	gd_copy_close(copy);
	free(local);
	return fake_teardown(state);
}

static int add(enum gd_copy_dir dir, uint32_t page, uint32_t offset, uint32_t at, uint32_t length, int *fault)
{
	return gd_copy_add(copy, dir, fake_addr(page, offset), local + at, length, fault);
}

/* Run, and check how many segments and operations that took, in one call, and what is counted of it. */
static void run_expect(unsigned segments, unsigned operations)
{
	unsigned before[3] = {fake_xen.copies, fake_xen.segments, fake_xen.operations};
	uint64_t hypercalls = gd_count_read(&gd_copy_counters(copy)->hypercalls);

	assert_int_equal(gd_copy_run(copy), 0);
	assert_int_equal(fake_xen.copies - before[0], 1);
	assert_int_equal(fake_xen.segments - before[1], segments);
	assert_int_equal(fake_xen.operations - before[2], operations);
	assert_int_equal(gd_count_read(&gd_copy_counters(copy)->hypercalls) - hypercalls, (operations + 15) / 16);
}

/* ---- addresses and mappings ---- */

static void test_range_valid(void **state)
{
	const uint64_t last = gio_dma_addr(UINT32_MAX, 0);

	(void)state;
	assert_true(gd_guestmem_range_valid(&gd_way_grants, gio_dma_addr(0, 0), 1));
	assert_false(gd_guestmem_range_valid(&gd_way_grants, gio_dma_addr(0, 0), 0));
	assert_false(gd_guestmem_range_valid(&gd_way_grants, 0x1000, 1));
	assert_false(gd_guestmem_range_valid(&gd_way_grants, UINT64_MAX, 1));
	assert_false(gd_guestmem_range_valid(&gd_way_grants, UINT64_MAX, UINT64_MAX));
	assert_true(gd_guestmem_range_valid(&gd_way_grants, last, 4096));
	assert_false(gd_guestmem_range_valid(&gd_way_grants, last, 4097));
	assert_false(gd_guestmem_range_valid(&gd_way_grants, last + 1, 4096));
	assert_false(gd_guestmem_range_valid(&gd_way_grants, gio_dma_addr(1, 0), UINT64_MAX));
	assert_false(gd_guestmem_range_valid(&gd_way_grants, GIO_DMA_GRANT_BIT | UINT64_C(1) << 44, 1));
}

static void test_map(void **state)
{
	struct gd_guestmem *mem;
	struct gd_guestmap map;

	(void)state;
	assert_int_equal(gd_guestmem_open(&mem, FAKE_DOMID, &gd_way_grants), 0);
	assert_int_equal(gd_guestmem_map(mem, fake_addr(3, 100), 4096, GD_ACCESS_READ, &map), 0);
	assert_ptr_equal(map.data, fake_page(3) + 100);
	assert_int_equal(map.pages, 2); /* the offset counts */
	assert_int_equal(fake_xen.readable, 2);
	assert_int_equal(fake_xen.writable, 0);
	gd_guestmem_unmap(mem, &map);
	gd_guestmem_unmap(mem, &map);
	assert_int_equal(fake_xen.unmaps, 1);
	fake_xen.grants[4] = FAKE_READONLY;
	assert_int_equal(gd_guestmem_map(mem, fake_addr(3, 0), 8192, GD_ACCESS_WRITE, &map), -EFAULT);
	assert_null(map.base);
	assert_int_equal(gd_guestmem_map(mem, fake_addr(3, 0), 8192, GD_ACCESS_READ, &map), 0);
	gd_guestmem_unmap(mem, &map);
	assert_int_equal(gd_guestmem_map(mem, 0x3000, 16, GD_ACCESS_READ, &map), -EFAULT);
	assert_int_equal(gd_guestmem_map(mem, fake_addr(3, 0), 8 * 4096 + 1, GD_ACCESS_READ, &map), -E2BIG);
	fake_xen.fail_map = 1;
	fake_xen.fail_errno = ENOMEM;
	assert_int_equal(gd_guestmem_map(mem, fake_addr(3, 0), 16, GD_ACCESS_READ, &map), -ENOMEM);
	gd_guestmem_close(mem);
	gd_guestmem_close(NULL);
}

/* ---- cutting and joining ---- */

static void test_cut_at_pages(void **state)
{
	int fault = 0;

	(void)state;
	assert_int_equal(add(GD_COPY_FETCH, 1, 100, 100, 3 * 4096, &fault), 0);
	run_expect(4, 4);
	assert_memory_equal(local + 100, fake_page(1) + 100, 3 * 4096);
	assert_int_equal(fault, 0);
	assert_int_equal(local[99], 0);
	assert_int_equal(local[100 + 3 * 4096], 0);
}

/* The same at another offset in our page: each page of the guest lies in two of ours. */
static void test_offset_costs_operations(void **state)
{
	int fault = 0;

	(void)state;
	add(GD_COPY_FETCH, 1, 0, 512, 2 * 4096, &fault);
	run_expect(2, 4);
}

static void test_push(void **state)
{
	int fault = 0;

	(void)state;
	memset(local, 0x5a, 8192);
	add(GD_COPY_PUSH, 5, 4000, 4000, 200, &fault);
	run_expect(2, 2);
	assert_memory_equal(fake_page(5) + 4000, local, 200);
	assert_int_equal(fake_page(5)[3999], (uint8_t)((5 * 4096 + 3999) * 31 + 5));
	assert_int_equal(fake_page(5)[4200], (uint8_t)((5 * 4096 + 4200) * 31 + 6));
}

/* Adjacent for the guest and for us: one segment, as long as it is one request's. */
static void test_adjacent_joined(void **state)
{
	int a = 0, b = 0;

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		add(GD_COPY_FETCH, 1, i * 1024, i * 1024, 1024, &a);
	run_expect(1, 1);
	assert_memory_equal(local, fake_page(1), 4096);
	add(GD_COPY_FETCH, 1, 0, 0, 1024, &a);
	add(GD_COPY_FETCH, 1, 1024, 1024, 1024, &b);
	run_expect(2, 2);
	add(GD_COPY_FETCH, 1, 0, 0, 1024, &a);
	add(GD_COPY_FETCH, 1, 1024, 2048, 1024, &a);
	run_expect(2, 2);
	add(GD_COPY_FETCH, 1, 0, 0, 1024, &a); /* a gap for the guest, none for us */
	add(GD_COPY_FETCH, 1, 2048, 1024, 1024, &a);
	run_expect(2, 2);
	assert_memory_equal(local + 1024, fake_page(1) + 2048, 1024);
	add(GD_COPY_FETCH, 1, 0, 0, 1024, &a);
	add(GD_COPY_PUSH, 1, 1024, 1024, 1024, &a);
	run_expect(2, 2);
	add(GD_COPY_FETCH, 1, 3072, 3072, 1024, &a);
	add(GD_COPY_FETCH, 2, 0, 4096, 1024, &a);
	run_expect(2, 2);
}

/* Headers in one page, in no order: one segment from the first to the last byte. */
static void test_headers_joined(void **state)
{
	static const uint32_t offsets[] = {4080, 16, 1024, 0, 2000};
	int faults[5] = {0};

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		add(GD_COPY_FETCH, 3, offsets[i], i * 16, 16, &faults[i]);
	run_expect(1, 1);
	for (unsigned i = 0; i < 5; i++) {
		assert_memory_equal(local + i * 16, fake_page(3) + offsets[i], 16);
		assert_int_equal(faults[i], 0);
	}
}

static void test_headers_of_two_pages(void **state)
{
	int fault = 0;

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		add(GD_COPY_FETCH, 3 + i % 2, i * 64, i * 16, 16, &fault);
	run_expect(2, 2);
	for (unsigned i = 0; i < 8; i++)
		assert_memory_equal(local + i * 16, fake_page(3 + i % 2) + i * 64, 16);
}

/* A header across the end of a page, overlapping headers, the same header twice. */
static void test_headers_odd(void **state)
{
	int fault = 0;

	(void)state;
	add(GD_COPY_FETCH, 3, 4090, 0, 16, &fault);
	add(GD_COPY_FETCH, 3, 4085, 16, 16, &fault);
	add(GD_COPY_FETCH, 3, 4085, 32, 16, &fault);
	add(GD_COPY_FETCH, 3, 4000, 48, 64, &fault);
	run_expect(2, 2);
	assert_memory_equal(local, fake_page(3) + 4090, 16);
	assert_memory_equal(local + 16, fake_page(3) + 4085, 16);
	assert_memory_equal(local + 32, fake_page(3) + 4085, 16);
	assert_memory_equal(local + 48, fake_page(3) + 4000, 64);
	assert_int_equal(fault, 0);
}

/* Status bytes: neighbours are one segment; nothing between two that are not neighbours is touched. */
static void test_statuses_joined(void **state)
{
	uint8_t before[4096];
	int fault = 0;

	(void)state;
	memcpy(before, fake_page(6), 4096);
	for (unsigned i = 0; i < 10; i++) {
		local[i * 100] = (uint8_t)(0xa0 + i);
		add(GD_COPY_PUSH, 6, i < 5 ? 104 - i : 200 + 2 * i, i * 100, 1, &fault);
	}
	run_expect(1 + 5, 1 + 5);
	for (unsigned i = 0; i < 10; i++)
		before[i < 5 ? 104 - i : 200 + 2 * i] = (uint8_t)(0xa0 + i);
	assert_memory_equal(fake_page(6), before, 4096);
}

static void test_directions_apart(void **state)
{
	int fault = 0;

	(void)state;
	local[64] = 0x77;
	add(GD_COPY_FETCH, 6, 0, 0, 16, &fault);
	add(GD_COPY_PUSH, 6, 16, 64, 1, &fault);
	add(GD_COPY_FETCH, 6, 32, 16, 16, &fault);
	run_expect(2, 2);
	assert_int_equal(fake_page(6)[16], 0x77);
	assert_memory_equal(local + 16, fake_page(6) + 32, 16);
}

/* More staging than there is: the pieces go one by one, and all arrive. */
static void test_staging_full(void **state)
{
	struct gd_copy *large;
	int fault = 0;
	unsigned segments;

	(void)state;
	assert_int_equal(gd_copy_open(&large, FAKE_DOMID, &gd_way_grants, 1024), 0);
	for (unsigned page = 0; page < 100; page++) {
		gd_copy_add(large, GD_COPY_FETCH, fake_addr(page, 0), local + page * 32, 16, &fault);
		gd_copy_add(large, GD_COPY_FETCH, fake_addr(page, 4080), local + page * 32 + 16, 16, &fault);
	}
	segments = fake_xen.segments;
	assert_int_equal(gd_copy_run(large), 0);
	assert_int_equal(fake_xen.segments - segments, 64 + 2 * 36);
	for (unsigned page = 0; page < 100; page++) {
		assert_memory_equal(local + page * 32, fake_page(page), 16);
		assert_memory_equal(local + page * 32 + 16, fake_page(page) + 4080, 16);
	}
	gd_copy_close(large);
}

static void test_sorted_many(void **state)
{
	struct gd_copy *large;
	int fault = 0;

	(void)state;
	assert_int_equal(gd_copy_open(&large, FAKE_DOMID, &gd_way_grants, 1024), 0);
	for (unsigned i = 0; i < 1000; i++) /* 16-byte pieces of 25 pages in a scattered order */
		gd_copy_add(large, GD_COPY_FETCH, fake_addr(i * 7 % 25, i * 389 % 250 * 16), local + i * 16, 16,
			    &fault);
	assert_int_equal(gd_copy_run(large), 0);
	assert_int_equal(fake_xen.segments, 25);
	for (unsigned i = 0; i < 1000; i++)
		assert_memory_equal(local + i * 16, fake_page(i * 7 % 25) + i * 389 % 250 * 16, 16);
	gd_copy_close(large);
}

/* ---- room ---- */

static void test_room(void **state)
{
	int fault = 0;

	(void)state;
	assert_int_equal(gd_copy_room(copy), CAPACITY);
	assert_int_equal(gd_copy_cost(fake_addr(0, 0), 4096), 1);
	assert_int_equal(gd_copy_cost(fake_addr(0, 1), 4096), 2);
	assert_int_equal(gd_copy_cost(fake_addr(0, 4095), 2), 2);
	for (unsigned i = 0; i < CAPACITY - 1; i++)
		assert_int_equal(add(GD_COPY_FETCH, 0, 0, 0, i % 2 ? 16 : 1000, &fault), 0);
	assert_int_equal(gd_copy_room(copy), 1);
	assert_int_equal(add(GD_COPY_FETCH, 0, 4095, 0, 2, &fault), -ENOSPC);
	assert_int_equal(add(GD_COPY_FETCH, 0, 4095, 0, 1, &fault), 0);
	assert_int_equal(add(GD_COPY_FETCH, 0, 0, 0, 1, &fault), -ENOSPC);
	assert_int_equal(fault, 0);
	assert_int_equal(gd_copy_run(copy), 0);
	assert_int_equal(gd_copy_room(copy), CAPACITY);
}

static void test_nothing(void **state)
{
	int fault = 0;

	(void)state;
	assert_int_equal(add(GD_COPY_FETCH, 0, 0, 0, 0, &fault), 0);
	assert_int_equal(gd_copy_run(copy), 0);
	assert_int_equal(fake_xen.copies, 0);
	gd_copy_close(NULL);
	assert_int_equal(gd_copy_open(&(struct gd_copy *){NULL}, FAKE_DOMID, &gd_way_grants, 0), -EINVAL);
}

/* ---- faults ---- */

static void test_bad_address(void **state)
{
	int fault = 0;

	(void)state;
	assert_int_equal(gd_copy_add(copy, GD_COPY_FETCH, 0x1000, local, 16, &fault), -EFAULT);
	assert_int_equal(fault, -EFAULT);
	fault = 0;
	assert_int_equal(gd_copy_add(copy, GD_COPY_FETCH, gio_dma_addr(UINT32_MAX, 4095), local, 2, &fault), -EFAULT);
	assert_int_equal(fault, -EFAULT);
	assert_int_equal(gd_copy_room(copy), CAPACITY);
}

static void test_fault_of_one(void **state)
{
	int faults[3] = {0};

	(void)state;
	fake_xen.grants[2] = FAKE_NONE;
	fake_xen.grants[3] = FAKE_READONLY;
	add(GD_COPY_FETCH, 1, 0, 0, 4096, &faults[0]);
	add(GD_COPY_FETCH, 1, 2048, 4096, 4096, &faults[1]); /* its second half is not granted */
	add(GD_COPY_FETCH, 3, 0, 8192, 4096, &faults[2]);
	run_expect(4, 4);
	assert_int_equal(faults[0], 0);
	assert_int_equal(faults[1], -EFAULT);
	assert_int_equal(faults[2], 0); /* reading needs no more */
	faults[1] = 0;
	add(GD_COPY_PUSH, 3, 0, 0, 100, &faults[1]);
	assert_int_equal(gd_copy_run(copy), 0);
	assert_int_equal(faults[1], -EFAULT);
}

/* Joined pieces that are refused go one by one; here the page is bad, and so all of them are. */
static void test_fault_of_joined(void **state)
{
	int faults[4] = {0};

	(void)state;
	fake_xen.grants[2] = FAKE_NONE;
	for (unsigned i = 0; i < 4; i++)
		add(GD_COPY_FETCH, i < 3 ? 2 : 4, i * 16, i * 16, 16, &faults[i]);
	assert_int_equal(gd_copy_run(copy), 0);
	assert_int_equal(fake_xen.copies, 2);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(faults[i], -EFAULT);
	assert_int_equal(faults[3], 0);
	assert_memory_equal(local + 48, fake_page(4) + 48, 16);
}

/* Refused once, joined, and then not: nobody's fault. */
static void test_joined_split_and_done(void **state)
{
	int faults[4] = {0};

	(void)state;
	fake_xen.eagain = 1;
	for (unsigned i = 0; i < 4; i++)
		add(GD_COPY_FETCH, 2, i * 16, i * 16, 16, &faults[i]);
	assert_int_equal(gd_copy_run(copy), 0);
	assert_int_equal(fake_xen.copies, 2);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(faults[i], 0);
		assert_memory_equal(local + i * 16, fake_page(2) + i * 16, 16);
	}
}

static void test_eagain(void **state)
{
	int a = 0, b = 0;

	(void)state;
	fake_xen.eagain = 2; /* the second segment, once */
	add(GD_COPY_FETCH, 1, 0, 0, 4096, &a);
	add(GD_COPY_FETCH, 2, 0, 4096, 4096, &b);
	assert_int_equal(gd_copy_run(copy), 0);
	assert_int_equal(fake_xen.copies, 2);
	assert_int_equal(fake_xen.segments, 3);
	assert_int_equal(a, 0);
	assert_int_equal(b, 0);
	assert_memory_equal(local, fake_page(1), 8192);
}

static void test_eagain_for_ever(void **state)
{
	int a = 0, b = 0;

	(void)state;
	fake_xen.eagain_always = true;
	add(GD_COPY_FETCH, 1, 0, 0, 4096, &a);
	for (unsigned i = 0; i < 3; i++)
		add(GD_COPY_FETCH, 2, 64 * i, 4096 + 64 * i, 16, &b);
	assert_int_equal(gd_copy_run(copy), 0);
	assert_int_equal(fake_xen.copies, GD_COPY_TRIES + 1); /* the joined one, apart, once more */
	assert_int_equal(a, -EFAULT);
	assert_int_equal(b, -EFAULT);
}

static void test_call_fails(void **state)
{
	int faults[3] = {0};

	(void)state;
	fake_xen.fail_copy = 1;
	add(GD_COPY_FETCH, 1, 0, 0, 4096, &faults[0]);
	add(GD_COPY_FETCH, 2, 0, 4096, 16, &faults[1]);
	add(GD_COPY_FETCH, 2, 64, 4096 + 64, 16, &faults[2]);
	assert_int_equal(gd_copy_run(copy), -ENOMEM);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(faults[i], -EIO);
	assert_int_equal(gd_copy_room(copy), CAPACITY);
	faults[0] = 0;
	add(GD_COPY_FETCH, 1, 0, 0, 4096, &faults[0]);
	assert_int_equal(gd_copy_run(copy), 0);
	assert_int_equal(faults[0], 0);
}

static void test_open_fails(void **state)
{
	struct gd_guestmem *mem;
	struct gd_copy *other;

	(void)state;
	fake_xen.fail_open = 1;
	assert_int_equal(gd_copy_open(&other, FAKE_DOMID, &gd_way_grants, 16), -ENOENT);
	fake_xen.fail_open = 1;
	assert_int_equal(gd_guestmem_open(&mem, FAKE_DOMID, &gd_way_grants), -ENOENT);
}

/* The error of some former call must not be taken for this one's. */
static void test_open_fails_without_errno(void **state)
{
	const struct gd_way *ways[] = {&gd_way_grants, &gd_way_foreign};
	struct gd_guestmem *mem;

	(void)state;
	fake_xen.no_errno = true;
	for (unsigned i = 0; i < 2; i++) {
		fake_xen.fail_open = 1;
		errno = ENOTDIR;
		assert_int_equal(gd_guestmem_open(&mem, FAKE_DOMID, ways[i]), -ENODEV);
	}
}

/* An address of one way is none of the other: the bits above the page number tell them apart. */
static void test_addresses_of_ways(void **state)
{
	(void)state;
	assert_true(gd_guestmem_range_valid(&gd_way_foreign, 0x5000, 4096));
	assert_false(gd_guestmem_range_valid(&gd_way_grants, 0x5000, 4096));
	assert_true(gd_guestmem_range_valid(&gd_way_grants, gio_dma_addr(5, 0), 4096));
	assert_false(gd_guestmem_range_valid(&gd_way_foreign, gio_dma_addr(5, 0), 4096));
	for (unsigned bit = 44; bit < 64; bit++) {
		uint64_t addr = gio_dma_addr(5, 0) ^ (UINT64_C(1) << bit);

		assert_false(gd_guestmem_range_valid(&gd_way_grants, addr, 1));
		assert_int_equal(gd_guestmem_range_valid(&gd_way_foreign, addr, 1), bit == 63);
	}
}

static void test_counters(void **state)
{
	const struct gd_copy_stats *stats = gd_copy_counters(copy);
	int fault = 0;

	(void)state;
	add(GD_COPY_FETCH, 1, 0, 0, 8192, &fault);
	gd_copy_run(copy);
	assert_int_equal(stats->calls, 1);
	assert_int_equal(stats->segments, 2);
	assert_int_equal(stats->bytes, 8192);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_range_valid),
		T(test_map),
		T(test_cut_at_pages),
		T(test_offset_costs_operations),
		T(test_push),
		T(test_adjacent_joined),
		T(test_headers_joined),
		T(test_headers_of_two_pages),
		T(test_headers_odd),
		T(test_statuses_joined),
		T(test_directions_apart),
		T(test_staging_full),
		T(test_sorted_many),
		T(test_room),
		T(test_bad_address),
		T(test_fault_of_one),
		T(test_fault_of_joined),
		T(test_joined_split_and_done),
		T(test_eagain),
		T(test_eagain_for_ever),
		T(test_call_fails),
		T(test_open_fails),
		T(test_open_fails_without_errno),
		T(test_addresses_of_ways),
		T(test_counters),
		T(test_nothing),
	};

	return cmocka_run_group_tests_name("copy", tests, NULL, NULL);
}
