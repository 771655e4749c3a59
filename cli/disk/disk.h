/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk in xenstore, as xl writes it: on Arm with a place in the guest's memory (xl 4.20: recordings in
 * tests/unit/cli/fixtures), on x86 without (docs/xenbus.md). Works on libxenstore alone, so on real Xen too. Errors: 0
 * or -errno.
 */
#ifndef GC_DISK_H
#define GC_DISK_H

#include "cli/command.h"
#include "cli/store.h"

#define GC_DISK_NAME_MAX   32
#define GC_DISK_TARGET_MAX 1024
#define GC_DISK_WAIT_MS	   10000 /* libxl's LIBXL_HOTPLUG_TIMEOUT and LIBXL_INIT_TIMEOUT */

#define GC_DISK_NUMBERS 26u /* devices of random numbers of a guest's: as many as there are names of disks */

/* A virtio disk; or a device of xl's `virtio` list, which may be of another type. */
struct gc_disk {
	const char *class; /* "virtio_disk", or "virtio" for what xl's virtio= has made */
	uint32_t type;	   /* virtio's device type (GIO_VIRTIO_ID_*); 0: not known */
	unsigned domid, backend;
	uint32_t devid;
	char name[GC_DISK_NAME_MAX]; /* as the user named it: "xvda"; or as grantiod does: "virtio0" */
	const char *target;
	bool readonly, grants, discard, direct_io_safe;
	bool placed; /* by the toolstack: base and irq are the device's; else they are 0, and the backend chooses */
	bool raw;    /* said outright to be raw data: a key of ours, not of xl's */
	uint64_t base;
	unsigned irq;
};

struct gc_disk_paths {
	char backend[GC_PATH_MAX], frontend[GC_PATH_MAX], libxl[GC_PATH_MAX];
};

extern const struct gc_command gc_disk_command, gc_disk_attach_command, gc_disk_detach_command, gc_disk_list_command,
	gc_disk_refresh_command, gc_disk_stats_command;

void gc_disk_paths(const struct gc_disk *disk, struct gc_disk_paths *paths);
/* Where the backend says what is wrong with it, as Linux's xenbus_dev_error does. */
void gc_disk_error_path(const struct gc_disk *disk, char path[GC_PATH_MAX]);

/*
 * Write all that xl writes for a disk, or for random numbers (type GIO_VIRTIO_ID_RNG), in one transaction. Fills in
 * placed, base and irq; and devid and name if the name is empty.
 * -ENODEV: no such domain, -EEXIST: it has that disk, -ENOSPC: no interrupt or name is free, -EOPNOTSUPP: not without
 * grants, on x86.
 */
int gc_disk_write(struct xs_handle *xs, struct gc_disk *disk);
/* Remove it all. */
int gc_disk_remove(struct xs_handle *xs, const struct gc_disk *disk);
/* Ask the backend to let go of the disk, as libxl does. */
int gc_disk_close(struct xs_handle *xs, const struct gc_disk *disk);
/* Wait until it has: 0, -ETIMEDOUT with the backend's last state. */
int gc_disk_wait_closed(struct xs_handle *xs, const struct gc_disk *disk, int wait_ms, unsigned *state);

/*
 * Attach: write it, wait until it is served (else it is removed again), and print its name. Detach: close it, wait, and
 * remove it; grantiod at `control` is asked whether the guest uses it. `grantio rng` does the same for its devices.
 * They return exit codes, after an error line.
 */
int gc_disk_attach(struct xs_handle *xs, struct gc_disk *disk, bool wait);
int gc_disk_detach(struct xs_handle *xs, const struct gc_disk *disk, const char *control, bool force);

/* Find a disk of the domain by its device number (cli/vdev.h). -ENOENT. */
int gc_disk_find(struct xs_handle *xs, unsigned domid, uint32_t devid, struct gc_disk *disk);
/* Call `each` for every device of both classes of the domain, or of all (-1), until it returns other than 0. */
int gc_disk_each(struct xs_handle *xs, int domid,
		 int (*each)(struct xs_handle *xs, const struct gc_disk *disk, void *arg), void *arg);

/* What grantiod says of one disk. */
struct gc_disk_served {
	char phase[16]; /* "served" ...; "": it does not know the disk */
	bool served;
	bool told, in_use; /* a driver of the guest's uses it, if that was told */
};

struct gc_grantiod;
/* False: it did not answer, or does not know the disk. */
bool gc_disk_served_find(const struct gc_grantiod *grantiod, const struct gc_disk *disk, struct gc_disk_served *out);

/* "Connected" and so on; "-" for what is none. */
const char *gc_disk_state_name(unsigned state);
/*
 * Print the table of `disk list` for a domain, or for all (-1). grantiod at `control` is asked which disks are served.
 * 0 or -errno.
 */
int gc_disk_table(struct xs_handle *xs, int domid, const char *control);

#endif
