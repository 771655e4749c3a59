/* SPDX-License-Identifier: MIT */
/* What the job does that opens a device: its ledger, its image and its queues; and what closes them again. */
#include "backend/blk/blk.h"
#include "backend/disk/disk.h"
#include "backend/rng/rng.h"
#include "backend/virtio/vdev.h"
#include "backend/xen/irq.h"
#include "backend/xenbus/served_priv.h"
#include "backend/xenbus/statedir.h"

#include <abi/virtio.h>

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- called by other threads than the main one ------------------------------------------------------------------ */

/* It is reported once per start, however often the guest resets: a guest must not make us write to xenstore at will. */
static void device_driver_ok(void *opaque)
{
	struct gd_served *device = opaque;

	/* Of a driver that uses messages, xenstore is told when its answer is taken. */
	if (!device->own->absent && !__atomic_exchange_n(&device->own->driver_ok, true, __ATOMIC_RELAXED))
		device->env->up(device);
}

/* The device's queue threads call this function as well, and the next one. */
static void device_raise(void *opaque)
{
	struct gd_served *device = opaque;

	gd_irq_raise(device->own->irq);
}

/* By the thread of the device's messages. */
static void device_broken(void *opaque)
{
	struct gd_served *device = opaque;

	__atomic_store_n(&device->own->broken, true, __ATOMIC_RELEASE);
	device->env->up(device);
}

static void device_quiet(void *opaque)
{
	struct gd_served *device = opaque;

	device->env->quiet(device);
}

/*
 * Say that the job may set the queues to work from here on. False: the device was left to a successor, and they must
 * not begin. The main thread stores `left` and then reads `inherits`; the job stores `inherits` and then reads `left`.
 * So at least one of the two sees the other's store.
 */
static bool inherit_begin(struct gd_served *device)
{
	__atomic_store_n(&device->own->inherits, true, __ATOMIC_SEQ_CST);
	return !__atomic_load_n(&device->left, __ATOMIC_SEQ_CST);
}

/* ---- the ledger ---------------------------------------------------------------------------------------------- */

/*
 * Get a ledger for the device: the former process's (then device->resumed is set), or a new one. If its file cannot be
 * made the ledger is in memory only, since a device without a successor is better than none.
 */
static int ledger_open(struct gd_served *device, struct gd_ledger **ledger)
{
	char path[PATH_MAX];
	int err;

	device->resumed = device->own->by_msg = false;
	device->ledger = 0;
	if (!device->config->state_dir)
		return gd_ledger_make(ledger, NULL);
	err = gd_statedir_path(device->config->state_dir, &device->id, path, sizeof(path));
	if (!err && gd_served_before(device) && device->note.ledger) {
		err = gd_ledger_adopt(ledger, path, device->note.ledger);
		device->resumed = !err;
		device->own->by_msg = !err && gd_ledger_transport(*ledger) == GD_TRANSPORT_MSG;
		if (err)
			gd_log(&device->log, GD_NOTICE, "ledger %s: cannot be used: %s", path, strerror(-err));
	}
	if (!device->resumed)
		err = gd_ledger_make(ledger, path);
	if (!err)
		device->ledger = gd_ledger_cookie(*ledger);
	if (!err)
		return 0;
	gd_log(&device->log, GD_WARN, "ledger %s: cannot make it: %s; no other grantiod will be able to go on", path,
	       strerror(-err));
	return gd_ledger_make(ledger, NULL);
}

/* ---- the parts -------------------------------------------------------------------------------------------------- */

static int irq_open(struct gd_served *device)
{
	if (device->keys.base)
		return gd_irq_line_open(&device->own->irq, device->id.domid, device->keys.irq, &device->log);
	return gd_irq_event_open(&device->own->irq, device->id.domid, &device->log);
}

static int class_open(struct gd_served *device, const struct gd_ledger *ledger, struct gd_class_device **class,
		      char *error, size_t size)
{
	const struct gd_config *config = device->config;
	struct gd_device_config common = {.domid = device->id.domid,
					  .way = device->keys.foreign ? &gd_way_foreign : &gd_way_grants,
					  .log = &device->log,
					  .queues = config->queues,
					  .queue_size = config->queue_size,
					  .look_us = config->look,
					  .indirect = config->indirect};
	struct gd_blk_config blk = {
		.disk = device->own->disk, .writeback = true, .discard = device->keys.discard && config->discard};
	int err;

	if (device->resumed) {
		gd_device_config_keep(&common, ledger);
		gd_blk_config_keep(&common, &blk, gd_ledger_features(ledger), device->keys.discard);
	}
	if (device->keys.type == GIO_VIRTIO_ID_RNG)
		return gd_rng_open(class, &common, config->rng_rate, error, size);
	err = gd_blk_open(class, &common, &blk, error, size);
	if (err)
		gd_disk_remember(device->own->disk, NULL);
	else
		device->own->disk = NULL; /* the class's now */
	return err;
}

/* Get what messages need, unless the guest grants nothing. */
static int msg_open(struct gd_served *device, struct gd_vdev_config *vdev, char *error, size_t size)
{
	const struct gd_msg_config config = {.domid = device->id.domid,
					     .log = &device->log,
					     .queues = vdev->class->config.queues,
					     .pool_most = GIO_POOL_RUN_MAX,
					     .broken = device_broken,
					     .opaque = device};
	int err = device->keys.foreign ? 0 : gd_msg_open(&device->own->msg, &config);

	if (err)
		snprintf(error, size, "cannot get its event channels: %s", strerror(-err));
	else if (device->own->msg)
		vdev->bells = gd_msg_bells(device->own->msg);
	return err;
}

static int parts_open(struct gd_served *device, struct gd_vdev_config *vdev, char *error, size_t size)
{
	int err = class_open(device, vdev->ledger, &vdev->class, error, size);

	if (err)
		return err;
	gd_mmio_init(&device->own->mmio, device_raise, device);
	err = msg_open(device, vdev, error, size);
	if (!err)
		err = gd_vdev_open(&device->own->vdev, vdev, error, size);
	if (err)
		gd_class_close(vdev->class);
	return err;
}

static int vdev_open(struct gd_served *device)
{
	struct gd_vdev_config vdev = {.transport = &device->own->mmio.transport,
				      .driver_ok = device_driver_ok,
				      .quiet = device_quiet,
				      .opaque = device};
	char error[GD_SERVED_ERROR / 2];
	int err = ledger_open(device, &vdev.ledger);

	if (err)
		return gd_served_fail(device, err, "no memory for its ledger");
	if (device->own->disk)
		gd_disk_remember(device->own->disk, gd_ledger_unflushed(vdev.ledger));
	err = parts_open(device, &vdev, error, sizeof(error));
	if (err && device->resumed)
		gd_ledger_leave(vdev.ledger); /* the next attempt may succeed and go on by it */
	else if (err)
		gd_ledger_close(vdev.ledger);
	if (err)
		snprintf(device->error, sizeof(device->error), "cannot set up the device: %s", error);
	return err;
}

/* Go on with a driver that uses messages, or else let it begin anew, as xenstore will tell it. */
static void link_inherit(struct gd_served *device)
{
	char error[GD_SERVED_ERROR / 2];
	int err = gd_served_link_inherit(device, error, sizeof(error));

	device->resumed = !err;
	if (err)
		gd_log(&device->log, GD_NOTICE, "its driver has to begin anew: %s", error);
}

/* Go on where the former process ended. If that is impossible the driver is told that the device needs a reset. */
static void device_inherit(struct gd_served *device)
{
	int err = device->resumed ? gd_vdev_resume(device->own->vdev) : -ENOENT;

	if (device->resumed && err == -ESTALE)
		gd_log(&device->log, GD_WARN,
		       "%s: the former grantiod's last writes may still be on their way to its server: its driver is "
		       "told to reset it, and no request is done again",
		       device->target);
	else if (device->resumed && err)
		gd_log(&device->log, GD_NOTICE, "its ledger does not fit: %s", strerror(-err));
	device->resumed = !err;
	if (err && err != -ESTALE)
		gd_vdev_orphan(device->own->vdev);
}

/* The image's size and blocks, for messages. */
static void disk_describe(struct gd_served *device)
{
	struct gd_disk_info info;

	gd_disk_info(device->own->disk, &info);
	snprintf(device->what, sizeof(device->what), "%" PRIu64 " bytes, blocks of %u, %s", info.size, info.block_size,
		 device->keys.readonly ? "read-only, " : "");
}

static int disk_open(struct gd_served *device)
{
	const struct gd_config *config = device->config;
	struct gd_disk_config disk = {
		.target = device->target,
		.readonly = device->keys.readonly,
		/* A driver may have negotiated it before. Whether it is offered is decided when the device is made. */
		.discard = device->keys.discard && (config->discard || gd_served_before(device)),
		.direct = device->keys.direct && config->direct,
		.nbd_timeout_ms = config->nbd_timeout * 1000,
		.nbd_reconnect_ms = config->nbd_reconnect * 1000,
		/* A guest that was served before may itself have written what looks like another format. */
		.raw = device->keys.raw || gd_served_before(device) || gd_config_raw(config, device->target),
		.allow = config->image_dirs[0] ? (const char *const *)config->image_dirs : NULL,
		.nbd_allow = gd_config_nbd(config),
	};
	int err = gd_disk_open(&device->own->disk, &disk, &device->log, device->error, sizeof(device->error));

	if (!err)
		disk_describe(device);
	device->own->local = gd_sizewatch_local(device->target);
	return err;
}

void gd_served_parts_close(struct gd_served *device)
{
	if (device->own->msg)
		gd_msg_stop(device->own->msg);
	gd_vdev_close(device->own->vdev); /* it resets the device, and waits for I/O in flight */
	if (device->own->msg)
		gd_msg_disconnect(device->own->msg);
	gd_msg_close(device->own->msg);
	gd_irq_close(device->own->irq);	  /* after the vdev, whose threads may raise it */
	gd_disk_close(device->own->disk); /* NULL if the class has taken it */
	device->own->msg = NULL;
	device->own->linked = device->own->absent = device->own->hangs = false;
	device->own->vdev = NULL;
	device->own->irq = NULL;
	device->own->disk = NULL;
}

void gd_served_open_run(struct gd_job *job)
{
	struct gd_served *device = job->opaque;
	int err;

	device->what[0] = '\0';
	device->own->local = false;
	err = device->keys.type == GIO_VIRTIO_ID_BLOCK ? disk_open(device) : 0;
	if (!err) {
		err = irq_open(device);
		if (err)
			gd_served_fail(device, err, "cannot open its interrupt");
	}
	if (!err)
		err = vdev_open(device);
	if (!err && gd_served_before(device) && inherit_begin(device)) {
		if (device->own->by_msg)
			link_inherit(device);
		else
			device_inherit(device);
	}
	if (err)
		gd_served_parts_close(device);
	device->result = err;
}
