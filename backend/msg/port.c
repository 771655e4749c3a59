/* SPDX-License-Identifier: MIT */
#include "backend/msg/port.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>
#include <xenevtchn.h>

#include "backend/base/error.h"
#include "backend/xen/restrict.h"

int gd_port_open(struct gd_port *port, uint16_t domid)
{
	int fd;

	*port = (struct gd_port){.domid = domid, .local = -1, .masked = -1};
	errno = 0;
	port->evtchn = xenevtchn_open(NULL, 0);
	if (!port->evtchn)
		return gd_errno_or(EIO);
	gd_restrict_note(GD_RESTRICT_EVTCHN, xenevtchn_restrict(port->evtchn, domid));
	/* A thread that finds nothing to take must not wait there. */
	fd = xenevtchn_fd(port->evtchn);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return 0;
}

void gd_port_close(struct gd_port *port)
{
	if (port->evtchn)
		xenevtchn_close(port->evtchn);
	*port = (struct gd_port){0};
}

int gd_port_bind(struct gd_port *port, uint32_t remote)
{
	xenevtchn_port_or_error_t local;

	gd_port_unbind(port);
	errno = 0;
	local = xenevtchn_bind_interdomain(port->evtchn, port->domid, remote);
	if (local < 0)
		return gd_errno_or(EIO);
	__atomic_store_n(&port->local, local, __ATOMIC_RELAXED);
	return 0;
}

void gd_port_unbind(struct gd_port *port)
{
	int64_t local = __atomic_exchange_n(&port->local, -1, __ATOMIC_RELAXED);

	if (local >= 0)
		xenevtchn_unbind(port->evtchn, (evtchn_port_t)local);
}

int gd_port_send(const struct gd_port *port)
{
	int64_t local = __atomic_load_n(&port->local, __ATOMIC_RELAXED);

	/* If it was unbound meanwhile nothing happens, or a newer binding of the same number is used, which is ours. */
	return local < 0 || !xenevtchn_notify(port->evtchn, (evtchn_port_t)local) ? 0 : -errno;
}

int gd_port_fd(const struct gd_port *port)
{
	return xenevtchn_fd(port->evtchn);
}

void gd_port_take(struct gd_port *port)
{
	/* It may be the number of an end that was unbound since: to unmask that does nothing. */
	xenevtchn_port_or_error_t local = xenevtchn_pending(port->evtchn);

	if (local >= 0)
		port->masked = local;
}

void gd_port_taken(struct gd_port *port, uint32_t number)
{
	port->masked = number;
}

bool gd_port_written(const struct gd_port *port)
{
	struct stat st;

	return !fstat(xenevtchn_fd(port->evtchn), &st) && S_ISCHR(st.st_mode);
}

void gd_port_unmask(struct gd_port *port)
{
	if (port->masked >= 0)
		xenevtchn_unmask(port->evtchn, (evtchn_port_t)port->masked);
	port->masked = -1;
}
