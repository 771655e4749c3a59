/* SPDX-License-Identifier: MIT */
/*
 * A guest's device addresses: which device has which range, and what an access is answered with.
 *
 * Every access is answered: also one to an address without a device, one of a kind or size that devices do not have,
 * and one of an unknown type. The vCPU that made it waits for the answer, and would wait for ever.
 *
 * There is one exception: an access to a range that is reserved for a device which is not back yet (gd_bus_reserve())
 * is left unanswered, and looked at again later. Only the vCPU that made it waits.
 *
 * Threads: gd_bus_hold() and gd_bus_answer() may be called by any, in practice by the guest's ioreq thread; all others
 * by the main thread. No lock is held while a device is called: a call that takes its time delays no other device, and
 * the main thread only in gd_bus_remove() of that range. When gd_bus_remove() returns, no call into the device is
 * running and none will come; so a device must not remove itself. Errors: 0 or -errno.
 */
#ifndef GD_BUS_H
#define GD_BUS_H

#include <stdbool.h>
#include <stdint.h>
#include <xen/xen.h>
#include <xen/hvm/ioreq.h>

#include "backend/base/log.h"

struct gd_bus;
struct gd_bus_place; /* a range, while an access to it is answered */

/* A device's registers. `base` and `size` are in bytes; the offsets given to the calls are below `size`. */
struct gd_bus_range {
	uint64_t base, size;
	uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
	void (*write)(void *opaque, uint64_t offset, unsigned size, uint64_t value);
	void *opaque;
};

int gd_bus_open(struct gd_bus **bus, struct gd_log *log); /* `log`: the caller's, outlives the bus */
void gd_bus_close(struct gd_bus *bus);			  /* takes NULL */

/* Add a range, which is copied. -EADDRINUSE: it overlaps another one, or a reservation. -ENOMEM, -EINVAL. */
int gd_bus_add(struct gd_bus *bus, const struct gd_bus_range *range);
/* The same in place of a reservation of exactly this range, which is the caller's own. */
int gd_bus_fill(struct gd_bus *bus, const struct gd_bus_range *range);
/*
 * Accesses to this range wait, until its device is added or the reservation is removed; gd_ioreq_look() then has them
 * looked at again. Errors as of gd_bus_add().
 */
int gd_bus_reserve(struct gd_bus *bus, uint64_t base, uint64_t size);
void gd_bus_remove(struct gd_bus *bus, uint64_t base); /* one that was added or reserved */
void gd_bus_unreserve(struct gd_bus *bus); /* remove all reservations: what waits there will be answered by ones */

/*
 * Find the range that a request is for. False: it is reserved for a device that is not back yet; leave the request as
 * it is. True: `place` (NULL: there is no device) is held until gd_bus_answer(), which must follow.
 */
bool gd_bus_hold(struct gd_bus *bus, const struct ioreq *request, struct gd_bus_place **place);
/*
 * Answer a request: `request` is the caller's own copy. Fills in `data` of a read, and changes nothing else. Devices
 * have registers of 1, 2, 4 and 8 bytes in memory, accessed one at a time. Any other access reads as ones and writes
 * nothing: port I/O, `rep` accesses (x86, a count other than 1), and those that have their data in guest memory
 * (data_is_ptr), which is not ours to touch.
 */
void gd_bus_answer(struct gd_bus *bus, struct gd_bus_place *place, struct ioreq *request);

#endif
