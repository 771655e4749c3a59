/* SPDX-License-Identifier: MIT */
#include "backend/xenbus/state.h"

#include <errno.h>
#include <string.h>

int gd_state_change(struct gd_store *store, struct gd_served *device, unsigned from, unsigned to)
{
	int err = gd_store_state(store, &device->id, from, to, NULL);

	if (err && err != -ENOENT && err != -EBUSY)
		gd_log(&device->log, GD_ERR, "state: cannot write %u: %s", to, strerror(-err));
	return err;
}
