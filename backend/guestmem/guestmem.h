/* SPDX-License-Identifier: MIT */
/*
 * Guest addresses to bytes: the only way from an address that a guest wrote to memory of that guest.
 *
 * A guest address (gio_dma_t) is made of grant references (abi/dma_addr.h) and is worth nothing by itself; or, of a
 * device that the administrator has allowed it for, of frame numbers (foreign.h). Which of the two is said when a
 * device is opened, and never follows from the address: one of the other kind is the guest's fault. It becomes bytes in
 * two ways only:
 *   - a mapping, for rings: made once when a queue becomes ready, ended when it stops (this file);
 *   - a copy, for everything else: gathered over a batch of requests (copy.h).
 * What lies in a mapping is read and written through gd_shared_*() (shared.h).
 *
 * Errors: 0 or -errno. -EFAULT is the guest's fault: an address without the grant bit (or with it), a range past the
 * last reference (or frame), or one that the hypervisor refuses. Everything else is ours.
 * Threads: a handle may be used by one thread at a time; open one for each.
 * Not defended: a guest that grants its own pages twice, or changes what lies in them at any time.
 */
#ifndef GD_GUESTMEM_H
#define GD_GUESTMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grantio/types.h>

/* Most pages of one mapping: the descriptor table of a queue of 1024, at any offset, and some more. */
#define GD_GUESTMAP_PAGES 8u

struct gd_guestmem;

/* What addresses are made of. Frame numbers have 32 bits here, as references have: 16 TiB. */
enum gd_memory { GD_MEMORY_GRANTS, GD_MEMORY_FOREIGN };

enum gd_access { GD_ACCESS_READ, GD_ACCESS_WRITE /* and read */ };

/* A mapping of guest memory. `data` is where the guest address points, `length` bytes of it are usable. */
struct gd_guestmap {
	void *data;
	size_t length;
	void *base; /* of the first page; NULL: not mapped */
	uint32_t pages;
};

/* A handle on the memory of `domid`. -ENODEV and the like when the system has no such device. */
int gd_guestmem_open(struct gd_guestmem **mem, uint16_t domid, enum gd_memory memory);
void gd_guestmem_close(struct gd_guestmem *mem); /* nothing may be mapped; takes NULL */

/*
 * True when `length` bytes at `addr` are made of references (or frames) that can exist: 64-bit arithmetic that cannot
 * overflow. False for length 0. Says nothing about whether they are granted.
 */
bool gd_guestmem_range_valid(enum gd_memory memory, gio_dma_t addr, uint64_t length);

/*
 * Map `length` bytes at `addr`: consecutive references from the address's own on, the offset in the page honoured, so
 * that one page more may be needed than `length` says. With GD_ACCESS_READ a page that is granted read-only will do.
 * -EFAULT: the guest's fault; -E2BIG: more than GD_GUESTMAP_PAGES; others are the system's. `map` is unmapped then.
 */
int gd_guestmem_map(struct gd_guestmem *mem, gio_dma_t addr, uint64_t length, enum gd_access access,
		    struct gd_guestmap *map);
void gd_guestmem_unmap(struct gd_guestmem *mem, struct gd_guestmap *map); /* does nothing when not mapped */

#endif
