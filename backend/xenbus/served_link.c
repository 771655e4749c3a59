/* SPDX-License-Identifier: MIT */
/* A device whose guest reaches it by messages: its answer is taken, and let go of again. */
#include "backend/virtio/vdev.h"
#include "backend/xenbus/served_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DRAIN_STEP_MS 500u
#define DRAIN_MS      30000u /* I/O that uses the guest's memory and takes longer is worth a line in the log */

unsigned gd_served_channels(const struct gd_served *device)
{
	return device->own->msg ? gd_vdev_queues(device->own->vdev) : 0;
}

bool gd_served_broken(const struct gd_served *device)
{
	return __atomic_load_n(&device->own->broken, __ATOMIC_ACQUIRE);
}

bool gd_served_hangs(const struct gd_served *device)
{
	return __atomic_load_n(&device->own->hangs, __ATOMIC_RELAXED);
}

/* ---- which transport drives the device -------------------------------------------------------------------------- */

/* Have messages drive it. -EBUSY: a driver uses its registers. One that was only told to reset it does not count. */
static int messages_drive(struct gd_served *device, char *error, size_t size)
{
	struct gd_served_own *own = device->own;
	uint32_t status;

	pthread_mutex_lock(&own->gate);
	status = gd_vdev_status(own->vdev) & ~(uint32_t)GIO_VIRTIO_STATUS_NEEDS_RESET;
	if (!status) {
		gd_vdev_reset(own->vdev);
		gd_vdev_use_pool(own->vdev, gd_msg_pool(own->msg));
		gd_vdev_transport_set(own->vdev, gd_msg_transport(own->msg));
		own->absent = true;
	}
	pthread_mutex_unlock(&own->gate);
	if (status)
		snprintf(error, size, "a driver uses its registers (status '%u'), and must reset it first",
			 (unsigned)status);
	return status ? -EBUSY : 0;
}

/* Messages drive it no more; nothing of the guest is touched, and the connection can be ended. */
static void registers_drive(struct gd_served *device)
{
	struct gd_served_own *own = device->own;

	gd_vdev_use_pool(own->vdev, NULL);
	pthread_mutex_lock(&own->gate);
	gd_vdev_transport_set(own->vdev, &own->mmio.transport);
	own->absent = false;
	pthread_mutex_unlock(&own->gate);
	gd_msg_disconnect(own->msg);
}

/* ---- jobs ------------------------------------------------------------------------------------------------------- */

static void link_run(struct gd_job *job)
{
	struct gd_served *device = job->opaque;
	struct gd_served_own *own = device->own;
	int err;

	__atomic_store_n(&own->broken, false, __ATOMIC_RELAXED);
	err = gd_msg_connect(own->msg, &own->answer, true, device->error, sizeof(device->error));
	if (!err)
		err = messages_drive(device, device->error, sizeof(device->error));
	if (err) {
		gd_msg_disconnect(own->msg);
	} else {
		err = gd_msg_begin(own->msg);
		if (err) {
			gd_served_fail(device, err, "cannot handle its messages");
			gd_vdev_abandon(own->vdev);
			registers_drive(device);
		}
	}
	own->linked = !err;
	device->result = err;
}

/*
 * What the disk itself reads and writes stays mapped until it has done so. There is no limit to that: to close the
 * device would not end such I/O either, and the device could not be used when the disk answers again. False: the device
 * is to be closed, or DRAIN_MS have passed, if `once`.
 */
static bool io_ended(struct gd_served *device, bool once)
{
	struct gd_served_own *own = device->own;
	unsigned waited = 0;

	while (!gd_vdev_drain(own->vdev, DRAIN_STEP_MS)) {
		if (__atomic_load_n(&own->ends, __ATOMIC_RELAXED))
			return false;
		if (waited == DRAIN_MS)
			continue;
		waited += DRAIN_STEP_MS;
		if (waited < DRAIN_MS)
			continue;
		if (once)
			return false;
		gd_log(&device->log, GD_WARN,
		       "its disk has not ended I/O that uses its guest's memory for %u s: waiting for it",
		       DRAIN_MS / 1000);
	}
	if (waited == DRAIN_MS)
		gd_log(&device->log, GD_NOTICE, "its disk has ended that I/O");
	return true;
}

/* Let go of all that is the guest's: `once` is for io_ended(). */
static void let_go(struct gd_served *device, bool once)
{
	struct gd_served_own *own = device->own;
	const struct gd_pool *pool = gd_msg_pool(own->msg);
	bool hangs;

	gd_msg_stop(own->msg);
	gd_vdev_reset(own->vdev);
	hangs = pool && gd_pool_straight(pool) && !io_ended(device, once);
	__atomic_store_n(&own->hangs, hangs, __ATOMIC_RELAXED);
	if (hangs)
		return;
	registers_drive(device);
	gd_vdev_commit(own->vdev);
	own->linked = false;
}

static void unlink_run(struct gd_job *job)
{
	let_go(job->opaque, false);
}

static int resume(struct gd_served *device, char *error, size_t size)
{
	int err = gd_vdev_resume(device->own->vdev);

	if (err == -ESTALE)
		snprintf(error, size, "the former grantiod's last writes may still be on their way to its server");
	else if (err)
		snprintf(error, size, "its ledger does not fit: %s", strerror(-err));
	return err;
}

static int go_on(struct gd_served *device, char *error, size_t size)
{
	int err = gd_msg_go_on(device->own->msg);

	if (err)
		snprintf(error, size, "cannot handle its messages: %s", strerror(-err));
	return err;
}

int gd_served_link_inherit(struct gd_served *device, char *error, size_t size)
{
	struct gd_served_own *own = device->own;
	int err = own->answered && own->msg ? 0 : -ENOENT;

	if (err)
		snprintf(error, size, own->msg ? "its guest has not answered" : "it has no messages any more");
	else
		err = gd_msg_connect(own->msg, &own->answer, false, error, size);
	if (!err)
		err = messages_drive(device, error, size);
	if (!err)
		err = resume(device, error, size);
	if (!err)
		err = go_on(device, error, size);
	own->linked = !err;
	if (!err)
		return 0;
	gd_vdev_abandon(own->vdev);
	if (own->absent)
		registers_drive(device);
	else if (own->msg)
		gd_msg_disconnect(own->msg);
	gd_vdev_abandon(own->vdev); /* its ledger says that registers drive it */
	return err;
}

/* ---- the main thread -------------------------------------------------------------------------------------------- */

void gd_served_link(struct gd_served *device, const struct gd_msg_answer *answer)
{
	struct gd_served_own *own = device->own;
	int err;

	own->again = own->job_state != GD_SERVED_JOB_NONE;
	if (own->again)
		return;
	own->answer = *answer;
	device->connection = answer->connection;
	device->link = GD_LINK_TAKING;
	err = gd_served_job_start(device, link_run, "link");
	if (!err)
		return;
	device->link = GD_LINK_NONE;
	gd_served_fail(device, err, "cannot take its answer");
	device->env->changed(device);
}

void gd_served_unlink(struct gd_served *device)
{
	struct gd_served_own *own = device->own;

	own->again = own->job_state != GD_SERVED_JOB_NONE;
	if (own->again)
		return;
	device->link = GD_LINK_ENDING;
	if (!gd_served_job_start(device, unlink_run, "unlink"))
		return;
	/* There is no thread for the job. The main thread may wait, but a guest's pages must not be held for ever. */
	let_go(device, true);
	device->link = gd_served_hangs(device) ? GD_LINK_ENDING : GD_LINK_NONE;
	device->env->changed(device);
}

bool gd_served_link_done(struct gd_served *device)
{
	struct gd_served_own *own = device->own;
	bool ours = own->job.run == link_run || own->job.run == unlink_run;

	if (own->job.run == link_run)
		device->link = own->linked ? GD_LINK_UP : GD_LINK_NONE;
	else if (own->job.run == unlink_run)
		device->link = gd_served_hangs(device) ? GD_LINK_ENDING : GD_LINK_NONE;
	if (!ours && !own->again)
		return false;
	own->again = false;
	device->env->changed(device);
	return true;
}
