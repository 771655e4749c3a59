/* SPDX-License-Identifier: MIT */
/* A driver that breaks the rules of messages: its connection ends at most, and the device serves the next one. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/backend/fake_msg.h"

static bool is_broken(void)
{
	return __atomic_load_n(&fake_msg.broken, __ATOMIC_SEQ_CST);
}

static unsigned sent; /* in this connection: after so many malformed messages it would end by itself */

static void begin_anew(void)
{
	sent = 0;
	fake_msg_end();
	fake_msg_answer_again();
	assert_int_equal(fake_msg_connect(), 0);
}

/* Whether the answer to `last` has come. All that came before it is taken. */
static bool answered(const struct gio_msg *last)
{
	struct gio_msg msg;

	while (fake_msg_take(&msg)) {
		assert_true(gio_msg_header_valid(&msg));
		if (gio_msg_response_valid(&msg, last))
			return true;
	}
	return false;
}

/*
 * Once all that was sent is answered, or the connection is over: take what has come, and begin anew if need be. That a
 * message was taken does not say that its answer is there. But answers come in order: so another one is waited for.
 */
static void settle(void)
{
	const struct gio_msg last = {.header = {.id = GIO_MSG_GET_DEVICE_STATUS, .token = 0xfffe, .bytes = 8}};

	fake_until(is_broken() || __atomic_load_n(&fake_msg.device->cons, __ATOMIC_ACQUIRE) == fake_msg.prod);
	if (!is_broken()) {
		fake_msg_send(&last);
		fake_until(answered(&last) || is_broken());
	}
	if (is_broken() || ++sent == GIO_MSG_MALFORMED_MAX - 1)
		begin_anew();
}

static void works(void)
{
	begin_anew();
	fake_msg_start(1);
	fake_still_works();
}

static const uint32_t edges[] = {0,	1,	2,	3,	    7,		8,	    61,	       62,
				 63,	64,	243,	244,	    245,	255,	    256,       511,
				 65535, 0x7fff, 0x8000, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff};
#define EDGES (sizeof(edges) / sizeof(edges[0]))

/* Every number of a message, with every size next to a limit. */
static void test_every_id_and_size(void **state)
{
	static const uint16_t sizes[] = {0,  7,	 8,  9,	 11, 12, 13,  15,  16,	17,	19,    20,
					 21, 24, 47, 48, 49, 52, 263, 264, 265, 0x7fff, 0xffff};

	(void)state;
	fake_msg_open_and_connect(2, 2);
	for (unsigned id = 0; id < 256; id++)
		for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			struct gio_msg msg = {.header = {.id = (uint8_t)id, .token = 1, .bytes = sizes[i]}};

			fake_msg_send(&msg);
			settle();
		}
	works();
}

/* Every field of every request, at each value next to a limit, before and after FEATURES_OK. */
static void test_every_field(void **state)
{
	(void)state;
	fake_msg_open_and_connect(2, 2);
	for (unsigned status = 0; status < 2; status++)
		for (unsigned id = GIO_MSG_GET_DEVICE_INFO; id <= GIO_MSG_GET_SHM; id++)
			for (unsigned field = 0; field < 10; field++)
				for (unsigned i = 0; i < EDGES; i++) {
					struct gio_msg msg = {.header = {.id = (uint8_t)id, .token = 1}};

					if (status) {
						fake_msg_status(3);
						fake_msg_features(FAKE_FEATURES & gd_vdev_offered(fake_guest.vdev));
						fake_msg_status(0xb);
					}
					memcpy(msg.bytes + 4 * field, &edges[i], 4);
					msg.header.bytes = (uint16_t)gio_msg_request_bytes(id, gio_msg_count(&msg));
					fake_msg_send(&msg);
					settle();
				}
	works();
}

static void test_header_fields(void **state)
{
	(void)state;
	fake_msg_open_and_connect(1, 1);
	for (unsigned type = 0; type < 256; type++) {
		struct gio_msg msg = {
			.header = {.type = (uint8_t)type, .id = GIO_MSG_GET_DEVICE_STATUS, .token = 5, .bytes = 8}};

		fake_msg_send(&msg);
		fake_until(__atomic_load_n(&fake_msg.device->cons, __ATOMIC_ACQUIRE) == fake_msg.prod);
		/* The upper bits mean nothing; a response, and a message to the bus, are not answered. */
		if (type & 3)
			assert_false(fake_msg_take(&msg));
		else
			fake_msg_wait();
		settle();
	}
	works();
}

/* 63 malformed messages are dropped; the next one ends the connection, and nothing is handled after it. */
static void test_malformed_messages_end_it(void **state)
{
	const struct gio_msg bad = {.header = {.id = GIO_MSG_GET_DEVICE_STATUS, .token = 1, .bytes = 9}};

	(void)state;
	fake_msg_open_and_connect(1, 1);
	for (unsigned i = 0; i < GIO_MSG_MALFORMED_MAX - 1; i++) {
		fake_msg_send(&bad);
		fake_until(__atomic_load_n(&fake_msg.device->cons, __ATOMIC_ACQUIRE) == fake_msg.prod);
	}
	assert_int_equal(fake_msg_status(1), 1);
	assert_false(is_broken());
	fake_msg_send(&bad);
	fake_until(is_broken());
	assert_string_equal(fake_log_last, "its driver has sent 64 malformed messages: the connection ends");
	works();
	assert_int_equal(fake_msg.broken, 0);
}

/* A counter that no driver can have ends the connection at once. */
static void test_impossible_counters(void **state)
{
	static const uint32_t wrong[] = {9, 10, 0x7fffffff, 0x80000000, 0xfffffff7};

	(void)state;
	fake_msg_open_and_connect(1, 1);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		__atomic_store_n(&fake_msg.driver->prod, wrong[i], __ATOMIC_RELEASE);
		fake_port_send(fake_msg.answer.port);
		fake_until(is_broken());
		begin_anew();
		/* More messages taken than there were, and so none can be written. */
		__atomic_store_n(&fake_msg.driver->cons, wrong[i], __ATOMIC_RELEASE);
		fake_msg_send(&(struct gio_msg){.header = {.id = GIO_MSG_GET_DEVICE_STATUS, .token = 1, .bytes = 8}});
		fake_until(is_broken());
		begin_anew();
	}
	/* Eight requests at once, of which none is taken: one response more than the page has room for. */
	for (unsigned i = 0; i < GIO_MSG_SLOTS + 1; i++) {
		fake_msg_send(&(struct gio_msg){.header = {.id = GIO_MSG_GET_DEVICE_STATUS, .token = 1, .bytes = 8}});
		fake_until(is_broken() || __atomic_load_n(&fake_msg.device->cons, __ATOMIC_ACQUIRE) == fake_msg.prod);
	}
	fake_until(is_broken());
	works();
}

/* ---- pages that change all the time ----------------------------------------------------------------------------- */

static bool scribbling;

/* Write requests and counters at random, while the device reads them. */
static void *scribble(void *opaque)
{
	uint64_t random = (uintptr_t)opaque;
	uint32_t *words = (uint32_t *)(void *)fake_msg.driver;

	while (__atomic_load_n(&scribbling, __ATOMIC_ACQUIRE)) {
		uint32_t slot, at;

		random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
		slot = (uint32_t)(random >> 33) % GIO_MSG_SLOTS;
		at = (uint32_t)(random >> 40) % (GIO_MSG_MAX / 4);
		__atomic_store_n(&words[(0x200 + slot * GIO_MSG_SLOT_BYTES) / 4 + at],
				 at < 2 ? (at ? 0x00300001u : 0x0a00u) : edges[(random >> 50) % EDGES],
				 __ATOMIC_RELAXED);
		if (random >> 60 == 0)
			__atomic_fetch_add(&words[0], 1, __ATOMIC_RELAXED);
		if (random >> 60 == 1)
			__atomic_store_n(&words[0x40 / 4], __atomic_load_n(&fake_msg.device->prod, __ATOMIC_RELAXED),
					 __ATOMIC_RELAXED);
		fake_port_send(fake_msg.answer.port);
	}
	return NULL;
}

static void test_pages_change_under_us(void **state)
{
	pthread_t thread;

	(void)state;
	fake_msg_open_and_connect(2, 2);
	for (unsigned round = 1; round <= 200; round++) {
		fake_msg_start(1);
		__atomic_store_n(&scribbling, true, __ATOMIC_RELEASE);
		assert_int_equal(pthread_create(&thread, NULL, scribble, (void *)(uintptr_t)round), 0);
		fake_until(is_broken());
		__atomic_store_n(&scribbling, false, __ATOMIC_RELEASE);
		pthread_join(thread, NULL);
		begin_anew();
	}
	works();
}

/* Events without news, in a loop: the device answers all the same. */
static void *ring(void *opaque)
{
	(void)opaque;
	while (__atomic_load_n(&scribbling, __ATOMIC_ACQUIRE))
		for (unsigned i = 0; i < 2; i++)
			fake_port_send(i ? fake_msg.answer.port : fake_msg.answer.ports[0]);
	return NULL;
}

static void test_endless_events(void **state)
{
	pthread_t thread;

	(void)state;
	fake_msg_open_and_connect(1, 1);
	fake_msg_start(1);
	__atomic_store_n(&scribbling, true, __ATOMIC_RELEASE);
	assert_int_equal(pthread_create(&thread, NULL, ring, NULL), 0);
	for (unsigned i = 0; i < 100; i++) {
		fake_still_works();
		assert_int_equal(fake_msg_status(0xf), 0xf);
	}
	fake_msg_end();
	__atomic_store_n(&scribbling, false, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	assert_int_equal(fake_xen.mapped, 0);
}

int main(void)
{
#define MSG_TEST(name) cmocka_unit_test_setup_teardown(name, fake_msg_setup, fake_msg_teardown)
	const struct CMUnitTest tests[] = {
		MSG_TEST(test_every_id_and_size),   MSG_TEST(test_every_field),
		MSG_TEST(test_header_fields),	    MSG_TEST(test_malformed_messages_end_it),
		MSG_TEST(test_impossible_counters), MSG_TEST(test_pages_change_under_us),
		MSG_TEST(test_endless_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
