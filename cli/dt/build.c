/* SPDX-License-Identifier: MIT */
/*
 * Nodes as libxl writes them (libxl_arm.c), so that a guest finds the same for a device by hand as for one of xl's.
 */
#include "cli/dt/dt.h"

#include <abi/virtio_mmio.h>

#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <stdlib.h>

#define BLOB_BYTES  (GC_DT_EMIT_MAX * 512u + 4096u) /* a device takes about 200 */
#define EDGE_RISING 0xf01u			    /* libxl: rising edge, four CPUs */

/* Between the toolstack's phandles and those of dtc, which counts from 1: a tree of the user's may hold others. */
#define PHANDLE_OURS 64900u

/* Two cells each for address and size: libxl's trees have these, whatever the address. */
static int property_address(void *fdt, const char *name, uint64_t base, uint64_t size)
{
	fdt64_t cells[2] = {cpu_to_fdt64(base), cpu_to_fdt64(size)};

	return fdt_property(fdt, name, cells, sizeof(cells));
}

static int property_cells(void *fdt, uint32_t address, uint32_t size)
{
	int err = fdt_property_u32(fdt, "#address-cells", address);

	return err ? err : fdt_property_u32(fdt, "#size-cells", size);
}

/* dma-coherent, as on libxl's nodes: Xen's guests have coherent memory, and without it buffers would be flushed. */
static int device_add(void *fdt, const struct gc_dt_node *node, uint32_t iommu)
{
	fdt32_t interrupt[3] = {0, cpu_to_fdt32(node->irq - GC_DT_SPI_FIRST), cpu_to_fdt32(EDGE_RISING)};
	fdt32_t specifier[2] = {cpu_to_fdt32(iommu), cpu_to_fdt32(node->backend)};
	char name[32];
	int err;

	snprintf(name, sizeof(name), "virtio@%" PRIx64, node->base);
	err = fdt_begin_node(fdt, name);
	if (!err)
		err = fdt_property_string(fdt, "compatible", "virtio,mmio");
	if (!err)
		err = property_address(fdt, "reg", node->base, GIO_VIRTIO_MMIO_BYTES);
	if (!err)
		err = fdt_property(fdt, "interrupts", interrupt, sizeof(interrupt));
	if (!err)
		err = fdt_property_u32(fdt, "interrupt-parent", GC_DT_PHANDLE_GIC);
	if (!err)
		err = fdt_property(fdt, "dma-coherent", NULL, 0);
	if (!err)
		err = fdt_property(fdt, "iommus", specifier, sizeof(specifier));
	return err ? err : fdt_end_node(fdt);
}

/* A node without registers: it stands for the rule, and translates nothing. */
static int iommu_add(void *fdt, uint32_t phandle)
{
	int err = fdt_begin_node(fdt, "xen_iommu");

	if (!err)
		err = fdt_property_string(fdt, "compatible", "xen,grant-dma");
	if (!err)
		err = fdt_property_u32(fdt, "#iommu-cells", 1);
	if (!err)
		err = fdt_property_u32(fdt, "phandle", phandle);
	return err ? err : fdt_end_node(fdt);
}

/* Stands for the controller that Xen makes: Xen takes nothing of it but the phandle. */
static int gic_add(void *fdt)
{
	int err = fdt_begin_node(fdt, "gic");

	if (!err)
		err = fdt_property_u32(fdt, "#interrupt-cells", 3);
	if (!err)
		err = fdt_property(fdt, "interrupt-controller", NULL, 0);
	if (!err)
		err = fdt_property_u32(fdt, "phandle", GC_DT_PHANDLE_GIC);
	return err ? err : fdt_end_node(fdt);
}

/* The node that libxl and Xen copy; a guest looks for devices in it because it is a simple-bus. */
static int passthrough_begin(void *fdt)
{
	int err = fdt_begin_node(fdt, "passthrough");

	if (!err)
		err = fdt_property_string(fdt, "compatible", "simple-bus");
	if (!err)
		err = fdt_property(fdt, "ranges", NULL, 0);
	return err ? err : property_cells(fdt, 2, 2);
}

/* The phandles are fixed. In a partial tree xl and Xen put the nodes beside their own, which have other ones. */
static int tree_add(void *fdt, enum gc_dt_layout layout, const struct gc_dt_node *nodes, unsigned count)
{
	uint32_t iommu = layout == GC_DT_WHOLE ? GC_DT_PHANDLE_IOMMU : PHANDLE_OURS;
	int err = fdt_begin_node(fdt, "");

	if (!err)
		err = property_cells(fdt, 2, 2);
	if (!err && layout == GC_DT_DOM0LESS)
		err = gic_add(fdt);
	if (!err && layout != GC_DT_WHOLE)
		err = passthrough_begin(fdt);
	for (unsigned i = 0; i < count && !err; i++)
		err = device_add(fdt, &nodes[i], iommu);
	if (!err)
		err = iommu_add(fdt, iommu);
	if (!err && layout != GC_DT_WHOLE)
		err = fdt_end_node(fdt);
	return err ? err : fdt_end_node(fdt);
}

/* BLOB_BYTES has room for the largest tree that is accepted. libfdt's calls stand in the order that it demands. */
int gc_dt_build(enum gc_dt_layout layout, const struct gc_dt_node *nodes, unsigned count, void **blob, size_t *size)
{
	void *fdt;
	int err;

	if (count > GC_DT_EMIT_MAX)
		return -EINVAL;
	fdt = calloc(1, BLOB_BYTES);
	if (!fdt)
		return -ENOMEM;
	err = fdt_create(fdt, BLOB_BYTES);
	if (!err)
		err = fdt_finish_reservemap(fdt);
	if (!err)
		err = tree_add(fdt, layout, nodes, count);
	if (!err)
		err = fdt_finish(fdt);
	if (err) { /* cannot happen: there is room for all of it */
		free(fdt);
		return -ENOMEM;
	}
	*blob = fdt;
	*size = fdt_totalsize(fdt);
	return 0;
}
