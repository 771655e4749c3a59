/* SPDX-License-Identifier: MIT */
#include "backend/blk/blk.h"

#include <abi/virtio.h>

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define SECTOR GIO_VIRTIO_BLK_SECTOR

/* ---- features and configuration --------------------------------------------------------------------------------- */

static uint64_t features_offered(const struct gd_disk_info *info, const struct gd_blk_config *config)
{
	uint64_t f = GIO_VIRTIO_F_VERSION_1 | GIO_VIRTIO_F_EVENT_IDX | GIO_VIRTIO_BLK_F_SIZE_MAX |
		     GIO_VIRTIO_BLK_F_SEG_MAX | GIO_VIRTIO_BLK_F_BLK_SIZE | GIO_VIRTIO_BLK_F_TOPOLOGY;

	f |= config->features;
	if (config->indirect)
		f |= GIO_VIRTIO_F_INDIRECT_DESC;
	if (config->queues > 1)
		f |= GIO_VIRTIO_BLK_F_MQ;
	if (info->flush)
		f |= GIO_VIRTIO_BLK_F_FLUSH | GIO_VIRTIO_BLK_F_CONFIG_WCE;
	if (info->readonly)
		return f | GIO_VIRTIO_BLK_F_RO;
	if (config->discard && info->max_discard)
		f |= GIO_VIRTIO_BLK_F_DISCARD;
	if (config->discard && info->max_write_zeroes)
		f |= GIO_VIRTIO_BLK_F_WRITE_ZEROES;
	return f;
}

static uint32_t range_sectors(uint64_t bytes, uint32_t block_size)
{
	uint64_t sectors = (bytes - bytes % block_size) / SECTOR;

	return sectors < GD_BLK_RANGE_SECTORS ? (uint32_t)sectors : GD_BLK_RANGE_SECTORS;
}

/* A request never exceeds what the disk takes at once, the chain's bound, or the ring. */
static void limits_fill(struct gio_virtio_blk_config *c, const struct gd_disk_info *info, unsigned queue_size)
{
	uint64_t most = info->max_transfer ? info->max_transfer : UINT64_MAX;
	uint32_t ring = queue_size > 3 ? queue_size - 2 : 1;

	c->size_max = most < GD_BLK_SIZE_MAX ? (uint32_t)most : GD_BLK_SIZE_MAX;
	c->seg_max =
		most / c->size_max < GD_CHAIN_DATA_SEGMENTS ? (uint32_t)(most / c->size_max) : GD_CHAIN_DATA_SEGMENTS;
	if (c->seg_max > ring)
		c->seg_max = ring;
}

static void config_fill(struct gd_blk *blk, const struct gd_blk_config *config)
{
	const struct gd_disk_info *info = &blk->info;
	struct gio_virtio_blk_config *c = &blk->config;
	uint32_t physical = info->physical_size > info->block_size ? info->physical_size / info->block_size : 1;

	c->capacity = blk->size / SECTOR;
	limits_fill(c, info, config->queue_size);
	c->blk_size = info->block_size;
	c->physical_block_exp = (uint8_t)(31 - __builtin_clz(physical));
	c->min_io_size = (uint16_t)(physical <= UINT16_MAX ? physical : 1);
	c->opt_io_size = 0; /* none better than others */
	c->num_queues = (uint16_t)config->queues;
	if (blk->features & GIO_VIRTIO_BLK_F_DISCARD) {
		c->max_discard_sectors = range_sectors(info->max_discard, info->block_size);
		c->max_discard_seg = GD_BLK_RANGES;
		c->discard_sector_alignment = info->discard_align > SECTOR ? info->discard_align / SECTOR : 1;
	}
	if (blk->features & GIO_VIRTIO_BLK_F_WRITE_ZEROES) {
		c->max_write_zeroes_sectors = range_sectors(info->max_write_zeroes, info->block_size);
		c->max_write_zeroes_seg = GD_BLK_RANGES;
		c->write_zeroes_may_unmap = 1;
	}
}

/*
 * A successor of this process serves the same driver, perhaps with another size, and perhaps between two reads of the
 * driver: its generation must not be ours (4.2.2.1). Begun anywhere, it is not.
 */
static uint32_t generation_first(void)
{
	uint32_t value;

	return getrandom(&value, sizeof(value), GRND_NONBLOCK) == sizeof(value) ? value : (uint32_t)time(NULL);
}

int gd_blk_init(struct gd_blk *blk, const struct gd_disk_info *info, const struct gd_blk_config *config)
{
	if (info->block_size < SECTOR || info->block_size % SECTOR || (info->block_size & (info->block_size - 1)))
		return -EINVAL;
	if (info->max_transfer && info->max_transfer < info->block_size)
		return -EINVAL;
	*blk = (struct gd_blk){
		.info = *info, .writeback_first = config->writeback && info->flush, .generation = generation_first()};
	blk->size = info->size - info->size % info->block_size;
	blk->features = features_offered(info, config);
	config_fill(blk, config);
	gd_blk_reset(blk);
	return -pthread_mutex_init(&blk->lock, NULL);
}

void gd_blk_exit(struct gd_blk *blk)
{
	pthread_mutex_destroy(&blk->lock);
}

bool gd_blk_writeback(const struct gd_blk *blk)
{
	return __atomic_load_n(&blk->writeback, __ATOMIC_RELAXED);
}

void gd_blk_writeback_set(struct gd_blk *blk, bool writeback)
{
	__atomic_store_n(&blk->writeback, writeback, __ATOMIC_RELAXED);
}

void gd_blk_reset(struct gd_blk *blk)
{
	gd_blk_writeback_set(blk, blk->writeback_first);
}

void gd_blk_negotiated(struct gd_blk *blk, uint64_t features)
{
	/* A driver that cannot flush keeps its data by writethrough only, whether or not it may change the mode. */
	if (!(features & GIO_VIRTIO_BLK_F_FLUSH))
		gd_blk_writeback_set(blk, false);
}

void gd_blk_config_read(struct gd_blk *blk, uint64_t offset, void *data, size_t length)
{
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

void gd_blk_config_write(struct gd_blk *blk, uint64_t offset, const void *data, size_t length, uint64_t features)
{
	if (offset != offsetof(struct gio_virtio_blk_config, writeback) || length != 1)
		return;
	if (features & GIO_VIRTIO_BLK_F_CONFIG_WCE)
		gd_blk_writeback_set(blk, *(const uint8_t *)data & 1);
}

uint32_t gd_blk_generation(struct gd_blk *blk)
{
	uint32_t generation;

	pthread_mutex_lock(&blk->lock);
	generation = blk->generation;
	pthread_mutex_unlock(&blk->lock);
	return generation;
}

bool gd_blk_resize(struct gd_blk *blk, uint64_t bytes)
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

/* ---- requests --------------------------------------------------------------------------------------------------- */

/* Over, without the disk. */
static bool request_end(struct gd_request *r, uint8_t status)
{
	r->status = status;
	r->push = 0;
	return false;
}

/* The byte range of `sectors` at `sector`, if it lies on the disk and on block boundaries. */
static bool range_set(const struct gd_blk *blk, struct gd_disk_io *io, uint64_t sector, uint64_t length)
{
	uint64_t size = __atomic_load_n(&blk->size, __ATOMIC_RELAXED);

	if (sector > size / SECTOR || length > size - sector * SECTOR)
		return false;
	io->offset = sector * SECTOR;
	io->length = length;
	return io->offset % blk->info.block_size == 0 && length % blk->info.block_size == 0;
}

static bool writethrough(const struct gd_blk *blk)
{
	return blk->info.flush && !gd_blk_writeback(blk);
}

static bool start_transfer(struct gd_blk *blk, struct gd_request *r, bool write)
{
	/* The data goes one way only; a write needs a disk that takes it, and no device-writable bytes but the status.
	 */
	if (r->length > 0 && r->writable == write)
		return request_end(r, GIO_VIRTIO_BLK_S_IOERR);
	if (write && blk->info.readonly)
		return request_end(r, GIO_VIRTIO_BLK_S_IOERR);
	if (!range_set(blk, &r->io, r->header.sector, r->length))
		return request_end(r, GIO_VIRTIO_BLK_S_IOERR);
	if (r->length == 0)
		return request_end(r, GIO_VIRTIO_BLK_S_OK);
	r->io.op = write ? GD_DISK_WRITE : GD_DISK_READ;
	r->io.buf = r->data;
	r->io.fua = write && writethrough(blk);
	return true;
}

static bool start_flush(struct gd_blk *blk, struct gd_request *r)
{
	if (r->length > 0)
		return request_end(r, GIO_VIRTIO_BLK_S_IOERR);
	if (!blk->info.flush)
		return request_end(r, GIO_VIRTIO_BLK_S_UNSUPP);
	r->io.op = GD_DISK_FLUSH;
	return true;
}

static bool start_get_id(const struct gd_blk *blk, struct gd_request *r)
{
	if (r->length == 0 || !r->writable)
		return request_end(r, GIO_VIRTIO_BLK_S_IOERR);
	r->status = GIO_VIRTIO_BLK_S_OK;
	r->push = r->length < GIO_VIRTIO_BLK_ID_BYTES ? r->length : GIO_VIRTIO_BLK_ID_BYTES;
	memset(r->data, 0, r->push);
	memcpy(r->data, blk->info.serial, strnlen(blk->info.serial, r->push));
	return false;
}

/* A flag that is unknown for this type in any of the ranges makes the whole request unsupported (5.2.6.2). */
static bool ranges_supported(const struct gd_request *r, uint32_t count, bool zeroes)
{
	const struct gio_virtio_blk_range *ranges = (const struct gio_virtio_blk_range *)r->data;
	uint32_t unknown = ~(zeroes ? GIO_VIRTIO_BLK_RANGE_F_UNMAP : 0u);

	for (uint32_t i = 0; i < count; i++)
		if (ranges[i].flags & unknown)
			return false;
	return true;
}

static bool range_length_valid(const struct gd_blk *blk, const struct gio_virtio_blk_range *range, bool zeroes)
{
	uint32_t most = zeroes ? blk->config.max_write_zeroes_sectors : blk->config.max_discard_sectors;

	return range->num_sectors > 0 && range->num_sectors <= most;
}

/* Prepare range `step`; `data` is our copy, so that what was checked before is what is done. */
static bool range_prepare(const struct gd_blk *blk, struct gd_request *r)
{
	const struct gio_virtio_blk_range *range = (const struct gio_virtio_blk_range *)r->data + r->step;

	r->io = (struct gd_disk_io){.op = r->header.type == GIO_VIRTIO_BLK_T_DISCARD ? GD_DISK_DISCARD
										     : GD_DISK_WRITE_ZEROES,
				    .unmap = range->flags & GIO_VIRTIO_BLK_RANGE_F_UNMAP};
	return range_set(blk, &r->io, range->sector, (uint64_t)range->num_sectors * SECTOR);
}

static bool start_ranges(struct gd_blk *blk, struct gd_request *r, uint64_t feature)
{
	bool zeroes = feature == GIO_VIRTIO_BLK_F_WRITE_ZEROES;
	uint32_t count = r->length / (uint32_t)sizeof(struct gio_virtio_blk_range);

	if (!(blk->features & feature))
		return request_end(r, GIO_VIRTIO_BLK_S_UNSUPP);
	if (r->writable || count == 0 || count > GD_BLK_RANGES || r->length % sizeof(struct gio_virtio_blk_range))
		return request_end(r, GIO_VIRTIO_BLK_S_IOERR);
	if (!ranges_supported(r, count, zeroes))
		return request_end(r, GIO_VIRTIO_BLK_S_UNSUPP);
	/* All are looked at before the first is done. */
	for (r->step = 0; r->step < count; r->step++)
		if (!range_length_valid(blk, (const struct gio_virtio_blk_range *)r->data + r->step, zeroes) ||
		    !range_prepare(blk, r))
			return request_end(r, GIO_VIRTIO_BLK_S_IOERR);
	r->steps = count;
	r->step = 0;
	r->flush_last = zeroes && writethrough(blk);
	return range_prepare(blk, r);
}

bool gd_blk_start(struct gd_blk *blk, struct gd_request *r)
{
	r->io = (struct gd_disk_io){0};
	r->step = 0;
	r->steps = 1;
	r->flush_last = false;
	switch (r->header.type) {
	case GIO_VIRTIO_BLK_T_IN:
		return start_transfer(blk, r, false);
	case GIO_VIRTIO_BLK_T_OUT:
		return start_transfer(blk, r, true);
	case GIO_VIRTIO_BLK_T_FLUSH:
		return start_flush(blk, r);
	case GIO_VIRTIO_BLK_T_GET_ID:
		return start_get_id(blk, r);
	case GIO_VIRTIO_BLK_T_DISCARD:
		return start_ranges(blk, r, GIO_VIRTIO_BLK_F_DISCARD);
	case GIO_VIRTIO_BLK_T_WRITE_ZEROES:
		return start_ranges(blk, r, GIO_VIRTIO_BLK_F_WRITE_ZEROES);
	default:
		return request_end(r, GIO_VIRTIO_BLK_S_UNSUPP);
	}
}

bool gd_blk_next(struct gd_blk *blk, struct gd_request *r)
{
	if (r->io.result < 0)
		return request_end(r, r->io.result == -EOPNOTSUPP ? GIO_VIRTIO_BLK_S_UNSUPP : GIO_VIRTIO_BLK_S_IOERR);
	if (++r->step < r->steps) {
		/* Checked at the start; false now means that the disk has shrunk since. */
		return range_prepare(blk, r) || request_end(r, GIO_VIRTIO_BLK_S_IOERR);
	}
	if (r->flush_last) {
		r->flush_last = false;
		r->io = (struct gd_disk_io){.op = GD_DISK_FLUSH};
		return true;
	}
	request_end(r, GIO_VIRTIO_BLK_S_OK);
	if (r->header.type == GIO_VIRTIO_BLK_T_IN)
		r->push = r->length;
	return false;
}
