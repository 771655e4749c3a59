/* SPDX-License-Identifier: MIT */
/* What differs by processor: hypercalls, sleep, and where things are in the guest's memory. */
#ifndef GRANTIO_OS_XEN_ARCH_H
#define GRANTIO_OS_XEN_ARCH_H

#include <stdbool.h>
#include <stdint.h>
#include <xen/xen.h>

/* Where xen/arch-arm.h has room for them: the grant table's own place, and one behind the toolstack's pages. */
#define ARCH_GRANT_FRAME       (GUEST_GNTTAB_BASE >> 12)
#define ARCH_SHARED_INFO_FRAME 0x3b000u

/* xen/arch-arm.h: number in x16, arguments and result in x0 and on. */
static inline long hypercall(unsigned number, uint64_t a1, uint64_t a2, uint64_t a3)
{
	register uint64_t x0 __asm__("x0") = a1;
	register uint64_t x1 __asm__("x1") = a2;
	register uint64_t x2 __asm__("x2") = a3;
	register uint64_t x16 __asm__("x16") = number;

	__asm__ volatile("hvc %[tag]"
			 : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x16)
			 : [tag] "i"(XEN_HYPERCALL_TAG)
			 : "memory", "x3", "x4");
	return (long)x0;
}

/* Nanoseconds since some moment. */
uint64_t gio_xen_arch_now(const struct vcpu_info *vcpu);

/*
 * Before it is looked at whether what is waited for has come: an interrupt that comes from here on ends the next sleep.
 * Lines that were raised are noted.
 */
void gio_xen_arch_settle(struct vcpu_info *vcpu);
/* Sleep until any event or interrupt comes, or gio_xen_arch_now() is `end`. */
void gio_xen_arch_sleep(const uint32_t *ports, unsigned count, uint64_t end);

/* A device's interrupt line, by its number (32 and on): have it raised here, or no longer. False: there is none. */
bool gio_xen_arch_irq_enable(unsigned irq, bool enable);
/* Whether it was raised; `take`: it is noted no more. */
bool gio_xen_arch_irq_noted(unsigned irq, bool take);

/* Device registers, of 1, 2, 4 or 8 bytes. */
uint64_t gio_xen_arch_load(uint64_t addr, unsigned size);
void gio_xen_arch_store(uint64_t addr, unsigned size, uint64_t value);

#endif
