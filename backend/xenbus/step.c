/* SPDX-License-Identifier: MIT */
#include "backend/base/clock.h"
#include "backend/virtio/vdev.h"
#include "backend/xen/domain.h"
#include "backend/xenbus/frontend.h"
#include "backend/xenbus/state.h"
#include "backend/xenbus/step.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REMOVAL_MS 1000

/* ---- messages about a device --------------------------------------------------------------------------------- */

/* Log a line, unless it is the same as the last one. `node`: tell the toolstack as well, as xenbus backends do. */
static void complain(struct gd_step *step, struct gd_served *device, enum gd_level level, const char *text, bool node)
{
	if (device->said && !strcmp(device->said, text))
		return;
	free(device->said);
	device->said = strdup(text); /* if there is no memory, the line may be logged twice */
	gd_log(&device->log, level, "%s", text);
	if (node || device->error_node)
		gd_store_error(step->store, &device->id, node ? text : NULL);
	device->error_node = node;
}

void gd_step_forgive(struct gd_step *step, struct gd_served *device)
{
	if (device->error_node)
		gd_store_error(step->store, &device->id, NULL);
	device->error_node = false;
	free(device->said);
	device->said = NULL;
}

/* Name the device in the log by what its directory says. */
static void device_name(struct gd_served *device, const struct gd_keys *keys)
{
	char name[32], *slash = strchr(device->log.name, '/');

	gd_keys_name(keys, &device->id, name, sizeof(name));
	if (!slash || strcmp(slash + 1, name))
		gd_log_init(&device->log, device->id.domid, name);
}

/* ---- one device, by its directory ----------------------------------------------------------------------------- */

/*
 * True in states that ask for a device that is served. A device with an address that we gave it may also be in state 5
 * or 6 and is to stay: then that state is only our answer to the guest's (xenbus/frontend.h).
 */
static bool state_wanted(const struct gd_served *device, const struct gd_keys_life *life)
{
	bool answered = device->note.messages || (device->note.server && device->note.base);

	return life->online && (life->state < GD_STATE_CLOSING || (life->state <= GD_STATE_CLOSED && answered));
}

/*
 * Find out what the settings may call the device's guest. The caller frees the texts. -ENOTCONN: xenstore does not
 * answer; a device whose settings were found by a name must not be decided about without it.
 */
static int guest_look(struct gd_step *step, struct gd_served *device, struct gd_aliases *guest)
{
	char *name = NULL, *uuid = NULL;
	int err = 0;

	if (gd_config_names(step->config))
		err = gd_store_guest(step->store, device->id.domid, &name, &uuid);
	if (err == -EACCES && !step->nameless) {
		step->nameless = true;
		gd_log(&device->log, GD_WARN,
		       "cannot look up what its guest is called (%s): in the settings only its domain id counts here",
		       strerror(-err));
	}
	*guest = (struct gd_aliases){device->id.domid, name, uuid};
	return err && err != -EACCES ? -ENOTCONN : 0;
}

static int device_check(struct gd_step *step, struct gd_served *device, const struct gd_keys *keys,
			struct gd_keys_device *out, char error[GD_KEYS_ERROR])
{
	struct gd_keys_policy policy = {.backend = gd_store_domid(step->store)};
	struct gd_aliases guest;
	int err;

	err = guest_look(step, device, &guest);
	policy.config_target = gd_config_disk(step->config, &guest, device->id.devid);
	policy.foreign = gd_config_foreign(step->config, &guest);
	if (!err)
		err = gd_keys_device(keys, &device->id, &policy, out, error);
	free((char *)guest.name);
	free((char *)guest.uuid);
	return err;
}

/* Note for a successor what it needs if this process ends while no directory names the ioreq server (xen/ioreq.h). */
static void others_note(struct gd_step *step, struct gd_served *device, unsigned devices)
{
	uint32_t servers;
	int err;

	if (!gd_domain_others(device->env->domains, device->id.domid, devices, &servers))
		return;
	err = gd_store_others(step->store, &device->id, servers);
	device->others = !err;
	if (err && err != -ENOENT)
		gd_log(&device->log, GD_DEBUG, "cannot note the guest's other ioreq servers: %s", strerror(-err));
}

/* That is not needed any more: the server is named, or there is none. */
static void others_forget(struct gd_step *step, struct gd_served *device)
{
	if (device->others)
		gd_store_remove(step->store, &device->id, GD_KEY_IOREQ_OTHERS);
	device->others = false;
}

void gd_step_stop(struct gd_step *step, struct gd_served *device, const char *why)
{
	if (device->phase == GD_PHASE_SERVED) {
		gd_log(&device->log, GD_INFO, "stopping: %s", why);
		others_note(step, device, 1);
		gd_store_remove(step->store, &device->id, GD_KEY_IOREQ_SERVER);
		gd_store_remove(step->store, &device->id, GD_KEY_LEDGER);
		if (gd_frontend_followed(device))
			gd_store_front_unwatch(step->store, &device->id);
	}
	gd_served_stop(
		device); /* it leaves its guest at once; with the guest's last device, so does the ioreq server */
	others_forget(step, device);
}

static bool keys_equal(const struct gd_keys_device *a, const struct gd_keys_device *b)
{
	return a->base == b->base && a->irq == b->irq && a->readonly == b->readonly && a->discard == b->discard &&
	       a->direct == b->direct && a->raw == b->raw && a->foreign == b->foreign && !strcmp(a->target, b->target);
}

/*
 * In a driver domain we have to remove the directory of a device that has ended: once libxl has seen state 6 it waits
 * for that, for ten seconds. Nothing tells us that libxl has seen state 6, and so it gets a second. If that is too
 * short, xl complains that the backend has vanished, and goes on all the same.
 */
static void removal_ask(struct gd_step *step, struct gd_served *device)
{
	if (!gd_store_domid(step->store) || device->leaving)
		return;
	device->leaving = true;
	gd_timer_set(step->removal, REMOVAL_MS);
}

static bool is_former(const struct gd_served *device, unsigned state)
{
	return state != GD_STATE_INITIALISING && (device->note.server || device->note.messages);
}

/*
 * The driver of a device that was served before expects its registers where they were. That must be an address that we
 * may give, and no other device's.
 */
static int base_check(const struct gd_served *device, const struct gd_keys_device *keys, unsigned state, char *error)
{
	uint64_t base = device->note.base;

	if (keys->base || !base || state == GD_STATE_INITIALISING)
		return 0;
	if (!gd_front_place(base)) {
		snprintf(error, GD_KEYS_ERROR, "mmio-base '%" PRIu64 "': no place for registers; it was served there",
			 base);
		return -EINVAL;
	}
	for (const struct gd_served *other = device->guest->devices; other; other = other->sibling)
		if (other != device && other->note.base == base && other->phase != GD_PHASE_IDLE) {
			snprintf(error, GD_KEYS_ERROR, "mmio-base '%" PRIu64 "': %s of the guest has it", base,
				 other->log.name);
			return -EINVAL;
		}
	return 0;
}

/* Open a device whose directory is complete and asks for it to be served. */
static void idle_open(struct gd_step *step, struct gd_served *device, const struct gd_keys_device *keys, unsigned state)
{
	bool failed = device->result && keys_equal(keys, &device->keys);
	struct gd_msg_answer answer;
	bool answered;

	if (!failed && gd_retry_pauses(&step->retry, device))
		return;
	if (!failed) {
		device->coming = is_former(device, state);
		device->result = 0;
		/* By messages a device goes on only as its guest has answered; without a ledger it does not go on. */
		answered = state == GD_STATE_CONNECTED && device->note.ledger &&
			   gd_frontend_answer(step->store, device, &answer);
		if (!gd_served_open(device, keys, state, answered ? &answer : NULL))
			return;
	}
	if (is_former(device, state) && gd_retry_may(device)) {
		gd_retry_later(&step->retry, device);
		return;
	}
	device->result = 0; /* it is tried again after a change in the directory, or a refresh */
	gd_served_abandon(device);
	complain(step, device, GD_ERR, device->error, true);
}

/*
 * Whether the directory asks for the device to be served: 0, with `out` filled in, or the reason why not. -ENOTCONN:
 * xenstore does not answer; there will be an event when it does.
 */
static int idle_wanted(struct gd_step *step, struct gd_served *device, const struct gd_keys *keys,
		       struct gd_keys_device *out, unsigned *state)
{
	char error[GD_KEYS_ERROR];
	struct gd_keys_life life;
	int err = gd_keys_life(keys, &life, error);

	device->waits = false;
	if (!err && life.state == GD_STATE_CLOSING && !state_wanted(device, &life)) {
		gd_step_forgive(step, device);
		gd_state_change(step->store, device, GD_STATE_CLOSING, GD_STATE_CLOSED);
		return -ENOENT;
	}
	if (!err && life.state == GD_STATE_CLOSED && !life.online)
		removal_ask(step, device);
	if (!err && !state_wanted(device, &life))
		return -ENOENT;
	if (!err && !gd_store_introduced(step->store, device->id.domid)) {
		device->waits = true;
		return -ENOENT;
	}
	if (!err)
		err = device_check(step, device, keys, out, error);
	if (!err)
		err = base_check(device, out, life.state, error);
	if (err && err != -ENOTCONN)
		complain(step, device, err == -EINVAL ? GD_ERR : GD_INFO, error, err == -EINVAL);
	*state = life.state;
	return err;
}

/*
 * Nobody can tell how the settings call its guest: its driver waits, as for an image that cannot be opened yet. What of
 * the keys does not depend on that, its address, says where.
 */
static void guest_unknown(struct gd_step *step, struct gd_served *device, const struct gd_keys *keys)
{
	struct gd_keys_policy policy = {.backend = gd_store_domid(step->store)};
	struct gd_keys_device parsed;
	char error[GD_KEYS_ERROR];

	gd_keys_device(keys, &device->id, &policy, &parsed, error); /* the rest is for later, and so is a fault */
	device->keys.base = parsed.base;
	gd_served_fail(device, -EAGAIN, "cannot look up what its guest is called");
	device->coming = true;
	gd_retry_later(&step->retry, device);
}

/* The next step of a device that is not open. */
static void idle_step(struct gd_step *step, struct gd_served *device, const struct gd_keys *keys)
{
	struct gd_keys_device parsed;
	unsigned state;
	int err;

	device_name(device, keys);
	err = idle_wanted(step, device, keys, &parsed, &state);
	if (!err)
		idle_open(step, device, &parsed, state);
	else if (err != -ENOTCONN)
		gd_served_abandon(device);
	else if (is_former(device, state))
		guest_unknown(step, device, keys);
}

/*
 * Choose where the registers are: at the toolstack's address; where they were before; or else at a place that is
 * published for no other device of the guest, whether that is served or not. 0: there is none.
 */
static uint64_t base_choose(const struct gd_step *step, const struct gd_served *device)
{
	uint16_t backend = gd_store_domid(step->store);
	uint64_t used[GD_FRONT_PLACES], wish;
	size_t count = 0;

	if (device->keys.base)
		return device->keys.base;
	if (device->former != GD_STATE_INITIALISING && device->note.base)
		return device->note.base; /* base_check() has checked it */
	for (const struct gd_served *other = device->guest->devices; other; other = other->sibling)
		if (other != device && other->note.base && count < GD_FRONT_PLACES)
			used[count++] = other->note.base;
	wish = device->note.base ? device->note.base : gd_front_wish(backend, device->id.devid);
	return gd_front_base(backend, wish, used, count);
}

static void serving_say(struct gd_served *device)
{
	char irq[32] = "interrupts by event channel";

	if (device->keys.base)
		snprintf(irq, sizeof(irq), "irq %u", device->keys.irq);
	if (gd_served_registers(device))
		gd_log(&device->log, GD_INFO, "serving %s (%sat 0x%" PRIx64 ", %s)", device->target, device->what,
		       device->base, irq);
	else
		gd_log(&device->log, GD_INFO, "serving %s (%sby messages only)", device->target, device->what);
	if (device->keys.foreign)
		gd_log(&device->log, GD_WARN,
		       "grant_usage '0': serving without grants: any memory of the guest may be mapped here");
}

static void served_say(struct gd_served *device)
{
	serving_say(device);
	if (device->resumed)
		gd_log(&device->log, GD_NOTICE, "state %u: going on where a former grantiod ended", device->former);
	else if (device->former != GD_STATE_INITIALISING)
		gd_log(&device->log, GD_NOTICE, "state %u: served before: a driver that uses it must reset it",
		       device->former);
}

/* A device of xl's list `virtio` that has no address of xl's: its guest is told the type (store.h). 0: it is not. */
static uint32_t type_told(const struct gd_served *device)
{
	return device->id.class == GD_VIRTIO && !device->keys.base ? device->keys.type : 0;
}

/*
 * The state of a device that is SERVED now. One that goes on keeps the state that it had, unless it is of the device
 * tree, in 4, and no driver uses it: a guest with messages, of which the former process had let go, waits for 2. Where
 * the guest has a driver for the registers, 4 comes again with its DRIVER_OK.
 */
static unsigned state_served(const struct gd_served *device)
{
	bool unused = device->keys.base && device->former == GD_STATE_CONNECTED && device->link == GD_LINK_NONE &&
		      !gd_vdev_status(gd_served_vdev(device));

	return device->resumed && !unused ? device->former : GD_STATE_INIT_WAIT;
}

/*
 * Say in the directory that the device is SERVED. If that cannot be done, as xenstored has gone or others write there
 * all the time, it is done when the directory is looked at next: that is no reason to stop a device.
 */
static void announce(struct gd_step *step, struct gd_served *device)
{
	bool registers = gd_served_registers(device);
	const struct gd_store_note note = {.registers = registers,
					   .server = registers ? gd_served_server(device) : 0,
					   .ledger = device->ledger,
					   .base = device->keys.base ? 0 : (uint32_t)device->base,
					   .type = type_told(device),
					   .channels = gd_served_channels(device),
					   .others = device->others || device->note.others};
	unsigned state = state_served(device);
	int err = gd_store_state(step->store, &device->id, device->former, state, &note);

	if (!err)
		device->announced = state == GD_STATE_CONNECTED ? GD_ANNOUNCED_CONNECTED : GD_ANNOUNCED_SERVED;
	device->note = (struct gd_keys_note){.server = registers,
					     .server_id = note.server,
					     .ledger = note.ledger,
					     .base = note.base,
					     .messages = !registers};
	device->others = device->others && err;
	if (err && err != -ENOENT && err != -EBUSY)
		gd_log(&device->log, GD_WARN, "cannot write its state: %s", strerror(-err));
	else if (err)
		gd_step_stop(step, device, "its state has changed"); /* its directory is looked at again then */
	if (err)
		return;
	if (gd_frontend_followed(device))
		err = gd_store_front_watch(step->store, &device->id);
	if (err)
		gd_log(&device->log, GD_WARN, "cannot watch its guest's state: %s", strerror(-err));
	served_say(device);
}

/* A failure is logged when the device is IDLE again: see idle_open(). */
static void serve(struct gd_step *step, struct gd_served *device)
{
	uint64_t base = base_choose(step, device);

	gd_retry_end(device);
	if (!base)
		gd_served_fail(device, -ENOSPC, "no address is free for its registers");
	others_note(step, device, 0);
	if (!base || gd_served_start(device, base)) {
		gd_step_stop(step, device, "");
		return;
	}
	gd_step_forgive(step, device); /* before the new state makes the toolstack look */
	announce(step, device);
}

/* The image is open: serve the device, if the directory still asks for that. */
static void opened_step(struct gd_step *step, struct gd_served *device, const struct gd_keys *keys)
{
	char error[GD_KEYS_ERROR];
	struct gd_keys_life life;
	struct gd_keys_device parsed;
	int err = -ENOENT;

	if (!device->guest->settled)
		return; /* it waits until all directories are read: one may name an address that it must not take */
	if (keys && !gd_keys_life(keys, &life, error) && state_wanted(device, &life) && life.state == device->former)
		err = device_check(step, device, keys, &parsed, error);
	if (!err && keys_equal(&parsed, &device->keys))
		serve(step, device);
	else if (err != -ENOTCONN)
		gd_step_stop(step, device, ""); /* it begins again by its directory then */
}

static void served_step(struct gd_step *step, struct gd_served *device, const struct gd_keys *keys)
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
	if (device->announced == GD_ANNOUNCED_NOTHING && life.state == device->former)
		announce(step, device);
	else if (life.state == GD_STATE_INITIALISING)
		gd_step_stop(step, device, "its directory is a new one");
	else if (gd_served_hangs(device))
		gd_step_stop(step, device, "its disk does not end I/O that uses its guest's memory");
	else if (gd_frontend_followed(device) && !gd_frontend_step(step->store, &step->retry, device, &life))
		return; /* it is removed when the guest's driver lets go of it, or when its directory goes */
	else if (chosen && life.online)
		return;
	else if (life.state == GD_STATE_CLOSING || life.state == GD_STATE_CLOSED)
		gd_step_stop(step, device, "the toolstack removes it");
	else if (!chosen && gd_served_driver_ok(device) && device->announced != GD_ANNOUNCED_CONNECTED) {
		if (!gd_state_change(step->store, device, life.state, GD_STATE_CONNECTED))
			device->announced = GD_ANNOUNCED_CONNECTED;
	}
}

bool gd_step_follow(struct gd_step *step, struct gd_served *device)
{
	struct gd_keys keys;
	bool keep = true;
	int err;

	if (device->phase == GD_PHASE_OPENING || device->phase == GD_PHASE_CLOSING)
		return true; /* it becomes dirty again when its job has ended */
	err = gd_store_read(step->store, &device->id, &keys);
	if (err && err != -ENOENT) {
		gd_log(&device->log, GD_WARN, "cannot read its directory: %s", strerror(-err));
		/* A directory that we may not read does not hold up the guest's other devices. */
		if (err == -EACCES || err == -EINVAL)
			gd_table_read(device);
		return true;
	}
	if (!err)
		gd_keys_note(&keys, &device->note);
	gd_table_read(device);
	if (err && device->phase != GD_PHASE_IDLE && device->forgotten)
		return true; /* it goes on being served */
	device->forgotten = false;
	if (device->phase == GD_PHASE_SERVED)
		served_step(step, device, err ? NULL : &keys);
	else if (device->phase == GD_PHASE_OPENED)
		opened_step(step, device, err ? NULL : &keys);
	else if (!err)
		idle_step(step, device, &keys);
	else
		keep = false;
	gd_keys_free(&keys);
	return keep;
}
