/* SPDX-License-Identifier: MIT */
/*
 * Memory of a guest that grants nothing: its frames, mapped by the privilege of our domain (libxenforeignmemory).
 * For guestmem.c and copy.c only. The mode is a device's for its whole life, and is never guessed from an address.
 *
 * Rings are mapped while their queue is ready. For copies the frames of a batch are mapped by one call,
 * GD_FOREIGN_PAGES at the most at a time, and unmapped before it returns: nothing else of the guest is held, so that a
 * frame which the guest gives away (ballooning) and gets back is never written where it was before. Xen checks each
 * frame: one that is not RAM of this guest is refused, alone.
 *
 * Errors: 0 or -errno. Threads: a handle may be used by one thread at a time.
 */
#ifndef GD_FOREIGN_H
#define GD_FOREIGN_H

#include <stdbool.h>
#include <stdint.h>

#include <xengnttab.h>

#define GD_FOREIGN_PAGES 256u

struct gd_foreign;

/* The handle is restricted to this guest, where the system can do that. */
int gd_foreign_open(struct gd_foreign **foreign, uint16_t domid);
void gd_foreign_close(struct gd_foreign *foreign); /* nothing may be mapped; takes NULL */

/* `count` frames from `frame` on, GD_FOREIGN_PAGES at the most. NULL: refused, or no resources: errno says. */
void *gd_foreign_map(struct gd_foreign *foreign, uint32_t frame, uint32_t count, bool write);
void gd_foreign_unmap(struct gd_foreign *foreign, void *base, uint32_t count);

/*
 * As xengnttab_grant_copy(): a status for each segment, and a segment's "reference" is a frame number. Not 0: a call as
 * a whole failed, and errno says why; segments before it may have been done.
 */
int gd_foreign_copy(struct gd_foreign *foreign, uint32_t count, xengnttab_grant_copy_segment_t *segments);

#endif
