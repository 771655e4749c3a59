/* SPDX-License-Identifier: MIT */
/*
 * The ioreq server of one guest: how Xen hands us the guest's accesses to our devices' registers (xen/hvm/ioreq.h,
 * xen/hvm/dm_op.h; xen-contracts, section 6).
 *
 * One page shared with Xen has a slot for each vCPU; an event channel for each tells of a request. While it waits, the
 * vCPU stands still: so a thread for each guest does nothing but answer. It answers from the bus (xen/bus.h), at once,
 * whatever is asked. The one exception is an access to a device that is not back yet: its slot stays as it is, that
 * vCPU waits, and gd_ioreq_look() has all slots looked at again.
 *
 * The page is Xen's and ours, not the guest's; the values in it are the guest's. A slot is copied once, and what the
 * bus does with the copy cannot touch the slot. Its state may only rise, or Xen kills the guest.
 *
 * A server outlives the process that made it: after a crash the guest's accesses wait for somebody to answer them. So
 * its number is noted in xenstore, and a new grantiod adopts it (xen/domain.h).
 *
 * Threads: all functions are the main thread's. Errors: 0 or -errno.
 * Not defended: Xen itself, and other backends of the same guest that use our server's number.
 */
#ifndef GD_IOREQ_H
#define GD_IOREQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/log.h"
#include "backend/xen/bus.h"

struct gd_ioreq;

struct gd_ioreq_config {
	uint16_t domid;
	struct gd_log *log; /* with `bus`: the caller's, outlive the server */
	struct gd_bus *bus;
	const uint16_t *adopt; /* `adopts` servers: take over the first that the guest has; else make one */
	unsigned adopts;
};

/* Everything up to gd_ioreq_start(). `error` names the step that failed. */
int gd_ioreq_open(struct gd_ioreq **ioreq, const struct gd_ioreq_config *config, char *error, size_t size);
/*
 * Start the answering thread. An adopted server may have requests waiting: before that the devices that they may be for
 * are on the bus, or their ranges reserved there.
 */
int gd_ioreq_start(struct gd_ioreq *ioreq);
/* Look at all slots again: after a device was added where a reservation was, or a reservation removed. */
void gd_ioreq_look(struct gd_ioreq *ioreq);
/*
 * Answers what is left, accesses to devices that did not come back too (no reservation stays on the bus), and destroys
 * the server. All ranges are unmapped. Takes NULL.
 */
void gd_ioreq_close(struct gd_ioreq *ioreq);

uint16_t gd_ioreq_id(const struct gd_ioreq *ioreq);
bool gd_ioreq_adopted(const struct gd_ioreq *ioreq); /* it is a former process's */
/* False: the guest no longer has this server, so it is another guest with the same number. */
bool gd_ioreq_alive(struct gd_ioreq *ioreq);

/* Have accesses to `size` bytes at guest-physical `base` sent to us, or no longer (the guest may be gone). */
int gd_ioreq_map(struct gd_ioreq *ioreq, uint64_t base, uint64_t size);
void gd_ioreq_unmap(struct gd_ioreq *ioreq, uint64_t base, uint64_t size);

uint64_t gd_ioreq_answered(const struct gd_ioreq *ioreq); /* requests, since open */

/*
 * Answer the request in `slot`, if there is one that can be answered now. `left`: one that a former process left half
 * done counts as well, or answered without a word of it, until it is answered. True when it was: its vCPU is to be
 * notified. For the thread, and for tests.
 */
bool gd_ioreq_slot(struct ioreq *slot, struct gd_bus *bus, bool *left);

#endif
