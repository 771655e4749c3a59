/* SPDX-License-Identifier: MIT */
/* From the processor to the guest: exceptions, memory. */
#include "../guest.h"
#include "arch.h"
#include "interrupts.h"
#include "tree.h"

#include <xen/sched.h>

#define COMMAND_LINE_MAX 1024u
#define RAM_MOST	 (1ull << 30)

extern uint8_t gio_xen_image_end[];

static char command_line[COMMAND_LINE_MAX];

_Noreturn void gio_xen_trap(uint64_t vector, uint64_t esr, uint64_t elr, uint64_t far);
_Noreturn void gio_xen_start(const void *tree);

static void hex(char *at, unsigned digits, uint64_t value)
{
	for (unsigned i = 0; i < digits; i++)
		at[i] = "0123456789abcdef"[value >> 4 * (digits - 1 - i) & 15];
}

/* The text goes to Xen's own log, since the guest's console may be what failed. */
_Noreturn void gio_xen_trap(uint64_t vector, uint64_t esr, uint64_t elr, uint64_t far)
{
	char text[] = "grantio guest: exception .., esr ........, at ................, address ................\n";

	hex(text + 25, 2, vector);
	hex(text + 33, 8, esr);
	hex(text + 46, 16, elr);
	hex(text + 72, 16, far);
	gio_xen_shutdown(SHUTDOWN_crash, text);
}

/* The tree lies in RAM that is about to be given out, so that the command line is copied before. */
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
