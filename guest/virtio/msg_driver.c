/* SPDX-License-Identifier: MIT */
#include "msg_driver.h"

#include <abi/virtio.h>

#define CONFIG_TRIES	3u
#define CONFIG_AGAIN_MS 1000u /* after so many tries */
#define RESET_PAUSE_MS	10u   /* between two looks at a device that is being reset; doubled each time, up to */
#define RESET_PAUSE_MAX 500u
#define ADMIN_END_MAX	65536u /* no queue has an index from here on */

/*
 * RING_PACKED, IN_ORDER, ORDER_PLATFORM, SR_IOV, NOTIFICATION_DATA, NOTIF_CONFIG_DATA, RING_RESET, ADMIN_VQ: a port has
 * no room for data, and the others are not part of this version. A device that offers one does not get it.
 */
#define FEATURES_NEVER (UINT64_C(0xff) << 34)

/* A request and the response to it. */
struct exchange {
	struct gio_msg request, response;
};

void gio_msg_driver_init(struct gio_msg_driver *md, struct gio_msg_page *driver, const struct gio_msg_page *device,
			 const struct gio_msg_driver_ops *ops, void *opaque)
{
	*md = (struct gio_msg_driver){.ops = ops, .opaque = opaque, .limit_ms = GIO_MSG_GIVE_UP_MS};
	gio_msg_bus_init(&md->bus, driver, device);
}

int gio_msg_driver_given_up(const struct gio_msg_driver *md)
{
	return __atomic_load_n(&md->err, __ATOMIC_RELAXED);
}

void gio_msg_driver_give_up(struct gio_msg_driver *md, int err)
{
	if (!gio_msg_driver_given_up(md))
		__atomic_store_n(&md->err, err, __ATOMIC_RELAXED);
}

uint32_t gio_msg_driver_status(const struct gio_msg_driver *md)
{
	return __atomic_load_n(&md->status, __ATOMIC_RELAXED);
}

static void status_store(struct gio_msg_driver *md, uint32_t status)
{
	__atomic_store_n(&md->status, status, __ATOMIC_RELAXED);
}

static int fail(struct gio_msg_driver *md, int err)
{
	gio_msg_driver_give_up(md, err);
	return err;
}

static uint64_t now(const struct gio_msg_driver *md)
{
	return md->ops->now_ms(md->opaque);
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* ---- messages that nobody waits for ------------------------------------------------------------------------------ */

/*
 * The device may write its next EVENT_CONFIG once it was told that this one is taken, which the bus has counted before.
 * What the event says beside the status is not used: the whole configuration is read anew.
 */
static void event_take(struct gio_msg_driver *md, const struct gio_msg *msg)
{
	status_store(md, msg->event.status);
	md->changed = true;
	md->ops->notify(md->opaque);
}

static int other_take(struct gio_msg_driver *md, const struct gio_msg *msg)
{
	if (gio_msg_event_valid(msg)) {
		event_take(md, msg);
		return 0;
	}
	return ++md->dropped > GIO_MSG_MALFORMED_MAX ? fail(md, -GIO_EPROTO) : 0;
}

bool gio_msg_driver_poll(struct gio_msg_driver *md)
{
	struct gio_msg msg;

	for (unsigned i = 0; i < GIO_MSG_TAKE_MAX; i++) {
		int err = gio_msg_driver_given_up(md);

		if (!err)
			err = gio_msg_bus_take(&md->bus, &msg);
		if (err == -GIO_EPROTO)
			gio_msg_driver_give_up(md, err);
		if (err || other_take(md, &msg))
			return false;
	}
	return true;
}

int gio_msg_driver_changed(struct gio_msg_driver *md)
{
	uint64_t at = now(md);

	if (!md->changed)
		return -1;
	if (md->due > at)
		return (int)(md->due - at);
	md->changed = false;
	md->due = at + 1000u / GIO_MSG_EVENTS_PER_S;
	return 0;
}

void gio_msg_driver_change_again(struct gio_msg_driver *md)
{
	md->changed = true;
	md->due = now(md) + CONFIG_AGAIN_MS;
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

/* Take until the response comes. -GIO_EAGAIN: the page is empty; -GIO_EBUSY: it may not be, and the clock is due. */
static int response_take(struct gio_msg_driver *md, struct exchange *x)
{
	for (unsigned i = 0; i < GIO_MSG_TAKE_MAX; i++) {
		int err = gio_msg_bus_take(&md->bus, &x->response);

		if (err)
			return err == -GIO_EAGAIN ? err : fail(md, err);
		if (gio_msg_response_valid(&x->response, &x->request))
			return 0;
		err = other_take(md, &x->response);
		if (err)
			return err;
	}
	return -GIO_EBUSY;
}

static void slow(const struct gio_msg_driver *md, unsigned id)
{
	if (md->ops->slow)
		md->ops->slow(md->opaque, id);
}

/* How long it takes is the device's doing, but for the limit. */
static int response_wait(struct gio_msg_driver *md, struct exchange *x)
{
	uint64_t start = now(md);
	uint32_t until = min_u32(GIO_MSG_WARN_MS, md->limit_ms);

	for (;;) {
		int err = response_take(md, x);
		uint64_t elapsed = now(md) - start;

		if (err != -GIO_EAGAIN && err != -GIO_EBUSY)
			return err;
		if (elapsed >= md->limit_ms)
			return fail(md, -GIO_ETIMEDOUT);
		if (elapsed >= until) {
			slow(md, x->request.header.id);
			until = md->limit_ms;
		}
		if (err == -GIO_EAGAIN)
			md->ops->wait(md->opaque, until - (uint32_t)elapsed);
	}
}

/*
 * Ask x->request, whose body is set, with `count` elements where the message has a count. The response then has the
 * size that its kind has; what it repeats of the request has yet to be compared.
 */
static int ask(struct gio_msg_driver *md, struct exchange *x, unsigned id, uint32_t count)
{
	int err = gio_msg_driver_given_up(md);

	if (err)
		return err;
	if (!++md->token)
		md->token++; /* 0 is for events */
	x->request.header = (struct gio_msg_header){
		.id = (uint8_t)id, .token = md->token, .bytes = (uint16_t)gio_msg_request_bytes(id, count)};
	err = gio_msg_bus_send(&md->bus, &x->request);
	if (err)
		return fail(md, err);
	md->ops->notify(md->opaque);
	return response_wait(md, x);
}

/* ---- information and features ------------------------------------------------------------------------------------ */

static bool info_valid(const struct gio_msg_info *info)
{
	if (info->feature_blocks < 2 || info->feature_blocks > GIO_MSG_BLOCKS_MAX)
		return false;
	if (info->config_bytes > GIO_MSG_CONFIG_SPACE_MAX || !info->queues || info->queues > ADMIN_END_MAX)
		return false;
	return !info->admin_queues || (uint64_t)info->admin_first + info->admin_queues <= info->queues;
}

int gio_msg_driver_info(struct gio_msg_driver *md, uint32_t device_id)
{
	struct exchange x = {0};
	int err = ask(md, &x, GIO_MSG_GET_DEVICE_INFO, 0);

	if (err)
		return err;
	md->info = x.response.info;
	if (md->info.device_id != device_id)
		return fail(md, -GIO_ENODEV);
	return info_valid(&md->info) ? 0 : fail(md, -GIO_EPROTO);
}

int gio_msg_driver_features_read(struct gio_msg_driver *md, uint64_t *features)
{
	struct exchange x = {.request.features.blocks = 2};
	const struct gio_msg_features *got = &x.response.features;
	int err = ask(md, &x, GIO_MSG_GET_DEVICE_FEATURES, 0);

	if (err)
		return err;
	if (got->first != 0 || got->blocks != 2)
		return fail(md, -GIO_EPROTO);
	*features = (got->bits[0] | (uint64_t)got->bits[1] << 32) & ~FEATURES_NEVER;
	return 0;
}

int gio_msg_driver_features_write(struct gio_msg_driver *md, uint64_t features)
{
	struct exchange x = {
		.request.features = {.blocks = 2, .bits = {(uint32_t)features, (uint32_t)(features >> 32)}}};

	return ask(md, &x, GIO_MSG_SET_DRIVER_FEATURES, 2);
}

/* ---- status ------------------------------------------------------------------------------------------------------ */

/* `id` sets the status or only asks for it. */
static int status_ask(struct gio_msg_driver *md, unsigned id, uint32_t wanted, uint32_t *status)
{
	struct exchange x = {.request.status.status = wanted};
	int err = ask(md, &x, id, 0);

	if (err)
		return err;
	*status = x.response.status.status;
	status_store(md, *status);
	return 0;
}

int gio_msg_driver_status_write(struct gio_msg_driver *md, uint32_t status)
{
	uint32_t now_is;

	return status_ask(md, GIO_MSG_SET_DEVICE_STATUS, status, &now_is);
}

/* Events are taken meanwhile, and do not shorten the pause. */
static void pause_ms(struct gio_msg_driver *md, uint32_t ms)
{
	uint64_t end = now(md) + ms;

	for (uint64_t at = now(md); at < end && !gio_msg_driver_given_up(md); at = now(md))
		if (!gio_msg_driver_poll(md))
			md->ops->wait(md->opaque, (unsigned)(end - at));
}

/* The device has to be through with the rings first; but it is the device's word when that is. */
int gio_msg_driver_reset(struct gio_msg_driver *md)
{
	uint64_t start = now(md), elapsed;
	uint32_t status, pause = RESET_PAUSE_MS;
	bool warned = false;
	int err = status_ask(md, GIO_MSG_SET_DEVICE_STATUS, 0, &status);

	while (!err && status) {
		elapsed = now(md) - start;
		if (elapsed >= md->limit_ms)
			return fail(md, -GIO_ETIMEDOUT);
		if (elapsed >= GIO_MSG_WARN_MS && !warned) {
			slow(md, GIO_MSG_SET_DEVICE_STATUS);
			warned = true;
		}
		pause_ms(md, pause);
		pause = min_u32(2 * pause, RESET_PAUSE_MAX);
		err = status_ask(md, GIO_MSG_GET_DEVICE_STATUS, 0, &status);
	}
	return err;
}

/* ---- configuration ----------------------------------------------------------------------------------------------- */

static void bytes_copy(uint8_t *to, const uint8_t *from, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		to[i] = from[i];
}

/* Within the space that the device has said it has: anything but all of it is impossible. */
static int config_chunk(struct gio_msg_driver *md, uint32_t offset, uint32_t length, uint8_t *out, uint32_t *generation)
{
	struct exchange x = {.request.config_get = {.offset = offset, .length = length}};
	const struct gio_msg_config *got = &x.response.config;
	int err = ask(md, &x, GIO_MSG_GET_CONFIG, 0);

	if (err)
		return err;
	if (got->offset != offset || got->length != length)
		return fail(md, -GIO_EPROTO);
	bytes_copy(out, got->data, length);
	*generation = got->generation;
	return 0;
}

/* -GIO_EAGAIN: the generation was another one in the middle. */
static int config_pass(struct gio_msg_driver *md, uint8_t *space, uint32_t *generation)
{
	uint32_t length, of_chunk;
	int err = 0;

	*generation = 0;
	for (uint32_t at = 0; at < md->info.config_bytes && !err; at += length) {
		length = min_u32(md->info.config_bytes - at, GIO_MSG_CONFIG_MAX);
		err = config_chunk(md, at, length, space + at, &of_chunk);
		if (!err && !at)
			*generation = of_chunk;
		else if (!err && of_chunk != *generation)
			err = -GIO_EAGAIN;
	}
	return err;
}

int gio_msg_driver_config_read(struct gio_msg_driver *md, void *space, uint32_t *generation)
{
	int err = -GIO_EAGAIN;

	for (unsigned i = 0; i < CONFIG_TRIES && err == -GIO_EAGAIN; i++)
		err = config_pass(md, space, generation);
	return err;
}

int gio_msg_driver_config_write(struct gio_msg_driver *md, uint32_t offset, const void *data, uint32_t bytes)
{
	struct exchange x = {.request.config = {.offset = offset, .length = bytes}};
	const struct gio_msg_config *got = &x.response.config;
	int err;

	if (bytes > GIO_MSG_CONFIG_MAX)
		return -GIO_EINVAL;
	bytes_copy(x.request.config.data, data, bytes);
	err = ask(md, &x, GIO_MSG_SET_CONFIG, bytes);
	if (err)
		return err;
	if (got->offset != offset || (got->length && got->length != bytes))
		return fail(md, -GIO_EPROTO); /* a write is applied in full, or not at all */
	return got->length == bytes ? 0 : -GIO_EOPNOTSUPP;
}

/* ---- queues ------------------------------------------------------------------------------------------------------ */

int gio_msg_driver_queue_read(struct gio_msg_driver *md, uint32_t index, struct gio_msg_queue *queue)
{
	struct exchange x = {.request.queue_index.index = index};
	int err = ask(md, &x, GIO_MSG_GET_VQUEUE, 0);

	if (err)
		return err;
	*queue = x.response.queue;
	return queue->index == index ? 0 : fail(md, -GIO_EPROTO);
}

static bool queue_same(const struct gio_msg_queue *a, const struct gio_msg_queue *b)
{
	return a->size == b->size && a->desc == b->desc && a->driver == b->driver && a->device == b->device;
}

int gio_msg_driver_queue_enable(struct gio_msg_driver *md, const struct gio_msg_queue *queue)
{
	struct exchange x = {.request.queue_set = {.index = queue->index,
						   .flags = GIO_MSG_QUEUE_ENABLE,
						   .size = queue->size,
						   .desc = queue->desc,
						   .driver = queue->driver,
						   .device = queue->device}};
	struct gio_msg_queue got;
	int err = ask(md, &x, GIO_MSG_SET_VQUEUE, 0);

	if (!err)
		err = gio_msg_driver_queue_read(md, queue->index, &got);
	if (err)
		return err;
	return got.flags & GIO_MSG_QUEUE_ENABLED && queue_same(&got, queue) ? 0 : -GIO_EIO;
}
