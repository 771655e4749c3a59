/* SPDX-License-Identifier: MIT */
/* The configuration space of virtio-blk: virtio 1.2, 5.2.4. */
#include "blk.h"

#include <abi/virtio.h>

#define CONFIG_TRIES   16u	  /* reads of a configuration that changes meanwhile */
#define BLOCK_SIZE_MAX (1u << 20) /* largest logical block that is believed */
#define PHYSICAL_MAX   (1u << 30) /* and the largest physical one */

#define FIELD(name) offsetof(struct gio_virtio_blk_config, name)

uint64_t gio_blk_features_wanted(const struct gio_blk_config *config)
{
	uint64_t wanted = GIO_VIRTIO_BLK_F_SIZE_MAX | GIO_VIRTIO_BLK_F_SEG_MAX | GIO_VIRTIO_BLK_F_RO |
			  GIO_VIRTIO_BLK_F_BLK_SIZE | GIO_VIRTIO_BLK_F_FLUSH | GIO_VIRTIO_BLK_F_TOPOLOGY |
			  GIO_VIRTIO_BLK_F_CONFIG_WCE | GIO_VIRTIO_BLK_F_DISCARD | GIO_VIRTIO_BLK_F_WRITE_ZEROES;

	if (config->queues > 1)
		wanted |= GIO_VIRTIO_BLK_F_MQ;
	if (config->indirect)
		wanted |= GIO_VIRTIO_F_INDIRECT_DESC;
	if (!config->no_event_idx)
		wanted |= GIO_VIRTIO_F_EVENT_IDX;
	return wanted;
}

/* A 32-bit field that exists only with a feature. */
static uint32_t field32(struct gio_transport *transport, uint64_t features, uint64_t feature, unsigned offset,
			uint32_t otherwise)
{
	return features & feature ? gio_transport_config_read(transport, offset, 4) : otherwise;
}

static void config_read_volatile(struct gio_transport *transport, struct gio_blk_info *info)
{
	info->capacity = gio_transport_config_read64(transport, FIELD(capacity));
	/* 5.2.5: without CONFIG_WCE a device that takes flushes has a write cache, another has none. */
	info->writeback = info->flush;
	if (info->features & GIO_VIRTIO_BLK_F_CONFIG_WCE)
		info->writeback = gio_transport_config_read(transport, FIELD(writeback), 1) & 1;
}

static void config_read_fixed(struct gio_transport *transport, struct gio_blk_info *info, unsigned *offered_queues)
{
	uint64_t f = info->features;

	info->size_max = field32(transport, f, GIO_VIRTIO_BLK_F_SIZE_MAX, FIELD(size_max), 0);
	info->seg_max = field32(transport, f, GIO_VIRTIO_BLK_F_SEG_MAX, FIELD(seg_max), 1);
	info->block_size = field32(transport, f, GIO_VIRTIO_BLK_F_BLK_SIZE, FIELD(blk_size), GIO_VIRTIO_BLK_SECTOR);
	info->max_discard = field32(transport, f, GIO_VIRTIO_BLK_F_DISCARD, FIELD(max_discard_sectors), 0);
	info->max_write_zeroes =
		field32(transport, f, GIO_VIRTIO_BLK_F_WRITE_ZEROES, FIELD(max_write_zeroes_sectors), 0);
	info->physical_exp = 0;
	if (f & GIO_VIRTIO_BLK_F_TOPOLOGY)
		info->physical_exp = (uint8_t)gio_transport_config_read(transport, FIELD(physical_block_exp), 1);
	*offered_queues = 1;
	if (f & GIO_VIRTIO_BLK_F_MQ)
		*offered_queues = gio_transport_config_read(transport, FIELD(num_queues), 2) & UINT16_MAX;
}

/* A capacity whose bytes do not fit 64 bits is a trap for whoever multiplies. */
static bool capacity_valid(const struct gio_blk_info *info)
{
	return info->capacity <= UINT64_MAX / GIO_VIRTIO_BLK_SECTOR;
}

/* Values that callers divide or shift by: nonsense stops here. */
static bool blocks_valid(const struct gio_blk_info *info)
{
	uint32_t size = info->block_size;

	if (size < GIO_VIRTIO_BLK_SECTOR || size > BLOCK_SIZE_MAX || (size & (size - 1)) != 0)
		return false;
	return info->physical_exp < 32 && ((uint64_t)size << info->physical_exp) <= PHYSICAL_MAX;
}

/*
 * Read until the generation is the same before and after (2.5.1), so that no value is made of two configurations.
 * `offered_queues` NULL: only what may change.
 */
static int config_read(struct gio_transport *transport, struct gio_blk_info *info, unsigned *offered_queues)
{
	for (unsigned i = 0; i < CONFIG_TRIES; i++) {
		uint32_t generation = gio_transport_config_generation(transport);

		config_read_volatile(transport, info);
		if (offered_queues)
			config_read_fixed(transport, info, offered_queues);
		if (gio_transport_config_generation(transport) == generation)
			return capacity_valid(info) ? 0 : -GIO_EPROTO;
	}
	return -GIO_EAGAIN;
}

int gio_blk_config_load(struct gio_transport *transport, uint64_t features, struct gio_blk_info *info,
			unsigned *offered_queues)
{
	*info = (struct gio_blk_info){.features = features};
	info->readonly = features & GIO_VIRTIO_BLK_F_RO;
	info->flush = features & GIO_VIRTIO_BLK_F_FLUSH;
	if (config_read(transport, info, offered_queues) || !blocks_valid(info) || *offered_queues == 0)
		return -GIO_EPROTO;
	if (info->seg_max == 0)
		info->seg_max = 1; /* no request with data otherwise: some devices mean "no limit given" */
	return 0;
}

int gio_blk_config_reload(struct gio_transport *transport, struct gio_blk_info *info)
{
	struct gio_blk_info now = *info;
	int err = config_read(transport, &now, NULL);

	if (!err)
		*info = now;
	return err;
}
