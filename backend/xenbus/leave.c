/* SPDX-License-Identifier: MIT */
/*
 * The end of grantiod: what is stopped, and what is left to the next one.
 *
 * A device that is left takes no more requests from here on, and ends when those that it has taken are answered. So the
 * next grantiod has nothing to do again, which matters over a network, where nobody can know when a request is over.
 */
#include "backend/xenbus/xenbus_priv.h"

static void device_leave(struct gd_served *device)
{
	gd_served_leave(device);
	gd_log(&device->log, GD_NOTICE, "left to the next grantiod: its guest waits for it");
}

void gd_xenbus_stop(struct gd_xenbus *xenbus)
{
	xenbus->stopping = true;
	gd_table_each(xenbus->table, guest, device)
	{
		if (gd_served_inheritable(device))
			device_leave(device);
		else if (device->phase == GD_PHASE_SERVED || device->phase == GD_PHASE_OPENED)
			gd_step_stop(&xenbus->step, device, "grantiod stops");
	}
}

/* Go on with devices whose jobs have ended meanwhile. */
void gd_leave_work(struct gd_xenbus *xenbus)
{
	struct gd_served *device;

	while ((device = gd_table_take(xenbus->table)))
		if (device->left)
			gd_served_quiesce(device);
		else if (device->phase == GD_PHASE_OPENED)
			gd_step_stop(&xenbus->step, device, "");
}

static bool device_idle(const struct gd_served *device)
{
	return device->left ? !gd_served_inflight(device) : device->phase == GD_PHASE_IDLE;
}

bool gd_xenbus_idle(const struct gd_xenbus *xenbus)
{
	gd_table_each(xenbus->table, guest, device)
	{
		if (!device_idle(device))
			return false;
	}
	return true;
}

bool gd_xenbus_leaves(const struct gd_xenbus *xenbus)
{
	gd_table_each(xenbus->table, guest, device)
	{
		if (device->left)
			return true;
	}
	return false;
}

void gd_xenbus_complain(struct gd_xenbus *xenbus)
{
	gd_table_each(xenbus->table, guest, device)
	{
		if (device_idle(device))
			continue;
		if (device->left)
			gd_log(&device->log, GD_ERR,
			       "%u requests are still in flight, and grantiod exits without waiting for them",
			       gd_served_inflight(device));
		else
			gd_log(&device->log, GD_ERR, "%s does not end: grantiod exits without it",
			       device->phase == GD_PHASE_OPENING ? "opening its image" : "closing its image");
	}
}
