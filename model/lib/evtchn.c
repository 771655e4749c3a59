/* SPDX-License-Identifier: MIT */
/* libxenevtchn on the model. Results and errno are those of the library over Linux's /dev/xen/evtchn. */
#include "model/lib/ctx.h"
#include "model/domain.h"
#include "model/event.h"

#include <unistd.h>

#include <xenevtchn.h>

#define UNRESTRICTED 0xffffffffu

struct xenevtchn_handle {
	struct gm_ctx ctx;
	uint32_t token;
	int fd;
	uint32_t only; /* domain that ports may be bound to */
};

static int evtchn_restrict(struct Xentoolcore__Active_Handle *active, domid_t domid)
{
	return xenevtchn_restrict((xenevtchn_handle *)(void *)active, domid);
}

/* ---- open and close ----------------------------------------------------------------------------------------- */

xenevtchn_handle *xenevtchn_open(struct xentoollog_logger *logger, unsigned int flags)
{
	xenevtchn_handle *xce;
	int err;

	(void)logger;
	if (flags & ~(unsigned)XENEVTCHN_NO_CLOEXEC) {
		errno = EINVAL;
		return NULL;
	}
	xce = gm_ctx_open("xenevtchn", sizeof(*xce), evtchn_restrict);
	if (!xce)
		return NULL;
	xce->only = UNRESTRICTED;
	err = gm_handle_open(xce->ctx.m, !(flags & XENEVTCHN_NO_CLOEXEC), &xce->token, &xce->fd);
	if (err) {
		gm_ctx_close(&xce->ctx);
		errno = -err;
		return NULL;
	}
	return xce;
}

/* A handle over a descriptor that this program inherited, for example from the process that started it. */
xenevtchn_handle *xenevtchn_fdopen(struct xentoollog_logger *logger, int fd, unsigned open_flags)
{
	xenevtchn_handle *xce;

	(void)logger;
	if (open_flags) {
		errno = EINVAL;
		return NULL;
	}
	xce = gm_ctx_open("xenevtchn", sizeof(*xce), evtchn_restrict);
	if (!xce)
		return NULL;
	xce->only = UNRESTRICTED;
	xce->fd = fd;
	xce->token = gm_handle_find(xce->ctx.m, fd);
	if (!xce->token) {
		gm_ctx_close(&xce->ctx);
		errno = EINVAL;
		return NULL;
	}
	return xce;
}

/* After a fork the child closes only its copy of the descriptor: the ports are the parent's. */
int xenevtchn_close(xenevtchn_handle *xce)
{
	if (!xce)
		return 0;
	if (gm_ctx_own(&xce->ctx))
		gm_handle_close(xce->ctx.m, xce->token);
	close(xce->fd);
	gm_ctx_close(&xce->ctx);
	return 0;
}

int xenevtchn_fd(xenevtchn_handle *xce)
{
	return xce->fd;
}

/* /dev/xen/evtchn can be restricted once, and to another domain than 0 only. */
int xenevtchn_restrict(xenevtchn_handle *xce, domid_t domid)
{
	if (xce->only != UNRESTRICTED)
		return gm_ret(-EACCES);
	if (!domid || domid >= DOMID_FIRST_RESERVED)
		return gm_ret(-EINVAL);
	xce->only = domid;
	return 0;
}

/* ---- binding ------------------------------------------------------------------------------------------------ */

/* May this handle bind to `domid`? Resolves DOMID_SELF. */
static int bind_check(xenevtchn_handle *xce, uint32_t *domid)
{
	if (xce->only != UNRESTRICTED && xce->only != *domid)
		return -EACCES;
	if (!gm_self_alive(xce->ctx.m))
		return -ESRCH;
	if (gm_fault(xce->ctx.m, GM_FAULT_BIND))
		return -ENOSPC;
	if (*domid == DOMID_SELF)
		*domid = xce->ctx.m->domid;
	return *domid < DOMID_FIRST_RESERVED ? 0 : -ESRCH;
}

xenevtchn_port_or_error_t xenevtchn_bind_unbound_port(xenevtchn_handle *xce, uint32_t domid)
{
	int err = bind_check(xce, &domid);

	return gm_ret(err ? err : gm_event_alloc_unbound(xce->ctx.m, xce->ctx.m->domid, (uint16_t)domid, xce->token));
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid, evtchn_port_t remote_port)
{
	int err = bind_check(xce, &domid);

	return gm_ret(err ? err : gm_event_bind_interdomain(xce->ctx.m, (uint16_t)domid, remote_port, xce->token));
}

xenevtchn_port_or_error_t xenevtchn_bind_virq(xenevtchn_handle *xce, unsigned int virq)
{
	(void)virq;
	return gm_ret(xce->only != UNRESTRICTED ? -EACCES : -ENOSYS); /* the model raises none */
}

int xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port)
{
	return gm_ret(gm_handle_unbind(xce->ctx.m, xce->token, port));
}

/* ---- events ------------------------------------------------------------------------------------------------- */

int xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port)
{
	if (!gm_handle_owns(xce->ctx.m, xce->token, port) || gm_fault(xce->ctx.m, GM_FAULT_NOTIFY))
		return gm_ret(-ENOTCONN);
	GM_COUNT(xce->ctx.m, hypercalls, 1);
	GM_COUNT(xce->ctx.m, event_sends, 1);
	/* The driver does not look at what the hypercall says. */
	gm_event_send(xce->ctx.m, xce->ctx.m->domid, port);
	return 0;
}

/*
 * Reads one port's number. The pipe may give part of it when a signal comes, and blocking depends on the descriptor's
 * flags, which are the caller's.
 */
xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *xce)
{
	uint32_t port;
	size_t got = 0;

	while (got < sizeof(port)) {
		ssize_t n = read(xce->fd, (char *)&port + got, sizeof(port) - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		got += (size_t)n;
	}
	return (int)port;
}

int xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port)
{
	/* A port that is not ours is passed over, as the driver does. */
	if (gm_handle_owns(xce->ctx.m, xce->token, port))
		gm_event_unmask(xce->ctx.m, xce->ctx.m->domid, port);
	return 0;
}
