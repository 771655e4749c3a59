/* SPDX-License-Identifier: MIT */
/* `grantio dt`: trees that are made, trees that others made, and trees that nobody should have made. */
#include "tests/unit/cli/catch.h"
#include "cli/dt/dt.h"

#include <abi/xen.h>

#include <errno.h>
#include <libfdt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const struct gc_command *const commands[] = {&gc_dt_command, NULL};
static const struct gc_command root = {.name = "grantio", .summary = "test", .commands = commands};

/* All of a file of this build or of the fixtures; the caller frees it. */
static char *file_load(const char *path, size_t *size)
{
	FILE *file = fopen(path, "re");
	char *text = calloc(1, GC_DT_BLOB_MAX);

	assert_non_null(file);
	assert_non_null(text);
	*size = fread(text, 1, GC_DT_BLOB_MAX - 1, file);
	fclose(file);
	return text;
}

/* ---- trees of others ---------------------------------------------------------------------------------------- */

static void test_tree_of_xl(void **state)
{
	(void)state;
	assert_int_equal(RUN(&root, "dt", "check", XL_DTB), GC_OK);
	assert_string_equal(cli_out, "/virtio@2000000 at 0x2000000, irq 33: restricted to domain 0\n");
	assert_string_equal(cli_err, "");
}

static void test_every_fate(void **state)
{
	size_t size;
	char *wanted = file_load(FIXTURES "/devices.txt", &size);

	(void)state;
	assert_int_equal(RUN(&root, "dt", "check", DEVICES_DTB), GC_FAILED);
	assert_string_equal(cli_out, wanted);
	assert_non_null(strstr(cli_err, "33 of 50 broken\n"));
	free(wanted);
}

static void test_explain(void **state)
{
	(void)state;
	assert_int_equal(RUN(&root, "dt", "explain", DEVICES_DTB), GC_FAILED);
	assert_non_null(strstr(cli_out, "The guest grants the pages of each request to domain 32751 and"));
	assert_non_null(strstr(cli_out, "to domain 2 (the next requester ID: to the next domain)"));
	assert_non_null(strstr(cli_out, "unless --allow-foreign names the guest"));
	assert_non_null(strstr(cli_out, "This is a mistake in the tree."));
	assert_non_null(strstr(cli_out, "the guest does not look at it"));
}

/* ---- trees of ours ------------------------------------------------------------------------------------------ */

#define FILE_OUT "--output=" OUT_DTB
#define ONE	 "base=0x2000000,irq=33,backend=1"
#define TWO	 "backend=0,irq=1019,base=0x2000200"

static void test_emitted_is_understood(void **state)
{
	static const struct {
		const char *layout, *bus;
	} layouts[] = {{"--dts", ""}, {"--partial", "/passthrough"}, {"--dom0less", "/passthrough"}};
	char wanted[256];

	(void)state;
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		if (i)
			assert_int_equal(
				RUN(&root, "dt", "emit", layouts[i].layout, FILE_OUT, "--device", ONE, "--device=" TWO),
				GC_OK);
		else
			assert_int_equal(RUN(&root, "dt", "emit", FILE_OUT, "--device", ONE, "--device", TWO), GC_OK);
		assert_string_equal(cli_out, "");
		assert_int_equal(RUN(&root, "dt", "check", OUT_DTB), GC_OK);
		snprintf(wanted, sizeof(wanted),
			 "%s/virtio@2000000 at 0x2000000, irq 33: restricted to domain 1\n"
			 "%s/virtio@2000200 at 0x2000200, irq 1019: restricted to domain 0\n",
			 layouts[i].bus, layouts[i].bus);
		assert_string_equal(cli_out, wanted);
	}
	unlink(OUT_DTB);
}

static uint32_t phandle_at(const void *fdt, const char *path)
{
	int node = fdt_path_offset(fdt, path);

	return node < 0 ? 0 : fdt_get_phandle(fdt, node);
}

/*
 * A partial tree becomes a part of one that has the toolstack's nodes: its IOMMU has another phandle than theirs. And
 * it has no controller, but for Xen, which takes the phandle for its own one from there.
 */
static void test_phandles(void **state)
{
	static const enum gc_dt_layout layouts[] = {GC_DT_PARTIAL, GC_DT_DOM0LESS};
	const struct gc_dt_node node = {0x2000000, 33, 0};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		size_t size;
		void *fdt;
		uint32_t iommu;

		assert_int_equal(gc_dt_build(layouts[i], &node, 1, &fdt, &size), 0);
		iommu = phandle_at(fdt, "/passthrough/xen_iommu");
		assert_true(iommu && iommu != GC_DT_PHANDLE_GIC && iommu != GC_DT_PHANDLE_IOMMU);
		assert_int_equal(phandle_at(fdt, "/gic"), layouts[i] == GC_DT_DOM0LESS ? GC_DT_PHANDLE_GIC : 0);
		free(fdt);
	}
}

/* Node by node what xl itself wrote (fixtures/xl-4.20-arm-guest.dts). */
static void test_as_xl_writes(void **state)
{
	static const char *const paths[] = {"/virtio@2000000", "/xen_iommu"};
	const struct gc_dt_node node = {0x2000000, 33, 0};
	size_t size, ours_size;
	char *xl = file_load(XL_DTB, &size);
	void *ours;
	int at;

	(void)state;
	assert_int_equal(gc_dt_build(GC_DT_WHOLE, &node, 1, &ours, &ours_size), 0);
	for (size_t i = 0; i < 2; i++) {
		int here = fdt_path_offset(ours, paths[i]), there = fdt_path_offset(xl, paths[i]), count = 0;

		assert_true(here >= 0 && there >= 0);
		fdt_for_each_property_offset(at, xl, there)
		{
			const char *name, *value, *same;
			int length, same_length;

			value = fdt_getprop_by_offset(xl, at, &name, &length);
			same = fdt_getprop(ours, here, name, &same_length);
			assert_non_null(same);
			assert_int_equal(same_length, length);
			assert_memory_equal(same, value, (size_t)length);
			count++;
		}
		fdt_for_each_property_offset(at, ours, here) count--;
		assert_int_equal(count, 0);
	}
	free(ours);
	free(xl);
}

static void test_emit_refuses(void **state)
{
	static const struct {
		const char *words[4]; /* behind "dt emit" */
		const char *line;
	} bad[] = {
		{{NULL}, "option --device: none given"},
		{{"--device"}, "option --device: SPEC is missing"},
		{{"--device=" ONE, "--partial", "--dom0less"}, "options --partial and --dom0less: one of them only"},
		{{"--device=base=0x2000000,irq=33"},
		 "device 1: 'base=0x2000000,irq=33': base=, irq= and backend= are all needed"},
		{{"--device=base=0x2000000,base=0x2000200"}, "device 1: base '0x2000200': given twice"},
		{{"--device=bass=1"}, "device 1: 'bass': must be base=, irq= or backend= and a number"},
		{{"--device=irq"}, "device 1: 'irq': must be base=, irq= or backend= and a number"},
		{{"--device="}, "device 1: '': must be base=, irq= or backend= and a number"},
		{{"--device=base=nine"}, "device 1: base 'nine': not a number"},
		{{"--device=base=0x2000100,irq=33,backend=1"}, "device 1: base '0x2000100': not a multiple of 0x200"},
		{{"--device=base=2000000,irq=33,backend=1"},
		 "device 1: base '2000000': not a multiple of 0x200 (a number is decimal without 0x)"},
		{{"--device=base=0"}, "device 1: base '0': not between 512 and 281474976710144"},
		{{"--device=base=0x1000000000000"},
		 "device 1: base '0x1000000000000': not between 512 and 281474976710144"},
		{{"--device=irq=31"}, "device 1: irq '31': not between 32 and 1019"},
		{{"--device=irq=1020"}, "device 1: irq '1020': not between 32 and 1019"},
		{{"--device=backend=0x7ff0"}, "device 1: backend '0x7ff0': not between 0 and 32751"},
		{{"--device=" ONE, "--device=base=0x2000000,irq=34,backend=1"},
		 "device 2: base '0x2000000': overlaps device 1"},
		{{"--device=" ONE, "--device=base=0x2000200,irq=33,backend=1"}, "device 2: irq '33': device 1 has it"},
		{{"--device=base=0x40000000,irq=33,backend=1"},
		 "device 1: base '0x40000000': in the guest's RAM (0x40000000 to 0xffffffff)"},
		{{"--partial", "--device=base=0x3001000,irq=33,backend=1"},
		 "device 1: base '0x3001000': in the guest's interrupt controller (0x3001000 to 0x401ffff)"},
		{{"--device=" ONE, "extra"}, "argument 'extra': one too many (see --help)"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *words[8] = {"grantio", "dt", "emit"};
		char line[256];

		for (size_t k = 0; k < 4; k++)
			words[3 + k] = bad[i].words[k];
		snprintf(line, sizeof(line), "grantio: dt emit: %s\n", bad[i].line);
		cli_refused(cli_run(&root, words), GC_USAGE, line, bad[i].line);
	}
}

/* A direct-mapped guest has its RAM elsewhere: what xl's layout forbids is allowed. */
static void test_dom0less_has_no_layout(void **state)
{
	(void)state;
	assert_int_equal(RUN(&root, "dt", "emit", "--dts", "--dom0less", "--device=base=0x40000000,irq=33,backend=1"),
			 GC_OK);
	assert_non_null(strstr(cli_out, "virtio@40000000 {"));
}

static void test_output_fails(void **state)
{
	(void)state;
	cli_refused(RUN(&root, "dt", "emit", "--output=/nonexistent/a", "--device=" ONE), GC_FAILED,
		    "grantio: dt emit: output '/nonexistent/a': No such file or directory\n", "output");
	cli_refused(RUN(&root, "dt", "emit", "--output=/dev/full", "--device=" ONE), GC_FAILED,
		    "grantio: dt emit: output '/dev/full': cannot be written\n", "full");
}

/* ---- trees that nobody should have made --------------------------------------------------------------------- */

static void test_not_a_tree(void **state)
{
	(void)state;
	cli_refused(RUN(&root, "dt", "check", "/nonexistent"), GC_FAILED,
		    "grantio: dt check: file '/nonexistent': No such file or directory\n", "missing");
	cli_refused(RUN(&root, "dt", "check", "/dev/null"), GC_FAILED,
		    "grantio: dt check: file '/dev/null': not a device tree blob: FDT_ERR_TRUNCATED\n", "empty");
	cli_refused(RUN(&root, "dt", "check", "/dev/zero"), GC_FAILED,
		    "grantio: dt check: file '/dev/zero': longer than the 2097152 bytes that a guest takes\n",
		    "endless");
	cli_refused(RUN(&root, "dt", "check", FIXTURES "/devices.txt"), GC_FAILED,
		    "grantio: dt check: file '" FIXTURES "/devices.txt': not a device tree blob: FDT_ERR_BADMAGIC\n",
		    "text");
}

/* Read it in memory that ends with it, so that AddressSanitizer sees a byte read too many. */
static int blob_read(const char *bytes, size_t size)
{
	static struct gc_dt_report report;
	char error[256] = "";
	void *blob = malloc(size ? size : 1);
	int err;

	assert_non_null(blob);
	memcpy(blob, bytes, size);
	err = gc_dt_read(blob, size, &report, error, sizeof(error));
	assert_true((err == 0) == (error[0] == '\0'));
	for (unsigned i = 0; err == 0 && i < report.count; i++) {
		assert_true(report.devices[i].fate != GC_DT_RESTRICTED || report.devices[i].backend <= GIO_DOMID_MAX);
		assert_true(report.devices[i].fate >= GC_DT_UNRESTRICTED || report.devices[i].fate == GC_DT_DISABLED ||
			    report.devices[i].why[0]);
	}
	free(blob);
	return err;
}

static void test_truncated(void **state)
{
	size_t size;
	char *blob = file_load(DEVICES_DTB, &size);

	(void)state;
	assert_int_equal(blob_read(blob, size), 0);
	for (size_t length = 0; length < size; length++)
		assert_int_not_equal(blob_read(blob, length), 0);
	/* The same with a header that says so. */
	for (size_t length = sizeof(struct fdt_header); length < size; length += 3) {
		fdt_set_totalsize(blob, (uint32_t)length);
		blob_read(blob, length);
	}
	free(blob);
}

static void test_bits_flipped(void **state)
{
	size_t size;
	char *blob = file_load(DEVICES_DTB, &size);
	unsigned good = 0, bad = 0;

	(void)state;
	for (size_t i = 0; i < size * 8; i += 7) { /* each byte, and in turn each bit */
		blob[i / 8] = (char)(blob[i / 8] ^ 1 << i % 8);
		if (blob_read(blob, size))
			bad++;
		else
			good++;
		blob[i / 8] = (char)(blob[i / 8] ^ 1 << i % 8);
	}
	assert_true(good > bad); /* most flips leave a tree: the walk, not libfdt's check, is what was tried */
	free(blob);
}

/* Build what no compiler would. */
static void *nest(unsigned depth, unsigned devices, size_t *size)
{
	size_t room = 4096 + depth * 16u + devices * 64u;
	void *fdt = calloc(1, room);

	assert_non_null(fdt);
	assert_int_equal(fdt_create(fdt, (int)room), 0);
	assert_int_equal(fdt_finish_reservemap(fdt), 0);
	for (unsigned i = 0; i < depth; i++)
		assert_int_equal(fdt_begin_node(fdt, i ? "a" : ""), 0);
	for (unsigned i = 0; i < devices; i++) {
		assert_int_equal(fdt_begin_node(fdt, "v"), 0);
		assert_int_equal(fdt_property_string(fdt, "compatible", "virtio,mmio"), 0);
		assert_int_equal(fdt_end_node(fdt), 0);
	}
	for (unsigned i = 0; i < depth; i++)
		assert_int_equal(fdt_end_node(fdt), 0);
	assert_int_equal(fdt_finish(fdt), 0);
	*size = fdt_totalsize(fdt);
	return fdt;
}

static void test_bounds(void **state)
{
	static const struct {
		unsigned depth, devices;
		int result;
	} cases[] = {
		{GC_DT_DEPTH, 0, 0},   {GC_DT_DEPTH + 1, 0, -E2BIG},
		{1, GC_DT_DEVICES, 0}, {1, GC_DT_DEVICES + 1, -E2BIG},
		{20000, 0, -E2BIG},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t size;
		void *blob = nest(cases[i].depth, cases[i].devices, &size);

		assert_int_equal(blob_read(blob, size), cases[i].result);
		free(blob);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tree_of_xl),   cmocka_unit_test(test_every_fate),
		cmocka_unit_test(test_explain),	     cmocka_unit_test(test_emitted_is_understood),
		cmocka_unit_test(test_phandles),     cmocka_unit_test(test_as_xl_writes),
		cmocka_unit_test(test_emit_refuses), cmocka_unit_test(test_dom0less_has_no_layout),
		cmocka_unit_test(test_output_fails), cmocka_unit_test(test_not_a_tree),
		cmocka_unit_test(test_truncated),    cmocka_unit_test(test_bits_flipped),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
