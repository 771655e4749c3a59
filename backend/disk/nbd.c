/* SPDX-License-Identifier: MIT */
/* An NBD export as a disk: what the server tells of it, and the connection that no queue uses. */
#include "backend/disk/nbd.h"

#include <errno.h>
#include <stdlib.h>

#include "backend/base/clock.h"

#define PAYLOAD_MAX \
	(32u << 20) /* longest request that every server takes (the NBD protocol, "Block size constraints") */

static struct gd_nbd_disk *disk_of(struct gd_disk *disk)
{
	return (struct gd_nbd_disk *)disk;
}

struct nbd_handle *gd_nbd_spare_take(struct gd_nbd_disk *disk)
{
	struct nbd_handle *handle;

	pthread_mutex_lock(&disk->lock);
	handle = disk->spare;
	disk->spare = NULL;
	pthread_mutex_unlock(&disk->lock);
	if (handle && !gd_nbd_alive(handle)) {
		nbd_close(handle);
		handle = NULL;
	}
	return handle;
}

void gd_nbd_spare_put(struct gd_nbd_disk *disk, struct nbd_handle *handle)
{
	pthread_mutex_lock(&disk->lock);
	if (!disk->spare) {
		disk->spare = handle;
		handle = NULL;
	}
	pthread_mutex_unlock(&disk->lock);
	gd_nbd_end(handle);
}

uint64_t gd_nbd_measure(struct gd_disk *disk)
{
	uint64_t latest = __atomic_load_n(&disk_of(disk)->latest, __ATOMIC_RELAXED);

	return latest & ~(uint64_t)(disk->info.block_size - 1);
}

void gd_nbd_disk_close(struct gd_disk *base)
{
	struct gd_nbd_disk *disk = disk_of(base);

	gd_nbd_end(disk->spare);
	pthread_mutex_destroy(&disk->lock);
	gd_nbd_server_close(&disk->server);
	free(disk);
}

/* A block size that the server tells, 0 if it does not. */
static uint64_t size_told(struct nbd_handle *handle, int which)
{
	int64_t size = nbd_get_block_size(handle, which);

	return size > 0 ? (uint64_t)size : 0;
}

void gd_nbd_abilities_ask(struct nbd_handle *handle, struct gd_nbd_abilities *can)
{
	uint64_t least = size_told(handle, LIBNBD_SIZE_MINIMUM), most = size_told(handle, LIBNBD_SIZE_MAXIMUM);

	can->flush = nbd_can_flush(handle) > 0;
	can->fua = nbd_can_fua(handle) > 0;
	can->zero = nbd_can_zero(handle) > 0;
	can->trim = nbd_can_trim(handle) > 0;
	can->multi_conn = nbd_can_multi_conn(handle) > 0;
	can->least = least < UINT32_MAX ? (uint32_t)least : UINT32_MAX;
	if (!most || most > PAYLOAD_MAX)
		most = PAYLOAD_MAX;
	can->payload = (uint32_t)most & ~((least > 512 && least <= 65536 ? (uint32_t)least : 512) - 1);
}

unsigned gd_nbd_queue_ms(const struct gd_nbd_disk *disk)
{
	uint64_t now = gd_clock_ms();

	return now < disk->open_until ? (unsigned)(disk->open_until - now) : GD_NBD_LATER_MS;
}

static int blocks_describe(struct gd_disk_info *info, const struct gd_disk_opening *opening, struct nbd_handle *handle,
			   const struct gd_nbd_abilities *can)
{
	uint64_t best = size_told(handle, LIBNBD_SIZE_PREFERRED);

	if (can->least > 65536 || can->least & (can->least - 1))
		return gd_disk_refuse(opening, -EINVAL, "minimum block size %u is not a power of two up to 65536",
				      can->least);
	info->block_size = can->least > 512 ? can->least : 512;
	info->physical_size = info->block_size;
	if (best > info->block_size && best <= 65536 && !(best & (best - 1)))
		info->physical_size = (uint32_t)best;
	if (!can->payload)
		return gd_disk_refuse(opening, -EINVAL, "maximum block size %llu is less than one block of %u",
				      (unsigned long long)size_told(handle, LIBNBD_SIZE_MAXIMUM), info->block_size);
	info->max_transfer = can->payload;
	return 0;
}

static int size_describe(struct gd_nbd_disk *disk, const struct gd_disk_opening *opening, struct nbd_handle *handle)
{
	struct gd_disk_info *info = &disk->disk.info;
	int64_t size = nbd_get_size(handle);
	uint64_t odd;

	if (size < 0)
		return gd_disk_refuse(opening, -EIO, "the server does not tell the size");
	disk->latest = (uint64_t)size;
	odd = (uint64_t)size & (info->block_size - 1);
	if (odd == (uint64_t)size)
		return gd_disk_refuse(opening, -EINVAL, "size %lld is less than one block of %u", (long long)size,
				      info->block_size);
	if (odd)
		gd_log(opening->log, GD_WARN, "%s: size %lld is not a multiple of %u: the last %llu bytes are left out",
		       opening->config->target, (long long)size, info->block_size, (unsigned long long)odd);
	info->size = (uint64_t)size - odd;
	return 0;
}

static int disk_describe(struct gd_nbd_disk *disk, const struct gd_disk_opening *opening, struct nbd_handle *handle)
{
	struct gd_disk_info *info = &disk->disk.info;
	struct gd_nbd_abilities can;
	int result;

	gd_nbd_abilities_ask(handle, &can);
	info->readonly = nbd_is_read_only(handle) > 0;
	if (info->readonly && !opening->config->readonly)
		return gd_disk_refuse(opening, -EROFS, "cannot open for writing: the export is read-only");
	result = blocks_describe(info, opening, handle, &can);
	if (!result)
		result = size_describe(disk, opening, handle);
	if (result)
		return result;
	info->flush = can.flush;
	info->multi_queue = can.multi_conn;
	info->align = 1;
	info->max_discard = can.trim ? GD_DISK_MAX_DISCARD : 0;
	info->discard_align = info->physical_size;
	info->max_write_zeroes = GD_DISK_MAX_DISCARD;
	gd_disk_serial(info, opening->config->target);
	return 0;
}

int gd_nbd_open(struct gd_disk **out, const struct gd_disk_opening *opening)
{
	struct gd_nbd_disk *disk = calloc(1, sizeof(*disk));
	uint64_t now = gd_clock_ms(), until = now + GD_NBD_FIRST_MS;
	struct nbd_handle *handle;
	char why[256] = "";
	int result;

	if (!disk)
		return gd_disk_refuse(opening, -ENOMEM, "%s", gd_log_errno(ENOMEM));
	disk->open_until = now + GD_NBD_CONNECT_MS;
	disk->timeout_ms = opening->config->nbd_timeout_ms;
	disk->reconnect_ms = opening->config->nbd_reconnect_ms;
	disk->silent_ms = opening->config->nbd_silent_ms;
	result = gd_nbd_uri_parse(&disk->server, opening->config->target, why, sizeof(why));
	if (!result)
		result = gd_nbd_allowed(&disk->server, opening->config->nbd_allow, why, sizeof(why));
	if (!result)
		result = gd_nbd_server_resolve(&disk->server, GD_NBD_FIRST_MS / 2, why, sizeof(why));
	now = gd_clock_ms();
	if (!result)
		result = gd_nbd_connect(&handle, &disk->server, (unsigned)(until > now ? until - now : 1), why,
					sizeof(why));
	if (result) {
		gd_disk_refuse(opening, result, "%s", why);
		goto close_server;
	}
	result = disk_describe(disk, opening, handle);
	if (result)
		goto close_handle;
	pthread_mutex_init(&disk->lock, NULL); /* cannot fail with default attributes */
	disk->spare = handle;
	disk->disk.engine = &gd_nbd_engine;
	*out = &disk->disk;
	return 0;

close_handle:
	gd_nbd_end(handle);
close_server:
	gd_nbd_server_close(&disk->server);
	free(disk);
	return result;
}
