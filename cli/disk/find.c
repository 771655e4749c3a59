/* SPDX-License-Identifier: MIT */
/*
 * The disks that there are: by /libxl/<domid>/device, which the guests cannot write. A guest that could name a disk of
 * its own making here would have the administrator detach or list what is not there.
 */
#include "cli/disk/disk.h"

#include "cli/vdev.h"

#include <abi/virtio.h>
#include <abi/xenbus.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Only plain numbers; xl makes no other names here. */
static bool name_number(const char *name, uint32_t *out)
{
	return *name >= '0' && *name <= '9' && gc_vdev_parse(name, out) == 0;
}

/* In the directory of a disk the key `type` says something else: which program serves it. */
static uint32_t type_load(struct xs_handle *xs, const char *dir, const char *class)
{
	char *text;
	uint32_t type = 0;

	if (strcmp(class, "virtio") != 0)
		return GIO_VIRTIO_ID_BLOCK;
	text = gc_store_read(xs, "%s/" GIO_XENBUS_KEY_TYPE, dir);
	if (text && sscanf(text, GIO_XENBUS_TYPE "%4" SCNx32, &type) != 1)
		type = 0;
	free(text);
	return type;
}

/* A device of xl's `virtio` list has no name in xenstore: it is called as grantiod's messages call it. */
static void name_load(struct xs_handle *xs, const char *dir, struct gc_disk *disk)
{
	char *name = gc_store_read(xs, "%s/dev", dir);

	if (!name && strcmp(disk->class, "virtio") == 0)
		snprintf(disk->name, sizeof(disk->name), "virtio%" PRIu32, disk->devid);
	else
		snprintf(disk->name, sizeof(disk->name), "%s", name ? name : "-");
	free(name);
}

/* What libxl's directory says of one disk. */
static void disk_load(struct xs_handle *xs, struct gc_disk *disk)
{
	char dir[GC_PATH_MAX], *backend;

	snprintf(dir, sizeof(dir), "/libxl/%u/device/%s/%" PRIu32, disk->domid, disk->class, disk->devid);
	backend = gc_store_read(xs, "%s/backend", dir);
	if (!backend || sscanf(backend, "/local/domain/%u/", &disk->backend) != 1)
		disk->backend = 0;
	disk->type = type_load(xs, dir, disk->class);
	name_load(xs, dir, disk);
	disk->base = gc_store_number(xs, 0, "%s/base", dir);
	disk->irq = (unsigned)gc_store_number(xs, 0, "%s/irq", dir);
	disk->placed = disk->base != 0;
	disk->grants = !disk->placed || gc_store_number(xs, 0, "%s/grant_usage", dir) != 0;
	free(backend);
}

/* The list is taken once. A disk that is removed meanwhile is shown with what is left of it. */
static int class_each(struct xs_handle *xs, unsigned domid, const char *class,
		      int (*each)(struct xs_handle *xs, const struct gc_disk *disk, void *arg), void *arg)
{
	char dir[GC_PATH_MAX];
	unsigned count = 0;
	char **names;
	int err = 0;

	snprintf(dir, sizeof(dir), "/libxl/%u/device/%s", domid, class);
	names = xs_directory(xs, XBT_NULL, dir, &count);
	for (unsigned i = 0; names && i < count && !err; i++) {
		struct gc_disk disk = {.class = class, .domid = domid};

		if (!name_number(names[i], &disk.devid))
			continue;
		disk_load(xs, &disk);
		err = each(xs, &disk, arg);
	}
	free(names);
	return err;
}

static int domain_each(struct xs_handle *xs, unsigned domid,
		       int (*each)(struct xs_handle *xs, const struct gc_disk *disk, void *arg), void *arg)
{
	int err = class_each(xs, domid, "virtio_disk", each, arg);

	return err ? err : class_each(xs, domid, "virtio", each, arg);
}

/* By libxl's directories: a backend's list would leave out disks of driver domains, and guests cannot write these. */
int gc_disk_each(struct xs_handle *xs, int domid,
		 int (*each)(struct xs_handle *xs, const struct gc_disk *disk, void *arg), void *arg)
{
	unsigned count = 0;
	uint32_t id;
	char **names;
	int err = 0;

	if (domid >= 0)
		return domain_each(xs, (unsigned)domid, each, arg);
	names = xs_directory(xs, XBT_NULL, "/libxl", &count);
	for (unsigned i = 0; names && i < count && !err; i++) {
		if (name_number(names[i], &id))
			err = domain_each(xs, id, each, arg);
	}
	free(names);
	return err;
}

/* Searched by walking: a domain has few disks, and two classes of them. */
struct wanted {
	uint32_t devid;
	struct gc_disk *out;
};

static int wanted_match(struct xs_handle *xs, const struct gc_disk *disk, void *arg)
{
	const struct wanted *wanted = arg;

	(void)xs;
	if (disk->devid != wanted->devid)
		return 0;
	*wanted->out = *disk;
	return 1;
}

int gc_disk_find(struct xs_handle *xs, unsigned domid, uint32_t devid, struct gc_disk *disk)
{
	struct wanted wanted = {devid, disk};

	return gc_disk_each(xs, (int)domid, wanted_match, &wanted) ? 0 : -ENOENT;
}
