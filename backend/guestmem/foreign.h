/* SPDX-License-Identifier: MIT */
/*
 * The way to the memory of a guest that grants nothing: its frames, mapped by the privilege of our domain
 * (libxenforeignmemory).
 *
 * Rings are mapped while their queue is ready. For copies the frames of a batch are mapped by one call, at most
 * GD_FOREIGN_PAGES at a time, and unmapped before it returns: nothing else of the guest is held, so that a frame which
 * the guest gives away (ballooning) and gets back is never written where it was before. Xen checks each frame: one that
 * is not RAM of this guest is refused, alone.
 */
#ifndef GD_FOREIGN_H
#define GD_FOREIGN_H

/* Maximum of frames that a copy has mapped at a time. */
#define GD_FOREIGN_PAGES 256u

#endif
