/* SPDX-License-Identifier: MIT */
/*
 * Least privilege: each handle is restricted to the guest that it is for, right after it was opened (xendevicemodel.h,
 * xenforeignmemory.h, xenevtchn.h: *_restrict). Old kernels and other systems cannot do that: the handle then may still
 * be used for any guest, which is logged once per library.
 *
 * Threads: any.
 */
#ifndef GD_RESTRICT_H
#define GD_RESTRICT_H

/* The libraries whose handles are restricted. */
enum gd_restrict { GD_RESTRICT_DEVICEMODEL, GD_RESTRICT_EVTCHN, GD_RESTRICT_FOREIGNMEMORY, GD_RESTRICTED };

/* Log a restriction that failed: `result` is what the call returned, errno says why. */
void gd_restrict_note(enum gd_restrict library, int result);

#endif
