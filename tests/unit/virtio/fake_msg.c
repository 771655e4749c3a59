/* SPDX-License-Identifier: MIT */
#include "tests/unit/virtio/fake_msg.h"

#include <stdlib.h>
#include <string.h>

#include <abi/virtio.h>

/* ---- the device page --------------------------------------------------------------------------------------------- */

static void page_write(struct fake_msg *fm, const struct gio_msg *msg)
{
	fm->device->slots[fm->sent % GIO_MSG_SLOTS].msg = *msg;
	__atomic_store_n(&fm->device->prod, ++fm->sent, __ATOMIC_RELEASE);
	fake_os_port_raise(fm->dev->os, fm->answer.port);
}

static void event_write(struct fake_msg *fm)
{
	const struct gio_msg event = {.header = {.id = GIO_MSG_EVENT_CONFIG, .bytes = 24},
				      .event = {.status = fm->dev->status, .generation = fm->dev->generation}};

	fm->event_due = fm->event_unread;
	if (fm->event_unread)
		return;
	fm->event_unread = true;
	page_write(fm, &event);
}

/* Used buffers are told of by the queues' ports, all of which one interrupt stands for. */
static void raised(struct fake_dev *dev, uint32_t causes)
{
	struct fake_msg *fm = dev->raise_opaque;

	if (causes & GIO_VIRTIO_INT_CONFIG)
		event_write(fm);
	if (causes & GIO_VIRTIO_INT_QUEUE)
		for (unsigned i = 0; i < fm->answer.ports; i++)
			fake_os_port_raise(dev->os, fm->answer.queue_port[i]);
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static void features_get(const struct fake_dev *dev, const struct gio_msg_features *asked, struct gio_msg *response)
{
	response->features.first = asked->first;
	response->features.blocks = asked->blocks;
	for (uint32_t i = 0; i < asked->blocks; i++)
		if (asked->first + i < 2)
			response->features.bits[i] = (uint32_t)(dev->features >> 32 * (asked->first + i));
}

static void config_get(const struct fake_dev *dev, const struct gio_msg_config_get *asked, struct gio_msg *response)
{
	response->config.generation = dev->generation;
	response->config.offset = asked->offset;
	if (asked->offset + (uint64_t)asked->length > sizeof(dev->config))
		return;
	response->config.length = asked->length;
	memcpy(response->config.data, (const uint8_t *)&dev->config + asked->offset, asked->length);
}

static void queue_get(struct fake_dev *dev, uint32_t index, struct gio_msg *response)
{
	const struct fake_queue *q = &dev->queue[index % FAKE_DEV_QUEUES];

	response->queue.index = index;
	if (index >= FAKE_DEV_QUEUES)
		return;
	response->queue.max_size = dev->num_max;
	if (!q->ready)
		return;
	response->queue = (struct gio_msg_queue){.index = index,
						 .max_size = dev->num_max,
						 .size = q->num,
						 .flags = GIO_MSG_QUEUE_ENABLED,
						 .desc = q->desc,
						 .driver = q->driver,
						 .device = q->device};
}

static void queue_set(struct fake_dev *dev, const struct gio_msg_queue_set *set)
{
	struct fake_queue *q = &dev->queue[set->index % FAKE_DEV_QUEUES];

	if (set->index >= FAKE_DEV_QUEUES || q->ready || set->flags != GIO_MSG_QUEUE_ENABLE || set->reserved ||
	    !gio_virtq_size_valid(set->size) || set->size > dev->num_max) {
		fake_dev_fault(dev, "set-up of a queue that is not there, or ready, or was not offered so");
		return;
	}
	q->num = set->size;
	q->desc = set->desc;
	q->driver = set->driver;
	q->device = set->device;
	fake_dev_queue_ready(dev, q);
}

static void answer(struct fake_dev *dev, const struct gio_msg *request, struct gio_msg *response)
{
	switch (request->header.id) {
	case GIO_MSG_GET_DEVICE_INFO:
		response->info = (struct gio_msg_info){.device_id = GIO_VIRTIO_ID_BLOCK,
						       .feature_blocks = 2,
						       .config_bytes = sizeof(dev->config),
						       .queues = FAKE_DEV_QUEUES};
		break;
	case GIO_MSG_GET_DEVICE_FEATURES:
		features_get(dev, &request->features, response);
		break;
	case GIO_MSG_SET_DRIVER_FEATURES:
		dev->driver_features = request->features.bits[0] | (uint64_t)request->features.bits[1] << 32;
		break;
	case GIO_MSG_GET_CONFIG:
		config_get(dev, &request->config_get, response);
		break;
	case GIO_MSG_SET_DEVICE_STATUS:
		fake_dev_status_write(dev, request->status.status);
		response->status.status = dev->status;
		break;
	case GIO_MSG_GET_DEVICE_STATUS:
		response->status.status = dev->status;
		break;
	case GIO_MSG_GET_VQUEUE:
		queue_get(dev, request->queue_index.index, response);
		break;
	case GIO_MSG_SET_VQUEUE:
		queue_set(dev, &request->queue_set);
		break;
	default:
		fake_dev_fault(dev, "a request that drivers do not send");
	}
}

static void request_serve(struct fake_msg *fm, const struct gio_msg *request)
{
	struct gio_msg response = {
		.header = {.type = GIO_MSG_TYPE_RESPONSE, .id = request->header.id, .token = request->header.token}};

	if (!gio_msg_request_valid(request)) {
		fake_dev_fault(fm->dev, "a message that is malformed");
		return;
	}
	fm->requests++;
	answer(fm->dev, request, &response);
	response.header.bytes = (uint16_t)gio_msg_response_bytes(response.header.id, gio_msg_count(&response));
	if (!fm->hook || fm->hook(fm, request, &response))
		page_write(fm, &response);
}

static void page_take(struct fake_msg *fm)
{
	while (__atomic_load_n(&fm->driver->prod, __ATOMIC_ACQUIRE) != fm->taken) {
		struct gio_msg request = fm->driver->slots[fm->taken % GIO_MSG_SLOTS].msg;

		__atomic_store_n(&fm->device->cons, ++fm->taken, __ATOMIC_RELEASE);
		request_serve(fm, &request);
	}
	if (fm->event_unread && __atomic_load_n(&fm->driver->cons, __ATOMIC_ACQUIRE) == fm->sent) {
		fm->event_unread = false;
		if (fm->event_due)
			event_write(fm);
	}
}

/* A queue's port stands for each of its queues. */
static void queues_notify(struct fake_msg *fm, unsigned channel)
{
	for (unsigned i = channel; i < FAKE_DEV_QUEUES; i += fm->answer.ports)
		if (fm->dev->queue[i].ready)
			fake_dev_notify(fm->dev, i);
}

static void sent(void *opaque, uint32_t port)
{
	struct fake_msg *fm = opaque;

	__atomic_fetch_add(&fm->sends, 1, __ATOMIC_SEQ_CST);
	if (port == fm->answer.port) {
		page_take(fm);
		return;
	}
	for (unsigned i = 0; i < fm->answer.ports; i++)
		if (fm->answer.queue_port[i] == port)
			queues_notify(fm, i);
}

/* ---- bind and unbind --------------------------------------------------------------------------------------------- */

static void *page_pin(struct fake_msg *fm, gio_gref_t ref, bool write)
{
	gio_gfn_t gfn;

	if (fake_peer_pin(fm->dev->os, fm->dev->domid, ref, write, &gfn)) {
		fake_dev_fault(fm->dev, "a page of messages that is not granted");
		abort();
	}
	return fake_os_va(fm->dev->os, gfn);
}

void fake_msg_bind(struct fake_msg *fm, struct fake_dev *dev, const struct gio_msg_connection *connection)
{
	fake_msg_bind_answer(fm, dev, gio_msg_connection_answer(connection));
}

void fake_msg_bind_answer(struct fake_msg *fm, struct fake_dev *dev, const struct gio_msg_answer *answer)
{
	*fm = (struct fake_msg){.dev = dev, .answer = *answer};
	if (!fake_peer_pin(dev->os, dev->domid, fm->answer.driver_page, true, NULL)) {
		fake_dev_fault(dev, "a driver page that the device may write");
		fake_peer_unpin(dev->os, fm->answer.driver_page, true);
	}
	fm->driver = page_pin(fm, fm->answer.driver_page, false);
	fm->device = page_pin(fm, fm->answer.device_page, true);
	if (fake_os_port_remote(dev->os, fm->answer.port) != dev->domid)
		fake_dev_fault(dev, "a port for another domain");
	dev->raise_hook = raised;
	dev->raise_opaque = fm;
	fake_os_set_ports(dev->os, &(struct fake_os_ports){.send = sent, .opaque = fm});
}

void fake_msg_unbind(struct fake_msg *fm)
{
	fm->dev->raise_hook = NULL;
	fake_os_set_ports(fm->dev->os, &(struct fake_os_ports){0});
	fake_peer_unpin(fm->dev->os, fm->answer.driver_page, false);
	fake_peer_unpin(fm->dev->os, fm->answer.device_page, true);
}
