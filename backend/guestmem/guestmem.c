/* SPDX-License-Identifier: MIT */
#include "backend/guestmem/guestmem.h"

#include <errno.h>
#include <stdlib.h>

#include <abi/dma_addr.h>

#include "backend/guestmem/way.h"

#define ADDRESS_BYTES (UINT64_C(1) << 44) /* 2^32 pages of 4 KiB, from the way's base on */

uint64_t gd_way_features(const struct gd_way *way)
{
	return way->features;
}

int gd_guestmem_open(struct gd_guestmem **out, uint16_t domid, const struct gd_way *way)
{
	struct gd_guestmem *mem = calloc(1, way->bytes);
	int err;

	if (!mem)
		return -ENOMEM;
	*mem = (struct gd_guestmem){.way = way, .domid = domid};
	err = way->open(mem);
	if (err) {
		free(mem);
		return err;
	}
	*out = mem;
	return 0;
}

void gd_guestmem_close(struct gd_guestmem *mem)
{
	if (!mem)
		return;
	mem->way->close(mem);
	free(mem);
}

bool gd_guestmem_range_valid(const struct gd_way *way, gio_dma_t addr, uint64_t length)
{
	uint64_t pages;

	/* The first test also keeps gio_dma_pages() from overflowing: addresses end long before 2^63 bytes. */
	if (length == 0 || length > ADDRESS_BYTES)
		return false;
	/* All bits above the page number are those of the base. */
	if ((addr ^ way->base) >= ADDRESS_BYTES)
		return false;
	pages = gio_dma_pages(gio_dma_addr_offset(addr), length);
	return (uint64_t)gio_dma_addr_gref(addr) + pages - 1 <= UINT32_MAX;
}

int gd_guestmem_map(struct gd_guestmem *mem, gio_dma_t addr, uint64_t length, enum gd_access access,
		    struct gd_guestmap *map)
{
	uint64_t pages;
	int err;

	*map = (struct gd_guestmap){0};
	if (!gd_guestmem_range_valid(mem->way, addr, length))
		return -EFAULT;
	pages = gio_dma_pages(gio_dma_addr_offset(addr), length);
	if (pages > GD_GUESTMAP_PAGES)
		return -E2BIG;
	err = mem->way->map(mem, gio_dma_addr_gref(addr), (uint32_t)pages, access == GD_ACCESS_WRITE, &map->base);
	/* Whatever is not a lack of resources is a page that the hypervisor refused. */
	if (err)
		return err == -ENOMEM || err == -ENOSPC || err == -EMFILE ? err : -EFAULT;
	map->pages = (uint32_t)pages;
	map->data = (char *)map->base + gio_dma_addr_offset(addr);
	map->length = length;
	return 0;
}

void gd_guestmem_unmap(struct gd_guestmem *mem, struct gd_guestmap *map)
{
	if (map->base)
		mem->way->unmap(mem, map->base, map->pages);
	*map = (struct gd_guestmap){0};
}
