/* SPDX-License-Identifier: MIT */
/*
 * O_DIRECT where the system does not tell what it asks for, on a disk of 4096-byte sectors: found out by a read where
 * there is data, or by the first I/O that is refused. And what becomes of discards that a block device refuses.
 */
#include "tests/unit/disk/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <string.h>
#include <unistd.h>

#define MIB	 (1u << 20)
#define CACHE	 "no O_DIRECT in units of 512 bytes here: served through the page cache"
#define NO_STALE 0x04 /* FALLOC_FL_NO_HIDE_STALE */
#define PUNCH	 (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

static bool silent;  /* statx() does not tell of direct I/O */
static bool sectors; /* data is read in 4096 bytes only, holes in any way: as Linux's iomap does */

int __real_statx(int fd, const char *path, int flags, unsigned mask, struct statx *out);
int __wrap_statx(int fd, const char *path, int flags, unsigned mask, struct statx *out);
int __wrap_statx(int fd, const char *path, int flags, unsigned mask, struct statx *out)
{
	int result = __real_statx(fd, path, flags, mask, out);

	if (!result && silent)
		out->stx_mask &= ~STATX_DIOALIGN;
	return result;
}

ssize_t __real_pread64(int fd, void *buf, size_t count, off_t offset);
ssize_t __wrap_pread64(int fd, void *buf, size_t count, off_t offset);
ssize_t __wrap_pread64(int fd, void *buf, size_t count, off_t offset)
{
	bool direct = sectors && fcntl(fd, F_GETFL) & O_DIRECT, hole = lseek(fd, offset, SEEK_DATA) != offset;

	if (direct && !hole && (offset % 4096 || count % 4096)) {
		errno = EINVAL;
		return -1;
	}
	return __real_pread64(fd, buf, count, offset);
}

static int setup(void **state)
{
	silent = sectors = true;
	return rig_setup(state);
}

/* A hole, and data at 512 KiB. */
static void sparse_image(struct disk_rig *rig)
{
	int fd;

	rig_image(rig, "a.raw", 0);
	assert_int_equal(truncate(rig->path, MIB), 0);
	fd = open(rig->path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, rig->area, 4096, MIB / 2), 4096);
	close(fd);
}

static void test_probed_where_data_is(void **state)
{
	struct disk_rig *rig = *state;

	sparse_image(rig);
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	assert_int_equal(rig_logged(rig, CACHE), 1);
	assert_false(rig_open_flags(rig) & O_DIRECT);
	rig_close(rig);
	sectors = false; /* units of 512 bytes are fine */
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	assert_int_equal(rig_logged(rig, CACHE), 1);
	assert_true(rig_open_flags(rig) & O_DIRECT);
}

/* There is nothing to probe: the first I/O tells, and is done all the same, as are those beside it. */
static void test_found_out_late(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io io = {.op = GD_DISK_WRITE, .offset = 512, .length = 512, .buf = rig->area, .done = rig_done};

	rig_image(rig, "a.raw", 0);
	assert_int_equal(truncate(rig->path, MIB), 0);
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	assert_true(rig_open_flags(rig) & O_DIRECT);
	gd_disk_submit(rig->queue, &io);
	rig_sqe_answer(rig, -EINVAL);
	assert_int_equal(rig_done_count, 0);
	assert_false(rig_open_flags(rig) & O_DIRECT);
	assert_int_equal(rig_logged(rig, CACHE), 1);
	rig_sqe_answer(rig, -EINVAL); /* was in flight meanwhile */
	assert_int_equal(rig_done_count, 0);
	rig_sqe_answer(rig, 512);
	assert_int_equal(rig_done_count, 1);
	assert_int_equal(io.result, 0);
	assert_int_equal(rig_log_lines(rig), 1);
	gd_disk_submit(rig->queue, &io);
	for (unsigned i = 0; i < 100 && rig_done_count == 1; i++)
		rig_sqe_answer(rig, -EINVAL); /* that is not what is wrong */
	assert_int_equal(io.result, -EINVAL);
}

/* Where the system has told, it is taken at its word. */
static void test_told(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io io = {.op = GD_DISK_READ, .length = 512, .buf = rig->area, .done = rig_done};

	silent = sectors = false;
	rig_image(rig, "a.raw", MIB);
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	gd_disk_submit(rig->queue, &io);
	rig_sqe_answer(rig, -EINVAL);
	assert_int_equal(io.result, -EINVAL);
	assert_true(rig_open_flags(rig) & O_DIRECT);
}

static int fallocate_mode(const struct disk_rig *rig)
{
	assert_int_equal(rig_sqe(rig)->opcode, IORING_OP_FALLOCATE);
	return (int)rig_sqe(rig)->len;
}

/* By the command, by zeroing, by discarding as older kernels have it; and then no more. */
static void test_discard_of_a_device(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io io = {.op = GD_DISK_DISCARD, .offset = 65536, .length = 65536, .done = rig_done};
	char name[64];
	int loop;

	silent = sectors = false;
	rig_image(rig, "a.raw", MIB);
	loop = rig_loop(rig, 512, 0, name, sizeof(name));
	if (loop < 0)
		skip();
	assert_int_equal(rig_open(rig, name, RIG_DISCARD), 0);
	gd_disk_submit(rig->queue, &io);
	assert_int_equal(rig_sqe(rig)->opcode, IORING_OP_URING_CMD);
	rig_sqe_answer(rig, -EOPNOTSUPP);
	assert_int_equal(fallocate_mode(rig), PUNCH);
	rig_sqe_answer(rig, -EOPNOTSUPP);
	assert_int_equal(fallocate_mode(rig), PUNCH | NO_STALE);
	assert_int_equal(rig_sqe(rig)->off, 65536);
	assert_int_equal(rig_sqe(rig)->addr, 65536);
	rig_sqe_answer(rig, 0);
	assert_int_equal(rig_done_count, 1);
	assert_int_equal(io.result, 0);
	gd_disk_submit(rig->queue, &io);
	assert_int_equal(fallocate_mode(rig), PUNCH | NO_STALE); /* what it refused it is not asked again */
	rig_sqe_answer(rig, -EOPNOTSUPP);
	assert_int_equal(rig_done_count, 2);
	assert_int_equal(io.result, -EOPNOTSUPP);
	rig_close(rig);
	close(loop);
}

/* A file is never asked so: what is stale there is other files' data. */
static void test_discard_of_a_file(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io io = {.op = GD_DISK_DISCARD, .length = 65536, .done = rig_done};

	rig_image(rig, "a.raw", MIB);
	assert_int_equal(rig_open(rig, rig->path, RIG_DISCARD), 0);
	gd_disk_submit(rig->queue, &io);
	assert_int_equal(fallocate_mode(rig), PUNCH);
	rig_sqe_answer(rig, -EOPNOTSUPP);
	assert_int_equal(rig_done_count, 1);
	assert_int_equal(io.result, -EOPNOTSUPP);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, rig_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_probed_where_data_is), TEST(test_found_out_late),    TEST(test_told),
		TEST(test_discard_of_a_device),	 TEST(test_discard_of_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
