/* SPDX-License-Identifier: MIT */
/* libxengnttab on the model. Results and errno are those of the library over Linux's gntdev. */
#include "model/lib/ctx.h"
#include "model/domain.h"
#include "model/grant.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xengnttab.h>

#define BUCKETS 1024u

/* Mappings are found by their address, and a backend may hold thousands: hence a table of buckets. */
struct xengntdev_handle {
	struct gm_ctx ctx;
	int fd;
	bool restricted;      /* libxengnttab cannot be restricted to a domain: after a restriction it is of no use */
	pthread_mutex_t lock; /* the table of mappings */
	struct gm_mapping *mappings[BUCKETS];
};

static struct gm_mapping **bucket_of(xengnttab_handle *xgt, const void *addr)
{
	return &xgt->mappings[((uintptr_t)addr / GM_PAGE_SIZE) % BUCKETS];
}

/* The library puts /dev/null in place of gntdev: every ioctl then fails like this. */
static int handle_usable(xengnttab_handle *xgt)
{
	if (__atomic_load_n(&xgt->restricted, __ATOMIC_RELAXED))
		return -ENOTTY;
	return gm_self_alive(xgt->ctx.m) ? 0 : -ENODEV;
}

/* See `restricted`: it is final. */
static int gnttab_restrict(struct Xentoolcore__Active_Handle *active, domid_t domid)
{
	xengnttab_handle *xgt = (xengnttab_handle *)(void *)active;

	(void)domid;
	__atomic_store_n(&xgt->restricted, true, __ATOMIC_RELAXED);
	return 0;
}

/* ---- open and close ----------------------------------------------------------------------------------------- */

xengnttab_handle *xengnttab_open(struct xentoollog_logger *logger, unsigned open_flags)
{
	xengnttab_handle *xgt;

	(void)logger;
	if (open_flags) {
		errno = EINVAL;
		return NULL;
	}
	xgt = gm_ctx_open("xengnttab", sizeof(*xgt), gnttab_restrict);
	if (!xgt)
		return NULL;
	pthread_mutex_init(&xgt->lock, NULL);
	xgt->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return xgt;
}

/* gntdev ends a handle's mappings when its descriptor is closed. */
static void mappings_end(xengnttab_handle *xgt)
{
	for (uint32_t i = 0; i < BUCKETS; i++)
		while (xgt->mappings[i]) {
			struct gm_mapping *map = xgt->mappings[i];

			xgt->mappings[i] = map->next;
			gm_grant_unmap(xgt->ctx.m, map);
		}
}

int xengnttab_close(xengnttab_handle *xgt)
{
	if (!xgt)
		return 0;
	if (gm_ctx_own(&xgt->ctx))
		mappings_end(xgt);
	if (xgt->fd >= 0)
		close(xgt->fd);
	pthread_mutex_destroy(&xgt->lock);
	gm_ctx_close(&xgt->ctx);
	return 0;
}

int xengnttab_fd(xengnttab_handle *xgt)
{
	return xgt->fd;
}

int xengnttab_set_max_grants(xengnttab_handle *xgt, uint32_t nr_grants)
{
	(void)xgt;
	(void)nr_grants;
	return 0; /* Linux has not limited it for long; the library makes that a success */
}

/* ---- map and unmap ------------------------------------------------------------------------------------------ */

/* When the mapping goes: clear this byte of it (from GM_PAGE_SIZE on: none), raise this port (UINT32_MAX: none). */
struct notify {
	uint32_t offset;
	evtchn_port_t port;
};

static int mapping_notify(xengnttab_handle *xgt, const struct gm_mapping *map, int prot, const struct notify *notify)
{
	if (notify->offset >= GM_PAGE_SIZE && notify->port == UINT32_MAX)
		return 0;
	/* The byte can be cleared only in a page that may be written. */
	if (notify->offset < GM_PAGE_SIZE && !(prot & PROT_WRITE))
		return -EINVAL;
	return gm_grant_notify(xgt->ctx.m, map, notify->offset, notify->port);
}

/* All or nothing: a mapping whose notification cannot be set is ended again. */
static int run_map(xengnttab_handle *xgt, const struct gm_run *run, const struct notify *notify,
		   struct gm_mapping **map)
{
	int err = handle_usable(xgt);

	if (!err && gm_fault(xgt->ctx.m, GM_FAULT_MAP))
		err = -ENOMEM;
	if (!err)
		err = gm_grant_map(xgt->ctx.m, run, map);
	if (err)
		return err;
	err = mapping_notify(xgt, *map, run->prot, notify);
	if (err)
		gm_grant_unmap(xgt->ctx.m, *map);
	return err;
}

static void *map_refs(xengnttab_handle *xgt, struct gm_run run, struct notify notify)
{
	struct gm_mapping *map;
	int err;

	run.prot &= PROT_READ | PROT_WRITE;
	err = run_map(xgt, &run, &notify, &map);
	if (err) {
		errno = -err;
		return NULL;
	}
	pthread_mutex_lock(&xgt->lock);
	map->next = *bucket_of(xgt, map->addr);
	*bucket_of(xgt, map->addr) = map;
	pthread_mutex_unlock(&xgt->lock);
	return map->addr;
}

static const struct notify no_notify = {.offset = UINT32_MAX, .port = UINT32_MAX};

void *xengnttab_map_grant_ref(xengnttab_handle *xgt, uint32_t domid, uint32_t ref, int prot)
{
	return map_refs(xgt, (struct gm_run){1, &domid, true, &ref, prot}, no_notify);
}

void *xengnttab_map_grant_refs(xengnttab_handle *xgt, uint32_t count, uint32_t *domids, uint32_t *refs, int prot)
{
	return map_refs(xgt, (struct gm_run){count, domids, false, refs, prot}, no_notify);
}

void *xengnttab_map_domain_grant_refs(xengnttab_handle *xgt, uint32_t count, uint32_t domid, uint32_t *refs, int prot)
{
	return map_refs(xgt, (struct gm_run){count, &domid, true, refs, prot}, no_notify);
}

void *xengnttab_map_grant_ref_notify(xengnttab_handle *xgt, uint32_t domid, uint32_t ref, int prot,
				     uint32_t notify_offset, evtchn_port_t notify_port)
{
	return map_refs(xgt, (struct gm_run){1, &domid, true, &ref, prot}, (struct notify){notify_offset, notify_port});
}

/* Only a whole mapping can be ended, as with gntdev: by the address and the count with which it was made. */
int xengnttab_unmap(xengnttab_handle *xgt, void *start_address, uint32_t count)
{
	struct gm_mapping **at, *map = NULL;

	if (!start_address)
		return gm_ret(-EINVAL);
	if (__atomic_load_n(&xgt->restricted, __ATOMIC_RELAXED))
		return gm_ret(-ENOTTY);
	pthread_mutex_lock(&xgt->lock);
	for (at = bucket_of(xgt, start_address); *at && (*at)->addr != start_address; at = &(*at)->next)
		;
	if (*at && (*at)->count == count) {
		map = *at;
		*at = map->next;
	}
	pthread_mutex_unlock(&xgt->lock);
	if (!map)
		return gm_ret(-EINVAL);
	gm_grant_unmap(xgt->ctx.m, map);
	return 0;
}

/* ---- copy --------------------------------------------------------------------------------------------------- */

int xengnttab_grant_copy(xengnttab_handle *xgt, uint32_t count, xengnttab_grant_copy_segment_t *segs)
{
	int err = handle_usable(xgt);

	if (!err && gm_fault(xgt->ctx.m, GM_FAULT_COPY))
		err = -ENOMEM;
	return gm_ret(err ? err : gm_grant_copy(xgt->ctx.m, count, segs));
}

/* ---- what the model does not have --------------------------------------------------------------------------- */

int xengnttab_dmabuf_exp_from_refs(xengnttab_handle *xgt, uint32_t domid, uint32_t flags, uint32_t count,
				   const uint32_t *refs, uint32_t *fd)
{
	(void)xgt, (void)domid, (void)flags, (void)count, (void)refs, (void)fd;
	return gm_ret(-ENOSYS);
}

int xengnttab_dmabuf_exp_wait_released(xengnttab_handle *xgt, uint32_t fd, uint32_t wait_to_ms)
{
	(void)xgt, (void)fd, (void)wait_to_ms;
	return gm_ret(-ENOSYS);
}

int xengnttab_dmabuf_imp_to_refs(xengnttab_handle *xgt, uint32_t domid, uint32_t fd, uint32_t count, uint32_t *refs)
{
	(void)xgt, (void)domid, (void)fd, (void)count, (void)refs;
	return gm_ret(-ENOSYS);
}

int xengnttab_dmabuf_imp_release(xengnttab_handle *xgt, uint32_t fd)
{
	(void)xgt, (void)fd;
	return gm_ret(-ENOSYS);
}
