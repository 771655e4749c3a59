/* SPDX-License-Identifier: MIT */
#include "transport.h"

#include <abi/virtio.h>

void gio_transport_close(struct gio_transport *transport)
{
	if (transport)
		transport->ops->close(transport);
}

/* ---- status and features ---------------------------------------------------------------------------------------- */

int gio_transport_reset(struct gio_transport *transport)
{
	transport->status = 0;
	return transport->ops->reset(transport);
}

/* From our own copy: a device that sets bits which are the driver's to set does not get them back as if they were. */
void gio_transport_status_add(struct gio_transport *transport, uint32_t bits)
{
	transport->status |= bits;
	transport->ops->status_write(transport, transport->status);
}

uint32_t gio_transport_status_read(struct gio_transport *transport)
{
	return transport->ops->status_read(transport);
}

int gio_transport_error(struct gio_transport *transport)
{
	return transport->ops->error ? transport->ops->error(transport) : 0;
}

static int device_refuse(struct gio_transport *transport)
{
	gio_transport_status_add(transport, GIO_VIRTIO_STATUS_FAILED);
	return -GIO_ENODEV;
}

int gio_transport_negotiate(struct gio_transport *transport, uint64_t required, uint64_t wanted, uint64_t *features)
{
	uint64_t offered;

	gio_transport_status_add(transport, GIO_VIRTIO_STATUS_ACKNOWLEDGE);
	gio_transport_status_add(transport, GIO_VIRTIO_STATUS_DRIVER);
	offered = transport->ops->features_read(transport);
	if ((offered & required) != required)
		return device_refuse(transport);
	*features = offered & (required | wanted);
	/* Nothing that was not offered (2.2.1), and nothing that this driver does not know. */
	transport->ops->features_write(transport, *features);
	gio_transport_status_add(transport, GIO_VIRTIO_STATUS_FEATURES_OK);
	/* The device clears the bit if it cannot work with just these features (3.1.1, step 6). */
	if (!(gio_transport_status_read(transport) & GIO_VIRTIO_STATUS_FEATURES_OK))
		return device_refuse(transport);
	return 0;
}

/* ---- queues ----------------------------------------------------------------------------------------------------- */

int gio_transport_queue_probe(struct gio_transport *transport, unsigned index, uint32_t *max)
{
	return transport->ops->queue_probe(transport, index, max);
}

int gio_transport_queue_enable(struct gio_transport *transport, const struct gio_virtq *vq)
{
	return transport->ops->queue_enable(transport, vq);
}

void gio_transport_notify(struct gio_transport *transport, unsigned index)
{
	transport->ops->notify(transport, index);
}

/* ---- interrupt and configuration -------------------------------------------------------------------------------- */

uint32_t gio_transport_interrupt(struct gio_transport *transport)
{
	return transport->ops->interrupt(transport);
}

uint32_t gio_transport_config_read(struct gio_transport *transport, unsigned offset, unsigned size)
{
	return transport->ops->config_read(transport, offset, size);
}

uint64_t gio_transport_config_read64(struct gio_transport *transport, unsigned offset)
{
	uint64_t low = gio_transport_config_read(transport, offset, 4);

	return low | (uint64_t)gio_transport_config_read(transport, offset + 4, 4) << 32;
}

uint32_t gio_transport_config_generation(struct gio_transport *transport)
{
	return transport->ops->config_generation(transport);
}
