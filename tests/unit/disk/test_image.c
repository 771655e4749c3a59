/* SPDX-License-Identifier: MIT */
/* What may be an image, and how it is opened: bad targets, directories allowed, locks, full disks, block devices. */
#include "tests/unit/disk/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MIB (1u << 20)

static char *in_dir(const struct disk_rig *rig, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
	return path;
}

static void refused(struct disk_rig *rig, const char *target, unsigned flags, int error, const char *why)
{
	char line[256];

	assert_int_equal(rig_disk_open(rig, target, flags), error);
	snprintf(line, sizeof(line), "%s: %s", target, why);
	assert_string_equal(rig->error, line);
}

static void test_bad_targets(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct disk_rig *rig = *state;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	refused(rig, in_dir(rig, "absent.raw"), 0, -ENOENT, "cannot open: No such file or directory");
	refused(rig, rig->dir, 0, -EISDIR, "is a directory");
	refused(rig, "/dev/null", 0, -ENOTBLK, "is a character device");
	assert_int_equal(mkfifo(in_dir(rig, "fifo"), 0600), 0);
	refused(rig, in_dir(rig, "fifo"), 0, -ENOTBLK, "is a FIFO"); /* and does not wait for its other end */
	strcpy(address.sun_path, in_dir(rig, "socket"));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	refused(rig, in_dir(rig, "socket"), 0, -ENOTBLK, "is a socket");
	rig_image(rig, "empty.raw", 0);
	refused(rig, rig->path, 0, -EINVAL, "size 0 is less than one block of 512");
	rig_image(rig, "tiny.raw", 504);
	refused(rig, rig->path, RIG_READONLY, -EINVAL, "size 504 is less than one block of 512");
	assert_int_equal(symlink("loop", in_dir(rig, "loop")), 0);
	refused(rig, in_dir(rig, "loop"), 0, -ELOOP, "cannot open: Too many levels of symbolic links");
	refused(rig, "relative.raw", 0, -EINVAL, "is neither an absolute path nor nbd:// nor nbd+unix://");
	refused(rig, "", 0, -EINVAL, "is neither an absolute path nor nbd:// nor nbd+unix://");
	refused(rig, "rbd://pool/x", 0, -EPROTONOSUPPORT, "\"rbd\" is not served: it is a path, nbd:// or nbd+unix://");
	assert_int_equal(rig_disk_open(rig, "/no\nsuch\x1b", 0), -ENOENT);
	assert_string_equal(rig->error, "/no\\nsuch\\x1b: cannot open: No such file or directory");
	assert_int_equal(rig_log_lines(rig), 0);
}

static void test_odd_size(void **state)
{
	struct disk_rig *rig = *state;
	char line[256];

	rig_image(rig, "odd.raw", 1000000);
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	assert_int_equal(rig->info.size, 1000000 / 512 * 512);
	snprintf(line, sizeof(line),
		 "<4>d1/xvda: %s: size 1000000 is not a multiple of 512: the last 64 bytes are left out", rig->path);
	assert_int_equal(rig_logged(rig, line), 1);
	assert_int_equal(rig_io(rig, GD_DISK_READ, rig->info.size - 512, 512, rig->area), 0);
}

static int open_allowed(struct disk_rig *rig, const char *target, const char *const *allow)
{
	struct gd_disk_config config = {.target = target, .direct = true, .allow = allow};
	int result = gd_disk_open(&rig->disk, &config, &rig->log, rig->error, sizeof(rig->error));

	if (result)
		rig->disk = NULL;
	rig_close(rig);
	return result;
}

/* What counts is where the file is, not where its name is. */
static void test_allow(void **state)
{
	struct disk_rig *rig = *state;
	char good[96], alias[96], outside[96], inside[96], escape[96], dots[128];
	const char *const allow[] = {"/nonexistent", alias, NULL}, *const none[] = {NULL};

	snprintf(good, sizeof(good), "%s/images", rig->dir);
	snprintf(alias, sizeof(alias), "%s/alias", rig->dir);
	snprintf(inside, sizeof(inside), "%s/images/a.raw", rig->dir);
	snprintf(outside, sizeof(outside), "%s/images-not/a.raw", rig->dir);
	snprintf(escape, sizeof(escape), "%s/images/escape.raw", rig->dir);
	snprintf(dots, sizeof(dots), "%s/images/../images-not/a.raw", rig->dir);
	assert_int_equal(mkdir(good, 0700), 0);
	assert_int_equal(mkdir(in_dir(rig, "images-not"), 0700), 0);
	assert_int_equal(symlink(good, alias), 0); /* an allowed directory may be named by a link */
	rig_image(rig, "images/a.raw", MIB);
	rig_image(rig, "images-not/a.raw", MIB);
	assert_int_equal(symlink(outside, escape), 0);
	assert_int_equal(open_allowed(rig, inside, allow), 0);
	assert_int_equal(open_allowed(rig, outside, NULL), 0);
	assert_int_equal(open_allowed(rig, inside, none), -EPERM);
	assert_int_equal(open_allowed(rig, outside, allow), -EPERM); /* the same beginning is not the same directory */
	assert_int_equal(open_allowed(rig, dots, allow), -EPERM);
	assert_int_equal(open_allowed(rig, escape, allow), -EPERM);
	assert_memory_equal(rig->error, escape, strlen(escape));
	assert_string_equal(rig->error + strlen(escape) + 2 + strlen(outside),
			    " is in no directory that images may lie in (image-dir)");
	assert_int_equal(unlink(escape), 0);
	assert_int_equal(symlink(inside, in_dir(rig, "link.raw")), 0); /* a link from outside into it is fine */
	assert_int_equal(open_allowed(rig, in_dir(rig, "link.raw"), allow), 0);
}

static void test_locks(void **state)
{
	struct disk_rig *rig = *state, other;

	memset(&other, 0, sizeof(other));
	rig_image(rig, "a.raw", MIB);
	assert_int_equal(rig_disk_open(rig, rig->path, 0), 0);
	refused(&other, rig->path, 0, -EBUSY, "is in use: another disk or program has opened it");
	refused(&other, rig->path, RIG_READONLY, -EBUSY, "is in use: another disk or program writes to it");
	rig_close(rig);
	assert_int_equal(rig_disk_open(rig, rig->path, RIG_READONLY), 0);
	refused(&other, rig->path, 0, -EBUSY, "is in use: another disk or program has opened it");
	assert_int_equal(rig_disk_open(&other, rig->path, RIG_READONLY), 0); /* readers share */
	rig_close(&other);
	rig_close(rig);
	assert_int_equal(rig_disk_open(rig, rig->path, 0), 0); /* the locks are gone with the disks */
}

/* QEMU's programs see our locks, and we theirs. */
static void test_locks_qemu(void **state)
{
	struct disk_rig *rig = *state, probe;
	const char *const writer[] = {"qemu-io", "-f", "raw", "-c", "write 0 512", rig->path, NULL};
	const char *const reader[] = {"qemu-io", "-r", "-f", "raw", "-c", "read 0 512", rig->path, NULL};
	const char *const serve[] = {"qemu-nbd", "-f", "raw", "--persistent", rig->path, NULL};

	memset(&probe, 0, sizeof(probe));
	rig_image(rig, "a.raw", MIB);
	assert_int_equal(rig_command(writer), 0);
	assert_int_equal(rig_disk_open(rig, rig->path, 0), 0);
	assert_int_not_equal(rig_command(writer), 0);
	assert_int_not_equal(rig_command(reader), 0);
	rig_close(rig);
	assert_int_equal(rig_disk_open(rig, rig->path, RIG_READONLY), 0);
	assert_int_not_equal(rig_command(writer), 0);
	assert_int_equal(rig_command(reader), 0);
	rig_close(rig);
	rig_server(rig, serve);
	assert_int_equal(rig_disk_open(&probe, rig->uri, 0), 0); /* it is up, and has opened the image */
	refused(rig, rig->path, 0, -EBUSY, "is in use: another disk or program has opened it");
	refused(rig, rig->path, RIG_READONLY, -EBUSY, "is in use: another disk or program writes to it");
	rig_close(&probe);
}

static void test_not_writable(void **state)
{
	struct disk_rig *rig = *state;
	const char *const set[] = {"chattr", "+i", rig->path, NULL}, *const clear[] = {"chattr", "-i", rig->path, NULL};
	int result;

	rig_image(rig, "a.raw", MIB);
	if (rig_command(set)) {
		print_message("no immutable files here: skipped\n");
		skip();
	}
	result = rig_disk_open(rig, rig->path, 0);
	rig_command(clear);
	assert_int_equal(result, -EPERM);
	assert_non_null(strstr(rig->error, "a.raw: cannot open for writing: Operation not permitted"));
}

/* --- a file system of 2 MiB: no ZERO_RANGE, and soon no space --- */

static bool tmpfs_mount(struct disk_rig *rig, const char *options)
{
	const char *dir = in_dir(rig, "small");

	assert_int_equal(mkdir(dir, 0700), 0);
	if (!mount("none", dir, "tmpfs", 0, options))
		return true;
	print_message("mount: %s: skipped\n", strerror(errno));
	return false;
}

static void tmpfs_unmount(struct disk_rig *rig)
{
	rig_close(rig);
	assert_int_equal(umount(in_dir(rig, "small")), 0);
}

static void test_full(void **state)
{
	struct disk_rig *rig = *state;
	char line[256];
	uint64_t at;
	int result;

	if (!tmpfs_mount(rig, "size=1M"))
		skip();
	rig_image(rig, "small/a.raw", 512 * 1024);
	assert_int_equal(truncate(rig->path, 4 * MIB), 0);
	assert_int_equal(rig_open(rig, rig->path, RIG_DISCARD), 0);
	assert_int_equal(rig_io(rig, GD_DISK_WRITE, 512 * 1024, 65536, rig->area), 0);
	result = rig_io(rig, GD_DISK_WRITE, MIB, MIB, rig->area); /* some of it fits */
	assert_int_equal(result, -ENOSPC);
	snprintf(line, sizeof(line), "<3>d1/xvda: %s: write of 1048576 bytes at 1048576: No space left on device",
		 rig->path);
	assert_int_equal(rig_logged(rig, line), 1);
	assert_int_equal(rig_io(rig, GD_DISK_WRITE_ZEROES, 2 * MIB, 65536, NULL),
			 -ENOSPC); /* by writing: no ZERO_RANGE here */
	assert_int_equal(rig_logged(rig, "write zeroes of 65536 bytes at 2097152: No space left on device"), 1);
	assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 4096, rig->area), 0);
	for (at = MIB; at < 2 * MIB; at += 65536) /* what is given back can be written again */
		assert_int_equal(rig_io(rig, GD_DISK_DISCARD, at, 65536, NULL), 0);
	assert_int_equal(rig_io(rig, GD_DISK_WRITE, 3 * MIB, 65536, rig->area), 0);
	tmpfs_unmount(rig);
}

/* Zeroes by writing them, in chunks. */
static void test_zeroes_written(void **state)
{
	struct disk_rig *rig = *state;

	if (!tmpfs_mount(rig, "size=16M"))
		skip();
	rig_image(rig, "small/a.raw", 8 * MIB);
	assert_int_equal(rig_open(rig, rig->path, RIG_DISCARD), 0);
	rig_random(rig, 21, 2000);
	rig_close(rig);
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	rig_random(rig, 22, 2000);
	tmpfs_unmount(rig);
}

/* --- block devices --- */

static void test_block_device(void **state)
{
	struct disk_rig *rig = *state, other;
	char name[64];
	int loop;

	memset(&other, 0, sizeof(other));
	rig_image(rig, "a.raw", 8 * MIB);
	loop = rig_loop(rig, 512, 0, name, sizeof(name));
	if (loop < 0)
		skip();
	assert_int_equal(rig_open(rig, name, RIG_DISCARD), 0);
	assert_int_equal(rig->info.size, 8 * MIB);
	assert_int_equal(rig->info.block_size, 512);
	assert_true(rig->info.max_discard > 0);
	refused(&other, name, 0, -EBUSY, "is in use: mounted, or held by another program");
	refused(&other, name, RIG_READONLY, -EBUSY, "is in use: another disk or program writes to it");
	rig_random(rig, 31, 2000);
	assert_int_equal(truncate(rig->path, 12 * MIB), 0);
	assert_int_equal(ioctl(loop, LOOP_SET_CAPACITY, 0), 0);
	assert_true(gd_disk_refresh(rig->disk));
	gd_disk_info(rig->disk, &rig->info);
	assert_int_equal(rig->info.size, 12 * MIB);
	assert_int_equal(rig_io(rig, GD_DISK_WRITE, 12 * MIB - 4096, 4096, rig->area), 0);
	rig_close(rig);
	close(loop);
}

static void test_block_device_4k(void **state)
{
	struct disk_rig *rig = *state;
	char name[64];
	int loop;

	rig_image(rig, "a.raw", 8 * MIB);
	loop = rig_loop(rig, 4096, 0, name, sizeof(name));
	if (loop < 0)
		skip();
	assert_int_equal(rig_open(rig, name, RIG_DISCARD), 0);
	assert_int_equal(rig->info.block_size, 4096);
	assert_true(rig->info.physical_size >= 4096 && rig->info.discard_align >= 4096);
	rig_random(rig, 32, 1000);
	rig_close(rig);
	memcpy(rig->area, "vhdxfile", 8);
	assert_int_equal(pwrite(loop, rig->area, 4096, 0), 4096);
	assert_int_equal(rig_disk_open(rig, name, 0), -EMEDIUMTYPE);
	assert_non_null(strstr(rig->error, ": is a VHDX image, "));
	close(loop);
}

static void test_block_device_readonly(void **state)
{
	struct disk_rig *rig = *state;
	char name[64];
	int loop;

	rig_image(rig, "a.raw", MIB);
	loop = rig_loop(rig, 512, LO_FLAGS_READ_ONLY, name, sizeof(name));
	if (loop < 0)
		skip();
	assert_int_equal(rig_disk_open(rig, name, 0) < 0, 1);
	assert_non_null(strstr(rig->error, ": cannot open for writing: "));
	assert_int_equal(rig_open(rig, name, RIG_READONLY), 0);
	assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 4096, rig->area), 0);
	rig_close(rig);
	close(loop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_bad_targets),
		TEST(test_odd_size),
		TEST(test_allow),
		TEST(test_locks),
		TEST(test_locks_qemu),
		TEST(test_not_writable),
		TEST(test_full),
		TEST(test_zeroes_written),
		TEST(test_block_device),
		TEST(test_block_device_4k),
		TEST(test_block_device_readonly),
	};

	/* Mounts of ours are nobody else's, and go with the process. */
	if (!unshare(CLONE_NEWNS))
		mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
