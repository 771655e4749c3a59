/* SPDX-License-Identifier: MIT */
/*
 * The wall of this folder: a way to guest memory, as a table of operations. guestmem.c and copy.c check addresses and
 * gather copies for all ways alike; a way only does what they ask for, with pages that it knows by their numbers. For
 * the files of this folder only.
 *
 *   grants.c   page numbers are grant references; rings are mapped, all else is copied by the hypervisor
 *   foreign.c  page numbers are the guest's frames, which are mapped as they are needed
 *
 * A way is a device's for its whole life: it is chosen when the device is opened, and never by what an address looks
 * like. To add one is to write its file, and to declare its table in guestmem.h.
 *
 * Threads: a handle may be used by one thread at a time. Errors: 0 or -errno.
 */
#ifndef GD_WAY_H
#define GD_WAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xengnttab.h>

#include "backend/guestmem/guestmem.h"

struct gd_way {
	/* Addresses are this base, plus a page number of 32 bits << 12, plus an offset in the page. */
	gio_dma_t base;
	/* Feature bits of virtio that a device offers when its memory is reached in this way, and that it insists on.
	 */
	uint64_t features;

	size_t bytes; /* of its handle, which begins with a struct gd_guestmem */
	/* `mem` is all zeroes, but for its own part. On failure nothing stays open. */
	int (*open)(struct gd_guestmem *mem);
	void (*close)(struct gd_guestmem *mem); /* nothing is mapped any more */

	/*
	 * Map `pages` pages from `first` on, GD_GUESTMAP_PAGES at most, side by side: all of them or none. Any error
	 * but the lack of something (-ENOMEM, -ENOSPC, -EMFILE) is taken as a page that the hypervisor refuses.
	 */
	int (*map)(struct gd_guestmem *mem, uint32_t first, uint32_t pages, bool write, void **base);
	void (*unmap)(struct gd_guestmem *mem, void *base, uint32_t pages);

	/*
	 * Do a batch of segments, each within one page of the guest: `foreign.ref` is the page's number. Each segment
	 * gets its own status, one of Xen's GNTST_*. `*hypercalls` is how many copying hypercalls the batch took. An
	 * error: the batch as a whole failed, and some segments may have been done all the same.
	 *
	 * It is called once per batch, and so may cost an indirect call; what is done per segment must not.
	 */
	int (*copy)(struct gd_guestmem *mem, uint32_t count, xengnttab_grant_copy_segment_t *segments,
		    uint64_t *hypercalls);
};

/* What all handles begin with. */
struct gd_guestmem {
	const struct gd_way *way;
	uint16_t domid;
};

#endif
