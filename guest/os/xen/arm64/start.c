/* SPDX-License-Identifier: MIT */
/* From the processor to the guest: exceptions, memory, time. */
#include "../guest.h"
#include "arch.h"
#include "interrupts.h"
#include "tree.h"

#include <xen/sched.h>

#define COMMAND_LINE_MAX 1024u
#define RAM_MOST	 (1ull << 30)
#define NS_PER_S	 1000000000u

extern uint8_t gio_xen_image_end[];

static char command_line[COMMAND_LINE_MAX];

_Noreturn void gio_xen_trap(uint64_t vector, uint64_t esr, uint64_t elr, uint64_t far);
_Noreturn void gio_xen_start(const void *tree);

static void hex(char *at, unsigned digits, uint64_t value)
{
	for (unsigned i = 0; i < digits; i++)
		at[i] = "0123456789abcdef"[value >> 4 * (digits - 1 - i) & 15];
}

_Noreturn void gio_xen_trap(uint64_t vector, uint64_t esr, uint64_t elr, uint64_t far)
{
	char text[] = "grantio guest: exception .., esr ........, at ................, address ................\n";

	hex(text + 25, 2, vector);
	hex(text + 33, 8, esr);
	hex(text + 46, 16, elr);
	hex(text + 72, 16, far);
	gio_xen_shutdown(SHUTDOWN_crash, text);
}

_Noreturn void gio_xen_start(const void *tree)
{
	struct tree_facts facts;

	if (gio_xen_tree_read(tree, &facts))
		gio_xen_shutdown(SHUTDOWN_crash, "grantio guest: no device tree, or no memory in it\n");
	for (unsigned i = 0; facts.command_line && i < COMMAND_LINE_MAX - 1 && facts.command_line[i]; i++)
		command_line[i] = facts.command_line[i];
	gio_xen_interrupts_start();
	if (facts.ram_bytes > RAM_MOST)
		facts.ram_bytes = RAM_MOST;
	gio_xen_run((uint64_t)gio_xen_image_end, facts.ram + facts.ram_bytes, command_line);
}

/* ---- time: the virtual counter ----------------------------------------------------------------------------------- */

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
