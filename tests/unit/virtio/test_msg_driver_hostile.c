/* SPDX-License-Identifier: MIT */
/* The driver's side of messages with a device that is silent, lies, breaks the bus, or says too much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/virtio/msg_peer.h"

/* ---- a device that does not answer ------------------------------------------------------------------------------- */

static bool never(struct msg_peer *peer, const struct gio_msg *request, struct gio_msg *response)
{
	(void)peer, (void)request, (void)response;
	return false;
}

/* Once given up, a device is not asked again: each call ends at once. */
static void stays_given_up(struct msg_peer *peer, int err)
{
	unsigned notifies = peer->notifies, waits = peer->waits;
	struct gio_msg_queue queue = {0};
	uint64_t features;

	assert_int_equal(gio_msg_driver_given_up(&peer->md), err);
	peer->hook = NULL;
	assert_int_equal(gio_msg_driver_status_write(&peer->md, 1), err);
	assert_int_equal(gio_msg_driver_reset(&peer->md), err);
	assert_int_equal(gio_msg_driver_features_read(&peer->md, &features), err);
	assert_int_equal(gio_msg_driver_queue_enable(&peer->md, &queue), err);
	assert_false(gio_msg_driver_poll(&peer->md));
	assert_int_equal(peer->notifies, notifies);
	assert_int_equal(peer->waits, waits);
}

static void gives_up_after_thirty_seconds(void **state)
{
	struct msg_peer peer;
	uint64_t start;

	(void)state;
	msg_peer_init(&peer);
	peer.hook = never;
	start = peer.clock;
	assert_int_equal(gio_msg_driver_status_write(&peer.md, 1), -GIO_ETIMEDOUT);
	assert_int_equal(peer.clock - start, 30000);
	assert_int_equal(peer.slows, 1);
	assert_int_equal(peer.asked, 1);
	stays_given_up(&peer, -GIO_ETIMEDOUT);
}

static struct gio_msg held_back;

static bool holds_back(struct msg_peer *peer, const struct gio_msg *request, struct gio_msg *response)
{
	(void)peer, (void)request;
	held_back = *response;
	return false;
}

/* The clock stands at 5 s: the first wait has ended, after which the request counts as slow. */
static void says_it(struct msg_peer *peer)
{
	msg_peer_write(peer, &held_back);
	peer->idle = NULL;
}

static void waits_for_a_late_answer(void **state)
{
	struct msg_peer peer;

	(void)state;
	msg_peer_init(&peer);
	peer.hook = holds_back;
	peer.idle = says_it;
	assert_int_equal(gio_msg_driver_status_write(&peer.md, 1), 0);
	assert_int_equal(gio_msg_driver_status(&peer.md), 1);
	assert_int_equal(gio_msg_driver_given_up(&peer.md), 0);
}

static bool twice(struct msg_peer *peer, const struct gio_msg *request, struct gio_msg *response)
{
	(void)request;
	msg_peer_write(peer, response);
	return true;
}

/* A second response answers nothing: not the next request either, whose token is another. */
static void takes_an_answer_once(void **state)
{
	struct msg_peer peer;

	(void)state;
	msg_peer_init(&peer);
	peer.hook = twice;
	for (unsigned i = 1; i <= 10; i++) {
		assert_int_equal(gio_msg_driver_status_write(&peer.md, i), 0);
		assert_int_equal(gio_msg_driver_status(&peer.md), i & ~8u);
	}
	assert_int_equal(peer.md.dropped, 9); /* the last one is not yet seen */
}

/* ---- a device that answers wrongly ------------------------------------------------------------------------------- */

static void (*spoil)(struct gio_msg *response);

static bool spoils(struct msg_peer *peer, const struct gio_msg *request, struct gio_msg *response)
{
	(void)peer, (void)request;
	spoil(response);
	return true;
}

static void other_token(struct gio_msg *response)
{
	response->header.token++;
}

static void other_id(struct gio_msg *response)
{
	response->header.id ^= 15; /* 8 and 7: both have 12 bytes */
}

static void other_device(struct gio_msg *response)
{
	response->header.device = 1;
}

static void no_response(struct gio_msg *response)
{
	response->header.type = 0;
}

static void bus_message(struct gio_msg *response)
{
	response->header.type |= GIO_MSG_TYPE_BUS;
}

static void shorter(struct gio_msg *response)
{
	response->header.bytes--;
}

static void longer(struct gio_msg *response)
{
	response->header.bytes++;
}

static void empty(struct gio_msg *response)
{
	response->header.bytes = 0;
}

static void beyond(struct gio_msg *response)
{
	response->header.bytes = GIO_MSG_MAX + 1;
}

static void waits_on_when_the_answer_is_another(void **state)
{
	void (*const spoilers[])(struct gio_msg *) = {other_token, other_id, other_device, no_response, bus_message,
						      shorter,	   longer,   empty,	   beyond};
	(void)state;
	for (unsigned i = 0; i < sizeof(spoilers) / sizeof(spoilers[0]); i++) {
		struct msg_peer peer;

		msg_peer_init(&peer);
		spoil = spoilers[i];
		peer.hook = spoils;
		assert_int_equal(gio_msg_driver_status_write(&peer.md, 1), -GIO_ETIMEDOUT);
		assert_int_equal(peer.md.dropped, 1);
		assert_int_equal(gio_msg_driver_status(&peer.md), 0);
	}
}

/* One for each malformed message of the page before the response; the 65th of a connection is too many. */
static void gives_up_after_64_malformed_messages(void **state)
{
	struct gio_msg junk = {.header = {.id = GIO_MSG_EVENT_USED, .bytes = 12}};
	struct msg_peer peer;

	(void)state;
	msg_peer_init(&peer);
	for (unsigned i = 0; i < 64; i++) {
		msg_peer_write(&peer, &junk);
		assert_false(gio_msg_driver_poll(&peer.md));
	}
	assert_int_equal(gio_msg_driver_status_write(&peer.md, 1), 0);
	msg_peer_write(&peer, &junk);
	assert_int_equal(gio_msg_driver_status_write(&peer.md, 3), -GIO_EPROTO);
	stays_given_up(&peer, -GIO_EPROTO);
}

static bool breaks_the_page(struct msg_peer *peer, const struct gio_msg *request, struct gio_msg *response)
{
	(void)request, (void)response;
	peer->device.prod += GIO_MSG_SLOTS + 1;
	return false;
}

static void gives_up_when_the_page_is_impossible(void **state)
{
	struct msg_peer peer;

	(void)state;
	msg_peer_init(&peer);
	peer.hook = breaks_the_page;
	assert_int_equal(gio_msg_driver_status_write(&peer.md, 1), -GIO_EPROTO);
	stays_given_up(&peer, -GIO_EPROTO);

	msg_peer_init(&peer);
	peer.device.cons = 1; /* it has taken what nobody has sent */
	assert_int_equal(gio_msg_driver_status_write(&peer.md, 1), -GIO_EPROTO);
	assert_int_equal(peer.notifies, 0);
	stays_given_up(&peer, -GIO_EPROTO);

	msg_peer_init(&peer);
	peer.device.prod = UINT32_MAX;
	assert_false(gio_msg_driver_poll(&peer.md));
	stays_given_up(&peer, -GIO_EPROTO);
}

static uint32_t spoiled_field, spoiled_by;

/* A word of the body. */
static void word_differs(struct gio_msg *response)
{
	uint32_t word;

	memcpy(&word, response->bytes + 4 * spoiled_field, sizeof(word));
	word += spoiled_by;
	memcpy(response->bytes + 4 * spoiled_field, &word, sizeof(word));
}

static void spoil_word(struct msg_peer *peer, unsigned field, uint32_t by)
{
	msg_peer_init(peer);
	spoiled_field = field;
	spoiled_by = by;
	spoil = word_differs;
	peer->hook = spoils;
}

/* What repeats the request has to be the same: another answer cannot be used for anything. */
static void gives_up_when_an_echo_differs(void **state)
{
	uint8_t space[GIO_MSG_CONFIG_SPACE_MAX];
	struct gio_msg_queue queue;
	struct msg_peer peer;
	uint32_t generation;
	uint64_t features;

	(void)state;
	spoil_word(&peer, 0, 1); /* the first block */
	assert_int_equal(gio_msg_driver_features_read(&peer.md, &features), -GIO_EPROTO);
	stays_given_up(&peer, -GIO_EPROTO);
	spoil_word(&peer, 1, 1); /* the offset */
	peer.md.info.config_bytes = 8;
	assert_int_equal(gio_msg_driver_config_read(&peer.md, space, &generation), -GIO_EPROTO);
	stays_given_up(&peer, -GIO_EPROTO);
	spoil_word(&peer, 1, 1);
	assert_int_equal(gio_msg_driver_config_write(&peer.md, 8, space, 4), -GIO_EPROTO);
	stays_given_up(&peer, -GIO_EPROTO);
	spoil_word(&peer, 0, 1); /* the index */
	assert_int_equal(gio_msg_driver_queue_read(&peer.md, 0, &queue), -GIO_EPROTO);
	stays_given_up(&peer, -GIO_EPROTO);
}

/* It said that it has so many bytes of configuration, and gives none of them. */
static void gives_up_when_configuration_is_missing(void **state)
{
	uint8_t space[GIO_MSG_CONFIG_SPACE_MAX];
	struct msg_peer peer;
	uint32_t generation;

	(void)state;
	msg_peer_init(&peer);
	peer.md.info.config_bytes = GIO_MSG_CONFIG_SPACE_MAX;
	assert_int_equal(gio_msg_driver_config_read(&peer.md, space, &generation), -GIO_EPROTO);
	stays_given_up(&peer, -GIO_EPROTO);
}

static bool counts_up(struct msg_peer *peer, const struct gio_msg *request, struct gio_msg *response)
{
	(void)request;
	response->config.generation = peer->generation++;
	return true;
}

static bool counts_once(struct msg_peer *peer, const struct gio_msg *request, struct gio_msg *response)
{
	(void)request;
	if (peer->hooked++ == 1)
		peer->generation++;
	response->config.generation = peer->generation;
	return true;
}

static void does_not_loop_over_generations(void **state)
{
	uint8_t space[GIO_MSG_CONFIG_SPACE_MAX];
	struct msg_peer peer;
	uint32_t generation;

	(void)state;
	msg_peer_init(&peer);
	peer.md.info.config_bytes = PEER_CONFIG;
	peer.hook = counts_up;
	assert_int_equal(gio_msg_driver_config_read(&peer.md, space, &generation), -GIO_EAGAIN);
	assert_int_equal(peer.asked, 3 * 2); /* three tries, each of which ends with its second message */
	assert_int_equal(gio_msg_driver_given_up(&peer.md), 0);

	msg_peer_init(&peer);
	peer.md.info.config_bytes = PEER_CONFIG;
	peer.hook = counts_once;
	assert_int_equal(gio_msg_driver_config_read(&peer.md, space, &generation), 0);
	assert_int_equal(generation, 8);
	assert_int_equal(peer.asked, 2 + 3);
}

static void a_space_of_nothing_costs_no_message(void **state)
{
	struct msg_peer peer;
	uint32_t generation;
	uint8_t byte;

	(void)state;
	msg_peer_init(&peer);
	assert_int_equal(gio_msg_driver_config_read(&peer.md, &byte, &generation), 0);
	assert_int_equal(peer.asked, 0);
	assert_int_equal(gio_msg_driver_config_write(&peer.md, 0, &byte, GIO_MSG_CONFIG_MAX + 1), -GIO_EINVAL);
	assert_int_equal(peer.asked, 0);
}

/* What the device reads back must be what it was given, in each field; that alone says that a queue is enabled. */
static bool lies_about_the_queue(struct msg_peer *peer, const struct gio_msg *request, struct gio_msg *response)
{
	(void)peer;
	if (request->header.id == GIO_MSG_GET_VQUEUE)
		word_differs(response);
	return true;
}

static void believes_a_queue_by_what_is_read_back(void **state)
{
	static const unsigned fields[] = {2, 3, 4, 5, 6, 7, 8, 9}; /* size, flags, halves of three addresses */
	struct gio_msg_queue queue = {.size = 64,
				      .desc = UINT64_C(0x8000000001000000),
				      .driver = UINT64_C(0x8000000001000400),
				      .device = UINT64_C(0x8000000001001000)};

	(void)state;
	for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		struct msg_peer peer;

		spoil_word(&peer, fields[i], fields[i] == 3 ? UINT32_MAX : 1); /* the flag: from 1 to 0 */
		peer.hook = lies_about_the_queue;
		assert_int_equal(gio_msg_driver_queue_enable(&peer.md, &queue), -GIO_EIO);
		assert_int_equal(gio_msg_driver_given_up(&peer.md), 0);
	}
}

static void never_sends_token_0(void **state)
{
	struct msg_peer peer;

	(void)state;
	msg_peer_init(&peer);
	peer.md.token = 0xffff;
	assert_int_equal(gio_msg_driver_status_write(&peer.md, 1), 0);
	assert_int_equal(peer.last.header.token, 1);
}

/* ---- reset ------------------------------------------------------------------------------------------------------- */

static void polls_a_reset_ever_more_rarely(void **state)
{
	struct msg_peer peer;
	uint64_t start;

	(void)state;
	msg_peer_init(&peer);
	peer.status = 15;
	peer.resets_late = 8;
	start = peer.clock;
	assert_int_equal(gio_msg_driver_reset(&peer.md), 0);
	assert_int_equal(peer.status_asked, 8);
	assert_int_equal(peer.asked_at - start, 10 + 20 + 40 + 80 + 160 + 320 + 500 + 500);
}

static void gives_up_a_reset_that_does_not_end(void **state)
{
	struct msg_peer peer;
	uint64_t start;

	(void)state;
	msg_peer_init(&peer);
	peer.status = 15;
	peer.resets_late = UINT32_MAX;
	start = peer.clock;
	assert_int_equal(gio_msg_driver_reset(&peer.md), -GIO_ETIMEDOUT);
	assert_in_range(peer.clock - start, 30000, 30500);
	assert_in_range(peer.status_asked, 60, 70);
	assert_int_equal(peer.slows, 1);
	stays_given_up(&peer, -GIO_ETIMEDOUT);
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static bool event_first(struct msg_peer *peer, const struct gio_msg *request, struct gio_msg *response)
{
	struct gio_msg event = msg_peer_event(79, 8);

	(void)request, (void)response;
	msg_peer_write(peer, &event);
	return true;
}

static void takes_an_event_while_it_waits(void **state)
{
	struct msg_peer peer;
	uint64_t features;

	(void)state;
	msg_peer_init(&peer);
	peer.hook = event_first;
	assert_int_equal(gio_msg_driver_features_read(&peer.md, &features), 0);
	assert_int_equal(gio_msg_driver_status(&peer.md), 79);
	assert_int_equal(gio_msg_driver_changed(&peer.md), 0);
	assert_int_equal(peer.notifies, 2); /* the request, and that the event is taken */
}

static void floods(struct msg_peer *peer)
{
	struct gio_msg event = msg_peer_event(15, 8);

	while (peer->sent - peer->driver.cons < GIO_MSG_SLOTS)
		msg_peer_write(peer, &event);
}

/* Events without end, instead of the answer: the time is looked at all the same. */
static void a_flood_of_events_does_not_stop_the_clock(void **state)
{
	struct msg_peer peer;
	uint64_t start;

	(void)state;
	msg_peer_init(&peer);
	peer.hook = never;
	peer.idle = floods;
	start = peer.clock;
	assert_int_equal(gio_msg_driver_status_write(&peer.md, 1), -GIO_ETIMEDOUT);
	assert_int_equal(peer.clock - start, 30000);
}

static void takes_eight_messages_at_a_time(void **state)
{
	struct gio_msg event = msg_peer_event(15, 8);
	struct msg_peer peer;

	(void)state;
	msg_peer_init(&peer);
	floods(&peer);
	assert_true(gio_msg_driver_poll(&peer.md));
	assert_false(gio_msg_driver_poll(&peer.md));
	msg_peer_write(&peer, &event);
	assert_false(gio_msg_driver_poll(&peer.md));
}

/* At most ten a second, and the last one always. */
static void acts_on_changes_ten_times_a_second(void **state)
{
	struct gio_msg event = msg_peer_event(15, 8);
	struct msg_peer peer;
	unsigned acted = 0;

	(void)state;
	msg_peer_init(&peer);
	for (unsigned i = 0; i < 950; i++) {
		int due;

		msg_peer_write(&peer, &event);
		gio_msg_driver_poll(&peer.md);
		due = gio_msg_driver_changed(&peer.md);
		assert_in_range(due, 0, 100);
		acted += due == 0;
		peer.clock++;
	}
	assert_int_equal(acted, 10);
	peer.clock += (uint64_t)gio_msg_driver_changed(&peer.md);
	assert_int_equal(gio_msg_driver_changed(&peer.md), 0);
	assert_int_equal(gio_msg_driver_changed(&peer.md), -1);
	gio_msg_driver_change_again(&peer.md);
	assert_int_equal(gio_msg_driver_changed(&peer.md), 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_up_after_thirty_seconds),
		cmocka_unit_test(waits_for_a_late_answer),
		cmocka_unit_test(takes_an_answer_once),
		cmocka_unit_test(waits_on_when_the_answer_is_another),
		cmocka_unit_test(gives_up_after_64_malformed_messages),
		cmocka_unit_test(gives_up_when_the_page_is_impossible),
		cmocka_unit_test(gives_up_when_an_echo_differs),
		cmocka_unit_test(gives_up_when_configuration_is_missing),
		cmocka_unit_test(does_not_loop_over_generations),
		cmocka_unit_test(a_space_of_nothing_costs_no_message),
		cmocka_unit_test(believes_a_queue_by_what_is_read_back),
		cmocka_unit_test(never_sends_token_0),
		cmocka_unit_test(polls_a_reset_ever_more_rarely),
		cmocka_unit_test(gives_up_a_reset_that_does_not_end),
		cmocka_unit_test(takes_an_event_while_it_waits),
		cmocka_unit_test(a_flood_of_events_does_not_stop_the_clock),
		cmocka_unit_test(takes_eight_messages_at_a_time),
		cmocka_unit_test(acts_on_changes_ten_times_a_second),
	};
	return cmocka_run_group_tests_name("msg_driver_hostile", tests, NULL, NULL);
}
