/* SPDX-License-Identifier: MIT */
/* The file engine on real files: every operation is checked in the file itself. */
#include "tests/unit/disk/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define MIB (1u << 20)

static void fill(char *area, size_t bytes, unsigned seed)
{
	size_t i;

	for (i = 0; i < bytes; i++)
		area[i] = (char)(seed + i * 7 + (i >> 9));
}

static void test_info(void **state)
{
	struct disk_rig *rig = *state;
	char serial[21];

	rig_image(rig, "a.raw", 3 * MIB);
	assert_int_equal(rig_disk_open(rig, rig->path, RIG_DISCARD), 0);
	assert_int_equal(rig->info.size, 3 * MIB);
	assert_int_equal(rig->info.block_size, 512);
	assert_true(rig->info.physical_size >= 512 && rig->info.physical_size <= 4096);
	assert_true(rig->info.align >= 1 && rig->info.align <= 4096);
	assert_true(rig->info.max_discard > 0 && rig->info.max_write_zeroes > 0);
	assert_true(rig->info.flush && rig->info.multi_queue && rig->info.fenced && !rig->info.readonly);
	assert_int_equal(strlen(rig->info.serial), 20);
	strcpy(serial, rig->info.serial);
	rig_close(rig);
	assert_int_equal(rig_disk_open(rig, rig->path, RIG_READONLY | RIG_DISCARD), 0);
	assert_string_equal(rig->info.serial, serial); /* stable */
	assert_true(rig->info.readonly && !rig->info.max_discard && !rig->info.max_write_zeroes);
	rig_close(rig);
	assert_int_equal(rig_disk_open(rig, rig->path, 0), 0);
	assert_int_equal(rig->info.max_discard, 0);
	rig_close(rig);
	rig_image(rig, "b.raw", MIB);
	assert_int_equal(rig_disk_open(rig, rig->path, 0), 0);
	assert_string_not_equal(rig->info.serial, serial);
	assert_int_equal(rig_log_lines(rig), 0);
}

/* Writes at and about every border, read back by the engine and by others; neighbours stay as they were. */
static void read_write(struct disk_rig *rig, unsigned flags)
{
	static const struct {
		uint64_t offset, length;
	} cases[] = {{0, 512},		{512, 512}, {3584, 1024},	  {4096, 4096},
		     {MIB - 512, 1024}, {MIB, MIB}, {2 * MIB - 512, 512}, {2 * MIB - 65536, 65536},
		     {0, 2 * MIB}};
	char *before = malloc(2 * MIB), *after = malloc(2 * MIB);
	size_t i;

	rig_image(rig, "a.raw", 2 * MIB);
	assert_int_equal(rig_open(rig, rig->path, flags), 0);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		rig_image_read(rig, before, 0, 2 * MIB);
		fill(rig->area, cases[i].length, (unsigned)i);
		assert_int_equal(rig_io(rig, GD_DISK_WRITE, cases[i].offset, cases[i].length, rig->area), 0);
		memcpy(before + cases[i].offset, rig->area, cases[i].length);
		rig_image_read(rig, after, 0, 2 * MIB);
		assert_memory_equal(before, after, 2 * MIB);
		memset(rig->area, 0xee, cases[i].length + 16);
		assert_int_equal(rig_io(rig, GD_DISK_READ, cases[i].offset, cases[i].length, rig->area), 0);
		assert_memory_equal(rig->area, after + cases[i].offset, cases[i].length);
		assert_int_equal((unsigned char)rig->area[cases[i].length], 0xee);
	}
	assert_int_equal(rig_io(rig, GD_DISK_FLUSH, 0, 0, NULL), 0);
	free(before);
	free(after);
}

static void test_read_write_direct(void **state)
{
	struct disk_rig *rig = *state;

	read_write(rig, 0);
	assert_int_equal(rig_logged(rig, "page cache"),
			 0); /* /var/tmp has O_DIRECT, or this test proves less than it says */
}

static void test_read_write_buffered(void **state)
{
	read_write(*state, RIG_BUFFERED);
}

/* Memory aligned to what info.align says and no more, down to one block. */
static void test_alignment(void **state)
{
	struct disk_rig *rig = *state;
	char wanted[4096], *buf;

	rig_image(rig, "a.raw", MIB);
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	buf = rig->area + rig->info.align;
	assert_int_equal(rig_io(rig, GD_DISK_READ, 1024, 1536, buf), 0);
	rig_image_read(rig, wanted, 1024, 1536);
	assert_memory_equal(buf, wanted, 1536);
	rig_close(rig);
	assert_int_equal(rig_open(rig, rig->path, RIG_BUFFERED), 0);
	assert_int_equal(rig->info.align, 1);
	assert_int_equal(rig_io(rig, GD_DISK_READ, 1024, 1536, rig->area + 3), 0);
	assert_memory_equal(rig->area + 3, wanted, 1536);
}

static void test_fua(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io io = {.op = GD_DISK_WRITE, .offset = 8192, .length = 4096, .buf = rig->area, .fua = true};
	char after[8192];

	rig_image(rig, "a.raw", MIB);
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	fill(rig->area, 4096, 99);
	assert_int_equal(rig_run(rig, &io), 0);
	rig_image_read(rig, after, 8192, 4096);
	assert_memory_equal(after, rig->area, 4096);
	io.op = GD_DISK_WRITE_ZEROES;
	assert_int_equal(rig_run(rig, &io), 0);
	rig_image_read(rig, after, 8192, 4096);
	memset(rig->area, 0, 4096);
	assert_memory_equal(after, rig->area, 4096);
}

/* With a registered buffer; and when it is not registered any more, which costs the I/O nothing but time. */
static void test_registered_buffer(void **state)
{
	struct disk_rig *rig = *state;
	struct iovec memory = {.iov_base = rig->area, .iov_len = 65536};
	struct gd_disk_io io = {.op = GD_DISK_WRITE, .offset = 8192, .length = 4096, .buf = rig->area + 4096};
	char after[4096];

	rig_image(rig, "a.raw", MIB);
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	assert_true(rig->info.fixed);
	for (unsigned registered = 2; registered-- > 0;) {
		bool there = registered && !io_uring_register_buffers(&rig->ring, &memory, 1);

		fill(rig->area, 8192, 7 + registered);
		io.op = GD_DISK_WRITE;
		io.fixed = 1;
		assert_int_equal(rig_run(rig, &io), 0);
		assert_int_equal(io.fixed, there ? 1 : 0);
		rig_image_read(rig, after, 8192, 4096);
		assert_memory_equal(after, rig->area + 4096, 4096);
		memset(rig->area, 0, 8192);
		io.op = GD_DISK_READ;
		io.fixed = 1;
		assert_int_equal(rig_run(rig, &io), 0);
		assert_memory_equal(after, rig->area + 4096, 4096);
		if (there)
			assert_int_equal(io_uring_unregister_buffers(&rig->ring), 0);
	}
	assert_int_equal(rig_log_lines(rig), 0);
}

/* What asks for stable storage, as the kernel would see it. */
static void test_stable_storage(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io io = {.op = GD_DISK_WRITE, .length = 4096, .buf = rig->area, .done = rig_done};

	rig_image(rig, "a.raw", MIB);
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	gd_disk_submit(rig->queue, &io);
	assert_int_equal(rig_sqe(rig)->rw_flags, 0);
	rig_sqe_answer(rig, 4096);
	io.fua = true;
	gd_disk_submit(rig->queue, &io);
	assert_int_equal(rig_sqe(rig)->rw_flags, RWF_DSYNC);
	rig_sqe_answer(rig, 4096);
	assert_int_equal(rig_done_count, 2);
	io.op = GD_DISK_WRITE_ZEROES;
	gd_disk_submit(rig->queue, &io);
	assert_int_equal(rig_sqe(rig)->opcode, IORING_OP_FALLOCATE);
	rig_sqe_answer(rig, 0);
	assert_int_equal(rig_done_count, 2);
	assert_int_equal(rig_sqe(rig)->opcode, IORING_OP_FSYNC);
	assert_int_equal(rig_sqe(rig)->fsync_flags, IORING_FSYNC_DATASYNC);
	rig_sqe_answer(rig, 0);
	assert_int_equal(rig_done_count, 3);
	io.op = GD_DISK_FLUSH;
	gd_disk_submit(rig->queue, &io);
	assert_int_equal(rig_sqe(rig)->opcode, IORING_OP_FSYNC);
	rig_sqe_answer(rig, -EIO);
	assert_int_equal(io.result, -EIO);
}

/* Short reads and writes go on where they stopped, at a whole block. */
static void test_short_transfers(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io io = {.offset = 65536, .length = 8192, .buf = rig->area, .done = rig_done};
	unsigned rounds;

	rig_image(rig, "a.raw", MIB);
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	for (rounds = 1; rounds <= 2; rounds++) {
		io.op = rounds == 1 ? GD_DISK_READ : GD_DISK_WRITE;
		gd_disk_submit(rig->queue, &io);
		assert_int_equal(rig_sqe(rig)->len, 8192);
		rig_sqe_answer(rig, 512);
		assert_int_equal(rig_sqe(rig)->len, 8192 - 512);
		assert_int_equal(rig_sqe(rig)->off, 65536 + 512);
		assert_ptr_equal((char *)(uintptr_t)rig_sqe(rig)->addr, rig->area + 512);
		rig_sqe_answer(rig, 4096 + 100);
		assert_int_equal(rig_sqe(rig)->len, 8192 - 512 - 4096);
		assert_int_equal(rig_sqe(rig)->off, 65536 + 512 + 4096);
		assert_ptr_equal((char *)(uintptr_t)rig_sqe(rig)->addr, rig->area + 512 + 4096);
		rig_sqe_answer(rig, 8192 - 512 - 4096);
		assert_int_equal(rig_done_count, rounds);
		assert_int_equal(io.result, 0);
	}
	gd_disk_submit(rig->queue, &io); /* and one that gets nowhere ends */
	rig_sqe_answer(rig, 100);
	assert_int_equal(io.result, -EIO);
}

/* Interrupted calls are tried again, but not for ever. */
static void test_interrupted(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io io = {.op = GD_DISK_READ, .length = 512, .buf = rig->area, .done = rig_done};
	unsigned i;

	rig_image(rig, "a.raw", MIB);
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	gd_disk_submit(rig->queue, &io);
	for (i = 0; i < 100 && !rig_done_count; i++)
		rig_sqe_answer(rig, -EINTR);
	assert_in_range(i, 2, 50);
	assert_int_equal(io.result, -EINTR);
}

/* [offset, offset + length) is zero, a block to each side is not. */
static void zeroed_exactly(struct disk_rig *rig, uint64_t offset, uint64_t length)
{
	char *after = malloc(length + 1024);
	uint64_t i;

	rig_image_read(rig, after, offset - 512, length + 1024);
	for (i = 0; i < length; i++)
		if (after[512 + i])
			fail_msg("byte %llu of %llu at %llu is not zero", (unsigned long long)i,
				 (unsigned long long)length, (unsigned long long)offset);
	assert_int_not_equal(*(uint64_t *)(void *)(after + 504), 0);
	assert_int_not_equal(*(uint64_t *)(void *)(after + 512 + length), 0);
	free(after);
}

static void zero_cases(struct disk_rig *rig, unsigned flags)
{
	struct gd_disk_io io = {.op = GD_DISK_WRITE_ZEROES, .offset = 512, .length = 512};
	uint64_t full;

	assert_int_equal(rig_open(rig, rig->path, flags), 0);
	full = rig_image_used(rig);
	assert_int_equal(rig_run(rig, &io), 0);
	zeroed_exactly(rig, 512, 512);
	io.offset = 65536 + 512; /* longer than the area of zeroes, and of odd length */
	io.length = 3 * 262144 - 1536;
	assert_int_equal(rig_run(rig, &io), 0);
	zeroed_exactly(rig, io.offset, io.length);
	assert_int_equal(rig_image_used(rig), full);
	io.unmap = true;
	io.offset = 2 * MIB;
	io.length = MIB;
	assert_int_equal(rig_run(rig, &io), 0);
	zeroed_exactly(rig, io.offset, io.length);
	if (flags & RIG_DISCARD)
		assert_true(rig_image_used(rig) <= full - MIB);
	else
		assert_int_equal(rig_image_used(rig), full);
}

static void test_write_zeroes(void **state)
{
	struct disk_rig *rig = *state;

	rig_image(rig, "a.raw", 4 * MIB);
	zero_cases(rig, RIG_DISCARD);
}

static void test_write_zeroes_no_discard(void **state)
{
	struct disk_rig *rig = *state;

	rig_image(rig, "a.raw", 4 * MIB);
	zero_cases(rig, 0);
}

static void test_discard(void **state)
{
	struct disk_rig *rig = *state;
	uint64_t full;

	rig_image(rig, "a.raw", 4 * MIB);
	assert_int_equal(rig_open(rig, rig->path, RIG_DISCARD), 0);
	full = rig_image_used(rig);
	assert_int_equal(rig_io(rig, GD_DISK_DISCARD, MIB, MIB, NULL), 0);
	assert_true(rig_image_used(rig) <= full - MIB);
	zeroed_exactly(rig, MIB, MIB);
}

static void test_random_direct(void **state)
{
	struct disk_rig *rig = *state;

	rig_image(rig, "a.raw", 8 * MIB);
	assert_int_equal(rig_open(rig, rig->path, RIG_DISCARD), 0);
	rig_random(rig, 1, 4000);
}

static void test_random_buffered(void **state)
{
	struct disk_rig *rig = *state;

	rig_image(rig, "a.raw", 8 * MIB);
	assert_int_equal(rig_open(rig, rig->path, RIG_DISCARD | RIG_BUFFERED), 0);
	rig_random(rig, 2, 4000);
}

/* A ring as grantiod's: one thread, and nothing happens but when it asks. */
static void test_random_deferred(void **state)
{
	struct disk_rig *rig = *state;

	rig_ring_deferred(rig);
	rig_image(rig, "a.raw", 8 * MIB);
	assert_int_equal(rig_open(rig, rig->path, RIG_DISCARD), 0);
	rig_random(rig, 41, 1500);
}

/* A ring with fewer SQEs than I/Os: it is submitted on the way. */
static void test_ring_full(void **state)
{
	struct disk_rig *rig = *state;

	rig_image(rig, "a.raw", 8 * MIB);
	rig->ring_entries = 4;
	assert_int_equal(rig_open(rig, rig->path, RIG_DISCARD), 0);
	rig_random(rig, 3, 1500);
}

static void test_more_than_depth(void **state)
{
	struct disk_rig *rig = *state;
	unsigned i, n = 4 * RIG_DEPTH;
	struct gd_disk_io *ios = calloc(n, sizeof(*ios));
	char wanted[512];

	rig_image(rig, "a.raw", 8 * MIB);
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	for (i = 0; i < n; i++) {
		ios[i] = (struct gd_disk_io){.op = GD_DISK_READ,
					     .offset = i * 4096u,
					     .length = 512,
					     .buf = rig->area + i * 512,
					     .done = rig_done};
		gd_disk_submit(rig->queue, &ios[i]);
	}
	assert_int_equal(gd_disk_queue_busy(rig->queue), n);
	rig_wait_idle(rig);
	assert_int_equal(rig_done_count, n);
	for (i = 0; i < n; i++) {
		assert_int_equal(ios[i].result, 0);
		rig_image_read(rig, wanted, i * 4096u, 512);
		assert_memory_equal(rig->area + i * 512, wanted, 512);
	}
	free(ios);
}

static struct disk_rig *resubmit_rig;
static unsigned resubmit_left;

static void resubmit(struct gd_disk_io *io)
{
	rig_done_count++;
	if (resubmit_left && resubmit_left--)
		gd_disk_submit(resubmit_rig->queue, io);
}

/* `done` submits again and again, what fails at once: no recursion (a million frames would not fit). */
static void test_done_submits(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io io = {.op = GD_DISK_WRITE, .length = 512, .buf = rig->area, .done = resubmit};

	rig_image(rig, "a.raw", MIB);
	assert_int_equal(rig_open(rig, rig->path, RIG_READONLY), 0);
	resubmit_rig = rig;
	resubmit_left = 1000000;
	gd_disk_submit(rig->queue, &io);
	assert_int_equal(rig_done_count, 1000001);
	assert_int_equal(gd_disk_queue_busy(rig->queue), 0);
	io.op = GD_DISK_READ;
	resubmit_left = 1000;
	gd_disk_submit(rig->queue, &io);
	rig_wait_idle(rig);
	assert_int_equal(rig_done_count, 1001002);
	assert_int_equal(io.result, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_info),
		TEST(test_read_write_direct),
		TEST(test_read_write_buffered),
		TEST(test_alignment),
		TEST(test_fua),
		TEST(test_registered_buffer),
		TEST(test_stable_storage),
		TEST(test_short_transfers),
		TEST(test_interrupted),
		TEST(test_write_zeroes),
		TEST(test_write_zeroes_no_discard),
		TEST(test_discard),
		TEST(test_random_direct),
		TEST(test_random_buffered),
		TEST(test_random_deferred),
		TEST(test_ring_full),
		TEST(test_more_than_depth),
		TEST(test_done_submits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
