/* SPDX-License-Identifier: MIT */
#include "backend/base/error.h"
#include "backend/xen/irq.h"
#include "backend/xen/restrict.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xendevicemodel.h>
#include <xenevtchn.h>

struct gd_irq_ops {
	int (*open)(struct gd_irq *irq);  /* get the library's handle, for nothing but this guest; 0 or -errno */
	int (*raise)(struct gd_irq *irq); /* 0 or -errno */
	void (*close)(struct gd_irq *irq);
};

struct gd_irq {
	const struct gd_irq_ops *ops;
	struct gd_log *log;
	uint16_t domid;
	unsigned number;
	xendevicemodel_handle *devicemodel; /* a line */
	xenevtchn_handle *evtchn;	    /* an event channel */
	int64_t local;			    /* our end's port, -1: none; written by the main thread, atomic */
};

static int line_open(struct gd_irq *irq)
{
	errno = 0;
	irq->devicemodel = xendevicemodel_open(NULL, 0);
	if (!irq->devicemodel)
		return gd_errno_or(EIO);
	gd_restrict_note(GD_RESTRICT_DEVICEMODEL, xendevicemodel_restrict(irq->devicemodel, irq->domid));
	return 0;
}

static int line_raise(struct gd_irq *irq)
{
	return xendevicemodel_set_irq_level(irq->devicemodel, irq->domid, irq->number, 1) ? -errno : 0;
}

static void line_close(struct gd_irq *irq)
{
	xendevicemodel_close(irq->devicemodel);
}

static const struct gd_irq_ops line_ops = {line_open, line_raise, line_close};

static int event_open(struct gd_irq *irq)
{
	errno = 0;
	irq->evtchn = xenevtchn_open(NULL, 0);
	if (!irq->evtchn)
		return gd_errno_or(EIO);
	gd_restrict_note(GD_RESTRICT_EVTCHN, xenevtchn_restrict(irq->evtchn, irq->domid));
	return 0;
}

static int event_raise(struct gd_irq *irq)
{
	int64_t local = __atomic_load_n(&irq->local, __ATOMIC_RELAXED);

	/* If it was closed meanwhile nothing happens, or a newer port of the same number is raised, which is this
	 * device's. */
	return local < 0 || !xenevtchn_notify(irq->evtchn, (evtchn_port_t)local) ? 0 : -errno;
}

static void event_close(struct gd_irq *irq)
{
	xenevtchn_close(irq->evtchn); /* ends the binding, too */
}

static const struct gd_irq_ops event_ops = {event_open, event_raise, event_close};

static int irq_open(struct gd_irq **out, const struct gd_irq *config)
{
	struct gd_irq *irq = malloc(sizeof(*irq));
	int err;

	if (!irq)
		return -ENOMEM;
	*irq = *config;
	err = irq->ops->open(irq);
	if (err)
		free(irq);
	else
		*out = irq;
	return err;
}

int gd_irq_line_open(struct gd_irq **out, uint16_t domid, unsigned number, struct gd_log *log)
{
	const struct gd_irq config = {.ops = &line_ops, .log = log, .domid = domid, .number = number};

	return irq_open(out, &config);
}

int gd_irq_event_open(struct gd_irq **out, uint16_t domid, struct gd_log *log)
{
	const struct gd_irq config = {.ops = &event_ops, .log = log, .domid = domid, .local = -1};

	return irq_open(out, &config);
}

void gd_irq_event_unbind(struct gd_irq *irq)
{
	int64_t local = __atomic_exchange_n(&irq->local, -1, __ATOMIC_RELAXED);

	if (local >= 0)
		xenevtchn_unbind(irq->evtchn, (evtchn_port_t)local);
}

int gd_irq_event_bind(struct gd_irq *irq, uint32_t port)
{
	xenevtchn_port_or_error_t local;

	gd_irq_event_unbind(irq);
	errno = 0;
	local = xenevtchn_bind_interdomain(irq->evtchn, irq->domid, port);
	if (local < 0)
		return gd_errno_or(EIO);
	irq->number = port;
	__atomic_store_n(&irq->local, local, __ATOMIC_RELAXED);
	gd_irq_raise(irq);
	return 0;
}

void gd_irq_close(struct gd_irq *irq)
{
	if (!irq)
		return;
	irq->ops->close(irq);
	free(irq);
}

void gd_irq_raise(struct gd_irq *irq)
{
	int err = irq->ops->raise(irq);

	/* A guest may end at any time, and its controller with it: so these lines are limited. */
	if (err)
		gd_log_guest(irq->log, GD_WARN, "irq %u: cannot raise it: %s", irq->number, strerror(-err));
}
