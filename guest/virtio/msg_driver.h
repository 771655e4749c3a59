/* SPDX-License-Identifier: MIT */
/*
 * What a driver says to its device by messages, and what it makes of the answers (abi/virtio_msg.h, docs/xenbus.md).
 * The guest library's transport (msg.h) and grantio.ko are made of these functions.
 *
 * Concepts. There is one request at a time: each function that asks something sends a request and waits for its
 * response. Whatever else lies in the device page is taken meanwhile: an EVENT_CONFIG is noted, all other messages are
 * dropped and counted. A device that answers something impossible, breaks the bus, or does not answer within
 * `limit_ms` is *given up*: from then on no message is sent, and each function fails at once with the error
 * that it was given up for. The owner then breaks its queues and begins anew, or not.
 *
 * The system is reached by three calls (struct gio_msg_driver_ops), so that these two files run in any guest.
 *
 * Threads: one caller at a time, since there is one request at a time: the owner has a lock around each call, which it
 * holds while the call sleeps. gio_msg_driver_status() and gio_msg_driver_given_up() may be called at any time.
 * Errors: 0 or -GIO_E*. -GIO_EPROTO: the device breaks the protocol; -GIO_ETIMEDOUT: it does not answer; in both cases
 * it is given up. Not defended: the device may say that it has any features, capacity or queues. It owns the data.
 */
#ifndef GRANTIO_VIRTIO_MSG_DRIVER_H
#define GRANTIO_VIRTIO_MSG_DRIVER_H

#include "msg_bus.h"

/* What the system gives; `opaque` is the owner's. */
struct gio_msg_driver_ops {
	/* Send an event on the message port. Does not wait. */
	void (*notify)(void *opaque);
	/*
	 * Wait until an event has come on the message port since the last such wait ended, at most for `ms`
	 * milliseconds. May sleep, and may return early.
	 */
	void (*wait)(void *opaque, unsigned ms);
	/* Milliseconds of a clock that never goes back. */
	uint64_t (*now_ms)(void *opaque);
	/* A request (enum gio_msg_id) has no answer after GIO_MSG_WARN_MS, and is still waited for. NULL: nobody cares.
	 */
	void (*slow)(void *opaque, unsigned id);
};

struct gio_msg_driver {
	struct gio_msg_bus bus;
	const struct gio_msg_driver_ops *ops;
	void *opaque;
	int err;		  /* why the device was given up; 0: it was not. Atomic */
	uint32_t status;	  /* as the device last told it. Atomic */
	bool changed;		  /* an EVENT_CONFIG was taken, and nobody has asked since */
	uint32_t limit_ms;	  /* GIO_MSG_GIVE_UP_MS, until the owner sets another one */
	uint16_t token;		  /* of the last request */
	unsigned dropped;	  /* messages that were malformed, or not asked for */
	uint64_t due;		  /* before then no change is acted on */
	struct gio_msg_info info; /* checked by gio_msg_driver_info() */
};

/* The pages are those of abi/virtio_msg_bus.h, zeroed, and nobody has used them yet. Sends nothing. */
void gio_msg_driver_init(struct gio_msg_driver *md, struct gio_msg_page *driver, const struct gio_msg_page *device,
			 const struct gio_msg_driver_ops *ops, void *opaque);

/* Give the device up, for `err`, unless it is. */
void gio_msg_driver_give_up(struct gio_msg_driver *md, int err);
/* Why it was given up; 0: it was not. */
int gio_msg_driver_given_up(const struct gio_msg_driver *md);
/* The status as the device last told it, by a response or an EVENT_CONFIG. 0 before it told any. */
uint32_t gio_msg_driver_status(const struct gio_msg_driver *md);

/*
 * Ask what the device is, before anything else is asked: GET_DEVICE_INFO. `info` is filled. -GIO_ENODEV: it is not of
 * type `device_id`; -GIO_EPROTO: a size or a number is beyond what a driver accepts. In both cases it is given up.
 */
int gio_msg_driver_info(struct gio_msg_driver *md, uint32_t device_id);

/* The device's features 0 to 63, without those that this bus cannot have or that this driver side never takes. */
int gio_msg_driver_features_read(struct gio_msg_driver *md, uint64_t *features);
int gio_msg_driver_features_write(struct gio_msg_driver *md, uint64_t features);

/* Set the status; `status` is all that the driver has set so far, and not 0. What became of it: ..._status(). */
int gio_msg_driver_status_write(struct gio_msg_driver *md, uint32_t status);
/*
 * Reset the device, and wait until it says that it is: then it touches nothing of the guest's any more. -GIO_ETIMEDOUT
 * when it does not in limit_ms.
 */
int gio_msg_driver_reset(struct gio_msg_driver *md);

/*
 * Read the whole configuration space, info.config_bytes bytes, at one generation. -GIO_EAGAIN: the device has changed
 * it at each of three tries, and `space` holds nothing of use.
 */
int gio_msg_driver_config_read(struct gio_msg_driver *md, void *space, uint32_t *generation);
/* Write a field, `bytes` at most GIO_MSG_CONFIG_MAX. -GIO_EOPNOTSUPP: the device has not taken it. */
int gio_msg_driver_config_write(struct gio_msg_driver *md, uint32_t offset, const void *data, uint32_t bytes);

/* Ask for a queue. `max_size` is 0 if there is none; sizes and addresses are the device's word. */
int gio_msg_driver_queue_read(struct gio_msg_driver *md, uint32_t index, struct gio_msg_queue *queue);
/*
 * Enable a queue: `index`, `size`, and three addresses are given, and the rest is not looked at. The device says
 * whether it did by what it reads back: -GIO_EIO when it did not, and the queue must not be used.
 */
int gio_msg_driver_queue_enable(struct gio_msg_driver *md, const struct gio_msg_queue *queue);

/*
 * After an event of the message port for which nobody waits: take what lies in the device page, at most
 * GIO_MSG_TAKE_MAX messages. True if there may be more, which no further event may tell of: call again soon.
 */
bool gio_msg_driver_poll(struct gio_msg_driver *md);
/*
 * An EVENT_CONFIG has come since this was last called with that answer: -1, no; else the milliseconds until it may be
 * acted on, 0 for now, so that no device makes its driver act more often than GIO_MSG_EVENTS_PER_S times a second.
 * After 0 the change counts as acted on: the status is gio_msg_driver_status(), and the configuration is to be read
 * anew.
 */
int gio_msg_driver_changed(struct gio_msg_driver *md);
/* What was to be read anew could not be, since it changed meanwhile: ..._changed() is to say so again, in a second. */
void gio_msg_driver_change_again(struct gio_msg_driver *md);

#endif
