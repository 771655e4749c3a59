/* SPDX-License-Identifier: MIT */
/*
 * Reset and close with I/O in flight: they wait for nobody, nothing of the guest stays, and what was in flight cannot
 * overtake what comes after.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/backend/fake.h"

static void held_until(unsigned n)
{
	fake_until(__atomic_load_n(&fake_disk.held, __ATOMIC_SEQ_CST) == n);
}

static void hold(void)
{
	__atomic_store_n(&fake_disk.hold, true, __ATOMIC_SEQ_CST);
}

static void start_again(unsigned queues)
{
	fake_probe(fake_guest.features);
	for (unsigned i = 0; i < queues; i++)
		fake_queue_ready(i, 256);
	fake_driver_ok();
}

static void test_reset_with_io_in_flight(void **state)
{
	struct fake_req req[4];
	unsigned copies;

	(void)state;
	fake_start(&(struct fake_setup){0});
	hold();
	for (unsigned i = 0; i < 4; i++)
		req[i] = fake_request(0, GIO_VIRTIO_BLK_T_IN, 0, 4096, false, NULL);
	fake_kick(0);
	held_until(4);
	fake_reset(); /* returns, although the disk does not answer */
	assert_int_equal(fake_xen.mapped, 0);
	assert_int_equal(fake_reg_read(0x070), 0);
	copies = fake_xen.copies;
	memset(fake_xen.grants, FAKE_NONE, sizeof(fake_xen.grants)); /* the guest ends all its grants */
	fake_disk_release();
	held_until(0);
	memset(fake_xen.grants, FAKE_WRITABLE, sizeof(fake_xen.grants));
	start_again(1);
	fake_still_works();
	assert_int_equal(fake_xen.copies, copies + 2); /* the old ones were dropped, not copied */
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(fake_status(&req[i]), 0xee);
}

/* A write that was in flight lands before the first write of the new driver, not after it. */
static void test_old_write_cannot_overtake(void **state)
{
	uint8_t old[512], new[512];
	struct fake_req req;

	(void)state;
	memset(old, 1, 512);
	memset(new, 2, 512);
	fake_start(&(struct fake_setup){.queues = 2});
	hold();
	fake_request(1, GIO_VIRTIO_BLK_T_OUT, 0, 512, true, old);
	fake_kick(1);
	held_until(1);
	fake_reset();
	start_again(2);
	__atomic_store_n(&fake_disk.hold, false, __ATOMIC_SEQ_CST);
	req = fake_request(0, GIO_VIRTIO_BLK_T_OUT, 0, 512, true, new); /* on the other queue */
	fake_kick(0);
	for (unsigned i = 0; i < 1000; i++) { /* it is not taken while the old one is under way */
		assert_false(fake_used_now(&fake_guest.vq[0]));
		assert_int_equal(__atomic_load_n(&fake_disk.writes, __ATOMIC_SEQ_CST), 0);
		fake_yield();
	}
	fake_disk_release();
	fake_used(&fake_guest.vq[0], 1);
	assert_int_equal(fake_status(&req), GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(fake_disk.writes, 2);
	assert_memory_equal(fake_disk.bytes, new, 512);
}

static void test_reset_again_while_draining(void **state)
{
	(void)state;
	fake_start(&(struct fake_setup){.queues = 2});
	hold();
	for (unsigned q = 0; q < 2; q++) {
		fake_request(q, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
		fake_request(q, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
		fake_kick(q);
	}
	held_until(4);
	for (unsigned i = 0; i < 5; i++) {
		fake_reset();
		assert_int_equal(fake_xen.mapped, 0);
		start_again(2);
	}
	fake_disk_release();
	fake_still_works();
	fake_reset();
	start_again(1);
	fake_still_works();
}

static void test_queue_stopped_alone(void **state)
{
	struct fake_req req;

	(void)state;
	fake_start(&(struct fake_setup){.queues = 2});
	hold();
	req = fake_request(1, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
	fake_kick(1);
	held_until(1);
	fake_reg_write(0x030, 1);
	fake_reg_write(0x044, 0);
	assert_int_equal(fake_reg_read(0x044), 0);
	assert_int_equal(fake_xen.mapped, 3);
	fake_kick(1);
	fake_disk_release();
	fake_still_works();
	assert_int_equal(fake_status(&req), 0xee);
}

/* I/O in several steps (a discard of ranges): the steps that are left are not done for a guest that is gone. */
static void test_reset_between_steps(void **state)
{
	struct gio_virtio_blk_range ranges[3] = {{0, 8, 0}, {64, 16, 0}, {2040, 8, 0}};

	(void)state;
	fake_start(&(struct fake_setup){0});
	hold();
	fake_request(0, GIO_VIRTIO_BLK_T_DISCARD, 0, sizeof(ranges), true, ranges);
	fake_kick(0);
	held_until(1);
	fake_reset();
	fake_disk_release();
	start_again(1);
	fake_still_works();
	assert_int_equal(fake_disk.discards, 1);
}

static void *close_device(void *opaque)
{
	bool *closed = opaque;

	fake_close();
	__atomic_store_n(closed, true, __ATOMIC_SEQ_CST);
	return NULL;
}

/* False: we were held up for so long that the disk's time was over (GD_WAIT_DRAIN_MS), and nothing can be said. */
static bool close_waits_for_the_disk(void)
{
	bool closed = false, waited;
	pthread_t thread;

	fake_start(&(struct fake_setup){.queues = 3});
	hold();
	for (unsigned q = 0; q < 3; q++) {
		fake_request(q, GIO_VIRTIO_BLK_T_OUT, q, 512, true, NULL);
		fake_kick(q);
	}
	held_until(3);
	assert_int_equal(pthread_create(&thread, NULL, close_device, &closed), 0);
	fake_until(__atomic_load_n(&fake_xen.mapped, __ATOMIC_SEQ_CST) == 0);
	waited = !__atomic_load_n(&closed, __ATOMIC_SEQ_CST);
	fake_disk_release();
	pthread_join(thread, NULL);
	if (fake_disk.cancels)
		return false;
	assert_true(waited);
	assert_int_equal(fake_disk.writes, 3);
	return true;
}

/* Closing does wait for the disk; but what is the guest's is given back before. */
static void test_close_with_io_in_flight(void **state)
{
	unsigned tries = 1;

	while (!close_waits_for_the_disk()) {
		assert_in_range(++tries, 1, 10);
		fake_setup(state);
	}
}

/* A server that hangs: the guest's pages go at once, the device closes all the same, nothing was written. */
static void test_close_with_a_disk_that_never_answers(void **state)
{
	(void)state;
	fake_start(&(struct fake_setup){.queues = 1});
	hold();
	for (unsigned i = 0; i < 3; i++)
		fake_request(0, GIO_VIRTIO_BLK_T_OUT, i, 512, true, NULL);
	fake_kick(0);
	held_until(3);
	fake_close();
	assert_int_equal(fake_disk.cancels, 1);
	assert_int_equal(fake_disk.writes, 0);
	assert_int_equal(fake_disk.queues, 0);
}

/* Their times run side by side: each thread gives up while all others do, so that N queues take no longer than one. */
static void test_close_with_hung_queues(void **state)
{
	(void)state;
	fake_start(&(struct fake_setup){.queues = 4});
	hold();
	for (unsigned q = 0; q < 4; q++) {
		fake_request(q, GIO_VIRTIO_BLK_T_OUT, q, 512, true, NULL);
		fake_kick(q);
	}
	held_until(4);
	fake_disk.cancels_meet = 4;
	fake_close();
	assert_int_equal(fake_disk.cancels, 4);
	assert_int_equal(fake_disk.cancels_alone, 0);
	assert_int_equal(fake_disk.writes, 0);
}

static void *open_device(void *opaque)
{
	*(int *)opaque = fake_open(&(struct fake_setup){.queues = 3});
	return NULL;
}

/* What may block on a disk's server does so at opening, for all queues at once; then a driver can do what it likes. */
static void test_only_opening_waits_for_the_disk(void **state)
{
	pthread_t thread;
	int err = 1;

	(void)state;
	__atomic_store_n(&fake_disk.hold_open, true, __ATOMIC_SEQ_CST);
	assert_int_equal(pthread_create(&thread, NULL, open_device, &err), 0);
	fake_until(__atomic_load_n(&fake_disk.opening, __ATOMIC_SEQ_CST) == 3);
	__atomic_store_n(&fake_disk.hold_open, false, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	assert_int_equal(err, 0);
	__atomic_store_n(&fake_disk.hold_open, true, __ATOMIC_SEQ_CST); /* who opens a queue now never comes back */
	for (unsigned i = 0; i < 3; i++) {
		fake_probe(FAKE_FEATURES);
		for (unsigned q = 0; q < 3; q++)
			fake_queue_ready(q, 256);
		fake_driver_ok();
		fake_still_works();
		fake_reset();
	}
	assert_int_equal(fake_disk.queue_opens, 3);
	__atomic_store_n(&fake_disk.hold_open, false, __ATOMIC_SEQ_CST);
}

/* Start and stop, in all phases of a thread's sleep: a lost wake-up would hang here. */
static void test_many_starts_and_stops(void **state)
{
	(void)state;
	fake_start(&(struct fake_setup){.queues = 2});
	for (unsigned i = 0; i < 300; i++) {
		fake_guest.next_page = 0;
		if (i % 3 == 0)
			fake_request(i % 2, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
		if (i % 2)
			fake_kick(i % 2);
		fake_reset();
		assert_int_equal(fake_xen.mapped, 0);
		start_again(2);
	}
	fake_guest.next_page = 100;
	fake_still_works();
	for (unsigned i = 0; i < 50; i++) {
		fake_close();
		fake_guest.next_page = 0;
		fake_start(&(struct fake_setup){.queues = 1 + i % 4});
	}
	fake_still_works();
}

static void test_broken_with_io_in_flight(void **state)
{
	struct fake_req req;

	(void)state;
	fake_start(&(struct fake_setup){0});
	hold();
	req = fake_request(0, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
	fake_kick(0);
	held_until(1);
	fake_avail(&fake_guest.vq[0], 300);
	fake_kick(0);
	fake_until(fake_reg_read(0x070) & GIO_VIRTIO_STATUS_NEEDS_RESET);
	fake_disk_release();
	held_until(0);
	assert_int_equal(fake_status(&req), 0xee); /* a ring that lied gets no answers */
	assert_int_equal(fake_guest.vq[0].used->idx, 0);
	fake_reset();
	start_again(1);
	fake_still_works();
}

static void test_status_polling_while_at_work(void **state)
{
	struct gd_vdev_stats stats;

	(void)state;
	fake_start(&(struct fake_setup){0});
	for (unsigned i = 0; i < 200; i++) {
		fake_request(0, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
		fake_kick(0);
		gd_vdev_stats(fake_guest.vdev, &stats); /* any thread, at any time */
		gd_vdev_refresh(fake_guest.vdev);
		fake_reg_read(0x060);
		fake_used(&fake_guest.vq[0], 1);
	}
	gd_vdev_stats(fake_guest.vdev, &stats);
	assert_int_equal(stats.requests, 200);
	assert_int_equal(stats.kicks, 200);
	assert_int_equal(stats.bytes_read, 200 * 512);
	assert_int_equal(stats.copy_calls, 400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
		T(test_reset_with_io_in_flight),      T(test_old_write_cannot_overtake),
		T(test_reset_again_while_draining),   T(test_queue_stopped_alone),
		T(test_reset_between_steps),	      T(test_close_with_io_in_flight),
		T(test_many_starts_and_stops),	      T(test_broken_with_io_in_flight),
		T(test_status_polling_while_at_work), T(test_close_with_a_disk_that_never_answers),
		T(test_close_with_hung_queues),	      T(test_only_opening_waits_for_the_disk),
	};

	return cmocka_run_group_tests_name("reset", tests, NULL, NULL);
}
