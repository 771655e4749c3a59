/* SPDX-License-Identifier: MIT */
/* What a request means: it is checked, and becomes I/O of the disk. */
#include "backend/blk/request.h"

#include <string.h>

#include "backend/blk/blk.h"

#define SECTOR GIO_VIRTIO_BLK_SECTOR

/* End a request without the disk. */
static bool request_end(struct gd_request *r, uint8_t status)
{
	r->status = status;
	r->push = 0;
	return false;
}

/* Set the byte range of `sectors` at `sector`. False: it is not on the disk, or not on block boundaries. */
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
	/* The data goes in one direction only. A write has no device-writable byte but the status. */
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

/* False: a range has a flag that is unknown for this type, and so the whole request is not supported (5.2.6.2). */
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

/* Prepare range `step`. `data` is our copy, and so it is what was checked before. */
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

	if (!(blk->base.features & feature))
		return request_end(r, GIO_VIRTIO_BLK_S_UNSUPP);
	if (r->writable || count == 0 || count > GD_BLK_RANGES || r->length % sizeof(struct gio_virtio_blk_range))
		return request_end(r, GIO_VIRTIO_BLK_S_IOERR);
	if (!ranges_supported(r, count, zeroes))
		return request_end(r, GIO_VIRTIO_BLK_S_UNSUPP);
	/* All ranges are checked before the first one is done. */
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
		/* It was checked at the start: if it is false now, the disk has shrunk since. */
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
