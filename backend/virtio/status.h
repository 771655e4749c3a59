/* SPDX-License-Identifier: MIT */
/*
 * What the threads of one device share: its status, its interrupt, and what is left of it after a reset.
 * All fields that change are atomics; every function may be called by any thread.
 */
#ifndef GD_STATUS_H
#define GD_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include <abi/virtio_mmio.h>

#include "backend/base/log.h"

struct gd_status {
	struct gd_log *log;
	void (*raise)(void *opaque);
	void *opaque;

	uint32_t bits;	    /* GIO_VIRTIO_STATUS_* */
	uint32_t interrupt; /* GIO_VIRTIO_MMIO_INT_*: InterruptStatus */
	bool quiesced;	    /* no queue takes chains any more */
	void (*quiet)(void *opaque);
	uint32_t orphans;      /* I/Os in flight that belong to queues which are gone */
	uint64_t raised_at;    /* when the interrupt was raised that is not acknowledged yet; 0: none is */
	uint32_t interrupt_us; /* what one takes until it is: a recent guess, 0: not known */
	uint64_t interrupts;   /* counted: raised */
	uint64_t needs_reset;  /* counted */
};

/* Set bits of InterruptStatus, then raise the interrupt. */
void gd_status_interrupt(struct gd_status *status, uint32_t bits);

/* The guest acknowledges `bits` of InterruptStatus. */
void gd_status_acknowledge(struct gd_status *status, uint32_t bits);

/*
 * The device cannot go on: DEVICE_NEEDS_RESET, and a configuration interrupt once the driver is there (2.1.2). `why`
 * and `err` make the one line in the log.
 */
void gd_status_break(struct gd_status *status, unsigned queue, const char *why, int err);

static inline uint32_t gd_status_get(const struct gd_status *status)
{
	return __atomic_load_n(&status->bits, __ATOMIC_ACQUIRE);
}

/* What an interrupt costs the guest, in microseconds, by its word (it acknowledges when it likes); 0: not known. */
static inline uint32_t gd_status_interrupt_us(const struct gd_status *status)
{
	return __atomic_load_n(&status->interrupt_us, __ATOMIC_RELAXED);
}

#endif
