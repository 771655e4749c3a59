/* SPDX-License-Identifier: MIT */
#include "backend/virtio/status.h"

#include <string.h>

#include "backend/virtio/wait.h"

#include <abi/virtio.h>

static void interrupt_count(struct gd_status *status)
{
	__atomic_fetch_add(&status->interrupts, 1, __ATOMIC_RELAXED);
}

void gd_status_used(struct gd_status *status, unsigned queue)
{
	struct gd_transport *transport = __atomic_load_n(&status->transport, __ATOMIC_ACQUIRE);

	interrupt_count(status);
	transport->ops->used(transport, queue);
}

void gd_status_changed(struct gd_status *status)
{
	struct gd_transport *transport = __atomic_load_n(&status->transport, __ATOMIC_ACQUIRE);

	interrupt_count(status);
	transport->ops->changed(transport);
}

void gd_status_interrupt_took(struct gd_status *status, uint64_t us)
{
	__atomic_store_n(&status->interrupt_us, gd_wait_interrupt(gd_status_interrupt_us(status), us),
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
		gd_status_changed(status);
}
