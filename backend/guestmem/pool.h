/* SPDX-License-Identifier: MIT */
/*
 * A guest's pool: pages that it grants once, for all data of a device, and that are mapped once.
 *
 * The guest names its pool by *runs* of consecutive grant references. Each run is mapped with the permission that the
 * guest gave it, and stays mapped until gd_pool_unmap(). A buffer that lies in a mapped run is reached by memcpy,
 * without a hypercall. A run that cannot be mapped is copied by the way to guest memory, as all buffers are that lie in
 * no run: copying is always right. A buffer lies within one run, or outside of all: anything else is the guest's fault.
 *
 * What lies in a pool is the guest's: it may change at any time, also while it is read. So whatever decides anything is
 * copied out once, and only the copy is looked at. A mapping itself cannot go away: Xen keeps a page for as long as it
 * is mapped, whatever the guest does to the grant.
 *
 * I/O straight from and to the pool. In a PV domain a page that the kernel has pinned (by direct I/O or as a registered
 * buffer) when its mapping goes, if only because the process is killed, damages that kernel until it is rebooted. So
 * there the pool is only ever touched by memcpy. In all other domains a pinned page is just given back later, and I/O
 * may go straight from and to the pool: gd_pool_straight() says so. This is the only place where that is decided.
 *
 * The order of letting go: no request is taken any more; all I/O that goes straight from or to the pool has ended;
 * registered buffers are given back; gd_pool_unmap(); and only then is the guest told.
 *
 * Threads: any may map and unmap a pool, while no other uses that one. All else by any number of threads at once: a
 * pool does not change while it is mapped. Errors: 0 or -errno.
 */
#ifndef GD_POOL_H
#define GD_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include <grantio/types.h>

#include "backend/base/log.h"
#include "backend/guestmem/guestmem.h"

#define GD_POOL_RUNS	  8u	 /* maximum of runs */
#define GD_POOL_RUN_PAGES 16384u /* maximum of pages in a run: 64 MiB */
#define GD_POOL_FIRST	  8u	 /* the first reference that a run may name: those below are Xen's own */

/*
 * Maximum of pages that are mapped of the pools of one guest, and of all guests: 128 MiB and 1 GiB. Xen has room for a
 * limited number of mappings of a domain (half a million, by default), and all guests' rings need some of it. Runs
 * beyond that are copied.
 */
#define GD_POOL_GUEST_PAGES 32768u
#define GD_POOL_ALL_PAGES   262144u

struct gd_pool;

/* As the guest wrote it: `count` references from `first` on. */
struct gd_pool_run {
	uint32_t first, count;
	bool write; /* granted for writing (and reading); otherwise for reading only */
};

/* What a pool is made of. All of it is copied, but for the log, which is the caller's and outlives the pool. */
struct gd_pool_config {
	uint16_t domid;
	const struct gd_pool_run *runs;
	unsigned count;	     /* of runs; 0: none */
	uint32_t pages_most; /* how many pages all runs together may have: what the guest was told */
	bool only;	     /* the guest has promised to name nothing but its pool: other buffers are errors */
	struct gd_log *log;
};

/*
 * Check the runs, and map them. -EINVAL: a run is empty, too long or not made of references that can exist, two of them
 * overlap, or there are too many runs or pages; a line in the log says which. Other errors are the system's. Runs that
 * the hypervisor does not let us map are no error: they are copied, which is logged once.
 */
int gd_pool_map(struct gd_pool **pool, const struct gd_pool_config *config);
/* End the mappings. Nothing uses the pool any more, and no I/O goes straight from or to it. Takes NULL. */
void gd_pool_unmap(struct gd_pool *pool);

/* True if one of the pool's runs has this reference. */
bool gd_pool_names(const struct gd_pool *pool, uint32_t ref);
/* How many pages are mapped. */
uint32_t gd_pool_pages(const struct gd_pool *pool);
/* True if I/O may go straight from and to the pool (see above). */
bool gd_pool_straight(const struct gd_pool *pool);

/*
 * Find a buffer: `length` bytes (not 0) at `addr`, which is a valid address of the way by grants
 * (gd_guestmem_range_valid()). On success `*place` is where it is mapped, for all of its length, or NULL: the way has
 * to copy it. -EFAULT: it is not all in one run; it is to be written, and its run is not; or it is in no run although
 * the guest has promised that.
 */
int gd_pool_find(const struct gd_pool *pool, gio_dma_t addr, uint32_t length, enum gd_access access, void **place);

/*
 * The writable run with this index, from 0 on, if it is mapped: it may become a registered buffer of an io_uring where
 * gd_pool_straight() allows that. False: there is no such run, or it is not to be registered.
 */
bool gd_pool_writable(const struct gd_pool *pool, unsigned index, void **base, uint64_t *bytes);

#endif
