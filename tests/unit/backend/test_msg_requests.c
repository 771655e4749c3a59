/* SPDX-License-Identifier: MIT */
/* Requests by messages: whom they wake, what they cost, and that a reset waits for them. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/backend/fake_msg.h"

/* Each queue thread waits for its own channel; of shared ones an event means all queues, and the answer comes there. */
static void requests_work(unsigned queues, unsigned channels)
{
	struct fake_req req;
	unsigned before;

	fake_msg_open_and_connect(queues, channels);
	fake_msg_start(queues);
	for (unsigned round = 0; round < 20; round++)
		for (unsigned queue = 0; queue < queues; queue++) {
			uint32_t port = fake_msg.answer.ports[queue % channels];

			before = fake_port_got(port);
			req = fake_request(queue, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
			fake_kick(queue);
			/* A driver that looks at the ring before it is told may need no event. */
			fake_until(fake_port_got(port) > before);
			fake_used(&fake_guest.vq[queue], 1);
			assert_int_equal(fake_status(&req), GIO_VIRTIO_BLK_S_OK);
		}
	fake_msg_end();
	assert_int_equal(fake_xen.mapped, 0);
	assert_int_equal(fake_events_bound(), 0);
}

/* What requests have cost. */
struct cost {
	struct gd_vdev_stats stats;
	unsigned events;
};

static struct cost cost_now(void)
{
	struct cost now = {.events = fake_port_got(fake_msg.answer.ports[0])};

	gd_vdev_stats(fake_guest.vdev, &now.stats);
	return now;
}

/* `count` requests at once, by a driver that waits to be told of them. */
static void requests_do(unsigned count)
{
	unsigned before = fake_port_got(fake_msg.answer.ports[0]);

	for (unsigned i = 0; i < count; i++)
		fake_request(0, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
	fake_kick(0);
	fake_until(fake_port_got(fake_msg.answer.ports[0]) > before);
	fake_used(&fake_guest.vq[0], count);
	fake_guest.next_page -= 3 * count;
}

/* All of it lies in a pool, and the device offers more queues than its driver uses. */
static struct cost requests_in_a_pool(unsigned depth, unsigned rounds)
{
	const struct fake_setup setup = {.queues = 4};
	struct cost first, last;

	fake_msg_open(&setup, 4);
	fake_msg.answer.runs = 1;
	fake_msg.answer.run[0] = (struct gd_pool_run){FAKE_GREF_BASE + 512, 512, true};
	assert_int_equal(fake_msg_connect(), 0);
	fake_msg_start(1);
	fake_guest.next_page = 512;
	fake_still_works();
	first = cost_now();
	for (unsigned i = 0; i < rounds; i++)
		requests_do(depth);
	last = cost_now();
	assert_int_equal(last.stats.copy_hypercalls, 0);
	last.events -= first.events;
	last.stats.kicks -= first.stats.kicks;
	last.stats.syscalls -= first.stats.syscalls;
	return last;
}

/*
 * One event each way for a request. Its thread waits for the kick, reading it by that, and for the disk; it lets the
 * channel go on, and sends. It neither copies nor maps.
 */
static void test_counts_at_depth_1(void **state)
{
	struct cost cost;

	(void)state;
	cost = requests_in_a_pool(1, 200);
	assert_int_equal(cost.events, 200);
	assert_int_equal(cost.stats.kicks, 200);
	assert_true(cost.stats.syscalls <= 200 * 4 + 8);
}

static void test_counts_at_depth_32(void **state)
{
	struct cost cost;

	(void)state;
	cost = requests_in_a_pool(32, 50);
	assert_true(cost.events <= 50 * 32 / 10);
	assert_true(cost.stats.kicks <= 50 * 32 / 10);
	assert_true(cost.stats.syscalls * 10 <= 50 * 32 * 3);
}

/* A driver that resets again is not told sooner that the disk has left its pool alone. */
static void test_a_reset_lasts_as_long_as_the_disk(void **state)
{
	const struct fake_setup setup = {.queues = 1};

	(void)state;
	setenv("GRANTIO_GUEST_TYPE", "PVH", 1);
	fake_msg_open(&setup, 1);
	fake_msg.answer.runs = 1;
	fake_msg.answer.run[0] = (struct gd_pool_run){FAKE_GREF_BASE + 512, 512, true};
	assert_int_equal(fake_msg_connect(), 0);
	unsetenv("GRANTIO_GUEST_TYPE");
	fake_msg_start(1);
	fake_guest.next_page = 512;
	fake_disk.straight_allowed = true;
	__atomic_store_n(&fake_disk.hold, true, __ATOMIC_SEQ_CST);
	fake_request(0, GIO_VIRTIO_BLK_T_IN, 0, 4096, false, NULL);
	fake_kick(0);
	fake_until(__atomic_load_n(&fake_disk.held, __ATOMIC_SEQ_CST) == 1);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(fake_msg_status(0), 15);
	assert_int_equal(fake_msg_status(1), 15);
	fake_disk_release();
	fake_until(fake_msg_status(0) == 0);
}

static void test_a_channel_for_each_queue(void **state)
{
	(void)state;
	requests_work(4, 4);
}

static void test_shared_channels(void **state)
{
	(void)state;
	requests_work(4, 1);
}

/* What the threads of all queues have cost since. */
static uint64_t syscalls_since(uint64_t before)
{
	struct gd_vdev_stats stats;

	gd_vdev_stats(fake_guest.vdev, &stats);
	return stats.syscalls - before;
}

/* Of a shared channel's queues only those that the driver uses are woken: the 15 others cost nothing for each event. */
static void test_unused_queues_are_not_woken(void **state)
{
	uint64_t before;

	(void)state;
	fake_msg_open_and_connect(16, 1);
	fake_msg_start(1);
	before = syscalls_since(0);
	for (unsigned i = 0; i < 100; i++) {
		fake_request(0, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
		fake_kick(0);
		fake_used(&fake_guest.vq[0], 1);
		fake_guest.next_page -= 3;
	}
	/* Two copies, an event, and to wait for the kick and for the disk, both perhaps once in vain. */
	assert_true(syscalls_since(before) <= 100 * 8);
	fake_msg_end();
}

static void test_more_channels_than_queues(void **state)
{
	(void)state;
	requests_work(2, 3);
}

int main(void)
{
#define MSG_TEST(name) cmocka_unit_test_setup_teardown(name, fake_msg_setup, fake_msg_teardown)
	const struct CMUnitTest tests[] = {
		MSG_TEST(test_counts_at_depth_1),
		MSG_TEST(test_counts_at_depth_32),
		MSG_TEST(test_a_reset_lasts_as_long_as_the_disk),
		MSG_TEST(test_a_channel_for_each_queue),
		MSG_TEST(test_shared_channels),
		MSG_TEST(test_unused_queues_are_not_woken),
		MSG_TEST(test_more_channels_than_queues),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
