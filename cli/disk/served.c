/* SPDX-License-Identifier: MIT */
/*
 * What grantiod, which serves a disk, says of it. xenstore tells the state of the handshake only; whether a driver uses
 * the disk, and whether anybody serves it at this moment, is grantiod's knowledge.
 */
#include "cli/disk/disk.h"
#include "cli/grantiod.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_DRIVER_OK 4 /* virtio 1.2, 2.1 */

bool gc_disk_served_find(const struct gc_grantiod *grantiod, const struct gc_disk *disk, struct gc_disk_served *out)
{
	char name[64], status[24];
	const char *line;

	*out = (struct gc_disk_served){0};
	snprintf(name, sizeof(name), "d%u/%s", disk->domid, disk->name);
	line = gc_grantiod_line(grantiod, name);
	if (!line) { /* as it names devices that have no name */
		snprintf(name, sizeof(name), "d%u/%s%" PRIu32, disk->domid,
			 strcmp(disk->class, "virtio") == 0 ? "virtio" : "", disk->devid);
		line = gc_grantiod_line(grantiod, name);
	}
	if (!line || !gc_grantiod_value(line, "phase", out->phase, sizeof(out->phase)))
		return false;
	out->served = strcmp(out->phase, "served") == 0;
	out->told = gc_grantiod_value(line, "status", status, sizeof(status));
	out->in_use = out->told && strtoul(status, NULL, 0) & STATUS_DRIVER_OK;
	return true;
}
