/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The two pages and the event channels that carry messages to a backend and back (abi/virtio_msg_bus.h), and one event
 * channel or more for queues. They are made for one connection. What is said by them is the guest library's
 * (guest/virtio/msg_driver.h).
 *
 * Events. An event channel that has told us something tells nothing more until it is let go on (a "late EOI"), with a
 * flag if there was nothing to do. Linux makes a channel wait, up to a second, that tells nothing again and again: so
 * a backend cannot keep a processor busy.
 *
 * Errors: 0 or -errno. Threads: as each function says.
 */
#ifndef GRANTIO_KMOD_LINK_H
#define GRANTIO_KMOD_LINK_H

#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <xen/xenbus.h>

#include <abi/virtio_msg_bus.h>
#include <grantio/dma.h>

#include "../guest/virtio/msg_driver.h"

struct gk_link;

struct gk_channel {
	struct gk_link *link;
	unsigned int index; /* among the queues' */
	evtchn_port_t port; /* 0: none */
	int irq;	    /* bound to it */
};

struct gk_link {
	struct xenbus_device *xbdev;
	struct gio_dma dma; /* of these pages, and of rings */
	void *pages;	    /* the driver page, then the device page; NULL: not open */
	gio_dma_t addr;	    /* of both */
	struct gk_channel message;
	struct gk_channel queues[GIO_MSG_CHANNELS_MAX];
	unsigned int channels; /* of these */

	struct gio_msg_driver driver;
	struct mutex lock; /* around each use of `driver` */
	/*
	 * By xchg(): the device is given up, since it breaks the protocol or does not answer, or its backend is gone.
	 * Nothing is asked of it any more, and its queues are broken.
	 */
	int dead;
	bool asking; /* somebody holds the lock, and takes messages himself */
	wait_queue_head_t wake;
	int told;  /* by xchg(): there was an event on the message channel, and nobody has looked yet */
	int owed;  /* by xchg(): that channel waits to be let go on */
	u32 taken; /* messages when it was let go on last */

	const struct gk_link_ops *ops;
};

/* What its owner does. */
struct gk_link_ops {
	/* An event has come that no asker waits for: have gk_link_take() called. In interrupts, too. */
	void (*heard)(struct gk_link *link);
	/* An event of the channel of queues `index`: look at its queues. False: there was nothing new. In interrupts.
	 */
	bool (*used)(struct gk_link *link, unsigned int index);
	/* The device was given up just now, for this reason. May sleep. */
	void (*given_up)(struct gk_link *link, const char *why, int err);
};

/* Once, before the other functions. */
void gk_link_init(struct gk_link *link, const struct gk_link_ops *ops);

/*
 * Make pages and channels for the backend that `xbdev` has now; their references are `user`'s (gio_grants_user()). May
 * sleep. After an error nothing is open.
 */
int gk_link_open(struct gk_link *link, struct xenbus_device *xbdev, u32 user, unsigned int channels);
/*
 * Close the channels and end the grants: afterwards no event comes, and what the backend holds is in quarantine. May
 * sleep. Does nothing where nothing is open. No queue is left.
 */
void gk_link_close(struct gk_link *link);

/* References of the pages. */
grant_ref_t gk_link_driver_ref(const struct gk_link *link);
grant_ref_t gk_link_device_ref(const struct gk_link *link);

/* True if the device is given up; another processor may do that at any time. */
static inline bool gk_link_dead(const struct gk_link *link)
{
	return READ_ONCE(link->dead);
}
/* Mark it so. True if it was not before. */
bool gk_link_kill(struct gk_link *link);
/* The same, and tell the owner why. May sleep. */
void gk_link_give_up(struct gk_link *link, const char *why, int err);

/*
 * Before and after each use of `driver`, or several. May sleep: whoever has the lock may wait for his answer. A device
 * that the library has given up meanwhile is given up when the lock is let go.
 */
void gk_link_lock(struct gk_link *link);
void gk_link_unlock(struct gk_link *link);
/* With the lock held: take what has come unasked. True: there may be more, call it again. */
bool gk_link_take(struct gk_link *link);

/* Tell the device that a queue has buffers; any context. */
void gk_link_kick(struct gk_link *link, unsigned int queue);
/* Wait until no interrupt of a queue's channel is still being handled. */
void gk_link_sync(struct gk_link *link);

#endif
