/* SPDX-License-Identifier: MIT */
/*
 * A guest's device addresses: which device answers for which, and what any access is answered with.
 *
 * Everything is answered: an address without a device, an access of a kind or size that devices do not have, a type
 * that nobody knows. The vCPU that made it waits, and would for ever.
 *
 * Threads: gd_bus_answer() by the guest's ioreq thread, all others by the main thread. A device is called under the
 * bus's lock: when gd_bus_remove() returns, no call into it is running and none will come. What it calls from there
 * (its interrupt) must not come back to the bus. Errors: 0 or -errno.
 */
#ifndef GD_BUS_H
#define GD_BUS_H

#include <stdint.h>
#include <xen/xen.h>
#include <xen/hvm/ioreq.h>

#include "backend/log.h"

struct gd_bus;

/* A device's registers; copied. `base` and `size` in bytes; offsets given to the calls are below `size`. */
struct gd_bus_range {
	uint64_t base, size;
	uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
	void (*write)(void *opaque, uint64_t offset, unsigned size, uint64_t value);
	void *opaque;
};

int gd_bus_open(struct gd_bus **bus, struct gd_log *log); /* `log`: the caller's, outlives the bus */
void gd_bus_close(struct gd_bus *bus);			  /* takes NULL */

/* -EADDRINUSE: it overlaps another. -ENOMEM. */
int gd_bus_add(struct gd_bus *bus, const struct gd_bus_range *range);
void gd_bus_remove(struct gd_bus *bus, uint64_t base); /* one that was added */

/*
 * Answer a request: `request` is the caller's own copy. Fills `data` of a read; leaves all else. Devices have registers
 * of 1, 2, 4 and 8 bytes in memory, accessed one at a time: port I/O, `rep` accesses (x86, count other than 1) and
 * those with their data in guest memory (data_is_ptr), which is not ours to touch, read as ones and write nothing.
 */
void gd_bus_answer(struct gd_bus *bus, struct ioreq *request);

#endif
