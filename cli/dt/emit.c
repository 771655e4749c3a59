/* SPDX-License-Identifier: MIT */
/*
 * `grantio dt emit`: nodes for devices that the command line describes. Addresses are checked against what xl and Xen
 * put elsewhere in a guest: an overlap would show as a device that does not answer, or as a guest that does not boot.
 */
#include "cli/dt/dt.h"

#include <abi/virtio_mmio.h>
#include <abi/xen.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ADDRESS_BITS 48

enum { OPT_DEVICE, OPT_PARTIAL, OPT_DOM0LESS, OPT_DTS, OPT_OUTPUT };

static const struct gc_option options[] = {
	[OPT_DEVICE] = {"device", "SPEC", "a virtio-mmio device: base=ADDRESS,irq=N,backend=DOMID; may be repeated"},
	[OPT_PARTIAL] = {"partial", NULL, "a partial tree for xl's device_tree="},
	[OPT_DOM0LESS] = {"dom0less", NULL, "a partial tree for a guest that Xen itself makes at boot"},
	[OPT_DTS] = {"dts", NULL, "source text instead of a blob"},
	[OPT_OUTPUT] = {"output", "FILE", "write to FILE instead of standard output"},
	{0},
};

/* Where xl and Xen put other things in an Arm guest (xen/arch-arm.h). Not for dom0less: a direct-mapped guest differs.
 */
static const struct region {
	const char *what;
	uint64_t base, size;
} regions[] = {
	{"the guest's interrupt controller", 0x03001000, 0x0101f000},
	{"the guest's PCI configuration space", 0x10000000, 0x10000000},
	{"the guest's ACPI tables and UART", 0x20000000, 0x02001000},
	{"the guest's PCI memory", 0x23000000, 0x10000000},
	{"the guest's grant table", 0x38000000, 0x01000000},
	{"the pages of Xen's services", 0x39000000, 0x01000000},
	{"the guest's RAM", 0x40000000, UINT64_C(0xc0000000)},
	{"the guest's PCI memory", UINT64_C(0x100000000), UINT64_C(0x100000000)},
	{"the guest's RAM", UINT64_C(0x200000000), UINT64_C(0xfe00000000)},
};

/* The whole command line: all devices are taken before any is checked, since they are checked against each other. */
struct request {
	struct gc_dt_node nodes[GC_DT_EMIT_MAX];
	unsigned count;
	enum gc_dt_layout layout;
	bool dts;
	const char *output;
};

static bool range_overlaps(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

/* ---- the command line --------------------------------------------------------------------------------------- */

/* One "key=value" of a device's description. */
static bool field_set(struct gc_dt_node *node, unsigned number, bool given[3], char *field)
{
	static const char *const keys[] = {"base", "irq", "backend"};
	const uint64_t least[] = {GIO_VIRTIO_MMIO_BYTES, GC_DT_SPI_FIRST, 0};
	const uint64_t most[] = {(UINT64_C(1) << ADDRESS_BITS) - GIO_VIRTIO_MMIO_BYTES, GC_DT_SPI_LAST, GIO_DOMID_MAX};
	char *value = strchr(field, '='), what[48];
	uint64_t found = 0;
	unsigned key = 0;

	if (value)
		*value++ = '\0';
	while (key < 3 && strcmp(keys[key], field))
		key++;
	if (key == 3 || !value)
		return gc_usage("device %u: '%s': must be base=, irq= or backend= and a number", number, field), false;
	if (given[key])
		return gc_usage("device %u: %s '%s': given twice", number, field, value), false;
	given[key] = true;
	snprintf(what, sizeof(what), "device %u: %s", number, field);
	if (!gc_number(what, value, least[key], most[key], &found))
		return false;
	if (key == 0 && found % GIO_VIRTIO_MMIO_BYTES)
		return gc_usage("%s '%s': not a multiple of 0x%x%s", what, value, GIO_VIRTIO_MMIO_BYTES,
				value[0] == '0' ? "" : " (a number is decimal without 0x)"),
		       false;
	if (key == 0)
		node->base = found;
	else if (key == 1)
		node->irq = (unsigned)found;
	else
		node->backend = (unsigned)found;
	return true;
}

/* The description is copied, since strsep() writes into it and error lines show it whole. */
static bool device_take(struct request *request, const char *spec)
{
	struct gc_dt_node *node = &request->nodes[request->count];
	bool given[3] = {false, false, false}, ok = true;
	unsigned number = request->count + 1;
	char *copy, *rest, *field;

	if (request->count == GC_DT_EMIT_MAX)
		return gc_usage("device %u: at most %u devices", number, GC_DT_EMIT_MAX), false;
	copy = rest = strdup(spec);
	if (!copy)
		return gc_fail("device %u: %s", number, strerror(ENOMEM)), false;
	while (ok && (field = strsep(&rest, ",")))
		ok = field_set(node, number, given, field);
	free(copy);
	if (ok && !(given[0] && given[1] && given[2]))
		return gc_usage("device %u: '%s': base=, irq= and backend= are all needed", number, spec), false;
	request->count += ok;
	return ok;
}

/* Take every --device out of argv, where the option may stand more than once; the rest is gc_args_parse()'s. */
static bool devices_take(struct request *request, int *argc, char **argv)
{
	static const char name[] = "--device";
	int kept = 1;

	for (int i = 1; i < *argc; i++) {
		const char *spec = NULL;

		if (!strncmp(argv[i], name, sizeof(name) - 1) && argv[i][sizeof(name) - 1] == '=')
			spec = argv[i] + sizeof(name);
		else if (!strcmp(argv[i], name) && i + 1 < *argc)
			spec = argv[++i];
		if (!spec)
			argv[kept++] = argv[i];
		else if (!device_take(request, spec))
			return false;
	}
	*argc = kept;
	return true;
}

/* Checked against all former devices: at most 64, so that this needs no order. */
static bool device_fits(const struct request *request, unsigned index)
{
	const struct gc_dt_node *node = &request->nodes[index];
	unsigned number = index + 1;

	for (unsigned i = 0; i < index; i++) {
		const struct gc_dt_node *other = &request->nodes[i];

		if (range_overlaps(node->base, GIO_VIRTIO_MMIO_BYTES, other->base, GIO_VIRTIO_MMIO_BYTES))
			return gc_usage("device %u: base '0x%" PRIx64 "': overlaps device %u", number, node->base,
					i + 1),
			       false;
		if (node->irq == other->irq)
			return gc_usage("device %u: irq '%u': device %u has it", number, node->irq, i + 1), false;
	}
	for (size_t i = 0; i < sizeof(regions) / sizeof(regions[0]) && request->layout != GC_DT_DOM0LESS; i++)
		if (range_overlaps(node->base, GIO_VIRTIO_MMIO_BYTES, regions[i].base, regions[i].size))
			return gc_usage("device %u: base '0x%" PRIx64 "': in %s (0x%" PRIx64 " to 0x%" PRIx64 ")",
					number, node->base, regions[i].what, regions[i].base,
					regions[i].base + regions[i].size - 1),
			       false;
	return true;
}

/* --device may be repeated, which gc_args_parse() refuses: these are taken out before. */
static bool request_parse(struct request *request, int argc, char **argv)
{
	struct gc_args args;

	if (!devices_take(request, &argc, argv) || !gc_args_parse(&args, options, argc, argv, 0, 0))
		return false;
	if (args.option[OPT_PARTIAL] && args.option[OPT_DOM0LESS])
		return gc_usage("options --partial and --dom0less: one of them only"), false;
	if (!request->count)
		return gc_usage("option --device: none given"), false;
	if (args.option[OPT_PARTIAL])
		request->layout = GC_DT_PARTIAL;
	if (args.option[OPT_DOM0LESS])
		request->layout = GC_DT_DOM0LESS;
	request->dts = args.option[OPT_DTS];
	request->output = args.option[OPT_OUTPUT];
	for (unsigned i = 0; i < request->count; i++)
		if (!device_fits(request, i))
			return false;
	if (!request->dts && !request->output && isatty(STDOUT_FILENO))
		return gc_usage("a blob is nothing for a terminal: give --output FILE, or --dts"), false;
	return true;
}

/* ---- the work ----------------------------------------------------------------------------------------------- */

/* Writing is checked at the end, when buffers are flushed: a full disk shows only then. */
static int blob_write(const struct request *request, const void *blob, size_t size)
{
	FILE *out = request->output ? fopen(request->output, "we") : stdout;
	bool bad;

	if (!out)
		return gc_fail("output '%s': %s", request->output, strerror(errno));
	if (request->dts)
		gc_dt_text(blob, out);
	else
		fwrite(blob, size, 1, out);
	bad = fflush(out) || ferror(out);
	if (request->output)
		bad |= fclose(out) != 0;
	return bad ? gc_fail("output '%s': cannot be written", request->output ? request->output : "-") : GC_OK;
}

static int emit_run(int argc, char **argv)
{
	struct request request = {.layout = GC_DT_WHOLE};
	size_t size;
	void *blob;
	int err, rc;

	if (!request_parse(&request, argc, argv))
		return GC_USAGE;
	err = gc_dt_build(request.layout, request.nodes, request.count, &blob, &size);
	if (err)
		return gc_fail("cannot make the tree: %s", strerror(-err));
	rc = blob_write(&request, blob, size);
	free(blob);
	return rc;
}

const struct gc_command gc_dt_emit_command = {
	.name = "emit",
	.summary = "Write device tree nodes for virtio disks by grants",
	.options = options,
	.details = "The tree gets a node xen_iommu (\"xen,grant-dma\"), and for each --device a node virtio@BASE whose "
		   "\"iommus\"\n"
		   "names the backend's domain. xl writes the same nodes for a disk with grant_usage=1; this command "
		   "is for\n"
		   "guests that xl writes none for. irq is the number that the interrupt controller knows: xl's first "
		   "one is 33,\n"
		   "which is \"interrupts = <0 1 ...>\" in the tree.\n",
	.run = emit_run,
};
