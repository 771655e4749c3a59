/* SPDX-License-Identifier: MIT */
/*
 * All devices that are known, the guests that they belong to, and which of them are to be looked at. With a thousand
 * devices nothing here takes longer than with ten, but for what goes through all of them by its nature.
 *
 * Threads: the main thread, but for gd_table_up(). Errors: NULL: no memory.
 */
#ifndef GD_TABLE_H
#define GD_TABLE_H

#include "backend/xen/device.h"

#define GD_TABLE_BUCKETS 1024u

/* A guest with devices of ours: the owner's, from its first device to its last. */
struct gd_guest {
	uint16_t domid;
	struct gd_device *devices; /* by device->sibling */
	unsigned unread;	   /* of them, whose directory was not read yet */
	bool forgotten;		   /* by xenstored, which died and came back without it; the guest lives */
	uint64_t settle_ms;	   /* not 0: when it is tried again to settle it */
	bool unsettled_said;
	bool settled; /* what a former grantiod left for it was taken over (xen/settle.h) */
	struct gd_guest *next, **link;
};

struct gd_table {
	struct gd_device *buckets[GD_TABLE_BUCKETS]; /* by device->chain */
	struct gd_guest *guest[GD_DOMID_MAX + 1];
	struct gd_guest *guests; /* all, by ->next */
	struct gd_device *dirty, **dirty_end;
	struct gd_device *up; /* atomic; by device->up_next */
};

struct gd_table *gd_table_new(void);
void gd_table_free(struct gd_table *table); /* with its devices, which are IDLE; takes NULL */

struct gd_device *gd_table_find(const struct gd_table *table, const struct gd_device_id *id);
/* The same, and a new one where it is not known. */
struct gd_device *gd_table_get(struct gd_table *table, struct gd_device_env *env, const struct gd_device_id *id);
/* IDLE. The device is freed, and its guest with its last one. */
void gd_table_forget(struct gd_table *table, struct gd_device *device);

/* Its directory is to be read again. */
void gd_table_touch(struct gd_table *table, struct gd_device *device);
/* One that was touched, and is no more; NULL: none. */
struct gd_device *gd_table_take(struct gd_table *table);
/* Its directory was read. */
void gd_table_read(struct gd_device *device);

/* The guest's driver has come up; by the guest's ioreq thread, once between two times that the device is attached. */
void gd_table_up(struct gd_table *table, struct gd_device *device);
/* Touch all of which that was said. Before any of them may be attached again, or be forgotten. */
void gd_table_up_take(struct gd_table *table);

/* All devices, guest by guest: `device` is a variable, and so is `guest`; neither may be forgotten within. */
#define gd_table_each(table, guest, device)                                        \
	for (struct gd_guest *guest = (table)->guests; guest; guest = guest->next) \
		for (struct gd_device *device = guest->devices; device; device = device->sibling)

#endif
