/* SPDX-License-Identifier: MIT */
/* libxengnttab's other half on the model: sharing pages, as the library does it over Linux's gntalloc. */
#include "model/lib/ctx.h"
#include "model/share.h"

#include <fcntl.h>
#include <unistd.h>

#include <xengnttab.h>

struct xengntdev_handle {
	struct gm_ctx ctx;
	int fd;
	bool restricted;      /* as in gnttab.c */
	pthread_mutex_t lock; /* shares */
	struct gm_share *shares;
};

/* When the share goes: clear this byte of it (from GM_PAGE_SIZE on: none), raise this port (UINT32_MAX: none). */
struct notify {
	uint32_t offset;
	evtchn_port_t port;
};

/* A restricted handle is of no use, as over Linux: gntalloc knows no restriction, so the library puts /dev/null in its
 * place. */
static int gntshr_restrict(struct Xentoolcore__Active_Handle *active, domid_t domid)
{
	xengntshr_handle *xgs = (xengntshr_handle *)(void *)active;

	(void)domid;
	__atomic_store_n(&xgs->restricted, true, __ATOMIC_RELAXED);
	return 0;
}

xengntshr_handle *xengntshr_open(struct xentoollog_logger *logger, unsigned open_flags)
{
	xengntshr_handle *xgs;

	(void)logger, (void)open_flags;
	xgs = gm_ctx_open("xengntshr", sizeof(*xgs), gntshr_restrict);
	if (!xgs)
		return NULL;
	pthread_mutex_init(&xgs->lock, NULL);
	xgs->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return xgs;
}

/* gntalloc ends what a handle shares when its descriptor is closed, and so does this. */
int xengntshr_close(xengntshr_handle *xgs)
{
	if (!xgs)
		return 0;
	while (gm_ctx_own(&xgs->ctx) && xgs->shares) {
		struct gm_share *share = xgs->shares;

		xgs->shares = share->next;
		gm_unshare(xgs->ctx.m, share);
	}
	if (xgs->fd >= 0)
		close(xgs->fd);
	pthread_mutex_destroy(&xgs->lock);
	gm_ctx_close(&xgs->ctx);
	return 0;
}

int xengntshr_fd(xengntshr_handle *xgs)
{
	return xgs->fd;
}

/* All or nothing: a share whose notification cannot be set is ended again. */
static void *share(xengntshr_handle *xgs, uint32_t domid, uint32_t count, uint32_t *refs, bool writable,
		   const struct notify *notify)
{
	struct gm_share *s = NULL;
	int err = 0;

	if (__atomic_load_n(&xgs->restricted, __ATOMIC_RELAXED))
		err = -ENOTTY;
	else if (!gm_self_alive(xgs->ctx.m))
		err = -ENODEV;
	if (!err)
		err = gm_share(xgs->ctx.m, (uint16_t)domid, count, writable, refs, &s);
	if (!err && (notify->offset < GM_PAGE_SIZE || notify->port != UINT32_MAX))
		err = gm_share_notify(xgs->ctx.m, s, notify->offset, notify->port);
	if (err) {
		if (s)
			gm_unshare(xgs->ctx.m, s);
		errno = -err;
		return NULL;
	}
	pthread_mutex_lock(&xgs->lock);
	s->next = xgs->shares;
	xgs->shares = s;
	pthread_mutex_unlock(&xgs->lock);
	return s->addr;
}

void *xengntshr_share_pages(xengntshr_handle *xgs, uint32_t domid, int count, uint32_t *refs, int writable)
{
	static const struct notify none = {.offset = UINT32_MAX, .port = UINT32_MAX};

	return share(xgs, domid, count > 0 ? (uint32_t)count : 0, refs, writable, &none);
}

void *xengntshr_share_page_notify(xengntshr_handle *xgs, uint32_t domid, uint32_t *ref, int writable,
				  uint32_t notify_offset, evtchn_port_t notify_port)
{
	const struct notify notify = {.offset = notify_offset, .port = notify_port};

	return share(xgs, domid, 1, ref, writable, &notify);
}

/* Only a whole share can be ended, by the address and the count with which it was made. */
int xengntshr_unshare(xengntshr_handle *xgs, void *start_address, uint32_t count)
{
	struct gm_share **at, *found = NULL;

	pthread_mutex_lock(&xgs->lock);
	for (at = &xgs->shares; *at && (*at)->addr != start_address; at = &(*at)->next)
		;
	if (*at && (*at)->count == count) {
		found = *at;
		*at = found->next;
	}
	pthread_mutex_unlock(&xgs->lock);
	if (!found)
		return gm_ret(-EINVAL);
	gm_unshare(xgs->ctx.m, found);
	return 0;
}
