/* SPDX-License-Identifier: MIT */
/* What differs by processor: hypercalls, sleep, and where things are in the guest's memory. */
#ifndef GRANTIO_OS_XEN_ARCH_H
#define GRANTIO_OS_XEN_ARCH_H

#include <stdbool.h>
#include <stdint.h>
#include <xen/xen.h>

/* Frames above all RAM that such a guest has (1 GiB), and below the devices, where Xen's own pages are put. */
#define ARCH_GRANT_FRAME       0x80000u
#define ARCH_SHARED_INFO_FRAME 0x90000u

extern uint8_t gio_xen_hypercall_page[4096];

/* The processor's way into Xen: a page of it, 32 bytes for each number. */
static inline long hypercall(unsigned number, uint64_t a1, uint64_t a2, uint64_t a3)
{
	long result;

	__asm__ volatile("call *%[entry]"
			 : "=a"(result), "+D"(a1), "+S"(a2), "+d"(a3)
			 : [entry] "r"(gio_xen_hypercall_page + number * 32)
			 : "memory", "cc", "rcx", "r8", "r9", "r10", "r11");
	return result;
}

/* Nanoseconds since some moment, as Xen counts them. */
uint64_t gio_xen_arch_now(const struct vcpu_info *vcpu);

/* Before it is looked at whether what is waited for has come. Here Xen itself looks, before it puts the vCPU to sleep.
 */
static inline void gio_xen_arch_settle(struct vcpu_info *vcpu)
{
	(void)vcpu;
}

/* Sleep until an event of one of the ports is pending, or gio_xen_arch_now() is `end`; perhaps less. */
void gio_xen_arch_sleep(const uint32_t *ports, unsigned count, uint64_t end);

/* Interrupt lines of devices: a PVH guest has none. */
static inline bool gio_xen_arch_irq_enable(unsigned irq, bool enable)
{
	(void)irq;
	(void)enable;
	return false;
}

static inline bool gio_xen_arch_irq_noted(unsigned irq, bool take)
{
	(void)irq;
	(void)take;
	return false;
}

/* Device registers, of 1, 2, 4 or 8 bytes. */
uint64_t gio_xen_arch_load(uint64_t addr, unsigned size);
void gio_xen_arch_store(uint64_t addr, unsigned size, uint64_t value);

#endif
