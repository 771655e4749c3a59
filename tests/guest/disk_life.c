/* SPDX-License-Identifier: MIT */
/* What happens to a disk while it is open: it grows, references run out, its backend keeps what it was lent. */
#include "guest.h"

#include <string.h>

#define MIB    (1u << 20)
#define BUFFER 2u

static void resize(struct disk *disk, uint8_t *buffer)
{
	struct gio_blk_info info;
	int ret;

	disk->config_changes = 0;
	gio_xen_print("resize: %d", peer_ask("resize", 6 * MIB, 0, 0, NULL));
	ret = disk_wait(disk, &disk->config_changes);
	gio_blk_info(disk->blk, &info);
	gio_xen_print(", told %d, capacity %llu", ret, (unsigned long long)info.capacity);
	gio_xen_print(", read %d\n", disk_request(disk, GIO_BLK_READ, info.capacity - 8, buffer, 4096));
	disk->config_changes = 0;
	gio_xen_print("and back: %d", peer_ask("resize", 4 * MIB, 0, 0, NULL));
	ret = disk_wait(disk, &disk->config_changes);
	gio_blk_info(disk->blk, &info);
	gio_xen_print(", told %d, capacity %llu\n", ret, (unsigned long long)info.capacity);
}

/* Take every reference there is: the disk's requests find none, until they are back. */
static void references_out(struct world *world, struct disk *disk, uint8_t *buffer)
{
	static const uint32_t steps[] = {4096, 256, 16, 1};
	struct {
		gio_gref_t first;
		uint32_t count;
	} *runs = gio_os_pages_alloc(gio_xen_os(), 1);
	struct gio_grants_stats stats;
	unsigned n = 0, most = GIO_PAGE_SIZE / sizeof(*runs);
	int ret = 0;

	for (unsigned s = 0; s < COUNT(steps); s++) {
		do {
			ret = gio_grants_alloc(world->grants, steps[s], &runs[n].first);
			if (!ret)
				runs[n++].count = steps[s];
		} while (!ret && n < most);
	}
	gio_grants_stats(world->grants, &stats);
	gio_xen_print("references: %d, of %u all but %u", ret, stats.entries, stats.entries - stats.used);
	gio_xen_print(", request %d", disk_request(disk, GIO_BLK_READ, 8, buffer, 4096));
	gio_xen_print(", flush %d", disk_request(disk, GIO_BLK_FLUSH, 0, NULL, 0));
	while (n--)
		gio_grants_free(world->grants, runs[n].first, runs[n].count);
	gio_xen_print(", and back %d\n", disk_request(disk, GIO_BLK_READ, 8, buffer, 4096));
	gio_os_pages_free(gio_xen_os(), runs, 1);
}

/* A buffer's grant that somebody in the backend's domain has mapped when it is ended. */
static void held(struct world *world, struct disk *disk, uint8_t *buffer)
{
	struct gio_dma dma;
	struct gio_dma_stats stats;
	struct gio_grants_stats grants;
	uint8_t *lent = gio_os_pages_alloc(gio_xen_os(), 1);
	size_t pages = gio_xen_pages_used();
	gio_dma_t addr = 0;
	int data = 0, ret = gio_dma_init(&dma, gio_xen_os(), world->grants, world->rw.domid, UINT64_MAX);

	lent[100] = 42;
	if (!ret)
		ret = gio_dma_map(&dma, lent, GIO_PAGE_SIZE, GIO_DMA_FROM_DEVICE, &addr);
	gio_xen_print("held: map %d", ret);
	gio_xen_print(", peer %d", peer_ask("map", (unsigned)(addr >> GIO_PAGE_SHIFT), 1, 1, NULL));
	gio_dma_unmap(&dma, addr, GIO_PAGE_SIZE);
	gio_dma_stats(&dma, &stats);
	gio_os_pages_free(gio_xen_os(), lent, 1);
	gio_xen_print(", quarantined %u, pages back %u", (unsigned)stats.quarantined,
		      (unsigned)(pages - gio_xen_pages_used()));
	gio_xen_print(", request %d", disk_request(disk, GIO_BLK_READ, 8, buffer, 4096));
	ret = peer_ask("peek", 100, 0, 0, &data);
	gio_xen_print(", peer reads %d %d", ret, data);
	gio_xen_print(", lets go %d", peer_ask("unmap", 0, 0, 0, NULL));
	gio_xen_print(", left %u", gio_grants_reap(world->grants));
	gio_grants_stats(world->grants, &grants);
	gio_xen_print(", in quarantine %u, pages back %u\n", grants.quarantined,
		      (unsigned)(pages - gio_xen_pages_used()));
}

void disk_life_run(struct world *world)
{
	uint8_t *buffer = gio_os_pages_alloc(gio_xen_os(), BUFFER);
	struct disk disk;
	int ret;

	for (unsigned round = 0; round < 3; round++) {
		ret = disk_open(&disk, world, &world->rw, false, true);
		gio_xen_print("- opened again: %d", ret);
		if (ret)
			break;
		gio_xen_print(", read %d\n", disk_request(&disk, GIO_BLK_READ, 0, buffer, 4096));
		disk_close(&disk);
	}
	ret = disk_open(&disk, world, &world->rw, false, true);
	gio_xen_print("- the disk's life: %d\n", ret);
	if (!ret) {
		resize(&disk, buffer);
		references_out(world, &disk, buffer);
		held(world, &disk, buffer);
		disk_close(&disk);
	}
	gio_os_pages_free(gio_xen_os(), buffer, BUFFER);
}
