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
/* Remove a device's ledger, if there is one: the device's directory in xenstore has gone. `dir` may be NULL. */
void gd_statedir_remove(const char *dir, const struct gd_device_id *id);
/*
 * Remove what former grantiods left and no device can go on by: while none was running, directories in xenstore went,
 * and maybe others came in their place. Call it before any device is opened. `dir` may be NULL: there are no files.
 */
void gd_statedir_sweep(const char *dir, struct gd_store *store);

#endif
