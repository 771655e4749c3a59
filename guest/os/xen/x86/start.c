/* SPDX-License-Identifier: MIT */
/* From the processor to the guest: the hypercall page, exceptions, memory, time. */
#include "arch.h"
#include "../guest.h"

#include <stdbool.h>
#include <xen/arch-x86/cpuid.h>
#include <xen/arch-x86/hvm/start_info.h>
#include <xen/event_channel.h>
#include <xen/sched.h>

#define COMMAND_LINE_MAX 1024u
#define LARGE_PAGE	 0x200000u
#define PAGE_UNCACHED	 0x10u /* PCD */
#define RAM_MOST	 (1ull << 30)

extern uint64_t gio_xen_page_tables[2048];
extern uint8_t gio_xen_traps[32][16];
extern uint8_t gio_xen_image_end[];

static char command_line[COMMAND_LINE_MAX];

struct gate {
	uint16_t offset_low, selector, type, offset_middle;
	uint32_t offset_high, zero;
};
static struct gate gates[32];

_Noreturn void gio_xen_trap(uint64_t vector, const uint64_t *stack);
_Noreturn void gio_xen_start(const struct hvm_start_info *info);

/* On the stack: an error code for some vectors, then where it happened. Both are shown. */
_Noreturn void gio_xen_trap(uint64_t vector, const uint64_t *stack)
{
	char text[] = "grantio guest: exception .. at ................ or ................\n";

	for (unsigned i = 0; i < 2; i++)
		text[25 + i] = "0123456789abcdef"[vector >> (4 - 4 * i) & 15];
	for (unsigned i = 0; i < 16; i++) {
		text[31 + i] = "0123456789abcdef"[stack[0] >> (60 - 4 * i) & 15];
		text[51 + i] = "0123456789abcdef"[stack[1] >> (60 - 4 * i) & 15];
	}
	gio_xen_shutdown(SHUTDOWN_crash, text);
}

/* Without gates an exception would be a triple fault: the domain would end, and nothing would say where. */
static void traps_start(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idt = {sizeof(gates) - 1, (uint64_t)gates};

	for (unsigned i = 0; i < 32; i++) {
		uint64_t at = (uint64_t)gio_xen_traps[i];

		gates[i] = (struct gate){.offset_low = (uint16_t)at,
					 .selector = 8,
					 .type = 0x8e00,
					 .offset_middle = (uint16_t)(at >> 16),
					 .offset_high = (uint32_t)(at >> 32)};
	}
	__asm__ volatile("lidt %0" : : "m"(idt));
}

static void cpuid(uint32_t leaf, uint32_t out[4])
{
	__asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(0));
}

/* xen/arch-x86/cpuid.h: Xen's leaves are at 0x40000000, or above those of another hypervisor that it imitates. */
static bool hypercalls_start(void)
{
	uint32_t id[4], page[4];

	for (uint32_t base = XEN_CPUID_FIRST_LEAF; base < XEN_CPUID_FIRST_LEAF + 0x10000; base += 0x100) {
		uint64_t at = (uint64_t)gio_xen_hypercall_page;

		cpuid(base, id);
		if (id[1] != XEN_CPUID_SIGNATURE_EBX || id[2] != XEN_CPUID_SIGNATURE_ECX ||
		    id[3] != XEN_CPUID_SIGNATURE_EDX)
			continue;
		cpuid(base + 2, page);
		__asm__ volatile("wrmsr" : : "c"(page[1]), "a"((uint32_t)at), "d"((uint32_t)(at >> 32)) : "memory");
		return true;
	}
	return false;
}

/* The memory behind our image; Xen's own tables there have been read, but for the command line, which is copied. */
static uint64_t ram_end(const struct hvm_start_info *info)
{
	const struct hvm_memmap_table_entry *map = (const void *)info->memmap_paddr;

	for (uint32_t i = 0; info->version >= 1 && i < info->memmap_entries; i++) {
		uint64_t end = map[i].addr + map[i].size;

		if (map[i].type == XEN_HVM_MEMMAP_TYPE_RAM && map[i].addr <= (uint64_t)gio_xen_image_end &&
		    end > (uint64_t)gio_xen_image_end)
			return end < RAM_MOST ? end : RAM_MOST;
	}
	return 0;
}

_Noreturn void gio_xen_start(const struct hvm_start_info *info)
{
	const char *text = (const char *)info->cmdline_paddr;

	traps_start();
	if (info->magic != XEN_HVM_START_MAGIC_VALUE || !hypercalls_start())
		__asm__ volatile("ud2"); /* nobody to tell: not Xen */
	for (unsigned i = 0; text && i < COMMAND_LINE_MAX - 1 && text[i]; i++)
		command_line[i] = text[i];
	gio_xen_run((uint64_t)gio_xen_image_end, ram_end(info), command_line);
}

/* ---- devices ---------------------------------------------------------------------------------------------------- */

/* See to it that accesses are not cached. */
static void device_map(uint64_t addr)
{
	uint64_t *entry = &gio_xen_page_tables[addr / LARGE_PAGE], top;

	if (addr >= 1ull << 32 || *entry & PAGE_UNCACHED)
		return;
	*entry |= PAGE_UNCACHED;
	__asm__ volatile("mov %%cr3, %0; mov %0, %%cr3" : "=r"(top) : : "memory"); /* forget the old entry */
}

uint64_t gio_xen_arch_load(uint64_t addr, unsigned size)
{
	device_map(addr);
	switch (size) {
	case 1:
		return *(volatile uint8_t *)addr;
	case 2:
		return *(volatile uint16_t *)addr;
	case 4:
		return *(volatile uint32_t *)addr;
	default:
		return *(volatile uint64_t *)addr;
	}
}

void gio_xen_arch_store(uint64_t addr, unsigned size, uint64_t value)
{
	device_map(addr);
	switch (size) {
	case 1:
		*(volatile uint8_t *)addr = (uint8_t)value;
		break;
	case 2:
		*(volatile uint16_t *)addr = (uint16_t)value;
		break;
	case 4:
		*(volatile uint32_t *)addr = (uint32_t)value;
		break;
	default:
		*(volatile uint64_t *)addr = value;
		break;
	}
}

/* ---- sleep and time --------------------------------------------------------------------------------------------- */

/* Xen reads the ports, and writes nothing there. */
void gio_xen_arch_sleep(const uint32_t *ports, unsigned count, uint64_t end)
{
	struct sched_poll poll = {.nr_ports = count, .timeout = end};

	set_xen_guest_handle(poll.ports, (evtchn_port_t *)(uintptr_t)ports);
	hypercall(__HYPERVISOR_sched_op, SCHEDOP_poll, (uint64_t)&poll, 0);
}

/* xen/xen.h, struct vcpu_time_info: an even version that is the same before and after makes what is between it good. */
uint64_t gio_xen_arch_now(const struct vcpu_info *vcpu)
{
	const struct vcpu_time_info *time = &vcpu->time;
	uint32_t version, low, high;
	uint64_t delta, now;

	do {
		/* Acquire: the version is read before the rest; the fence, that the rest is read before it again. */
		version = __atomic_load_n(&time->version, __ATOMIC_ACQUIRE);
		__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
		delta = ((uint64_t)high << 32 | low) - time->tsc_timestamp;
		delta = time->tsc_shift < 0 ? delta >> -time->tsc_shift : delta << time->tsc_shift;
		/* 64 by 32 bits, in two halves, keeping the upper 64 of 96. */
		now = time->system_time + (delta >> 32) * time->tsc_to_system_mul +
		      ((delta & UINT32_MAX) * time->tsc_to_system_mul >> 32);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
	} while (version & 1 || version != __atomic_load_n(&time->version, __ATOMIC_RELAXED));
	return now;
}
