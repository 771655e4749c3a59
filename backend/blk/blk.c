/* SPDX-License-Identifier: MIT */
#include "backend/blk/blk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <abi/virtio.h>

#include "backend/blk/serve.h"

#define SECTOR GIO_VIRTIO_BLK_SECTOR

/* The class's part of the ledger. Other versions read it: never change a field, and add new ones at the end. */
struct blk_state {
	uint32_t writeback;
	uint32_t block_size; /* of the disk, as its driver knows it; 0: not known */
};

static const struct gd_class_ops blk_ops;

static struct gd_blk *blk_of(struct gd_class_device *device)
{
	return (struct gd_blk *)device; /* its first field */
}

static void writeback_set(struct gd_blk *blk, bool on)
{
	__atomic_store_n(&blk->writeback, on, __ATOMIC_RELAXED);
}

static void blk_reset(struct gd_class_device *device)
{
	writeback_set(blk_of(device), blk_of(device)->writeback_first);
}

/* ---- features and configuration --------------------------------------------------------------------------------- */

static uint64_t features_offered(const struct gd_disk_info *info, unsigned queues, bool discard)
{
	uint64_t f = GIO_VIRTIO_BLK_F_SIZE_MAX | GIO_VIRTIO_BLK_F_SEG_MAX | GIO_VIRTIO_BLK_F_BLK_SIZE |
		     GIO_VIRTIO_BLK_F_TOPOLOGY;

	if (queues > 1)
		f |= GIO_VIRTIO_BLK_F_MQ;
	if (info->flush)
		f |= GIO_VIRTIO_BLK_F_FLUSH | GIO_VIRTIO_BLK_F_CONFIG_WCE;
	if (info->readonly)
		return f | GIO_VIRTIO_BLK_F_RO;
	if (discard && info->max_discard)
		f |= GIO_VIRTIO_BLK_F_DISCARD;
	if (discard && info->max_write_zeroes)
		f |= GIO_VIRTIO_BLK_F_WRITE_ZEROES;
	return f;
}

static uint32_t range_sectors(uint64_t bytes, uint32_t block_size)
{
	uint64_t sectors = (bytes - bytes % block_size) / SECTOR;

	return sectors < GD_BLK_RANGE_SECTORS ? (uint32_t)sectors : GD_BLK_RANGE_SECTORS;
}

/* A request must not exceed the disk's largest transfer, the limit of a chain, or the size of the ring. */
static void limits_fill(struct gio_virtio_blk_config *c, const struct gd_disk_info *info, unsigned queue_size)
{
	uint64_t most = info->max_transfer ? info->max_transfer : UINT64_MAX;
	uint32_t ring = queue_size > 3 ? queue_size - 2 : 1;

	c->size_max = most < GD_BLK_SIZE_MAX ? (uint32_t)most : GD_BLK_SIZE_MAX;
	c->seg_max = most / c->size_max < GD_BLK_SEGMENTS ? (uint32_t)(most / c->size_max) : GD_BLK_SEGMENTS;
	if (c->seg_max > ring)
		c->seg_max = ring;
}

static void config_fill(struct gd_blk *blk)
{
	const struct gd_disk_info *info = &blk->info;
	struct gio_virtio_blk_config *c = &blk->config;
	uint32_t physical = info->physical_size > info->block_size ? info->physical_size / info->block_size : 1;

	c->capacity = blk->size / SECTOR;
	limits_fill(c, info, blk->base.config.queue_size);
	c->blk_size = info->block_size;
	c->physical_block_exp = (uint8_t)(31 - __builtin_clz(physical));
	c->min_io_size = (uint16_t)(physical <= UINT16_MAX ? physical : 1);
	c->opt_io_size = 0; /* no size is better than others */
	c->num_queues = (uint16_t)blk->base.config.queues;
	if (blk->base.features & GIO_VIRTIO_BLK_F_DISCARD) {
		c->max_discard_sectors = range_sectors(info->max_discard, info->block_size);
		c->max_discard_seg = GD_BLK_RANGES;
		c->discard_sector_alignment = info->discard_align > SECTOR ? info->discard_align / SECTOR : 1;
	}
	if (blk->base.features & GIO_VIRTIO_BLK_F_WRITE_ZEROES) {
		c->max_write_zeroes_sectors = range_sectors(info->max_write_zeroes, info->block_size);
		c->max_write_zeroes_seg = GD_BLK_RANGES;
		c->write_zeroes_may_unmap = 1;
	}
}

/*
 * A successor of this process serves the same driver, perhaps with another size of the disk, and perhaps between two
 * reads of the driver: its generation must differ from ours (4.2.2.1). So it begins with a random number.
 */
static uint32_t generation_first(void)
{
	uint32_t value;

	return getrandom(&value, sizeof(value), GRND_NONBLOCK) == sizeof(value) ? value : (uint32_t)time(NULL);
}

/* Whether virtio-blk can express the disk's sizes. */
static bool sizes_valid(const struct gd_disk_info *info)
{
	if (info->block_size < SECTOR || info->block_size % SECTOR || (info->block_size & (info->block_size - 1)))
		return false;
	return !info->max_transfer || info->max_transfer >= info->block_size;
}

static int blk_init(struct gd_blk *blk, const struct gd_device_config *config, const struct gd_blk_config *own)
{
	gd_disk_info(own->disk, &blk->info);
	if (!sizes_valid(&blk->info))
		return -EINVAL;
	blk->base = (struct gd_class_device){.ops = &blk_ops, .config = *config};
	if (!blk->info.multi_queue)
		blk->base.config.queues = 1;
	blk->disk = own->disk;
	blk->writeback_first = own->writeback && blk->info.flush;
	blk->generation = generation_first();
	blk->size = blk->info.size - blk->info.size % blk->info.block_size;
	blk->base.features = features_offered(&blk->info, blk->base.config.queues, own->discard);
	config_fill(blk);
	blk_reset(&blk->base);
	return -pthread_mutex_init(&blk->lock, NULL);
}

int gd_blk_open(struct gd_class_device **device, const struct gd_device_config *config, const struct gd_blk_config *own,
		char *error, size_t size)
{
	struct gd_blk *blk = calloc(1, sizeof(*blk));
	int err = blk ? blk_init(blk, config, own) : -ENOMEM;

	if (!err) {
		*error = '\0';
		*device = &blk->base;
		return 0;
	}
	free(blk);
	snprintf(error, size, "%s: %s", err == -EINVAL ? "the disk cannot be offered" : "no memory for it",
		 strerror(-err));
	return err;
}

static void blk_close(struct gd_class_device *device)
{
	struct gd_blk *blk = blk_of(device);

	pthread_mutex_destroy(&blk->lock);
	gd_disk_close(blk->disk);
	free(blk);
}

void gd_blk_config_keep(struct gd_device_config *config, struct gd_blk_config *own, uint64_t features, bool discard)
{
	if (features & (GIO_VIRTIO_BLK_F_DISCARD | GIO_VIRTIO_BLK_F_WRITE_ZEROES))
		own->discard = discard;
	if (features & GIO_VIRTIO_BLK_F_MQ && config->queues < 2)
		config->queues = 2;
}

/* ---- the device's life ------------------------------------------------------------------------------------------ */

static void blk_negotiated(struct gd_class_device *device, uint64_t features)
{
	/* For a driver that cannot flush, only writethrough keeps its data, whether or not it may change the mode. */
	if (!(features & GIO_VIRTIO_BLK_F_FLUSH))
		writeback_set(blk_of(device), false);
}

static void blk_config_read(struct gd_class_device *device, uint64_t offset, void *data, size_t length)
{
	struct gd_blk *blk = blk_of(device);
	struct gio_virtio_blk_config copy;
	size_t there;

	memset(data, 0, length);
	if (offset >= sizeof(copy))
		return;
	pthread_mutex_lock(&blk->lock);
	copy = blk->config;
	pthread_mutex_unlock(&blk->lock);
	copy.writeback = gd_blk_writeback(blk);
	there = sizeof(copy) - (size_t)offset;
	memcpy(data, (const char *)&copy + offset, there < length ? there : length);
}

/* Only the cache mode can be written, and only if CONFIG_WCE was negotiated. */
static bool blk_config_write(struct gd_class_device *device, uint64_t offset, const void *data, size_t length,
			     uint64_t features)
{
	if (offset != offsetof(struct gio_virtio_blk_config, writeback) || length != 1 ||
	    !(features & GIO_VIRTIO_BLK_F_CONFIG_WCE))
		return false;
	writeback_set(blk_of(device), *(const uint8_t *)data & 1);
	return true;
}

static uint32_t blk_generation(struct gd_class_device *device)
{
	struct gd_blk *blk = blk_of(device);
	uint32_t generation;

	pthread_mutex_lock(&blk->lock);
	generation = blk->generation;
	pthread_mutex_unlock(&blk->lock);
	return generation;
}

/* Note that the disk has `bytes` bytes now. True: the capacity has changed. */
static bool resize(struct gd_blk *blk, uint64_t bytes)
{
	bool changed;

	bytes -= bytes % blk->info.block_size;
	pthread_mutex_lock(&blk->lock);
	changed = bytes / SECTOR != blk->config.capacity;
	if (changed) {
		blk->config.capacity = bytes / SECTOR;
		blk->generation++;
		__atomic_store_n(&blk->size, bytes, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&blk->lock);
	return changed;
}

static bool blk_refresh(struct gd_class_device *device)
{
	struct gd_blk *blk = blk_of(device);
	struct gd_disk_info info;

	if (!gd_disk_refresh(blk->disk))
		return false;
	gd_disk_info(blk->disk, &info);
	if (!resize(blk, info.size))
		return false;
	gd_log(device->config.log, GD_NOTICE, "size is now %llu bytes", (unsigned long long)info.size);
	return true;
}

static bool blk_fenced(const struct gd_class_device *device)
{
	return ((const struct gd_blk *)device)->info.fenced;
}

static void blk_save(const struct gd_class_device *device, void *state)
{
	const struct gd_blk *blk = (const struct gd_blk *)device;
	struct blk_state s = {.writeback = gd_blk_writeback(blk), .block_size = blk->info.block_size};

	memcpy(state, &s, sizeof(s));
}

/* A driver reads the block size only once, and virtio 1.2 has no way to tell it of a change: so refuse another size. */
static int blk_load(struct gd_class_device *device, const void *state, bool driven)
{
	uint32_t block_size = blk_of(device)->info.block_size;
	struct blk_state s;

	memcpy(&s, state, sizeof(s));
	if (driven && s.block_size && s.block_size != block_size) {
		gd_log(device->config.log, GD_WARN,
		       "the image has blocks of %u bytes now, and its driver knows blocks of %u", block_size,
		       s.block_size);
		return -EINVAL;
	}
	writeback_set(blk_of(device), s.writeback);
	return 0;
}

static const struct gd_class_ops blk_ops = {
	.id = GIO_VIRTIO_ID_BLOCK,
	.state_bytes = sizeof(struct blk_state),
	.batch = GD_SERVE_BATCH,
	.config_bytes = sizeof(struct gio_virtio_blk_config),
	.changes = {0, sizeof(uint64_t)}, /* the capacity */
	.failure = "cannot get its way to the disk",
	.close = blk_close,
	.reset = blk_reset,
	.negotiated = blk_negotiated,
	.config_read = blk_config_read,
	.config_write = blk_config_write,
	.generation = blk_generation,
	.refresh = blk_refresh,
	.fenced = blk_fenced,
	.save = blk_save,
	.load = blk_load,
	.queue_open = gd_serve_open,
	.queue_close = gd_serve_close,
	.queue_start = gd_serve_start,
	.queue_stop = gd_serve_stop,
	.pool = gd_serve_pool,
	.take = gd_serve_take,
	.finish = gd_serve_finish,
	.cqe = gd_serve_cqe,
	.events = gd_serve_events,
	.cancel = gd_serve_cancel,
	.flush = gd_serve_flush,
};
