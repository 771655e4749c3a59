/* SPDX-License-Identifier: MIT */
/* Inside of the guest without an operating system. start.c calls each function named *_start once, in its order. */
#ifndef GRANTIO_OS_XEN_GUEST_H
#define GRANTIO_OS_XEN_GUEST_H

#include <stddef.h>
#include <stdint.h>
#include <xen/xen.h>

/* The arch's start calls it, with RAM that is free, and the command line, copied. Does not return. */
_Noreturn void gio_xen_run(uint64_t ram, uint64_t ram_end, const char *command_line);

void gio_xen_memory_start(uint64_t ram, uint64_t ram_end);
/* Put a page of Xen's into the guest's memory; its address. NULL: Xen refuses. */
void *gio_xen_memory_map(unsigned space, unsigned index, uint64_t gfn);
int gio_xen_param(unsigned index, uint64_t *value); /* HVMOP_get_param */

int gio_xen_events_start(void);
int gio_xen_console_start(void);
void gio_xen_console_flush(void); /* wait until it has been read, a second at the most */
int gio_xen_store_start(void);
/* The domain's end: SHUTDOWN_poweroff, SHUTDOWN_crash. `why` goes to Xen's own log, if not NULL. */
_Noreturn void gio_xen_shutdown(unsigned reason, const char *why);

#endif
