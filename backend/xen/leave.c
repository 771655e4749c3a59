/* SPDX-License-Identifier: MIT */
/* The end of grantiod: what is stopped, and what is left to the next one. */
#include "backend/xen/xenbus_priv.h"

void gd_xenbus_stop(struct gd_xenbus *xenbus)
{
	xenbus->stopping = true;
	gd_table_each(xenbus->table, guest, device)
	{
		device->left = !xenbus->lost && gd_device_inheritable(device);
		if (device->left)
			gd_log(&device->log, GD_NOTICE, "left to the next grantiod: its guest waits for it");
		else if (device->phase == GD_DEVICE_SERVED || device->phase == GD_DEVICE_OPENED)
			gd_step_stop(&xenbus->step, device, "grantiod stops");
	}
}

void gd_leave_work(struct gd_xenbus *xenbus)
{
	struct gd_device *device;

	while ((device = gd_table_take(xenbus->table)))
		if (device->phase == GD_DEVICE_OPENED)
			gd_step_stop(&xenbus->step, device, "");
}

bool gd_xenbus_idle(const struct gd_xenbus *xenbus)
{
	gd_table_each(xenbus->table, guest, device)
	{
		if (device->phase != GD_DEVICE_IDLE && !device->left)
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
		if (device->phase != GD_DEVICE_IDLE && !device->left)
			gd_log(&device->log, GD_ERR, "%s does not end: left to the kernel",
			       device->phase == GD_DEVICE_OPENING ? "opening its image" : "closing its image");
	}
}
