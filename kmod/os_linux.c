// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest library's system (grantio/os.h) in Linux. Everything here may be called in any context: DMA is mapped and
 * unmapped in interrupts and under locks.
 */
#include <linux/build_bug.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>

#include "compat.h"
#include "reap.h"

void *gio_os_alloc(struct gio_os *os, size_t bytes)
{
	return kzalloc(bytes, GFP_ATOMIC | __GFP_NOWARN);
}

void gio_os_free(struct gio_os *os, void *p, size_t bytes)
{
	kfree(p);
}

/*
 * Each page has a count of its own, so that one may be held while the others go. What is large (a pool) is asked for
 * where there may be sleep, and need not be in one piece.
 */
#define LARGE 32u /* units of 4 KiB */

void *gio_os_pages_alloc(struct gio_os *os, size_t npages)
{
	if (npages > LARGE)
		return vzalloc(npages << GIO_PAGE_SHIFT);
	return alloc_pages_exact(npages << GIO_PAGE_SHIFT, GFP_ATOMIC | __GFP_ZERO | __GFP_NOWARN);
}

void gio_os_pages_free(struct gio_os *os, void *va, size_t npages)
{
	if (is_vmalloc_addr(va))
		vfree(va);
	else if (va)
		free_pages_exact(va, npages << GIO_PAGE_SHIFT);
}

gio_gfn_t gio_os_gfn(struct gio_os *os, const void *va)
{
	phys_addr_t phys = is_vmalloc_addr(va) ? page_to_phys(vmalloc_to_page(va)) + offset_in_page(va) : __pa(va);

	return phys >> GIO_PAGE_SHIFT; /* as the guest counts them: entry_linux.c makes them the hypervisor's */
}

static struct page *page_of(gio_gfn_t gfn)
{
	return pfn_to_page(PHYS_PFN((phys_addr_t)gfn << GIO_PAGE_SHIFT));
}

void gio_os_page_get(struct gio_os *os, gio_gfn_t gfn)
{
	get_page(page_of(gfn));
}

void gio_os_page_put(struct gio_os *os, gio_gfn_t gfn)
{
	put_page(page_of(gfn));
}

struct lock {
	spinlock_t spin;
	unsigned long flags; /* of the holder */
};

static struct lock *lock_of(struct gio_lock *lock)
{
	BUILD_BUG_ON(sizeof(struct lock) > sizeof(struct gio_lock));
	return (struct lock *)lock;
}

void gio_os_lock_init(struct gio_lock *lock)
{
	spin_lock_init(&lock_of(lock)->spin);
}

void gio_os_lock_exit(struct gio_lock *lock)
{
}

void gio_os_lock(struct gio_lock *lock) __acquires(lock)
{
	unsigned long flags;

	spin_lock_irqsave(&lock_of(lock)->spin, flags);
	lock_of(lock)->flags = flags;
}

void gio_os_unlock(struct gio_lock *lock) __releases(lock)
{
	spin_unlock_irqrestore(&lock_of(lock)->spin, lock_of(lock)->flags);
}
