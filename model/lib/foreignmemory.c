/* SPDX-License-Identifier: MIT */
/* libxenforeignmemory on the model. Results and errno are those of the library over Linux's privcmd. */
#include "model/lib/ctx.h"
#include "model/attach.h"
#include "model/domain.h"
#include "model/grant.h"
#include "model/ioreq.h"

#include <sys/mman.h>

#include <xenforeignmemory.h>
#include <xen/memory.h>

#define UNRESTRICTED 0xffffffffu

/* Foreign memory that is mapped. Each area has a track, by which the domain's files stay until the area has gone. */
struct area {
	void *addr;
	size_t pages;
	uint32_t track;
	struct area *next;
};

struct xenforeignmemory_handle {
	struct gm_ctx ctx;
	uint32_t only;
	pthread_mutex_t lock; /* the list of areas */
	struct area *areas;
};

struct xenforeignmemory_resource_handle {
	struct area *area; /* in the list too */
};

/* ---- open, close, restrict ---------------------------------------------------------------------------------- */

int xenforeignmemory_restrict(xenforeignmemory_handle *fmem, domid_t domid)
{
	/* privcmd: once restricted, only to the same domain again. */
	if (fmem->only != UNRESTRICTED && fmem->only != domid)
		return gm_ret(-EINVAL);
	fmem->only = domid;
	return 0;
}

static int foreignmemory_restrict(struct Xentoolcore__Active_Handle *active, domid_t domid)
{
	return xenforeignmemory_restrict((xenforeignmemory_handle *)(void *)active, domid);
}

xenforeignmemory_handle *xenforeignmemory_open(struct xentoollog_logger *logger, unsigned open_flags)
{
	xenforeignmemory_handle *fmem;

	(void)logger;
	if (open_flags) {
		errno = EINVAL;
		return NULL;
	}
	fmem = gm_ctx_open("xenforeignmemory", sizeof(*fmem), foreignmemory_restrict);
	if (!fmem)
		return NULL;
	fmem->only = UNRESTRICTED;
	pthread_mutex_init(&fmem->lock, NULL);
	return fmem;
}

/* Unmapped first: while the hold is there, the domain's pages cannot become another domain's. */
static void area_end(xenforeignmemory_handle *fmem, struct area *area)
{
	munmap(area->addr, area->pages * GM_PAGE_SIZE);
	gm_track_drop(fmem->ctx.m, fmem->ctx.m->proc, area->track);
	gm_tracks_give(fmem->ctx.m, 1, &area->track);
	free(area);
}

int xenforeignmemory_close(xenforeignmemory_handle *fmem)
{
	if (!fmem)
		return 0;
	while (gm_ctx_own(&fmem->ctx) && fmem->areas) {
		struct area *area = fmem->areas;

		fmem->areas = area->next;
		area_end(fmem, area);
	}
	pthread_mutex_destroy(&fmem->lock);
	gm_ctx_close(&fmem->ctx);
	return 0;
}

/* ---- areas -------------------------------------------------------------------------------------------------- */

/* The handle's own restriction comes before what Xen allows the caller's domain. */
static int fmem_allowed(xenforeignmemory_handle *fmem, uint32_t domid)
{
	if (fmem->only != UNRESTRICTED && fmem->only != domid)
		return -EPERM;
	return domid < GM_MAX_DOMAINS ? gm_dm_allowed(fmem->ctx.m, (uint16_t)domid) : -ESRCH;
}

/* Reserve addresses for `pages` and take a hold on the domain. */
static struct area *area_new(xenforeignmemory_handle *fmem, struct gm_attach *a, void *addr, int flags, size_t pages)
{
	struct area *area = calloc(1, sizeof(*area));
	int err = -ENOMEM;

	if (!area)
		goto err_errno;
	if (!gm_tracks_take(fmem->ctx.m, 1, &area->track))
		goto err_area;
	area->pages = pages;
	area->addr = mmap(addr, pages * GM_PAGE_SIZE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (flags & MAP_FIXED), -1, 0);
	if (area->addr == MAP_FAILED)
		goto err_track;
	err = gm_foreign_hold(fmem->ctx.m, a, area->track);
	if (err)
		goto err_map;
	pthread_mutex_lock(&fmem->lock);
	area->next = fmem->areas;
	fmem->areas = area;
	pthread_mutex_unlock(&fmem->lock);
	return area;

err_map:
	munmap(area->addr, pages * GM_PAGE_SIZE);
err_track:
	gm_tracks_give(fmem->ctx.m, 1, &area->track);
err_area:
	free(area);
err_errno:
	errno = -err;
	return NULL;
}

/* Take out of the list the area at `addr` (of that many pages) or this one; NULL: not there. */
static struct area *area_take(xenforeignmemory_handle *fmem, const void *addr, size_t pages)
{
	struct area **at, *area = NULL;

	pthread_mutex_lock(&fmem->lock);
	for (at = &fmem->areas; *at && ((*at)->addr != addr || (*at)->pages != pages); at = &(*at)->next)
		;
	area = *at;
	if (area)
		*at = area->next;
	pthread_mutex_unlock(&fmem->lock);
	return area;
}

/* Over the addresses that the area has reserved, so that no other thread's mapping can be replaced. */
static int area_place(const struct area *area, size_t at, size_t pages, int fd, uint64_t page, int prot)
{
	void *p = mmap((uint8_t *)area->addr + at * GM_PAGE_SIZE, pages * GM_PAGE_SIZE, prot, MAP_SHARED | MAP_FIXED,
		       fd, (off_t)(page * GM_PAGE_SIZE));

	return p == MAP_FAILED ? -errno : 0;
}

/* ---- guest frames ------------------------------------------------------------------------------------------- */

/* Place the frames; the first error if `errs` is NULL, else one each (negative, as privcmd writes them). */
static int frames_place(const struct area *area, const struct gm_attach *a, const xen_pfn_t *arr, int prot, int *errs)
{
	int fd = prot & PROT_WRITE ? a->ram_fd : a->ram_ro_fd, first = 0;

	for (size_t i = 0, n; i < area->pages; i += n) {
		int err = -EINVAL;

		n = 1;
		if (arr[i] < a->ram_frames) {
			while (i + n < area->pages && arr[i + n] == arr[i] + n && arr[i + n] < a->ram_frames)
				n++;
			err = area_place(area, i, n, fd, arr[i], prot);
		}
		for (size_t k = i; errs && k < i + n; k++)
			errs[k] = err;
		if (err && !first)
			first = err;
	}
	return errs ? 0 : first;
}

/*
 * With `errs` a frame that cannot be mapped has its own error and the call succeeds; without, one bad frame fails the
 * call.
 */
void *xenforeignmemory_map2(xenforeignmemory_handle *fmem, uint32_t dom, void *addr, int prot, int flags, size_t pages,
			    const xen_pfn_t arr[], int errs[])
{
	struct gm_attach *a = NULL;
	struct area *area = NULL;
	void *p = NULL;
	int err = pages && pages <= SIZE_MAX / GM_PAGE_SIZE ? fmem_allowed(fmem, dom) : -EINVAL;

	if (!err && !(a = gm_attach_get(fmem->ctx.m, (uint16_t)dom)))
		err = -ESRCH;
	if (err)
		goto out;
	GM_COUNT(fmem->ctx.m, hypercalls, 1);
	area = area_new(fmem, a, addr, flags, pages);
	err = area ? frames_place(area, a, arr, prot, errs) : -errno;
	p = area && !err ? area->addr : NULL;
	if (area && err)
		area_end(fmem, area_take(fmem, area->addr, area->pages));
out:
	gm_attach_put(fmem->ctx.m, a);
	if (err)
		errno = -err;
	return p;
}

void *xenforeignmemory_map(xenforeignmemory_handle *fmem, uint32_t dom, int prot, size_t pages, const xen_pfn_t arr[],
			   int err[])
{
	return xenforeignmemory_map2(fmem, dom, NULL, prot, 0, pages, arr, err);
}

int xenforeignmemory_unmap(xenforeignmemory_handle *fmem, void *addr, size_t pages)
{
	struct area *area = area_take(fmem, addr, pages);

	if (!area)
		return gm_ret(-EINVAL);
	area_end(fmem, area);
	return 0;
}

/* ---- resources ---------------------------------------------------------------------------------------------- */

/* Only ioreq pages are to be had as a resource. They lie in a file of the guest's, two pages per server. */
xenforeignmemory_resource_handle *xenforeignmemory_map_resource(xenforeignmemory_handle *fmem, domid_t domid,
								unsigned int type, unsigned int id, unsigned long frame,
								unsigned long nr_frames, void **paddr, int prot,
								int flags)
{
	xenforeignmemory_resource_handle *res = NULL;
	struct gm_attach *a = NULL;
	int err = fmem_allowed(fmem, domid);

	if (!err && gm_fault(fmem->ctx.m, GM_FAULT_MAP_RESOURCE))
		err = -ENOMEM;
	if (!err && type != XENMEM_resource_ioreq_server)
		err = -EOPNOTSUPP;
	if (!err)
		GM_COUNT(fmem->ctx.m, hypercalls, 1);
	if (!err)
		err = nr_frames ? gm_server_pages(fmem->ctx.m, domid, (uint16_t)id, frame, nr_frames) : -EINVAL;
	if (!err && (!(a = gm_attach_get(fmem->ctx.m, domid)) || !(res = calloc(1, sizeof(*res)))))
		err = a ? -ENOMEM : -ESRCH;
	if (err)
		goto out;
	res->area = area_new(fmem, a, *paddr, flags, nr_frames);
	err = res->area ? area_place(res->area, 0, nr_frames, a->io_fd, (uint64_t)id * 2 + frame, prot) : -errno;
	if (!err)
		*paddr = res->area->addr;
	else if (res->area)
		area_end(fmem, area_take(fmem, res->area->addr, nr_frames));
out:
	gm_attach_put(fmem->ctx.m, a);
	if (!err)
		return res;
	free(res);
	errno = -err;
	return NULL;
}

int xenforeignmemory_unmap_resource(xenforeignmemory_handle *fmem, xenforeignmemory_resource_handle *fres)
{
	struct area *area;

	if (!fres)
		return 0;
	area = area_take(fmem, fres->area->addr, fres->area->pages);
	free(fres);
	if (!area)
		return gm_ret(-EINVAL);
	area_end(fmem, area);
	return 0;
}

int xenforeignmemory_resource_size(xenforeignmemory_handle *fmem, domid_t domid, unsigned int type, unsigned int id,
				   size_t *size)
{
	int err = fmem_allowed(fmem, domid);

	(void)id;
	if (!err && type != XENMEM_resource_ioreq_server)
		err = -EOPNOTSUPP;
	if (!err)
		*size = (size_t)2 * GM_PAGE_SIZE;
	return gm_ret(err);
}
