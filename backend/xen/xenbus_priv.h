/* SPDX-License-Identifier: MIT */
/* Within xenbus.c, leave.c and report.c. */
#ifndef GD_XENBUS_PRIV_H
#define GD_XENBUS_PRIV_H

#include "backend/base/timer.h"
#include "backend/base/wakeup.h"
#include "backend/xen/step.h"
#include "backend/xen/table.h"
#include "backend/xen/xenbus.h"

struct gd_xenbus {
	struct gd_loop *loop;
	struct gd_device_env env;
	struct gd_store *store;
	struct gd_table *table;
	struct gd_step step;
	struct gd_loop_source watch; /* xenstore has sent something */
	struct gd_wakeup wakeup;
	struct gd_timer removal, retry, again;
	bool stopping, lost; /* lost: xenstored, and it is looked for again, each */
	unsigned again_ms;   /* so many ms */
	/* To be listed again: whole classes, and domains of a class (a bit each). */
	bool dirty_class[GD_CLASSES], dirty_domains;
	bool domains_changed; /* some have come or gone */
	uint8_t dirty_domain[GD_CLASSES][(GD_DOMID_MAX + 8) / 8];
};

/* After gd_xenbus_stop(), in place of all other work: what jobs have opened meanwhile is stopped. */
void gd_leave_work(struct gd_xenbus *xenbus);

/* The connection is lost: begin to look for another. */
void gd_reconnect_begin(struct gd_xenbus *xenbus, int error);
/* Of xenbus->again. */
void gd_reconnect_expired(void *opaque);
/* There is a connection: hear of its events, and read everything. Both classes at once: all that a guest's directories
 * name must be known before any of its devices is served. */
int gd_reconnect_watch(struct gd_xenbus *xenbus);

#endif
