/* SPDX-License-Identifier: MIT */
#include "mmio.h"

#include <abi/virtio.h>

static uint32_t reg_read(struct gio_mmio *mmio, unsigned offset)
{
	return gio_os_mmio_read(mmio->os, mmio->base + offset, 4);
}

static void reg_write(struct gio_mmio *mmio, unsigned offset, uint32_t value)
{
	gio_os_mmio_write(mmio->os, mmio->base + offset, 4, value);
}

static void reg_write64(struct gio_mmio *mmio, unsigned low, uint64_t value)
{
	reg_write(mmio, low, (uint32_t)value);
	reg_write(mmio, low + 4, (uint32_t)(value >> 32)); /* each HIGH register follows its LOW one */
}

int gio_mmio_probe(struct gio_mmio *mmio, struct gio_os *os, uint64_t base, uint32_t device_id)
{
	*mmio = (struct gio_mmio){.os = os, .base = base};
	if (reg_read(mmio, GIO_VIRTIO_MMIO_MAGIC) != GIO_VIRTIO_MMIO_MAGIC_VALUE)
		return -GIO_ENODEV;
	if (reg_read(mmio, GIO_VIRTIO_MMIO_VERSION) != GIO_VIRTIO_MMIO_VERSION_2)
		return -GIO_ENODEV;
	if (reg_read(mmio, GIO_VIRTIO_MMIO_DEVICE_ID) != device_id)
		return -GIO_ENODEV;
	return 0;
}

int gio_mmio_reset(struct gio_mmio *mmio)
{
	mmio->status = 0;
	reg_write(mmio, GIO_VIRTIO_MMIO_STATUS, 0);
	for (unsigned i = 0; i < GIO_MMIO_RESET_READS; i++)
		if (reg_read(mmio, GIO_VIRTIO_MMIO_STATUS) == 0)
			return 0;
	return -GIO_EPROTO;
}

void gio_mmio_status_add(struct gio_mmio *mmio, uint32_t bits)
{
	mmio->status |= bits;
	reg_write(mmio, GIO_VIRTIO_MMIO_STATUS, mmio->status);
}

uint32_t gio_mmio_status_read(struct gio_mmio *mmio)
{
	return reg_read(mmio, GIO_VIRTIO_MMIO_STATUS);
}

/* ---- features --------------------------------------------------------------------------------------------------- */

static uint64_t features_read(struct gio_mmio *mmio)
{
	uint64_t features;

	reg_write(mmio, GIO_VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	features = (uint64_t)reg_read(mmio, GIO_VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	reg_write(mmio, GIO_VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	return features | reg_read(mmio, GIO_VIRTIO_MMIO_DEVICE_FEATURES);
}

static void features_write(struct gio_mmio *mmio, uint64_t features)
{
	reg_write(mmio, GIO_VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	reg_write(mmio, GIO_VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32));
	reg_write(mmio, GIO_VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	reg_write(mmio, GIO_VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)features);
}

static int device_refuse(struct gio_mmio *mmio)
{
	gio_mmio_status_add(mmio, GIO_VIRTIO_STATUS_FAILED);
	return -GIO_ENODEV;
}

int gio_mmio_negotiate(struct gio_mmio *mmio, uint64_t required, uint64_t wanted, uint64_t *features)
{
	uint64_t offered;

	gio_mmio_status_add(mmio, GIO_VIRTIO_STATUS_ACKNOWLEDGE);
	gio_mmio_status_add(mmio, GIO_VIRTIO_STATUS_DRIVER);
	offered = features_read(mmio);
	if ((offered & required) != required)
		return device_refuse(mmio);
	*features = offered & (required | wanted);
	features_write(mmio, *features);
	gio_mmio_status_add(mmio, GIO_VIRTIO_STATUS_FEATURES_OK);
	if (!(gio_mmio_status_read(mmio) & GIO_VIRTIO_STATUS_FEATURES_OK))
		return device_refuse(mmio);
	return 0;
}

/* ---- queues ----------------------------------------------------------------------------------------------------- */

int gio_mmio_queue_probe(struct gio_mmio *mmio, unsigned index, uint32_t *max)
{
	reg_write(mmio, GIO_VIRTIO_MMIO_QUEUE_SEL, index);
	if (reg_read(mmio, GIO_VIRTIO_MMIO_QUEUE_READY) != 0)
		return -GIO_EPROTO;
	*max = reg_read(mmio, GIO_VIRTIO_MMIO_QUEUE_NUM_MAX);
	return *max ? 0 : -GIO_ENODEV;
}

int gio_mmio_queue_enable(struct gio_mmio *mmio, const struct gio_virtq *vq)
{
	reg_write(mmio, GIO_VIRTIO_MMIO_QUEUE_NUM, vq->size);
	reg_write64(mmio, GIO_VIRTIO_MMIO_QUEUE_DESC_LOW, vq->desc_addr);
	reg_write64(mmio, GIO_VIRTIO_MMIO_QUEUE_DRIVER_LOW, vq->avail_addr);
	reg_write64(mmio, GIO_VIRTIO_MMIO_QUEUE_DEVICE_LOW, vq->used_addr);
	reg_write(mmio, GIO_VIRTIO_MMIO_QUEUE_READY, 1);
	return reg_read(mmio, GIO_VIRTIO_MMIO_QUEUE_READY) == 1 ? 0 : -GIO_EPROTO;
}

void gio_mmio_notify(struct gio_mmio *mmio, unsigned index)
{
	reg_write(mmio, GIO_VIRTIO_MMIO_QUEUE_NOTIFY, index);
}

/* ---- interrupt and configuration -------------------------------------------------------------------------------- */

uint32_t gio_mmio_interrupt(struct gio_mmio *mmio)
{
	uint32_t causes = reg_read(mmio, GIO_VIRTIO_MMIO_INTERRUPT_STATUS);

	causes &= GIO_VIRTIO_INT_QUEUE | GIO_VIRTIO_INT_CONFIG;
	/* Before the causes are looked into, so that what happens while they are raises the interrupt again. */
	if (causes)
		reg_write(mmio, GIO_VIRTIO_MMIO_INTERRUPT_ACK, causes);
	return causes;
}

uint32_t gio_mmio_config_read(struct gio_mmio *mmio, unsigned offset, unsigned size)
{
	return gio_os_mmio_read(mmio->os, mmio->base + GIO_VIRTIO_MMIO_CONFIG + offset, size);
}

uint64_t gio_mmio_config_read64(struct gio_mmio *mmio, unsigned offset)
{
	uint64_t low = gio_mmio_config_read(mmio, offset, 4);

	return low | (uint64_t)gio_mmio_config_read(mmio, offset + 4, 4) << 32;
}

uint32_t gio_mmio_config_generation(struct gio_mmio *mmio)
{
	return gio_os_mmio_read(mmio->os, mmio->base + GIO_VIRTIO_MMIO_CONFIG_GENERATION, 4);
}
