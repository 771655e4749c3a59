/* SPDX-License-Identifier: MIT */
/*
 * How long a queue's thread looks at its ring before it sleeps. The clock stands still unless a test sets it forward:
 * so a look never ends by itself, and whatever the machine is doing, a test sees whether there is one.
 */
#include <stdlib.h>
#include <string.h>

#include "backend/virtio/look.h"
#include "backend/virtio/status.h"
#include "tests/unit/backend/fake.h"

#define LOOK_US	  500u
#define SECOND_US 1000000u

/* ---- what is learned -------------------------------------------------------------------------------------------- */

static struct gd_look learned(unsigned wake_us, uint64_t gap_us, unsigned times)
{
	struct gd_look look = {.most_us = LOOK_US};

	for (unsigned i = 0; i < 16; i++)
		gd_look_wake(&look, wake_us);
	for (unsigned i = 0; i < times; i++)
		gd_look_gap(&look, gap_us);
	return look;
}

static void test_nothing_known(void **state)
{
	struct gd_look look = learned(50, 10, GD_LOOK_TRUST - 1), never = learned(50, 10, 16), unmeasured = never;

	(void)state;
	assert_int_equal(gd_look_plan(&look), 0); /* too few gaps */
	gd_look_gap(&look, 10);
	assert_in_range(gd_look_plan(&look), 11, 30); /* longer than the gaps, and not much */
	never.most_us = 0;
	assert_int_equal(gd_look_plan(&never), 0);
	unmeasured.wake_us = 0;
	assert_int_equal(gd_look_plan(&unmeasured), 0);
}

/* Whatever the guest does, a look is no longer than two wake-ups, and than the setting. */
static void test_bounds(void **state)
{
	(void)state;
	for (unsigned wake = 1; wake < 2000; wake += 7)
		for (unsigned gap = 0; gap < 2000; gap += 13) {
			struct gd_look look = learned(wake, gap, 20);

			assert_in_range(gd_look_plan(&look), 0, GD_LOOK_WAKES * (wake + 1));
			assert_in_range(gd_look_plan(&look), 0, LOOK_US);
			if (gap > GD_LOOK_WAKES * (wake + 1) || gap > LOOK_US)
				assert_int_equal(gd_look_plan(&look), 0);
			if (gap < wake && gap < LOOK_US)
				assert_in_range(gd_look_plan(&look), gap, LOOK_US);
		}
}

/* Most gaps must be short: with every second one long there are no looks, and three long ones end any series. */
static void test_most_gaps_must_be_short(void **state)
{
	struct gd_look look = learned(50, 10, 1000);
	unsigned looks = 0;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		gd_look_gap(&look, SECOND_US);
	assert_int_equal(gd_look_plan(&look), 0);
	for (unsigned i = 0; i < 1000; i++) {
		gd_look_gap(&look, i % 2 ? 10 : UINT64_MAX);
		looks += gd_look_plan(&look) > 0;
	}
	assert_int_equal(looks, 0);
	look = learned(50, 10, 1000);
	for (unsigned i = 0; i < 1000; i++) { /* one in five does no harm */
		gd_look_gap(&look, i % 5 ? 10 : SECOND_US);
		looks += gd_look_plan(&look) > 0;
	}
	assert_int_equal(looks, 1000);
}

/* The reach follows the gaps: up at once, and slowly down. */
static void test_reach(void **state)
{
	struct gd_look look = learned(400, 10, 16);

	(void)state;
	gd_look_gap(&look, 200);
	assert_in_range(gd_look_plan(&look), 201, LOOK_US);
	gd_look_gap(&look, 10);
	assert_in_range(gd_look_plan(&look), 201, LOOK_US);
	for (unsigned i = 0; i < 64; i++)
		gd_look_gap(&look, 10);
	assert_in_range(gd_look_plan(&look), 11, 30);
}

/* A wake-up that was slow once says little; one that was fast says that they can be. */
static void test_wake(void **state)
{
	struct gd_look look = learned(40, 0, 0);

	(void)state;
	assert_in_range(look.wake_us, 40, 41);
	gd_look_wake(&look, UINT64_MAX);
	assert_in_range(look.wake_us, 42, 41 + GD_LOOK_WAKE_US / 8 + 1);
	for (unsigned i = 0; i < 100; i++)
		gd_look_wake(&look, UINT64_MAX);
	assert_int_equal(look.wake_us, GD_LOOK_WAKE_US);
	for (unsigned i = 0; i < 12; i++)
		gd_look_wake(&look, 0);
	assert_in_range(look.wake_us, 1, 2);
	look.wake_us = 100;
	assert_int_equal(gd_look_slept(&look, 130), 30);
	assert_int_equal(gd_look_slept(&look, 70), 0);
}

/* ---- a queue, by a clock that stands still ---------------------------------------------------------------------- */

static uint64_t frozen_us; /* 0: the clock runs; atomic */

int __real_clock_gettime(clockid_t id, struct timespec *now);
int __wrap_clock_gettime(clockid_t id, struct timespec *now);
int __wrap_clock_gettime(clockid_t id, struct timespec *now)
{
	uint64_t us = __atomic_load_n(&frozen_us, __ATOMIC_SEQ_CST);

	if (!us || id != CLOCK_MONOTONIC)
		return __real_clock_gettime(id, now);
	*now = (struct timespec){.tv_sec = (time_t)(us / SECOND_US), .tv_nsec = (long)(us % SECOND_US) * 1000};
	return 0;
}

static void clock_forward(uint64_t us)
{
	__atomic_fetch_add(&frozen_us, us, __ATOMIC_SEQ_CST);
}

static int look_teardown(void **state)
{
	__atomic_store_n(&frozen_us, 0, __ATOMIC_SEQ_CST);
	return fake_teardown(state);
}

/* What a wake-up costs is measured when the device is opened, by the clock that runs. */
static void look_start(unsigned look_us, uint64_t features)
{
	struct timespec now;

	fake_start(&(struct fake_setup){.look_us = look_us, .features = features});
	__real_clock_gettime(CLOCK_MONOTONIC, &now);
	__atomic_store_n(&frozen_us, (uint64_t)now.tv_sec * SECOND_US + (uint64_t)now.tv_nsec / 1000, __ATOMIC_SEQ_CST);
}

static struct gd_vdev_stats stats(void)
{
	struct gd_vdev_stats out = {0};

	gd_vdev_stats(fake_guest.vdev, &out);
	return out;
}

static uint16_t avail_event(void)
{
	return __atomic_load_n((uint16_t *)&fake_guest.vq[0].used->ring[fake_guest.vq[0].size], __ATOMIC_SEQ_CST);
}

/* A request of a driver that kicks only where the device has asked for it. True: it did. */
static bool request(void)
{
	struct fake_vq *vq = &fake_guest.vq[0];
	uint32_t page = fake_guest.next_page;
	uint16_t before = vq->avail_idx;
	bool kick;

	fake_request(0, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
	__sync_synchronize(); /* our index before their event: pairs with gd_ring_arm() */
	kick = gio_virtq_need_event(avail_event(), vq->avail_idx, before);
	if (kick)
		fake_kick(0);
	fake_used(vq, 1);
	fake_guest.next_page = page;
	return kick;
}

/* The thread sleeps, or is about to, and has asked for a kick: it looks no more. */
static void sleep_wait(void)
{
	fake_until(avail_event() == fake_guest.vq[0].avail_idx);
}

/* The same where it may be looking: time passes until it sleeps, and for a while after that. */
static void long_sleep_wait(void)
{
	fake_until((clock_forward(SECOND_US), avail_event() == fake_guest.vq[0].avail_idx));
	clock_forward(SECOND_US);
}

/* Requests without a gap between them, until the thread looks. */
static void looks_learn(void)
{
	uint64_t paid = stats().looks_paid;

	for (unsigned i = 0; i < 2 * GD_LOOK_SCORE; i++)
		request();
	fake_until((request(), stats().looks_paid > paid));
}

/* While it looks there are no kicks, and no interrupts for a driver that looks as well. */
static void test_no_events_while_both_look(void **state)
{
	struct fake_vq *vq = &fake_guest.vq[0];
	unsigned raised, kicks = 0;
	uint64_t paid;

	(void)state;
	look_start(LOOK_US, 0);
	looks_learn();
	raised = __atomic_load_n(&fake_guest.raised, __ATOMIC_SEQ_CST);
	paid = stats().looks_paid;
	while (stats().looks_paid < paid + 20) {
		uint16_t behind = (uint16_t)(vq->last_used - 1);

		__atomic_store_n(&vq->avail->ring[vq->size], behind, __ATOMIC_SEQ_CST);
		kicks += request();
	}
	assert_int_equal(kicks, 0);
	assert_int_equal(stats().looks_vain, 0);
	assert_in_range(__atomic_load_n(&fake_guest.raised, __ATOMIC_SEQ_CST), raised, raised + 1);
}

static unsigned shown, wanted; /* answers with an interrupt; of these, with a kick asked for; atomics */

/* By the queue's thread, when the answer is shown and before it goes on. */
void __real_gd_status_used(struct gd_status *status, unsigned queue);
void __wrap_gd_status_used(struct gd_status *status, unsigned queue);
void __wrap_gd_status_used(struct gd_status *status, unsigned queue)
{
	uint16_t used = __atomic_load_n(&fake_guest.vq[0].used->idx, __ATOMIC_SEQ_CST);

	__atomic_fetch_add(&shown, 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&wanted, avail_event() == used, __ATOMIC_SEQ_CST);
	__real_gd_status_used(status, queue);
}

/* A thread that slept until the disk was done had asked for a kick: it takes that back before the guest goes on. */
static void test_no_kick_after_an_answer(void **state)
{
	(void)state;
	look_start(LOOK_US, 0);
	__atomic_store_n(&wanted, 0, __ATOMIC_SEQ_CST);
	for (unsigned before = __atomic_load_n(&shown, __ATOMIC_SEQ_CST);
	     __atomic_load_n(&shown, __ATOMIC_SEQ_CST) < before + 20;)
		request();
	assert_int_equal(__atomic_load_n(&wanted, __ATOMIC_SEQ_CST), 0);
}

/* One look when it becomes idle, and then none, whatever it looked like before; it comes back when it pays again. */
static void test_an_idle_queue_is_not_looked_at(void **state)
{
	uint64_t paid, vain, syscalls;

	(void)state;
	look_start(LOOK_US, 0);
	looks_learn();
	for (unsigned i = 0; i < 3 * GD_LOOK_SCORE; i++) {
		long_sleep_wait();
		assert_true(request());
	}
	assert_in_range(stats().looks_vain, 1, 3);
	paid = stats().looks_paid;
	sleep_wait(); /* though the clock stands still: there is no look that could end */
	gd_vdev_kick(fake_guest.vdev, 0);
	sleep_wait();
	assert_int_equal(stats().looks_paid, paid);
	looks_learn();
	long_sleep_wait();
	vain = stats().looks_vain;
	syscalls = stats().syscalls;
	while (stats().syscalls < syscalls + 8) { /* kicks without a chain: each is a wake-up, after which it sleeps */
		gd_vdev_kick(fake_guest.vdev, 0);
		sleep_wait();
	}
	assert_int_equal(stats().looks_vain, vain);
}

/* The first requests do not prove anything, nor does a setting of 0 permit any. */
static void test_no_look_too_early(void **state)
{
	(void)state;
	look_start(LOOK_US, 0);
	for (unsigned i = 0; i + 1 < GD_LOOK_TRUST; i++) {
		request();
		sleep_wait();
	}
	assert_int_equal(stats().looks_paid + stats().looks_vain, 0);
	looks_learn();
}

static void test_never(void **state)
{
	(void)state;
	look_start(0, 0);
	for (unsigned i = 0; i < 4 * GD_LOOK_SCORE; i++) {
		request();
		sleep_wait();
	}
	assert_int_equal(stats().looks_paid + stats().looks_vain, 0);
}

/* Its owner and its driver do not wait for a look to end. */
static void test_a_look_ends_by_control(void **state)
{
	(void)state;
	look_start(LOOK_US, 0);
	looks_learn();
	fake_reset();
	fake_probe(FAKE_FEATURES & fake_offered());
	fake_queue_ready(0, 256);
	fake_driver_ok();
	looks_learn();
	gd_vdev_quiesce(fake_guest.vdev);
	fake_until(gd_vdev_inflight(fake_guest.vdev) == 0);
	fake_close();
}

/* Without EVENT_IDX the flag says the same. */
static void test_flags_while_it_looks(void **state)
{
	struct fake_vq *vq = &fake_guest.vq[0];

	(void)state;
	look_start(LOOK_US, FAKE_FEATURES & ~GIO_VIRTIO_F_EVENT_IDX);
	fake_until((fake_do(GIO_VIRTIO_BLK_T_FLUSH, 0, 0, false, NULL), stats().looks_paid > 0));
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(__atomic_load_n(&vq->used->flags, __ATOMIC_SEQ_CST), GIO_VIRTQ_USED_F_NO_NOTIFY);
		fake_do(GIO_VIRTIO_BLK_T_FLUSH, 0, 0, false, NULL);
	}
	fake_until((clock_forward(SECOND_US), __atomic_load_n(&vq->used->flags, __ATOMIC_SEQ_CST) == 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_known),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_most_gaps_must_be_short),
		cmocka_unit_test(test_reach),
		cmocka_unit_test(test_wake),
#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, look_teardown)
		T(test_no_events_while_both_look),
		T(test_no_kick_after_an_answer),
		T(test_an_idle_queue_is_not_looked_at),
		T(test_no_look_too_early),
		T(test_never),
		T(test_a_look_ends_by_control),
		T(test_flags_while_it_looks),
	};

	return cmocka_run_group_tests_name("look", tests, NULL, NULL);
}
