/* SPDX-License-Identifier: MIT */
/*
 * How a driver reaches its device: the device's status, its features, queues, configuration and interrupts, whatever
 * carries them. A transport is a table of operations: virtio over MMIO is one (mmio.h), virtio over messages is another
 * (msg.h). Drivers use the functions below and know no transport; transports.h opens one.
 *
 * Concepts. Most operations are a trip to the backend, which blocks the caller until it is answered; so nothing is
 * asked for that is not needed. What the device answers is a peer's value: it is checked, and waiting for one is
 * bounded.
 *
 * Threads: set-up is for one thread; notify, interrupt and the configuration may be used by any.
 * Errors: -GIO_ENODEV when there is no device, or one that this driver must not drive; -GIO_EPROTO when it breaks the
 * protocol.
 */
#ifndef GRANTIO_VIRTIO_TRANSPORT_H
#define GRANTIO_VIRTIO_TRANSPORT_H

#include <grantio/os.h>
#include <grantio/types.h>

#include "virtq.h"

struct gio_transport;

/* What each transport does. The functions of the same names, below, say what is expected. */
struct gio_transport_ops {
	void (*close)(struct gio_transport *transport);
	int (*reset)(struct gio_transport *transport);
	uint32_t (*status_read)(struct gio_transport *transport);
	void (*status_write)(struct gio_transport *transport, uint32_t status); /* not 0 */
	uint64_t (*features_read)(struct gio_transport *transport);
	void (*features_write)(struct gio_transport *transport, uint64_t features);
	int (*error)(struct gio_transport *transport); /* NULL: never one */
	int (*queue_probe)(struct gio_transport *transport, unsigned index, uint32_t *max);
	int (*queue_enable)(struct gio_transport *transport, const struct gio_virtq *vq);
	void (*notify)(struct gio_transport *transport, unsigned index);
	uint32_t (*interrupt)(struct gio_transport *transport);
	uint32_t (*config_read)(struct gio_transport *transport, unsigned offset, unsigned size);
	uint32_t (*config_generation)(struct gio_transport *transport);
};

struct gio_transport {
	const struct gio_transport_ops *ops;
	uint32_t status; /* bits that we have set; the device's own are never echoed */
	unsigned queues; /* that a driver may use at most */
};

/* The device stays as it is. NULL is allowed. */
void gio_transport_close(struct gio_transport *transport);

/*
 * Reset the device and wait until it says that it is reset (2.4). -GIO_EPROTO or -GIO_ETIMEDOUT when it does not within
 * the transport's limit.
 */
int gio_transport_reset(struct gio_transport *transport);

/* Set bits of the status, and keep those set before. */
void gio_transport_status_add(struct gio_transport *transport, uint32_t bits);
/* The status as it is now: whether the device needs a reset. */
uint32_t gio_transport_status_read(struct gio_transport *transport);

/*
 * Say hello and agree on features (3.1.1, steps 2 to 6): all of `required`, those of `wanted` that are offered. The
 * result is in `features`. -GIO_ENODEV when one is missing or FEATURES_OK does not stay; the status is then FAILED.
 */
int gio_transport_negotiate(struct gio_transport *transport, uint64_t required, uint64_t wanted, uint64_t *features);

/* Why the device cannot be reached any more, whatever its other answers are; 0: it can. */
int gio_transport_error(struct gio_transport *transport);

/* Select queue `index`: its most entries; -GIO_ENODEV when there is none, -GIO_EPROTO when it is in use already. */
int gio_transport_queue_probe(struct gio_transport *transport, unsigned index, uint32_t *max);
/* Hand `vq` to the device as the queue probed last. -GIO_EPROTO when it does not become ready. */
int gio_transport_queue_enable(struct gio_transport *transport, const struct gio_virtq *vq);
/* Tell the device that queue `index` has new buffers. */
void gio_transport_notify(struct gio_transport *transport, unsigned index);

/*
 * Read and acknowledge the causes of an interrupt: GIO_VIRTIO_INT_*, unknown bits left out. Where queues have event
 * channels of their own, these alone tell of used buffers. AGAIN if the device has more to say than is listened to at a
 * time, for which there may be no further interrupt: call again within a second.
 */
#define GIO_TRANSPORT_INT_AGAIN 0x80000000u
uint32_t gio_transport_interrupt(struct gio_transport *transport);

/* One field of the configuration space, `size` 1, 2 or 4 bytes as the field has. */
uint32_t gio_transport_config_read(struct gio_transport *transport, unsigned offset, unsigned size);
/* A 64-bit field, in two halves: needs the generation check around it (2.5.1). */
uint64_t gio_transport_config_read64(struct gio_transport *transport, unsigned offset);
/* Changes whenever the configuration space does. */
uint32_t gio_transport_config_generation(struct gio_transport *transport);

#endif
