/* SPDX-License-Identifier: MIT */
/*
 * Fault loops: the n-th operation of a kind fails, n = 1, 2, ..., until a whole life of a device goes by without one.
 * However it fails, nothing is leaked, nobody hangs, and afterwards the same life succeeds.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "tests/unit/backend/fake.h"

/* ---- the system's failures: the linker sends the device's calls here (--wrap) ---- */

static unsigned fail_system; /* the n-th next call; counts down */
static bool refuse_uring, refuse_threads;

static bool system_fails(void)
{
	unsigned n = __atomic_load_n(&fail_system, __ATOMIC_SEQ_CST);

	while (n > 0)
		if (__atomic_compare_exchange_n(&fail_system, &n, n - 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return n == 1;
	return false;
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
	return system_fails() ? NULL : __real_calloc(count, size);
}

void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size)
{
	return system_fails() ? NULL : __real_aligned_alloc(align, size);
}

void *__real_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	if (!system_fails())
		return __real_mmap(addr, length, prot, flags, fd, offset);
	errno = ENOMEM;
	return MAP_FAILED;
}

int __real_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags)
{
	if (!system_fails())
		return __real_eventfd(count, flags);
	errno = EMFILE;
	return -1;
}

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *), void *opaque);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *), void *opaque);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *), void *opaque)
{
	return refuse_threads || system_fails() ? EAGAIN : __real_pthread_create(thread, attr, main, opaque);
}

int __real_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);
int __wrap_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);
int __wrap_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
	if (__atomic_load_n(&refuse_uring, __ATOMIC_SEQ_CST))
		return -EPERM;
	return system_fails() ? -ENOMEM : __real_io_uring_queue_init(entries, ring, flags);
}

/* ---- lives ---- */

/* Probe, start, and read; what fails on the way must be said by the status. True when all went well. */
static bool life(unsigned queues)
{
	uint8_t data[2048];
	bool good = true;

	fake_guest.next_page = 0;
	fake_probe(FAKE_FEATURES);
	for (unsigned q = 0; q < queues; q++)
		fake_queue_ready(q, 256);
	fake_driver_ok();
	if (fake_reg_read(0x070) & GIO_VIRTIO_STATUS_NEEDS_RESET)
		return false;
	good = fake_do(GIO_VIRTIO_BLK_T_IN, 4, sizeof(data), false, data) == GIO_VIRTIO_BLK_S_OK;
	if (good)
		assert_memory_equal(data, fake_disk.bytes + 4 * 512, sizeof(data));
	return fake_do(GIO_VIRTIO_BLK_T_OUT, 4, sizeof(data), true, data) == GIO_VIRTIO_BLK_S_OK && good;
}

static void test_maps_fail(void **state)
{
	static const int errors[] = {EINVAL, ENOMEM, ENOSPC};
	unsigned n;

	(void)state;
	fake_open(&(struct fake_setup){.queues = 2});
	for (n = 1;; n++) {
		fake_xen.fail_map = n;
		fake_xen.fail_errno = errors[n % 3];
		bool good = life(2), struck = fake_xen.fail_map == 0;

		assert_int_equal(good, !struck);
		fake_xen.fail_map = 0;
		fake_reset();
		assert_int_equal(fake_xen.mapped, 0);
		if (!struck)
			break;
	}
	assert_int_equal(n, 7); /* three parts of two queues */
}

/* A copy call fails as a whole (our system's fault), or a segment is refused for a time. */
static void test_copies_fail(void **state)
{
	unsigned n;

	(void)state;
	fake_open(&(struct fake_setup){0});
	for (n = 1;; n++) {
		fake_xen.fail_copy = n;
		/* Where the status byte could not be written the request is used with length 0, and says nothing. */
		bool good = life(1), struck = fake_xen.fail_copy == 0;

		assert_int_equal(good, !struck);
		fake_xen.fail_copy = 0;
		fake_reset();
		if (!struck)
			break;
	}
	assert_int_equal(n, 5); /* two requests, two calls each */
	for (n = 1;; n++) {
		fake_xen.eagain = n;
		assert_true(life(1)); /* tried again: nobody notices */
		bool struck = fake_xen.eagain == 0;

		fake_xen.eagain = 0;
		fake_reset();
		if (!struck)
			break;
	}
	assert_in_range(n, 5, 9);
}

static void test_disk_fails(void **state)
{
	unsigned n;

	(void)state;
	fake_open(&(struct fake_setup){0});
	for (n = 1;; n++) {
		fake_disk.fail = n;
		bool good = life(1), struck = fake_disk.fail == 0;

		assert_int_equal(good, !struck);
		fake_disk.fail = 0;
		fake_reset();
		if (!struck)
			break;
	}
	assert_int_equal(n, 3);
}

/* Memory, descriptors, threads, rings: opening fails cleanly and says why, and once it is open nothing does. */
static void test_system_fails(void **state)
{
	unsigned n;

	(void)state;
	for (n = 1;; n++) {
		__atomic_store_n(&fail_system, n, __ATOMIC_SEQ_CST);
		int err = fake_open(&(struct fake_setup){.queues = 2, .indirect = true});
		bool struck = __atomic_load_n(&fail_system, __ATOMIC_SEQ_CST) == 0;

		__atomic_store_n(&fail_system, 0, __ATOMIC_SEQ_CST);
		assert_int_equal(err != 0, struck);
		if (!err)
			break;
		assert_null(fake_guest.vdev);
		assert_int_equal(fake_xen.handles, 0);
		assert_int_equal(fake_disk.open, 0);
		assert_int_equal(fake_disk.queues, 0);
		assert_in_range(n, 1, 200);
	}
	assert_true(n > 20); /* it was a long way */
	assert_true(life(2));
}

static void test_disk_queue_fails(void **state)
{
	(void)state;
	fake_disk.fail_queue_open = true;
	assert_int_equal(fake_open(&(struct fake_setup){.queues = 2}), -ENOMEM);
	assert_string_equal(fake_open_error, "queue 0: cannot get its way to the disk: Cannot allocate memory");
	fake_disk.fail_queue_open = false;
	assert_int_equal(fake_open(&(struct fake_setup){.queues = 2}), 0);
	assert_true(life(2));
}

/* A system that has no io_uring for us: that is known before a guest finds the device, and not by DEVICE_NEEDS_RESET.
 */
static void test_uring_refused(void **state)
{
	(void)state;
	__atomic_store_n(&refuse_uring, true, __ATOMIC_SEQ_CST);
	assert_int_equal(fake_open(&(struct fake_setup){0}), -EPERM);
	assert_string_equal(fake_open_error,
			    "queue 0: io_uring is refused (by sysctl kernel.io_uring_disabled, or a system "
			    "call filter): Operation not permitted");
	assert_null(fake_guest.vdev);
	__atomic_store_n(&refuse_uring, false, __ATOMIC_SEQ_CST);
}

static void test_thread_refused(void **state)
{
	(void)state;
	refuse_threads = true;
	assert_int_equal(fake_open(&(struct fake_setup){0}), -EAGAIN);
	assert_string_equal(fake_open_error, "queue 0: cannot start its thread: Resource temporarily unavailable");
	refuse_threads = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
		T(test_maps_fail),	  T(test_copies_fail),	 T(test_disk_fails),	 T(test_system_fails),
		T(test_disk_queue_fails), T(test_uring_refused), T(test_thread_refused),
	};

	return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
