/* SPDX-License-Identifier: MIT */
/* What the device behind messages may say and do, and what the module makes of it: as test_msg.c. */
#include "msg_rig.h"

#include "../../../kmod/dma_ops.h"
#include "../../../kmod/frontend.h"
#include "../../../kmod/reap.h"
#include "../../../kmod/virtio.h"

#include <abi/dma_addr.h>

#include <setjmp.h>

#include <cmocka.h>

/* ---- what a device may say -------------------------------------------------------------------------------------- */

static void test_type_is_the_toolstacks(void **state)
{
	(void)state;
	rig_begin();
	world_device.type = 18;
	rig_connect();
	assert_int_equal(rig_xbdev.state, XenbusStateClosed);
	assert_int_equal(world.made, 0);
	rig_end();
}

static void test_features_that_are_needed(void **state)
{
	(void)state;
	for (unsigned bit = VIRTIO_F_VERSION_1; bit <= VIRTIO_F_ACCESS_PLATFORM; bit++) {
		rig_begin();
		world_device.features &= ~(1ull << bit);
		rig_connect();
		assert_false(world.probed);
		rig_end();
	}
}

/* Ring and transport features are not taken, whatever is offered. */
static void test_features_that_are_never_taken(void **state)
{
	(void)state;
	rig_begin();
	world_device.features = ~0ull;
	rig_connect();
	assert_true(world.probed);
	assert_int_equal(world_device.chosen >> 34 & 0xff, 0);
	rig_end();
}

static unsigned asked, from;

static bool silent(const struct gio_msg *request, struct gio_msg *response)
{
	(void)request, (void)response;
	return asked++ < from;
}

static bool other_token(const struct gio_msg *request, struct gio_msg *response)
{
	(void)request;
	response->header.token += asked++ >= from;
	return true;
}

static bool breaks_bus(const struct gio_msg *request, struct gio_msg *response)
{
	(void)request, (void)response;
	if (asked++ >= from)
		world_device.sent += 100;
	return true;
}

/*
 * From its request `from` on it misbehaves. All ends, within its time, and the device begins anew: its backend is asked
 * again after a pause. Whatever was reached then, removing it leaves nothing.
 */
static void misbehaves(bool (*hook)(const struct gio_msg *request, struct gio_msg *response))
{
	for (from = 0;; from++) {
		bool all;

		rig_begin();
		asked = 0;
		world_device.hook = hook;
		rig_backend_is(XenbusStateInitWait);
		rig_backend_is(XenbusStateConnected);
		all = asked <= from;
		world_device.hook = NULL;
		if (!all) {
			assert_int_equal(rig_xbdev.state, from ? XenbusStateConnected : XenbusStateClosed);
			for (unsigned i = 0; i < 3 && world.breaks == 0 && from; i++)
				world_work();
			assert_int_equal(world.breaks, from ? 1 : 0);
		}
		rig_end();
		if (all)
			break;
		assert_in_range(from, 0, 100);
	}
	assert_in_range(from, 10, 100);
}

static void test_device_that_falls_silent(void **state)
{
	(void)state;
	misbehaves(silent);
}

static void test_device_that_answers_something_else(void **state)
{
	(void)state;
	misbehaves(other_token);
}

static void test_device_that_breaks_the_bus(void **state)
{
	(void)state;
	misbehaves(breaks_bus);
}

static bool queue_lies(const struct gio_msg *request, struct gio_msg *response)
{
	if (request->header.id == GIO_MSG_GET_VQUEUE && response->queue.flags)
		response->queue.device += 1;
	return true;
}

static void test_queue_that_was_not_enabled(void **state)
{
	(void)state;
	rig_begin();
	world_device.hook = queue_lies;
	rig_connect();
	assert_false(world.probed);
	rig_end();
}

/* A device that is to be reset says so late, and is waited for; one that never does is given up. */
static void test_reset_that_takes_long(void **state)
{
	unsigned long before;

	(void)state;
	rig_connected();
	world_device.resets_late = 20;
	rig_vdev()->config->reset(rig_vdev());
	assert_int_equal(world_device.status, 0);
	assert_int_equal(rig_front()->msg.link.dead, 0);
	world_device.status = 15;
	world_device.resets_late = 1000000;
	world.work_stops = true; /* else the device is gone when the reset returns */
	before = jiffies;
	rig_vdev()->config->reset(rig_vdev());
	assert_int_equal(rig_front()->msg.link.dead, 1);
	assert_in_range((jiffies - before) / HZ, 29, 32);
	world.work_stops = false;
	rig_works();
	assert_int_equal(world.breaks, 1);
	rig_end();
}

static bool generations(const struct gio_msg *request, struct gio_msg *response)
{
	if (request->header.id == GIO_MSG_GET_CONFIG)
		response->config.generation = world_device.generation++;
	return true;
}

/* ---- the configuration ------------------------------------------------------------------------------------------ */

/* What the driver reads is the copy, without a message. Behind the end there are zeroes. */
static void test_configuration_is_a_copy(void **state)
{
	unsigned requests;
	u32 beyond = 7;

	(void)state;
	rig_begin();
	world_device.config[0] = 9;
	rig_connect();
	requests = world_device.requests;
	world_device.config[0] = 10; /* without a word */
	assert_int_equal(rig_capacity(), 9);
	rig_vdev()->config->get(rig_vdev(), 58, &beyond, sizeof(beyond));
	assert_int_equal(beyond, 0);
	rig_vdev()->config->get(rig_vdev(), 0xfffffff0u, &beyond, sizeof(beyond));
	assert_int_equal(beyond, 0);
	assert_int_equal(world_device.requests, requests);
	rig_vdev()->config->set(rig_vdev(), 32, "\1", 1);
	assert_int_equal(world_device.config[32], 1);
	assert_int_equal(rig_capacity(), 10);
	rig_end();
}

static void test_configuration_that_changes(void **state)
{
	u32 generation;

	(void)state;
	rig_connected();
	generation = rig_vdev()->config->generation(rig_vdev());
	world_device.config[0] = 77;
	world_device_changed();
	rig_works();
	assert_int_equal(world.configs, 1);
	assert_int_equal(rig_capacity(), 77);
	assert_int_not_equal(rig_vdev()->config->generation(rig_vdev()), generation);
	rig_end();
}

/* A new process of the backend says that it has changed, to be sure: its driver hears only of what is so. */
static void test_configuration_that_has_not_changed(void **state)
{
	u32 generation;
	unsigned configs;

	(void)state;
	rig_connected();
	rig_works();
	world_device.config[0] = 77;
	world_device_changed();
	rig_works();
	configs = world.configs;
	generation = rig_vdev()->config->generation(rig_vdev());
	world_device_changed();
	rig_works();
	assert_int_equal(world.configs, configs);
	assert_int_equal(rig_vdev()->config->generation(rig_vdev()), generation);
	/* What was read because the driver had written something is no less a change when the device says so. */
	world_device.config[0] = 78;
	rig_vdev()->config->set(rig_vdev(), 32, "\1", 1);
	assert_int_equal(rig_capacity(), 78);
	world_device_changed();
	rig_works();
	assert_int_equal(world.configs, configs + 1);
	rig_end();
}

/* However often it says so, its driver is told ten times a second. */
static void test_configuration_that_changes_all_the_time(void **state)
{
	unsigned long before;

	(void)state;
	rig_connected();
	before = jiffies;
	for (unsigned i = 0; i < 1000; i++) {
		world_device.config[0] = (u8)i;
		world_device_changed();
		world_work();
	}
	rig_works();
	assert_in_range(world.configs, 1, 2 + 11 * (jiffies - before) / HZ);
	assert_int_equal(rig_capacity(), (u8)999);
	assert_int_equal(rig_front()->msg.link.dead, 0);
	rig_end();
}

/* Two reads never agree: the copy stays as it was, and nobody reads for ever. */
static void test_generation_that_changes_all_the_time(void **state)
{
	unsigned requests;

	(void)state;
	rig_begin();
	world_device.config_bytes = 60;
	world_device.config[0] = 5;
	rig_connect();
	world_device.config_bytes = 300; /* and so its answers are impossible */
	world_device.hook = generations;
	requests = world_device.requests;
	world_device_changed();
	world_work();
	assert_in_range(world_device.requests - requests, 1, 10);
	rig_end();
}

/* A request of so many segments finds room in the pool. */
static void test_segments_that_the_pool_has_room_for(void **state)
{
	u32 seg_max = 100000;

	(void)state;
	rig_begin();
	memcpy(world_device.config + 12, &seg_max, sizeof(seg_max));
	rig_connect();
	rig_vdev()->config->get(rig_vdev(), 12, &seg_max, sizeof(seg_max));
	assert_in_range(seg_max, 8, 64);
	rig_end();
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

static void test_interrupts_reach_their_queue(void **state)
{
	(void)state;
	rig_connected();
	world_spurious = 0;
	world_device_uses(0, 1);
	assert_int_equal(world.vqs[0]->events, 1);
	assert_int_equal(world.vqs[2]->events, 0);
	world_device_uses(1, 3);
	assert_int_equal(world.vqs[2]->events, 1);
	assert_int_equal(world_spurious, 0);
	/* Without news: the kernel is told, and makes the channel wait. */
	for (unsigned i = 0; i < 5; i++)
		world_device_uses(0, 0);
	assert_int_equal(world.vqs[0]->events, 1);
	assert_int_equal(world_spurious, 5);
	for (unsigned i = 0; i < 5; i++) {
		world_event(rig_port("event-channel"));
		rig_works();
	}
	assert_int_equal(world_spurious, 10);
	rig_end();
}

static void test_kicks_are_events(void **state)
{
	(void)state;
	rig_connected();
	assert_true(world.vqs[0]->notify(world.vqs[0]));
	assert_true(world.vqs[2]->notify(world.vqs[2]));
	assert_int_equal(world_device.told[rig_port("queue-0/event-channel")], 1);
	assert_int_equal(world_device.told[rig_port("queue-1/event-channel")], 1);
	rig_front()->msg.link.dead = 1;
	assert_false(world.vqs[0]->notify(world.vqs[0]));
	rig_front()->msg.link.dead = 0;
	rig_end();
}

/* It begins anew: Closed, so that the backend lets go; and Initialising after the pause. */
static void test_device_that_needs_a_reset(void **state)
{
	(void)state;
	rig_connected();
	world_device.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	world_device_changed();
	rig_works();
	assert_int_equal(world.breaks, 1);
	assert_int_equal(rig_xbdev.state, XenbusStateInitialising);
	rig_connect();
	assert_int_equal(rig_xbdev.state, XenbusStateConnected);
	assert_int_equal(world.made, 2);
	rig_end();
}

/* The backend holds what it had: pages and references wait in quarantine, and everything else goes on. */
static void test_backend_that_holds_pages(void **state)
{
	dma_addr_t desc, page;

	(void)state;
	rig_connected();
	desc = world_device.queue[0].desc;
	page = strtoull(world_answer("device-page-ref"), NULL, 10) << PAGE_SHIFT;
	world_hold(desc, true);
	world_hold(page, true);
	rig_connect();
	assert_int_equal(rig_xbdev.state, XenbusStateConnected);
	assert_true(world_device.queue[0].desc != desc);
	world_hold(desc, false);
	world_hold(page, false);
	world.driver->remove(&rig_xbdev);
	gk_front_unregister();
	gk_virtio_unregister();
	while (gio_grants_reap(gk_os.grants))
		;
	assert_int_equal(world_granted(), 0);
	assert_int_equal(gio_grants_close(gk_os.grants), 0);
}

/* The backend keeps the whole pool mapped and begins anew, again and again: what it holds does not grow. */
static void test_backend_that_holds_pools(void **state)
{
	unsigned first, count, most = 0;

	(void)state;
	rig_connected();
	assert_int_equal(sscanf(world_answer("pool-0"), "%u:%u", &first, &count), 2);
	for (unsigned i = 0; i < count; i++)
		world_hold((dma_addr_t)(first + i) << PAGE_SHIFT, true);
	for (unsigned i = 0; i < 10; i++) {
		rig_backend_is(XenbusStateInitWait);
		world_work();
		rig_backend_is(XenbusStateConnected);
		world_work();
		most = max(most, world_granted());
	}
	assert_int_equal(rig_xbdev.state, XenbusStateClosed);
	assert_non_null(strstr(world.said, "holds"));
	assert_in_range(most, count, 2 * count);
	for (unsigned i = 0; i < count; i++)
		world_hold((dma_addr_t)(first + i) << PAGE_SHIFT, false);
	rig_connect();
	assert_int_equal(rig_xbdev.state, XenbusStateConnected);
	rig_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_type_is_the_toolstacks),
		cmocka_unit_test(test_features_that_are_needed),
		cmocka_unit_test(test_features_that_are_never_taken),
		cmocka_unit_test(test_device_that_falls_silent),
		cmocka_unit_test(test_device_that_answers_something_else),
		cmocka_unit_test(test_device_that_breaks_the_bus),
		cmocka_unit_test(test_queue_that_was_not_enabled),
		cmocka_unit_test(test_reset_that_takes_long),
		cmocka_unit_test(test_configuration_is_a_copy),
		cmocka_unit_test(test_configuration_that_changes),
		cmocka_unit_test(test_configuration_that_has_not_changed),
		cmocka_unit_test(test_configuration_that_changes_all_the_time),
		cmocka_unit_test(test_generation_that_changes_all_the_time),
		cmocka_unit_test(test_segments_that_the_pool_has_room_for),
		cmocka_unit_test(test_interrupts_reach_their_queue),
		cmocka_unit_test(test_kicks_are_events),
		cmocka_unit_test(test_device_that_needs_a_reset),
		cmocka_unit_test(test_backend_that_holds_pages),
		cmocka_unit_test(test_backend_that_holds_pools),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
