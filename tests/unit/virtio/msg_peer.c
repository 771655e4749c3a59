/* SPDX-License-Identifier: MIT */
#include "tests/unit/virtio/msg_peer.h"

#include <string.h>

#include <abi/virtio.h>

void msg_peer_write(struct msg_peer *peer, const struct gio_msg *msg)
{
	peer->device.slots[peer->sent % GIO_MSG_SLOTS].msg = *msg;
	peer->device.prod = ++peer->sent;
}

struct gio_msg msg_peer_event(uint32_t status, uint32_t generation)
{
	return (struct gio_msg){.header = {.id = GIO_MSG_EVENT_CONFIG, .bytes = 24},
				.event = {.status = status, .generation = generation}};
}

static void status_set(struct msg_peer *peer, uint32_t status)
{
	uint64_t needed = GIO_VIRTIO_F_VERSION_1 | GIO_VIRTIO_F_ACCESS_PLATFORM;

	if (status && (peer->chosen & ~peer->features || (peer->chosen & needed) != needed))
		status &= ~GIO_VIRTIO_STATUS_FEATURES_OK;
	if (!status) {
		peer->chosen = 0;
		peer->queue = (struct gio_msg_queue){.max_size = peer->queue.max_size};
	}
	peer->status = status || !peer->resets_late ? status : peer->status;
}

static void status_get(struct msg_peer *peer)
{
	peer->status_asked++;
	if (peer->resets_late && !--peer->resets_late)
		peer->status = 0;
}

static void config_get(struct msg_peer *peer, const struct gio_msg_config_get *asked, struct gio_msg *response)
{
	response->config.generation = peer->generation;
	response->config.offset = asked->offset;
	if (asked->offset + (uint64_t)asked->length > PEER_CONFIG)
		return;
	response->config.length = asked->length;
	memcpy(response->config.data, peer->config + asked->offset, asked->length);
}

static void config_set(struct msg_peer *peer, const struct gio_msg_config *asked, struct gio_msg *response)
{
	response->config.offset = asked->offset;
	if (asked->offset + (uint64_t)asked->length <= PEER_CONFIG) {
		response->config.length = asked->length;
		memcpy(peer->config + asked->offset, asked->data, asked->length);
		memcpy(response->config.data, asked->data, asked->length);
		peer->generation++;
	}
	response->config.generation = peer->generation;
}

static void queue_set(struct msg_peer *peer, const struct gio_msg_queue_set *set)
{
	if (set->index == 0 && set->flags == GIO_MSG_QUEUE_ENABLE && set->size <= peer->queue.max_size)
		peer->queue = (struct gio_msg_queue){.max_size = peer->queue.max_size,
						     .size = set->size,
						     .flags = GIO_MSG_QUEUE_ENABLED,
						     .desc = set->desc,
						     .driver = set->driver,
						     .device = set->device};
}

static void features_get(struct msg_peer *peer, const struct gio_msg_features *asked, struct gio_msg *response)
{
	response->features.first = asked->first;
	response->features.blocks = asked->blocks;
	for (uint32_t i = 0; i < asked->blocks; i++)
		if (asked->first + i < 2)
			response->features.bits[i] = (uint32_t)(peer->features >> 32 * (asked->first + i));
}

static void answer(struct msg_peer *peer, const struct gio_msg *request, struct gio_msg *response)
{
	switch (request->header.id) {
	case GIO_MSG_GET_DEVICE_INFO:
		response->info = peer->info;
		break;
	case GIO_MSG_GET_DEVICE_FEATURES:
		features_get(peer, &request->features, response);
		break;
	case GIO_MSG_SET_DRIVER_FEATURES:
		peer->chosen = request->features.bits[0] | (uint64_t)request->features.bits[1] << 32;
		break;
	case GIO_MSG_GET_CONFIG:
		config_get(peer, &request->config_get, response);
		break;
	case GIO_MSG_SET_CONFIG:
		config_set(peer, &request->config, response);
		break;
	case GIO_MSG_GET_DEVICE_STATUS:
		status_get(peer);
		response->status.status = peer->status;
		break;
	case GIO_MSG_SET_DEVICE_STATUS:
		status_set(peer, request->status.status);
		response->status.status = peer->status;
		break;
	case GIO_MSG_GET_VQUEUE:
		if (request->queue_index.index == 0)
			response->queue = peer->queue;
		response->queue.index = request->queue_index.index;
		break;
	case GIO_MSG_SET_VQUEUE:
		queue_set(peer, &request->queue_set);
		break;
	}
}

static void request_serve(struct msg_peer *peer, const struct gio_msg *request)
{
	struct gio_msg response = {
		.header = {.type = GIO_MSG_TYPE_RESPONSE, .id = request->header.id, .token = request->header.token}};
	uint64_t bytes;

	peer->asked++;
	peer->asked_at = peer->clock;
	peer->last = *request;
	if (!gio_msg_request_valid(request))
		return;
	answer(peer, request, &response);
	bytes = gio_msg_response_bytes(response.header.id, gio_msg_count(&response));
	response.header.bytes = (uint16_t)bytes;
	if (!peer->hook || peer->hook(peer, request, &response))
		msg_peer_write(peer, &response);
}

static void peer_notify(void *opaque)
{
	((struct msg_peer *)opaque)->notifies++;
}

static void peer_wait(void *opaque, unsigned ms)
{
	struct msg_peer *peer = opaque;

	peer->waits++;
	if (peer->driver.prod == peer->taken) {
		peer->clock += ms;
		if (peer->idle)
			peer->idle(peer);
		return;
	}
	while (peer->driver.prod != peer->taken) {
		struct gio_msg request = peer->driver.slots[peer->taken % GIO_MSG_SLOTS].msg;

		peer->device.cons = ++peer->taken;
		request_serve(peer, &request);
	}
}

static uint64_t peer_now(void *opaque)
{
	return ((struct msg_peer *)opaque)->clock;
}

static void peer_slow(void *opaque, unsigned id)
{
	(void)id;
	((struct msg_peer *)opaque)->slows++;
}

static const struct gio_msg_driver_ops peer_ops = {
	.notify = peer_notify,
	.wait = peer_wait,
	.now_ms = peer_now,
	.slow = peer_slow,
};

void msg_peer_init(struct msg_peer *peer)
{
	memset(peer, 0, sizeof(*peer));
	peer->clock = 1000000;
	peer->info = (struct gio_msg_info){
		.device_id = GIO_VIRTIO_ID_BLOCK, .feature_blocks = 2, .config_bytes = PEER_CONFIG, .queues = 1};
	peer->features = GIO_VIRTIO_F_VERSION_1 | GIO_VIRTIO_F_ACCESS_PLATFORM | GIO_VIRTIO_F_EVENT_IDX;
	peer->queue.max_size = 256;
	peer->generation = 7;
	for (unsigned i = 0; i < PEER_CONFIG; i++)
		peer->config[i] = (uint8_t)(i % 251);
	gio_msg_driver_init(&peer->md, &peer->driver, &peer->device, &peer_ops, peer);
}
