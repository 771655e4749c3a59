/* SPDX-License-Identifier: MIT */
/*
 * A guest's pool: what is taken for one, where a buffer lies in it, and what its copies cost.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/backend/fake.h"
#include "tests/unit/backend/pool_rig.h"

#include "backend/base/count.h"
#include "backend/guestmem/copy.h"

#define ROOM 64

/* ---- what is taken for a pool ----------------------------------------------------------------------------------- */

static void test_runs_are_refused(void **state)
{
	static const struct {
		struct gd_pool_run runs[2];
		unsigned count;
	} bad[] = {
		{{{100, 0, true}}, 1},
		{{{100, GD_POOL_RUN_PAGES + 1, true}}, 1},
		{{{100, UINT32_MAX, true}}, 1},
		{{{7, 1, true}}, 1},
		{{{0, 16, false}}, 1},
		{{{UINT32_MAX, 2, true}}, 1},
		{{{UINT32_MAX - 9, 11, true}}, 1},
		{{{100, 10, true}, {100, 10, false}}, 2}, /* the same twice */
		{{{100, 10, true}, {109, 10, true}}, 2},
		{{{109, 10, true}, {100, 10, true}}, 2},
		{{{100, 10, true}, {103, 2, true}}, 2}, /* one within the other */
		{{{103, 2, true}, {100, 10, true}}, 2},
		{{{100, 10, true}, {110, 0, true}}, 2}, /* the second is looked at, too */
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		unsigned lines = fake_log_lines;

		assert_int_equal(pool_rig_try(bad[i].runs, bad[i].count, POOL_RIG_ALL, false), -EINVAL);
		assert_null(pool_rig);
		assert_int_equal(fake_log_lines, lines + 1);
		assert_int_equal(fake_xen.maps, 0);
	}
}

static void test_limits(void **state)
{
	static const struct gd_pool_run last = {UINT32_MAX, 1, true}, first = {GD_POOL_FIRST, 1, true};
	struct gd_pool_run runs[GD_POOL_RUNS + 1];

	(void)state;
	for (unsigned i = 0; i <= GD_POOL_RUNS; i++)
		runs[i] = (struct gd_pool_run){FAKE_GREF_BASE + 2 * i, 2, true}; /* they touch, and do not overlap */
	assert_int_equal(pool_rig_try(runs, GD_POOL_RUNS + 1, POOL_RIG_ALL, false), -EINVAL);
	assert_int_equal(pool_rig_try(runs, GD_POOL_RUNS, 2 * GD_POOL_RUNS - 1, false), -EINVAL);
	assert_int_equal(pool_rig_try(runs, GD_POOL_RUNS, 2 * GD_POOL_RUNS, false), 0);
	assert_int_equal(gd_pool_pages(pool_rig), 2 * GD_POOL_RUNS);
	gd_pool_unmap(pool_rig);
	/* These can exist, although this guest does not grant them: they are not mapped, and that is no error. */
	assert_int_equal(pool_rig_try(&last, 1, POOL_RIG_ALL, false), 0);
	assert_true(gd_pool_names(pool_rig, UINT32_MAX));
	gd_pool_unmap(pool_rig);
	assert_int_equal(pool_rig_try(&first, 1, POOL_RIG_ALL, false), 0);
	assert_int_equal(gd_pool_pages(pool_rig), 0);
	gd_pool_unmap(pool_rig);
	assert_int_equal(pool_rig_try(NULL, 0, 0, true), 0); /* a pool of nothing */
	assert_false(gd_pool_names(pool_rig, FAKE_GREF_BASE));
}

static void test_mapped_as_granted(void **state)
{
	(void)state;
	pool_rig_map(false);
	assert_int_equal(fake_xen.maps, 2);
	assert_int_equal(fake_xen.readable, POOL_RIG_PAGES);
	assert_int_equal(fake_xen.writable, POOL_RIG_PAGES);
	assert_int_equal(fake_log_lines, 0);
	assert_true(gd_pool_names(pool_rig, pool_rig_runs[0].first) &&
		    gd_pool_names(pool_rig, pool_rig_runs[1].first + POOL_RIG_PAGES - 1));
	assert_false(gd_pool_names(pool_rig, pool_rig_runs[0].first - 1) ||
		     gd_pool_names(pool_rig, pool_rig_runs[1].first + POOL_RIG_PAGES));
}

static void test_open_fails(void **state)
{
	(void)state;
	fake_xen.fail_open = 1;
	assert_int_equal(pool_rig_try(pool_rig_runs, 2, POOL_RIG_ALL, false), -ENOENT);
	assert_null(pool_rig);
	assert_int_equal(fake_xen.handles, 0);
}

/* ---- where a buffer lies ---------------------------------------------------------------------------------------- */

static void *found(uint64_t addr, uint32_t length, enum gd_access access)
{
	void *place = &place;

	assert_int_equal(gd_pool_find(pool_rig, addr, length, access, &place), 0);
	return place;
}

static int lost(uint64_t addr, uint32_t length, enum gd_access access)
{
	void *place;

	return gd_pool_find(pool_rig, addr, length, access, &place);
}

static void test_buffers_are_found(void **state)
{
	uint64_t r = fake_addr(POOL_RIG_R, 0), w = fake_addr(POOL_RIG_W, 0);

	(void)state;
	pool_rig_map(false);
	assert_ptr_equal(found(r, 1, GD_ACCESS_READ), fake_page(POOL_RIG_R));
	assert_ptr_equal(found(r + 5000, 10000, GD_ACCESS_READ), fake_page(POOL_RIG_R) + 5000);
	assert_ptr_equal(found(r, POOL_RIG_PAGES * 4096, GD_ACCESS_READ), fake_page(POOL_RIG_R));
	assert_ptr_equal(found(w + 4095, 1, GD_ACCESS_WRITE), fake_page(POOL_RIG_W) + 4095);
	assert_ptr_equal(found(w, 4096, GD_ACCESS_READ), fake_page(POOL_RIG_W));
	/* Outside of all runs the way copies. */
	assert_null(found(r - 4096, 4096, GD_ACCESS_WRITE));
	assert_null(found(w + POOL_RIG_PAGES * 4096, 1, GD_ACCESS_WRITE));
	/* What the guest grants for reading is not written. */
	assert_int_equal(lost(r, 1, GD_ACCESS_WRITE), -EFAULT);
	/* Half in a run: at its end, at its beginning, around it, and from one run into the next. */
	assert_int_equal(lost(w + POOL_RIG_PAGES * 4096 - 1, 2, GD_ACCESS_WRITE), -EFAULT);
	assert_int_equal(lost(r - 1, 2, GD_ACCESS_READ), -EFAULT);
	assert_int_equal(lost(r - 4096, (2 * POOL_RIG_PAGES + 2) * 4096, GD_ACCESS_READ), -EFAULT);
	assert_int_equal(lost(w - 1, 2, GD_ACCESS_READ), -EFAULT);
	assert_int_equal(lost(gio_dma_addr(0, 0), UINT32_MAX, GD_ACCESS_READ), -EFAULT);
}

static void test_nothing_but_the_pool(void **state)
{
	(void)state;
	pool_rig_map(true);
	assert_ptr_equal(found(fake_addr(POOL_RIG_W, 0), 4096, GD_ACCESS_WRITE), fake_page(POOL_RIG_W));
	assert_int_equal(lost(fake_addr(POOL_RIG_R - 1, 0), 1, GD_ACCESS_READ), -EFAULT);
	assert_int_equal(lost(fake_addr(POOL_RIG_W + POOL_RIG_PAGES, 0), 1, GD_ACCESS_READ), -EFAULT);
}

/* ---- copies ----------------------------------------------------------------------------------------------------- */

static struct gd_copy *copy_open(const struct gd_way *way)
{
	struct gd_copy *copy;

	assert_int_equal(gd_copy_open(&copy, FAKE_DOMID, way, ROOM), 0);
	gd_copy_use_pool(copy, pool_rig);
	return copy;
}

static void test_copies_in_the_pool_cost_no_call(void **state)
{
	static char in[9000], out[9000];
	struct gd_copy *copy;
	int fault = 0;

	(void)state;
	pool_rig_map(true);
	copy = copy_open(&gd_way_grants);
	memset(out, 'o', sizeof(out));
	memset(fake_page(POOL_RIG_R) + 100, 'i', sizeof(in));
	assert_int_equal(gd_copy_add(copy, GD_COPY_FETCH, fake_addr(POOL_RIG_R, 100), in, sizeof(in), &fault), 0);
	assert_int_equal(gd_copy_add(copy, GD_COPY_PUSH, fake_addr(POOL_RIG_W, 7), out, sizeof(out), &fault), 0);
	assert_int_equal(gd_copy_room(copy), ROOM);
	assert_int_equal(gd_copy_run(copy), 0);
	assert_int_equal(fault, 0);
	assert_memory_equal(in, fake_page(POOL_RIG_R) + 100, sizeof(in));
	assert_memory_equal(out, fake_page(POOL_RIG_W) + 7, sizeof(out));
	assert_int_equal(fake_xen.copies, 0);
	assert_int_equal(gd_count_read(&gd_copy_counters(copy)->calls), 0);
	assert_int_equal(gd_count_read(&gd_copy_counters(copy)->pool_bytes), sizeof(in) + sizeof(out));
	gd_copy_close(copy);
}

/* One batch with pieces of all kinds: each has its own end. */
static void test_pieces_of_all_kinds(void **state)
{
	int pooled = 0, outside = 0, readonly = 0, half = 0, ungranted = 0;
	char a[100] = "", b[100] = "", c[100] = "c";
	struct gd_copy *copy;

	(void)state;
	pool_rig_map(false);
	copy = copy_open(&gd_way_grants);
	fake_xen.grants[1] = FAKE_NONE;
	memset(fake_page(POOL_RIG_R), 'a', sizeof(a));
	memset(fake_page(0), 'b', sizeof(b));
	gd_copy_add(copy, GD_COPY_FETCH, fake_addr(POOL_RIG_R, 0), a, sizeof(a), &pooled);
	gd_copy_add(copy, GD_COPY_FETCH, fake_addr(0, 0), b, sizeof(b), &outside);
	assert_int_equal(gd_copy_add(copy, GD_COPY_PUSH, fake_addr(POOL_RIG_R, 0), c, 1, &readonly), -EFAULT);
	assert_int_equal(gd_copy_add(copy, GD_COPY_FETCH, fake_addr(POOL_RIG_R - 1, 4000), c, 100, &half), -EFAULT);
	gd_copy_add(copy, GD_COPY_PUSH, fake_addr(1, 0), c, 1, &ungranted);
	assert_int_equal(gd_copy_run(copy), 0);
	assert_int_equal(pooled, 0);
	assert_int_equal(outside, 0);
	assert_int_equal(readonly, -EFAULT);
	assert_int_equal(half, -EFAULT);
	assert_int_equal(ungranted, -EFAULT);
	assert_memory_equal(a, fake_page(POOL_RIG_R), sizeof(a)); /* 'a', and not the 'c' that was to be pushed there */
	assert_int_equal(a[0], 'a');
	assert_memory_equal(b, fake_page(0), sizeof(b));
	assert_int_equal(fake_xen.copies, 1);
	gd_copy_close(copy);
}

/* Xen may refuse a run, or have no room for it. */
static void test_what_is_not_mapped_is_copied(void **state)
{
	char data[64] = "", pushed[] = "pushed";
	struct gd_copy *copy;
	int fault = 0;

	(void)state;
	fake_xen.fail_map = 2;
	fake_xen.fail_errno = ENOSPC;
	pool_rig_map(true);
	assert_int_equal(gd_pool_pages(pool_rig), POOL_RIG_PAGES);
	assert_int_equal(fake_log_lines, 1);
	assert_non_null(strstr(fake_log_last, "1024 of the pool's 2048 pages"));
	copy = copy_open(&gd_way_grants);
	gd_copy_add(copy, GD_COPY_PUSH, fake_addr(POOL_RIG_W, 0), pushed, 6, &fault);
	gd_copy_run(copy);
	assert_int_equal(fake_xen.copies, 1);
	gd_copy_add(copy, GD_COPY_FETCH, fake_addr(POOL_RIG_R, 0), data, 64, &fault);
	gd_copy_run(copy);
	assert_int_equal(fake_xen.copies, 1);
	assert_int_equal(fault, 0);
	assert_memory_equal(fake_page(POOL_RIG_W), pushed, 6);
	gd_copy_close(copy);
}

/* One guest does not get all the mappings that there are. */
static void test_a_guest_has_a_bound(void **state)
{
	enum { EACH = FAKE_PAGES, FULL = GD_POOL_GUEST_PAGES / EACH };
	static const struct gd_pool_run all = {FAKE_GREF_BASE, EACH, true};
	struct gd_pool *first[FULL];

	(void)state;
	for (unsigned i = 0; i < FULL; i++) {
		assert_int_equal(pool_rig_try(&all, 1, POOL_RIG_ALL, true), 0);
		assert_int_equal(gd_pool_pages(pool_rig), EACH);
		first[i] = pool_rig;
	}
	assert_int_equal(pool_rig_try(&pool_rig_runs[1], 1, POOL_RIG_ALL, true), 0);
	assert_int_equal(gd_pool_pages(pool_rig), 0);
	assert_int_equal(fake_log_lines, 1);
	assert_non_null(strstr(fake_log_last, "as many as may be"));
	assert_null(found(fake_addr(POOL_RIG_W, 0), 4096, GD_ACCESS_WRITE)); /* copied, and no error */
	gd_pool_unmap(pool_rig);
	/* What is given back may be had again. A mapping that fails is not counted. */
	gd_pool_unmap(first[0]);
	fake_xen.fail_map = 1;
	fake_xen.fail_errno = ENOMEM;
	assert_int_equal(pool_rig_try(&all, 1, POOL_RIG_ALL, true), 0);
	gd_pool_unmap(pool_rig);
	assert_int_equal(pool_rig_try(&all, 1, POOL_RIG_ALL, true), 0);
	assert_int_equal(gd_pool_pages(pool_rig), EACH);
	for (unsigned i = 1; i < FULL; i++)
		gd_pool_unmap(first[i]);
}

/* The numbers of frames are no references, even if they are the same. */
static void test_another_way_has_no_pool(void **state)
{
	char data[16] = "";
	struct gd_copy *copy;
	int fault = 0;

	(void)state;
	pool_rig_map(true);
	copy = copy_open(&gd_way_foreign);
	fake_xen.foreign = true;
	gd_copy_add(copy, GD_COPY_FETCH, fake_addr(0, 0), data, sizeof(data), &fault);
	gd_copy_run(copy);
	assert_int_equal(fault, 0);
	assert_int_equal(fake_xen.foreign_maps, 1);
	assert_null(gd_copy_place(copy, GD_COPY_FETCH, fake_addr(0, 0), 16));
	fake_xen.foreign = false;
	gd_copy_close(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		POOL_RIG_PV(test_runs_are_refused),
		POOL_RIG_PV(test_limits),
		POOL_RIG_PV(test_mapped_as_granted),
		POOL_RIG_PV(test_open_fails),
		POOL_RIG_PV(test_buffers_are_found),
		POOL_RIG_PV(test_nothing_but_the_pool),
		POOL_RIG_PV(test_copies_in_the_pool_cost_no_call),
		POOL_RIG_PV(test_pieces_of_all_kinds),
		POOL_RIG_PV(test_what_is_not_mapped_is_copied),
		POOL_RIG_PV(test_a_guest_has_a_bound),
		POOL_RIG_PV(test_another_way_has_no_pool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
