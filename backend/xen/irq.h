/* SPDX-License-Identifier: MIT */
/*
 * A device's interrupt, as the guest gets it: a line of its interrupt controller, set by
 * xendevicemodel_set_irq_level() (Arm), or an event channel that it offers (x86: docs/xenbus.md).
 *
 * Device tree and virtio-mmio have it as edge-triggered (xen-contracts, section 5), and Xen's vGIC takes a call with
 * level 1 as one edge; it ignores level 0 altogether (vgic_inject_irq: "we always ignore a falling edge"), so none is
 * sent. An interrupt that is already pending in the guest stays one: the driver reads the cause, and then every ring.
 *
 * An event channel comes and goes with the guest's module; while there is none, raising does nothing.
 *
 * Threads: gd_irq_raise() from any; it does not block. Each interrupt has a handle of its own, restricted to its guest,
 * so that it may outlive the ioreq server while a device is closing. Errors: 0 or -errno; failing raises are logged.
 */
#ifndef GD_IRQ_H
#define GD_IRQ_H

#include <stdint.h>

#include "backend/base/log.h"

struct gd_irq;

/* Line `number` of domain `domid`'s interrupt controller. `log`: the caller's, outlives it. */
int gd_irq_line_open(struct gd_irq **irq, uint16_t domid, unsigned number, struct gd_log *log);
/* An event channel of domain `domid`, none yet. */
int gd_irq_event_open(struct gd_irq **irq, uint16_t domid, struct gd_log *log);
/*
 * Bind to `port`, which the guest has left unbound for us; takes the place of the one before. Raises it once, since
 * what was raised before is lost. On failure there is none.
 */
int gd_irq_event_bind(struct gd_irq *irq, uint32_t port);
void gd_irq_event_unbind(struct gd_irq *irq); /* if there is one */

/* Nobody raises it any more. Takes NULL. */
void gd_irq_close(struct gd_irq *irq);

void gd_irq_raise(struct gd_irq *irq);

#endif
