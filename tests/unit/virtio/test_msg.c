/* SPDX-License-Identifier: MIT */
/* abi/virtio_msg.h against the golden vectors: which messages are well-formed, and where their fields lie. */
#include "tests/unit/virtio/vectors.h"

/* The request that `msg` would answer. */
static struct gio_msg request_of(const struct gio_msg *msg)
{
	return (struct gio_msg){.header = {.id = msg->header.id, .token = msg->header.token}};
}

/* What comes in a page to the receiver: from a driver a request; from a device a response or an event. */
static bool taken(const struct vector *v, bool by_device)
{
	struct gio_msg request = request_of(&v->msg);

	if (by_device)
		return gio_msg_request_valid(&v->msg);
	return gio_msg_response_valid(&v->msg, &request) || gio_msg_event_valid(&v->msg);
}

/* These are carried by event channels, and are refused in a page. */
static bool by_channel(const struct vector *v)
{
	return v->msg.header.id == GIO_MSG_EVENT_AVAIL || v->msg.header.id == GIO_MSG_EVENT_USED;
}

static void takes_what_is_well_formed(void **state)
{
	(void)state;
	for (unsigned i = 0; i < VECTORS; i++) {
		const struct vector *v = &vectors[i];

		if (strcmp(v->kind, "ok") != 0)
			continue;
		if (taken(v, !strcmp(v->who, "driver")) == by_channel(v))
			fail_msg("%s", v->name);
	}
}

/* `drop` is malformed. Where the reaction is another one, the message is well-formed and its receiver judges it. */
static void drops_what_is_malformed(void **state)
{
	(void)state;
	for (unsigned i = 0; i < VECTORS; i++) {
		const struct vector *v = &vectors[i];
		bool well =
			!strcmp(v->reaction, "noop") || !strcmp(v->reaction, "zero") || !strcmp(v->reaction, "refuse");

		if (strcmp(v->kind, "bad") != 0 || !strcmp(v->reaction, "wait"))
			continue;
		if (taken(v, !strcmp(v->who, "device")) != well)
			fail_msg("%s", v->name);
	}
}

/* GET_DEVICE_STATUS with token 3, and GET_CONFIG with token 8, are what was asked. */
static void waits_for_its_own_response(void **state)
{
	struct gio_msg status = *vector("status-request"), config = *vector("config-request");
	struct gio_msg answer = *vector("config-response");

	(void)state;
	assert_false(gio_msg_response_valid(vector("wrong-token"), &status));
	assert_false(gio_msg_response_valid(vector("wrong-id"), &status));
	assert_false(gio_msg_response_valid(vector("short-data"), &config));
	assert_true(gio_msg_response_valid(&answer, &config));
	answer.header.bytes++;
	assert_false(gio_msg_response_valid(&answer, &config));
	answer.header.bytes--;
	answer.header.device = 1;
	assert_false(gio_msg_response_valid(&answer, &config));
	answer.header.device = 0;
	answer.header.type |= GIO_MSG_TYPE_BUS;
	assert_false(gio_msg_response_valid(&answer, &config));
}

/* Counts next to their limits, and those whose sizes would not fit 32 bits. */
static void holds_the_limits(void **state)
{
	static const uint32_t counts[] = {0, 1, 61, 62, 63, 243, 244, 245, 0x40000000, 0x3ffffffe, UINT32_MAX};
	struct gio_msg msg = {.header = {.token = 1}};

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		uint32_t n = counts[i];

		msg.features.first = 0;
		msg.features.blocks = n;
		msg.header.id = GIO_MSG_SET_DRIVER_FEATURES;
		msg.header.bytes = (uint16_t)(16 + 4 * n);
		assert_int_equal(gio_msg_request_valid(&msg), n >= 1 && n <= 62);
		msg.header.id = GIO_MSG_GET_DEVICE_FEATURES;
		msg.header.bytes = 16;
		assert_int_equal(gio_msg_request_valid(&msg), n >= 1 && n <= 62);
		msg.config_get.length = n;
		msg.header.id = GIO_MSG_GET_CONFIG;
		assert_int_equal(gio_msg_request_valid(&msg), n <= 244);
		msg.config.length = n;
		msg.header.id = GIO_MSG_SET_CONFIG;
		msg.header.bytes = (uint16_t)(20 + n);
		assert_int_equal(gio_msg_request_valid(&msg), n <= 244);
	}
}

/* The fields lie where the vectors have them. */
static void reads_the_fields(void **state)
{
	const struct gio_msg *msg = vector("info-response");

	(void)state;
	assert_int_equal(msg->info.device_id, 2);
	assert_int_equal(msg->info.feature_blocks, 2);
	assert_int_equal(msg->info.config_bytes, 72);
	assert_int_equal(msg->info.queues, 4);
	msg = vector("features-response");
	assert_int_equal(msg->features.bits[0], 0x20007e46);
	assert_int_equal(msg->features.bits[1], 3);
	msg = vector("set-config-request");
	assert_int_equal(msg->config.offset, 32);
	assert_int_equal(msg->config.data[0], 1);
	msg = vector("set-vqueue-request");
	assert_int_equal(msg->queue_set.flags, GIO_MSG_QUEUE_ENABLE);
	assert_int_equal(msg->queue_set.size, 256);
	assert_true(msg->queue_set.device == UINT64_C(0x8000000001002000));
	msg = vector("vqueue-enabled-response");
	assert_int_equal(msg->queue.size, 256);
	assert_int_equal(msg->queue.flags, GIO_MSG_QUEUE_ENABLED);
	assert_true(msg->queue.driver == UINT64_C(0x8000000001001000));
	msg = vector("event-needs-reset");
	assert_int_equal(msg->event.status, 0x4f);
	assert_int_equal(msg->event.generation, 7);
	assert_int_equal(vector("features-ok-refused")->status.status, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_what_is_well_formed),  cmocka_unit_test(drops_what_is_malformed),
		cmocka_unit_test(waits_for_its_own_response), cmocka_unit_test(holds_the_limits),
		cmocka_unit_test(reads_the_fields),
	};
	return cmocka_run_group_tests_name("msg", tests, vectors_read, NULL);
}
