/* SPDX-License-Identifier: MIT */
#include "backend/virtio/status.h"

#include <string.h>

#include "backend/base/clock.h"
#include "backend/virtio/wait.h"

void gd_status_interrupt(struct gd_status *status, uint32_t bits)
{
	/*
	 * The bit is there before the interrupt is: the guest's handler reads InterruptStatus and takes 0 for a stray.
	 * Several threads set bits while the guest acknowledges others: one atomic operation each.
	 */
	if (!__atomic_fetch_or(&status->interrupt, bits, __ATOMIC_SEQ_CST))
		__atomic_store_n(&status->raised_at, gd_clock_us(), __ATOMIC_RELAXED);
	__atomic_fetch_add(&status->interrupts, 1, __ATOMIC_RELAXED);
	status->raise(status->opaque);
}

void gd_status_acknowledge(struct gd_status *status, uint32_t bits)
{
	uint64_t raised = __atomic_exchange_n(&status->raised_at, 0, __ATOMIC_RELAXED);

	__atomic_fetch_and(&status->interrupt, ~bits, __ATOMIC_SEQ_CST);
	if (raised)
		__atomic_store_n(&status->interrupt_us,
				 gd_wait_interrupt(gd_status_interrupt_us(status), gd_clock_us() - raised),
				 __ATOMIC_RELAXED);
}

void gd_status_break(struct gd_status *status, unsigned queue, const char *why, int err)
{
	uint32_t before = __atomic_fetch_or(&status->bits, GIO_VIRTIO_STATUS_NEEDS_RESET, __ATOMIC_SEQ_CST);

	gd_log_guest(status->log, GD_WARN, "queue %u: %s (%s): the device needs a reset", queue, why, strerror(-err));
	if (before & GIO_VIRTIO_STATUS_NEEDS_RESET)
		return;
	__atomic_fetch_add(&status->needs_reset, 1, __ATOMIC_RELAXED);
	if (before & GIO_VIRTIO_STATUS_DRIVER_OK)
		gd_status_interrupt(status, GIO_VIRTIO_MMIO_INT_CONFIG);
}
