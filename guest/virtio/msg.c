/* SPDX-License-Identifier: MIT */
#include "msg.h"

#include <abi/virtio.h>

#include "msg_connection.h"

struct msg {
	struct gio_transport transport; /* the first member: a transport is its struct msg */
	struct gio_os *os;
	struct gio_msg_connection *connection;
	unsigned probed;      /* the queue that was asked for last */
	struct gio_lock lock; /* all below: a copy of the configuration space, from which drivers read */
	bool filled;
	uint32_t generation; /* of the copy: counts fillings, so that no device can make a reader loop */
	uint8_t space[GIO_MSG_CONFIG_SPACE_MAX];
};

static struct msg *msg_of(struct gio_transport *transport)
{
	return (struct msg *)transport;
}

static struct gio_msg_driver *driver_of(struct gio_transport *transport)
{
	return &msg_of(transport)->connection->driver;
}

/* ---- status and features ---------------------------------------------------------------------------------------- */

static int msg_reset(struct gio_transport *transport)
{
	return gio_msg_driver_reset(driver_of(transport));
}

/* The last that the device told: no message is needed. One that was given up can only be begun anew. */
static uint32_t msg_status_read(struct gio_transport *transport)
{
	if (gio_msg_driver_given_up(driver_of(transport)))
		return GIO_VIRTIO_STATUS_NEEDS_RESET;
	return gio_msg_driver_status(driver_of(transport));
}

/* An error gives the device up, which every later look at it shows. */
static void msg_status_write(struct gio_transport *transport, uint32_t status)
{
	(void)gio_msg_driver_status_write(driver_of(transport), status);
}

static uint64_t msg_features_read(struct gio_transport *transport)
{
	uint64_t features;

	return gio_msg_driver_features_read(driver_of(transport), &features) ? 0 : features;
}

static void msg_features_write(struct gio_transport *transport, uint64_t features)
{
	(void)gio_msg_driver_features_write(driver_of(transport), features);
}

static int msg_error(struct gio_transport *transport)
{
	return gio_msg_driver_given_up(driver_of(transport));
}

/* ---- queues ----------------------------------------------------------------------------------------------------- */

static int msg_queue_probe(struct gio_transport *transport, unsigned index, uint32_t *max)
{
	struct gio_msg_queue queue;
	int err = gio_msg_driver_queue_read(driver_of(transport), index, &queue);

	if (err)
		return err;
	if (queue.flags & GIO_MSG_QUEUE_ENABLED)
		return -GIO_EPROTO;
	msg_of(transport)->probed = index;
	*max = queue.max_size; /* 0: there is no such queue */
	return *max ? 0 : -GIO_ENODEV;
}

static int msg_queue_enable(struct gio_transport *transport, const struct gio_virtq *vq)
{
	const struct gio_msg_queue queue = {.index = msg_of(transport)->probed,
					    .size = vq->size,
					    .desc = vq->desc_addr,
					    .driver = vq->avail_addr,
					    .device = vq->used_addr};
	int err = gio_msg_driver_queue_enable(driver_of(transport), &queue);

	return err == -GIO_EIO ? -GIO_EPROTO : err;
}

static void msg_notify(struct gio_transport *transport, unsigned index)
{
	const struct gio_msg_answer *answer = &msg_of(transport)->connection->answer;

	/* The remainder, without a division, which is a call of libgcc's on some processors. Both are small. */
	while (index >= answer->ports)
		index -= answer->ports;
	gio_os_port_send(msg_of(transport)->os, answer->queue_port[index]);
}

/* ---- configuration: from the copy -------------------------------------------------------------------------------- */

/*
 * A new copy takes the place of the old one in one step. While the device keeps changing it the old one stays, and is
 * tried again later.
 */
static int copy_fill(struct msg *msg)
{
	struct gio_msg_driver *driver = &msg->connection->driver;
	uint8_t space[GIO_MSG_CONFIG_SPACE_MAX] = {0};
	uint32_t generation;
	int err = gio_msg_driver_config_read(driver, space, &generation);

	if (err == -GIO_EAGAIN)
		gio_msg_driver_change_again(driver);
	if (err)
		return err;
	gio_os_lock(&msg->lock);
	for (unsigned i = 0; i < sizeof(space); i++)
		msg->space[i] = space[i];
	msg->filled = true;
	msg->generation++;
	gio_os_unlock(&msg->lock);
	return 0;
}

/* Set-up, which is one thread's, asks for the generation first: that is where the first copy is made. */
static uint32_t msg_config_generation(struct gio_transport *transport)
{
	struct msg *msg = msg_of(transport);
	uint32_t generation;
	bool filled;

	gio_os_lock(&msg->lock);
	filled = msg->filled;
	gio_os_unlock(&msg->lock);
	if (!filled)
		(void)copy_fill(msg); /* else it reads as zeroes */
	gio_os_lock(&msg->lock);
	generation = msg->generation;
	gio_os_unlock(&msg->lock);
	return generation;
}

static uint32_t msg_config_read(struct gio_transport *transport, unsigned offset, unsigned size)
{
	struct msg *msg = msg_of(transport);
	uint32_t value = 0;

	if (size > sizeof(value) || offset > sizeof(msg->space) - size)
		return 0;
	gio_os_lock(&msg->lock);
	for (unsigned i = 0; i < size; i++)
		value |= (uint32_t)msg->space[offset + i] << 8 * i;
	gio_os_unlock(&msg->lock);
	return value;
}

/* ---- interrupt --------------------------------------------------------------------------------------------------- */

/*
 * Which queue's port it was the caller knows, so that any of them may have used buffers. A device that was given up is
 * a change of its status.
 */
static uint32_t msg_interrupt(struct gio_transport *transport)
{
	struct msg *msg = msg_of(transport);
	struct gio_msg_driver *driver = &msg->connection->driver;
	uint32_t causes = 0;
	bool more = gio_msg_driver_poll(driver);
	int due = gio_msg_driver_changed(driver);

	if (due == 0 && msg->filled && copy_fill(msg) == -GIO_EAGAIN)
		more = true;
	if (due == 0 || gio_msg_driver_given_up(driver))
		causes |= GIO_VIRTIO_INT_CONFIG;
	if (more || due > 0)
		causes |= GIO_TRANSPORT_INT_AGAIN;
	return causes;
}

/* ---- open and close --------------------------------------------------------------------------------------------- */

static void msg_close(struct gio_transport *transport)
{
	struct msg *msg = msg_of(transport);

	gio_os_lock_exit(&msg->lock);
	gio_os_free(msg->os, msg, sizeof(*msg));
}

static const struct gio_transport_ops msg_ops = {
	.close = msg_close,
	.reset = msg_reset,
	.status_read = msg_status_read,
	.status_write = msg_status_write,
	.features_read = msg_features_read,
	.features_write = msg_features_write,
	.error = msg_error,
	.queue_probe = msg_queue_probe,
	.queue_enable = msg_queue_enable,
	.notify = msg_notify,
	.interrupt = msg_interrupt,
	.config_read = msg_config_read,
	.config_generation = msg_config_generation,
};

int gio_msg_open(struct gio_transport **out, struct gio_os *os, struct gio_msg_connection *connection,
		 uint32_t device_id)
{
	struct gio_msg_driver *driver = &connection->driver;
	struct msg *msg = gio_os_alloc(os, sizeof(*msg));
	int err;

	if (!msg)
		return -GIO_ENOMEM;
	err = gio_msg_driver_info(driver, device_id);
	if (err) {
		gio_os_free(os, msg, sizeof(*msg));
		return err;
	}
	msg->transport.ops = &msg_ops;
	msg->transport.queues = driver->info.queues < GIO_MSG_QUEUES_MAX ? driver->info.queues : GIO_MSG_QUEUES_MAX;
	msg->os = os;
	msg->connection = connection;
	gio_os_lock_init(&msg->lock);
	*out = &msg->transport;
	return 0;
}
