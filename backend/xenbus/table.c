/* SPDX-License-Identifier: MIT */
#include "backend/xenbus/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct gd_table *gd_table_new(void)
{
	struct gd_table *table = calloc(1, sizeof(*table));

	if (table)
		table->dirty_end = &table->dirty;
	return table;
}

/* A guest's device numbers are 16 or 256 apart, and different guests have the same ones: so both are mixed. */
static struct gd_served **bucket(const struct gd_table *table, const struct gd_device_id *id)
{
	uint32_t hash = (id->devid * GD_CLASSES + id->class) * 2654435761u ^ id->domid * 40503u;

	return (struct gd_served **)&table->buckets[(hash ^ hash >> 16) % GD_TABLE_BUCKETS];
}

struct gd_served *gd_table_find(const struct gd_table *table, const struct gd_device_id *id)
{
	struct gd_served *device = *bucket(table, id);

	while (device &&
	       (device->id.class != id->class || device->id.domid != id->domid || device->id.devid != id->devid))
		device = device->chain;
	return device;
}

static struct gd_guest *guest_get(struct gd_table *table, uint16_t domid)
{
	struct gd_guest *guest = table->guest[domid];

	if (guest)
		return guest;
	guest = calloc(1, sizeof(*guest));
	if (!guest)
		return NULL;
	guest->domid = domid;
	guest->next = table->guests;
	guest->link = &table->guests;
	if (guest->next)
		guest->next->link = &guest->next;
	table->guests = guest;
	table->guest[domid] = guest;
	return guest;
}

static void guest_put(struct gd_table *table, struct gd_guest *guest)
{
	if (guest->devices)
		return;
	*guest->link = guest->next;
	if (guest->next)
		guest->next->link = guest->link;
	table->guest[guest->domid] = NULL;
	free(guest);
}

struct gd_served *gd_table_get(struct gd_table *table, struct gd_served_env *env, const struct gd_device_id *id)
{
	struct gd_served *device = gd_table_find(table, id), **chain = bucket(table, id);
	struct gd_guest *guest = device ? NULL : guest_get(table, id->domid);
	char name[16];

	if (device || !guest)
		return device;
	snprintf(name, sizeof(name), "%" PRIu32, id->devid);
	device = gd_served_new(env, id, name);
	if (!device) {
		guest_put(table, guest);
		return NULL;
	}
	device->chain = *chain;
	*chain = device;
	device->guest = guest;
	device->sibling = guest->devices;
	device->sibling_link = &guest->devices;
	if (device->sibling)
		device->sibling->sibling_link = &device->sibling;
	guest->devices = device;
	device->unread = true;
	guest->unread++;
	return device;
}

/* Take a device off the list of touched ones: it may have been touched again since it was taken. */
static void dirty_remove(struct gd_table *table, const struct gd_served *device)
{
	struct gd_served **link = &table->dirty;

	if (!device->dirty)
		return;
	while (*link != device)
		link = &(*link)->dirty_next;
	*link = device->dirty_next;
	if (!*link)
		table->dirty_end = link;
}

void gd_table_forget(struct gd_table *table, struct gd_served *device)
{
	struct gd_served **link = bucket(table, &device->id);
	struct gd_guest *guest = device->guest;

	gd_table_up_take(table); /* the driver may have come up just before the device was stopped */
	gd_table_read(device);
	dirty_remove(table, device);
	while (*link != device)
		link = &(*link)->chain;
	*link = device->chain;
	*device->sibling_link = device->sibling;
	if (device->sibling)
		device->sibling->sibling_link = device->sibling_link;
	gd_served_free(device);
	guest_put(table, guest);
}

void gd_table_free(struct gd_table *table)
{
	while (table && table->guests)
		gd_table_forget(table, table->guests->devices);
	free(table);
}

void gd_table_touch(struct gd_table *table, struct gd_served *device)
{
	if (device->dirty)
		return;
	device->dirty = true;
	device->dirty_next = NULL;
	*table->dirty_end = device;
	table->dirty_end = &device->dirty_next;
}

struct gd_served *gd_table_take(struct gd_table *table)
{
	struct gd_served *device = table->dirty;

	if (!device)
		return NULL;
	table->dirty = device->dirty_next;
	if (!table->dirty)
		table->dirty_end = &table->dirty;
	device->dirty = false;
	return device;
}

void gd_table_read(struct gd_served *device)
{
	if (device->unread)
		device->guest->unread--;
	device->unread = false;
}

void gd_table_up(struct gd_table *table, struct gd_served *device)
{
	/* A device is in the list once, however often it is reported: it is looked at after the last report. */
	if (__atomic_exchange_n(&device->up_listed, true, __ATOMIC_ACQ_REL))
		return;
	device->up_next = __atomic_load_n(&table->up, __ATOMIC_RELAXED);
	/* Release: up_next is written before it can be seen; pairs with the exchange in gd_table_up_take(). */
	while (!__atomic_compare_exchange_n(&table->up, &device->up_next, device, true, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED))
		;
}

void gd_table_up_take(struct gd_table *table)
{
	struct gd_served *device = __atomic_exchange_n(&table->up, NULL, __ATOMIC_ACQUIRE), *next;

	for (; device; device = next) {
		next = device->up_next;
		__atomic_store_n(&device->up_listed, false, __ATOMIC_RELEASE);
		gd_table_touch(table, device);
	}
}
