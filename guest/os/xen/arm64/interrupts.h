/* SPDX-License-Identifier: MIT */
/* Inside of the arm64 guest: what start.c has of interrupts.c, and that of time.c. */
#ifndef GRANTIO_OS_XEN_INTERRUPTS_H
#define GRANTIO_OS_XEN_INTERRUPTS_H

#include <stdint.h>

/* Once, before anything waits. */
void gio_xen_interrupts_start(void);
/* The value of the virtual counter when gio_xen_arch_now() is `ns`. */
uint64_t gio_xen_arch_ticks(uint64_t ns);

#endif
