/* SPDX-License-Identifier: MIT */
/*
 * The guest library's system (grantio/os.h) on a guest without an operating system: all memory is mapped one to one,
 * so that an address is also the guest-physical one. One vCPU and no interrupts: a lock is nothing.
 */
#include "arch.h"
#include "guest.h"
#include "xen.h"

#include <string.h>
#include <xen/grant_table.h>
#include <xen/memory.h>

/* A page that was freed stays in use as long as a grant holds it: the backend may still write to it. */
struct page {
	uint32_t holds;
	bool allocated;
};

struct gio_os {
	uint64_t first; /* frame of pages[0] */
	struct page *pages;
	size_t count, used; /* used: allocated or held */
	struct gio_os_grant_table table;
};
static struct gio_os system;

struct gio_os *gio_xen_os(void)
{
	return &system;
}

size_t gio_xen_pages_used(void)
{
	return system.used;
}

/* The table of pages takes the first of them itself. */
void gio_xen_memory_start(uint64_t ram, uint64_t ram_end)
{
	size_t bytes = (size_t)(ram_end - ram) / GIO_PAGE_SIZE * sizeof(struct page);
	uint64_t at = (ram + bytes + GIO_PAGE_SIZE - 1) / GIO_PAGE_SIZE;

	system.pages = (struct page *)ram;
	memset(system.pages, 0, bytes);
	system.first = at;
	system.count = (size_t)(ram_end / GIO_PAGE_SIZE - at);
}

void *gio_xen_memory_map(unsigned space, unsigned index, uint64_t gfn)
{
	struct xen_add_to_physmap add = {.domid = DOMID_SELF, .space = space, .idx = index, .gpfn = gfn};

	if (hypercall(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, (uint64_t)&add, 0))
		return NULL;
	return (void *)(gfn << GIO_PAGE_SHIFT);
}

/* ---- pages ------------------------------------------------------------------------------------------------------ */

static bool page_free(const struct page *page)
{
	return !page->allocated && !page->holds;
}

void *gio_os_pages_alloc(struct gio_os *os, size_t npages)
{
	size_t run = 0, i;

	for (i = 0; i < os->count && run < npages; i++)
		run = page_free(&os->pages[i]) ? run + 1 : 0;
	if (!npages || run < npages)
		return NULL;
	for (size_t k = i - npages; k < i; k++)
		os->pages[k].allocated = true;
	os->used += npages;
	return memset((void *)((os->first + i - npages) << GIO_PAGE_SHIFT), 0, npages * GIO_PAGE_SIZE);
}

void gio_os_pages_free(struct gio_os *os, void *va, size_t npages)
{
	size_t at = (size_t)(gio_os_gfn(os, va) - os->first);

	if (!va)
		return;
	for (size_t i = at; i < at + npages; i++) {
		os->pages[i].allocated = false;
		os->used -= !os->pages[i].holds;
	}
}

/* Whole pages: this guest allocates seldom. */
void *gio_os_alloc(struct gio_os *os, size_t bytes)
{
	return gio_os_pages_alloc(os, (bytes + GIO_PAGE_SIZE - 1) / GIO_PAGE_SIZE);
}

void gio_os_free(struct gio_os *os, void *p, size_t bytes)
{
	gio_os_pages_free(os, p, (bytes + GIO_PAGE_SIZE - 1) / GIO_PAGE_SIZE);
}

gio_gfn_t gio_os_gfn(struct gio_os *os, const void *va)
{
	(void)os;
	return (gio_gfn_t)(uintptr_t)va >> GIO_PAGE_SHIFT;
}

/* NULL: not of the memory that is given out. */
static struct page *page_at(struct gio_os *os, gio_gfn_t gfn)
{
	return gfn >= os->first && gfn - os->first < os->count ? &os->pages[gfn - os->first] : NULL;
}

/* Frames outside of the memory that is given out, such as Xen's own pages, are never freed: they need no count. */
void gio_os_page_get(struct gio_os *os, gio_gfn_t gfn)
{
	struct page *page = page_at(os, gfn);

	if (!page)
		return;
	os->used += page_free(page);
	page->holds++;
}

void gio_os_page_put(struct gio_os *os, gio_gfn_t gfn)
{
	struct page *page = page_at(os, gfn);

	if (!page)
		return;
	page->holds--;
	os->used -= page_free(page);
}

/* ---- locks ------------------------------------------------------------------------------------------------------ */

void gio_os_lock_init(struct gio_lock *lock)
{
	(void)lock;
}

void gio_os_lock_exit(struct gio_lock *lock)
{
	(void)lock;
}

void gio_os_lock(struct gio_lock *lock)
{
	(void)lock;
}

void gio_os_unlock(struct gio_lock *lock)
{
	(void)lock;
}

/* ---- grant table ------------------------------------------------------------------------------------------------ */

#define ENTRIES_PER_FRAME (GIO_PAGE_SIZE / sizeof(grant_entry_v1_t))

/* Xen's limit for this domain is what the library may grow the table to. */
static int table_query(struct gio_os_grant_table *table)
{
	struct gnttab_query_size size = {.dom = DOMID_SELF};

	hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_query_size, (uint64_t)&size, 1);
	if (size.status != GNTST_okay)
		return -GIO_EIO;
	table->version = 1; /* as a domain begins */
	table->shared = (void *)((uint64_t)ARCH_GRANT_FRAME << GIO_PAGE_SHIFT);
	table->max = (uint32_t)(size.max_nr_frames * ENTRIES_PER_FRAME);
	return 0;
}

/* Frames are mapped in order; mapping one that does not exist yet makes it. */
int gio_os_grant_table(struct gio_os *os, uint32_t entries, struct gio_os_grant_table *out)
{
	struct gio_os_grant_table *table = &os->table;
	int err = table->version ? 0 : table_query(table);

	if (err)
		return err;
	if (entries > table->max)
		return -GIO_ENOSPC;
	while (table->entries < entries || !table->entries) {
		unsigned frame = (unsigned)(table->entries / ENTRIES_PER_FRAME);

		if (!gio_xen_memory_map(XENMAPSPACE_grant_table, frame, ARCH_GRANT_FRAME + frame))
			return -GIO_ENOMEM;
		table->entries += (uint32_t)ENTRIES_PER_FRAME;
	}
	*out = *table;
	return 0;
}

/* ---- devices ---------------------------------------------------------------------------------------------------- */

uint64_t gio_xen_mmio_read(uint64_t addr, unsigned size)
{
	uint64_t value = gio_xen_arch_load(addr, size);

	return size < sizeof(value) ? value & ((UINT64_C(1) << 8 * size) - 1) : value;
}

void gio_xen_mmio_write(uint64_t addr, unsigned size, uint64_t value)
{
	gio_xen_arch_store(addr, size, value);
}

uint32_t gio_os_mmio_read(struct gio_os *os, uint64_t addr, unsigned size)
{
	(void)os;
	return (uint32_t)gio_xen_mmio_read(addr, size);
}

void gio_os_mmio_write(struct gio_os *os, uint64_t addr, unsigned size, uint32_t value)
{
	(void)os;
	gio_xen_mmio_write(addr, size, value);
}
