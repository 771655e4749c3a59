/* SPDX-License-Identifier: MIT */
/* A device's job is started, and what it could not do is noted. */
#include "backend/xenbus/served_priv.h"

#include <stdio.h>
#include <string.h>

int gd_served_job_start(struct gd_served *device, void (*run)(struct gd_job *job), const char *what)
{
	char name[32];
	int err;

	device->own->job.run = run;
	snprintf(name, sizeof(name), "d%u-%s", device->id.domid, what);
	err = gd_job_start(device->env->jobs, &device->own->job, name);
	device->own->job_state = err ? GD_SERVED_JOB_NONE : GD_SERVED_JOB_RUNNING;
	return err;
}

int gd_served_fail(struct gd_served *device, int err, const char *what)
{
	snprintf(device->error, sizeof(device->error), "%s: %s", what, strerror(-err));
	device->result = err;
	return err;
}
