/* SPDX-License-Identifier: MIT */
/*
 * What a former grantiod left for a guest: the ioreq server, which any of the guest's directories may name, and the
 * places where the registers of its devices were. It is taken over once, before any of its devices is served.
 *
 * Threads: the main thread.
 */
#ifndef GD_SETTLE_H
#define GD_SETTLE_H

#include "backend/xenbus/table.h"

/*
 * Take all that over; the guest's directories have been read. False: that is not possible yet, which is logged once.
 * The former process may have been killed while the kernel has not cleaned up yet: then it still has the event
 * channels.
 */
bool gd_settle(struct gd_domains *domains, struct gd_guest *guest);

#endif
