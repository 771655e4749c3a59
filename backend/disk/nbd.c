/* SPDX-License-Identifier: MIT */
/* The opening of an NBD export as a disk: it takes what the server tells of it, or refuses it. */
#include "backend/disk/nbd.h"

#include <errno.h>
#include <stdlib.h>

#include "backend/base/clock.h"

static int blocks_describe(struct gd_disk_info *info, const struct gd_disk_opening *opening,
			   const struct gd_nbd_abilities *can)
{
	uint64_t best = can->best;

	if (can->least > 65536 || can->least & (can->least - 1))
		return gd_disk_refuse(opening, -EINVAL, "minimum block size %u is not a power of two up to 65536",
				      can->least);
	info->block_size = can->least > 512 ? can->least : 512;
	info->physical_size = info->block_size;
	if (best > info->block_size && best <= 65536 && !(best & (best - 1)))
		info->physical_size = (uint32_t)best;
	if (!can->payload)
		return gd_disk_refuse(opening, -EINVAL, "maximum block size %llu is less than one block of %u",
				      (unsigned long long)can->most, info->block_size);
	info->max_transfer = can->payload;
	return 0;
}

static int size_describe(struct gd_nbd_disk *disk, const struct gd_disk_opening *opening, int64_t size)
{
	struct gd_disk_info *info = &disk->disk.info;
	uint64_t odd;

	if (size < 0)
		return gd_disk_refuse(opening, -EIO, "the server does not say the size");
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

static int disk_describe(struct gd_nbd_disk *disk, const struct gd_disk_opening *opening,
			 const struct gd_nbd_abilities *can)
{
	struct gd_disk_info *info = &disk->disk.info;
	int result;

	info->readonly = can->readonly;
	if (info->readonly && !opening->config->readonly)
		return gd_disk_refuse(opening, -EROFS, "cannot open for writing: the export is read-only");
	result = blocks_describe(info, opening, can);
	if (!result)
		result = size_describe(disk, opening, can->size);
	if (result)
		return result;
	info->flush = can->flush;
	info->multi_queue = can->multi_conn;
	info->align = 1;
	info->max_discard = can->trim ? GD_DISK_MAX_DISCARD : 0;
	info->discard_align = info->physical_size;
	info->max_write_zeroes = GD_DISK_MAX_DISCARD;
	gd_disk_serial(info, opening->config->target);
	return 0;
}

/* Find the server, and connect. -ENOTCONN: it is not there, whatever else `why` says of it. */
static int first_connect(struct gd_nbd_disk *disk, char *why, size_t size)
{
	uint64_t until = gd_clock_ms() + GD_NBD_FIRST_MS, now;
	int result = gd_nbd_server_resolve(&disk->server, GD_NBD_FIRST_MS / 2, why, size);

	now = gd_clock_ms();
	if (!result)
		result = gd_nbd_connect(&disk->spare, &disk->server, (unsigned)(until > now ? until - now : 1), why,
					size);
	return result && result != -ENOMEM ? -ENOTCONN : result;
}

int gd_nbd_open(struct gd_disk **out, const struct gd_disk_opening *opening)
{
	struct gd_nbd_disk *disk = calloc(1, sizeof(*disk));
	char why[256] = "";
	int result;

	if (!disk)
		return gd_disk_refuse(opening, -ENOMEM, "%s", gd_log_errno(ENOMEM));
	disk->doubt = &disk->doubt_own;
	disk->spare.fd = -1;
	disk->open_until = gd_clock_ms() + GD_NBD_CONNECT_MS;
	disk->timeout_ms = opening->config->nbd_timeout_ms;
	disk->reconnect_ms = opening->config->nbd_reconnect_ms;
	disk->silent_ms = opening->config->nbd_silent_ms;
	result = gd_nbd_uri_parse(&disk->server, opening->config->target, why, sizeof(why));
	if (!result)
		result = gd_nbd_allowed(&disk->server, opening->config->nbd_allow, why, sizeof(why));
	if (!result)
		result = first_connect(disk, why, sizeof(why));
	if (result) {
		gd_disk_refuse(opening, result, "%s", why);
		goto close_server;
	}
	result = disk_describe(disk, opening, &disk->spare.can);
	if (result)
		goto end_link;
	pthread_mutex_init(&disk->lock, NULL); /* cannot fail with default attributes */
	disk->disk.engine = &gd_nbd_engine;
	*out = &disk->disk;
	return 0;

end_link:
	gd_nbd_link_end(&disk->spare, true);
close_server:
	gd_nbd_server_close(&disk->server);
	free(disk);
	return result;
}
