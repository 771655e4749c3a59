/* SPDX-License-Identifier: MIT */
/* Synchronous transfers over a fake driver: splitting, full rings, many threads, failures, and an orderly end. */
#include "client/disk.h"
#include "tests/unit/client/fake_blk.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

static struct gp_disk *disk;
static char error[256];
static bool by_messages;

static int open_with(unsigned buffers, unsigned timeout_ms)
{
	const struct gp_disk_config config = {.machine = "m",
					      .domid = 1,
					      .name = "xvda",
					      .buffers = buffers,
					      .messages = by_messages,
					      .wait_ms = 1000,
					      .timeout_ms = timeout_ms};

	error[0] = '\0';
	return gp_disk_open(&disk, &config, error, sizeof(error));
}

static int setup(void **state)
{
	(void)state;
	fake_reset();
	return 0;
}

/* The leak oracle: whatever a test did, closing gives everything back. */
static void close_clean(void)
{
	struct gp_disk_leaks leaks;

	assert_int_equal(gp_disk_close(disk, &leaks), 0);
	assert_int_equal(leaks.pages, 0);
	assert_int_equal(fake.guests + fake.systems + fake.tables + fake.drivers, 0);
}

static void fill(uint8_t *p, size_t bytes, unsigned seed)
{
	for (size_t i = 0; i < bytes; i++)
		p[i] = (uint8_t)((i >> 9) + i + seed);
}

static void test_write_and_read_back(void **state)
{
	uint8_t *data = malloc(1 << 20), *back = malloc(1 << 20);

	(void)state;
	fill(data, 1 << 20, 3);
	assert_int_equal(open_with(4, 0), 0);
	assert_int_equal(gp_disk_size(disk), FAKE_DISK_BYTES);
	assert_int_equal(gp_disk_write(disk, data, 512 * 3, 1 << 20), 0);
	assert_int_equal(fake.requests, 4);
	assert_int_equal(fake.largest, GP_CHUNK_BYTES);
	assert_memory_equal(fake.disk + 512 * 3, data, 1 << 20);
	assert_int_equal(gp_disk_read(disk, back, 512 * 3, 1 << 20), 0);
	assert_memory_equal(back, data, 1 << 20);
	close_clean();
	free(data);
	free(back);
}

static void test_small_segments(void **state)
{
	uint8_t data[8192];

	(void)state;
	fill(data, sizeof(data), 9);
	fake.info.size_max = 1000;
	fake.info.seg_max = 3;
	assert_int_equal(open_with(2, 0), 0);
	assert_int_equal(gp_disk_write(disk, data, 4096, sizeof(data)), 0);
	assert_int_equal(fake.largest, 2560);
	assert_memory_equal(fake.disk + 4096, data, sizeof(data));
	close_clean();
}

static void test_one_buffer_and_a_ring_of_one(void **state)
{
	uint8_t *data = malloc(1 << 20);

	(void)state;
	fill(data, 1 << 20, 5);
	fake.ring = 1;
	assert_int_equal(open_with(1, 0), 0);
	assert_int_equal(gp_disk_write(disk, data, 0, 1 << 20), 0);
	assert_memory_equal(fake.disk, data, 1 << 20);
	close_clean();
	free(data);
}

static void test_a_full_ring_is_waited_for(void **state)
{
	uint8_t *data = malloc(2 << 20);

	(void)state;
	fill(data, 2 << 20, 6);
	fake.ring = 2;
	fake.full_first = true;
	assert_int_equal(open_with(8, 0), 0);
	assert_int_equal(gp_disk_write(disk, data, 0, 2 << 20), 0);
	assert_int_equal(fake.most_in_flight, 2);
	assert_memory_equal(fake.disk, data, 2 << 20);
	close_clean();
	free(data);
}

static void test_a_ring_that_never_has_room(void **state)
{
	uint8_t data[512] = {0};

	(void)state;
	fake.ring = 0;
	assert_int_equal(open_with(1, 0), 0);
	assert_int_equal(gp_disk_write(disk, data, 0, sizeof(data)), -ENOSPC);
	assert_int_equal(gp_disk_flush(disk), -ENOSPC);
	close_clean();
}

#define THREADS 6

static void *thread_main(void *arg)
{
	unsigned me = *(unsigned *)arg;
	size_t bytes = 300 * 1024;
	uint64_t at = (uint64_t)me * 512 * 1024;
	uint8_t *data = malloc(bytes), *back = malloc(bytes);
	intptr_t err = 0;

	for (unsigned round = 0; round < 20 && !err; round++) {
		fill(data, bytes, me * 100 + round);
		err = gp_disk_write(disk, data, at, bytes);
		if (!err)
			err = gp_disk_flush(disk);
		if (!err)
			err = gp_disk_read(disk, back, at, bytes);
		if (!err && memcmp(data, back, bytes) != 0)
			err = -EILSEQ;
	}
	free(data);
	free(back);
	return (void *)err;
}

static void test_many_threads_share_few_buffers(void **state)
{
	pthread_t threads[THREADS];
	unsigned ids[THREADS];
	void *err;

	(void)state;
	fake.ring = 3;
	assert_int_equal(open_with(3, 30000), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		ids[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, thread_main, &ids[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &err);
		assert_null(err);
	}
	assert_int_equal(fake.flushes, THREADS * 20);
	close_clean();
}

static void test_ranges_are_cut_to_the_device_limits(void **state)
{
	(void)state;
	memset(fake.disk, 0xaa, sizeof(fake.disk));
	assert_int_equal(open_with(2, 0), 0);
	assert_int_equal(gp_disk_discard(disk, 512, 3 * 1024 * 512), 0);
	assert_int_equal(fake.requests, 3);
	assert_int_equal(fake.disk[511], 0xaa);
	assert_int_equal(fake.disk[512], 0xdd);
	assert_int_equal(fake.disk[512 + 3 * 1024 * 512], 0xaa);
	assert_int_equal(gp_disk_zero(disk, 0, 4096 * 512, true), 0);
	assert_int_equal(fake.requests, 5);
	assert_int_equal(fake.disk[512], 0);
	close_clean();
}

static void test_what_the_device_does_not_offer(void **state)
{
	(void)state;
	fake.info.max_discard = 0;
	fake.info.max_write_zeroes = 0;
	fake.info.flush = false;
	assert_int_equal(open_with(1, 0), 0);
	assert_int_equal(gp_disk_discard(disk, 0, 512), -EOPNOTSUPP);
	assert_int_equal(gp_disk_zero(disk, 0, 512, false), -EOPNOTSUPP);
	assert_int_equal(gp_disk_flush(disk), 0);
	assert_int_equal(fake.requests, 0);
	close_clean();
}

static void test_bad_ranges(void **state)
{
	uint8_t data[1024];

	(void)state;
	assert_int_equal(open_with(1, 0), 0);
	assert_int_equal(gp_disk_read(disk, data, 100, 512), -EINVAL);
	assert_int_equal(gp_disk_read(disk, data, 0, 100), -EINVAL);
	assert_int_equal(gp_disk_write(disk, data, FAKE_DISK_BYTES - 512, 1024), -EINVAL);
	assert_int_equal(gp_disk_discard(disk, FAKE_DISK_BYTES, 512), -EINVAL);
	assert_int_equal(fake.requests, 0);
	close_clean();
}

static void test_a_failed_part_fails_the_call(void **state)
{
	uint8_t *data = calloc(1, 1 << 20);

	(void)state;
	fake.bad_sector = 1500;
	assert_int_equal(open_with(2, 0), 0);
	assert_int_equal(gp_disk_read(disk, data, 0, 1 << 20), -EIO);
	assert_int_equal(gp_disk_read(disk, data, 0, 1 << 19), 0);
	close_clean();
	free(data);
}

static void test_no_answer_times_out(void **state)
{
	uint8_t data[512] = {0};
	int err;

	(void)state;
	assert_int_equal(open_with(1, 50), 0);
	fake_hold(true);
	assert_int_equal(gp_disk_read(disk, data, 0, sizeof(data)), -ETIMEDOUT);
	assert_int_equal(gp_disk_read(disk, data, 0, sizeof(data)), -ETIMEDOUT); /* no buffer: the first is still out */
	fake_hold(false);
	do /* until the interrupt thread has returned the abandoned buffer: bounded by the test's time limit */
		err = gp_disk_read(disk, data, 0, sizeof(data));
	while (err == -ETIMEDOUT);
	assert_int_equal(err, 0);
	close_clean();
}

/* How many waits ended with their time: counted, since how long they took says nothing on a busy machine. */
static unsigned waited_in_vain;

int __real_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until);

int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until)
{
	int err = __real_pthread_cond_timedwait(cond, mutex, until);

	waited_in_vain += err == ETIMEDOUT;
	return err;
}

static void test_a_long_transfer_times_out_once(void **state)
{
	uint8_t *data = calloc(1, 1 << 20);

	(void)state;
	assert_int_equal(open_with(4, 50), 0);
	fake_hold(true);
	waited_in_vain = 0;
	assert_int_equal(gp_disk_write(disk, data, 0, 1 << 20), -ETIMEDOUT);
	assert_int_equal(waited_in_vain, 1);
	close_clean();
	free(data);
}

static void test_close_completes_what_is_in_flight(void **state)
{
	uint8_t data[512] = {0};

	(void)state;
	assert_int_equal(open_with(1, 50), 0);
	fake_hold(true);
	assert_int_equal(gp_disk_read(disk, data, 0, sizeof(data)), -ETIMEDOUT);
	close_clean();
}

static void test_id(void **state)
{
	char id[GIO_BLK_ID_BYTES + 1];

	(void)state;
	assert_int_equal(open_with(1, 0), 0);
	assert_int_equal(gp_disk_id(disk, id), 0);
	assert_string_equal(id, "twenty characters id");
	close_clean();
}

static void test_open_says_what_failed(void **state)
{
	(void)state;
	fake.open_guest = -EBUSY;
	assert_int_equal(open_with(1, 0), -EBUSY);
	assert_string_equal(
		error, "domain 1 of machine m: cannot be its guest, since process 4711 is: Device or resource busy");
	fake.open_guest = 0;
	fake.find_disk = -ETIMEDOUT;
	assert_int_equal(open_with(1, 0), -ETIMEDOUT);
	assert_non_null(strstr(error, "no backend has answered within 1000 ms"));
	fake.find_disk = -ENOENT;
	assert_int_equal(open_with(1, 0), -ENOENT);
	assert_non_null(strstr(error, "has no disk xvda"));
	fake.find_disk = 0;
	fake.open_blk = -ENODEV;
	assert_int_equal(open_with(1, 0), -ENODEV);
	assert_non_null(strstr(error, "0x2000000"));
	fake.open_blk = 0;
	fake.info.size_max = 1;
	fake.info.seg_max = 2;
	assert_int_equal(open_with(1, 0), -ERANGE);
	assert_non_null(strstr(error, "size_max 1, seg_max 2"));
	assert_int_equal(fake.guests + fake.systems + fake.tables + fake.drivers, 0);
	assert_int_equal(fake.pages, 0);
}

/* The driver is told of the connection; both end, also when a later step fails. */
static void test_by_messages(void **state)
{
	uint8_t *data = malloc(1 << 20), *back = malloc(1 << 20);

	(void)state;
	by_messages = true;
	fake.open_messages = -EOPNOTSUPP;
	assert_int_equal(open_with(1, 0), -EOPNOTSUPP);
	assert_string_equal(error, "domain 1, disk xvda: its backend offers no messages: Operation not supported");
	fake.open_messages = -ETIMEDOUT;
	assert_int_equal(open_with(1, 0), -ETIMEDOUT);
	assert_non_null(strstr(error, "disk xvda: cannot connect to its backend by messages"));
	fake.open_messages = 0;
	fake.open_blk = -ENODEV;
	assert_int_equal(open_with(1, 0), -ENODEV);
	fake.open_blk = 0;
	fake.info.size_max = 1;
	fake.info.seg_max = 2;
	assert_int_equal(open_with(1, 0), -ERANGE);
	assert_int_equal(fake.guests + fake.systems + fake.tables + fake.drivers + fake.messages, 0);
	fake.info.size_max = fake.info.seg_max = 0;
	assert_int_equal(open_with(4, 0), 0);
	assert_int_equal(fake.messages, 1);
	fill(data, 1 << 20, 3);
	assert_int_equal(gp_disk_write(disk, data, 0, 1 << 20), 0);
	assert_int_equal(gp_disk_read(disk, back, 0, 1 << 20), 0);
	assert_memory_equal(data, back, 1 << 20);
	close_clean();
	assert_int_equal(fake.messages, 0);
	by_messages = false;
	free(data);
	free(back);
}

static void test_little_ram(void **state)
{
	uint8_t *data = malloc(1 << 20);

	(void)state;
	fill(data, 1 << 20, 8);
	fake.page_limit = GP_CHUNK_PAGES - 1;
	assert_int_equal(open_with(4, 0), -ENOMEM);
	assert_int_equal(fake.pages, 0);
	fake.page_limit = GP_CHUNK_PAGES * 2;
	assert_int_equal(open_with(4, 0), 0);
	assert_int_equal(gp_disk_write(disk, data, 0, 1 << 20), 0);
	assert_memory_equal(fake.disk, data, 1 << 20);
	close_clean();
	free(data);
}

static void test_leaks_are_told(void **state)
{
	struct gp_disk_leaks leaks;
	void *page;

	(void)state;
	assert_int_equal(open_with(1, 0), 0);
	page = gp_disk_pages(disk, 1);
	assert_non_null(page);
	fake.leak = true;
	assert_int_equal(gp_disk_close(disk, &leaks), -EBUSY);
	assert_int_equal(leaks.pages, 1);
	assert_int_equal(leaks.grants, 1);
	gio_os_pages_free(NULL, page, 1);
	assert_int_equal(gp_disk_close(NULL, &leaks), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_write_and_read_back, setup),
		cmocka_unit_test_setup(test_small_segments, setup),
		cmocka_unit_test_setup(test_one_buffer_and_a_ring_of_one, setup),
		cmocka_unit_test_setup(test_a_full_ring_is_waited_for, setup),
		cmocka_unit_test_setup(test_a_ring_that_never_has_room, setup),
		cmocka_unit_test_setup(test_many_threads_share_few_buffers, setup),
		cmocka_unit_test_setup(test_ranges_are_cut_to_the_device_limits, setup),
		cmocka_unit_test_setup(test_what_the_device_does_not_offer, setup),
		cmocka_unit_test_setup(test_bad_ranges, setup),
		cmocka_unit_test_setup(test_a_failed_part_fails_the_call, setup),
		cmocka_unit_test_setup(test_no_answer_times_out, setup),
		cmocka_unit_test_setup(test_a_long_transfer_times_out_once, setup),
		cmocka_unit_test_setup(test_close_completes_what_is_in_flight, setup),
		cmocka_unit_test_setup(test_id, setup),
		cmocka_unit_test_setup(test_open_says_what_failed, setup),
		cmocka_unit_test_setup(test_by_messages, setup),
		cmocka_unit_test_setup(test_little_ram, setup),
		cmocka_unit_test_setup(test_leaks_are_told, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
