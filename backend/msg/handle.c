/* SPDX-License-Identifier: MIT */
#include "backend/msg/handle.h"

#include <string.h>

#include <abi/virtio.h>
#include <abi/virtio_ring.h>

#define VENDOR_ID      0x4f495447u /* "GTIO" */
#define FEATURE_BLOCKS 2u	   /* that the device has: bits 0 to 63 */

/* ---- generations ------------------------------------------------------------------------------------------------ */

static uint32_t generation(const struct gd_handle *handle)
{
	return handle->base + gd_vdev_generation(handle->vdev);
}

void gd_handle_init(struct gd_handle *handle, struct gd_vdev *vdev, bool straight)
{
	*handle = (struct gd_handle){.vdev = vdev, .straight = straight, .base = -gd_vdev_generation(vdev)};
}

void gd_handle_resume(struct gd_handle *handle, struct gd_vdev *vdev, bool straight,
		      const struct gd_handle_state *state)
{
	*handle = (struct gd_handle){.vdev = vdev,
				     .straight = straight,
				     .base = state->generation + 1 - gd_vdev_generation(vdev),
				     .state = *state};
}

void gd_handle_save(const struct gd_handle *handle, struct gd_handle_state *state)
{
	*state = handle->state;
	state->generation = generation(handle);
}

bool gd_handle_changed(const struct gd_handle *handle)
{
	return generation(handle) != handle->state.told;
}

/* ---- status ----------------------------------------------------------------------------------------------------- */

/* Whether I/O of a ring that a reset took away can still read or write the guest's memory. */
static bool touches(const struct gd_handle *handle)
{
	return handle->straight && gd_vdev_orphans(handle->vdev);
}

/* A reset is over when nothing of the guest is touched any more. */
static uint32_t status_now(struct gd_handle *handle)
{
	if (handle->state.held && !touches(handle))
		handle->state.held = 0;
	return handle->state.held ? handle->state.held : gd_vdev_status(handle->vdev);
}

static void reset(struct gd_handle *handle)
{
	/* While a reset is not over another one does not end it: the driver is told what it was told before. */
	uint32_t before = status_now(handle);

	gd_vdev_status_write(handle->vdev, 0);
	handle->state.beyond = 0;
	handle->base++; /* the cache mode is as at first again */
	if (touches(handle))
		handle->state.held = before;
}

static void status_set(struct gd_handle *handle, const struct gio_msg *request, struct gio_msg *response)
{
	uint32_t value = request->status.status, before = status_now(handle);

	if (!value)
		reset(handle);
	else if (!handle->state.held && (handle->state.beyond && value & GIO_VIRTIO_STATUS_FEATURES_OK))
		gd_vdev_status_write(handle->vdev, value & ~GIO_VIRTIO_STATUS_FEATURES_OK);
	else if (!handle->state.held)
		gd_vdev_status_write(handle->vdev, value);
	response->status.status = status_now(handle);
	/* What the driver has chosen may have changed what it can read. */
	if (~before & response->status.status & GIO_VIRTIO_STATUS_FEATURES_OK)
		handle->base++;
}

static void status_get(struct gd_handle *handle, const struct gio_msg *request, struct gio_msg *response)
{
	(void)request;
	response->status.status = status_now(handle);
}

void gd_handle_event(struct gd_handle *handle, struct gio_msg *event)
{
	struct gd_class_range range = gd_vdev_config_changes(handle->vdev);

	*event = (struct gio_msg){.header = {.id = GIO_MSG_EVENT_CONFIG, .bytes = 24}};
	event->event.status = status_now(handle);
	event->event.generation = generation(handle);
	if (!(event->event.status & GIO_VIRTIO_STATUS_NEEDS_RESET)) {
		event->event.offset = range.offset;
		event->event.length = range.length;
	}
	handle->state.told = event->event.generation;
}

/* ---- what the device is ----------------------------------------------------------------------------------------- */

static void info_get(struct gd_handle *handle, const struct gio_msg *request, struct gio_msg *response)
{
	(void)request;
	response->info = (struct gio_msg_info){.device_id = gd_vdev_id(handle->vdev),
					       .vendor_id = VENDOR_ID,
					       .feature_blocks = FEATURE_BLOCKS,
					       .config_bytes = gd_vdev_config_bytes(handle->vdev),
					       .queues = gd_vdev_queues(handle->vdev)};
}

static void features_get(struct gd_handle *handle, const struct gio_msg *request, struct gio_msg *response)
{
	uint64_t offered = gd_vdev_offered(handle->vdev);

	response->features.first = request->features.first;
	response->features.blocks = request->features.blocks;
	for (uint32_t i = 0; i < request->features.blocks; i++) {
		uint64_t block = (uint64_t)request->features.first + i;

		response->features.bits[i] = block < FEATURE_BLOCKS ? (uint32_t)(offered >> 32 * block) : 0;
	}
}

static void features_set(struct gd_handle *handle, const struct gio_msg *request, struct gio_msg *response)
{
	uint64_t features = gd_vdev_features(handle->vdev);

	(void)response;
	for (uint32_t i = 0; i < request->features.blocks; i++) {
		uint64_t block = (uint64_t)request->features.first + i;
		uint32_t bits = request->features.bits[i];

		if (block < FEATURE_BLOCKS)
			features = (features & ~((uint64_t)UINT32_MAX << 32 * block)) | (uint64_t)bits << 32 * block;
		else if (bits)
			handle->state.beyond = 1; /* until a reset: no driver of ours does this */
	}
	gd_vdev_features_choose(handle->vdev, features);
}

/* ---- configuration ---------------------------------------------------------------------------------------------- */

static bool in_config(const struct gd_handle *handle, uint32_t offset, uint32_t length)
{
	return (uint64_t)offset + length <= gd_vdev_config_bytes(handle->vdev);
}

/* The head of a response with data, which has `length` bytes of them. */
static struct gio_msg_config *config_respond(struct gd_handle *handle, struct gio_msg *response, uint32_t offset,
					     uint32_t length)
{
	response->config.generation = handle->state.told = generation(handle);
	response->config.offset = offset;
	response->config.length = length;
	return &response->config;
}

static void config_get(struct gd_handle *handle, const struct gio_msg *request, struct gio_msg *response)
{
	uint32_t offset = request->config_get.offset, length = request->config_get.length;

	if (!in_config(handle, offset, length))
		length = 0;
	/* Read the data after the generation: a change in between shows by the next response's generation. */
	gd_vdev_config_read(handle->vdev, offset, config_respond(handle, response, offset, length)->data, length);
}

static void config_set(struct gd_handle *handle, const struct gio_msg *request, struct gio_msg *response)
{
	uint32_t offset = request->config.offset, length = request->config.length;

	/* The device reads no more of its configuration than it has, and the request has room for that. */
	if (!in_config(handle, offset, length) ||
	    (length && !gd_vdev_config_write(handle->vdev, offset, request->config.data, length)))
		length = 0;
	if (length)
		handle->base++;
	memcpy(config_respond(handle, response, offset, length)->data, request->config.data, length);
}

/* ---- queues ----------------------------------------------------------------------------------------------------- */

static void queue_get(struct gd_handle *handle, const struct gio_msg *request, struct gio_msg *response)
{
	uint32_t index = request->queue_index.index;
	struct gd_vdev_layout layout = gd_vdev_queue_layout(handle->vdev, index);

	response->queue = (struct gio_msg_queue){
		.index = index,
		.max_size = gd_vdev_queue_max(handle->vdev, index),
		.size = layout.size,
		.flags = gd_vdev_queue_ready(handle->vdev, index) ? GIO_MSG_QUEUE_ENABLED : 0,
		.desc = layout.desc,
		.driver = layout.driver,
		.device = layout.device,
	};
}

static bool address_valid(const struct gd_handle *handle, uint64_t address, uint64_t align)
{
	return address % align == 0 && gd_vdev_address_valid(handle->vdev, address);
}

/* Put the fields that the request sets into `layout`. False: one of them is wrong. */
static bool fields_take(const struct gd_handle *handle, const struct gio_msg_queue_set *set,
			struct gd_vdev_layout *layout)
{
	bool valid = true;

	if (!(set->flags & GIO_MSG_QUEUE_KEEP_SIZE)) {
		valid = gio_virtq_size_valid(set->size) && set->size <= gd_vdev_queue_max(handle->vdev, set->index);
		layout->size = set->size;
	}
	if (!(set->flags & GIO_MSG_QUEUE_KEEP_DESC)) {
		valid &= address_valid(handle, set->desc, GIO_VIRTQ_DESC_ALIGN);
		layout->desc = set->desc;
	}
	if (!(set->flags & GIO_MSG_QUEUE_KEEP_DRIVER)) {
		valid &= address_valid(handle, set->driver, GIO_VIRTQ_AVAIL_ALIGN);
		layout->driver = set->driver;
	}
	if (!(set->flags & GIO_MSG_QUEUE_KEEP_DEVICE)) {
		valid &= address_valid(handle, set->device, GIO_VIRTQ_USED_ALIGN);
		layout->device = set->device;
	}
	return valid;
}

/* All or nothing, and the driver reads the queue back to find out. */
static void queue_set(struct gd_handle *handle, const struct gio_msg *request, struct gio_msg *response)
{
	const uint32_t keep = GIO_MSG_QUEUE_FLAGS & ~GIO_MSG_QUEUE_STATE;
	const struct gio_msg_queue_set *set = &request->queue_set;
	uint32_t state = set->flags & GIO_MSG_QUEUE_STATE;
	struct gd_vdev_layout layout = gd_vdev_queue_layout(handle->vdev, set->index);

	(void)response;
	if (set->reserved || set->flags & ~GIO_MSG_QUEUE_FLAGS || state > GIO_MSG_QUEUE_KEEP_STATE)
		return;
	if (!(gd_vdev_status(handle->vdev) & GIO_VIRTIO_STATUS_FEATURES_OK))
		return;
	/* Only a reset disables a queue; and while it is enabled nothing of it can be set. */
	if (gd_vdev_queue_ready(handle->vdev, set->index))
		return;
	if (!gd_vdev_queue_max(handle->vdev, set->index) || !fields_take(handle, set, &layout))
		return;
	if (state == GIO_MSG_QUEUE_ENABLE)
		gd_vdev_queue_enable(handle->vdev, set->index, &layout); /* after a failure nothing has changed */
	else if ((set->flags & keep) != keep)
		gd_vdev_queue_lay_out(handle->vdev, set->index, &layout);
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

/* RESET_VQUEUE: the feature RING_RESET is not offered, and so it has no effect. */
static void nothing(struct gd_handle *handle, const struct gio_msg *request, struct gio_msg *response)
{
	(void)handle;
	(void)request;
	(void)response;
}

/* There are no regions of shared memory: all have length 0. */
static void shm_get(struct gd_handle *handle, const struct gio_msg *request, struct gio_msg *response)
{
	(void)handle;
	response->shm.id = request->shm.id;
}

typedef void handle_work(struct gd_handle *handle, const struct gio_msg *request, struct gio_msg *response);

static handle_work *const works[] = {
	[GIO_MSG_GET_DEVICE_INFO] = info_get,
	[GIO_MSG_GET_DEVICE_FEATURES] = features_get,
	[GIO_MSG_SET_DRIVER_FEATURES] = features_set,
	[GIO_MSG_GET_CONFIG] = config_get,
	[GIO_MSG_SET_CONFIG] = config_set,
	[GIO_MSG_GET_DEVICE_STATUS] = status_get,
	[GIO_MSG_SET_DEVICE_STATUS] = status_set,
	[GIO_MSG_GET_VQUEUE] = queue_get,
	[GIO_MSG_SET_VQUEUE] = queue_set,
	[GIO_MSG_RESET_VQUEUE] = nothing,
	[GIO_MSG_GET_SHM] = shm_get,
};

bool gd_handle_request(struct gd_handle *handle, const struct gio_msg *request, struct gio_msg *response)
{
	/* A request that is valid has a number for which there is a size, and so one of `works`. */
	if (!gio_msg_request_valid(request))
		return false;
	*response = (struct gio_msg){
		.header = {.type = GIO_MSG_TYPE_RESPONSE, .id = request->header.id, .token = request->header.token}};
	works[request->header.id](handle, request, response);
	response->header.bytes = (uint16_t)gio_msg_response_bytes(response->header.id, gio_msg_count(response));
	return true;
}
