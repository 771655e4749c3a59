/* SPDX-License-Identifier: MIT */
#include "tests/unit/backend/fake_msg.h"

#include <string.h>

struct fake_msg fake_msg;

static void broken_count(void *opaque)
{
	(void)opaque;
	__atomic_fetch_add(&fake_msg.broken, 1, __ATOMIC_SEQ_CST);
}

static void msg_open(struct gd_vdev_config *config)
{
	const struct gd_msg_config msg = {.domid = FAKE_DOMID,
					  .log = &fake_guest.log,
					  .queues = config->class->config.queues,
					  .pool_most = 1024,
					  .broken = broken_count};

	assert_int_equal(gd_msg_open(&fake_msg.msg, &msg), 0);
	config->bells = gd_msg_bells(fake_msg.msg);
}

static void kick(unsigned queue)
{
	fake_port_send(fake_msg.answer.ports[queue % fake_msg.answer.channels]);
}

int fake_msg_setup(void **state)
{
	memset(&fake_msg, 0, sizeof(fake_msg));
	fake_events_reset();
	return fake_setup(state);
}

int fake_msg_teardown(void **state)
{
	fake_disk_release();
	fake_msg_close();
	assert_int_equal(fake_events_handles(), 0);
	assert_int_equal(fake_events_bound(), 0);
	return fake_teardown(state);
}

void fake_msg_answer(unsigned channels)
{
	fake_msg.driver_at = fake_alloc(1);
	fake_msg.device_at = fake_alloc(1);
	fake_msg.driver = (void *)fake_page(fake_msg.driver_at);
	fake_msg.device = (void *)fake_page(fake_msg.device_at);
	fake_xen.grants[fake_msg.driver_at] = FAKE_READONLY;
	fake_msg.prod = fake_msg.cons = 0;
	fake_msg.answer = (struct gd_msg_answer){.connection = fake_msg.answer.connection + 1,
						 .driver_page = FAKE_GREF_BASE + fake_msg.driver_at,
						 .device_page = FAKE_GREF_BASE + fake_msg.device_at,
						 .port = fake_port_new(),
						 .channels = channels};
	for (unsigned i = 0; i < channels; i++)
		fake_msg.answer.ports[i] = fake_port_new();
}

void fake_msg_answer_again(void)
{
	memset(fake_msg.driver, 0, sizeof(*fake_msg.driver));
	memset(fake_msg.device, 0, sizeof(*fake_msg.device));
	fake_msg.prod = fake_msg.cons = 0;
	fake_msg.answer.connection++;
	__atomic_store_n(&fake_msg.broken, 0, __ATOMIC_SEQ_CST);
}

void fake_msg_open(const struct fake_setup *setup, unsigned channels)
{
	struct fake_setup ours = *setup;

	ours.opening = msg_open;
	assert_int_equal(fake_open(&ours), 0);
	fake_guest.kick = kick;
	fake_msg_answer(channels);
}

static void drive(void)
{
	gd_vdev_use_pool(fake_guest.vdev, gd_msg_pool(fake_msg.msg));
	gd_vdev_transport_set(fake_guest.vdev, gd_msg_transport(fake_msg.msg));
}

int fake_msg_connect(void)
{
	int err = gd_msg_connect(fake_msg.msg, &fake_msg.answer, true, fake_open_error, sizeof(fake_open_error));

	if (err)
		return err;
	drive();
	assert_int_equal(gd_msg_begin(fake_msg.msg), 0);
	return 0;
}

void fake_msg_open_and_connect(unsigned queues, unsigned channels)
{
	const struct fake_setup setup = {.queues = queues};

	fake_msg_open(&setup, channels);
	assert_int_equal(fake_msg_connect(), 0);
}

int fake_msg_resume(void)
{
	int err = gd_msg_connect(fake_msg.msg, &fake_msg.answer, false, fake_open_error, sizeof(fake_open_error));

	if (err)
		return err;
	drive();
	err = gd_vdev_resume(fake_guest.vdev);
	if (!err)
		err = gd_msg_go_on(fake_msg.msg);
	return err;
}

void fake_msg_end(void)
{
	gd_msg_stop(fake_msg.msg);
	gd_vdev_reset(fake_guest.vdev);
	gd_vdev_use_pool(fake_guest.vdev, NULL);
	gd_vdev_transport_set(fake_guest.vdev, &fake_guest.mmio.transport);
	gd_msg_disconnect(fake_msg.msg);
	memset(fake_guest.vq, 0, sizeof(fake_guest.vq));
}

void fake_msg_close(void)
{
	if (!fake_msg.msg)
		return;
	gd_msg_stop(fake_msg.msg);
	fake_close();
	gd_msg_disconnect(fake_msg.msg);
	gd_msg_close(fake_msg.msg);
	fake_msg.msg = NULL;
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

void fake_msg_send(const struct gio_msg *msg)
{
	fake_msg.driver->slots[fake_msg.prod % GIO_MSG_SLOTS].msg = *msg;
	/* Release: the slot before the counter; pairs with the device's acquire. */
	__atomic_store_n(&fake_msg.driver->prod, ++fake_msg.prod, __ATOMIC_RELEASE);
	fake_port_send(fake_msg.answer.port);
}

bool fake_msg_take(struct gio_msg *msg)
{
	if (__atomic_load_n(&fake_msg.device->prod, __ATOMIC_ACQUIRE) == fake_msg.cons)
		return false;
	*msg = fake_msg.device->slots[fake_msg.cons % GIO_MSG_SLOTS].msg;
	__atomic_store_n(&fake_msg.driver->cons, ++fake_msg.cons, __ATOMIC_RELEASE);
	/* Of an EVENT_CONFIG that was taken the device is told, so that it may write the next. */
	if (msg->header.id == GIO_MSG_EVENT_CONFIG)
		fake_port_send(fake_msg.answer.port);
	return true;
}

struct gio_msg fake_msg_wait(void)
{
	struct gio_msg msg;

	fake_until(fake_msg_take(&msg));
	return msg;
}

struct gio_msg fake_msg_ask(uint8_t id, struct gio_msg request)
{
	struct gio_msg response;

	request.header =
		(struct gio_msg_header){.id = id, .token = ++fake_msg.token ? fake_msg.token : ++fake_msg.token};
	request.header.bytes = (uint16_t)gio_msg_request_bytes(id, gio_msg_count(&request));
	fake_msg_send(&request);
	do /* an event may have come between the two */
		response = fake_msg_wait();
	while (gio_msg_event_valid(&response));
	assert_true(gio_msg_response_valid(&response, &request));
	return response;
}

uint32_t fake_msg_status(uint32_t status)
{
	return fake_msg_ask(GIO_MSG_SET_DEVICE_STATUS, (struct gio_msg){.status = {status}}).status.status;
}

void fake_msg_features(uint64_t features)
{
	fake_msg_ask(
		GIO_MSG_SET_DRIVER_FEATURES,
		(struct gio_msg){.features = {.blocks = 2, .bits = {(uint32_t)features, (uint32_t)(features >> 32)}}});
}

struct gio_msg_queue fake_msg_queue(uint32_t index)
{
	return fake_msg_ask(GIO_MSG_GET_VQUEUE, (struct gio_msg){.queue_index = {index}}).queue;
}

void fake_msg_queue_ready(unsigned index, uint32_t size)
{
	uint64_t addr[3];

	fake_vq_place(&fake_guest.vq[index], size, addr);
	fake_msg_ask(GIO_MSG_SET_VQUEUE, (struct gio_msg){.queue_set = {.index = index,
									.flags = GIO_MSG_QUEUE_ENABLE,
									.size = size,
									.desc = addr[0],
									.driver = addr[1],
									.device = addr[2]}});
	assert_int_equal(fake_msg_queue(index).flags, GIO_MSG_QUEUE_ENABLED);
}

void fake_msg_start(unsigned queues)
{
	assert_int_equal(fake_msg_status(0), 0);
	assert_int_equal(fake_msg_status(1), 1);
	assert_int_equal(fake_msg_status(3), 3);
	fake_guest.features = FAKE_FEATURES & gd_vdev_offered(fake_guest.vdev);
	fake_msg_features(fake_guest.features);
	assert_int_equal(fake_msg_status(0xb), 0xb);
	fake_msg_config(0, 72);
	for (unsigned i = 0; i < queues; i++)
		fake_msg_queue_ready(i, 256);
	assert_int_equal(fake_msg_status(0xf), 0xf);
}

struct gio_msg fake_msg_config(uint32_t offset, uint32_t length)
{
	return fake_msg_ask(GIO_MSG_GET_CONFIG, (struct gio_msg){.config_get = {offset, length}});
}
