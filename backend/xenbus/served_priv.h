/* SPDX-License-Identifier: MIT */
/*
 * The inside of a served device: its life is served.c, the job that opens it is served_open.c, and served_link.c has
 * it driven by messages. All of them start jobs by served_job.c. The interface is served.h.
 */
#ifndef GD_SERVED_PRIV_H
#define GD_SERVED_PRIV_H

#include <pthread.h>

#include "backend/base/job.h"
#include "backend/mmio/mmio.h"
#include "backend/msg/msg.h"
#include "backend/sizewatch.h"
#include "backend/xen/domain.h"
#include "backend/xenbus/served.h"

/*
 * A device has one job at a time:
 *
 *   NONE --(it is started)--> RUNNING --(gd_served_refresh() is called)--> RUNNING_STALE
 *   RUNNING --(it has ended)--> NONE
 *   RUNNING_STALE --(it has ended)--> NONE, and a job that looks at the image's size is started
 *   RUNNING_STALE --(gd_served_stop() is called)--> RUNNING
 */
enum gd_served_job_state { GD_SERVED_JOB_NONE, GD_SERVED_JOB_RUNNING, GD_SERVED_JOB_RUNNING_STALE };

/* What no other file needs to know of a device. */
struct gd_served_own {
	bool served; /* it was SERVED since it was last IDLE */
	struct gd_job job;
	enum gd_served_job_state job_state;
	bool inherits; /* the job may have set the queues to work; atomic */
	bool local;    /* looking at the image's size does not block */
	struct gd_disk *disk;
	struct gd_mmio mmio;
	struct gd_msg *msg; /* NULL: it has no messages */
	struct gd_msg_answer answer;
	bool answered;	      /* `answer` is what the guest's directory said when the device was opened */
	bool by_msg;	      /* the ledger is of a device that was driven by messages */
	bool linked;	      /* the guest's answer is taken */
	bool again;	      /* the link was to be changed while a job was running */
	bool hangs;	      /* gd_served_hangs(); atomic: the job that lets go says so */
	bool ends;	      /* the device is to be closed, and the job of the link waits no longer; atomic */
	bool broken;	      /* gd_served_broken(); atomic */
	pthread_mutex_t gate; /* held while a register is accessed, or the transport is changed */
	bool absent;	      /* messages drive the device: its registers are as if it were not there; under `gate` */
	struct gd_vdev *vdev;
	struct gd_irq *irq;
	struct gd_domain_device place;
	struct gd_sizewatch_file file;
	bool driver_ok; /* atomic; written by the ioreq thread */
};

/* Whether a former grantiod served the device, or this one did before a stop: then a driver may be using it. */
static inline bool gd_served_before(const struct gd_served *device)
{
	return device->former != GD_STATE_INITIALISING;
}

/* Open the device, and go on from a ledger where a former process left one: device->result. The work of a job. */
void gd_served_open_run(struct gd_job *job);
/*
 * Go on by messages where the former process ended, with a device that was just opened. 0, or -errno with a line in
 * `error`: then it is as if nobody had used it.
 */
int gd_served_link_inherit(struct gd_served *device, char *error, size_t size);
/* A job of the link has ended: the work of served_link.c that is the main thread's. False: that job was another one. */
bool gd_served_link_done(struct gd_served *device);
/* Start the device's job, if it is not running: 0, or -errno. */
int gd_served_job_start(struct gd_served *device, void (*run)(struct gd_job *job), const char *what);
/* Close all that gd_served_open_run() has opened. */
void gd_served_parts_close(struct gd_served *device);

#endif
