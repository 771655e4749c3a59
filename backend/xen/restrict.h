/* SPDX-License-Identifier: MIT */
/*
 * Least privilege where the system has it: each handle is restricted to the guest that it is for, right after it was
 * opened (xendevicemodel.h, xenforeignmemory.h, xenevtchn.h: *_restrict). Old kernels and other systems cannot: the
 * handle is then as strong as before, which is said once for each library.
 *
 * Threads: any.
 */
#ifndef GD_RESTRICT_H
#define GD_RESTRICT_H

/* `result` is what the restrict call returned, errno why; `library` a string that lives for ever. */
void gd_restrict_note(const char *library, int result);

#endif
