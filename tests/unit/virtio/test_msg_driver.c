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
	};
	return cmocka_run_group_tests_name("msg_driver", tests, vectors_read, NULL);
}
