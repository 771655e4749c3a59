/* SPDX-License-Identifier: MIT */
/* A driver over messages: how a connection is made, and what becomes of the driver when the device breaks the rules. */
#include "tests/unit/virtio/rig.h"

#include <abi/virtio.h>

/* ---- the connection ---------------------------------------------------------------------------------------------- */

static void grants_the_pages_and_opens_the_ports(void **state)
{
	const struct gio_msg_answer *answer;
	struct blk_rig rig;

	(void)state;
	rig_init(&rig, 1);
	answer = gio_msg_connection_answer(rig.connection);
	assert_int_equal(answer->ports, 3);
	assert_true(answer->driver_page != answer->device_page);
	/* That the driver page cannot be written by the device is looked at by fake_msg_bind(). */
	for (unsigned i = 0; i < answer->ports; i++) {
		assert_int_equal(fake_os_port_remote(rig.os, answer->queue_port[i]), FAKE_DEV_DOMID);
		assert_true(answer->queue_port[i] != answer->port);
	}
	rig_close(&rig);
}

static void a_connection_that_fails_leaves_nothing(void **state)
{
	struct gio_msg_connection *connection = NULL;
	struct fake_os_counts before, after;
	struct blk_rig rig;
	unsigned n = 0;
	int err;

	(void)state;
	rig_init(&rig, 1);
	assert_int_equal(gio_msg_connection_open(&connection, rig.os, rig.grants, FAKE_DEV_DOMID, 0), -GIO_EINVAL);
	assert_int_equal(gio_msg_connection_open(&connection, rig.os, rig.grants, FAKE_DEV_DOMID, 17), -GIO_EINVAL);
	fake_os_count(rig.os, &before);
	do {
		fake_os_fail(rig.os, FAKE_ANY, ++n);
		err = gio_msg_connection_open(&connection, rig.os, rig.grants, FAKE_DEV_DOMID, 16);
		if (!err)
			break;
		assert_true(err == -GIO_ENOMEM || err == -GIO_ENOSPC);
		fake_os_count(rig.os, &after);
		assert_memory_equal(&after, &before, sizeof(after));
	} while (n < 100);
	fake_os_fail(rig.os, FAKE_ANY, 0);
	assert_int_equal(n, 1 + 1 + 17 + 1); /* memory, pages, ports; and none */
	gio_msg_connection_close(connection);
	gio_msg_connection_close(NULL);
	rig_close(&rig);
}

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

static unsigned silent_from; /* the first request, from 0, that is not answered */

static bool falls_silent(struct fake_msg *fm, const struct gio_msg *request, struct gio_msg *response)
{
	(void)request, (void)response;
	return fm->hooked++ < silent_from;
}

/* Wherever it falls silent: opening ends, once, and nothing is left but what the device still holds. */
static void opens_or_fails_when_the_device_falls_silent(void **state)
{
	int err;

	(void)state;
	for (silent_from = 0; silent_from < 100; silent_from++) {
		struct blk_rig rig;
		uint64_t start;

		rig_init(&rig, 1);
		rig.config.queues = 2;
		rig.msg.hook = falls_silent;
		start = gio_os_now_ms(rig.os);
		err = gio_blk_open(&rig.blk, &rig.config);
		if (err) {
			assert_int_equal(err, -GIO_ETIMEDOUT);
			assert_int_equal(gio_os_now_ms(rig.os) - start, 30000);
			assert_null(rig.blk);
			/* It is not asked again by this connection. */
			assert_int_equal(gio_blk_open(&rig.blk, &rig.config), -GIO_ETIMEDOUT);
			assert_int_equal(gio_os_now_ms(rig.os) - start, 30000);
			fake_dev_release(rig.dev);
		}
		rig_close(&rig);
		if (!err)
			break;
	}
	/* Info; reset, three statuses, two of features; configuration; six for two queues; DRIVER_OK. */
	assert_int_equal(silent_from, 1 + 1 + 3 + 2 + 1 + 6 + 1);
}

static void waits_no_longer_than_told(void **state)
{
	struct blk_rig rig;
	uint64_t start;

	(void)state;
	rig_init(&rig, 1);
	rig.msg.hook = falls_silent;
	silent_from = 0;
	gio_msg_connection_patience(rig.connection, 200);
	start = gio_os_now_ms(rig.os);
	assert_int_equal(gio_blk_open(&rig.blk, &rig.config), -GIO_ETIMEDOUT);
	assert_int_equal(gio_os_now_ms(rig.os) - start, 200);
	rig_close(&rig);
}

static uint8_t lie_id;
static void (*lie)(struct gio_msg *response);

static bool lies(struct fake_msg *fm, const struct gio_msg *request, struct gio_msg *response)
{
	if (request->header.id == lie_id) {
		fm->hooked++;
		lie(response);
	}
	return true;
}

/* The answer to requests `id` is bent by `how`: opening fails by `err`, and is never told that it may begin. */
static void open_lied_to(uint8_t id, void (*how)(struct gio_msg *response), int err)
{
	struct blk_rig rig;

	rig_init(&rig, 1);
	rig.config.queues = 2;
	rig.msg.hook = lies;
	lie_id = id;
	lie = how;
	assert_int_equal(gio_blk_open(&rig.blk, &rig.config), err);
	assert_null(rig.blk);
	assert_true(rig.msg.hooked > 0);
	assert_false(rig.dev->status & GIO_VIRTIO_STATUS_DRIVER_OK);
	fake_dev_release(rig.dev); /* one that was given up is not reset */
	rig_close(&rig);
}

static void other_type(struct gio_msg *response)
{
	response->info.device_id = GIO_VIRTIO_ID_RNG;
}

static void never_reset(struct gio_msg *response)
{
	response->status.status |= GIO_VIRTIO_STATUS_ACKNOWLEDGE;
}

static void never_agreed(struct gio_msg *response)
{
	response->status.status &= ~GIO_VIRTIO_STATUS_FEATURES_OK;
}

static void offers_nothing(struct gio_msg *response)
{
	response->features.bits[1] = 0;
}

static void queue_in_use(struct gio_msg *response)
{
	response->queue.flags = GIO_MSG_QUEUE_ENABLED;
}

static void no_queue(struct gio_msg *response)
{
	response->queue.max_size = 0;
}

static void never_enabled(struct gio_msg *response)
{
	response->queue.flags = 0;
}

static void changes_without_end(struct gio_msg *response)
{
	static uint32_t generation;

	response->config.generation = ++generation;
}

static void refuses_a_device_that_lies(void **state)
{
	(void)state;
	open_lied_to(GIO_MSG_GET_DEVICE_INFO, other_type, -GIO_ENODEV);
	open_lied_to(GIO_MSG_SET_DEVICE_STATUS, never_agreed, -GIO_ENODEV);
	open_lied_to(GIO_MSG_GET_DEVICE_FEATURES, offers_nothing, -GIO_ENODEV);
	open_lied_to(GIO_MSG_GET_VQUEUE, queue_in_use, -GIO_EPROTO);
	open_lied_to(GIO_MSG_GET_VQUEUE, no_queue, -GIO_ENODEV);
	open_lied_to(GIO_MSG_GET_VQUEUE, never_enabled, -GIO_EPROTO);
}

static bool never_resets(struct fake_msg *fm, const struct gio_msg *request, struct gio_msg *response)
{
	bool status =
		request->header.id == GIO_MSG_SET_DEVICE_STATUS || request->header.id == GIO_MSG_GET_DEVICE_STATUS;

	if (status && !response->status.status) {
		fm->hooked++;
		never_reset(response);
	}
	return true;
}

static void does_not_wait_for_a_reset_without_end(void **state)
{
	struct blk_rig rig;
	uint64_t start;

	(void)state;
	rig_init(&rig, 1);
	rig.msg.hook = never_resets;
	start = gio_os_now_ms(rig.os);
	assert_int_equal(gio_blk_open(&rig.blk, &rig.config), -GIO_ETIMEDOUT);
	assert_in_range(gio_os_now_ms(rig.os) - start, 30000, 30500);
	assert_in_range(rig.msg.hooked, 60, 70);
	rig_close(&rig);
}

/* One message holds the space, so that a generation of its own in each makes no difference; two of them never agree. */
static void reads_a_space_of_one_message_at_any_generation(void **state)
{
	struct blk_rig rig;

	(void)state;
	rig_init(&rig, 1);
	rig.msg.hook = lies;
	lie_id = GIO_MSG_GET_CONFIG;
	lie = changes_without_end;
	rig_open(&rig);
	assert_int_equal(rig.msg.hooked, 1);
	rig_close(&rig);
}

/* A device with more queues than a driver may use, or fewer than its configuration says. */
static void takes_no_more_queues_than_there_are(void **state)
{
	struct gio_blk_info info;
	struct blk_rig rig;

	(void)state;
	rig_init(&rig, 1);
	rig.config.queues = 100;
	rig.dev->config.num_queues = 100;
	rig_open(&rig);
	gio_blk_info(rig.blk, &info);
	assert_int_equal(info.queues, FAKE_DEV_QUEUES);
	rig_close(&rig);
}

/* ---- in use ------------------------------------------------------------------------------------------------------ */

/* Queue q kicks by port q modulo their number: with three ports, queues 0 and 3 share one. */
static void kicks_by_the_port_of_the_queue(void **state)
{
	struct blk_rig rig;
	struct rig_req r;

	(void)state;
	rig_init(&rig, 1);
	rig.config.queues = 4;
	rig_open(&rig);
	for (unsigned queue = 0; queue < 4; queue++) {
		unsigned sends = rig.msg.sends, requests = rig.msg.requests;

		rig_req_init(&rig, &r, GIO_BLK_FLUSH, 0);
		assert_int_equal(gio_blk_submit(rig.blk, queue, &r.req), 0);
		gio_blk_kick(rig.blk, queue);
		rig_interrupt(&rig);
		assert_int_equal(r.done, 1);
		assert_int_equal(rig.msg.sends, sends + 1); /* the kick, and nothing else */
		assert_int_equal(rig.msg.requests, requests);
	}
	rig_close(&rig);
}

/* A device that changes its configuration again and again is followed ten times a second, and the last change always.
 */
static void follows_changes_at_its_own_pace(void **state)
{
	struct gio_blk_info info;
	struct blk_rig rig;
	unsigned requests;

	(void)state;
	rig_init(&rig, 1);
	rig_open(&rig);
	requests = rig.msg.requests;
	for (unsigned i = 0; i < 500; i++) {
		rig.dev->config.capacity = 1000 + i;
		fake_dev_config_changed(rig.dev);
		gio_blk_interrupt(rig.blk);
		fake_os_pass(rig.os, 1);
	}
	assert_in_range(rig.msg.requests - requests, 5, 6);
	rig_interrupt(&rig);
	gio_blk_info(rig.blk, &info);
	assert_int_equal(info.capacity, 1499);
	assert_false(gio_blk_broken(rig.blk));
	rig_close(&rig);
}

static bool never_answers(struct fake_msg *fm, const struct gio_msg *request, struct gio_msg *response)
{
	(void)fm, (void)request, (void)response;
	return false;
}

/* What is in flight when the device is given up completes, and closing does not wait for the device again. */
static void completes_all_when_the_device_is_given_up(void **state)
{
	struct rig_req r[3], late;
	struct blk_rig rig;
	uint64_t start;

	(void)state;
	rig_init(&rig, 1);
	rig.dev->lazy = true;
	rig_open(&rig);
	for (unsigned i = 0; i < 3; i++) {
		rig_req_init(&rig, &r[i], GIO_BLK_FLUSH, 0);
		assert_int_equal(rig_submit(&rig, &r[i]), 0);
	}
	gio_blk_kick(rig.blk, 0);
	rig.msg.hook = never_answers;
	start = gio_os_now_ms(rig.os);
	fake_dev_config_changed(rig.dev);
	rig_interrupt(&rig);
	assert_int_equal(gio_os_now_ms(rig.os) - start, 30000);
	assert_true(gio_blk_broken(rig.blk));
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(r[i].done, 1);
		assert_int_equal(r[i].req.result, -GIO_EPROTO);
	}
	rig_req_init(&rig, &late, GIO_BLK_FLUSH, 0);
	assert_int_equal(rig_submit(&rig, &late), -GIO_EPROTO);
	gio_blk_close(rig.blk);
	rig.blk = NULL;
	assert_int_equal(gio_os_now_ms(rig.os) - start, 30000);
	fake_dev_release(rig.dev);
	rig_close(&rig);
}

static void breaks_when_the_page_is_impossible(void **state)
{
	struct blk_rig rig;

	(void)state;
	rig_init(&rig, 1);
	rig_open(&rig);
	rig.msg.device->prod += 100;
	gio_blk_interrupt(rig.blk);
	assert_true(gio_blk_broken(rig.blk));
	gio_blk_close(rig.blk);
	rig.blk = NULL;
	fake_dev_release(rig.dev);
	rig_close(&rig);
}

/* The pages and the counters in them are the connection's: drivers come and go. */
static void opens_again_over_the_same_connection(void **state)
{
	struct blk_rig rig;
	uint32_t sent = 0;

	(void)state;
	rig_init(&rig, 1);
	for (unsigned i = 0; i < 20; i++) {
		rig_open(&rig);
		assert_int_equal(rig_io(&rig, GIO_BLK_FLUSH, 0, NULL, 0), 0);
		gio_blk_close(rig.blk);
		rig.blk = NULL;
		assert_true(rig.msg.taken > sent);
		sent = rig.msg.taken;
	}
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grants_the_pages_and_opens_the_ports),
		cmocka_unit_test(a_connection_that_fails_leaves_nothing),
		cmocka_unit_test(opens_or_fails_when_the_device_falls_silent),
		cmocka_unit_test(waits_no_longer_than_told),
		cmocka_unit_test(refuses_a_device_that_lies),
		cmocka_unit_test(does_not_wait_for_a_reset_without_end),
		cmocka_unit_test(reads_a_space_of_one_message_at_any_generation),
		cmocka_unit_test(takes_no_more_queues_than_there_are),
		cmocka_unit_test(kicks_by_the_port_of_the_queue),
		cmocka_unit_test(follows_changes_at_its_own_pace),
		cmocka_unit_test(completes_all_when_the_device_is_given_up),
		cmocka_unit_test(breaks_when_the_page_is_impossible),
		cmocka_unit_test(opens_again_over_the_same_connection),
	};
	return cmocka_run_group_tests_name("msg_transport", tests, NULL, NULL);
}
