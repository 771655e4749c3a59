/* SPDX-License-Identifier: MIT */
#include "backend/xenbus/frontend.h"
#include "backend/base/clock.h"
#include "backend/xenbus/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool gd_frontend_followed(const struct gd_served *device)
{
	return !device->keys.base || gd_served_channels(device);
}

/*
 * Read the guest's directory, and check it. 0, or -errno with a line in `error`; `front->state` is then that of the
 * guest if it could be read, and 0 otherwise.
 */
static int front_read(struct gd_store *store, const struct gd_served *device, unsigned channels, struct gd_front *front,
		      char error[GD_KEYS_ERROR])
{
	struct gd_front_keys keys;
	int err = gd_store_front_read(store, &device->id, &keys);

	*front = (struct gd_front){0};
	if (err)
		snprintf(error, GD_KEYS_ERROR, "cannot read the guest's directory: %s", strerror(-err));
	else
		err = gd_front_parse(&keys, channels, front, error);
	gd_front_keys_free(&keys);
	return err;
}

bool gd_frontend_answer(struct gd_store *store, struct gd_served *device, struct gd_msg_answer *answer)
{
	char error[GD_KEYS_ERROR];
	struct gd_front front;

	if (front_read(store, device, GIO_MSG_CHANNELS_MAX, &front, error) || front.version != GIO_XENBUS_VERSION_MSG)
		return false;
	*answer = front.answer;
	return true;
}

/* ---- version 1 -------------------------------------------------------------------------------------------------- */

/*
 * The state that answers the guest's. A device that is to stay follows the guest through 5 and 6 and back to 2. Linux
 * expects that, and waits for each state, when a new kernel finds the device in use (kdump).
 */
static unsigned front_answer(const struct gd_front *front, unsigned state, bool online, bool bound)
{
	if (bound && state == GD_STATE_INIT_WAIT)
		return GD_STATE_CONNECTED;
	if (front->state == GD_STATE_INITIALISING &&
	    (state == GD_STATE_CONNECTED || (online && state >= GD_STATE_CLOSING)))
		return GD_STATE_INIT_WAIT;
	if (online && front->state == GD_STATE_CLOSING && state < GD_STATE_CLOSING)
		return GD_STATE_CLOSING;
	if (online && front->state == GD_STATE_CLOSED && state <= GD_STATE_CLOSING)
		return GD_STATE_CLOSED;
	return state;
}

/* Bind the guest's event channel, or unbind it. 0, or -errno with a line in `error`. */
static int front_bind(struct gd_served *device, const struct gd_front *front, unsigned state, char *error)
{
	/*
	 * If the device is in state 4 and we have bound no event channel, a former grantiod had. If the device was
	 * taken over as it was and has stayed in state 4, we bind the same one; otherwise the guest begins anew.
	 */
	bool inherited = device->resumed && state == GD_STATE_CONNECTED;
	int err = 0;

	if (front->port && front->port != device->port &&
	    (front->state == GD_STATE_INITIALISED || device->port || inherited)) {
		err = gd_served_bind(device, front->port);
		if (err)
			snprintf(error, GD_KEYS_ERROR, "the guest's event-channel '%u': cannot bind it: %s",
				 front->port, strerror(-err));
	}
	if (!front->port && device->port)
		gd_served_bind(device, 0);
	return err;
}

/* ---- version 2 -------------------------------------------------------------------------------------------------- */

/* The guest has begun anew, or has failed to: the next time it may have to wait. */
static void churn_note(struct gd_served_churn *churn)
{
	uint64_t now = gd_clock_ms();

	if (churn->up && now - churn->up >= GD_FRONTEND_CALM_MS)
		churn->ms = 0;
	churn->again = churn->ms ? now + churn->ms : 0;
	churn->ms = churn->ms ? 2 * churn->ms : GD_FRONTEND_PAUSE_MS;
	if (churn->ms > GD_FRONTEND_PAUSE_MAX_MS)
		churn->ms = GD_FRONTEND_PAUSE_MAX_MS;
	churn->up = 0;
}

/* Why a device that is linked must be linked no more; NULL: it stays linked. */
static const char *link_over(const struct gd_served *device, const struct gd_front *front, int err)
{
	bool answers = front->state == GD_STATE_INITIALISED || front->state == GD_STATE_CONNECTED;

	if (gd_served_broken(device))
		return "it broke the rules of its messages";
	if (err == -EAGAIN || (err && !front->state))
		return NULL; /* its directory cannot be read now, or makes no sense: that changes nothing */
	if (!answers)
		return "its state says so";
	/* What has been answered is read once: a guest that is connected may write there what it likes. */
	if (front->state == GD_STATE_INITIALISED && !err &&
	    (front->version != GIO_XENBUS_VERSION_MSG || front->answer.connection != device->connection))
		return "it has answered anew";
	return NULL;
}

static void link_follow(struct gd_store *store, struct gd_served *device, const struct gd_front *front, int err,
			const struct gd_keys_life *life)
{
	const char *why = link_over(device, front, err);

	if (why) {
		gd_log_guest(&device->log, GD_INFO, "messages end with its guest in state %u: %s", front->state, why);
		churn_note(&device->churn);
		gd_served_unlink(device);
		return;
	}
	if (!device->churn.up)
		device->churn.up = gd_clock_ms();
	if (life->state != GD_STATE_INIT_WAIT || gd_state_change(store, device, life->state, GD_STATE_CONNECTED))
		return;
	device->linked = true;
	device->refused = false;
	gd_log_guest(&device->log, GD_INFO,
		     "driven by messages: connection %016" PRIx64 ", %u event channels for queues, %u runs of a pool",
		     device->connection, front->answer.channels, front->answer.runs);
}

/* The last answer could not be taken. One that is wrong stays so; what we lack ourselves may be there later. */
static void link_failed(struct gd_served *device)
{
	device->refused = device->result == -EFAULT || device->result == -EPROTO || device->result == -EINVAL;
	gd_log_guest(&device->log, GD_WARN, "%s: %s", device->error,
		     device->refused ? "its guest has to answer anew" : "trying again");
	device->result = 0;
	churn_note(&device->churn);
}

static void link_try(struct gd_retry *retry, struct gd_served *device, const struct gd_msg_answer *answer)
{
	if (device->refused && answer->connection == device->connection)
		return;
	device->refused = false;
	if (device->churn.again > gd_clock_ms())
		gd_retry_look(retry); /* it touches the device then */
	else
		gd_served_link(device, answer);
}

/*
 * A device that is not linked, and whose guest has answered by version 2, or had. True: there is nothing else to do.
 */
static bool unlinked_follow(struct gd_store *store, struct gd_retry *retry, struct gd_served *device,
			    const struct gd_front *front, const struct gd_keys_life *life)
{
	bool messages = front->version == GIO_XENBUS_VERSION_MSG;
	bool ends = front->state == GD_STATE_CLOSING || front->state == GD_STATE_CLOSED;

	if (life->state == GD_STATE_CONNECTED && (messages || (device->linked && !ends))) {
		device->linked = gd_state_change(store, device, life->state, GD_STATE_INIT_WAIT) != 0;
		return true;
	}
	if (messages && device->port)
		gd_served_bind(device, 0);
	if (messages && front->state == GD_STATE_INITIALISED && life->state == GD_STATE_INIT_WAIT)
		link_try(retry, device, &front->answer);
	return messages;
}

/* ---- both ------------------------------------------------------------------------------------------------------- */

static bool version_1_follow(struct gd_store *store, struct gd_served *device, const struct gd_front *front,
			     const struct gd_keys_life *life)
{
	char error[GD_KEYS_ERROR];
	unsigned answer;

	if (front_bind(device, front, life->state, error)) {
		gd_log_guest(&device->log, GD_WARN, "%s", error);
		return false;
	}
	answer = front_answer(front, life->state, life->online, device->port != 0);
	if (answer != life->state)
		gd_state_change(store, device, life->state, answer);
	return !front->port;
}

bool gd_frontend_step(struct gd_store *store, struct gd_retry *retry, struct gd_served *device,
		      const struct gd_keys_life *life)
{
	char error[GD_KEYS_ERROR];
	struct gd_front front;
	int err;

	if (device->link == GD_LINK_TAKING || device->link == GD_LINK_ENDING)
		return false; /* it is looked at again when its job has ended */
	if (device->link == GD_LINK_NONE && device->result)
		link_failed(device);
	err = front_read(store, device, gd_served_channels(device), &front, error);
	if (err)
		gd_log_guest(&device->log, GD_WARN, "%s", error);
	if (device->link == GD_LINK_UP) {
		link_follow(store, device, &front, err, life);
		return false;
	}
	if (err || unlinked_follow(store, retry, device, &front, life))
		return false;
	return device->keys.base || version_1_follow(store, device, &front, life);
}
