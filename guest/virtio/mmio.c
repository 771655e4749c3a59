/* SPDX-License-Identifier: MIT */
#include "mmio.h"

#include <abi/virtio.h>
#include <abi/virtio_mmio.h>

#define MMIO_QUEUES 65536u /* any number that a register can select */

struct mmio {
	struct gio_transport transport; /* the first member: a transport is its struct mmio */
	struct gio_os *os;
	uint64_t base; /* guest-physical address of the registers */
};

static struct mmio *mmio_of(struct gio_transport *transport)
{
	return (struct mmio *)transport;
}

static uint32_t reg_read(struct gio_transport *transport, unsigned offset)
{
	return gio_os_mmio_read(mmio_of(transport)->os, mmio_of(transport)->base + offset, 4);
}

static void reg_write(struct gio_transport *transport, unsigned offset, uint32_t value)
{
	gio_os_mmio_write(mmio_of(transport)->os, mmio_of(transport)->base + offset, 4, value);
}

static void reg_write64(struct gio_transport *transport, unsigned low, uint64_t value)
{
	reg_write(transport, low, (uint32_t)value);
	reg_write(transport, low + 4, (uint32_t)(value >> 32)); /* each HIGH register follows its LOW one */
}

/*
 * The device may take its time, for it has to be through with the rings first; but it is the peer's word when that is,
 * and so the reads are counted. The driver's caller would wait for ever otherwise.
 */
static int mmio_reset(struct gio_transport *transport)
{
	reg_write(transport, GIO_VIRTIO_MMIO_STATUS, 0);
	for (unsigned i = 0; i < GIO_MMIO_RESET_READS; i++)
		if (reg_read(transport, GIO_VIRTIO_MMIO_STATUS) == 0)
			return 0;
	return -GIO_EPROTO;
}

static uint32_t mmio_status_read(struct gio_transport *transport)
{
	return reg_read(transport, GIO_VIRTIO_MMIO_STATUS);
}

static void mmio_status_write(struct gio_transport *transport, uint32_t status)
{
	reg_write(transport, GIO_VIRTIO_MMIO_STATUS, status);
}

static uint64_t mmio_features_read(struct gio_transport *transport)
{
	uint64_t features;

	reg_write(transport, GIO_VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	features = (uint64_t)reg_read(transport, GIO_VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	reg_write(transport, GIO_VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	return features | reg_read(transport, GIO_VIRTIO_MMIO_DEVICE_FEATURES);
}

static void mmio_features_write(struct gio_transport *transport, uint64_t features)
{
	reg_write(transport, GIO_VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	reg_write(transport, GIO_VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32));
	reg_write(transport, GIO_VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	reg_write(transport, GIO_VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)features);
}

/* ---- queues ----------------------------------------------------------------------------------------------------- */

static int mmio_queue_probe(struct gio_transport *transport, unsigned index, uint32_t *max)
{
	reg_write(transport, GIO_VIRTIO_MMIO_QUEUE_SEL, index);
	if (reg_read(transport, GIO_VIRTIO_MMIO_QUEUE_READY) != 0)
		return -GIO_EPROTO;
	*max = reg_read(transport, GIO_VIRTIO_MMIO_QUEUE_NUM_MAX); /* 0: there is no such queue */
	return *max ? 0 : -GIO_ENODEV;
}

static int mmio_queue_enable(struct gio_transport *transport, const struct gio_virtq *vq)
{
	reg_write(transport, GIO_VIRTIO_MMIO_QUEUE_NUM, vq->size);
	reg_write64(transport, GIO_VIRTIO_MMIO_QUEUE_DESC_LOW, vq->desc_addr);
	reg_write64(transport, GIO_VIRTIO_MMIO_QUEUE_DRIVER_LOW, vq->avail_addr);
	reg_write64(transport, GIO_VIRTIO_MMIO_QUEUE_DEVICE_LOW, vq->used_addr);
	reg_write(transport, GIO_VIRTIO_MMIO_QUEUE_READY, 1);
	return reg_read(transport, GIO_VIRTIO_MMIO_QUEUE_READY) == 1 ? 0 : -GIO_EPROTO;
}

static void mmio_notify(struct gio_transport *transport, unsigned index)
{
	reg_write(transport, GIO_VIRTIO_MMIO_QUEUE_NOTIFY, index);
}

/* ---- interrupt and configuration -------------------------------------------------------------------------------- */

static uint32_t mmio_interrupt(struct gio_transport *transport)
{
	uint32_t causes = reg_read(transport, GIO_VIRTIO_MMIO_INTERRUPT_STATUS);

	causes &= GIO_VIRTIO_INT_QUEUE | GIO_VIRTIO_INT_CONFIG;
	/* Before the causes are looked into, so that what happens while they are raises the interrupt again. */
	if (causes)
		reg_write(transport, GIO_VIRTIO_MMIO_INTERRUPT_ACK, causes);
	return causes;
}

static uint32_t mmio_config_read(struct gio_transport *transport, unsigned offset, unsigned size)
{
	return gio_os_mmio_read(mmio_of(transport)->os, mmio_of(transport)->base + GIO_VIRTIO_MMIO_CONFIG + offset,
				size);
}

static uint32_t mmio_config_generation(struct gio_transport *transport)
{
	return reg_read(transport, GIO_VIRTIO_MMIO_CONFIG_GENERATION);
}

/* ---- open and close --------------------------------------------------------------------------------------------- */

static void mmio_close(struct gio_transport *transport)
{
	gio_os_free(mmio_of(transport)->os, transport, sizeof(struct mmio));
}

static const struct gio_transport_ops mmio_ops = {
	.close = mmio_close,
	.reset = mmio_reset,
	.status_read = mmio_status_read,
	.status_write = mmio_status_write,
	.features_read = mmio_features_read,
	.features_write = mmio_features_write,
	.queue_probe = mmio_queue_probe,
	.queue_enable = mmio_queue_enable,
	.notify = mmio_notify,
	.interrupt = mmio_interrupt,
	.config_read = mmio_config_read,
	.config_generation = mmio_config_generation,
};

/* In this order, and no further than the first register that is wrong: what is there may be another device (4.2.3.1.1).
 */
static bool device_found(struct gio_transport *transport, uint32_t device_id)
{
	return reg_read(transport, GIO_VIRTIO_MMIO_MAGIC) == GIO_VIRTIO_MMIO_MAGIC_VALUE &&
	       reg_read(transport, GIO_VIRTIO_MMIO_VERSION) == GIO_VIRTIO_MMIO_VERSION_2 &&
	       reg_read(transport, GIO_VIRTIO_MMIO_DEVICE_ID) == device_id;
}

int gio_mmio_open(struct gio_transport **out, struct gio_os *os, uint64_t base, uint32_t device_id)
{
	struct mmio *mmio = gio_os_alloc(os, sizeof(*mmio));

	if (!mmio)
		return -GIO_ENOMEM;
	*mmio = (struct mmio){.transport = {.ops = &mmio_ops, .queues = MMIO_QUEUES}, .os = os, .base = base};
	if (!device_found(&mmio->transport, device_id)) {
		mmio_close(&mmio->transport);
		return -GIO_ENODEV;
	}
	*out = &mmio->transport;
	return 0;
}
