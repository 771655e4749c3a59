/* SPDX-License-Identifier: MIT */
/* The device behind messages: what docs/xenbus.md, version 2, has it do, and what a test has it do instead. */
#include "world.h"

struct world_device world_device;

static const struct gio_msg_page *driver_page;
static struct gio_msg_page *device_page;

static void *page_of(const char *key, bool write)
{
	dma_addr_t addr = strtoull(world_answer(key), NULL, 10) << PAGE_SHIFT;

	if (!write && world_reach(addr, true))
		world_device.violations++; /* it could be written */
	return world_reach(addr, write);
}

void world_device_begin(void)
{
	driver_page = page_of("driver-page-ref", false);
	device_page = page_of("device-page-ref", true);
	world_device.taken = world_device.sent = 0;
	world_device.status = 0;
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

void world_device_say(const struct gio_msg *msg)
{
	device_page->slots[world_device.sent % GIO_MSG_SLOTS].msg = *msg;
	device_page->prod = ++world_device.sent;
	world_event((evtchn_port_t)atoi(world_answer("event-channel")));
}

void world_device_changed(void)
{
	const struct gio_msg event = {
		.header = {.id = GIO_MSG_EVENT_CONFIG, .bytes = 24},
		.event = {.status = world_device.status, .generation = ++world_device.generation},
	};

	world_device_say(&event);
}

static void status_set(u32 status)
{
	struct world_device *d = &world_device;
	const u64 needed = 3ull << VIRTIO_F_VERSION_1;

	if (status & 8 && (d->chosen & ~d->features || (d->chosen & needed) != needed))
		status &= ~8u;
	if (!status)
		for (unsigned i = 0; i < ARRAY_SIZE(d->queue); i++)
			d->queue[i] = (struct gio_msg_queue){.max_size = d->queue[i].max_size};
	d->status = status || !d->resets_late ? status : d->status;
}

static void status_get(void)
{
	if (world_device.resets_late && !--world_device.resets_late)
		world_device.status = 0;
}

static void config_get(const struct gio_msg_config_get *asked, struct gio_msg_config *config)
{
	*config = (struct gio_msg_config){.generation = world_device.generation, .offset = asked->offset};
	if (asked->offset + (u64)asked->length > world_device.config_bytes)
		return;
	config->length = asked->length;
	memcpy(config->data, world_device.config + asked->offset, asked->length);
}

static void config_set(const struct gio_msg_config *asked, struct gio_msg_config *config)
{
	*config = *asked;
	memcpy(world_device.config + asked->offset, asked->data, asked->length);
	config->generation = ++world_device.generation;
}

/* The parts must be granted as they are used: the driver's only for reading. */
static void queue_set(const struct gio_msg_queue_set *set)
{
	struct gio_msg_queue *queue = &world_device.queue[set->index];

	if (world_reach(set->desc, true) || world_reach(set->driver, true) || !world_reach(set->desc, false) ||
	    !world_reach(set->driver, false) || !world_reach(set->device, true) || !(world_device.status & 8))
		world_device.violations++;
	queue->size = set->size;
	queue->desc = set->desc;
	queue->driver = set->driver;
	queue->device = set->device;
	queue->flags = GIO_MSG_QUEUE_ENABLED;
}

static void answer(const struct gio_msg *request, struct gio_msg *response)
{
	struct world_device *d = &world_device;

	switch (request->header.id) {
	case GIO_MSG_GET_DEVICE_INFO:
		response->info = (struct gio_msg_info){.device_id = d->type,
						       .feature_blocks = 2,
						       .config_bytes = d->config_bytes,
						       .queues = ARRAY_SIZE(d->queue)};
		break;
	case GIO_MSG_GET_DEVICE_FEATURES:
		response->features =
			(struct gio_msg_features){.blocks = 2, .bits = {(u32)d->features, (u32)(d->features >> 32)}};
		break;
	case GIO_MSG_SET_DRIVER_FEATURES:
		d->chosen = request->features.bits[0] | (u64)request->features.bits[1] << 32;
		break;
	case GIO_MSG_GET_CONFIG:
		config_get(&request->config_get, &response->config);
		break;
	case GIO_MSG_SET_CONFIG:
		config_set(&request->config, &response->config);
		break;
	case GIO_MSG_SET_DEVICE_STATUS:
		status_set(request->status.status);
		response->status.status = d->status;
		break;
	case GIO_MSG_GET_DEVICE_STATUS:
		status_get();
		response->status.status = d->status;
		break;
	case GIO_MSG_GET_VQUEUE:
		response->queue = d->queue[request->queue_index.index];
		response->queue.index = request->queue_index.index;
		break;
	case GIO_MSG_SET_VQUEUE:
		queue_set(&request->queue_set);
		break;
	default:
		d->violations++;
	}
}

static void serve(const struct gio_msg *request)
{
	struct gio_msg response = {
		.header = {.type = GIO_MSG_TYPE_RESPONSE, .id = request->header.id, .token = request->header.token}};

	world_device.requests++;
	world_device.id_asked[request->header.id % 0x50]++;
	if (!gio_msg_request_valid(request))
		world_device.violations++;
	answer(request, &response);
	response.header.bytes = (uint16_t)gio_msg_response_bytes(response.header.id, gio_msg_count(&response));
	if (!world_device.hook || world_device.hook(request, &response))
		world_device_say(&response);
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

void world_device_told(evtchn_port_t port)
{
	world_device.told[port]++;
	if (port != (evtchn_port_t)atoi(world_answer("event-channel")) || world.backend != XenbusStateConnected)
		return;
	while (driver_page->prod != world_device.taken) {
		struct gio_msg request = driver_page->slots[world_device.taken % GIO_MSG_SLOTS].msg;

		device_page->cons = ++world_device.taken;
		serve(&request);
	}
}

void world_device_uses(unsigned queue, unsigned n)
{
	char key[32];
	u16 *used = world_reach(world_device.queue[queue].device, true);

	used[1] = (u16)(used[1] + n);
	snprintf(key, sizeof(key), "queue-%u/event-channel", queue % (unsigned)atoi(world_answer("queue-channels")));
	world_event((evtchn_port_t)atoi(world_answer(key)));
}
