/* SPDX-License-Identifier: MIT */
/* What a device answers to messages: the golden vectors, and the rules that they do not show. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/backend/fake_msg.h"
#include "tests/unit/virtio/vectors.h"

static struct gio_msg raw(const char *name)
{
	return *vector(name);
}

/* Send a vector as it is; the next message of the device, whose token must be that of the vector. */
static struct gio_msg exchange(const char *name)
{
	struct gio_msg request = raw(name), response;

	fake_msg_send(&request);
	response = fake_msg_wait();
	assert_int_equal(response.header.token, request.header.token);
	assert_int_equal(response.header.id, request.header.id);
	return response;
}

static void same(struct gio_msg msg, const char *name)
{
	assert_memory_equal(&msg, vector(name), sizeof(msg));
}

/* A session of golden requests: their responses are golden as well, down to the zeroes behind them. */
static void test_golden_session(void **state)
{
	(void)state;
	fake_msg_open_and_connect(4, 4);
	same(exchange("info-request"), "info-response");
	same(exchange("reset-request"), "reset-response");
	same(exchange("status-request"), "status-response");
	assert_int_equal(exchange("features-request").features.bits[1], 3);
	fake_msg_status(1);
	fake_msg_status(3);
	same(exchange("driver-features-request"), "driver-features-response");
	assert_int_equal(exchange("features-ok-request").status.status, 0xb);
	fake_guest.next_page = 0x1000 - FAKE_GREF_BASE + 3; /* the vector's rings are at references 0x1000 to 0x1002 */
	same(exchange("vqueue-request"), "vqueue-free-response");
	same(exchange("set-vqueue-request"), "set-vqueue-response");
	fake_msg.token = vector("vqueue-enabled-response")->header.token - 1;
	same(fake_msg_ask(GIO_MSG_GET_VQUEUE, (struct gio_msg){.queue_index = {0}}), "vqueue-enabled-response");
}

/* Whether any queue is enabled, or any of its fields set. */
static bool queue_touched(uint32_t index)
{
	struct gio_msg_queue queue = fake_msg_queue(index);

	return queue.size || queue.flags || queue.desc || queue.driver || queue.device;
}

static void reaction_check(const struct vector *v)
{
	struct gio_msg next;

	fake_msg_send(&v->msg);
	if (!strcmp(v->reaction, "drop")) {
		/* The next response is that of the next request. */
		fake_msg_status(3);
		return;
	}
	next = fake_msg_wait();
	assert_int_equal(next.header.token, v->msg.header.token);
	assert_int_equal(next.header.id, v->msg.header.id);
	if (!strcmp(v->reaction, "noop")) {
		assert_int_equal(next.header.bytes, 8);
		assert_false(queue_touched(0));
	} else {
		assert_string_equal(v->reaction, "zero");
		assert_int_equal(next.config.length, 0);
		assert_int_equal(next.header.bytes, 20);
	}
}

static void test_golden_reactions(void **state)
{
	unsigned seen = 0;

	(void)state;
	fake_msg_open_and_connect(4, 4);
	fake_msg_status(3);
	fake_msg_features(FAKE_FEATURES & gd_vdev_offered(fake_guest.vdev));
	assert_int_equal(fake_msg_status(0xb), 0xb);
	for (unsigned i = 0; i < VECTORS; i++)
		if (!strcmp(vectors[i].kind, "bad") && !strcmp(vectors[i].who, "device")) {
			reaction_check(&vectors[i]);
			seen++;
		}
	assert_true(seen >= 20);
	assert_int_equal(fake_msg.broken, 0);
}

static void queues_negotiate(void)
{
	fake_msg_status(3);
	fake_msg_features(FAKE_FEATURES & gd_vdev_offered(fake_guest.vdev));
	assert_int_equal(fake_msg_status(0xb), 0xb);
}

/* Each rule of SET_VQUEUE: the answer is the usual one, and nothing has changed. */
static void test_queue_rules(void **state)
{
	struct fake_vq vq;
	uint64_t at[3];

	(void)state;
	fake_msg_open_and_connect(2, 2);
	fake_vq_place(&vq, 256, at);
	const struct gio_msg_queue_set good = {0, GIO_MSG_QUEUE_ENABLE, 256, 0, at[0], at[1], at[2]};
	const struct gio_msg_queue_set wrong[] = {
		{2, 1, 256, 0, at[0], at[1], at[2]},
		{0, 3, 256, 0, at[0], at[1], at[2]},
		{0, 1 | 64, 256, 0, at[0], at[1], at[2]},
		{0, 1 | 0x80000000, 256, 0, at[0], at[1], at[2]},
		{0, 1, 256, 1, at[0], at[1], at[2]},
		{0, 1, 0, 0, at[0], at[1], at[2]},
		{0, 1, 255, 0, at[0], at[1], at[2]},
		{0, 1, 512, 0, at[0], at[1], at[2]},
		{0, 1, 0x80000000, 0, at[0], at[1], at[2]},
		{0, 1, 256, 0, at[0] + 8, at[1], at[2]},
		{0, 1, 256, 0, at[0], at[1] + 1, at[2]},
		{0, 1, 256, 0, at[0], at[1], at[2] + 2},
		{0, 1, 256, 0, at[0] & ~(UINT64_C(1) << 63), at[1], at[2]},
		{0, 1, 256, 0, at[0], at[1] | UINT64_C(1) << 44, at[2]},
		{0, 1, 256, 0, at[0], at[1], UINT64_MAX - 3},
		{0, 1, 256, 0, 0, at[1], at[2]},
		{0, 1 | GIO_MSG_QUEUE_KEEP_DESC, 256, 0, at[0], at[1], at[2]}, /* which was never set */
		{0, 1 | GIO_MSG_QUEUE_KEEP_SIZE, 256, 0, at[0], at[1], at[2]},
		{0, 0, 255, 0, at[0], at[1], at[2]},
		{0, 0, 256, 0, at[0] + 8, at[1], at[2]},
	};

	/* Before FEATURES_OK. */
	fake_msg_ask(GIO_MSG_SET_VQUEUE, (struct gio_msg){.queue_set = good});
	assert_false(queue_touched(0));
	queues_negotiate();
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		fake_msg_ask(GIO_MSG_SET_VQUEUE, (struct gio_msg){.queue_set = wrong[i]});
		if (queue_touched(0) || queue_touched(1))
			fail_msg("%u", i);
	}
}

/* Parts that Xen does not let us map: the descriptors not at all, the used ring not for writing. */
static void test_queue_rights(void **state)
{
	struct fake_vq vq;
	uint64_t at[3];

	(void)state;
	fake_msg_open_and_connect(2, 2);
	queues_negotiate();
	fake_vq_place(&vq, 256, at);
	const struct gio_msg_queue_set good = {0, GIO_MSG_QUEUE_ENABLE, 256, 0, at[0], at[1], at[2]};

	fake_xen.grants[vq.page] = FAKE_NONE;
	fake_msg_ask(GIO_MSG_SET_VQUEUE, (struct gio_msg){.queue_set = good});
	assert_false(queue_touched(0));
	fake_xen.grants[vq.page] = FAKE_READONLY;
	fake_xen.grants[gio_dma_addr_gref(at[2]) - FAKE_GREF_BASE] = FAKE_READONLY;
	fake_msg_ask(GIO_MSG_SET_VQUEUE, (struct gio_msg){.queue_set = good});
	assert_false(queue_touched(0));
	fake_xen.grants[gio_dma_addr_gref(at[2]) - FAKE_GREF_BASE] = FAKE_WRITABLE;
	fake_msg_ask(GIO_MSG_SET_VQUEUE, (struct gio_msg){.queue_set = good});
	assert_int_equal(fake_msg_queue(0).flags, GIO_MSG_QUEUE_ENABLED);
}

/* In two steps; then an enabled queue stays as it is, whatever is asked for. */
static void test_queue_in_steps(void **state)
{
	const uint32_t keep = GIO_MSG_QUEUE_KEEP_SIZE | GIO_MSG_QUEUE_KEEP_DESC | GIO_MSG_QUEUE_KEEP_DRIVER |
			      GIO_MSG_QUEUE_KEEP_DEVICE;
	struct fake_vq vq;
	uint64_t at[3];

	(void)state;
	fake_msg_open_and_connect(2, 2);
	queues_negotiate();
	fake_vq_place(&vq, 256, at);
	fake_msg_ask(GIO_MSG_SET_VQUEUE, (struct gio_msg){.queue_set = {0, 0, 128, 0, at[0], at[1], at[2]}});
	assert_int_equal(fake_msg_queue(0).size, 128);
	assert_int_equal(fake_msg_queue(0).flags, 0);
	fake_msg_ask(GIO_MSG_SET_VQUEUE,
		     (struct gio_msg){.queue_set = {0, GIO_MSG_QUEUE_ENABLE | keep, 0, 0, 0, 0, 0}});
	assert_int_equal(fake_msg_queue(0).flags, GIO_MSG_QUEUE_ENABLED);
	fake_msg_ask(GIO_MSG_SET_VQUEUE, (struct gio_msg){.queue_set = {0, 1, 256, 0, at[0], at[1], at[2]}});
	fake_msg_ask(GIO_MSG_SET_VQUEUE, (struct gio_msg){.queue_set = {0, keep, 0, 0, 0, 0, 0}});
	fake_msg_ask(GIO_MSG_RESET_VQUEUE, (struct gio_msg){.queue_index = {0}});
	assert_int_equal(fake_msg_queue(0).size, 128);
	assert_int_equal(fake_msg_queue(0).flags, GIO_MSG_QUEUE_ENABLED);
	assert_int_equal(fake_msg_status(0), 0);
	assert_false(queue_touched(0));
}

static void test_features(void **state)
{
	struct gio_msg all = {.features = {.first = 0xfffffffe, .blocks = GIO_MSG_FEATURES_MAX}};

	(void)state;
	fake_msg_open_and_connect(1, 1);
	assert_int_equal(fake_msg_ask(GIO_MSG_GET_DEVICE_FEATURES, all).features.bits[3], 0); /* it does not wrap */
	fake_msg_status(3);
	/* A feature that no device offers, in a block that no device has. */
	fake_msg_features(FAKE_FEATURES & gd_vdev_offered(fake_guest.vdev));
	fake_msg_ask(GIO_MSG_SET_DRIVER_FEATURES, (struct gio_msg){.features = {.first = 7, .blocks = 1, .bits = {1}}});
	assert_int_equal(fake_msg_status(0xb), 3);
	assert_int_equal(fake_msg_status(0), 0);
	fake_msg_status(3);
	/* Without ACCESS_PLATFORM. */
	fake_msg_features(GIO_VIRTIO_F_VERSION_1);
	assert_int_equal(fake_msg_status(0xb), 3);
	assert_int_equal(fake_msg_status(0x7), 3); /* DRIVER_OK does not stay without FEATURES_OK */
	fake_msg_features(GIO_VIRTIO_F_VERSION_1 | GIO_VIRTIO_F_ACCESS_PLATFORM);
	assert_int_equal(fake_msg_status(0xb), 0xb);
	fake_msg_features(0);
	assert_true(gd_vdev_features(fake_guest.vdev) == (GIO_VIRTIO_F_VERSION_1 | GIO_VIRTIO_F_ACCESS_PLATFORM));
}

static struct gio_msg config_set(uint32_t offset, uint32_t length, uint8_t value)
{
	struct gio_msg request = {.config = {.offset = offset, .length = length}};

	request.config.data[0] = value;
	return fake_msg_ask(GIO_MSG_SET_CONFIG, request);
}

static void test_config(void **state)
{
	const uint32_t at = offsetof(struct gio_virtio_blk_config, writeback);
	struct gio_msg response;
	uint32_t generation;

	(void)state;
	fake_msg_open_and_connect(1, 1);
	fake_msg_start(1);
	response = fake_msg_config(0, 72);
	generation = response.config.generation;
	assert_int_equal(response.config.data[1], 8); /* 2048 sectors */
	assert_int_equal(fake_msg_config(0, 73).config.length, 0);
	assert_int_equal(fake_msg_config(72, 0).config.length, 0);
	assert_int_equal(fake_msg_config(0xffffffff, 2).config.length, 0);
	response = config_set(at, 1, !response.config.data[at]);
	assert_int_equal(response.config.length, 1);
	assert_true(response.config.generation != generation);
	generation = response.config.generation;
	assert_int_equal(config_set(at, 2, 1).config.length, 0); /* all or nothing */
	assert_int_equal(config_set(0, 8, 1).config.length, 0);	 /* it cannot be written */
	assert_int_equal(config_set(at, 0, 1).config.length, 0);
	assert_int_equal(fake_msg_config(0, 8).config.generation, generation);
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

/* The device changes, and looks at what it has. */
static void grow(uint64_t size)
{
	fake_disk.next_size = size;
	gd_vdev_refresh(fake_guest.vdev);
}

/* At most one EVENT_CONFIG is unread; what happens meanwhile is told when it has been taken. */
static void test_events_are_merged(void **state)
{
	struct gio_msg event, response;
	unsigned before;

	(void)state;
	fake_msg_open_and_connect(1, 1);
	fake_msg_start(1);
	before = fake_port_got(fake_msg.answer.port);
	grow(2 << 20);
	fake_until(__atomic_load_n(&fake_msg.device->prod, __ATOMIC_ACQUIRE) == fake_msg.cons + 1);
	fake_until(fake_port_got(fake_msg.answer.port) == before + 1);
	grow(3 << 20);
	grow(4 << 20);
	/* A response comes behind the event, and nothing before it. */
	fake_msg_send(&(struct gio_msg){.header = {.id = GIO_MSG_GET_DEVICE_STATUS, .token = 99, .bytes = 8}});
	event = fake_msg_wait();
	assert_true(gio_msg_event_valid(&event));
	assert_int_equal(event.event.status, 0xf);
	assert_int_equal(event.event.offset, 0);
	assert_int_equal(event.event.length, 8);
	response = fake_msg_wait();
	if (response.header.id == GIO_MSG_EVENT_CONFIG) { /* of the two others */
		event = response;
		response = fake_msg_wait();
	} else {
		event = fake_msg_wait();
	}
	assert_int_equal(response.header.token, 99);
	assert_true(gio_msg_event_valid(&event));
	response = fake_msg_config(0, 8);
	assert_int_equal(response.config.data[1], 32); /* 4 MiB */
	assert_int_equal(response.config.generation, event.event.generation);
	fake_msg_status(0xf);
	assert_int_equal(fake_msg.device->prod, fake_msg.cons); /* that was all */
}

/* What has changed between the driver's reading and DRIVER_OK is told after that. */
static void test_no_change_is_lost_before_driver_ok(void **state)
{
	struct gio_msg event;

	(void)state;
	fake_msg_open_and_connect(1, 1);
	fake_msg_status(3);
	fake_msg_features(FAKE_FEATURES & gd_vdev_offered(fake_guest.vdev));
	assert_int_equal(fake_msg_status(0xb), 0xb);
	fake_msg_config(0, 72);
	grow(2 << 20);
	assert_int_equal(fake_msg_status(0xb), 0xb);
	assert_int_equal(fake_msg_status(0xf), 0xf);
	event = fake_msg_wait();
	assert_true(gio_msg_event_valid(&event));
}

static void test_needs_reset_is_told(void **state)
{
	struct gio_msg event;

	(void)state;
	fake_msg_open_and_connect(1, 1);
	fake_msg_start(1);
	__atomic_store_n(&fake_guest.vq[0].avail->idx, 999, __ATOMIC_SEQ_CST);
	fake_kick(0);
	event = fake_msg_wait();
	assert_true(gio_msg_event_valid(&event));
	assert_int_equal(event.event.status, 0x4f);
	assert_int_equal(event.event.offset + event.event.length, 0);
	assert_int_equal(fake_msg_status(0), 0);
	memset(fake_guest.vq, 0, sizeof(fake_guest.vq));
	fake_msg_start(1);
	fake_still_works();
}

/* ---- connections ------------------------------------------------------------------------------------------------ */

/* After a connection has ended, another one begins, or the registers are used. */
static void test_again(void **state)
{
	(void)state;
	fake_msg_open_and_connect(2, 2);
	for (unsigned i = 0; i < 5; i++) {
		fake_msg_start(2);
		fake_still_works();
		fake_msg_end();
		fake_msg_answer(1 + i % 2);
		assert_int_equal(fake_msg_connect(), 0);
	}
	fake_msg_end();
	fake_guest.kick = NULL;
	fake_probe(FAKE_FEATURES & fake_offered());
	fake_queue_ready(0, 256);
	fake_driver_ok();
	fake_still_works();
}

static void refused(int err, const char *words)
{
	assert_int_equal(fake_msg_connect(), err);
	if (!strstr(fake_open_error, words))
		fail_msg("%s", fake_open_error);
	assert_int_equal(fake_xen.mapped, 0);
	assert_int_equal(fake_events_bound(), 0);
}

/* What a guest may have answered wrongly shows when it is used; nothing is held then. */
static void test_wrong_answers(void **state)
{
	const struct fake_setup setup = {.queues = 2};

	(void)state;
	fake_msg_open(&setup, 2);
	fake_xen.grants[fake_msg.driver_at] = FAKE_NONE;
	refused(-EFAULT, "driver-page-ref '");
	fake_xen.grants[fake_msg.driver_at] = FAKE_READONLY;
	fake_xen.grants[fake_msg.device_at] = FAKE_READONLY;
	refused(-EFAULT, "device-page-ref '");
	fake_xen.grants[fake_msg.device_at] = FAKE_WRITABLE;
	for (unsigned i = 0; i < 4; i++) {
		uint32_t *counter = i & 1 ? &(i & 2 ? fake_msg.device : fake_msg.driver)->prod
					  : &(i & 2 ? fake_msg.device : fake_msg.driver)->cons;

		*counter = 1;
		refused(-EPROTO, "are in use");
		*counter = 0;
	}
	fake_msg.answer.port = 63; /* none of its */
	refused(-EINVAL, "the guest's event-channel '63': cannot bind it");
	fake_msg.answer.port = fake_port_new();
	fake_events_fail = 3;
	refused(-EINVAL, "the guest's queue-1/event-channel '");
	fake_msg.answer.runs = 1;
	fake_msg.answer.run[0] = (struct gd_pool_run){fake_msg.answer.device_page - 1, 2, true};
	refused(-EINVAL, "its pool has one of them");
	fake_msg.answer.run[0] = (struct gd_pool_run){FAKE_GREF_BASE + 100, 1025, true}; /* more than it may have */
	refused(-EINVAL, "pool-runs '1'");
	fake_msg.answer.runs = 0;
	assert_int_equal(fake_msg_connect(), 0);
	fake_msg_start(2);
	fake_still_works();
}

int main(void)
{
#define MSG_TEST(name) cmocka_unit_test_setup_teardown(name, fake_msg_setup, fake_msg_teardown)
	const struct CMUnitTest tests[] = {
		MSG_TEST(test_golden_session),
		MSG_TEST(test_golden_reactions),
		MSG_TEST(test_queue_rules),
		MSG_TEST(test_queue_rights),
		MSG_TEST(test_queue_in_steps),
		MSG_TEST(test_features),
		MSG_TEST(test_config),
		MSG_TEST(test_events_are_merged),
		MSG_TEST(test_no_change_is_lost_before_driver_ok),
		MSG_TEST(test_needs_reset_is_told),
		MSG_TEST(test_again),
		MSG_TEST(test_wrong_answers),
	};

	return cmocka_run_group_tests(tests, vectors_read, NULL);
}
