/* SPDX-License-Identifier: MIT */
/* The buffers of a queue, and how long it gathers requests before it goes to work. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/virtio/arena.h"
#include "backend/virtio/wait.h"
#include "tests/unit/backend/fake.h"

static void test_arena(void **state)
{
	struct gd_arena *arena;
	void *runs[256], *all;

	(void)state;
	assert_int_equal(gd_arena_open(&arena, 100), -EINVAL);
	assert_int_equal(gd_arena_open(&arena, 256), 0);
	for (unsigned i = 0; i < 256; i++) {
		runs[i] = gd_arena_get(arena, 1);
		assert_non_null(runs[i]);
		*(uint32_t *)runs[i] = i;
	}
	assert_null(gd_arena_get(arena, 1));
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(*(uint32_t *)runs[i], i);
	for (unsigned i = 0; i < 256; i += 2)
		gd_arena_put(arena, runs[i], 1);
	assert_null(gd_arena_get(arena, 2)); /* free pages enough, but no two together */
	for (unsigned i = 1; i < 256; i += 2)
		gd_arena_put(arena, runs[i], 1);
	assert_int_equal(gd_arena_used(arena), 0);
	assert_null(gd_arena_get(arena, 257));
	all = gd_arena_get(arena, 256);
	assert_non_null(all);
	memset(all, 1, 256 * GD_ARENA_PAGE);
	gd_arena_put(arena, all, 256);
	runs[0] = gd_arena_get(arena, 63);
	runs[1] = gd_arena_get(arena, 130); /* over two words' ends */
	runs[2] = gd_arena_get(arena, 63);
	assert_non_null(runs[2]);
	assert_null(gd_arena_get(arena, 1));
	gd_arena_put(arena, runs[1], 130);
	assert_ptr_equal(gd_arena_get(arena, 130), runs[1]);
	gd_arena_close(arena);
	gd_arena_close(NULL);
}

/* Against a plain array of bytes: no run overlaps another, and whatever fits is found. */
static void test_arena_shadow(void **state)
{
	static uint8_t shadow[512];
	struct gd_arena *arena;
	struct {
		uint8_t *run;
		unsigned pages;
	} runs[64] = {0};
	uint32_t random = 12345;
	uint8_t *base;

	(void)state;
	memset(shadow, 0, sizeof(shadow));
	assert_int_equal(gd_arena_open(&arena, 512), 0);
	base = gd_arena_get(arena, 1);
	gd_arena_put(arena, base, 1);
	for (unsigned step = 0; step < 20000; step++) {
		random = random * 1664525 + 1013904223;
		unsigned i = random >> 26, pages = 1 + (random >> 16) % 40, longest = 0;

		if (runs[i].run) {
			memset(shadow + (runs[i].run - base) / GD_ARENA_PAGE, 0, runs[i].pages);
			gd_arena_put(arena, runs[i].run, runs[i].pages);
			runs[i].run = NULL;
			continue;
		}
		for (unsigned at = 0, n = 0; at < 512; at++) {
			n = shadow[at] ? 0 : n + 1;
			longest = n > longest ? n : longest;
		}
		runs[i].run = gd_arena_get(arena, pages);
		runs[i].pages = pages;
		assert_int_equal(runs[i].run != NULL, pages <= longest);
		for (unsigned p = 0; runs[i].run && p < pages; p++)
			assert_int_equal(shadow[(runs[i].run - base) / GD_ARENA_PAGE + p]++, 0);
	}
	gd_arena_close(arena);
}

static void sleep_expect(struct gd_wait plan)
{
	assert_int_equal(plan.completions, 1);
	assert_int_equal(plan.timeout_us, 0);
}

static void test_wait_plan(void **state)
{
	struct gd_wait plan;

	(void)state;
	for (unsigned n = 0; n <= GD_WAIT_ALONE; n++) /* never for company that is not coming */
		sleep_expect(gd_wait_plan(&(struct gd_wait_state){.inflight = n, .lately = n}));
	for (unsigned n = GD_WAIT_ALONE + 1; n < 1024; n++) {
		plan = gd_wait_plan(&(struct gd_wait_state){.inflight = n, .events = n, .lately = n});
		assert_in_range(plan.completions, 2, n);
		assert_false(plan.again);
		assert_in_range(plan.timeout_us, 1, n * GD_WAIT_EACH_US);
		assert_in_range(plan.timeout_us, 1, 100);
		sleep_expect(gd_wait_plan(&(struct gd_wait_state){.inflight = n, .dry = true}));
		plan = gd_wait_plan(&(struct gd_wait_state){.inflight = n, .more = true});
		assert_int_equal(plan.completions, 0);
	}
}

/* Where one completion of the ring stands for all, to wait for more would be to wait for the time-out. */
static void test_wait_for_a_stream(void **state)
{
	struct gd_wait plan;

	(void)state;
	for (unsigned n = GD_WAIT_ALONE + 1; n < 1024; n++) {
		plan = gd_wait_plan(&(struct gd_wait_state){.inflight = n, .events = 1, .lately = n});
		assert_int_equal(plan.completions, 1);
		assert_in_range(plan.timeout_us, 1, 100);
		assert_true(plan.again);
		sleep_expect(gd_wait_plan(&(struct gd_wait_state){.inflight = n, .events = 1, .dry = true}));
	}
}

/* After a deep batch a few naps, then sleep; after a shallow one, or with I/O in flight, none. */
static void test_wait_naps(void **state)
{
	struct gd_wait_state s = {.lately = 32};

	(void)state;
	for (; s.naps < GD_WAIT_NAPS; s.naps++)
		assert_int_equal(gd_wait_plan(&s).timeout_us, GD_WAIT_NAP_US);
	sleep_expect(gd_wait_plan(&s));
	sleep_expect(gd_wait_plan(&(struct gd_wait_state){.lately = GD_WAIT_DEEP - 1}));
	sleep_expect(gd_wait_plan(&(struct gd_wait_state){.lately = 32, .inflight = 1}));
}

/* Waiting for company, and for the guest to begin again, costs at most what an interrupt does. */
static void test_wait_as_long_as_an_interrupt(void **state)
{
	struct gd_wait_state deep = {.inflight = 32, .events = 32}, over = {.lately = 32};

	(void)state;
	for (unsigned us = 100; us <= GD_WAIT_INTERRUPT_US; us++) {
		deep.interrupt_us = over.interrupt_us = us;
		assert_int_equal(gd_wait_plan(&deep).timeout_us, us);
		assert_int_equal(gd_wait_plan(&deep).completions, 32);
		assert_in_range(gd_wait_plan(&over).timeout_us * GD_WAIT_NAPS, us, 2 * us);
		sleep_expect(gd_wait_plan(&(struct gd_wait_state){.inflight = GD_WAIT_ALONE, .interrupt_us = us}));
	}
}

/* What one costs is learned: from nothing, whatever the guest does never more than the limit, and one slow one is no
 * rule. */
static void test_wait_interrupt_learned(void **state)
{
	unsigned guess = 0, before;

	(void)state;
	for (unsigned i = 0; i < 64; i++)
		guess = gd_wait_interrupt(guess, 400);
	assert_in_range(guess, 395, 401);
	before = guess;
	guess = gd_wait_interrupt(guess, UINT64_MAX);
	assert_in_range(guess, before + 1, before + GD_WAIT_INTERRUPT_US / 8 + 1);
	guess = gd_wait_interrupt(gd_wait_interrupt(guess, 400), 400);
	assert_in_range(guess, 395, 425);
	for (unsigned i = 0; i < 64; i++)
		guess = gd_wait_interrupt(guess, UINT64_MAX);
	assert_int_equal(guess, GD_WAIT_INTERRUPT_US);
	for (unsigned i = 0; i < 12; i++)
		guess = gd_wait_interrupt(guess, 0);
	assert_in_range(guess, 1, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arena),
		cmocka_unit_test(test_arena_shadow),
		cmocka_unit_test(test_wait_plan),
		cmocka_unit_test(test_wait_for_a_stream),
		cmocka_unit_test(test_wait_naps),
		cmocka_unit_test(test_wait_as_long_as_an_interrupt),
		cmocka_unit_test(test_wait_interrupt_learned),
	};

	return cmocka_run_group_tests_name("wait", tests, NULL, NULL);
}
