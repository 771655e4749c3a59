/* SPDX-License-Identifier: MIT */
#include "backend/xen/domain.h"
#include "backend/xenbus/xenbus.h"
#include "backend/xenbus/alone.h"
#include "backend/xenbus/statedir.h"
#include "backend/xenbus/xenbus_priv.h"

#include <abi/xen.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_A_TURN 1024 /* maximum; then the directories are read, and the loop goes on */

/* ---- all devices ---------------------------------------------------------------------------------------------- */

static void device_touch(void *opaque, const struct gd_device_id *id)
{
	struct gd_xenbus *xenbus = opaque;
	struct gd_served *device = gd_table_get(xenbus->table, &xenbus->env, id);

	if (device)
		gd_table_touch(xenbus->table, device);
	else
		gd_log(NULL, GD_ERR, "d%u/%" PRIu32 ": no memory for it", id->domid, id->devid);
}

static void domain_touch(void *opaque, const struct gd_device_id *id)
{
	struct gd_xenbus *xenbus = opaque;

	xenbus->dirty_domain[id->class][id->domid / 8] |= (uint8_t)(1u << id->domid % 8);
	xenbus->dirty_domains = true;
}

static bool is_open(const struct gd_served *device)
{
	return device->phase == GD_PHASE_SERVED || device->phase == GD_PHASE_OPENED;
}

/*
 * True if xenstored says that there is no such domain, or Xen says that our ioreq server has gone with it. An xenstored
 * that came back without its memory says so of all domains: then only Xen is asked.
 */
static bool guest_gone(struct gd_xenbus *xenbus, struct gd_guest *guest)
{
	int introduced = gd_store_introduced(xenbus->store, guest->domid);

	if (introduced == 1)
		guest->forgotten = false;
	return !gd_domain_alive(xenbus->env.domains, guest->domid) || (introduced == 0 && !guest->forgotten);
}

static void guest_check(struct gd_xenbus *xenbus, struct gd_guest *guest)
{
	bool gone = guest_gone(xenbus, guest);

	for (struct gd_served *device = guest->devices; device; device = device->sibling)
		if (device->waits)
			gd_table_touch(xenbus->table, device);
		else if (gone && is_open(device))
			gd_step_stop(&xenbus->step, device, "its domain has gone");
}

/* Domains have come or gone. The devices of those that have gone end, whatever their directories say. */
static void domains_check(struct gd_xenbus *xenbus)
{
	for (struct gd_guest *guest = xenbus->table->guests; guest; guest = guest->next)
		guest_check(xenbus, guest);
}

static void event_handle(struct gd_xenbus *xenbus, const struct gd_store_event *event)
{
	if (event->kind == GD_STORE_DOMAINS)
		xenbus->domains_changed = true;
	else if (event->depth == 0)
		xenbus->dirty_class[event->id.class] = true;
	else if (event->depth == 1)
		domain_touch(xenbus, &event->id);
	else
		device_touch(xenbus, &event->id);
}

static void guest_touch(struct gd_xenbus *xenbus, struct gd_guest *guest, enum gd_class class)
{
	for (struct gd_served *device = guest->devices; device; device = device->sibling)
		if (device->id.class == class)
			gd_table_touch(xenbus->table, device);
}

/* Touch the devices that are below a directory now, and those that were there before. */
static void list(struct gd_xenbus *xenbus, enum gd_class class, const uint16_t *domid)
{
	int err = gd_store_list(xenbus->store, class, domid, domid ? device_touch : domain_touch, xenbus);

	if (err && err != -ENOENT)
		gd_log(NULL, GD_WARN, "xenstore: cannot list backend/%s: %s", gd_class_names[class], strerror(-err));
	if (domid && xenbus->table->guest[*domid])
		guest_touch(xenbus, xenbus->table->guest[*domid], class);
	for (struct gd_guest *guest = xenbus->table->guests; guest && !domid; guest = guest->next)
		guest_touch(xenbus, guest, class);
}

static void list_domains(struct gd_xenbus *xenbus, enum gd_class class)
{
	for (unsigned domid = 0; domid <= GIO_DOMID_MAX; domid++) {
		uint8_t *byte = &xenbus->dirty_domain[class][domid / 8], bit = (uint8_t)(1u << domid % 8);
		uint16_t id = (uint16_t)domid;

		if (!(*byte & bit))
			continue;
		*byte &= (uint8_t)~bit;
		list(xenbus, class, &id);
	}
}

static void events_take(struct gd_xenbus *xenbus)
{
	struct gd_store_event event;
	unsigned count = 0;
	int more = 0;

	while (count++ < EVENTS_A_TURN && (more = gd_store_next(xenbus->store, &event)) == 1)
		event_handle(xenbus, &event);
	if (more < 0)
		gd_reconnect_begin(xenbus, more);
}

static void directories_list(struct gd_xenbus *xenbus)
{
	for (unsigned class = 0; class < GD_CLASSES; class ++)
		if (xenbus->dirty_class[class]) {
			xenbus->dirty_class[class] = false;
			list(xenbus, (enum gd_class) class, NULL);
		}
	for (unsigned class = 0; class < GD_CLASSES && xenbus->dirty_domains; class ++)
		list_domains(xenbus, (enum gd_class) class);
	xenbus->dirty_domains = false;
}

/* Follow each device that was touched up to now, once. A guest is settled when all its directories have been read. */
static void devices_follow(struct gd_xenbus *xenbus)
{
	struct gd_served *device;

	while ((device = gd_table_take(xenbus->table))) {
		struct gd_guest *guest = device->guest;
		bool last = !guest->devices->sibling;

		if (!gd_step_follow(&xenbus->step, device)) {
			gd_step_forgive(&xenbus->step, device);
			gd_served_abandon(device);
			gd_statedir_remove(xenbus->env.config->state_dir, &device->id);
			gd_table_forget(xenbus->table, device);
			if (last)
				continue; /* its guest may be forgotten, too */
		}
		gd_retry_settle(&xenbus->step.retry, xenbus->env.domains, guest);
	}
}

void gd_xenbus_work(struct gd_xenbus *xenbus)
{
	gd_table_up_take(xenbus->table);
	if (!xenbus->lost)
		events_take(xenbus);
	if (xenbus->stopping) {
		gd_leave_work(xenbus);
		return;
	}
	if (xenbus->lost)
		return; /* devices go on being served; what there is to do is done when xenstored is back */
	/* This comes first: a directory that is found below may belong to a new domain with an old number. */
	if (xenbus->domains_changed)
		domains_check(xenbus);
	xenbus->domains_changed = false;
	directories_list(xenbus);
	devices_follow(xenbus);
}

static void removal_expired(void *opaque)
{
	struct gd_xenbus *xenbus = opaque;

	gd_table_each(xenbus->table, guest, device)
	{
		int err = device->leaving && !xenbus->lost ? gd_store_forget(xenbus->store, &device->id) : 0;

		if (err && err != -ENOENT && err != -EBUSY)
			gd_log(&device->log, GD_WARN, "cannot remove its directory: %s", strerror(-err));
		device->leaving = false;
	}
}

/* gd_xenbus_work(), which follows each step of the loop, does what there is to do. */
static void loop_woken(void *opaque)
{
	(void)opaque;
}

static void retry_expired(void *opaque)
{
	struct gd_xenbus *xenbus = opaque;

	gd_retry_look(&xenbus->step.retry);
}

static void device_changed(struct gd_served *device)
{
	struct gd_xenbus *xenbus = device->env->opaque;

	gd_table_touch(xenbus->table, device);
}

/* Called by a queue's thread. */
static void device_wake(struct gd_served *device)
{
	struct gd_xenbus *xenbus = device->env->opaque;

	gd_wakeup_send(&xenbus->wakeup);
}

/* Called by the guest's ioreq thread. */
static void device_up(struct gd_served *device)
{
	struct gd_xenbus *xenbus = device->env->opaque;

	gd_table_up(xenbus->table, device);
	device_wake(device);
}

static void timers_close(struct gd_xenbus *xenbus)
{
	gd_wakeup_close(&xenbus->wakeup);
	gd_timer_close(&xenbus->removal);
	gd_timer_close(&xenbus->retry);
	gd_timer_close(&xenbus->again);
}

static int timers_open(struct gd_xenbus *xenbus)
{
	int err = gd_wakeup_open(&xenbus->wakeup, xenbus->loop, loop_woken, xenbus);

	if (!err)
		err = gd_timer_open(&xenbus->removal, xenbus->loop, removal_expired, xenbus);
	if (!err)
		err = gd_timer_open(&xenbus->retry, xenbus->loop, retry_expired, xenbus);
	if (!err)
		err = gd_timer_open(&xenbus->again, xenbus->loop, gd_reconnect_expired, xenbus);
	return err;
}

static int store_open(struct gd_xenbus *xenbus)
{
	int err = gd_store_open(&xenbus->store);

	if (err)
		return err;
	err = gd_alone_take(gd_store_domid(xenbus->store));
	if (err)
		return err;
	return gd_reconnect_watch(xenbus);
}

int gd_xenbus_open(struct gd_xenbus **out, const struct gd_config *config, struct gd_loop *loop, struct gd_jobs *jobs,
		   struct gd_sizewatch *sizewatch)
{
	struct gd_xenbus *xenbus = calloc(1, sizeof(*xenbus));
	int err = -ENOMEM;

	if (!xenbus)
		return err;
	xenbus->loop = loop;
	xenbus->lost = true;
	xenbus->env = (struct gd_served_env){.config = config,
					     .jobs = jobs,
					     .sizewatch = sizewatch,
					     .changed = device_changed,
					     .up = device_up,
					     .quiet = device_wake,
					     .opaque = xenbus};
	xenbus->table = gd_table_new();
	if (xenbus->table)
		err = gd_domains_open(&xenbus->env.domains);
	if (!err)
		err = timers_open(xenbus);
	if (!err)
		err = store_open(xenbus);
	if (err) {
		gd_xenbus_close(xenbus);
		return err;
	}
	xenbus->step = (struct gd_step){.config = config,
					.store = xenbus->store,
					.table = xenbus->table,
					.removal = &xenbus->removal,
					.retry = {xenbus->table, &xenbus->retry}};
	gd_statedir_sweep(config->state_dir, xenbus->store);
	*out = xenbus;
	return 0;
}

void gd_xenbus_close(struct gd_xenbus *xenbus)
{
	if (!xenbus)
		return;
	gd_table_free(xenbus->table);
	if (!xenbus->lost)
		gd_loop_remove(xenbus->loop, &xenbus->watch);
	timers_close(xenbus);
	gd_store_close(xenbus->store);
	gd_domains_close(xenbus->env.domains);
	free(xenbus);
}

void gd_xenbus_config(struct gd_xenbus *xenbus, const struct gd_config *config)
{
	xenbus->env.config = config;
	xenbus->step.config = config;
}
