/* SPDX-License-Identifier: MIT */
/* Register accesses of every size, at places where there is one and where there is none. */
#include "guest.h"

#include <abi/virtio_mmio.h>

#define DEVICE_END 0x200u

static const struct {
	const char *name;
	unsigned offset;
} places[] = {
	{"magic", 0x000},
	{"version", 0x004},
	{"device", 0x008},
	{"queue size", 0x034},
	{"queue ready", 0x044},
	{"written only", 0x050},
	{"interrupt", 0x060},
	{"status", 0x070},
	{"none", 0x0f0},
	{"capacity", 0x100},
	{"capacity, upper half", 0x104},
	{"seg_max", 0x10c},
	{"block size", 0x114},
	{"behind the configuration", 0x180},
	{"last", 0x1f8},
	{"behind the device", 0x200},
	{"odd", 0x001},
	{"between two", 0x002},
	{"between two, odd", 0x003},
	{"between two of the configuration", 0x102},
	{"across its end", 0x1fe},
	{"its last byte", 0x1ff},
};

static void reads(uint64_t base)
{
	for (unsigned i = 0; i < COUNT(places); i++) {
		gio_xen_print("read %s:", places[i].name);
		for (unsigned size = 1; size <= 8; size *= 2)
			gio_xen_print(" %llx", (unsigned long long)gio_xen_mmio_read(base + places[i].offset, size));
		gio_xen_print("\n");
	}
}

/* What a write of ones to each of these leaves behind, in registers that tell. */
static void writes(uint64_t base)
{
	static const unsigned offsets[] = {0x000, 0x00c, 0x034, 0x0f0, 0x100, 0x114, 0x1fc, 0x200, 0x071};

	for (unsigned i = 0; i < COUNT(offsets); i++)
		for (unsigned size = 1; size <= 8; size *= 2)
			gio_xen_mmio_write(base + offsets[i], size, UINT64_MAX);
	gio_xen_print("after writes: magic %llx", (unsigned long long)gio_xen_mmio_read(base, 4));
	gio_xen_print(", status %llx", (unsigned long long)gio_xen_mmio_read(base + 0x70, 4));
	gio_xen_print(", capacity %llx\n", (unsigned long long)gio_xen_mmio_read(base + 0x100, 8));
}

static uint32_t status_after(uint64_t base, uint32_t value, unsigned size)
{
	gio_xen_mmio_write(base + GIO_VIRTIO_MMIO_STATUS, 4, 0);
	gio_xen_mmio_write(base + GIO_VIRTIO_MMIO_STATUS, size, value);
	return (uint32_t)gio_xen_mmio_read(base + GIO_VIRTIO_MMIO_STATUS, 4);
}

static void status(uint64_t base)
{
	gio_xen_print("status after writing 1:");
	for (unsigned size = 1; size <= 8; size *= 2)
		gio_xen_print(" %x", status_after(base, 1, size));
	gio_xen_print(", 3: %x", status_after(base, 3, 4));
	gio_xen_print(", ff: %x", status_after(base, 0xff, 4));
	gio_xen_print(", 0: %x\n", status_after(base, 0, 4));
}

static void features(uint64_t base)
{
	gio_xen_print("features:");
	for (uint32_t word = 0; word < 4; word++) {
		gio_xen_mmio_write(base + GIO_VIRTIO_MMIO_DEVICE_FEATURES_SEL, 4, word);
		gio_xen_print(" %llx",
			      (unsigned long long)gio_xen_mmio_read(base + GIO_VIRTIO_MMIO_DEVICE_FEATURES, 4));
	}
	gio_xen_print("\n");
}

void registers_run(struct world *world)
{
	gio_xen_print("- registers\n");
	reads(world->rw.base);
	writes(world->rw.base);
	status(world->rw.base);
	features(world->rw.base);
	gio_xen_print("- registers of the read-only disk\n");
	features(world->ro.base);
	gio_xen_print("page behind: %llx\n",
		      (unsigned long long)gio_xen_mmio_read(world->rw.base + GIO_PAGE_SIZE - 4, 4));
}
