/* SPDX-License-Identifier: MIT */
#include "backend/xenbus/served.h"
#include "backend/base/job.h"
#include "backend/blk/blk.h"
#include "backend/disk/disk.h"
#include "backend/mmio/mmio.h"
#include "backend/rng/rng.h"
#include "backend/sizewatch.h"
#include "backend/virtio/vdev.h"
#include "backend/xen/domain.h"
#include "backend/xen/irq.h"

#include <abi/virtio.h>
#include <abi/virtio_mmio.h>

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What no other file needs to know of a device. */
struct gd_served_own {
	bool served; /* it was SERVED since it was last IDLE */
	struct gd_job job;
	bool busy;     /* the job is running */
	bool inherits; /* the job may have set the queues to work; atomic */
	bool refresh;  /* gd_served_refresh() was called while the job was running */
	bool local;    /* looking at the image's size does not block */
	struct gd_disk *disk;
	struct gd_mmio mmio;
	struct gd_vdev *vdev;
	struct gd_irq *irq;
	struct gd_domain_device place;
	struct gd_sizewatch_file file;
	bool driver_ok; /* atomic; written by the ioreq thread */
};

/* ---- the guest's side: called by its ioreq thread, from the bus --------------------------------------------- */

static uint64_t place_read(void *opaque, uint64_t offset, unsigned size)
{
	struct gd_served *device = opaque;

	return gd_mmio_read(&device->own->mmio, offset, size);
}

static void place_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct gd_served *device = opaque;

	gd_mmio_write(&device->own->mmio, offset, size, value);
}

/* It is reported once per start, however often the guest resets: a guest must not make us write to xenstore at will. */
static void device_driver_ok(void *opaque)
{
	struct gd_served *device = opaque;

	if (!__atomic_exchange_n(&device->own->driver_ok, true, __ATOMIC_RELAXED))
		device->env->up(device);
}

/* The device's queue threads call this function as well, and the next one. */
static void device_raise(void *opaque)
{
	struct gd_served *device = opaque;

	gd_irq_raise(device->own->irq);
}

static void device_quiet(void *opaque)
{
	struct gd_served *device = opaque;

	device->env->quiet(device);
}

uint16_t gd_served_server(const struct gd_served *device)
{
	return gd_domain_server(&device->own->place);
}

uint64_t gd_served_answered(const struct gd_served *device)
{
	return gd_domain_answered(&device->own->place);
}

struct gd_vdev *gd_served_vdev(const struct gd_served *device)
{
	return device->own->vdev;
}

bool gd_served_driver_ok(const struct gd_served *device)
{
	return __atomic_load_n(&device->own->driver_ok, __ATOMIC_RELAXED);
}

bool gd_served_inheritable(const struct gd_served *device)
{
	return device->coming || (device->phase == GD_PHASE_SERVED && device->ledger);
}

static bool has_vdev(const struct gd_served *device)
{
	return device->phase == GD_PHASE_OPENED || device->phase == GD_PHASE_SERVED;
}

void gd_served_quiesce(struct gd_served *device)
{
	if (has_vdev(device))
		gd_vdev_quiesce(device->own->vdev);
}

unsigned gd_served_inflight(const struct gd_served *device)
{
	if (has_vdev(device))
		return gd_vdev_inflight(device->own->vdev);
	return device->phase == GD_PHASE_OPENING && __atomic_load_n(&device->own->inherits, __ATOMIC_SEQ_CST);
}

void gd_served_leave(struct gd_served *device)
{
	__atomic_store_n(&device->left, true, __ATOMIC_SEQ_CST);
	gd_served_quiesce(device);
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

int gd_served_fail(struct gd_served *device, int ret, const char *what)
{
	snprintf(device->error, sizeof(device->error), "%s: %s", what, strerror(-ret));
	device->result = ret;
	return ret;
}

/* ---- the ledger ---------------------------------------------------------------------------------------------- */

void gd_served_ledger_name(const struct gd_device_id *id, char name[GD_SERVED_LEDGER])
{
	snprintf(name, GD_SERVED_LEDGER, "%s-%u-%" PRIu32, gd_class_names[id->class], id->domid, id->devid);
}

bool gd_served_ledger_parse(const char *name, struct gd_device_id *id)
{
	char again[GD_SERVED_LEDGER];

	for (unsigned class = 0; class < GD_CLASSES; class ++) {
		size_t length = strlen(gd_class_names[class]);

		id->class = (enum gd_class) class;
		if (strncmp(name, gd_class_names[class], length) ||
		    sscanf(name + length, "-%" SCNu16 "-%" SCNu32, &id->domid, &id->devid) != 2)
			continue;
		gd_served_ledger_name(id, again);
		if (!strcmp(name, again)) /* sscanf() also takes blanks and signs, and any text behind */
			return true;
	}
	return false;
}

/* Whether a former grantiod served the device, or this one did before a stop: then a driver may be using it. */
static bool served_before(const struct gd_served *device)
{
	return device->former != GD_STATE_INITIALISING;
}

static int ledger_path(const struct gd_served *device, char *path, size_t size)
{
	char name[GD_SERVED_LEDGER];
	int length;

	gd_served_ledger_name(&device->id, name);
	length = snprintf(path, size, "%s/%s", device->config->state_dir, name);
	return length < (int)size ? 0 : -ENAMETOOLONG;
}

/*
 * Get a ledger for the device: the former process's (then device->resumed is set), or a new one. If its file cannot be
 * made the ledger is in memory only, since a device without a successor is better than none.
 */
static int ledger_open(struct gd_served *device, struct gd_ledger **ledger)
{
	char path[PATH_MAX];
	int ret;

	device->resumed = false;
	device->ledger = 0;
	if (!device->config->state_dir)
		return gd_ledger_make(ledger, NULL);
	ret = ledger_path(device, path, sizeof(path));
	if (!ret && served_before(device) && device->note.ledger) {
		ret = gd_ledger_adopt(ledger, path, device->note.ledger);
		device->resumed = !ret;
		if (ret)
			gd_log(&device->log, GD_NOTICE, "ledger %s: cannot be used: %s", path, strerror(-ret));
	}
	if (!device->resumed)
		ret = gd_ledger_make(ledger, path);
	if (!ret)
		device->ledger = gd_ledger_cookie(*ledger);
	if (!ret)
		return 0;
	gd_log(&device->log, GD_WARN, "ledger %s: cannot make it: %s; no other grantiod will be able to go on", path,
	       strerror(-ret));
	return gd_ledger_make(ledger, NULL);
}

/* ---- jobs --------------------------------------------------------------------------------------------------- */

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
					  .indirect = config->indirect};
	struct gd_blk_config blk = {
		.disk = device->own->disk, .writeback = true, .discard = device->keys.discard && config->discard};
	int ret;

	if (device->resumed) {
		gd_device_config_keep(&common, ledger);
		gd_blk_config_keep(&common, &blk, gd_ledger_features(ledger), device->keys.discard);
	}
	if (device->keys.type == GIO_VIRTIO_ID_RNG)
		return gd_rng_open(class, &common, config->rng_rate, error, size);
	ret = gd_blk_open(class, &common, &blk, error, size);
	if (ret)
		gd_disk_remember(device->own->disk, NULL);
	else
		device->own->disk = NULL; /* the class's now */
	return ret;
}

static int parts_open(struct gd_served *device, struct gd_vdev_config *vdev, char *error, size_t size)
{
	int ret = class_open(device, vdev->ledger, &vdev->class, error, size);

	if (ret)
		return ret;
	gd_mmio_init(&device->own->mmio, device_raise, device);
	ret = gd_vdev_open(&device->own->vdev, vdev, error, size);
	if (ret)
		gd_class_close(vdev->class);
	return ret;
}

static int vdev_open(struct gd_served *device)
{
	struct gd_vdev_config vdev = {.transport = &device->own->mmio.transport,
				      .driver_ok = device_driver_ok,
				      .quiet = device_quiet,
				      .opaque = device};
	char error[GD_SERVED_ERROR / 2];
	int ret = ledger_open(device, &vdev.ledger);

	if (ret)
		return gd_served_fail(device, ret, "no memory for its ledger");
	if (device->own->disk)
		gd_disk_remember(device->own->disk, gd_ledger_unflushed(vdev.ledger));
	ret = parts_open(device, &vdev, error, sizeof(error));
	if (ret && device->resumed)
		gd_ledger_leave(vdev.ledger); /* the next attempt may succeed and go on by it */
	else if (ret)
		gd_ledger_close(vdev.ledger);
	if (ret)
		snprintf(device->error, sizeof(device->error), "cannot set up the device: %s", error);
	return ret;
}

/* Go on where the former process ended. If that is impossible the driver is told that the device needs a reset. */
static void device_inherit(struct gd_served *device)
{
	int ret = device->resumed ? gd_vdev_resume(device->own->vdev) : -ENOENT;

	if (device->resumed && ret == -ESTALE)
		gd_log(&device->log, GD_WARN,
		       "%s: the former grantiod's last writes may still be on their way to its server: its driver is "
		       "told to reset it, and no request is done again",
		       device->target);
	else if (device->resumed && ret)
		gd_log(&device->log, GD_NOTICE, "its ledger does not fit: %s", strerror(-ret));
	device->resumed = !ret;
	if (ret && ret != -ESTALE)
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
		.discard = device->keys.discard && (config->discard || served_before(device)),
		.direct = device->keys.direct && config->direct,
		.nbd_timeout_ms = config->nbd_timeout * 1000,
		.nbd_reconnect_ms = config->nbd_reconnect * 1000,
		/* A guest that was served before may itself have written what looks like another format. */
		.raw = device->keys.raw || served_before(device) || gd_config_raw(config, device->target),
		.allow = config->image_dirs[0] ? (const char *const *)config->image_dirs : NULL,
		.nbd_allow = gd_config_nbd(config),
	};
	int ret = gd_disk_open(&device->own->disk, &disk, &device->log, device->error, sizeof(device->error));

	if (!ret)
		disk_describe(device);
	device->own->local = gd_sizewatch_local(device->target);
	return ret;
}

static void parts_close(struct gd_served *device)
{
	gd_vdev_close(device->own->vdev);
	gd_irq_close(device->own->irq);	  /* after the vdev, whose threads may raise it */
	gd_disk_close(device->own->disk); /* NULL if the class has taken it */
	device->own->vdev = NULL;
	device->own->irq = NULL;
	device->own->disk = NULL;
}

static void open_run(struct gd_job *job)
{
	struct gd_served *device = job->opaque;
	int ret;

	device->what[0] = '\0';
	device->own->local = false;
	ret = device->keys.type == GIO_VIRTIO_ID_BLOCK ? disk_open(device) : 0;
	if (!ret) {
		ret = irq_open(device);
		if (ret)
			gd_served_fail(device, ret, "cannot open its interrupt");
	}
	if (!ret)
		ret = vdev_open(device);
	if (!ret && served_before(device) && inherit_begin(device))
		device_inherit(device);
	if (ret)
		parts_close(device);
	device->result = ret;
}

static void refresh_run(struct gd_job *job)
{
	struct gd_served *device = job->opaque;

	gd_vdev_refresh(device->own->vdev);
}

static void close_run(struct gd_job *job)
{
	parts_close(job->opaque);
}

static int job_start(struct gd_served *device, void (*run)(struct gd_job *job), const char *what)
{
	char name[32];
	int ret;

	device->own->job.run = run;
	snprintf(name, sizeof(name), "d%u-%s", device->id.domid, what);
	ret = gd_job_start(device->env->jobs, &device->own->job, name);
	device->own->busy = !ret;
	return ret;
}

static void device_idle(struct gd_served *device)
{
	device->phase = GD_PHASE_IDLE;
	if (device->own->served)
		gd_log(&device->log, GD_INFO, "stopped");
	device->own->served = false;
	device->env->changed(device);
}

static void device_close(struct gd_served *device)
{
	int ret = job_start(device, close_run, "close");

	if (!ret)
		return;
	/* There is no thread for the job. The main thread may wait, but a guest's pages must not be held for ever. */
	gd_log(&device->log, GD_WARN, "closing without a thread of its own: %s", strerror(-ret));
	close_run(&device->own->job);
	device_idle(device);
}

static void job_done(struct gd_job *job)
{
	struct gd_served *device = job->opaque;

	device->own->busy = false;
	device->own->inherits = false;
	if (device->phase == GD_PHASE_OPENING && !device->result) {
		device->phase = GD_PHASE_OPENED;
		device->env->changed(device);
	} else if (device->phase == GD_PHASE_OPENING) {
		device_idle(device);
	} else if (device->phase == GD_PHASE_CLOSING && device->own->job.run == close_run) {
		device_idle(device);
	} else if (device->phase == GD_PHASE_CLOSING) {
		device_close(device); /* the job that ended had looked at the image's size */
	} else if (device->own->refresh) {
		device->own->refresh = false;
		gd_served_refresh(device);
	}
}

/* ---- life --------------------------------------------------------------------------------------------------- */

static void file_changed(struct gd_sizewatch_file *file)
{
	gd_served_refresh(file->opaque);
}

/* One allocation: a device, and its private part. */
struct whole {
	struct gd_served device; /* first: gd_served_free() */
	struct gd_served_own own;
};

struct gd_served *gd_served_new(struct gd_served_env *env, const struct gd_device_id *id, const char *name)
{
	struct whole *whole = calloc(1, sizeof(*whole));
	struct gd_served *device = &whole->device;

	if (!whole)
		return NULL;
	device->own = &whole->own;
	device->env = env;
	device->id = *id;
	gd_log_init(&device->log, id->domid, name);
	device->own->job = (struct gd_job){.done = job_done, .opaque = device};
	device->own->file = (struct gd_sizewatch_file){.log = &device->log, .changed = file_changed, .opaque = device};
	return device;
}

void gd_served_free(struct gd_served *device)
{
	gd_config_drop(device->config);
	free(device->said);
	free(device->target);
	free(device);
}

int gd_served_open(struct gd_served *device, const struct gd_keys_device *keys, unsigned state)
{
	char *target = strdup(keys->target);
	int ret = -ENOMEM;

	if (!target)
		goto fail;
	free(device->target);
	device->target = target;
	gd_config_drop(device->config);
	device->config = gd_config_hold(device->env->config);
	device->keys = *keys;
	device->keys.target = target;
	device->former = state;
	device->phase = GD_PHASE_OPENING;
	ret = job_start(device, open_run, "open");
	if (!ret)
		return 0;
	device->phase = GD_PHASE_IDLE;
fail:
	return gd_served_fail(device, ret, "cannot open its image");
}

uint64_t gd_served_former_base(const struct gd_served *device)
{
	if (!served_before(device) || !device->note.server)
		return 0;
	return device->keys.base ? device->keys.base : device->note.base;
}

void gd_served_reserve(struct gd_served *device)
{
	device->own->place.range =
		(struct gd_bus_range){.base = gd_served_former_base(device), .size = GIO_VIRTIO_MMIO_BYTES};
	gd_domain_reserve(device->env->domains, device->id.domid, &device->own->place);
}

void gd_served_abandon(struct gd_served *device)
{
	gd_domain_detach(device->env->domains, &device->own->place);
	device->coming = false;
	device->pause = (struct gd_pause){0};
}

int gd_served_start(struct gd_served *device, uint64_t base)
{
	bool driver_ok = gd_vdev_driving(device->own->vdev);

	__atomic_store_n(&device->own->driver_ok, driver_ok, __ATOMIC_RELAXED);
	device->connected = false;
	device->port = 0;
	device->base = base;
	if (device->own->place.reserved && device->own->place.range.base != base)
		gd_served_abandon(device); /* the directory has another base: nobody serves the former one */
	device->own->place.range = (struct gd_bus_range){base, GIO_VIRTIO_MMIO_BYTES, place_read, place_write, device};
	device->own->place.irq = device->keys.irq;
	device->result = gd_domain_attach(device->env->domains, device->id.domid, &device->own->place, device->error,
					  sizeof(device->error));
	if (device->result)
		return device->result;
	device->phase = GD_PHASE_SERVED;
	device->own->served = true;
	device->coming = false;
	if (served_before(device))
		gd_irq_raise(device->own->irq); /* only where a line is set: an event channel is bound later, and
						    binding raises it */
	device->own->file.path = device->target;
	if (device->own->local)
		gd_sizewatch_add(device->env->sizewatch, &device->own->file);
	return 0;
}

int gd_served_bind(struct gd_served *device, uint32_t port)
{
	int ret = 0;

	if (port)
		ret = gd_irq_event_bind(device->own->irq, port);
	else
		gd_irq_event_unbind(device->own->irq);
	device->port = ret ? 0 : port;
	return ret;
}

void gd_served_stop(struct gd_served *device)
{
	gd_sizewatch_remove(device->env->sizewatch, &device->own->file);
	gd_served_abandon(device);
	device->phase = GD_PHASE_CLOSING;
	device->own->refresh = false;
	if (!device->own->busy)
		device_close(device);
}

void gd_served_refresh(struct gd_served *device)
{
	int ret;

	if (device->phase != GD_PHASE_SERVED)
		return;
	if (device->own->busy) {
		device->own->refresh = true;
		return;
	}
	if (device->own->local) {
		gd_vdev_refresh(device->own->vdev);
		return;
	}
	ret = job_start(device, refresh_run, "size");
	if (ret)
		gd_log(&device->log, GD_WARN, "cannot look at the image's size: %s", strerror(-ret));
}
