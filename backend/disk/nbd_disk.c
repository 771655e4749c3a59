/* SPDX-License-Identifier: MIT */
/* An NBD disk that is open: the connection that no queue uses, and its size. */
#include "backend/base/clock.h"
#include "backend/disk/nbd.h"

#include <stdlib.h>

static struct gd_nbd_disk *disk_of(struct gd_disk *disk)
{
	return (struct gd_nbd_disk *)disk;
}

struct gd_nbd_link gd_nbd_spare_take(struct gd_nbd_disk *disk)
{
	struct gd_nbd_link link;

	pthread_mutex_lock(&disk->lock);
	link = disk->spare;
	disk->spare.fd = -1;
	pthread_mutex_unlock(&disk->lock);
	if (link.fd >= 0 && !gd_nbd_link_alive(&link))
		gd_nbd_link_end(&link, false);
	return link;
}

void gd_nbd_spare_put(struct gd_nbd_disk *disk, struct gd_nbd_link *link)
{
	pthread_mutex_lock(&disk->lock);
	if (disk->spare.fd < 0) {
		disk->spare = *link;
		link->fd = -1;
	}
	pthread_mutex_unlock(&disk->lock);
	gd_nbd_link_end(link, true);
}

uint64_t gd_nbd_measure(struct gd_disk *disk)
{
	uint64_t latest = __atomic_load_n(&disk_of(disk)->latest, __ATOMIC_RELAXED);

	return latest & ~(uint64_t)(disk->info.block_size - 1);
}

void gd_nbd_disk_close(struct gd_disk *base)
{
	struct gd_nbd_disk *disk = disk_of(base);

	gd_nbd_link_end(&disk->spare, true);
	pthread_mutex_destroy(&disk->lock);
	gd_nbd_server_close(&disk->server);
	free(disk);
}

unsigned gd_nbd_queue_ms(const struct gd_nbd_disk *disk)
{
	uint64_t now = gd_clock_ms();

	return now < disk->open_until ? (unsigned)(disk->open_until - now) : GD_NBD_LATER_MS;
}
