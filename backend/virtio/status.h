/* SPDX-License-Identifier: MIT */
/*
 * What the threads of one device share: its status, its interrupt, and the I/O that a reset left in flight.
 * All fields that change are atomic; every function may be called by any thread.
 */
#ifndef GD_STATUS_H
#define GD_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include <abi/virtio.h> /* the status bits */

#include "backend/base/log.h"
#include "backend/virtio/transport.h"

struct gd_status {
	struct gd_log *log;
	struct gd_transport *transport; /* atomic: gd_vdev_transport_set() */

	uint32_t bits; /* GIO_VIRTIO_STATUS_* */
	bool quiesced; /* no queue takes chains any more */
	void (*quiet)(void *opaque);
	void *opaque;
	uint32_t orphans;      /* I/Os in flight that belong to queues which are gone */
	uint32_t interrupt_us; /* an estimate of how long the guest takes to acknowledge an interrupt; 0: not known */
	uint64_t interrupts;   /* how many were raised */
	uint64_t needs_reset;  /* how often DEVICE_NEEDS_RESET was set */
};

/* Tell the driver that buffers of a queue were used, or that the configuration or the status has changed. */
void gd_status_used(struct gd_status *status, unsigned queue);
void gd_status_changed(struct gd_status *status);

/* The driver took `us` microseconds to acknowledge an interrupt. */
void gd_status_interrupt_took(struct gd_status *status, uint64_t us);

/*
 * Set DEVICE_NEEDS_RESET, because the device cannot go on, and tell the driver of a configuration change if it has set
 * DRIVER_OK (virtio 1.2, 2.1.2). `why` and `err` are for the line in the log.
 */
void gd_status_break(struct gd_status *status, unsigned queue, const char *why, int err);

static inline uint32_t gd_status_get(const struct gd_status *status)
{
	return __atomic_load_n(&status->bits, __ATOMIC_ACQUIRE);
}

/* What an interrupt costs the guest, in microseconds. The guest can lie, by a late acknowledgement. 0: not known. */
static inline uint32_t gd_status_interrupt_us(const struct gd_status *status)
{
	return __atomic_load_n(&status->interrupt_us, __ATOMIC_RELAXED);
}

#endif
