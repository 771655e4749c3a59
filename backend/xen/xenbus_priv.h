/* SPDX-License-Identifier: MIT */
/* Within xenbus.c, leave.c and report.c. */
#ifndef GD_XENBUS_PRIV_H
#define GD_XENBUS_PRIV_H

#include "backend/xen/step.h"
#include "backend/xen/table.h"
#include "backend/xen/xenbus.h"

struct gd_xenbus {
	struct gd_loop *loop;
	struct gd_device_env env;
	struct gd_store *store;
	struct gd_table *table;
	struct gd_step step;
	struct gd_loop_source watch, wake, removal, retry;
	bool stopping, lost;
	/* To be listed again: whole classes, and domains of a class (a bit each). */
	bool dirty_class[GD_CLASSES], dirty_domains;
	bool domains_changed; /* some have come or gone */
	uint8_t dirty_domain[GD_CLASSES][(GD_DOMID_MAX + 8) / 8];
};

/* After gd_xenbus_stop(), in place of all other work: what jobs have opened meanwhile is stopped. */
void gd_leave_work(struct gd_xenbus *xenbus);

#endif
