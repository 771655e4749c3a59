/* SPDX-License-Identifier: MIT */
/*
 * The state directory (--state-dir), which has a file for each device: its ledger (virtio/ledger.h). The file is named
 * after the device, so that a successor finds it.
 *
 * Threads: gd_statedir_path() may be called by any thread, the others by the main thread.
 */
#ifndef GD_STATEDIR_H
#define GD_STATEDIR_H

#include <stddef.h>

struct gd_device_id;
struct gd_store;

/* The path of a device's ledger in the state directory `dir`: 0 or -ENAMETOOLONG. */
int gd_statedir_path(const char *dir, const struct gd_device_id *id, char *path, size_t size);
/*
 * Remove the ledgers of devices whose directories in xenstore went while no grantiod was running. Call it before any
 * device is opened. `dir` may be NULL: there are no files.
 */
void gd_statedir_sweep(const char *dir, struct gd_store *store);

#endif
