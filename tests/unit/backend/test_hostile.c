/* SPDX-License-Identifier: MIT */
/*
 * A hostile guest against the device: the defects that other backends were found to have, each under its name, and
 * the ways in which a ring or a request can lie. After each the device goes on, or asks for a reset and goes on then.
 */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/backend/fake.h"

#define NEXT GIO_VIRTQ_DESC_F_NEXT

static const uint8_t ok = GIO_VIRTIO_BLK_S_OK;

static unsigned threads_count(void)
{
	DIR *dir = opendir("/proc/self/task");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

/* The device asks for a reset, says so by a configuration interrupt and one line, and works again after it. */
static void broken_expect(unsigned lines_before)
{
	fake_until(fake_reg_read(0x070) & GIO_VIRTIO_STATUS_NEEDS_RESET);
	fake_until(fake_reg_read(0x060) & GIO_VIRTIO_INT_CONFIG);
	fake_until(__atomic_load_n(&fake_log_lines, __ATOMIC_SEQ_CST) > lines_before);
	fake_reset();
	assert_int_equal(fake_log_lines, lines_before + 1);
	assert_int_equal(fake_xen.mapped, 0);
	fake_probe(fake_guest.features);
	fake_queue_ready(0, 256);
	fake_driver_ok();
	fake_still_works();
}

static unsigned lines_now(void)
{
	return __atomic_load_n(&fake_log_lines, __ATOMIC_SEQ_CST);
}

/* ---- registers ---- */

static void test_unbounded_config_offset(void **state)
{
	(void)state;
	fake_start(&(struct fake_setup){0});
	for (uint64_t offset = 0x100; offset < UINT64_C(1) << 63; offset = offset * 2 + 1) {
		gd_mmio_read(&fake_guest.mmio, offset, 8);
		gd_mmio_write(&fake_guest.mmio, offset, 8, UINT64_MAX);
	}
	fake_still_works();
}

static void test_unbounded_queue_sel(void **state)
{
	(void)state;
	fake_start(&(struct fake_setup){0});
	fake_reg_write(0x030, 0xfffffff0);
	fake_reg_write(0x038, 16);
	fake_reg_write(0x080, 1);
	fake_reg_write(0x044, 1);
	assert_int_equal(fake_reg_read(0x044), 0);
	fake_still_works();
}

/* A ring of eight is a ring of eight; sizes that are none are refused when the queue gets ready. */
static void test_ring_size_from_the_guest_ignored(void **state)
{
	static const uint32_t bad[] = {0, 3, 100, 512, 65536, UINT32_MAX};
	unsigned lines;

	(void)state;
	fake_start(&(struct fake_setup){0});
	fake_reset();
	fake_probe(FAKE_FEATURES);
	fake_queue_ready(0, 8);
	fake_driver_ok();
	for (unsigned i = 0; i < 20; i++)
		fake_still_works();
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fake_reset();
		fake_probe(FAKE_FEATURES);
		lines = lines_now();
		fake_reg_write(0x038, bad[i]);
		fake_reg_write(0x084, 0x80000000);
		fake_reg_write(0x094, 0x80000000);
		fake_reg_write(0x0a4, 0x80000000);
		fake_reg_write(0x044, 1);
		assert_int_equal(fake_reg_read(0x044), 0);
		assert_int_equal(fake_reg_read(0x070), 0xb | GIO_VIRTIO_STATUS_NEEDS_RESET);
		assert_int_equal(fake_reg_read(0x060), 0); /* before DRIVER_OK there is nobody to interrupt */
		assert_int_equal(lines_now(), lines + 1);
	}
}

static void test_queue_ready_twice_leaks_a_thread(void **state)
{
	unsigned threads, mapped;

	(void)state;
	fake_start(&(struct fake_setup){0});
	fake_still_works();
	threads = threads_count();
	mapped = fake_xen.mapped;
	for (unsigned i = 0; i < 10; i++) {
		fake_reg_write(0x030, 0);
		fake_reg_write(0x044, 1);
		fake_reg_write(0x070, 0xf);
	}
	assert_int_equal(threads_count(), threads);
	assert_int_equal(fake_xen.mapped, mapped);
	assert_int_equal(fake_xen.maps, 3);
	fake_still_works();
	for (unsigned i = 0; i < 10; i++) { /* nor does a reset leak one */
		fake_reset();
		fake_probe(FAKE_FEATURES);
		fake_queue_ready(0, 256);
		fake_driver_ok();
		fake_still_works();
	}
	assert_int_equal(threads_count(), threads);
}

static void test_notify_before_the_queue_exists(void **state)
{
	(void)state;
	fake_open(&(struct fake_setup){.queues = 2});
	fake_kick(0);
	fake_kick(1);
	fake_kick(2);
	fake_kick(UINT32_MAX);
	fake_probe(FAKE_FEATURES);
	fake_kick(0);
	fake_queue_ready(0, 256);
	fake_kick(0); /* ready, but the driver is not */
	fake_driver_ok();
	fake_kick(1);
	fake_kick(77);
	fake_still_works();
}

/* What is in the ring before DRIVER_OK is not touched before DRIVER_OK. */
static void test_nothing_before_driver_ok(void **state)
{
	struct fake_req req;

	(void)state;
	fake_open(&(struct fake_setup){0});
	fake_probe(FAKE_FEATURES);
	fake_queue_ready(0, 256);
	req = fake_request(0, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
	fake_kick(0);
	assert_int_equal(fake_xen.copies, 0);
	assert_false(fake_used_now(&fake_guest.vq[0]));
	fake_driver_ok();
	fake_used(&fake_guest.vq[0], 1); /* without a kick */
	assert_int_equal(fake_status(&req), ok);
}

struct acker {
	bool stop;
	unsigned config; /* changes of the configuration that were seen */
};

static void *resize_often(void *opaque)
{
	struct acker *a = opaque;

	for (unsigned i = 0; i < 200; i++) {
		fake_disk.next_size = (1 << 20) - 512 * (1 + i % 2);
		gd_vdev_refresh(fake_guest.vdev);
		/* The bit stays until it is acknowledged: queue interrupts that come and go must not take it along. */
		fake_until(__atomic_load_n(&a->config, __ATOMIC_SEQ_CST) == i + 1);
	}
	__atomic_store_n(&a->stop, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static void test_interrupt_status_changed_by_two_threads_without_atomics(void **state)
{
	struct acker a = {0};
	pthread_t thread;

	(void)state;
	fake_start(&(struct fake_setup){.queues = 2});
	assert_int_equal(pthread_create(&thread, NULL, resize_often, &a), 0);
	while (!__atomic_load_n(&a.stop, __ATOMIC_SEQ_CST)) {
		uint32_t page = fake_guest.next_page, bits;

		for (unsigned q = 0; q < 2; q++) {
			fake_request(q, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
			fake_kick(q);
		}
		for (unsigned q = 0; q < 2; q++)
			fake_used(&fake_guest.vq[q], 1);
		fake_until((bits = fake_reg_read(0x060)) & GIO_VIRTIO_INT_QUEUE);
		fake_reg_write(0x064, bits);
		if (bits & GIO_VIRTIO_INT_CONFIG)
			__atomic_fetch_add(&a.config, 1, __ATOMIC_SEQ_CST);
		fake_guest.next_page = page;
	}
	pthread_join(thread, NULL);
}

/* ---- mapping ---- */

static void test_abort_on_a_failed_map(void **state)
{
	unsigned lines;

	(void)state;
	fake_start(&(struct fake_setup){0});
	for (unsigned part = 0; part < 3; part++) {
		fake_reset();
		fake_probe(FAKE_FEATURES);
		lines = lines_now();
		fake_xen.grants[fake_guest.next_page + part] = FAKE_NONE;
		fake_queue_ready(0, 64);
		assert_int_equal(fake_reg_read(0x044), 0);
		assert_true(fake_reg_read(0x070) & GIO_VIRTIO_STATUS_NEEDS_RESET);
		assert_int_equal(fake_xen.mapped, 0);
		assert_int_equal(lines_now(), lines + 1);
	}
	fake_reset();
	fake_probe(FAKE_FEATURES);
	fake_xen.grants[fake_guest.next_page + 2] = FAKE_READONLY; /* a used ring that cannot be written */
	fake_queue_ready(0, 64);
	assert_int_equal(fake_reg_read(0x044), 0);
	assert_int_equal(fake_xen.mapped, 0);
	fake_reset();
	fake_probe(FAKE_FEATURES);
	fake_xen.grants[fake_guest.next_page] = fake_xen.grants[fake_guest.next_page + 1] =
		FAKE_READONLY; /* that is enough for these */
	fake_queue_ready(0, 64);
	fake_driver_ok();
	fake_still_works();
}

static void test_page_count_without_the_offset_in_page(void **state)
{
	const uint32_t page = 100;

	(void)state;
	fake_open(&(struct fake_setup){0});
	fake_probe(FAKE_FEATURES);
	fake_guest.vq[0] = (struct fake_vq){.size = 256,
					    .desc = (void *)(fake_page(page) + 4080),
					    .avail = (void *)(fake_page(page + 2) + 4094),
					    .used = (void *)(fake_page(page + 4) + 4092)};
	fake_guest.next_page = 200;
	fake_reg_write(0x030, 0);
	fake_reg_write(0x038, 256);
	fake_reg_write(0x080, (uint32_t)fake_addr(page, 4080));
	fake_reg_write(0x084, 0x80000000);
	fake_reg_write(0x090, (uint32_t)fake_addr(page + 2, 4094));
	fake_reg_write(0x094, 0x80000000);
	fake_reg_write(0x0a0, (uint32_t)fake_addr(page + 4, 4092));
	fake_reg_write(0x0a4, 0x80000000);
	fake_reg_write(0x044, 1);
	fake_driver_ok();
	assert_int_equal(fake_xen.mapped, 6);
	for (unsigned i = 0; i < 300; i++)
		fake_still_works();
}

/* ---- rings that lie ---- */

static void test_available_index_jumps(void **state)
{
	unsigned lines;

	(void)state;
	fake_start(&(struct fake_setup){0});
	fake_still_works();
	lines = lines_now();
	__atomic_store_n(&fake_guest.vq[0].avail->idx, (uint16_t)(fake_guest.vq[0].avail_idx + 257), __ATOMIC_RELEASE);
	fake_kick(0);
	broken_expect(lines);
}

static void test_head_not_checked(void **state)
{
	unsigned lines;

	(void)state;
	fake_start(&(struct fake_setup){0});
	lines = lines_now();
	fake_avail(&fake_guest.vq[0], 256);
	fake_kick(0);
	broken_expect(lines);
	fake_avail(&fake_guest.vq[0], UINT16_MAX);
	fake_kick(0);
	broken_expect(lines + 1);
}

static void test_chain_without_length_or_loop_bound(void **state)
{
	struct gio_virtq_desc *desc;
	unsigned lines;

	(void)state;
	fake_start(&(struct fake_setup){0});
	lines = lines_now();
	desc = fake_guest.vq[0].desc;
	desc[0] = (struct gio_virtq_desc){fake_addr(20, 0), 16, NEXT, 0};
	fake_avail(&fake_guest.vq[0], 0);
	fake_kick(0);
	broken_expect(lines);
	desc = fake_guest.vq[0].desc;
	for (unsigned i = 0; i < 256; i++)
		desc[i] = (struct gio_virtq_desc){fake_addr(20, 0), 16, NEXT, (uint16_t)((i + 1) % 256)};
	fake_avail(&fake_guest.vq[0], 77);
	fake_kick(0);
	broken_expect(lines + 1);
	fake_guest.vq[0].desc[3] = (struct gio_virtq_desc){fake_addr(20, 0), 16, NEXT, 300};
	fake_avail(&fake_guest.vq[0], 3);
	fake_kick(0);
	broken_expect(lines + 2);
}

/* A chain that the device already has, made available once more. */
static void test_head_in_flight_again(void **state)
{
	struct fake_req req;
	unsigned lines;

	(void)state;
	fake_start(&(struct fake_setup){0});
	lines = lines_now();
	fake_disk.hold = true;
	req = fake_request(0, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
	fake_kick(0);
	fake_until(__atomic_load_n(&fake_disk.held, __ATOMIC_SEQ_CST) == 1);
	fake_avail(&fake_guest.vq[0], req.head);
	fake_kick(0);
	fake_until(fake_reg_read(0x070) & GIO_VIRTIO_STATUS_NEEDS_RESET);
	fake_disk_release();
	broken_expect(lines);
}

/* One queue of a device that lies; the others of the same device, and other devices, are not stopped by it. */
static void test_other_queues_go_on(void **state)
{
	struct fake_req req;

	(void)state;
	fake_start(&(struct fake_setup){.queues = 2});
	fake_avail(&fake_guest.vq[0], 999);
	fake_kick(0);
	fake_until(fake_reg_read(0x070) & GIO_VIRTIO_STATUS_NEEDS_RESET);
	req = fake_request(1, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
	fake_kick(1);
	fake_used(&fake_guest.vq[1], 1);
	assert_int_equal(fake_status(&req), ok);
}

static void test_used_index_read_back_from_the_guest(void **state)
{
	(void)state;
	fake_start(&(struct fake_setup){0});
	for (unsigned i = 1; i < 10; i++) {
		fake_still_works();
		__atomic_store_n(&fake_guest.vq[0].used->idx, (uint16_t)(i * 1000), __ATOMIC_SEQ_CST);
		fake_guest.vq[0].last_used = (uint16_t)i; /* where the device goes on, whatever the guest has written */
		struct fake_req req = fake_request(0, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);

		fake_kick(0);
		fake_until(__atomic_load_n(&fake_guest.vq[0].used->idx, __ATOMIC_ACQUIRE) == (uint16_t)(2 * i));
		assert_int_equal(fake_guest.vq[0].used->ring[2 * i - 1].id, req.head);
		fake_guest.vq[0].last_used = (uint16_t)(2 * i);
		__atomic_store_n(&fake_guest.vq[0].avail->ring[256], fake_guest.vq[0].last_used, __ATOMIC_SEQ_CST);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
		T(test_unbounded_config_offset),
		T(test_unbounded_queue_sel),
		T(test_ring_size_from_the_guest_ignored),
		T(test_queue_ready_twice_leaks_a_thread),
		T(test_notify_before_the_queue_exists),
		T(test_nothing_before_driver_ok),
		T(test_interrupt_status_changed_by_two_threads_without_atomics),
		T(test_abort_on_a_failed_map),
		T(test_page_count_without_the_offset_in_page),
		T(test_available_index_jumps),
		T(test_head_not_checked),
		T(test_chain_without_length_or_loop_bound),
		T(test_head_in_flight_again),
		T(test_other_queues_go_on),
		T(test_used_index_read_back_from_the_guest),
	};

	return cmocka_run_group_tests_name("hostile", tests, NULL, NULL);
}
