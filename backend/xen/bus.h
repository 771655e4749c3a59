/* SPDX-License-Identifier: MIT */
/*
 * A guest's device addresses: which device answers for which, and what any access is answered with.
 *
 * Everything is answered: an address without a device, an access of a kind or size that devices do not have, a type
 * that nobody knows. The vCPU that made it waits, and would for ever.
 *
 * But one thing: an access to a range that is reserved for a device which is not back yet (gd_bus_reserve()) is left
 * unanswered, and asked for again later. Only the vCPU that made it waits.
 *
 * Threads: gd_bus_hold() and gd_bus_answer() by any, in practice the guest's ioreq thread; all others by the main
 * thread. No lock is held while a device is called: a call that takes its time holds up neither other devices nor the
 * main thread, but for gd_bus_remove() of that very range. When that returns no call into the device is running and
 * none will come; so a device must not remove itself. Errors: 0 or -errno.
 */
#ifndef GD_BUS_H
#define GD_BUS_H

#include <stdbool.h>
#include <stdint.h>
#include <xen/xen.h>
#include <xen/hvm/ioreq.h>

#include "backend/base/log.h"

struct gd_bus;
struct gd_bus_place; /* a range, while somebody answers from it */

/* A device's registers; copied. `base` and `size` in bytes; offsets given to the calls are below `size`. */
struct gd_bus_range {
	uint64_t base, size;
	uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
	void (*write)(void *opaque, uint64_t offset, unsigned size, uint64_t value);
	void *opaque;
};

int gd_bus_open(struct gd_bus **bus, struct gd_log *log); /* `log`: the caller's, outlives the bus */
void gd_bus_close(struct gd_bus *bus);			  /* takes NULL */

/* -EADDRINUSE: it overlaps another, or what is reserved for another. -ENOMEM, -EINVAL. */
int gd_bus_add(struct gd_bus *bus, const struct gd_bus_range *range);
/* The same, but it takes the place of a reservation of exactly that range, which is the caller's own. */
int gd_bus_fill(struct gd_bus *bus, const struct gd_bus_range *range);
/* Accesses there wait, until the device is added or the reservation removed; then gd_ioreq_look(). As gd_bus_add(). */
int gd_bus_reserve(struct gd_bus *bus, uint64_t base, uint64_t size);
void gd_bus_remove(struct gd_bus *bus, uint64_t base); /* one that was added, or reserved */
void gd_bus_unreserve(struct gd_bus *bus);	       /* no reservation stays: what waits is answered, by ones */

/*
 * Whose a request is, before it is answered. False: it is for a device that is not back yet, leave it as it is. Else
 * `place` (NULL: nobody's) is held until gd_bus_answer(), which must follow.
 */
bool gd_bus_hold(struct gd_bus *bus, const struct ioreq *request, struct gd_bus_place **place);
/*
 * Answer a request: `request` is the caller's own copy. Fills `data` of a read; leaves all else. Devices have registers
 * of 1, 2, 4 and 8 bytes in memory, accessed one at a time: port I/O, `rep` accesses (x86, count other than 1) and
 * those with their data in guest memory (data_is_ptr), which is not ours to touch, read as ones and write nothing.
 */
void gd_bus_answer(struct gd_bus *bus, struct gd_bus_place *place, struct ioreq *request);

#endif
