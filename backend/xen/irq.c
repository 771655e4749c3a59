/* SPDX-License-Identifier: MIT */
#include "backend/xen/irq.h"
#include "backend/xen/restrict.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xendevicemodel.h>

struct gd_irq_ops {
	int (*raise)(struct gd_irq *irq); /* 0 or -errno */
	void (*close)(struct gd_irq *irq);
};

struct gd_irq {
	const struct gd_irq_ops *ops;
	struct gd_log *log;
	uint16_t domid;
	unsigned number;
	xendevicemodel_handle *devicemodel;
};

static int line_raise(struct gd_irq *irq)
{
	return xendevicemodel_set_irq_level(irq->devicemodel, irq->domid, irq->number, 1) ? -errno : 0;
}

static void line_close(struct gd_irq *irq)
{
	xendevicemodel_close(irq->devicemodel);
}

static const struct gd_irq_ops line_ops = {line_raise, line_close};

int gd_irq_line_open(struct gd_irq **out, uint16_t domid, unsigned number, struct gd_log *log)
{
	struct gd_irq *irq = calloc(1, sizeof(*irq));
	int ret;

	if (!irq)
		return -ENOMEM;
	*irq = (struct gd_irq){.ops = &line_ops, .log = log, .domid = domid, .number = number};
	errno = 0;
	irq->devicemodel = xendevicemodel_open(NULL, 0);
	if (!irq->devicemodel) {
		ret = errno ? -errno : -EIO;
		free(irq);
		return ret;
	}
	gd_restrict_note("xendevicemodel", xendevicemodel_restrict(irq->devicemodel, domid));
	*out = irq;
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
	int ret = irq->ops->raise(irq);

	/* A guest that ends takes its controller with it, and may end at any time: hence limited. */
	if (ret)
		gd_log_guest(irq->log, GD_WARN, "irq %u: cannot raise it: %s", irq->number, strerror(-ret));
}
