/* SPDX-License-Identifier: MIT */
/* `grantio dt`: the commands that read, and the table of all. */
#include "cli/dt/dt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- the file ----------------------------------------------------------------------------------------------- */

/* All of a file, one byte more than a tree may have. NULL after gc_fail(). */
static void *file_read(const char *path, size_t *size)
{
	FILE *file = fopen(path, "re");
	void *blob = file ? malloc(GC_DT_BLOB_MAX + 1) : NULL; /* aligned for anything */

	if (!blob) {
		gc_fail("file '%s': %s", path, strerror(errno));
		goto out;
	}
	*size = fread(blob, 1, GC_DT_BLOB_MAX + 1, file);
	if (ferror(file)) {
		gc_fail("file '%s': %s", path, strerror(errno));
		free(blob);
		blob = NULL;
	}
out:
	if (file)
		fclose(file);
	return blob;
}

/* The report is large, and so not on the stack. */
static struct gc_dt_report *report_read(const char *path)
{
	struct gc_dt_report *report = NULL;
	char error[256];
	size_t size = 0;
	void *blob = file_read(path, &size);

	if (!blob)
		return NULL;
	report = calloc(1, sizeof(*report));
	if (!report) {
		gc_fail("file '%s': %s", path, strerror(ENOMEM));
	} else if (gc_dt_read(blob, size, report, error, sizeof(error))) {
		gc_fail("file '%s': %s", path, error);
		free(report);
		report = NULL;
	}
	free(blob);
	return report;
}

/* ---- what is said ------------------------------------------------------------------------------------------- */

/* "00:01.0": bus, slot, function. */
static const char *requester(uint16_t id, char text[16])
{
	snprintf(text, 16, "%02x:%02x.%x", id >> 8 & 0xffu, id >> 3 & 0x1fu, id & 7u);
	return text;
}

/* Addresses in hexadecimal, as in the name of the node and in xl's log. */
static void place_put(const struct gc_dt_device *device)
{
	char first[16], last[16];

	printf("%s", device->path);
	if (device->pci)
		printf(" %s to %s", requester(device->first, first), requester(device->last, last));
	if (device->size)
		printf(" at 0x%" PRIx64, device->base);
	if (device->irq)
		printf(", irq %u", device->irq);
}

/* One line for each device: scripts search them. */
static void line_put(const struct gc_dt_device *device)
{
	unsigned more = (unsigned)device->last - device->first;

	place_put(device);
	if (device->fate == GC_DT_RESTRICTED && more)
		printf(": restricted to domains %u to %u, one each\n", device->backend, device->backend + more);
	else if (device->fate == GC_DT_RESTRICTED)
		printf(": restricted to domain %u\n", device->backend);
	else if (device->fate == GC_DT_DISABLED)
		printf(": disabled\n");
	else
		printf(": %s: %s\n", device->fate == GC_DT_BROKEN ? "broken" : "unrestricted", device->why);
}

/* The same in sentences, for a person who does not know what "iommus" means. */
static void words_put(const struct gc_dt_device *device)
{
	line_put(device);
	switch (device->fate) {
	case GC_DT_RESTRICTED:
		printf("\tThe guest grants the pages of each request to domain %u%s and tells the device nothing but "
		       "these\n"
		       "\tgrants. A backend there reaches those pages for as long as they are granted, and nothing "
		       "else of\n"
		       "\tthe guest. The device must offer VIRTIO_F_VERSION_1 and VIRTIO_F_ACCESS_PLATFORM, or the "
		       "guest\n"
		       "\trefuses it; the guest's kernel needs CONFIG_XEN_VIRTIO or grantio.ko, or it never sees it.\n",
		       device->backend,
		       device->last > device->first ? " (the next requester ID: to the next domain)" : "");
		break;
	case GC_DT_UNRESTRICTED:
		printf("\tThe guest tells the device addresses of its own memory, and its backend has to be allowed to "
		       "map any\n"
		       "\tof it. grantiod refuses such a disk (grant_usage=0) unless --allow-foreign names the guest. "
		       "To restrict\n"
		       "\tit, let its \"%s\" name a \"xen,grant-dma\" node and the backend's domain.\n",
		       device->pci ? "iommu-map" : "iommus");
		break;
	case GC_DT_DISABLED:
		printf("\tThe \"status\" of the node, or of one above it, is not \"okay\": the guest does not look at "
		       "it.\n");
		break;
	default:
		printf("\tThis is a mistake in the tree. \"Used without grants\" means that the guest says nothing, "
		       "and tells\n"
		       "\tthe device addresses of its own memory where grants were meant. `grantio dt emit` writes "
		       "good nodes.\n");
	}
}

/* A tree with a broken device fails the check; one without any device does not, but says so. */
static int report_say(const char *path, bool words)
{
	struct gc_dt_report *report = report_read(path);
	unsigned broken = 0, count;

	if (!report)
		return GC_FAILED;
	count = report->count;
	for (unsigned i = 0; i < count; i++) {
		if (words)
			words_put(&report->devices[i]);
		else
			line_put(&report->devices[i]);
		broken += report->devices[i].fate == GC_DT_BROKEN;
	}
	free(report);
	if (!count)
		printf("no virtio devices\n");
	if (fflush(stdout))
		return gc_fail("standard output: %s", strerror(errno));
	return broken ? gc_fail("file '%s': %u of %u broken", path, broken, count) : GC_OK;
}

static int check_run(int argc, char **argv)
{
	struct gc_args args;

	return gc_args_parse(&args, NULL, argc, argv, 1, 1) ? report_say(args.arg[0], false) : GC_USAGE;
}

static int explain_run(int argc, char **argv)
{
	struct gc_args args;

	return gc_args_parse(&args, NULL, argc, argv, 1, 1) ? report_say(args.arg[0], true) : GC_USAGE;
}

const struct gc_command gc_dt_check_command = {
	.name = "check",
	.summary = "Say what a guest makes of the virtio devices in a device tree",
	.args = "FILE",
	.details = "FILE is a blob (.dtb). Each virtio-mmio device and each PCI host bridge has one line: it is "
		   "restricted to the\n"
		   "grants for one domain, or unrestricted, or broken, with the reason. The exit status is 1 if one is "
		   "broken.\n",
	.run = check_run,
};

const struct gc_command gc_dt_explain_command = {
	.name = "explain",
	.summary = "The same in plain words: who can reach what",
	.args = "FILE",
	.run = explain_run,
};

static const struct gc_command *const commands[] = {
	&gc_dt_check_command,
	&gc_dt_emit_command,
	&gc_dt_explain_command,
	NULL,
};

const struct gc_command gc_dt_command = {
	.name = "dt",
	.summary = "Device trees of Arm guests that share by grants",
	.commands = commands,
};
