/* SPDX-License-Identifier: MIT */
/* What the driver's side says by messages, byte by byte, and how it takes what a device answers, or does not. */
#include "tests/unit/virtio/msg_peer.h"
#include "tests/unit/virtio/vectors.h"

#include <abi/virtio.h>

/* ---- the golden vectors ------------------------------------------------------------------------------------------ */

static const char *scripted; /* the vector that answers the next request */

static bool by_script(struct msg_peer *peer, const struct gio_msg *request, struct gio_msg *response)
{
	(void)request;
	peer->hooked++;
	*response = *vector(scripted);
	return true;
}

/* The next request has the token of `request`, and is answered by `response`. */
static void script(struct msg_peer *peer, const char *request, const char *response)
{
	peer->hook = by_script;
	scripted = response;
	peer->md.token = (uint16_t)(vector(request)->header.token - 1);
}

#define ASKED(peer, name) assert_memory_equal(&(peer)->last, vector(name), sizeof(struct gio_msg))

static void asks_for_information(void **state)
{
	struct msg_peer peer;

	(void)state;
	msg_peer_init(&peer);
	script(&peer, "info-request", "info-response");
	assert_int_equal(gio_msg_driver_info(&peer.md, GIO_VIRTIO_ID_BLOCK), 0);
	ASKED(&peer, "info-request");
	assert_int_equal(peer.md.info.config_bytes, 72);
	assert_int_equal(peer.md.info.queues, 4);
	assert_int_equal(peer.notifies, 1);
	assert_int_equal(peer.asked, 1);
}

/* The first response says that it is not done. The second is about the status, and says 0. */
static bool later_by_script(struct msg_peer *peer, const struct gio_msg *request, struct gio_msg *response)
{
	(void)request;
	*response = *vector(peer->hooked++ ? "status-response" : "reset-response-later");
	return true;
}

static void resets(void **state)
{
	struct msg_peer peer;

	(void)state;
	msg_peer_init(&peer);
	script(&peer, "reset-request", "reset-response");
	assert_int_equal(gio_msg_driver_reset(&peer.md), 0);
	ASKED(&peer, "reset-request");
	assert_int_equal(peer.asked, 1);

	msg_peer_init(&peer);
	script(&peer, "reset-request", "");
	peer.hook = later_by_script;
	assert_int_equal(gio_msg_driver_reset(&peer.md), 0);
	ASKED(&peer, "status-request");
	assert_int_equal(peer.asked, 2);
	assert_int_equal(gio_msg_driver_status(&peer.md), 0);
}

static void negotiates(void **state)
{
	struct msg_peer peer;
	uint64_t features = 0;

	(void)state;
	msg_peer_init(&peer);
	script(&peer, "features-request", "features-response");
	assert_int_equal(gio_msg_driver_features_read(&peer.md, &features), 0);
	ASKED(&peer, "features-request");
	assert_true(features == UINT64_C(0x320007e46));
	script(&peer, "driver-features-request", "driver-features-response");
	assert_int_equal(gio_msg_driver_features_write(&peer.md, features), 0);
	ASKED(&peer, "driver-features-request");
	script(&peer, "features-ok-request", "features-ok-refused");
	assert_int_equal(gio_msg_driver_status_write(&peer.md, 11), 0);
	ASKED(&peer, "features-ok-request");
	assert_int_equal(gio_msg_driver_status(&peer.md), 3);
}

static void reads_and_writes_the_configuration(void **state)
{
	const uint8_t one = 1;
	struct msg_peer peer;
	uint64_t capacity = 0;
	uint32_t generation = 0;

	(void)state;
	msg_peer_init(&peer);
	peer.md.info.config_bytes = 8;
	script(&peer, "config-request", "config-response");
	assert_int_equal(gio_msg_driver_config_read(&peer.md, &capacity, &generation), 0);
	ASKED(&peer, "config-request");
	assert_int_equal(capacity, 0x200000);
	assert_int_equal(generation, 5);
	script(&peer, "set-config-request", "set-config-response");
	assert_int_equal(gio_msg_driver_config_write(&peer.md, 32, &one, 1), 0);
	ASKED(&peer, "set-config-request");
	script(&peer, "set-config-request", "set-config-refused");
	assert_int_equal(gio_msg_driver_config_write(&peer.md, 32, &one, 1), -GIO_EOPNOTSUPP);
	script(&peer, "set-config-request", "partial-write");
	assert_int_equal(gio_msg_driver_config_write(&peer.md, 32, &one, 1), -GIO_EPROTO);
	assert_int_equal(gio_msg_driver_given_up(&peer.md), -GIO_EPROTO);
}

static bool enables_by_script(struct msg_peer *peer, const struct gio_msg *request, struct gio_msg *response)
{
	if (!peer->hooked++)
		assert_memory_equal(request, vector("set-vqueue-request"), sizeof(*request));
	*response = *vector(peer->hooked == 1 ? "set-vqueue-response" : "vqueue-enabled-response");
	return true;
}

static const struct gio_msg_queue queue_of_vectors = {.size = 256,
						      .desc = UINT64_C(0x8000000001000000),
						      .driver = UINT64_C(0x8000000001001000),
						      .device = UINT64_C(0x8000000001002000)};

static void enables_a_queue(void **state)
{
	struct gio_msg_queue queue;
	struct msg_peer peer;

	(void)state;
	msg_peer_init(&peer);
	script(&peer, "vqueue-request", "vqueue-free-response");
	assert_int_equal(gio_msg_driver_queue_read(&peer.md, 0, &queue), 0);
	ASKED(&peer, "vqueue-request");
	assert_int_equal(queue.max_size, 256);
	peer.hook = enables_by_script;
	peer.hooked = 0;
	peer.md.token = 10;
	assert_int_equal(gio_msg_driver_queue_enable(&peer.md, &queue_of_vectors), 0);
	assert_int_equal(peer.hooked, 2);
}

/* What the contract says of each vector that a driver side receives and must not follow. */
static void treats_bad_vectors_as_told(void **state)
{
	unsigned refused = 0, dropped = 0;

	(void)state;
	for (unsigned i = 0; i < VECTORS; i++) {
		const struct vector *v = &vectors[i];
		struct msg_peer peer;
		uint64_t features;
		uint8_t byte = 1;

		if (strcmp(v->kind, "bad") != 0 || strcmp(v->who, "driver") != 0)
			continue;
		msg_peer_init(&peer);
		if (!strcmp(v->reaction, "refuse")) {
			script(&peer, v->name, v->name);
			if (v->msg.header.id == GIO_MSG_SET_CONFIG)
				assert_true(gio_msg_driver_config_write(&peer.md, 32, &byte, 1) < 0);
			else
				assert_true(gio_msg_driver_info(&peer.md, GIO_VIRTIO_ID_BLOCK) < 0);
			assert_true(gio_msg_driver_given_up(&peer.md) < 0);
			refused++;
			continue;
		}
		/* Dropped before a request, and while one waits, which then gets its own response. */
		msg_peer_write(&peer, &v->msg);
		assert_false(gio_msg_driver_poll(&peer.md));
		assert_int_equal(peer.md.dropped, 1);
		msg_peer_write(&peer, &v->msg);
		peer.md.token = (uint16_t)(v->msg.header.token - 1);
		assert_int_equal(gio_msg_driver_features_read(&peer.md, &features), 0);
		assert_true(features == peer.features);
		assert_int_equal(peer.md.dropped, 2);
		assert_int_equal(gio_msg_driver_changed(&peer.md), -1);
		dropped++;
	}
	assert_int_equal(refused, 3);
	assert_int_equal(dropped, 6);
}

static void takes_events(void **state)
{
	static const struct {
		const char *name;
		uint32_t status;
	} events[] = {{"event-capacity", 15}, {"event-capacity-data", 15}, {"event-needs-reset", 79}};
	struct msg_peer peer;

	(void)state;
	msg_peer_init(&peer);
	for (unsigned i = 0; i < 3; i++) {
		unsigned notifies = peer.notifies;

		peer.clock += 1000;
		assert_int_equal(gio_msg_driver_changed(&peer.md), -1);
		msg_peer_write(&peer, vector(events[i].name));
		assert_false(gio_msg_driver_poll(&peer.md));
		assert_int_equal(gio_msg_driver_status(&peer.md), events[i].status);
		assert_int_equal(peer.notifies, notifies + 1); /* it is taken: the next may be written */
		assert_int_equal(peer.driver.cons, peer.sent);
		assert_int_equal(gio_msg_driver_changed(&peer.md), 0);
	}
	assert_int_equal(peer.md.dropped, 0);
}

/* ---- a whole conversation ---------------------------------------------------------------------------------------- */

static void drives_a_device(void **state)
{
	struct gio_msg_queue queue = {.index = 0, .size = 64, .desc = 16, .driver = 32, .device = 48};
	uint8_t space[GIO_MSG_CONFIG_SPACE_MAX], three[3] = {9, 8, 7};
	struct msg_peer peer;
	uint64_t features;
	uint32_t generation;

	(void)state;
	msg_peer_init(&peer);
	assert_int_equal(gio_msg_driver_info(&peer.md, GIO_VIRTIO_ID_BLOCK), 0);
	assert_int_equal(gio_msg_driver_reset(&peer.md), 0);
	assert_int_equal(gio_msg_driver_status_write(&peer.md, 1), 0);
	assert_int_equal(gio_msg_driver_status_write(&peer.md, 3), 0);
	assert_int_equal(gio_msg_driver_features_read(&peer.md, &features), 0);
	assert_true(features == peer.features);
	assert_int_equal(gio_msg_driver_features_write(&peer.md, features), 0);
	assert_int_equal(gio_msg_driver_status_write(&peer.md, 11), 0);
	assert_int_equal(gio_msg_driver_status(&peer.md), 11);
	assert_int_equal(gio_msg_driver_config_read(&peer.md, space, &generation), 0);
	assert_int_equal(generation, 7);
	assert_memory_equal(space, peer.config, PEER_CONFIG);
	assert_int_equal(gio_msg_driver_config_write(&peer.md, PEER_CONFIG - 3, three, 3), 0);
	assert_memory_equal(peer.config + PEER_CONFIG - 3, three, 3);
	assert_int_equal(gio_msg_driver_queue_enable(&peer.md, &queue), 0);
	queue.index = 1;
	assert_int_equal(gio_msg_driver_queue_enable(&peer.md, &queue), -GIO_EIO);
	assert_int_equal(gio_msg_driver_status_write(&peer.md, 15), 0);
	/* One event for each request, and one wait. */
	assert_int_equal(peer.notifies, peer.asked);
	assert_int_equal(peer.waits, peer.asked);
	assert_int_equal(peer.md.dropped, 0);
	assert_int_equal(gio_msg_driver_given_up(&peer.md), 0);
}

/* ---- information ------------------------------------------------------------------------------------------------- */

static int info_with(void (*change)(struct gio_msg_info *info, uint32_t value), uint32_t value)
{
	struct msg_peer peer;

	msg_peer_init(&peer);
	change(&peer.info, value);
	return gio_msg_driver_info(&peer.md, GIO_VIRTIO_ID_BLOCK);
}

static void set_type(struct gio_msg_info *info, uint32_t value)
{
	info->device_id = value;
}

static void set_blocks(struct gio_msg_info *info, uint32_t value)
{
	info->feature_blocks = value;
}

static void set_config(struct gio_msg_info *info, uint32_t value)
{
	info->config_bytes = value;
}

static void set_queues(struct gio_msg_info *info, uint32_t value)
{
	info->queues = value;
}

/* Of 8 queues, so many from queue 6 on. */
static void set_admin(struct gio_msg_info *info, uint32_t value)
{
	info->queues = 8;
	info->admin_first = 6;
	info->admin_queues = value;
}

static void refuses_devices_beyond_the_limits(void **state)
{
	(void)state;
	assert_int_equal(info_with(set_type, 0), -GIO_ENODEV);
	assert_int_equal(info_with(set_type, 4), -GIO_ENODEV);
	assert_int_equal(info_with(set_type, 2), 0);
	assert_int_equal(info_with(set_blocks, 1), -GIO_EPROTO);
	assert_int_equal(info_with(set_blocks, 2), 0);
	assert_int_equal(info_with(set_blocks, 64), 0);
	assert_int_equal(info_with(set_blocks, 65), -GIO_EPROTO);
	assert_int_equal(info_with(set_config, 0), 0);
	assert_int_equal(info_with(set_config, 1024), 0);
	assert_int_equal(info_with(set_config, 1025), -GIO_EPROTO);
	assert_int_equal(info_with(set_queues, 0), -GIO_EPROTO);
	assert_int_equal(info_with(set_queues, 65536), 0);
	assert_int_equal(info_with(set_queues, 65537), -GIO_EPROTO);
	assert_int_equal(info_with(set_admin, 2), 0);
	assert_int_equal(info_with(set_admin, 3), -GIO_EPROTO);
	assert_int_equal(info_with(set_admin, UINT32_MAX - 5), -GIO_EPROTO); /* the sum does not fit 32 bits */
}

static void leaves_out_features_that_a_port_cannot_carry(void **state)
{
	struct msg_peer peer;
	uint64_t features;

	(void)state;
	msg_peer_init(&peer);
	peer.features = UINT64_MAX;
	assert_int_equal(gio_msg_driver_features_read(&peer.md, &features), 0);
	assert_true(features == (UINT64_MAX & ~(UINT64_C(0xff) << 34)));
}

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
		cmocka_unit_test(asks_for_information),
		cmocka_unit_test(resets),
		cmocka_unit_test(negotiates),
		cmocka_unit_test(reads_and_writes_the_configuration),
		cmocka_unit_test(enables_a_queue),
		cmocka_unit_test(treats_bad_vectors_as_told),
		cmocka_unit_test(takes_events),
		cmocka_unit_test(drives_a_device),
		cmocka_unit_test(refuses_devices_beyond_the_limits),
		cmocka_unit_test(leaves_out_features_that_a_port_cannot_carry),
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
	return cmocka_run_group_tests_name("msg_driver", tests, vectors_read, NULL);
}
