/* SPDX-License-Identifier: MIT */
#include "backend/guestmem/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <abi/dma_addr.h>

#include "backend/base/error.h"
#include "backend/guestmem/pv.h"
#include "backend/guestmem/gnttab.h"

/* A run, mapped as a whole, so that a buffer which lies in it lies in one piece here as well. */
struct area {
	uint32_t first, count;
	bool write;
	char *base; /* NULL: it could not be mapped */
};

struct gd_pool {
	struct area areas[GD_POOL_RUNS];
	unsigned count;
	bool only, straight;
	uint16_t domid;
	uint32_t pages; /* mapped; under the lock of all pools */
	xengnttab_handle *gnttab;
	struct gd_log *log;
	struct gd_pool *next; /* of all pools */
};

/* All pools, so that their pages can be counted. */
static pthread_mutex_t pools_lock = PTHREAD_MUTEX_INITIALIZER;
static struct gd_pool *pools;

/* ---- the runs are checked --------------------------------------------------------------------------------------- */

static bool overlap(const struct gd_pool_run *a, const struct gd_pool_run *b)
{
	return a->first <= b->first ? b->first - a->first < a->count : a->first - b->first < b->count;
}

/* What is wrong with run `index`, of which those before it are good; NULL: nothing. */
static const char *run_fault(const struct gd_pool_run *runs, unsigned index)
{
	const struct gd_pool_run *run = &runs[index];

	if (run->count == 0 || run->count > GD_POOL_RUN_PAGES)
		return "it must have 1 to 16384 pages";
	if (run->first < GD_POOL_FIRST)
		return "references below 8 are Xen's own";
	if (run->count - 1 > UINT32_MAX - run->first)
		return "it goes on after the last reference";
	for (unsigned i = 0; i < index; i++)
		if (overlap(&runs[i], run))
			return "it overlaps another run";
	return NULL;
}

static int runs_check(const struct gd_pool_config *config)
{
	uint32_t pages = 0; /* no overflow: the number of runs and the length of each are limited */

	if (config->count > GD_POOL_RUNS) {
		gd_log_guest(config->log, GD_WARN, "pool refused: %u runs, and at most %u are taken", config->count,
			     GD_POOL_RUNS);
		return -EINVAL;
	}
	for (unsigned i = 0; i < config->count; i++) {
		const char *fault = run_fault(config->runs, i);

		if (fault) {
			gd_log_guest(config->log, GD_WARN, "pool refused: run %u (%u pages from reference %u): %s", i,
				     config->runs[i].count, config->runs[i].first, fault);
			return -EINVAL;
		}
		pages += config->runs[i].count;
	}
	if (pages > config->pages_most) {
		gd_log_guest(config->log, GD_WARN, "pool refused: %u pages, and at most %u are taken", pages,
			     config->pages_most);
		return -EINVAL;
	}
	return 0;
}

/* ---- mapping ---------------------------------------------------------------------------------------------------- */

/* Count pages of a pool that are about to be mapped. -EDQUOT: the guest, or all guests, would have too many. */
static int pages_count(struct gd_pool *pool, uint32_t pages)
{
	uint64_t own = pages, all = pages;
	int err = 0;

	pthread_mutex_lock(&pools_lock);
	for (const struct gd_pool *other = pools; other; other = other->next) {
		all += other->pages;
		if (other->domid == pool->domid)
			own += other->pages;
	}
	if (own > GD_POOL_GUEST_PAGES || all > GD_POOL_ALL_PAGES)
		err = -EDQUOT;
	else
		pool->pages += pages;
	pthread_mutex_unlock(&pools_lock);
	return err;
}

static void pages_uncount(struct gd_pool *pool, uint32_t pages)
{
	pthread_mutex_lock(&pools_lock);
	pool->pages -= pages;
	pthread_mutex_unlock(&pools_lock);
}

static void pool_list(struct gd_pool *pool)
{
	pthread_mutex_lock(&pools_lock);
	pool->next = pools;
	pools = pool;
	pthread_mutex_unlock(&pools_lock);
}

static void pool_unlist(struct gd_pool *pool)
{
	struct gd_pool **at = &pools;

	pthread_mutex_lock(&pools_lock);
	while (*at != pool)
		at = &(*at)->next;
	*at = pool->next;
	pthread_mutex_unlock(&pools_lock);
}

static int run_map(struct gd_pool *pool, struct area *area)
{
	uint32_t *refs = calloc(area->count, sizeof(*refs));

	if (!refs)
		return -ENOMEM;
	for (uint32_t i = 0; i < area->count; i++)
		refs[i] = area->first + i;
	errno = 0;
	area->base = xengnttab_map_domain_grant_refs(pool->gnttab, area->count, pool->domid, refs,
						     area->write ? PROT_READ | PROT_WRITE : PROT_READ);
	free(refs);
	return area->base ? 0 : gd_errno_or(EFAULT);
}

static int area_map(struct gd_pool *pool, struct area *area)
{
	int err = pages_count(pool, area->count);

	if (err)
		return err;
	err = run_map(pool, area);
	if (err)
		pages_uncount(pool, area->count);
	return err;
}

/* One line for all runs that cannot be mapped, with the cause of the first. */
static void areas_map(struct gd_pool *pool)
{
	uint32_t copied = 0;
	int first = 0;

	for (unsigned i = 0; i < pool->count; i++) {
		int err = area_map(pool, &pool->areas[i]);

		if (!err)
			continue;
		copied += pool->areas[i].count;
		first = first ? first : err;
	}
	if (copied)
		gd_log_guest(pool->log, GD_WARN, "%u of the pool's %u pages cannot be mapped, and are copied: %s",
			     copied, copied + pool->pages,
			     first == -EDQUOT ? "this guest, or all guests, have as many as may be" : strerror(-first));
}

int gd_pool_map(struct gd_pool **out, const struct gd_pool_config *config)
{
	struct gd_pool *pool;
	int err = runs_check(config);

	if (err)
		return err;
	pool = calloc(1, sizeof(*pool));
	if (!pool)
		return -ENOMEM;
	err = gd_gnttab_open(&pool->gnttab);
	if (err) {
		free(pool);
		return err;
	}
	pool->domid = config->domid;
	pool->only = config->only;
	pool->log = config->log;
	pool->count = config->count;
	pool->straight = !gd_pv_possible();
	for (unsigned i = 0; i < config->count; i++)
		pool->areas[i] = (struct area){
			.first = config->runs[i].first, .count = config->runs[i].count, .write = config->runs[i].write};
	pool_list(pool);
	areas_map(pool);
	*out = pool;
	return 0;
}

void gd_pool_unmap(struct gd_pool *pool)
{
	if (!pool)
		return;
	for (unsigned i = 0; i < pool->count; i++)
		if (pool->areas[i].base)
			xengnttab_unmap(pool->gnttab, pool->areas[i].base, pool->areas[i].count);
	pool_unlist(pool);
	xengnttab_close(pool->gnttab);
	free(pool);
}

/* ---- a buffer is found ------------------------------------------------------------------------------------------ */

bool gd_pool_names(const struct gd_pool *pool, uint32_t ref)
{
	for (unsigned i = 0; i < pool->count; i++)
		if (ref - pool->areas[i].first < pool->areas[i].count)
			return true;
	return false;
}

uint32_t gd_pool_pages(const struct gd_pool *pool)
{
	return pool->pages;
}

bool gd_pool_straight(const struct gd_pool *pool)
{
	return pool->straight;
}

/* The buffer begins in no run: it must not reach into one either. */
static int outside_find(const struct gd_pool *pool, uint32_t ref, uint64_t pages)
{
	if (pool->only)
		return -EFAULT;
	for (unsigned i = 0; i < pool->count; i++)
		if (pool->areas[i].first > ref && pool->areas[i].first - ref < pages)
			return -EFAULT;
	return 0;
}

int gd_pool_find(const struct gd_pool *pool, gio_dma_t addr, uint32_t length, enum gd_access access, void **place)
{
	uint32_t ref = gio_dma_addr_gref(addr), offset = gio_dma_addr_offset(addr);
	uint64_t pages = gio_dma_pages(offset, length);

	*place = NULL;
	for (unsigned i = 0; i < pool->count; i++) {
		const struct area *area = &pool->areas[i];
		uint32_t page = ref - area->first; /* a huge number where the reference lies before the run */

		if (page >= area->count)
			continue;
		if (pages > area->count - page || (access == GD_ACCESS_WRITE && !area->write))
			return -EFAULT;
		if (area->base)
			*place = area->base + (size_t)page * GIO_PAGE_SIZE + offset;
		return 0;
	}
	return outside_find(pool, ref, pages);
}

bool gd_pool_writable(const struct gd_pool *pool, unsigned index, void **base, uint64_t *bytes)
{
	if (!pool->straight || index >= pool->count || !pool->areas[index].write || !pool->areas[index].base)
		return false;
	*base = pool->areas[index].base;
	*bytes = (uint64_t)pool->areas[index].count * GIO_PAGE_SIZE;
	return true;
}
