/* SPDX-License-Identifier: MIT */
/* The registers under a hostile guest: defects of other backends (each test is named after one), shown not to be ours.
 */
#include "tests/hostile/guest.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static const unsigned sizes[] = {1, 2, 4, 8};

/* The configuration space is 72 bytes; what is behind it, and what straddles its end, reads 0 and takes nothing. */
static void unbounded_config_space_offset(void **state)
{
	const uint64_t end = GIO_VIRTIO_MMIO_CONFIG + sizeof(struct gio_virtio_blk_config);
	struct hg_scene scene;
	struct hg *hg = &scene.hg;

	hg_scene_begin(&scene, state, NULL);
	for (uint64_t offset = GIO_VIRTIO_MMIO_CONFIG; offset < GIO_VIRTIO_MMIO_BYTES; offset++)
		for (unsigned i = 0; i < 4; i++) {
			uint64_t value;

			if (offset + sizes[i] > GIO_VIRTIO_MMIO_BYTES)
				continue; /* leaves the device */
			hg_access(hg, offset, sizes[i], true, UINT64_MAX);
			value = hg_access(hg, offset, sizes[i], false, 0);
			if (offset >= end)
				assert_int_equal(value, 0);
		}
	/* What leaves it, and its neighbours: whoever answers, nothing of grantiod's memory. */
	for (uint64_t offset = GIO_VIRTIO_MMIO_BYTES - 7; offset < GIO_VIRTIO_MMIO_BYTES + 16; offset++)
		for (unsigned i = 0; i < 4; i++) {
			hg_access(hg, offset, sizes[i], true, UINT64_MAX);
			hg_access(hg, offset, sizes[i], false, 0);
		}
	assert_int_equal(hg_access(hg, GIO_VIRTIO_MMIO_CONFIG, 4, false, 0), HG_IMAGE / 512);
	hg_scene_end(&scene);
}

static void unbounded_queue_sel(void **state)
{
	static const uint32_t selections[] = {4, 5, 16, 255, 256, 0x7fffffff, 0x80000000, 0xfffffff0, UINT32_MAX};
	struct hg_scene scene;
	struct hg *hg = &scene.hg;

	hg_scene_begin(&scene, state, NULL);
	hg_probe(hg, HG_FEATURES);
	for (unsigned i = 0; i < sizeof(selections) / sizeof(selections[0]); i++) {
		hg_write(hg, GIO_VIRTIO_MMIO_QUEUE_SEL, selections[i]);
		assert_int_equal(hg_read(hg, GIO_VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
		for (uint64_t offset = GIO_VIRTIO_MMIO_QUEUE_NUM; offset <= GIO_VIRTIO_MMIO_QUEUE_RESET; offset += 4)
			if (offset != GIO_VIRTIO_MMIO_STATUS)
				hg_write(hg, offset, 1);
		assert_int_equal(hg_read(hg, GIO_VIRTIO_MMIO_QUEUE_READY), 0);
	}
	/* The real ones took nothing of it. */
	hg_write(hg, GIO_VIRTIO_MMIO_QUEUE_SEL, 0);
	assert_int_equal(hg_read(hg, GIO_VIRTIO_MMIO_QUEUE_READY), 0);
	hg_scene_end(&scene);
}

static void ready_expect_broken(struct hg *hg, unsigned size)
{
	hg_write(hg, GIO_VIRTIO_MMIO_QUEUE_SEL, 0);
	hg_write(hg, GIO_VIRTIO_MMIO_QUEUE_NUM, size);
	for (uint64_t offset = GIO_VIRTIO_MMIO_QUEUE_DESC_LOW; offset <= GIO_VIRTIO_MMIO_QUEUE_DEVICE_HIGH;
	     offset += 16) {
		hg_write(hg, offset, HG_FIRST * HG_PAGE);
		hg_write(hg, offset + 4, 0x80000000);
	}
	hg_write(hg, GIO_VIRTIO_MMIO_QUEUE_READY, 1);
	assert_int_equal(hg_read(hg, GIO_VIRTIO_MMIO_QUEUE_READY), 0);
	assert_true(hg_read(hg, GIO_VIRTIO_MMIO_STATUS) & GIO_VIRTIO_STATUS_NEEDS_RESET);
}

/* A ring of eight is one of eight: its indices wrap there. Sizes that are none, or more than offered, are refused. */
static void ring_size_from_the_guest(void **state)
{
	static const uint32_t bad[] = {0, 3, 100, 255, 512, 65536, 0x80000000, UINT32_MAX};
	struct hg_scene scene;
	struct hg *hg = &scene.hg;

	hg_scene_begin(&scene, state, NULL);
	hg_probe(hg, HG_FEATURES);
	hg_queue_place(hg, 0, 8);
	hg_queue_ready(hg, 0);
	hg_driver_ok(hg);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_IN, i, 512), GIO_VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		hg_probe(hg, HG_FEATURES);
		ready_expect_broken(hg, bad[i]);
	}
	hg_scene_end(&scene);
}

static void queue_ready_twice(void **state)
{
	struct hg_scene scene;
	struct hg *hg = &scene.hg;
	unsigned threads;

	hg_scene_begin(&scene, state, NULL);
	hg_start(hg, 0, HG_QUEUES);
	threads = hg_threads(&scene);
	for (unsigned i = 0; i < 100; i++) {
		hg_write(hg, GIO_VIRTIO_MMIO_QUEUE_SEL, i % HG_QUEUES);
		hg_write(hg, GIO_VIRTIO_MMIO_QUEUE_READY, 1);
	}
	hg_threads_expect(&scene, threads);
	assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_IN, 0, 512), GIO_VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < 20; i++)
		hg_start(hg, 0, HG_QUEUES); /* each with a reset */
	hg_threads_expect(&scene, threads);
	hg_scene_end(&scene);
}

static void notify_before_the_queue_exists(void **state)
{
	static const uint32_t numbers[] = {0, 1, 3, 4, 16, 65536, 0x80000000, UINT32_MAX};
	struct hg_scene scene;
	struct hg *hg = &scene.hg;

	hg_scene_begin(&scene, state, NULL);
	for (unsigned step = 0; step < 4; step++) {
		if (step == 1)
			hg_probe(hg, HG_FEATURES);
		if (step == 2)
			hg_queue_place(hg, 0, HG_ENTRIES), hg_queue_ready(hg, 0);
		if (step == 3)
			hg_driver_ok(hg);
		for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
			hg_write(hg, GIO_VIRTIO_MMIO_QUEUE_NOTIFY, numbers[i]);
	}
	assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_IN, 0, 512), GIO_VIRTIO_BLK_S_OK);
	hg_scene_end(&scene);
}

/* Every offset, aligned or not, every size, read and written: all are answered, else a vCPU would hang for ever. */
static void unknown_register_left_unanswered(void **state)
{
	struct hg_scene scene;
	struct hg *hg = &scene.hg;

	hg_scene_begin(&scene, state, NULL);
	for (uint64_t offset = 0; offset < GIO_VIRTIO_MMIO_CONFIG; offset++)
		for (unsigned i = 0; i < 4; i++) {
			hg_access(hg, offset, sizes[i], false, 0);
			hg_access(hg, offset, sizes[i], true, offset * 0x0101010101010101);
		}
	hg_reset(hg);
	hg_start(hg, 0, 1);
	for (uint64_t offset = 0; offset < GIO_VIRTIO_MMIO_CONFIG; offset++)
		hg_access(hg, offset, 4, false, 0);
	assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_IN, 0, 512), GIO_VIRTIO_BLK_S_OK);
	hg_scene_end(&scene);
}

struct acknowledger {
	struct hg *hg;
	bool stop;
};

static void *acknowledge_queue(void *opaque)
{
	struct acknowledger *a = opaque;

	while (!__atomic_load_n(&a->stop, __ATOMIC_RELAXED))
		hg_write(a->hg, GIO_VIRTIO_MMIO_INTERRUPT_ACK, GIO_VIRTIO_INT_QUEUE);
	return NULL;
}

/*
 * The queues' threads set bit 0 and a vCPU clears it, all at once, while the configuration changes: nobody acknowledged
 * bit 1, so it must stand in the end, whoever wrote the register meanwhile. And bit 0 goes when it is acknowledged.
 */
static void interrupt_status_by_two_threads(void **state)
{
	struct hg_scene scene;
	struct hg *hg = &scene.hg;
	struct acknowledger a = {hg, false};
	pthread_t thread;

	hg_scene_begin(&scene, state, NULL);
	hg_start(hg, 0, HG_QUEUES);
	assert_int_equal(pthread_create(&thread, NULL, acknowledge_queue, &a), 0);
	for (unsigned i = 0; i < 200; i++) {
		unsigned slot = i % 8;

		for (unsigned q = 0; q < HG_QUEUES; q++)
			hg_push(hg, q, hg_request(hg, q, slot + 8 * q, GIO_VIRTIO_BLK_T_IN, i, hg_dma(HG_DATA), 512));
		for (unsigned q = 0; q < HG_QUEUES; q++)
			hg_kick(hg, q);
		if (i == 50)
			assert_int_equal(truncate(scene.image, 2 * HG_IMAGE), 0);
		for (unsigned q = 0; q < HG_QUEUES; q++)
			hg_used_wait(hg, q, 1);
		if (i == 50)
			th_log_wait(scene.host, "size is now", 1);
	}
	__atomic_store_n(&a.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	hg_interrupts_end(hg, GIO_VIRTIO_INT_CONFIG);
	hg_interrupts_end(hg, 0);
	hg_scene_end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HG_TEST(unbounded_config_space_offset),	  HG_TEST(unbounded_queue_sel),
		HG_TEST(ring_size_from_the_guest),	  HG_TEST(queue_ready_twice),
		HG_TEST(notify_before_the_queue_exists),  HG_TEST(unknown_register_left_unanswered),
		HG_TEST(interrupt_status_by_two_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
