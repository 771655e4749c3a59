/* SPDX-License-Identifier: MIT */
#include "backend/base/job.h"
#include "backend/virtio/vdev.h"
#include "backend/xen/irq.h"
#include "backend/xenbus/served_priv.h"

#include <abi/virtio_mmio.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the guest's side: called by its ioreq thread, from the bus --------------------------------------------- */

static uint64_t place_read(void *opaque, uint64_t offset, unsigned size)
{
	struct gd_served *device = opaque;
	uint64_t value = UINT64_MAX; /* as where there is no device */

	pthread_mutex_lock(&device->own->gate);
	if (!device->own->absent)
		value = gd_mmio_read(&device->own->mmio, offset, size);
	pthread_mutex_unlock(&device->own->gate);
	return value;
}

static void place_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct gd_served *device = opaque;

	pthread_mutex_lock(&device->own->gate);
	if (!device->own->absent)
		gd_mmio_write(&device->own->mmio, offset, size, value);
	pthread_mutex_unlock(&device->own->gate);
}

bool gd_served_registers(const struct gd_served *device)
{
	return device->own->place.domain != NULL;
}

uint16_t gd_served_server(const struct gd_served *device)
{
	return gd_domain_server(&device->own->place);
}

uint64_t gd_served_answered(const struct gd_served *device)
{
	return gd_served_registers(device) ? gd_domain_answered(&device->own->place) : 0;
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

/* ---- jobs --------------------------------------------------------------------------------------------------- */

static void refresh_run(struct gd_job *job)
{
	struct gd_served *device = job->opaque;

	gd_vdev_refresh(device->own->vdev);
}

static void close_run(struct gd_job *job)
{
	gd_served_parts_close(job->opaque);
}

static void device_idle(struct gd_served *device)
{
	device->phase = GD_PHASE_IDLE;
	device->link = GD_LINK_NONE;
	device->linked = false;
	if (device->own->served)
		gd_log(&device->log, GD_INFO, "stopped");
	device->own->served = false;
	device->env->changed(device);
}

static void device_close(struct gd_served *device)
{
	int err = gd_served_job_start(device, close_run, "close");

	if (!err)
		return;
	/* There is no thread for the job. The main thread may wait, but a guest's pages must not be held for ever. */
	gd_log(&device->log, GD_WARN, "closing without a thread of its own: %s", strerror(-err));
	close_run(&device->own->job);
	device_idle(device);
}

static void job_done(struct gd_job *job)
{
	struct gd_served *device = job->opaque;
	bool stale = device->own->job_state == GD_SERVED_JOB_RUNNING_STALE;

	device->own->job_state = GD_SERVED_JOB_NONE;
	device->own->inherits = false;
	if (device->phase == GD_PHASE_OPENING && !device->result) {
		device->phase = GD_PHASE_OPENED;
		device->link = device->own->linked ? GD_LINK_UP : GD_LINK_NONE;
		device->linked = device->own->linked;
		device->connection = device->own->answer.connection;
		device->env->changed(device);
	} else if (device->phase == GD_PHASE_OPENING) {
		device_idle(device);
	} else if (device->phase == GD_PHASE_CLOSING && device->own->job.run == close_run) {
		device_idle(device);
	} else if (device->phase == GD_PHASE_CLOSING) {
		device_close(device); /* the job that ended had looked at the image's size */
	} else {
		gd_served_link_done(device);
		if (stale)
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
	pthread_mutex_init(&device->own->gate, NULL);
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
	pthread_mutex_destroy(&device->own->gate);
	free(device->said);
	free(device->target);
	free(device);
}

int gd_served_open(struct gd_served *device, const struct gd_keys_device *keys, unsigned state,
		   const struct gd_msg_answer *answer)
{
	char *target = strdup(keys->target);
	int err = -ENOMEM;

	if (!target)
		goto fail;
	free(device->target);
	device->target = target;
	gd_config_drop(device->config);
	device->config = gd_config_hold(device->env->config);
	device->keys = *keys;
	device->keys.target = target;
	device->former = state;
	device->own->answered = answer != NULL;
	device->own->answer = answer ? *answer : (struct gd_msg_answer){0};
	device->phase = GD_PHASE_OPENING;
	device->own->ends = false;
	err = gd_served_job_start(device, gd_served_open_run, "open");
	if (!err)
		return 0;
	device->phase = GD_PHASE_IDLE;
fail:
	return gd_served_fail(device, err, "cannot open its image");
}

uint64_t gd_served_former_base(const struct gd_served *device)
{
	if (!gd_served_before(device) || !device->note.server)
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

/*
 * Attach the registers. A guest whose accesses Xen does not hand to anybody, as it is a PV guest, or to us, as we have
 * no right to that, may still use messages.
 */
static int registers_attach(struct gd_served *device)
{
	int err = gd_domain_attach(device->env->domains, device->id.domid, &device->own->place, device->error,
				   sizeof(device->error));

	if (device->keys.base || !device->own->msg || (err != -EINVAL && err != -EPERM && err != -EACCES))
		return err;
	gd_log(&device->log, GD_INFO, "no registers, messages only: %s", device->error);
	device->base = 0;
	return 0;
}

int gd_served_start(struct gd_served *device, uint64_t base)
{
	bool driver_ok = gd_vdev_driving(device->own->vdev);

	__atomic_store_n(&device->own->driver_ok, driver_ok, __ATOMIC_RELAXED);
	device->announced = GD_ANNOUNCED_NOTHING;
	device->port = 0;
	device->base = base;
	if (device->own->place.reserved && device->own->place.range.base != base)
		gd_served_abandon(device); /* the directory has another base: nobody serves the former one */
	device->own->place.range = (struct gd_bus_range){base, GIO_VIRTIO_MMIO_BYTES, place_read, place_write, device};
	device->own->place.irq = device->keys.irq;
	device->result = registers_attach(device);
	if (device->result)
		return device->result;
	device->phase = GD_PHASE_SERVED;
	device->own->served = true;
	device->coming = false;
	if (gd_served_before(device) && device->link == GD_LINK_NONE)
		gd_irq_raise(device->own->irq); /* only where a line is set: an event channel is bound later, and
						    binding raises it */
	device->own->file.path = device->target;
	if (device->own->local)
		gd_sizewatch_add(device->env->sizewatch, &device->own->file);
	return 0;
}

int gd_served_bind(struct gd_served *device, uint32_t port)
{
	int err = 0;

	if (port)
		err = gd_irq_event_bind(device->own->irq, port);
	else
		gd_irq_event_unbind(device->own->irq);
	device->port = err ? 0 : port;
	return err;
}

void gd_served_stop(struct gd_served *device)
{
	gd_sizewatch_remove(device->env->sizewatch, &device->own->file);
	gd_served_abandon(device);
	device->phase = GD_PHASE_CLOSING;
	__atomic_store_n(&device->own->ends, true, __ATOMIC_RELAXED);
	if (device->own->job_state == GD_SERVED_JOB_NONE)
		device_close(device);
	else
		device->own->job_state = GD_SERVED_JOB_RUNNING;
}

void gd_served_refresh(struct gd_served *device)
{
	int err;

	if (device->phase != GD_PHASE_SERVED)
		return;
	if (device->own->job_state != GD_SERVED_JOB_NONE) {
		device->own->job_state = GD_SERVED_JOB_RUNNING_STALE;
		return;
	}
	if (device->own->local) {
		gd_vdev_refresh(device->own->vdev);
		return;
	}
	err = gd_served_job_start(device, refresh_run, "size");
	if (err)
		gd_log(&device->log, GD_WARN, "cannot look at the image's size: %s", strerror(-err));
}
