/* SPDX-License-Identifier: MIT */
/*
 * xenstored may end, and another one may take its place, with or without what the former one knew. Neither disks nor
 * guests need it while they work: disks go on being served. When xenstored can be reached again, all directories are
 * read as at the start.
 */
#include "backend/xenbus/frontend.h"
#include "backend/xenbus/xenbus_priv.h"

#include <string.h>
#include <sys/epoll.h>

#define AGAIN_FIRST_MS 50   /* the first pause; each is twice as long as the last one, */
#define AGAIN_MOST_MS  5000 /* up to this */

void gd_reconnect_begin(struct gd_xenbus *xenbus, int error)
{
	gd_log(NULL, GD_ERR, "xenstore: connection lost: %s; disks are served on, and it is looked for again",
	       strerror(-error));
	gd_loop_remove(xenbus->loop, &xenbus->watch);
	xenbus->lost = true;
	xenbus->again_ms = AGAIN_FIRST_MS;
	gd_timer_set(&xenbus->again, xenbus->again_ms);
}

/* gd_xenbus_work(), which follows each step of the loop, does what there is to do. */
static void watch_ready(struct gd_loop_source *source, uint32_t events)
{
	(void)source;
	(void)events;
}

int gd_reconnect_watch(struct gd_xenbus *xenbus)
{
	int err;

	xenbus->watch = (struct gd_loop_source){gd_store_fd(xenbus->store), watch_ready, xenbus};
	err = gd_loop_add(xenbus->loop, &xenbus->watch, EPOLLIN);
	if (err)
		return err;
	xenbus->lost = false;
	for (unsigned class = 0; class < GD_CLASSES; class ++)
		xenbus->dirty_class[class] = true;
	return 0;
}

/* Look at all devices of a guest again. Of a device that goes on without a directory, say so once. */
static void guest_again(struct gd_xenbus *xenbus, struct gd_guest *guest)
{
	guest->forgotten = gd_store_introduced(xenbus->store, guest->domid) == 0;
	for (struct gd_served *device = guest->devices; device; device = device->sibling) {
		if (device->phase == GD_PHASE_SERVED && gd_frontend_followed(device) &&
		    gd_store_front_watch(xenbus->store, &device->id))
			gd_log(&device->log, GD_WARN, "cannot watch its guest's state");
		device->forgotten = guest->forgotten;
		if (device->phase == GD_PHASE_SERVED && guest->forgotten)
			gd_log(&device->log, GD_WARN,
			       "xenstored has lost its directory: served on for as long as its guest lives");
		gd_table_touch(xenbus->table, device);
	}
}

/* True: xenstored does not know some guests, and will not report their end: so they are looked at regularly. */
static bool some_forgotten(const struct gd_xenbus *xenbus)
{
	for (const struct gd_guest *guest = xenbus->table->guests; guest; guest = guest->next)
		if (guest->forgotten)
			return true;
	return false;
}

static void reconnect(struct gd_xenbus *xenbus)
{
	int err = gd_store_again(xenbus->store);

	if (!err)
		err = gd_reconnect_watch(xenbus);
	if (err) {
		xenbus->again_ms = xenbus->again_ms * 2 < AGAIN_MOST_MS ? xenbus->again_ms * 2 : AGAIN_MOST_MS;
		gd_timer_set(&xenbus->again, xenbus->again_ms);
		return;
	}
	gd_log(NULL, GD_NOTICE, "xenstore: connected again");
	for (struct gd_guest *guest = xenbus->table->guests; guest; guest = guest->next)
		guest_again(xenbus, guest);
}

void gd_reconnect_expired(void *opaque)
{
	struct gd_xenbus *xenbus = opaque;

	if (xenbus->stopping)
		return;
	if (xenbus->lost)
		reconnect(xenbus);
	if (xenbus->lost)
		return;
	xenbus->domains_changed = true;
	if (some_forgotten(xenbus))
		gd_timer_set(&xenbus->again, AGAIN_MOST_MS);
}
