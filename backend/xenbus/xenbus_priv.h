/* SPDX-License-Identifier: MIT */
/* For the files xenbus.c, leave.c, reconnect.c and report.c only. */
#ifndef GD_XENBUS_PRIV_H
#define GD_XENBUS_PRIV_H

#include "backend/base/timer.h"
#include "backend/base/wakeup.h"
#include "backend/xenbus/step.h"
#include "backend/xenbus/table.h"
#include "backend/xenbus/xenbus.h"

#include <abi/xen.h>

struct gd_xenbus {
	struct gd_loop *loop;
	struct gd_served_env env;
	struct gd_store *store;
	struct gd_table *table;
	struct gd_step step;
	struct gd_loop_source watch; /* xenstore has sent something */
	struct gd_wakeup wakeup;
	struct gd_timer removal, retry, again;
	bool stopping, lost; /* lost: there is no xenstored; it is tried to connect again every */
	unsigned again_ms;   /* so many milliseconds */
	/* What is to be listed again: whole classes, and domains of a class (one bit each). */
	bool dirty_class[GD_CLASSES], dirty_domains;
	bool domains_changed; /* some domains have come or gone */
	uint8_t dirty_domain[GD_CLASSES][(GIO_DOMID_MAX + 8) / 8];
};

/* The only work after gd_xenbus_stop(): to stop what jobs have opened meanwhile. */
void gd_leave_work(struct gd_xenbus *xenbus);

/* The connection is lost: begin to try to connect again. */
void gd_reconnect_begin(struct gd_xenbus *xenbus, int error);
/* Called when xenbus->again expires. */
void gd_reconnect_expired(void *opaque);
/*
 * There is a connection: wait for its events, and read everything. Both classes are read in one go: all that a guest's
 * directories name must be known before any of its devices is served.
 */
int gd_reconnect_watch(struct gd_xenbus *xenbus);

#endif
