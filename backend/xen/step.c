/* SPDX-License-Identifier: MIT */
#include "backend/xen/step.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>

#define REMOVAL_SECONDS 1

/* ---- what is said of a device --------------------------------------------------------------------------------- */

/* Once, until it is another line. `node`: the toolstack is told as well, as xenbus backends do. */
static void complain(struct gd_step *step, struct gd_device *device, enum gd_level level, const char *text, bool node)
{
	if (device->said && !strcmp(device->said, text))
		return;
	free(device->said);
	device->said = strdup(text); /* without memory it may be said twice */
	gd_log(&device->log, level, "%s", text);
	if (node || device->error_node)
		gd_store_error(step->store, &device->id, node ? text : NULL);
	device->error_node = node;
}

void gd_step_forgive(struct gd_step *step, struct gd_device *device)
{
	if (device->error_node)
		gd_store_error(step->store, &device->id, NULL);
	device->error_node = false;
	free(device->said);
	device->said = NULL;
}

/* The name becomes known with the directory. */
static void device_name(struct gd_device *device, const struct gd_keys *keys)
{
	char name[32], *slash = strchr(device->log.name, '/');

	gd_keys_name(keys, &device->id, name, sizeof(name));
	if (!slash || strcmp(slash + 1, name))
		gd_log_init(&device->log, device->id.domid, name);
}

/* ---- one device, by its directory ----------------------------------------------------------------------------- */

static bool state_wanted(const struct gd_keys_life *life)
{
	return life->online && life->state < GD_STATE_CLOSING;
}

static int device_check(struct gd_step *step, const struct gd_device *device, const struct gd_keys *keys,
			struct gd_keys_device *out, char error[GD_KEYS_ERROR])
{
	const struct gd_keys_policy policy = {
		.backend = gd_store_domid(step->store),
		.config_target = gd_config_disk(step->config, device->id.domid, device->id.devid),
		.foreign = gd_config_foreign(step->config, device->id.domid),
	};

	return gd_keys_device(keys, &device->id, &policy, out, error);
}

/* Not when the toolstack has changed it since it was read: then there is an event for that. */
static void state_change(struct gd_step *step, struct gd_device *device, unsigned from, unsigned to)
{
	int ret = gd_store_state(step->store, &device->id, from, to, NULL);

	if (ret && ret != -ENOENT && ret != -EBUSY)
		gd_log(&device->log, GD_ERR, "state: cannot write %u: %s", to, strerror(-ret));
}

void gd_step_stop(struct gd_step *step, struct gd_device *device, const char *why)
{
	if (device->phase == GD_DEVICE_SERVED) {
		gd_log(&device->log, GD_INFO, "stopping: %s", why);
		gd_store_remove(step->store, &device->id, GD_KEY_IOREQ_SERVER);
		gd_store_remove(step->store, &device->id, GD_KEY_LEDGER);
		if (!device->keys.base)
			gd_store_front_unwatch(step->store, &device->id);
	}
	gd_device_stop(device);
}

static bool keys_equal(const struct gd_keys_device *a, const struct gd_keys_device *b)
{
	return a->base == b->base && a->irq == b->irq && a->readonly == b->readonly && a->discard == b->discard &&
	       a->direct == b->direct && a->foreign == b->foreign && !strcmp(a->target, b->target);
}

/*
 * In a driver domain it is ours to remove the directory of a device that has ended: libxl waits for that, ten seconds,
 * once it has seen state 6. That it has seen it nothing says: it is given a second. If that is too short, xl complains
 * that the backend has vanished, and goes on all the same.
 */
static void removal_ask(struct gd_step *step, struct gd_device *device)
{
	const struct itimerspec when = {.it_value.tv_sec = REMOVAL_SECONDS};

	if (!gd_store_domid(step->store) || device->leaving)
		return;
	device->leaving = true;
	timerfd_settime(step->removal, 0, &when, NULL); /* cannot fail: the descriptor and `when` are ours */
}

/* Not open. */
static void idle_step(struct gd_step *step, struct gd_device *device, const struct gd_keys *keys)
{
	char error[GD_KEYS_ERROR];
	struct gd_keys_life life;
	struct gd_keys_device parsed;
	bool failed;
	int ret;

	device_name(device, keys);
	ret = gd_keys_life(keys, &life, error);
	if (!ret && life.state == GD_STATE_CLOSING) {
		gd_step_forgive(step, device);
		state_change(step, device, GD_STATE_CLOSING, GD_STATE_CLOSED);
		return;
	}
	if (!ret && life.state == GD_STATE_CLOSED && !life.online)
		removal_ask(step, device);
	if (!ret && (!state_wanted(&life) || !gd_store_introduced(step->store, device->id.domid)))
		return;
	if (!ret)
		ret = device_check(step, device, keys, &parsed, error);
	if (ret) {
		complain(step, device, ret == -EINVAL ? GD_ERR : GD_INFO, error, ret == -EINVAL);
		return;
	}
	failed = device->result && keys_equal(&parsed, &device->keys);
	device->result = 0; /* a change in the directory, and a refresh, try again */
	if (failed || gd_device_open(device, &parsed))
		complain(step, device, GD_ERR, device->error, true);
}

/* Where its registers go: the toolstack's address, or one that no other device of the guest has; 0: there is none. */
static uint64_t base_choose(const struct gd_step *step, const struct gd_device *device)
{
	uint64_t used[(GD_FRONT_END - GD_FRONT_BASE) / GD_FRONT_STEP];
	size_t count = 0;

	if (device->keys.base)
		return device->keys.base;
	for (const struct gd_device *other = *step->devices; other; other = other->next)
		if (other->id.domid == device->id.domid && other->phase == GD_DEVICE_SERVED &&
		    count < sizeof(used) / sizeof(used[0]))
			used[count++] = other->base;
	return gd_front_base(gd_store_domid(step->store), device->keys.former_base, used, count);
}

static void serving_say(struct gd_device *device)
{
	char irq[32] = "interrupts by event channel";

	if (device->keys.base)
		snprintf(irq, sizeof(irq), "irq %u", device->keys.irq);
	gd_log(&device->log, GD_INFO, "serving %s (%" PRIu64 " bytes, blocks of %u%s, at 0x%" PRIx64 ", %s)",
	       device->target, device->info.size, device->info.block_size, device->keys.readonly ? ", read-only" : "",
	       device->base, irq);
	if (device->keys.foreign)
		gd_log(&device->log, GD_WARN,
		       "grant_usage '0': serving without grants: any memory of the guest may be mapped here");
}

/* A failure is complained of when the device is IDLE again: see idle_step(). */
static void serve(struct gd_step *step, struct gd_device *device, unsigned state)
{
	uint64_t base = base_choose(step, device);
	bool before = state != GD_STATE_INITIALISING; /* it was served before */
	struct gd_store_note note;
	int ret;

	if (!base)
		gd_device_fail(device, -ENOSPC, "no address is free for its registers");
	if (!base || gd_device_serve(device, base, before)) {
		gd_step_stop(step, device, "");
		return;
	}
	gd_step_forgive(step, device); /* before the state tells the toolstack to look */
	note = (struct gd_store_note){.server = gd_domain_server(&device->place),
				      .ledger = device->ledger,
				      .base = device->keys.base ? 0 : (uint32_t)base};
	device->connected = device->resumed && state == GD_STATE_CONNECTED;
	ret = gd_store_state(step->store, &device->id, state, device->resumed ? state : GD_STATE_INIT_WAIT, &note);
	if (!ret && !device->keys.base)
		ret = gd_store_front_watch(step->store, &device->id);
	if (ret && ret != -ENOENT && ret != -EBUSY)
		gd_device_fail(device, ret, "cannot write its state");
	if (ret) {
		gd_step_stop(step, device, "its state has changed"); /* and look at its directory again */
		return;
	}
	serving_say(device);
	if (device->resumed)
		gd_log(&device->log, GD_NOTICE, "state %u: going on where a former grantiod ended", state);
	else if (before)
		gd_log(&device->log, GD_NOTICE, "state %u: served before: a driver that uses it must reset it", state);
}

/* The image is open: serve it, if that is still what the directory wants. */
static void opened_step(struct gd_step *step, struct gd_device *device, const struct gd_keys *keys)
{
	char error[GD_KEYS_ERROR];
	struct gd_keys_life life;
	struct gd_keys_device parsed;

	if (keys && !gd_keys_life(keys, &life, error) && state_wanted(&life) &&
	    !device_check(step, device, keys, &parsed, error) && keys_equal(&parsed, &device->keys))
		serve(step, device, life.state);
	else
		gd_step_stop(step, device, ""); /* and begin again from its directory */
}

/*
 * A device that we chose the address of: what the guest's side wants, by its state (docs/xenbus.md). `state` is ours.
 * True when it has let go of the device.
 */
static bool front_step(struct gd_step *step, struct gd_device *device, unsigned state)
{
	char error[GD_KEYS_ERROR];
	struct gd_front_keys keys;
	struct gd_front front;
	bool inherited;
	int ret = gd_store_front_read(step->store, &device->id, &keys);

	if (ret)
		snprintf(error, sizeof(error), "cannot read the guest's directory: %s", strerror(-ret));
	else
		ret = gd_front_parse(&keys, &front, error);
	gd_front_keys_free(&keys);
	/*
	 * In state 4 without an event channel of ours it is a former grantiod's. If we go on where that ended, and have
	 * stayed in state 4, it is ours now; else the guest begins anew.
	 */
	inherited = device->resumed && state == GD_STATE_CONNECTED;
	if (!ret && front.port && front.port != device->port &&
	    (front.state == GD_STATE_INITIALISED || device->port || inherited)) {
		ret = gd_device_bind(device, front.port);
		if (ret)
			snprintf(error, sizeof(error), "the guest's event-channel '%u': cannot bind it: %s", front.port,
				 strerror(-ret));
	}
	if (ret) {
		gd_log_guest(&device->log, GD_WARN, "%s", error);
		return false;
	}
	if (!front.port && device->port)
		gd_device_bind(device, 0);
	if (device->port && state == GD_STATE_INIT_WAIT)
		state_change(step, device, GD_STATE_INIT_WAIT, GD_STATE_CONNECTED);
	else if (front.state == GD_STATE_INITIALISING && state == GD_STATE_CONNECTED)
		state_change(step, device, GD_STATE_CONNECTED, GD_STATE_INIT_WAIT);
	return !front.port;
}

static void served_step(struct gd_step *step, struct gd_device *device, const struct gd_keys *keys)
{
	char error[GD_KEYS_ERROR];
	struct gd_keys_life life;
	bool chosen = !device->keys.base;

	if (!keys) {
		gd_step_stop(step, device, "its directory has gone");
		return;
	}
	if (gd_keys_life(keys, &life, error)) {
		complain(step, device, GD_WARN, error, false);
		return;
	}
	if (life.state == GD_STATE_INITIALISING)
		gd_step_stop(step, device, "its directory is a new one");
	else if (chosen && !front_step(step, device, life.state))
		return; /* before it is removed the guest's driver lets go of it, or its directory is removed */
	else if (life.state == GD_STATE_CLOSING || life.state == GD_STATE_CLOSED)
		gd_step_stop(step, device, "the toolstack removes it");
	else if (!chosen && gd_device_driver_ok(device) && !device->connected) {
		device->connected = true;
		state_change(step, device, life.state, GD_STATE_CONNECTED);
	}
}

/* False: the device is to be forgotten. */
bool gd_step_follow(struct gd_step *step, struct gd_device *device)
{
	struct gd_keys keys;
	bool keep = true;
	int ret;

	if (device->phase == GD_DEVICE_OPENING || device->phase == GD_DEVICE_CLOSING)
		return true; /* it becomes dirty again when that has ended */
	ret = gd_store_read(step->store, &device->id, &keys);
	if (ret && ret != -ENOENT) {
		gd_log(&device->log, GD_WARN, "cannot read its directory: %s", strerror(-ret));
		return true;
	}
	if (device->phase == GD_DEVICE_SERVED)
		served_step(step, device, ret ? NULL : &keys);
	else if (device->phase == GD_DEVICE_OPENED)
		opened_step(step, device, ret ? NULL : &keys);
	else if (!ret)
		idle_step(step, device, &keys);
	else
		keep = false;
	gd_keys_free(&keys);
	return keep;
}
