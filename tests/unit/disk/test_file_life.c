/* SPDX-License-Identifier: MIT */
/* Files that are read-only, shrink, grow or end while they are in use; two queues of one file. */
#include "tests/unit/disk/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1u << 20)

static void fill(char *area, size_t bytes, unsigned seed)
{
	size_t i;

	for (i = 0; i < bytes; i++)
		area[i] = (char)(seed + i * 7 + (i >> 9));
}

static void test_readonly(void **state)
{
	static const enum gd_disk_op writes[] = {GD_DISK_WRITE, GD_DISK_DISCARD, GD_DISK_WRITE_ZEROES};
	struct disk_rig *rig = *state;
	char before[4096], after[4096];
	size_t i;

	rig_image(rig, "a.raw", MIB);
	rig_image_read(rig, before, 0, 4096);
	assert_int_equal(rig_open(rig, rig->path, RIG_READONLY | RIG_DISCARD), 0);
	for (i = 0; i < sizeof(writes) / sizeof(writes[0]); i++)
		assert_int_equal(rig_io(rig, writes[i], 0, 4096, rig->area), -EROFS);
	assert_int_equal(rig_io(rig, GD_DISK_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 4096, rig->area), 0);
	assert_memory_equal(rig->area, before, 4096);
	rig_image_read(rig, after, 0, 4096);
	assert_memory_equal(before, after, 4096);
}

static void test_shrunk(void **state)
{
	struct disk_rig *rig = *state;
	char line[256];
	unsigned i;

	rig_image(rig, "a.raw", MIB);
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	assert_int_equal(truncate(rig->path, 65536 + 700), 0);
	assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 65536, rig->area), 0);
	assert_int_equal(rig_io(rig, GD_DISK_READ, 65536 - 512, 512 + 512 + 512, rig->area), -EIO);
	snprintf(line, sizeof(line),
		 "<3>d1/xvda: %s: read of 1536 bytes at 65024: the image ends at 66236, it had 1048576", rig->path);
	assert_int_equal(rig_logged(rig, line), 1);
	for (i = 0; i < 50; i++)
		assert_int_equal(rig_io(rig, GD_DISK_READ, 512u * 1024, 4096, rig->area), -EIO);
	assert_int_equal(rig_log_lines(rig), 10);
	assert_true(gd_disk_refresh(rig->disk));
	gd_disk_info(rig->disk, &rig->info);
	assert_int_equal(rig->info.size, 65536 + 512);
}

static uint64_t size_of(const struct disk_rig *rig)
{
	struct stat st;

	assert_int_equal(stat(rig->path, &st), 0);
	return (uint64_t)st.st_size;
}

/* What is written beyond the new end is an error, and makes the image no longer; nor are blocks taken there. */
static void test_shrunk_stays(void **state)
{
	struct disk_rig *rig = *state;
	uint64_t used;

	rig_image(rig, "a.raw", MIB);
	assert_int_equal(rig_open(rig, rig->path, RIG_DISCARD), 0);
	assert_int_equal(rig_io(rig, GD_DISK_WRITE, MIB - 4096, 4096, rig->area), 0);
	assert_int_equal(truncate(rig->path, 65536), 0);
	used = rig_image_used(rig);
	assert_int_equal(rig_io(rig, GD_DISK_WRITE, MIB - 4096, 4096, rig->area), -EIO);
	assert_int_equal(rig_logged(rig, ": write of 4096 bytes at 1044480: the image ends at 65536, it had 1048576"),
			 1);
	assert_int_equal(rig_io(rig, GD_DISK_WRITE, 65536 - 512, 1024, rig->area), -EIO);
	assert_int_equal(rig_io(rig, GD_DISK_WRITE_ZEROES, 65536, 65536, NULL), -EIO);
	assert_int_equal(size_of(rig), 65536);
	assert_int_equal(rig_image_used(rig), used);
	assert_int_equal(rig_io(rig, GD_DISK_WRITE, 65536 - 4096, 4096, rig->area), 0);
	assert_int_equal(rig_io(rig, GD_DISK_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(truncate(rig->path, 2 * MIB), 0); /* and when it has grown again all is well */
	assert_int_equal(rig_io(rig, GD_DISK_WRITE, MIB - 4096, 4096, rig->area), 0);
	assert_int_equal(size_of(rig), 2 * MIB);
}

static void test_refresh(void **state)
{
	struct disk_rig *rig = *state;

	rig_image(rig, "a.raw", MIB);
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	assert_false(gd_disk_refresh(rig->disk));
	assert_int_equal(truncate(rig->path, 2 * MIB + 100), 0);
	assert_true(gd_disk_refresh(rig->disk));
	assert_false(gd_disk_refresh(rig->disk));
	gd_disk_info(rig->disk, &rig->info);
	assert_int_equal(rig->info.size, 2 * MIB);
	fill(rig->area, 4096, 5);
	assert_int_equal(rig_io(rig, GD_DISK_WRITE, 2 * MIB - 4096, 4096, rig->area), 0);
	assert_int_equal(rig_io(rig, GD_DISK_READ, 2 * MIB - 4096, 4096, rig->area), 0);
}

/* Completions that nobody waits for: other generations, slots that are free or do not exist, kinds that are none. */
static void test_stray_completion(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io io = {.op = GD_DISK_READ, .length = 4096, .buf = rig->area, .done = rig_done};
	unsigned long long user_data;
	unsigned i;

	rig_image(rig, "a.raw", MIB);
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	gd_disk_submit(rig->queue, &io);
	for (i = 0; i < 4096; i++) {
		union {
			struct io_uring_cqe cqe;
			char bytes[sizeof(struct io_uring_cqe)];
		} stray = {.bytes = {0}};

		user_data = (unsigned long long)RIG_TAG << 56 | (unsigned long long)(i & 15) << 48 | i >> 4;
		stray.cqe.user_data = user_data | (i & 1 ? 0xffffffull << 16 : 0);
		stray.cqe.res = 4096;
		gd_disk_queue_cqe(rig->queue, &stray.cqe);
	}
	assert_int_equal(rig_done_count, 0);
	rig_wait_idle(rig);
	assert_int_equal(rig_done_count, 1);
	assert_int_equal(io.result, 0);
}

static void test_cancel(void **state)
{
	struct disk_rig *rig = *state;
	unsigned i, n = 3 * RIG_DEPTH, cancelled = 0;
	struct gd_disk_io *ios = calloc(n, sizeof(*ios));

	rig_image(rig, "a.raw", MIB);
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	for (i = 0; i < n; i++) {
		ios[i] = (struct gd_disk_io){
			.op = GD_DISK_READ, .length = 512, .buf = rig->area + i * 512, .done = rig_done};
		gd_disk_submit(rig->queue, &ios[i]);
	}
	gd_disk_queue_cancel(rig->queue);
	assert_int_equal(rig_done_count, n - RIG_DEPTH); /* what waits ends at once */
	rig_wait_idle(rig);
	for (i = 0; i < n; i++) {
		assert_true(!ios[i].result || ios[i].result == -ECANCELED);
		cancelled += ios[i].result != 0;
	}
	assert_int_equal(cancelled, n - RIG_DEPTH);
	assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 512, rig->area), -ECANCELED);
	free(ios);
}

struct worker {
	struct disk_rig rig; /* a queue and a ring of its own on the same disk */
	struct gd_disk *disk;
	unsigned seed;
	int failures;
};

static void worked(struct gd_disk_io *io)
{
	(void)io; /* rig_done() counts for one thread */
}

static void *work(void *opaque)
{
	struct worker *worker = opaque;
	struct disk_rig *rig = &worker->rig;
	char *area = rig->area;
	unsigned i;

	for (i = 0; i < 200; i++) { /* each in its own half of the image */
		uint64_t offset = worker->seed * (uint64_t)MIB + i * 4096u;
		struct gd_disk_io io = {
			.op = GD_DISK_WRITE, .offset = offset, .length = 4096, .buf = area, .done = worked};

		fill(area, 4096, i + worker->seed);
		gd_disk_submit(rig->queue, &io);
		while (gd_disk_queue_busy(rig->queue))
			rig_poll(rig, 1000);
		worker->failures += io.result != 0;
		gd_disk_refresh(worker->disk);
		gd_disk_info(worker->disk, &rig->info);
	}
	return NULL;
}

static void test_two_queues(void **state)
{
	struct disk_rig *rig = *state;
	struct worker workers[2];
	pthread_t threads[2];
	char wanted[4096], after[4096];
	unsigned i, k;

	rig_image(rig, "a.raw", 2 * MIB);
	assert_int_equal(rig_disk_open(rig, rig->path, 0), 0);
	memset(workers, 0, sizeof(workers));
	for (k = 0; k < 2; k++) {
		struct worker *worker = &workers[k];

		worker->disk = rig->disk;
		worker->seed = k;
		worker->rig.area = aligned_alloc(4096, 4096);
		assert_int_equal(io_uring_queue_init(8, &worker->rig.ring, 0), 0);
		assert_int_equal(gd_disk_queue_open(&worker->rig.queue, rig->disk, &worker->rig.ring, RIG_TAG, 8), 0);
		assert_int_equal(pthread_create(&threads[k], NULL, work, worker), 0);
	}
	for (k = 0; k < 2; k++) {
		pthread_join(threads[k], NULL);
		assert_int_equal(workers[k].failures, 0);
		gd_disk_queue_close(workers[k].rig.queue);
		io_uring_queue_exit(&workers[k].rig.ring);
		free(workers[k].rig.area);
		for (i = 0; i < 200; i++) {
			fill(wanted, 4096, i + k);
			rig_image_read(rig, after, k * (uint64_t)MIB + i * 4096u, 4096);
			assert_memory_equal(wanted, after, 4096);
		}
	}
}

static void test_queue_arguments(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_queue *queue;

	rig_image(rig, "a.raw", MIB);
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	assert_int_equal(gd_disk_queue_open(&queue, rig->disk, &rig->ring, 1, 0), -EINVAL);
	assert_int_equal(gd_disk_queue_open(&queue, rig->disk, &rig->ring, 1, 32769), -EINVAL);
	gd_disk_queue_close(NULL);
	gd_disk_close(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_readonly),	     TEST(test_shrunk), TEST(test_shrunk_stays), TEST(test_refresh),
		TEST(test_stray_completion), TEST(test_cancel), TEST(test_two_queues),	 TEST(test_queue_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
