/* SPDX-License-Identifier: MIT */
#include <grantio/pool.h>

#include "space.h"

#include <abi/dma_addr.h>

#define PAGES_DEFAULT 512u		  /* of an area */
#define AREA_RUNS     (GIO_POOL_RUNS / 2) /* of references, for one area */

/* The two areas. */
enum { AREA_READ, AREA_WRITE, AREAS };

/* A run of references and the first page that it grants. All but an area's last are multiples of GIO_SPACE_WORD. */
struct run {
	gio_gref_t first;
	uint32_t count, page;
};

struct area {
	uint8_t *va;
	uint32_t pages, small_pages; /* the first ones hold the small slots */
	struct run runs[AREA_RUNS];
	unsigned runs_count;
	uint32_t small_most; /* bytes of what is small here */
	struct gio_space data, small;
};

struct gio_pool {
	struct gio_os *os;
	struct gio_grants *grants;
	gio_domid_t backend;
	struct area area[AREAS];
	uint32_t mapping; /* bytes of the longest */
	uint32_t request; /* pages of the largest request */
	void *meta;	  /* private: words and slots of all spaces */
	size_t meta_pages;
	uint64_t full, misuses; /* atomic */
};

static struct area *area_for(const struct gio_pool *pool, enum gio_dma_dir dir)
{
	return (struct area *)&pool->area[dir == GIO_DMA_TO_DEVICE ? AREA_READ : AREA_WRITE];
}

static uint32_t pages_for(uint64_t bytes)
{
	return (uint32_t)((bytes + GIO_PAGE_MASK) >> GIO_PAGE_SHIFT);
}

/* ---- open and close ----------------------------------------------------------------------------------------- */

/* How large an area is to be. False: that cannot be. */
static bool area_size(struct area *area, uint32_t pages, uint32_t small, uint32_t small_most)
{
	area->pages = pages ? pages : PAGES_DEFAULT;
	area->small_most = small_most;
	area->small_pages = pages_for((uint64_t)small * small_most);
	/* Within the first word, and so within one run. */
	return area->pages <= GIO_POOL_PAGES_MAX && area->small_pages < GIO_SPACE_WORD &&
	       area->small_pages < area->pages;
}

static bool areas_size(struct gio_pool *pool, const struct gio_pool_config *config)
{
	return area_size(&pool->area[AREA_READ], config->read_pages, config->small_read, GIO_POOL_SMALL_READ) &&
	       area_size(&pool->area[AREA_WRITE], config->write_pages, config->small_write, GIO_POOL_SMALL_WRITE) &&
	       pool->area[AREA_READ].pages + pool->area[AREA_WRITE].pages <= GIO_POOL_PAGES_MAX;
}

static uint32_t log2_of(uint32_t power)
{
	return (uint32_t)__builtin_ctz(power);
}

static uint32_t small_slots(const struct area *area)
{
	return area->small_pages << (GIO_PAGE_SHIFT - log2_of(area->small_most));
}

/* The bookkeeping of both areas in one block. It comes from pages since it may be large; nobody is granted them. */
static int meta_make(struct gio_pool *pool, unsigned shares)
{
	size_t bytes = 0;
	uint8_t *at;

	for (unsigned i = 0; i < AREAS; i++)
		bytes += gio_space_bytes(pool->area[i].pages) + gio_space_bytes(small_slots(&pool->area[i]));
	pool->meta_pages = pages_for(bytes);
	pool->meta = at = gio_os_pages_alloc(pool->os, pool->meta_pages);
	if (!at)
		return -GIO_ENOMEM;
	for (unsigned i = 0; i < AREAS; i++) {
		struct area *area = &pool->area[i];
		uint32_t small = small_slots(area);

		gio_space_init(&area->data, at, area->pages, area->small_pages, GIO_PAGE_SHIFT, shares);
		at += gio_space_bytes(area->pages);
		gio_space_init(&area->small, at, small, 0, log2_of(area->small_most), shares);
		at += gio_space_bytes(small);
	}
	return 0;
}

/* A run for the area's pages from `page` on: for all of them, or for as many words of them as can be had. */
static int run_alloc(struct gio_pool *pool, struct area *area, uint32_t page, uint32_t user)
{
	uint32_t count = area->pages - page;
	struct run *run = &area->runs[area->runs_count];
	int err;

	if (area->runs_count == AREA_RUNS)
		return -GIO_ENOSPC;
	for (;;) {
		err = gio_grants_alloc_for(pool->grants, count, user, &run->first);
		if (err != -GIO_ENOSPC || count <= GIO_SPACE_WORD)
			break;
		count = (count / 2 + GIO_SPACE_WORD - 1) / GIO_SPACE_WORD * GIO_SPACE_WORD;
	}
	if (err)
		return err;
	run->count = count;
	run->page = page;
	area->runs_count++;
	return 0;
}

/* Grant a run's pages, and tell the words which addresses they have. On failure some may be granted. */
static int run_grant(struct gio_pool *pool, struct area *area, const struct run *run)
{
	int err = 0;

	for (uint32_t i = 0; i < run->count && !err; i++)
		err = gio_grant_access(pool->grants, run->first + i, pool->backend,
				       gio_os_gfn(pool->os, area->va + ((size_t)(run->page + i) << GIO_PAGE_SHIFT)),
				       area == &pool->area[AREA_READ]);
	for (uint32_t i = 0; i < run->count; i += GIO_SPACE_WORD)
		area->data.words[(run->page + i) / GIO_SPACE_WORD].addr = gio_dma_addr(run->first + i, 0);
	return err;
}

static void small_addresses(struct area *area)
{
	for (uint32_t i = 0; i < area->small.count; i++)
		area->small.words[i].addr =
			area->data.words[0].addr + ((gio_dma_t)(i * GIO_SPACE_WORD) << area->small.shift);
}

static int area_make(struct gio_pool *pool, struct area *area, uint32_t user)
{
	int err = 0;

	area->va = gio_os_pages_alloc(pool->os, area->pages);
	if (!area->va)
		return -GIO_ENOMEM;
	for (uint32_t page = 0; page < area->pages && !err;) {
		const struct run *run = &area->runs[area->runs_count];

		err = run_alloc(pool, area, page, user);
		if (err)
			break;
		err = run_grant(pool, area, run);
		page += run->count;
	}
	small_addresses(area);
	return err;
}

/* Of an area that was made, or of which some was. Returns how many references the backend holds. */
static uint32_t area_end(struct gio_pool *pool, struct area *area)
{
	uint32_t held = 0;

	for (unsigned i = 0; i < area->runs_count; i++)
		/* Cannot fail: nobody else has this run. */
		held += (uint32_t)gio_grants_revoke(pool->grants, area->runs[i].first, area->runs[i].count);
	gio_os_pages_free(pool->os, area->va, area->pages);
	return held;
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static uint32_t longest(const struct gio_pool *pool)
{
	return smaller(gio_space_longest(&pool->area[AREA_READ].data), gio_space_longest(&pool->area[AREA_WRITE].data));
}

/* -GIO_EINVAL: longer mappings than there is room for. */
static int mapping_set(struct gio_pool *pool, uint32_t wanted)
{
	uint32_t most = longest(pool), pages = wanted ? wanted : most;

	if (pages > most)
		return -GIO_EINVAL;
	pool->mapping = pages << GIO_PAGE_SHIFT;
	return 0;
}

static uint32_t pool_end(struct gio_pool *pool)
{
	uint32_t held = area_end(pool, &pool->area[AREA_READ]) + area_end(pool, &pool->area[AREA_WRITE]);

	gio_os_pages_free(pool->os, pool->meta, pool->meta_pages);
	gio_os_free(pool->os, pool, sizeof(*pool));
	return held;
}

int gio_pool_open(struct gio_pool **out, const struct gio_pool_config *config)
{
	struct gio_pool *pool = gio_os_alloc(config->os, sizeof(*pool));
	uint32_t user = config->user ? config->user : gio_grants_user(config->grants);
	int err = -GIO_EINVAL;

	if (!pool)
		return -GIO_ENOMEM;
	pool->os = config->os;
	pool->grants = config->grants;
	pool->backend = config->backend;
	if (!areas_size(pool, config))
		goto end;
	err = meta_make(pool, config->shares);
	if (!err)
		err = mapping_set(pool, config->mapping_pages);
	for (unsigned i = 0; i < AREAS && !err; i++)
		err = area_make(pool, &pool->area[i], user);
	if (err)
		goto end;
	*out = pool;
	return 0;

end:
	pool_end(pool);
	return err;
}

uint32_t gio_pool_close(struct gio_pool *pool)
{
	return pool ? pool_end(pool) : 0;
}

/* ---- what it is --------------------------------------------------------------------------------------------- */

unsigned gio_pool_runs(const struct gio_pool *pool, struct gio_pool_run runs[GIO_POOL_RUNS])
{
	unsigned count = 0;

	for (unsigned i = 0; i < AREAS; i++)
		for (unsigned j = 0; j < pool->area[i].runs_count; j++)
			runs[count++] = (struct gio_pool_run){
				.first = pool->area[i].runs[j].first,
				.count = pool->area[i].runs[j].count,
				.readonly = i == AREA_READ,
			};
	return count;
}

size_t gio_pool_mapping_max(const struct gio_pool *pool)
{
	return smaller(pool->mapping, longest(pool) << GIO_PAGE_SHIFT);
}

/*
 * Mappings fill word after word, as nothing is put meanwhile, and one goes to a new word only if it fits into none
 * before. So each word is filled but for less than the longest mapping; and of all words, at most one to less than a
 * half, since two such would have become one.
 */
static uint32_t request_pages(const struct gio_space *space, uint32_t mapping)
{
	uint32_t each = mapping <= GIO_SPACE_WORD / 2 ? GIO_SPACE_WORD + 1 - mapping : GIO_SPACE_WORD / 2;
	uint32_t whole = gio_space_whole(space), sure = whole ? (whole - 1) * each : 0;

	sure = smaller(sure, gio_space_idle(space) / 2);
	return sure > mapping ? sure : mapping;
}

uint32_t gio_pool_request_pages(const struct gio_pool *pool)
{
	uint32_t mapping = (uint32_t)gio_pool_mapping_max(pool) >> GIO_PAGE_SHIFT;

	return smaller(request_pages(&pool->area[AREA_READ].data, mapping),
		       request_pages(&pool->area[AREA_WRITE].data, mapping));
}

size_t gio_pool_data_bytes(const struct gio_pool *pool, enum gio_dma_dir dir)
{
	const struct area *area = area_for(pool, dir);

	return (size_t)(area->pages - area->small_pages) << GIO_PAGE_SHIFT;
}

void gio_pool_stats(const struct gio_pool *pool, struct gio_pool_stats *out)
{
	*out = (struct gio_pool_stats){
		.full = __atomic_load_n(&pool->full, __ATOMIC_RELAXED),
		.misuses = __atomic_load_n(&pool->misuses, __ATOMIC_RELAXED),
	};
	for (unsigned i = 0; i < AREAS; i++) {
		out->pages += pool->area[i].pages;
		out->used += gio_space_used(&pool->area[i].data);
		out->small[i] = gio_space_used(&pool->area[i].small);
	}
}

/* ---- space -------------------------------------------------------------------------------------------------- */

/* Zero what the device may read behind the bytes that are copied in. */
static void rest_clear(uint8_t *va, const struct gio_space *space, size_t len)
{
	size_t rest = -len & ((1u << space->shift) - 1);

	if (rest)
		__builtin_memset(va + len, 0, rest);
}

/* Space in the slots for small things, else in whole units. NULL: there is none. */
static struct gio_space *space_get(struct area *area, unsigned hint, uint32_t len, uint64_t cookie, uint32_t *unit)
{
	if (len <= area->small_most && !gio_space_get(&area->small, hint, len, cookie, unit))
		return &area->small;
	return gio_space_get(&area->data, hint, len, cookie, unit) ? NULL : &area->data;
}

/* Get space; `va` is where it lies. As gio_pool_get(). */
static int get(struct gio_pool *pool, unsigned hint, size_t len, enum gio_dma_dir dir, uint64_t cookie, gio_dma_t *addr,
	       uint8_t **va)
{
	struct area *area = area_for(pool, dir);
	struct gio_space *space;
	uint32_t unit;

	if (!len)
		return -GIO_EINVAL;
	if (len > pool->mapping)
		return -GIO_ERANGE;
	space = space_get(area, hint, (uint32_t)len, cookie, &unit);
	if (!space) {
		__atomic_fetch_add(&pool->full, 1, __ATOMIC_RELAXED);
		return -GIO_ENOMEM;
	}
	*addr = gio_space_addr(space, unit);
	*va = area->va + ((size_t)unit << space->shift);
	if (dir != GIO_DMA_FROM_DEVICE)
		rest_clear(*va, space, len);
	return 0;
}

int gio_pool_get(struct gio_pool *pool, unsigned hint, size_t len, enum gio_dma_dir dir, uint64_t cookie,
		 gio_dma_t *addr)
{
	uint8_t *va;

	return get(pool, hint, len, dir, cookie, addr, &va);
}

/* The area that an address lies in, and where in it. NULL: in none. */
static const struct area *locate(const struct gio_pool *pool, gio_dma_t addr, uint32_t *offset)
{
	gio_gref_t ref = gio_dma_addr_gref(addr);

	if (!gio_dma_addr_valid(addr))
		return NULL;
	for (unsigned i = 0; i < AREAS; i++)
		for (unsigned j = 0; j < pool->area[i].runs_count; j++) {
			const struct run *run = &pool->area[i].runs[j];

			if (ref - run->first >= run->count)
				continue;
			*offset = (run->page + (ref - run->first)) << GIO_PAGE_SHIFT | gio_dma_addr_offset(addr);
			return &pool->area[i];
		}
	return NULL;
}

static const struct gio_space *space_at(const struct area *area, uint32_t offset)
{
	return offset >> GIO_PAGE_SHIFT < area->small_pages ? &area->small : &area->data;
}

/* What begins at an address. */
struct place {
	const struct gio_space *space;
	uint32_t unit;
	uint8_t *va;
};

/* Whether `len` bytes at this address were got as they are. */
static bool place_find(const struct gio_pool *pool, gio_dma_t addr, size_t len, struct place *place)
{
	uint32_t offset;
	const struct area *area = locate(pool, addr, &offset);

	if (!area)
		return false;
	place->space = space_at(area, offset);
	place->unit = offset >> place->space->shift;
	place->va = area->va + offset;
	return !(offset & ((1u << place->space->shift) - 1)) && place->space->slots[place->unit].len == len;
}

/* With `found` false: counts a caller's error. */
static int place_put(struct gio_pool *pool, bool found, const struct place *place, size_t len)
{
	if (found && !gio_space_put((struct gio_space *)place->space, place->unit, (uint32_t)len))
		return 0;
	__atomic_fetch_add(&pool->misuses, 1, __ATOMIC_RELAXED);
	return -GIO_EINVAL;
}

int gio_pool_put(struct gio_pool *pool, gio_dma_t addr, size_t len)
{
	struct place place;

	return place_put(pool, place_find(pool, addr, len, &place), &place, len);
}

int gio_pool_find(const struct gio_pool *pool, gio_dma_t addr, uint64_t *cookie, size_t *left)
{
	uint32_t offset, within;
	const struct area *area = locate(pool, addr, &offset);
	const struct gio_space_slot *slot;
	const struct gio_space *space;

	if (!area)
		return -GIO_EINVAL;
	space = space_at(area, offset);
	slot = &space->slots[offset >> space->shift];
	within = offset & ((1u << space->shift) - 1);
	if (within >= slot->left)
		return -GIO_EINVAL;
	*cookie = slot->cookie + within;
	*left = slot->left - within;
	return 0;
}

/* ---- bytes -------------------------------------------------------------------------------------------------- */

void *gio_pool_va(const struct gio_pool *pool, gio_dma_t addr)
{
	uint32_t offset;
	const struct area *area = locate(pool, addr, &offset);

	return area ? area->va + offset : NULL;
}

void gio_pool_copy_in(struct gio_pool *pool, gio_dma_t addr, const void *src, size_t len)
{
	__builtin_memcpy(gio_pool_va(pool, addr), src, len);
}

void gio_pool_copy_out(struct gio_pool *pool, gio_dma_t addr, void *dst, size_t len)
{
	__builtin_memcpy(dst, gio_pool_va(pool, addr), len);
}

int gio_pool_map(struct gio_pool *pool, unsigned hint, const void *va, size_t len, enum gio_dma_dir dir,
		 gio_dma_t *addr)
{
	uint8_t *to;
	int err = get(pool, hint, len, dir, 0, addr, &to);

	if (!err && dir != GIO_DMA_FROM_DEVICE)
		__builtin_memcpy(to, va, len);
	return err;
}

int gio_pool_unmap(struct gio_pool *pool, void *va, size_t len, enum gio_dma_dir dir, gio_dma_t addr)
{
	struct place place;
	/* Nothing is copied from space that is not of this length: it may be somebody else's by now. */
	bool found = place_find(pool, addr, len, &place);

	if (found && dir != GIO_DMA_TO_DEVICE)
		__builtin_memcpy(va, place.va, len);
	return place_put(pool, found, &place, len);
}
