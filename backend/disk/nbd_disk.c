/* SPDX-License-Identifier: MIT */
/* An NBD disk that is open: the connection that no queue uses, its size, and what its server can do. */
#include "backend/base/clock.h"
#include "backend/disk/nbd.h"

#include <stdlib.h>

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

uint64_t gd_nbd_size_told(struct nbd_handle *handle, int which)
{
	int64_t size = nbd_get_block_size(handle, which);

	return size > 0 ? (uint64_t)size : 0;
}

void gd_nbd_abilities_ask(struct nbd_handle *handle, struct gd_nbd_abilities *can)
{
	uint64_t least = gd_nbd_size_told(handle, LIBNBD_SIZE_MINIMUM),
		 most = gd_nbd_size_told(handle, LIBNBD_SIZE_MAXIMUM);

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
