/* SPDX-License-Identifier: MIT */
/* Time, by the virtual counter, whose frequency the processor tells. */
#include "arch.h"
#include "interrupts.h"

#define NS_PER_S 1000000000u

/* In Hz; the firmware has written it there. */
static uint64_t frequency(void)
{
	uint64_t hz;

	__asm__ volatile("mrs %0, cntfrq_el0" : "=r"(hz));
	return hz;
}

/* In whole seconds and a rest, so that no product has more than 64 bits. */
static uint64_t scale(uint64_t value, uint64_t from, uint64_t to)
{
	return value / from * to + value % from * to / from;
}

/* The barrier keeps the processor from reading the counter before what comes first in the program. */
uint64_t gio_xen_arch_now(const struct vcpu_info *vcpu)
{
	uint64_t ticks;

	(void)vcpu; /* Xen has no time there on Arm */
	__asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(ticks) : : "memory");
	return scale(ticks, frequency(), NS_PER_S);
}

uint64_t gio_xen_arch_ticks(uint64_t ns)
{
	return scale(ns, NS_PER_S, frequency()) + 1; /* not before */
}
