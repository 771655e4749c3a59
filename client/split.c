/* SPDX-License-Identifier: MIT */
/*
 * How a transfer is cut into requests. Limits come from the device, and a hostile one may state any: they are bounded
 * here once.
 */
#include "split.h"

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Descriptors for data: the chain's header and status take two, and a chain must fit in the ring. */
static unsigned segments_most(const struct gio_blk_info *info)
{
	unsigned ring = info->queue_size > 2 ? info->queue_size - 2 : 0;

	/* seg_max 0: VIRTIO_BLK_F_SEG_MAX was not offered, and one segment is what any device takes (virtio 1.2, 5.2.4)
	 */
	return min_u32(info->seg_max ? info->seg_max : 1, ring);
}

/* `sectors` as bytes in whole blocks; cannot overflow, a 32-bit count times 512. */
static uint64_t whole_blocks(uint32_t sectors, uint32_t block)
{
	uint64_t bytes = (uint64_t)sectors * GIO_BLK_SECTOR;

	return bytes - bytes % block;
}

/* With a pool: bytes of a request whose segments are as long as they may be. Each segment takes whole pages of it. */
static uint64_t pooled_most(const struct gp_limits *limits, uint32_t pages_max)
{
	uint32_t pages = (limits->segment + GIO_PAGE_SIZE - 1) / GIO_PAGE_SIZE;

	return (uint64_t)(pages_max / pages) * limits->segment;
}

int gp_limits_init(struct gp_limits *limits, const struct gio_blk_info *info)
{
	uint64_t most;

	limits->block = info->block_size ? info->block_size : GIO_BLK_SECTOR;
	if (limits->block % GIO_BLK_SECTOR || limits->block > GP_CHUNK_BYTES)
		return -GIO_ERANGE;
	limits->segment = min_u32(info->size_max ? info->size_max : GP_CHUNK_BYTES, GP_CHUNK_BYTES);
	most = (uint64_t)limits->segment * segments_most(info);
	if (info->pages_max && pooled_most(limits, info->pages_max) < most)
		most = pooled_most(limits, info->pages_max);
	limits->request = most < GP_CHUNK_BYTES ? (uint32_t)most : GP_CHUNK_BYTES;
	limits->request -= limits->request % limits->block;
	if (!limits->request)
		return -GIO_ERANGE;
	limits->segments = (limits->request + limits->segment - 1) / limits->segment;
	limits->discard = whole_blocks(info->max_discard, limits->block);
	limits->zero = whole_blocks(info->max_write_zeroes, limits->block);
	return 0;
}

/* `sg` has room for limits->segments, which gp_limits_init() has reckoned for the longest request. */
unsigned gp_limits_segments(const struct gp_limits *limits, void *buf, size_t len, struct gio_sg *sg)
{
	unsigned n = 0;
	uint8_t *p = buf;

	while (len) {
		size_t part = len < limits->segment ? len : limits->segment;

		sg[n].va = p;
		sg[n].len = part;
		n++;
		p += part;
		len -= part;
	}
	return n;
}

/* Written so that no sum can overflow, whatever the caller asks for. */
int gp_limits_range(const struct gp_limits *limits, uint64_t size, uint64_t offset, uint64_t bytes)
{
	if (offset % limits->block || bytes % limits->block)
		return -GIO_EINVAL;
	return offset > size || bytes > size - offset ? -GIO_EINVAL : 0;
}
