/* SPDX-License-Identifier: MIT */
/*
 * The ioreq server of one guest: how Xen hands us the guest's accesses to our devices' registers (xen/hvm/ioreq.h,
 * xen/hvm/dm_op.h).
 *
 * A page that is shared with Xen has one slot per vCPU, and one event channel per vCPU announces a request. A vCPU
 * stands still until its request is answered: so each guest has a thread that does nothing but answer. It answers from
 * the bus (xen/bus.h), at once, whatever is asked. The one exception is an access to a device that is not back yet: its
 * slot stays as it is, that vCPU waits, and gd_ioreq_look() has all slots looked at again.
 *
 * The guest cannot write to the page, which is Xen's and ours; but the values in it are the guest's. A slot is copied
 * once, and the bus works on the copy. The slot's state may only rise, or Xen kills the guest.
 *
 * A server outlives the process that made it: after a crash the guest's accesses wait until they are answered. So the
 * server's number is noted in xenstore, and a new grantiod takes the server over (xen/domain.h). Before a server is
 * made, and before it is destroyed, the guest's other servers are noted: so a new grantiod can tell a server of ours
 * from them, if this process ends while its number stands nowhere.
 *
 * Threads: all functions are the main thread's. Errors: 0 or -errno.
 * Not defended: against Xen itself, and against other backends of the same guest that use our server's number.
 */
#ifndef GD_IOREQ_H
#define GD_IOREQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/log.h"
#include "backend/xen/bus.h"

struct gd_ioreq;

/*
 * The ioreq servers that the guest has and that are our domain's, as bits by their numbers; but for those with buffered
 * requests, which ours never have. 0; or -errno, and `servers` says nothing: the answer must not be acted upon.
 */
int gd_ioreq_servers(uint16_t domid, uint32_t *servers);

struct gd_ioreq_config {
	uint16_t domid;
	struct gd_log *log; /* with `bus`: the caller's, outlive the server */
	struct gd_bus *bus;
	const uint16_t *adopt; /* `adopts` numbers of servers: take over the first one that the guest has; without any,
				  make one */
	unsigned adopts;
};

/* Make or take over the server, without answering yet. `error` names the step that failed. */
int gd_ioreq_open(struct gd_ioreq **ioreq, const struct gd_ioreq_config *config, char *error, size_t size);
/*
 * Start the answering thread. Requests may be waiting in a server that was taken over: the devices that they may be for
 * must be on the bus before, or have their ranges reserved there.
 */
int gd_ioreq_start(struct gd_ioreq *ioreq);
/* Look at all slots again: after a device has taken the place of a reservation, or a reservation was removed. */
void gd_ioreq_look(struct gd_ioreq *ioreq);
/*
 * Answers all requests that are left, also those to devices that did not come back (no reservation stays on the bus),
 * and destroys the server. All ranges are unmapped before. Takes NULL.
 */
void gd_ioreq_close(struct gd_ioreq *ioreq);

uint16_t gd_ioreq_id(const struct gd_ioreq *ioreq);
bool gd_ioreq_adopted(const struct gd_ioreq *ioreq); /* the server was taken over from a former process */
/* False: the guest does not have this server any more, and so it is another guest with the same number. */
bool gd_ioreq_alive(struct gd_ioreq *ioreq);

/* Have accesses to `size` bytes at guest-physical `base` sent to us, or no longer (the guest may be gone). */
int gd_ioreq_map(struct gd_ioreq *ioreq, uint64_t base, uint64_t size);
void gd_ioreq_unmap(struct gd_ioreq *ioreq, uint64_t base, uint64_t size);

uint64_t gd_ioreq_answered(const struct gd_ioreq *ioreq); /* requests, since open */

/*
 * Answer the request in `slot`, if there is one that can be answered now. True: it was answered, and its vCPU is to be
 * notified. `left`: until that is the case for the first time, a former process may have left the slot half done, or
 * may have answered without notifying the vCPU; both are made good. For the thread, and for tests.
 */
bool gd_ioreq_slot(struct ioreq *slot, struct gd_bus *bus, bool *left);

#endif
