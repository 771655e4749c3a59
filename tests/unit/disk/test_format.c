/* SPDX-License-Identifier: MIT */
/* Images of other formats are refused, by what their own programs make; what only resembles them is not. */
#include "tests/unit/disk/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB	(1u << 20)
#define REFUSED ": is a %s image, and only raw data is served: let qemu-nbd -f %s serve it, "

static void put(struct disk_rig *rig, off_t offset, const char *bytes, size_t length)
{
	int fd = open(rig->path, O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, bytes, length, offset), length);
	close(fd);
}

static int open_raw(struct disk_rig *rig)
{
	struct gd_disk_config config = {.target = rig->path, .direct = true, .raw = true};
	int result = gd_disk_open(&rig->disk, &config, &rig->log, rig->error, sizeof(rig->error));

	if (result)
		rig->disk = NULL;
	rig_close(rig);
	return result;
}

/* Writable and read-only, with O_DIRECT and without; and what was said outright to be raw is served, with a warning. */
static void refused(struct disk_rig *rig, const char *name, const char *qemu)
{
	static const unsigned flags[] = {0, RIG_READONLY, RIG_BUFFERED};
	struct stat st;
	char line[256];
	size_t i;

	snprintf(line, sizeof(line), REFUSED, name, qemu);
	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (rig_disk_open(rig, rig->path, flags[i]) != -EMEDIUMTYPE)
			fail_msg("%s %s was not refused: %s", name, qemu, rig->error);
		assert_non_null(strstr(rig->error, line));
	}
	assert_int_equal(rig_log_lines(rig), 0);
	assert_int_equal(stat(rig->path, &st), 0);
	if (st.st_size < 512) /* a text may be less than a block */
		assert_int_equal(truncate(rig->path, 512), 0);
	assert_int_equal(open_raw(rig), 0);
	snprintf(line, sizeof(line), ": looks like a %s image: served as raw data all the same", name);
	assert_int_equal(rig_logged(rig, line), 1);
	assert_int_equal(ftruncate(rig->stderr_log, 0), 0);
}

/* What qemu-img makes. A fixed VHD is raw data with a footer; a flat VMDK is a text beside its data. */
static void test_made(void **state)
{
	static const struct {
		const char *name, *qemu, *option;
	} cases[] = {
		{"qcow2", "qcow2", "compat=0.10"},
		{"qcow2", "qcow2", "compat=1.1"},
		{"qcow", "qcow", NULL},
		{"QED", "qed", NULL},
		{"VMDK", "vmdk", NULL},
		{"VMDK", "vmdk", "subformat=monolithicFlat"},
		{"VMDK", "vmdk", "subformat=vmfs"},
		{"VHDX", "vhdx", NULL},
		{"VHD", "vpc", "subformat=dynamic"},
		{"VHD", "vpc", "subformat=fixed"},
		{"VDI", "vdi", NULL},
		{"Parallels", "parallels", NULL},
		{"VMDK", "vmdk", "subformat=streamOptimized"},
	};
	struct disk_rig *rig = *state;
	size_t i;

	snprintf(rig->path, sizeof(rig->path), "%s/made", rig->dir);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *option = cases[i].option;
		const char *const argv[] = {"qemu-img",		  "create", "-q", "-f", cases[i].qemu, rig->path, "8M",
					    option ? "-o" : NULL, option,   NULL};

		unlink(rig->path);
		if (rig_command(argv) || access(rig->path, R_OK)) /* some qemu-img cannot write all of them */
			print_message("qemu-img makes no %s\n", cases[i].qemu);
		else
			refused(rig, cases[i].name, cases[i].qemu);
	}
}

/* By their bytes, so that nothing depends on what qemu-img can make here. */
static void test_bytes(void **state)
{
	static const struct {
		const char *name, *qemu, *bytes;
		size_t length;
		off_t offset; /* negative: from the end */
	} cases[] = {
		{"qcow2", "qcow2", "QFI\xfb\0\0\0\2", 8, 0},
		{"qcow2", "qcow2", "QFI\xfb\0\0\0\3", 8, 0},
		{"qcow", "qcow", "QFI\xfb\0\0\0\1", 8, 0},
		{"QED", "qed", "QED\0", 4, 0},
		{"VMDK", "vmdk", "KDMV", 4, 0},
		{"VMDK", "vmdk", "COWD", 4, 0},
		{"VMDK", "vmdk", "# Disk DescriptorFile", 21, 0},
		{"VHDX", "vhdx", "vhdxfile", 8, 0},
		{"VHD", "vpc", "conectix", 8, 0},
		{"VHD", "vpc", "conectix", 8, -512},
		{"VDI", "vdi", "\x7f\x10\xda\xbe", 4, 64},
		{"Parallels", "parallels", "WithoutFreeSpace", 16, 0},
		{"Parallels", "parallels", "WithouFreSpacExt", 16, 0},
	};
	struct disk_rig *rig = *state;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		rig_image(rig, "a.raw", MIB);
		put(rig, cases[i].offset < 0 ? MIB + cases[i].offset : cases[i].offset, cases[i].bytes,
		    cases[i].length);
		refused(rig, cases[i].name, cases[i].qemu);
	}
	rig_image(rig, "odd.raw", MIB + 196616); /* an end that is no whole block */
	put(rig, MIB + 196616 - 512, "conectix", 8);
	refused(rig, "VHD", "vpc");
}

/* The bytes elsewhere, a LUKS volume, an image of one block, and one that is full of zeroes: all plain data. */
static void test_plain(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
		off_t offset;
	} cases[] = {
		{"LUKS\xba\xbe", 6, 0}, {"QFI\xfb", 4, 512}, {"QFI\xfb", 4, 1}, {"conectix", 8, MIB - 1024},
		{"vhdxfile", 8, 65536}, {"vhdxfil", 7, 0},   {"KDM", 3, 0},
	};
	struct disk_rig *rig = *state;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		rig_image(rig, "a.raw", MIB);
		put(rig, cases[i].offset, cases[i].bytes, cases[i].length);
		assert_int_equal(rig_disk_open(rig, rig->path, 0), 0);
		rig_close(rig);
	}
	rig_image(rig, "block.raw", 512);
	assert_int_equal(rig_disk_open(rig, rig->path, 0), 0);
	rig_close(rig);
	rig_image(rig, "zero.raw", 0);
	assert_int_equal(truncate(rig->path, 8 * MIB), 0);
	assert_int_equal(rig_disk_open(rig, rig->path, 0), 0);
	rig_close(rig);
	assert_int_equal(rig_log_lines(rig), 0);
}

/* Looking leaves O_DIRECT as it was. */
static void test_still_direct(void **state)
{
	struct disk_rig *rig = *state;

	rig_image(rig, "a.raw", MIB);
	assert_int_equal(rig_disk_open(rig, rig->path, 0), 0);
	assert_true(rig_open_flags(rig) & O_DIRECT);
	rig_close(rig);
	assert_int_equal(rig_disk_open(rig, rig->path, RIG_BUFFERED), 0);
	assert_false(rig_open_flags(rig) & O_DIRECT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_made),
		TEST(test_bytes),
		TEST(test_plain),
		TEST(test_still_direct),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
