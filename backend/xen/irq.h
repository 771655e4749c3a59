/* SPDX-License-Identifier: MIT */
/*
 * A device's interrupt, as the guest gets it: a line of its interrupt controller, set by
 * xendevicemodel_set_irq_level() (Arm), or an event channel that the guest offers (x86: docs/xenbus.md).
 *
 * xl describes the line as edge-triggered in the guest's device tree, and Xen's vGIC takes a call with level 1 as one
 * edge. It ignores level 0 altogether (vgic_inject_irq: "we always ignore a falling edge"), so none is sent. Several
 * interrupts that the guest has not taken yet are one: the driver reads the cause, and then looks at every ring.
 *
 * An event channel comes and goes with the guest's module; while there is none, raising does nothing.
 *
 * Threads: gd_irq_raise() may be called by any, and does not block. Each interrupt has a handle of its own, restricted
 * to its guest, so that it may outlive the ioreq server while a device is closing. Errors: 0 or -errno; a raise that
 * fails is logged.
 */
#ifndef GD_IRQ_H
#define GD_IRQ_H

#include <stdint.h>

#include "backend/base/log.h"

struct gd_irq;

/* Line `number` of domain `domid`'s interrupt controller. `log` is the caller's, and outlives the interrupt. */
int gd_irq_line_open(struct gd_irq **irq, uint16_t domid, unsigned number, struct gd_log *log);
/* An event channel of domain `domid`, which is to be bound later. */
int gd_irq_event_open(struct gd_irq **irq, uint16_t domid, struct gd_log *log);
/*
 * Bind to `port`, which the guest has left unbound for us; it takes the place of the former one. It is raised once, as
 * interrupts that were raised before are lost. On failure there is none.
 */
int gd_irq_event_bind(struct gd_irq *irq, uint32_t port);
void gd_irq_event_unbind(struct gd_irq *irq); /* does nothing without one */

/* No thread may raise it any more. Takes NULL. */
void gd_irq_close(struct gd_irq *irq);

void gd_irq_raise(struct gd_irq *irq);

#endif
