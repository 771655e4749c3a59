/* SPDX-License-Identifier: MIT */
/*
 * What a guest makes of a device tree. The blob may be anybody's: libfdt checks it as a whole before it is walked. The
 * rules are Linux's, with its silent fallbacks: where Linux would use a device without grants although the tree
 * mentions them, the device is called broken, since somebody meant it to be restricted.
 */
#include "cli/dt/dt.h"

#include <abi/xen.h>

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define RAM_BANKS   16u
#define MAP_ENTRIES 64u	   /* of one iommu-map */
#define REGISTERS   0x100u /* virtio 1.2, 4.2.2: before the configuration space */

/* A node by its phandle. Linux takes the first of several that have the same one; nobody should rely on that. */
struct phandle {
	uint32_t value;
	int node;
	bool twice; /* several nodes have it */
};

struct range {
	uint64_t base, size;
};

/* A node that is being looked into, and what its children inherit. */
struct level {
	int node;
	uint32_t address_cells, size_cells; /* of its children */
	uint32_t interrupt_parent;	    /* phandle; 0: none so far */
	bool disabled, bus;		    /* the guest looks for devices in it */
};

/*
 * What is known while the tree is walked. The levels are the path from the root to the node at hand; the banks of RAM
 * are kept until the end, since their nodes may come after those of devices that lie in them.
 */
struct reader {
	const void *fdt;
	struct gc_dt_report *report;
	char *error;
	size_t error_size;
	struct phandle *phandles; /* sorted by value */
	size_t phandle_count;
	struct level levels[GC_DT_DEPTH];
	struct range ram[RAM_BANKS];
	unsigned banks;
};

/* ---- values ------------------------------------------------------------------------------------------------- */

/* Values in a blob are aligned to 4 bytes only if the blob is what it should be: so by memcpy(). */
static uint32_t cell_at(const void *value, unsigned index)
{
	fdt32_t cell;

	memcpy(&cell, (const char *)value + 4 * (size_t)index, sizeof(cell));
	return fdt32_to_cpu(cell);
}

/* At most two cells: callers have checked that, so that nothing is shifted out. */
static uint64_t cells_read(const void *value, unsigned index, unsigned cells)
{
	uint64_t number = 0;

	for (unsigned i = 0; i < cells; i++)
		number = number << 32 | cell_at(value, index + i);
	return number;
}

/* A property of one cell; false: there is none, or it is longer or shorter. */
static bool cell_get(const void *fdt, int node, const char *name, uint32_t *out)
{
	int length;
	const void *value = fdt_getprop(fdt, node, name, &length);

	if (!value || length != 4)
		return false;
	*out = cell_at(value, 0);
	return true;
}

static bool compatible(const void *fdt, int node, const char *with)
{
	return fdt_node_check_compatible(fdt, node, with) == 0;
}

__attribute__((format(printf, 3, 4))) static void fate_set(struct gc_dt_device *device, enum gc_dt_fate fate,
							   const char *format, ...)
{
	va_list args;

	device->fate = fate;
	va_start(args, format);
	vsnprintf(device->why, sizeof(device->why), format, args);
	va_end(args);
}

__attribute__((format(printf, 3, 4))) static int fail(struct reader *reader, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(reader->error, reader->error_size, format, args);
	va_end(args);
	return err;
}

/* ---- phandles ----------------------------------------------------------------------------------------------- */

static int phandle_compare(const void *a, const void *b)
{
	const struct phandle *one = a, *other = b;

	if (one->value != other->value)
		return one->value < other->value ? -1 : 1;
	return one->node < other->node ? -1 : one->node > other->node;
}

/* One walk, so that what a tree costs does not grow with the square of its size. */
static int phandles_gather(struct reader *reader)
{
	size_t room = 0;
	int depth = -1;

	for (int node = fdt_next_node(reader->fdt, -1, &depth); node >= 0 && depth >= 0;
	     node = fdt_next_node(reader->fdt, node, &depth)) {
		uint32_t value = fdt_get_phandle(reader->fdt, node);

		if (!value || value == UINT32_MAX)
			continue;
		if (reader->phandle_count == room) {
			struct phandle *grown;

			room = room ? 2 * room : 64;
			grown = realloc(reader->phandles, room * sizeof(*grown));
			if (!grown)
				return fail(reader, -ENOMEM, "%s", strerror(ENOMEM));
			reader->phandles = grown;
		}
		reader->phandles[reader->phandle_count++] = (struct phandle){value, node, false};
	}
	if (reader->phandle_count)
		qsort(reader->phandles, reader->phandle_count, sizeof(*reader->phandles), phandle_compare);
	for (size_t i = 1; i < reader->phandle_count; i++)
		if (reader->phandles[i].value == reader->phandles[i - 1].value)
			reader->phandles[i].twice = reader->phandles[i - 1].twice = true;
	return 0;
}

static const struct phandle *phandle_find(const struct reader *reader, uint32_t value)
{
	size_t low = 0, high = reader->phandle_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (reader->phandles[middle].value < value)
			low = middle + 1;
		else
			high = middle;
	}
	return low < reader->phandle_count && reader->phandles[low].value == value ? &reader->phandles[low] : NULL;
}

/* ---- addresses ---------------------------------------------------------------------------------------------- */

/* One step up: an address below `bus` as one below the node above it. */
static bool address_lift(const struct reader *reader, const struct level *bus, const struct level *above,
			 uint64_t *address, uint64_t size)
{
	unsigned child = bus->address_cells, parent = above->address_cells, bytes = bus->size_cells;
	unsigned entry = child + parent + bytes;
	int length;
	const void *ranges = fdt_getprop(reader->fdt, bus->node, "ranges", &length);

	if (!ranges || child > 2 || parent > 2 || bytes > 2)
		return false;
	if (!length)
		return true; /* the same addresses */
	for (unsigned at = 0; (at + entry) * 4 <= (unsigned)length; at += entry) {
		uint64_t from = cells_read(ranges, at, child), span = cells_read(ranges, at + child + parent, bytes);

		if (*address < from || *address - from >= span || size > span - (*address - from))
			continue;
		*address = *address - from + cells_read(ranges, at + child, parent);
		return true;
	}
	return false;
}

/* The first range of "reg" of a node below levels[depth - 1], as the CPU sees it. NULL, or what is wrong. */
static const char *reg_read(const struct reader *reader, int node, int depth, struct range *out)
{
	const struct level *bus = &reader->levels[depth - 1];
	int length;
	const void *reg = fdt_getprop(reader->fdt, node, "reg", &length);

	if (!reg)
		return "has no \"reg\"";
	if (bus->address_cells < 1 || bus->address_cells > 2 || bus->size_cells < 1 || bus->size_cells > 2)
		return "\"reg\": the node above has #address-cells or #size-cells that are not 1 or 2";
	if (length <= 0 || (unsigned)length % (4 * (bus->address_cells + bus->size_cells)))
		return "\"reg\": its length does not fit the #address-cells and #size-cells of the node above";
	out->base = cells_read(reg, 0, bus->address_cells);
	out->size = cells_read(reg, bus->address_cells, bus->size_cells);
	for (int i = depth - 1; i > 0; i--)
		if (!address_lift(reader, &reader->levels[i], &reader->levels[i - 1], &out->base, out->size))
			return "\"reg\": no \"ranges\" above it lead to an address of the CPU";
	if (!out->size || out->base + out->size - 1 < out->base)
		return "\"reg\": no such range of addresses";
	return NULL;
}

/* ---- interrupts --------------------------------------------------------------------------------------------- */

/* How many cells a controller's specifiers have; 0: it is none. Xen's own controller need not be in the tree. */
static uint32_t controller_cells(const struct reader *reader, uint32_t phandle)
{
	const struct phandle *found = phandle_find(reader, phandle);
	uint32_t cells = 0;

	if (!found)
		return phandle == GC_DT_PHANDLE_GIC ? 3 : 0;
	return cell_get(reader->fdt, found->node, "#interrupt-cells", &cells) ? cells : 0;
}

/* NULL, or what is wrong. */
static const char *irq_read(const struct reader *reader, int node, uint32_t parent, unsigned *irq)
{
	int length;
	const void *value = fdt_getprop(reader->fdt, node, "interrupts-extended", &length);
	unsigned first = 0;
	uint32_t cells;

	if (value && length >= 4) {
		parent = cell_at(value, 0);
		first = 1;
	} else {
		value = fdt_getprop(reader->fdt, node, "interrupts", &length);
		cell_get(reader->fdt, node, "interrupt-parent", &parent);
	}
	if (!value || !length)
		return "has no \"interrupts\"";
	cells = controller_cells(reader, parent);
	if (!cells)
		return "its interrupt parent is no interrupt controller";
	if ((unsigned)length / 4 - first < cells)
		return "\"interrupts\": shorter than its controller's #interrupt-cells";
	if (cells != 3) {
		*irq = cell_at(value, first); /* not a GIC: the controller's own number */
		return NULL;
	}
	if (cell_at(value, first))
		return "\"interrupts\": not a shared peripheral interrupt (type 0)";
	if (cell_at(value, first + 1) > GC_DT_SPI_LAST - GC_DT_SPI_FIRST)
		return "\"interrupts\": its number is beyond the last shared peripheral interrupt";
	*irq = cell_at(value, first + 1) + GC_DT_SPI_FIRST;
	return NULL;
}

/* ---- what kind of memory access ----------------------------------------------------------------------------- */

/*
 * The node that a specifier names. Linux takes a specifier that it cannot follow for none at all, and then uses the
 * device without grants: so that is broken.
 */
static const struct phandle *iommu_find(const struct reader *reader, struct gc_dt_device *device, const char *property,
					uint32_t phandle)
{
	const struct phandle *iommu = phandle_find(reader, phandle);

	if (!iommu)
		fate_set(device, GC_DT_BROKEN,
			 "\"%s\" names phandle 0x%" PRIx32 ", which no node has: used without grants", property,
			 phandle);
	else if (iommu->twice)
		fate_set(device, GC_DT_BROKEN, "\"%s\" names phandle 0x%" PRIx32 ", which several nodes have", property,
			 phandle);
	else
		return iommu;
	return NULL;
}

/* `count` domains from `domid` on. */
static void backend_set(struct gc_dt_device *device, const char *property, uint32_t domid, uint32_t count)
{
	uint64_t last = (uint64_t)domid + (count - 1);

	if (last > GIO_DOMID_MAX) {
		fate_set(device, GC_DT_BROKEN, "\"%s\" names domain %" PRIu64 ", not between 0 and %u%s", property,
			 last, GIO_DOMID_MAX, last > UINT16_MAX ? ": the guest takes the low 16 bits" : "");
		return;
	}
	device->fate = GC_DT_RESTRICTED;
	device->backend = (uint16_t)domid;
}

/*
 * Each outcome is what Linux makes of such a property. Where it would use the device without grants, the text says so.
 */
static void iommus_read(const struct reader *reader, int node, struct gc_dt_device *device)
{
	int length;
	const void *value = fdt_getprop(reader->fdt, node, "iommus", &length);
	const struct phandle *iommu;
	uint32_t cells = 0;

	if (!value) {
		fate_set(device, GC_DT_UNRESTRICTED, "has no \"iommus\"");
		return;
	}
	if (length < 4) {
		fate_set(device, GC_DT_BROKEN, "\"iommus\" is empty: used without grants");
		return;
	}
	iommu = iommu_find(reader, device, "iommus", cell_at(value, 0));
	if (!iommu)
		return;
	if (!cell_get(reader->fdt, iommu->node, "#iommu-cells", &cells))
		fate_set(device, GC_DT_BROKEN, "\"iommus\" names a node without #iommu-cells: used without grants");
	else if (cells > ((unsigned)length - 4) / 4)
		fate_set(device, GC_DT_BROKEN,
			 "\"iommus\" is shorter than #iommu-cells %" PRIu32 " says: used without grants", cells);
	else if (!compatible(reader->fdt, iommu->node, "xen,grant-dma"))
		fate_set(device, GC_DT_UNRESTRICTED, "its IOMMU is no \"xen,grant-dma\"");
	else if (cells != 1)
		fate_set(device, GC_DT_BROKEN,
			 "#iommu-cells of its \"xen,grant-dma\" is %" PRIu32 ", not 1: used without grants", cells);
	else
		backend_set(device, "iommus", cell_at(value, 1), 1);
}

/* ---- devices ------------------------------------------------------------------------------------------------ */

/* NULL: there are too many; the line says so. */
static struct gc_dt_device *device_new(struct reader *reader, int node)
{
	struct gc_dt_device *device;
	int err;

	if (reader->report->count == GC_DT_DEVICES)
		return fail(reader, -E2BIG, "more than %u devices", GC_DT_DEVICES), NULL;
	device = &reader->report->devices[reader->report->count++];
	*device = (struct gc_dt_device){0};
	err = fdt_get_path(reader->fdt, node, device->path, sizeof(device->path));
	if (err)
		snprintf(device->path, sizeof(device->path), ".../%.100s", fdt_get_name(reader->fdt, node, NULL));
	for (char *c = device->path; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = '?';
	return device;
}

/* A disabled device is listed, too: what is wrong with it shows when somebody enables it. */
static int mmio_read(struct reader *reader, int node, int depth, const struct level *level)
{
	struct gc_dt_device *device = device_new(reader, node);
	struct range reg = {0, 0};
	const char *wrong;

	if (!device)
		return -E2BIG;
	wrong = reg_read(reader, node, depth, &reg);
	if (!wrong) {
		device->base = reg.base;
		device->size = reg.size;
		wrong = irq_read(reader, node, level->interrupt_parent, &device->irq);
	}
	if (level->disabled)
		device->fate = GC_DT_DISABLED;
	else if (!wrong && reg.size < REGISTERS)
		fate_set(device, GC_DT_BROKEN, "\"reg\": 0x%" PRIx64 " bytes are too few for a virtio device",
			 reg.size);
	else if (!wrong && !reader->levels[depth - 1].bus)
		fate_set(device, GC_DT_BROKEN, "the node above it is no simple-bus: no guest looks for devices there");
	else if (wrong)
		fate_set(device, GC_DT_BROKEN, "%s", wrong);
	else
		iommus_read(reader, node, device);
	return 0;
}

/* One entry of an iommu-map: requester IDs from `first` on are domains from `domid` on. */
static void map_entry_read(const struct reader *reader, struct gc_dt_device *device, const void *entry, uint32_t mask)
{
	uint32_t first = cell_at(entry, 0), domid = cell_at(entry, 2), count = cell_at(entry, 3);
	const struct phandle *iommu;

	if (first > UINT16_MAX || !count || count - 1 > UINT16_MAX - first) {
		fate_set(device, GC_DT_BROKEN,
			 "\"iommu-map\": %" PRIu32 " requester IDs from 0x%" PRIx32 " on do not exist", count, first);
		return;
	}
	device->first = (uint16_t)first;
	device->last = (uint16_t)(first + count - 1);
	if (first & ~mask) {
		fate_set(device, GC_DT_BROKEN,
			 "\"iommu-map-mask\" 0x%" PRIx32 " takes away bits of it: used without grants", mask);
		return;
	}
	iommu = iommu_find(reader, device, "iommu-map", cell_at(entry, 1));
	if (!iommu)
		return;
	if (compatible(reader->fdt, iommu->node, "xen,grant-dma"))
		backend_set(device, "iommu-map", domid, count);
	else
		fate_set(device, GC_DT_UNRESTRICTED, "its IOMMU is no \"xen,grant-dma\"");
}

/* The IDs that no entry names: Linux lets them pass, without grants. */
static int map_rest(struct reader *reader, int node, const char *why)
{
	struct gc_dt_device *device = device_new(reader, node);

	if (!device)
		return -E2BIG;
	device->pci = true;
	device->last = UINT16_MAX;
	fate_set(device, GC_DT_UNRESTRICTED, "%s", why);
	return 0;
}

/* Requester IDs that no entry names are reported as one more device: Linux lets these pass without grants. */
static int pci_read(struct reader *reader, int node, const struct level *level)
{
	int length;
	const char *map = fdt_getprop(reader->fdt, node, "iommu-map", &length);
	uint32_t mask = UINT32_MAX;
	uint64_t named = 0;

	if (level->disabled)
		return 0;
	if (!map)
		return map_rest(reader, node, "has no \"iommu-map\"");
	cell_get(reader->fdt, node, "iommu-map-mask", &mask);
	if (length % 16 || length == 0 || (unsigned)length / 16 > MAP_ENTRIES) {
		int err = map_rest(reader, node, "");

		if (!err)
			fate_set(&reader->report->devices[reader->report->count - 1], GC_DT_BROKEN,
				 "\"iommu-map\": %d bytes are not 1 to %u entries of four cells", length, MAP_ENTRIES);
		return err;
	}
	for (int at = 0; at < length; at += 16) {
		struct gc_dt_device *device = device_new(reader, node);

		if (!device)
			return -E2BIG;
		device->pci = true;
		map_entry_read(reader, device, map + at, mask);
		named += device->last - device->first + 1u;
	}
	return named >= (mask & UINT16_MAX) + UINT64_C(1) ? 0 : map_rest(reader, node, "not named by \"iommu-map\"");
}

static void ram_read(struct reader *reader, int node, int depth)
{
	struct range *bank = &reader->ram[reader->banks];

	/* The first range of each node: xl makes one node a bank. */
	if (reader->banks < RAM_BANKS && !reg_read(reader, node, depth, bank))
		reader->banks++;
}

/* ---- the walk ----------------------------------------------------------------------------------------------- */

static bool text_is(const void *fdt, int node, const char *name, const char *text)
{
	int length;
	const char *value = fdt_getprop(fdt, node, name, &length);

	return value && length == (int)strlen(text) + 1 && !memcmp(value, text, (size_t)length);
}

/* What a node inherits, and says of itself. Linux: of_bus_n_addr_cells() and the like go up until they find one. */
static void level_set(const struct reader *reader, struct level *level, const struct level *above, int node)
{
	const void *fdt = reader->fdt;

	*level = above ? *above : (struct level){.address_cells = 1, .size_cells = 1, .bus = true};
	level->node = node;
	cell_get(fdt, node, "#address-cells", &level->address_cells);
	cell_get(fdt, node, "#size-cells", &level->size_cells);
	cell_get(fdt, node, "interrupt-parent", &level->interrupt_parent);
	if (above)
		level->bus = above->bus && (compatible(fdt, node, "simple-bus") || compatible(fdt, node, "simple-mfd"));
	if (fdt_getprop(fdt, node, "status", NULL) && !text_is(fdt, node, "status", "okay") &&
	    !text_is(fdt, node, "status", "ok"))
		level->disabled = true;
}

/* The root is no device, whatever it claims to be compatible with. */
static int node_read(struct reader *reader, int node, int depth)
{
	const struct level *level = &reader->levels[depth];

	if (depth == 0)
		return 0;
	if (compatible(reader->fdt, node, "virtio,mmio"))
		return mmio_read(reader, node, depth, level);
	if (text_is(reader->fdt, node, "device_type", "pci"))
		return pci_read(reader, node, level);
	if (text_is(reader->fdt, node, "device_type", "memory"))
		ram_read(reader, node, depth);
	return 0;
}

/* libfdt gives nodes in the order of the blob, with their depth: a stack of levels is all that is kept. */
static int tree_walk(struct reader *reader)
{
	int depth = -1, err = 0;

	for (int node = fdt_next_node(reader->fdt, -1, &depth); node >= 0 && depth >= 0 && !err;
	     node = fdt_next_node(reader->fdt, node, &depth)) {
		if (depth >= GC_DT_DEPTH)
			return fail(reader, -E2BIG, "nodes are nested deeper than %d", GC_DT_DEPTH);
		level_set(reader, &reader->levels[depth], depth ? &reader->levels[depth - 1] : NULL, node);
		err = node_read(reader, node, depth);
	}
	return err;
}

/* ---- devices against each other ----------------------------------------------------------------------------- */

static bool overlaps(const struct gc_dt_device *device, uint64_t base, uint64_t size)
{
	/* Neither end overflows: see reg_read(). */
	return device->base <= base + (size - 1) && base <= device->base + (device->size - 1);
}

/* A device without a size has been found broken already, and would overlap with nothing or with all. */
static bool counts(const struct gc_dt_device *device)
{
	return !device->pci && device->size && device->fate != GC_DT_DISABLED;
}

/* Quadratic, but the report is bounded by GC_DT_DEVICES. */
static void conflicts_find(struct reader *reader)
{
	for (unsigned i = 0; i < reader->report->count; i++) {
		struct gc_dt_device *device = &reader->report->devices[i];

		if (!counts(device) || device->fate == GC_DT_BROKEN)
			continue;
		for (unsigned k = 0; k < reader->banks; k++)
			if (overlaps(device, reader->ram[k].base, reader->ram[k].size))
				fate_set(device, GC_DT_BROKEN, "\"reg\": lies in the guest's RAM");
		for (unsigned k = 0; k < reader->report->count; k++) {
			const struct gc_dt_device *other = &reader->report->devices[k];

			if (k == i || !counts(other))
				continue;
			if (overlaps(device, other->base, other->size))
				fate_set(device, GC_DT_BROKEN, "\"reg\": overlaps %s", other->path);
			else if (device->irq && device->irq == other->irq)
				fate_set(device, GC_DT_BROKEN, "\"interrupts\": %s has the same", other->path);
		}
	}
}

/* fdt_check_full() looks at the whole blob, so that the walk need not expect a broken structure. */
int gc_dt_read(const void *blob, size_t size, struct gc_dt_report *report, char *error, size_t error_size)
{
	struct reader reader = {.fdt = blob, .report = report, .error = error, .error_size = error_size};
	int err;

	report->count = 0;
	if (size > GC_DT_BLOB_MAX)
		return fail(&reader, -E2BIG, "longer than the %u bytes that a guest takes", GC_DT_BLOB_MAX);
	err = size < sizeof(struct fdt_header) ? -FDT_ERR_TRUNCATED : fdt_check_full(blob, size);
	if (err)
		return fail(&reader, -EINVAL, "not a device tree blob: %s", fdt_strerror(err));
	err = phandles_gather(&reader);
	if (!err)
		err = tree_walk(&reader);
	if (!err)
		conflicts_find(&reader);
	free(reader.phandles);
	return err;
}
