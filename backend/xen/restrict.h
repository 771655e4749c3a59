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

/* Log a restriction that failed: `result` is what the call returned, errno says why. `library` is a literal. */
void gd_restrict_note(const char *library, int result);

#endif
