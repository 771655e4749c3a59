/* SPDX-License-Identifier: MIT */
#include <grantio/dma.h>

#include <abi/dma_addr.h>

#define MAX_PAGES (UINT64_C(1) << 28) /* no grant table has more entries */
#define BATCH	  32u		      /* frames that are looked up before they are granted: on the stack */

static void stat_add(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static uint64_t stat_read(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

int gio_dma_init(struct gio_dma *dma, struct gio_os *os, struct gio_grants *grants, gio_domid_t backend, uint64_t mask)
{
	if (mask != UINT64_MAX)
		return -GIO_ERANGE;
	*dma = (struct gio_dma){.os = os,
				.grants = grants,
				.backend = backend,
				.user = gio_grants_user(grants),
				.held_max = GIO_DMA_HELD_MAX};
	return 0;
}

/* A buffer as the 4 KiB units that it touches. */
struct units {
	bool by_va;
	const char *va;		    /* by_va: of the first unit; the frame of each is asked of the system */
	gio_gfn_t gfn;		    /* else: of the first unit; the frames are consecutive, */
	struct gio_dma_edges edges; /* but for these */
	uint32_t offset;	    /* in the first unit */
	uint32_t count;
	uint32_t readonly; /* so many, from the first one on, the device only reads */
};

static const struct gio_dma_edges no_edges = {GIO_DMA_OWN, GIO_DMA_OWN};

/* The frames of `count` units from the `at`-th on. */
static void units_gfns(const struct gio_dma *dma, const struct units *units, uint32_t at, uint32_t count,
		       gio_gfn_t *gfns)
{
	for (uint32_t i = 0; i < count; i++)
		gfns[i] = units->by_va ? gio_os_gfn(dma->os, units->va + ((size_t)(at + i) << GIO_PAGE_SHIFT))
				       : units->gfn + at + i;
	if (!at && units->edges.first != GIO_DMA_OWN)
		gfns[0] = units->edges.first;
	if (units->count > 1 && at + count == units->count && units->edges.last != GIO_DMA_OWN)
		gfns[count - 1] = units->edges.last;
}

static int units_count(uint32_t offset, uint64_t len, uint32_t *count)
{
	uint64_t pages;

	if (!len)
		return -GIO_EINVAL;
	if (len > MAX_PAGES << GIO_PAGE_SHIFT)
		return -GIO_EOVERFLOW;
	pages = gio_dma_pages(offset, len);
	if (pages > MAX_PAGES)
		return -GIO_EOVERFLOW;
	*count = (uint32_t)pages;
	return 0;
}

static int units_of_va(const void *va, size_t len, struct units *units)
{
	uint32_t offset = (uint32_t)((uintptr_t)va & GIO_PAGE_MASK);

	if (!va)
		return -GIO_EINVAL;
	if (len > UINTPTR_MAX - (uintptr_t)va)
		return -GIO_EOVERFLOW;
	*units = (struct units){.by_va = true, .va = (const char *)va - offset, .offset = offset, .edges = no_edges};
	return units_count(offset, len, &units->count);
}

static int units_of_gfn(gio_gfn_t gfn, uint32_t offset, size_t len, struct units *units)
{
	int err;

	*units = (struct units){
		.gfn = gfn + (offset >> GIO_PAGE_SHIFT), .offset = offset & GIO_PAGE_MASK, .edges = no_edges};
	err = units_count(units->offset, len, &units->count);
	if (err)
		return err;
	/* Neither the first nor the last frame may wrap. */
	return units->gfn < gfn || units->count - 1 > UINT64_MAX - units->gfn ? -GIO_EOVERFLOW : 0;
}

/*
 * References have gone to quarantine. How many are there still is counted the first time, since the user may have had
 * some there before, and then only when enough have gone there since: counting takes time by what all devices have
 * there.
 */
static void held_check(struct gio_dma *dma)
{
	uint64_t so_far = stat_read(&dma->stats.quarantined);
	uint32_t held;

	if (so_far < stat_read(&dma->held_checked))
		return;
	held = gio_grants_held(dma->grants, dma->user);
	if (held >= dma->held_max)
		__atomic_store_n(&dma->broken, 1, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&dma->held_checked, so_far + dma->held_max - held, __ATOMIC_RELAXED);
}

static void count_unmap(struct gio_dma *dma, uint32_t count, int held)
{
	stat_add(&dma->stats.granted, -(uint64_t)count);
	if (!held)
		return;
	stat_add(&dma->stats.quarantined, (uint64_t)held);
	held_check(dma);
}

bool gio_dma_broken(const struct gio_dma *dma)
{
	return __atomic_load_n(&dma->broken, __ATOMIC_RELAXED);
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Grant the units by a run that has been allocated for them. On failure some of them may be granted. */
static int access_units(struct gio_dma *dma, const struct units *units, gio_gref_t first)
{
	gio_gfn_t gfns[BATCH];
	uint32_t count;
	int err = 0;

	for (uint32_t i = 0; i < units->count && !err; i += count) {
		bool readonly = i < units->readonly;

		count = smaller(BATCH, (readonly ? units->readonly : units->count) - i);
		units_gfns(dma, units, i, count, gfns);
		err = gio_grants_access(dma->grants, first, i, count, dma->backend, gfns, readonly);
	}
	return err;
}

/* Grant the units; on failure end those granted, which the backend may have found meanwhile. */
static int grant_units(struct gio_dma *dma, const struct units *units, gio_dma_t *addr)
{
	gio_gref_t first;
	int err =
		gio_dma_broken(dma) ? -GIO_EPROTO : gio_grants_alloc_for(dma->grants, units->count, dma->user, &first);

	if (err)
		return err;
	stat_add(&dma->stats.granted, units->count);
	err = access_units(dma, units, first);
	if (err)
		count_unmap(dma, units->count, gio_grants_revoke(dma->grants, first, units->count));
	else
		*addr = gio_dma_addr(first, units->offset);
	return err;
}

/* Counts a map, or a failure. */
static int counted(struct gio_dma *dma, unsigned maps, int err)
{
	if (err)
		stat_add(&dma->stats.failures, 1);
	else
		stat_add(&dma->stats.maps, maps);
	return err;
}

static uint32_t readonly_units(const struct units *units, enum gio_dma_dir dir)
{
	return dir == GIO_DMA_TO_DEVICE ? units->count : 0;
}

/* Of a block that begins at a unit: the device has something to write behind what it only reads. */
static bool split_valid(size_t len, size_t readonly)
{
	return !(readonly & GIO_PAGE_MASK) && readonly < len;
}

static int map_va(struct gio_dma *dma, const void *va, size_t len, enum gio_dma_dir dir, gio_dma_t *addr)
{
	struct units units;
	int err = units_of_va(va, len, &units);

	if (err)
		return err;
	units.readonly = readonly_units(&units, dir);
	return grant_units(dma, &units, addr);
}

int gio_dma_map(struct gio_dma *dma, const void *va, size_t len, enum gio_dma_dir dir, gio_dma_t *addr)
{
	return counted(dma, 1, map_va(dma, va, len, dir, addr));
}

int gio_dma_map_gfn(struct gio_dma *dma, gio_gfn_t gfn, uint32_t offset, size_t len, enum gio_dma_dir dir,
		    gio_dma_t *addr)
{
	return gio_dma_map_edges(dma, gfn, offset, len, dir, &no_edges, addr);
}

int gio_dma_map_edges(struct gio_dma *dma, gio_gfn_t gfn, uint32_t offset, size_t len, enum gio_dma_dir dir,
		      const struct gio_dma_edges *edges, gio_dma_t *addr)
{
	struct units units;
	int err = units_of_gfn(gfn, offset, len, &units);

	units.edges = *edges;
	units.readonly = readonly_units(&units, dir);
	if (!err)
		err = grant_units(dma, &units, addr);
	return counted(dma, 1, err);
}

int gio_dma_map_gfn_split(struct gio_dma *dma, gio_gfn_t gfn, size_t len, size_t readonly, gio_dma_t *addr)
{
	struct units units;
	int err = split_valid(len, readonly) ? units_of_gfn(gfn, 0, len, &units) : -GIO_EINVAL;

	if (!err) {
		units.readonly = (uint32_t)(readonly >> GIO_PAGE_SHIFT);
		err = grant_units(dma, &units, addr);
	}
	return counted(dma, 1, err);
}

/* False, and counted: that is nothing we mapped. */
static bool unmap(struct gio_dma *dma, gio_dma_t addr, size_t len)
{
	uint32_t count;
	int held = -GIO_EINVAL;

	if (gio_dma_addr_valid(addr) && !units_count(gio_dma_addr_offset(addr), len, &count) &&
	    gio_grants_owned(dma->grants, gio_dma_addr_gref(addr), dma->user))
		held = gio_grants_revoke(dma->grants, gio_dma_addr_gref(addr), count);
	if (held < 0) {
		stat_add(&dma->stats.misuses, 1);
		return false;
	}
	count_unmap(dma, count, held);
	return true;
}

int gio_dma_unmap(struct gio_dma *dma, gio_dma_t addr, size_t len)
{
	if (!unmap(dma, addr, len))
		return -GIO_EINVAL;
	stat_add(&dma->stats.unmaps, 1);
	return 0;
}

int gio_dma_map_sg(struct gio_dma *dma, struct gio_sg *sg, unsigned count, enum gio_dma_dir dir)
{
	int err = 0;
	unsigned i;

	for (i = 0; i < count && !err; i++)
		err = map_va(dma, sg[i].va, sg[i].len, dir, &sg[i].addr);
	if (!err)
		return counted(dma, count, 0);
	sg[i - 1].addr = 0; /* the one that failed */
	for (unsigned done = 0; done < count; done++) {
		if (done < i - 1)
			unmap(dma, sg[done].addr, sg[done].len);
		sg[done].addr = 0;
	}
	return counted(dma, 0, err);
}

void gio_dma_unmap_sg(struct gio_dma *dma, const struct gio_sg *sg, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		gio_dma_unmap(dma, sg[i].addr, sg[i].len);
}

/* As gio_dma_map_gfn_split(), of our own pages, whose frames need not be consecutive. */
static int map_split(struct gio_dma *dma, const void *va, size_t len, size_t readonly, gio_dma_t *addr)
{
	struct units units;
	int err = units_of_va(va, len, &units);

	if (err)
		return err;
	units.readonly = (uint32_t)(readonly >> GIO_PAGE_SHIFT);
	return grant_units(dma, &units, addr);
}

void *gio_dma_alloc(struct gio_dma *dma, size_t bytes, size_t readonly, gio_dma_t *addr)
{
	uint32_t pages;
	void *va;

	if (units_count(0, bytes, &pages) || !split_valid(bytes, readonly))
		goto failed;
	va = gio_os_pages_alloc(dma->os, pages);
	if (!va)
		goto failed;
	if (map_split(dma, va, bytes, readonly, addr))
		goto free_pages;
	counted(dma, 1, 0);
	return va;

free_pages:
	gio_os_pages_free(dma->os, va, pages);
failed:
	stat_add(&dma->stats.failures, 1);
	return NULL;
}

void gio_dma_free(struct gio_dma *dma, void *va, size_t bytes, gio_dma_t addr)
{
	uint32_t pages;

	if (!va || !unmap(dma, addr, bytes))
		return;
	stat_add(&dma->stats.unmaps, 1);
	if (!units_count(0, bytes, &pages)) /* cannot fail: unmap() found the length right */
		gio_os_pages_free(dma->os, va, pages);
}

void gio_dma_stats(const struct gio_dma *dma, struct gio_dma_stats *out)
{
	out->maps = stat_read(&dma->stats.maps);
	out->unmaps = stat_read(&dma->stats.unmaps);
	out->failures = stat_read(&dma->stats.failures);
	out->granted = stat_read(&dma->stats.granted);
	out->quarantined = stat_read(&dma->stats.quarantined);
	out->misuses = stat_read(&dma->stats.misuses);
}
