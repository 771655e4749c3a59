/* SPDX-License-Identifier: MIT */
#include "backend/guestmem/guestmem.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <abi/dma_addr.h>

#include "backend/base/error.h"
#include "backend/guestmem/foreign.h"
#include "backend/guestmem/gnttab.h"

#define ADDRESS_END (UINT64_C(1) << 44) /* 2^32 references, or frames, of 4 KiB */

struct gd_guestmem {
	xengnttab_handle *gnttab; /* one of the two */
	struct gd_foreign *foreign;
	uint16_t domid;
};

/*
 * libxengnttab logs every refusal as an error. A guest can cause as many refusals as it likes, so that the library's
 * lines go nowhere: callers report what matters, at a limited rate.
 */
static void message_drop(struct xentoollog_logger *logger, xentoollog_level level, int errnoval, const char *context,
			 const char *format, va_list args)
{
	(void)logger, (void)level, (void)errnoval, (void)context, (void)format, (void)args;
}

static void logger_keep(struct xentoollog_logger *logger)
{
	(void)logger; /* static: there is nothing to free */
}

struct xentoollog_logger *gd_logger_silent(void)
{
	static struct xentoollog_logger silent = {.vmessage = message_drop, .destroy = logger_keep};

	return &silent;
}

int gd_gnttab_open(xengnttab_handle **gnttab)
{
	*gnttab = xengnttab_open(gd_logger_silent(), 0);
	if (*gnttab)
		return 0;
	return gd_errno_or(ENODEV);
}

int gd_guestmem_open(struct gd_guestmem **mem, uint16_t domid, enum gd_memory memory)
{
	struct gd_guestmem *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return -ENOMEM;
	m->domid = domid;
	err = memory == GD_MEMORY_FOREIGN ? gd_foreign_open(&m->foreign, domid) : gd_gnttab_open(&m->gnttab);
	if (err)
		goto err_free_mem;
	*mem = m;
	return 0;

err_free_mem:
	free(m);
	return err;
}

void gd_guestmem_close(struct gd_guestmem *mem)
{
	if (!mem)
		return;
	if (mem->gnttab)
		xengnttab_close(mem->gnttab);
	gd_foreign_close(mem->foreign);
	free(mem);
}

bool gd_guestmem_range_valid(enum gd_memory memory, gio_dma_t addr, uint64_t length)
{
	uint64_t pages;

	/* The first test also keeps gio_dma_pages() from overflowing: references end long before 2^63 bytes. */
	if (length == 0 || length > ADDRESS_END)
		return false;
	if (memory == GD_MEMORY_FOREIGN ? addr >= ADDRESS_END : !gio_dma_addr_valid(addr))
		return false;
	pages = gio_dma_pages(gio_dma_addr_offset(addr), length);
	return (uint64_t)gio_dma_addr_gref(addr) + pages - 1 <= UINT32_MAX;
}

/* `first`: a reference, or a frame. */
static void *pages_map(struct gd_guestmem *mem, uint32_t first, uint32_t pages, bool write)
{
	uint32_t refs[GD_GUESTMAP_PAGES];

	if (mem->foreign)
		return gd_foreign_map(mem->foreign, first, pages, write);
	for (uint32_t i = 0; i < pages; i++)
		refs[i] = first + i;
	errno = 0;
	return xengnttab_map_domain_grant_refs(mem->gnttab, pages, mem->domid, refs,
					       write ? PROT_READ | PROT_WRITE : PROT_READ);
}

int gd_guestmem_map(struct gd_guestmem *mem, gio_dma_t addr, uint64_t length, enum gd_access access,
		    struct gd_guestmap *map)
{
	enum gd_memory memory = mem->foreign ? GD_MEMORY_FOREIGN : GD_MEMORY_GRANTS;
	uint64_t pages;

	*map = (struct gd_guestmap){0};
	if (!gd_guestmem_range_valid(memory, addr, length))
		return -EFAULT;
	pages = gio_dma_pages(gio_dma_addr_offset(addr), length);
	if (pages > GD_GUESTMAP_PAGES)
		return -E2BIG;
	map->base = pages_map(mem, gio_dma_addr_gref(addr), (uint32_t)pages, access == GD_ACCESS_WRITE);
	/* What is not a lack of resources here is a page that the hypervisor refused. */
	if (!map->base)
		return errno == ENOMEM || errno == ENOSPC || errno == EMFILE ? -errno : -EFAULT;
	map->pages = (uint32_t)pages;
	map->data = (char *)map->base + gio_dma_addr_offset(addr);
	map->length = length;
	return 0;
}

void gd_guestmem_unmap(struct gd_guestmem *mem, struct gd_guestmap *map)
{
	if (map->base && mem->foreign)
		gd_foreign_unmap(mem->foreign, map->base, map->pages);
	else if (map->base)
		xengnttab_unmap(mem->gnttab, map->base, map->pages);
	*map = (struct gd_guestmap){0};
}
