/* SPDX-License-Identifier: MIT */
/*
 * The interface between the device core and the transport by which a driver reaches the device (virtio 1.2, 4). The
 * transport virtio-mmio, whose registers are reached by ioreqs, is in backend/mmio; the one that sends messages is in
 * backend/msg. A device may have both, and is driven by one at a time (gd_vdev_transport_set()).
 *
 * A transport passes its driver's accesses to the core by the functions of vdev.h, and ends each such step by
 * gd_vdev_commit(). The core tells the driver of events by the operations below. Neither knows the other's inside.
 *
 * Threads: a transport has one thread at a time that calls the core. Each operation says which thread calls it.
 */
#ifndef GD_TRANSPORT_H
#define GD_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

struct gd_transport;
struct gd_vdev;

/* These numbers name transports in a ledger, which other versions read: never change one. */
enum gd_transport_id { GD_TRANSPORT_MMIO = 1, GD_TRANSPORT_MSG = 2 };

/* What the driver is to be told of: bits. */
#define GD_TELL_USED	1u /* buffers of a queue were used */
#define GD_TELL_CHANGED 2u /* the configuration, or the status, has changed */

struct gd_transport_ops {
	enum gd_transport_id id;
	uint32_t state_bytes; /* of its part of the ledger, at most GD_LEDGER_TRANSPORT */

	/* Buffers of queue `queue` were used, and the driver wants to know. Any thread; must not wait. */
	void (*used)(struct gd_transport *transport, unsigned queue);
	/* The configuration or the status has changed. Any thread; must not wait. */
	void (*changed)(struct gd_transport *transport);
	/*
	 * The device was inherited from a former process, whose last interrupt may have been lost: note that the driver
	 * must be told of `what` (GD_TELL_*). Nothing is sent yet. Before the driver's first access, by any thread.
	 */
	void (*pend)(struct gd_transport *transport, uint32_t what);
	/* The driver has reset the device. By the transport's thread, or while the device is opened or closed. */
	void (*reset)(struct gd_transport *transport);
	/* Write all that a successor must know to `state`: `state_bytes` bytes. By the same threads as reset(). */
	void (*save)(const struct gd_transport *transport, void *state);
	/* Take over what save() wrote. 0, or -EINVAL where it makes no sense. Before the driver's first access. */
	int (*load)(struct gd_transport *transport, const void *state);
};

/*
 * How a queue's thread itself waits for its driver, without another thread in between: at the file descriptor of an
 * event channel. The owner of the device opens and closes it; while the device is open `fd` does not change.
 */
struct gd_bell {
	int fd; /* readable when the driver has kicked: the channel's number, 4 bytes. It does not block. */
	/* Whether the channel's number, written to it, does what `arm` does: it is the kernel's evtchn device. */
	bool written;
	/* It is readable: take what has come. It does not ring again before `arm`. By the queue's thread. */
	void (*take)(struct gd_bell *bell);
	/* The thread has read this number from it: as `take`. */
	void (*taken)(struct gd_bell *bell, uint32_t number);
	/* The thread is about to sleep, or has looked at the ring: let it ring again. By the queue's thread. */
	void (*arm)(struct gd_bell *bell);
};

/* The beginning of a transport's own structure. */
struct gd_transport {
	const struct gd_transport_ops *ops;
	struct gd_vdev *vdev; /* set by gd_vdev_open() and gd_vdev_transport_set() */
};

#endif
