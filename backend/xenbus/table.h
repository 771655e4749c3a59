/* SPDX-License-Identifier: MIT */
/*
 * All devices that are known, the guests that they belong to, and which of them are to be looked at. With a thousand
 * devices no function here takes longer than with ten, except those that go through all devices.
 *
 * Threads: the main thread, except for gd_table_up(). Errors: NULL: no memory.
 */
#ifndef GD_TABLE_H
#define GD_TABLE_H

#include "backend/xenbus/served.h"

#include <abi/xen.h>

#define GD_TABLE_BUCKETS 1024u

/* A guest with devices of ours. It exists from its first device to its last. */
struct gd_guest {
	uint16_t domid;
	struct gd_served *devices; /* linked by device->sibling */
	unsigned unread;	   /* how many of them have a directory that was not read yet */
	bool forgotten;		   /* xenstored died, and came back without this guest, which lives on */
	uint64_t settle_ms;	   /* when it is tried again to settle the guest; 0: it is not */
	bool unsettled_said;
	bool settled; /* what a former grantiod left for it has been taken over (xenbus/settle.h) */
	struct gd_guest *next, **link;
};

struct gd_table {
	struct gd_served *buckets[GD_TABLE_BUCKETS]; /* linked by device->chain */
	struct gd_guest *guest[GIO_DOMID_MAX + 1];
	struct gd_guest *guests; /* all guests, linked by ->next */
	struct gd_served *dirty, **dirty_end;
	struct gd_served *up; /* atomic; linked by device->up_next */
};

struct gd_table *gd_table_new(void);
void gd_table_free(struct gd_table *table); /* with its devices, which are IDLE; takes NULL */

struct gd_served *gd_table_find(const struct gd_table *table, const struct gd_device_id *id);
/* The same; a device that is not known yet is made. */
struct gd_served *gd_table_get(struct gd_table *table, struct gd_served_env *env, const struct gd_device_id *id);
/* Free a device, which is IDLE, and its guest if it was the last one. */
void gd_table_forget(struct gd_table *table, struct gd_served *device);

/* Note that the device's directory is to be read again. */
void gd_table_touch(struct gd_table *table, struct gd_served *device);
/* Take a device that was touched: it then no longer counts as touched. NULL: there is none. */
struct gd_served *gd_table_take(struct gd_table *table);
/* Note that the device's directory was read. */
void gd_table_read(struct gd_served *device);

/* The guest's driver has come up. Called by the guest's ioreq thread, once each time that the device is attached. */
void gd_table_up(struct gd_table *table, struct gd_served *device);
/* Touch all devices whose driver has come up. To be called before any of them is attached again, or forgotten. */
void gd_table_up_take(struct gd_table *table);

/* A loop over all devices, guest by guest, which declares `device` and `guest`. Nothing may be forgotten within. */
#define gd_table_each(table, guest, device)                                        \
	for (struct gd_guest *guest = (table)->guests; guest; guest = guest->next) \
		for (struct gd_served *device = guest->devices; device; device = device->sibling)

#endif
