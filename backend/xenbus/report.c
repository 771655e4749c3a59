/* SPDX-License-Identifier: MIT */
/* What the administrator may ask for: counters of all devices, and a new look at images and refused devices. */
#include "backend/virtio/vdev.h"
#include "backend/xenbus/xenbus_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static void device_refresh(struct gd_xenbus *xenbus, struct gd_served *device)
{
	if (device->phase == GD_PHASE_IDLE)
		gd_table_touch(xenbus->table, device);
	else
		gd_served_refresh(device);
}

void gd_xenbus_refresh(struct gd_xenbus *xenbus)
{
	gd_table_each(xenbus->table, guest, device)
	{
		device_refresh(xenbus, device);
	}
}

int gd_xenbus_refresh_one(struct gd_xenbus *xenbus, const char *name)
{
	char number[32];

	name += *name == 'd';
	gd_table_each(xenbus->table, guest, device)
	{
		snprintf(number, sizeof(number), "%u/%" PRIu32, device->id.domid, device->id.devid);
		if (strcmp(device->log.name + 1, name) && strcmp(number, name))
			continue;
		device_refresh(xenbus, device);
		return 0;
	}
	return -ENOENT;
}

static const char *const phase_names[] = {[GD_PHASE_IDLE] = "idle",
					  [GD_PHASE_OPENING] = "opening",
					  [GD_PHASE_OPENED] = "opening",
					  [GD_PHASE_SERVED] = "served",
					  [GD_PHASE_CLOSING] = "closing"};

void gd_xenbus_stats(struct gd_xenbus *xenbus, FILE *out)
{
	gd_table_each(xenbus->table, guest, device)
	{
		struct gd_vdev_stats stats = {0};

		fprintf(out, "%s phase=%s", device->log.name, phase_names[device->phase]);
		if (device->phase == GD_PHASE_SERVED) {
			gd_vdev_stats(gd_served_vdev(device), &stats);
			fprintf(out, " ioreqs=%" PRIu64, gd_served_answered(device));
#define STAT(name) fprintf(out, " " #name "=%" PRIu64, stats.name)
			STAT(requests), STAT(errors), STAT(bytes_read), STAT(bytes_written), STAT(batches), STAT(kicks);
			STAT(straight), STAT(registered);
			STAT(interrupts), STAT(syscalls), STAT(copy_calls), STAT(copy_ops), STAT(copy_hypercalls),
				STAT(looks_paid), STAT(looks_vain), STAT(resets), STAT(needs_reset);
#undef STAT
			fprintf(out, " status=%u transport=%s target=%s",
				(unsigned)gd_vdev_status(gd_served_vdev(device)),
				device->link == GD_LINK_UP ? "msg" : "mmio", device->target);
		}
		fputc('\n', out);
	}
}
