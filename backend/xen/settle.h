/* SPDX-License-Identifier: MIT */
/*
 * What a former grantiod left for a guest, taken over once, before any of its devices is served: the ioreq server that
 * its directories name, whichever of them, and the places where its devices were.
 *
 * Threads: the main thread.
 */
#ifndef GD_SETTLE_H
#define GD_SETTLE_H

#include "backend/xen/table.h"

/*
 * All directories of the guest have been read. False: it cannot be done yet, which is said in the log, once. The former
 * process may have been killed, and the kernel not be done with it: then the event channels are still its.
 */
bool gd_settle(struct gd_domains *domains, struct gd_guest *guest);

#endif
