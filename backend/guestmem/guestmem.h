/* SPDX-License-Identifier: MIT */
/*
 * Guest addresses to bytes: the only way from an address that a guest wrote to memory of that guest.
 *
 * A guest address (gio_dma_t) is worth nothing by itself. What it is made of is said by the *way* to the guest's
 * memory, which is chosen when a device is opened and never follows from an address: grant references
 * (abi/dma_addr.h), or, if the administrator allows it for this guest, numbers of the guest's frames. An address of
 * another kind is the guest's fault. An address becomes bytes by two means only:
 *   - a mapping, for rings: made once when a queue becomes ready, ended when it stops (this file);
 *   - a copy, for everything else: gathered over a batch of requests (copy.h).
 * What lies in a mapping is read and written through gd_shared_*() (shared.h). What a way is, is in way.h.
 *
 * Errors: 0 or -errno. -EFAULT is the guest's fault: an address that is not of this way, a range past the last page, or
 * a page that the hypervisor refuses. Everything else is ours.
 * Threads: a handle may be used by one thread at a time; open one for each.
 * Not defended: a guest that shares its own pages twice, or changes what lies in them at any time.
 */
#ifndef GD_GUESTMEM_H
#define GD_GUESTMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grantio/types.h>

/* Maximum of pages in one mapping: the descriptor table of a queue of 1024, at any offset, and some more. */
#define GD_GUESTMAP_PAGES 8u

struct gd_guestmem;
struct gd_way;

/* The guest grants what it shares: the backend reaches nothing else. */
extern const struct gd_way gd_way_grants;
/* The guest grants nothing, and all of its memory is reached: foreign.h. */
extern const struct gd_way gd_way_foreign;

/* Feature bits of virtio that a device offers, and insists on, because its memory is reached in this way. */
uint64_t gd_way_features(const struct gd_way *way);

enum gd_access { GD_ACCESS_READ, GD_ACCESS_WRITE /* and read */ };

/* A mapping of guest memory. `data` is where the guest address points, `length` bytes of it are usable. */
struct gd_guestmap {
	void *data;
	size_t length;
	void *base; /* of the first page; NULL: not mapped */
	uint32_t pages;
};

/* A handle on the memory of `domid`. -ENODEV and the like when the system has no such device. */
int gd_guestmem_open(struct gd_guestmem **mem, uint16_t domid, const struct gd_way *way);
void gd_guestmem_close(struct gd_guestmem *mem); /* nothing may be mapped; takes NULL */

/*
 * True when `length` bytes at `addr` lie in pages that can exist: 64-bit arithmetic that cannot overflow. False for
 * length 0. It says nothing about whether the guest shares them.
 */
bool gd_guestmem_range_valid(const struct gd_way *way, gio_dma_t addr, uint64_t length);

/*
 * Map `length` bytes at `addr`: consecutive pages from the address's own on, the offset in the page honoured, so that
 * one page more may be needed than `length` says. With GD_ACCESS_READ a page that is granted read-only will do.
 * -EFAULT: the guest's fault; -E2BIG: more than GD_GUESTMAP_PAGES; others are the system's. `map` is unmapped then.
 */
int gd_guestmem_map(struct gd_guestmem *mem, gio_dma_t addr, uint64_t length, enum gd_access access,
		    struct gd_guestmap *map);
void gd_guestmem_unmap(struct gd_guestmem *mem, struct gd_guestmap *map); /* does nothing when not mapped */

#endif
