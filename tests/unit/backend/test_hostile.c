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

#include "fake.h"

#define W    GIO_VIRTQ_DESC_F_WRITE
#define NEXT GIO_VIRTQ_DESC_F_NEXT
#define IND  GIO_VIRTQ_DESC_F_INDIRECT

static const uint8_t ok = GIO_VIRTIO_BLK_S_OK, ioerr = GIO_VIRTIO_BLK_S_IOERR;

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
	fake_until(reg_read(0x070) & GIO_VIRTIO_STATUS_NEEDS_RESET);
	fake_until(reg_read(0x060) & GIO_VIRTIO_MMIO_INT_CONFIG);
	fake_until(__atomic_load_n(&fake_log_lines, __ATOMIC_SEQ_CST) > lines_before);
	fake_reset();
	assert_int_equal(fake_log_lines, lines_before + 1);
	assert_int_equal(xen.mapped, 0);
	fake_probe(guest.features);
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
		gd_vdev_read(guest.vdev, offset, 8);
		gd_vdev_write(guest.vdev, offset, 8, UINT64_MAX);
	}
	fake_still_works();
}

static void test_unbounded_queue_sel(void **state)
{
	(void)state;
	fake_start(&(struct fake_setup){0});
	reg_write(0x030, 0xfffffff0);
	reg_write(0x038, 16);
	reg_write(0x080, 1);
	reg_write(0x044, 1);
	assert_int_equal(reg_read(0x044), 0);
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
		reg_write(0x038, bad[i]);
		reg_write(0x084, 0x80000000);
		reg_write(0x094, 0x80000000);
		reg_write(0x0a4, 0x80000000);
		reg_write(0x044, 1);
		assert_int_equal(reg_read(0x044), 0);
		assert_int_equal(reg_read(0x070), 0xb | GIO_VIRTIO_STATUS_NEEDS_RESET);
		assert_int_equal(reg_read(0x060), 0); /* before DRIVER_OK there is nobody to interrupt */
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
	mapped = xen.mapped;
	for (unsigned i = 0; i < 10; i++) {
		reg_write(0x030, 0);
		reg_write(0x044, 1);
		reg_write(0x070, 0xf);
	}
	assert_int_equal(threads_count(), threads);
	assert_int_equal(xen.mapped, mapped);
	assert_int_equal(xen.maps, 3);
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
	assert_int_equal(xen.copies, 0);
	assert_false(fake_used_now(&guest.vq[0]));
	fake_driver_ok();
	fake_used(&guest.vq[0], 1); /* without a kick */
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
		disk.next_size = (1 << 20) - 512 * (1 + i % 2);
		gd_vdev_refresh(guest.vdev);
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
		uint32_t page = guest.next_page, bits;

		for (unsigned q = 0; q < 2; q++) {
			fake_request(q, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
			fake_kick(q);
		}
		for (unsigned q = 0; q < 2; q++)
			fake_used(&guest.vq[q], 1);
		fake_until((bits = reg_read(0x060)) & GIO_VIRTIO_MMIO_INT_QUEUE);
		reg_write(0x064, bits);
		if (bits & GIO_VIRTIO_MMIO_INT_CONFIG)
			__atomic_fetch_add(&a.config, 1, __ATOMIC_SEQ_CST);
		guest.next_page = page;
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
		xen.grants[guest.next_page + part] = FAKE_NONE;
		fake_queue_ready(0, 64);
		assert_int_equal(reg_read(0x044), 0);
		assert_true(reg_read(0x070) & GIO_VIRTIO_STATUS_NEEDS_RESET);
		assert_int_equal(xen.mapped, 0);
		assert_int_equal(lines_now(), lines + 1);
	}
	fake_reset();
	fake_probe(FAKE_FEATURES);
	xen.grants[guest.next_page + 2] = FAKE_READONLY; /* a used ring that cannot be written */
	fake_queue_ready(0, 64);
	assert_int_equal(reg_read(0x044), 0);
	assert_int_equal(xen.mapped, 0);
	fake_reset();
	fake_probe(FAKE_FEATURES);
	xen.grants[guest.next_page] = xen.grants[guest.next_page + 1] = FAKE_READONLY; /* that is enough for these */
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
	guest.vq[0] = (struct fake_vq){.size = 256,
				       .desc = (void *)(fake_page(page) + 4080),
				       .avail = (void *)(fake_page(page + 2) + 4094),
				       .used = (void *)(fake_page(page + 4) + 4092)};
	guest.next_page = 200;
	reg_write(0x030, 0);
	reg_write(0x038, 256);
	reg_write(0x080, (uint32_t)fake_addr(page, 4080));
	reg_write(0x084, 0x80000000);
	reg_write(0x090, (uint32_t)fake_addr(page + 2, 4094));
	reg_write(0x094, 0x80000000);
	reg_write(0x0a0, (uint32_t)fake_addr(page + 4, 4092));
	reg_write(0x0a4, 0x80000000);
	reg_write(0x044, 1);
	fake_driver_ok();
	assert_int_equal(xen.mapped, 6);
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
	__atomic_store_n(&guest.vq[0].avail->idx, (uint16_t)(guest.vq[0].avail_idx + 257), __ATOMIC_RELEASE);
	fake_kick(0);
	broken_expect(lines);
}

static void test_head_not_checked(void **state)
{
	unsigned lines;

	(void)state;
	fake_start(&(struct fake_setup){0});
	lines = lines_now();
	fake_avail(&guest.vq[0], 256);
	fake_kick(0);
	broken_expect(lines);
	fake_avail(&guest.vq[0], UINT16_MAX);
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
	desc = guest.vq[0].desc;
	desc[0] = (struct gio_virtq_desc){fake_addr(20, 0), 16, NEXT, 0};
	fake_avail(&guest.vq[0], 0);
	fake_kick(0);
	broken_expect(lines);
	desc = guest.vq[0].desc;
	for (unsigned i = 0; i < 256; i++)
		desc[i] = (struct gio_virtq_desc){fake_addr(20, 0), 16, NEXT, (uint16_t)((i + 1) % 256)};
	fake_avail(&guest.vq[0], 77);
	fake_kick(0);
	broken_expect(lines + 1);
	guest.vq[0].desc[3] = (struct gio_virtq_desc){fake_addr(20, 0), 16, NEXT, 300};
	fake_avail(&guest.vq[0], 3);
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
	disk.hold = true;
	req = fake_request(0, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
	fake_kick(0);
	fake_until(__atomic_load_n(&disk.held, __ATOMIC_SEQ_CST) == 1);
	fake_avail(&guest.vq[0], req.head);
	fake_kick(0);
	fake_until(reg_read(0x070) & GIO_VIRTIO_STATUS_NEEDS_RESET);
	fake_disk_release();
	broken_expect(lines);
}

/* One queue of a device that lies; the others of the same device, and other devices, are not stopped by it. */
static void test_other_queues_go_on(void **state)
{
	struct fake_req req;

	(void)state;
	fake_start(&(struct fake_setup){.queues = 2});
	fake_avail(&guest.vq[0], 999);
	fake_kick(0);
	fake_until(reg_read(0x070) & GIO_VIRTIO_STATUS_NEEDS_RESET);
	req = fake_request(1, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
	fake_kick(1);
	fake_used(&guest.vq[1], 1);
	assert_int_equal(fake_status(&req), ok);
}

static void test_used_index_read_back_from_the_guest(void **state)
{
	(void)state;
	fake_start(&(struct fake_setup){0});
	for (unsigned i = 1; i < 10; i++) {
		fake_still_works();
		__atomic_store_n(&guest.vq[0].used->idx, (uint16_t)(i * 1000), __ATOMIC_SEQ_CST);
		guest.vq[0].last_used = (uint16_t)i; /* where the device goes on, whatever the guest has written */
		struct fake_req req = fake_request(0, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);

		fake_kick(0);
		fake_until(__atomic_load_n(&guest.vq[0].used->idx, __ATOMIC_ACQUIRE) == (uint16_t)(2 * i));
		assert_int_equal(guest.vq[0].used->ring[2 * i - 1].id, req.head);
		guest.vq[0].last_used = (uint16_t)(2 * i);
		__atomic_store_n(&guest.vq[0].avail->ring[256], guest.vq[0].last_used, __ATOMIC_SEQ_CST);
	}
}

/* ---- requests that lie: an error for them, and nothing for anybody else ---- */

/* A chain of these pieces between two good requests. Returns the used length; the status goes where it says. */
static uint32_t between_good_ones(const struct fake_buf *bufs, unsigned count)
{
	struct fake_req before, after;
	struct fake_vq *vq = &guest.vq[0];
	uint32_t length = UINT32_MAX;
	uint16_t head;

	before = fake_request(0, GIO_VIRTIO_BLK_T_IN, 0, 4096, false, NULL);
	head = fake_chain(vq, bufs, count);
	fake_avail(vq, head);
	after = fake_request(0, GIO_VIRTIO_BLK_T_IN, 8, 4096, false, NULL);
	fake_kick(0);
	for (unsigned i = 0; i < 3; i++) {
		struct gio_virtq_used_elem used = fake_used(vq, 1);

		if (used.id == head)
			length = used.len;
	}
	assert_int_equal(fake_status(&before), ok);
	assert_int_equal(fake_status(&after), ok);
	assert_memory_equal(fake_page(before.data), disk.bytes, 4096);
	assert_memory_equal(fake_page(after.data), disk.bytes + 4096, 4096);
	assert_int_equal(reg_read(0x070), 0xf);
	assert_int_not_equal(length, UINT32_MAX);
	return length;
}

static uint32_t header_put(uint32_t type, uint64_t sector)
{
	uint32_t page = fake_alloc(1);
	struct gio_virtio_blk_outhdr header = {.type = type, .sector = sector};

	memcpy(fake_page(page), &header, sizeof(header));
	memset(fake_page(page) + 16, 0xee, 16);
	return page;
}

static void test_short_requests(void **state)
{
	uint32_t h;

	(void)state;
	fake_start(&(struct fake_setup){0});
	h = header_put(GIO_VIRTIO_BLK_T_IN, 0);
	const struct fake_buf short_header[] = {{fake_addr(h, 0), 15, 0}, {fake_addr(h, 16), 1, W}};
	const struct fake_buf no_header[] = {{fake_addr(h, 17), 1, W}};
	const struct fake_buf no_status[] = {{fake_addr(h, 0), 16, 0}, {fake_addr(h, 0), 512, 0}};
	const struct fake_buf empty_status[] = {{fake_addr(h, 0), 16, 0}, {fake_addr(h, 18), 0, W}};
	const struct fake_buf nothing[] = {{fake_addr(h, 0), 0, 0}};

	assert_int_equal(between_good_ones(short_header, 2), 1);
	assert_int_equal(fake_page(h)[16], ioerr);
	assert_int_equal(between_good_ones(no_header, 1), 1);
	assert_int_equal(fake_page(h)[17], ioerr);
	assert_int_equal(between_good_ones(no_status, 2), 0);
	assert_int_equal(between_good_ones(empty_status, 2), 0);
	assert_int_equal(fake_page(h)[18], 0xee);
	assert_int_equal(between_good_ones(nothing, 1), 0);
}

static void test_readable_after_writable(void **state)
{
	uint32_t h, d;

	(void)state;
	fake_start(&(struct fake_setup){0});
	h = header_put(GIO_VIRTIO_BLK_T_OUT, 0);
	d = fake_alloc(1);
	const struct fake_buf bufs[] = {{fake_addr(h, 0), 16, 0}, {fake_addr(h, 16), 1, W}, {fake_addr(d, 0), 512, 0}};

	assert_int_equal(between_good_ones(bufs, 3), 0);
	assert_int_equal(fake_page(h)[16], ioerr);
	assert_int_equal(disk.writes, 0);
}

static void test_addresses_without_grants(void **state)
{
	static const uint64_t bad[] = {0,
				       0x1000,
				       UINT64_C(1) << 62,
				       UINT64_MAX,
				       GIO_DMA_GRANT_BIT /* reference 0 */,
				       GIO_DMA_GRANT_BIT | UINT64_C(1) << 44};
	uint32_t h;

	(void)state;
	fake_start(&(struct fake_setup){0});
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		h = header_put(GIO_VIRTIO_BLK_T_IN, 0);
		const struct fake_buf header[] = {
			{bad[i], 16, 0}, {fake_addr(h, 32), 512, W}, {fake_addr(h, 16), 1, W}};
		const struct fake_buf data[] = {{fake_addr(h, 0), 16, 0}, {bad[i], 512, W}, {fake_addr(h, 17), 1, W}};
		const struct fake_buf status[] = {
			{fake_addr(h, 0), 16, 0}, {fake_addr(h, 512), 512, W}, {bad[i], 1, W}};

		assert_int_equal(between_good_ones(header, 3), 0);
		assert_int_equal(fake_page(h)[16], ioerr);
		assert_int_equal(between_good_ones(data, 3), 0);
		assert_int_equal(fake_page(h)[17], ioerr);
		assert_int_equal(between_good_ones(status, 3), 0);
	}
}

static void test_ungranted_data(void **state)
{
	uint32_t h, d;

	(void)state;
	fake_start(&(struct fake_setup){0});
	h = header_put(GIO_VIRTIO_BLK_T_OUT, 0);
	d = fake_alloc(3);
	xen.grants[d + 1] = FAKE_NONE;
	xen.grants[d + 2] = FAKE_READONLY;
	const struct fake_buf write[] = {
		{fake_addr(h, 0), 16, 0}, {fake_addr(d, 0), 8192, 0}, {fake_addr(h, 16), 1, W}};

	assert_int_equal(between_good_ones(write, 3), 1);
	assert_int_equal(fake_page(h)[16], ioerr);
	assert_int_equal(disk.writes, 0);
	h = header_put(GIO_VIRTIO_BLK_T_IN, 0);
	const struct fake_buf read[] = {{fake_addr(h, 0), 16, 0}, {fake_addr(d, 0), 8192, W}, {fake_addr(h, 16), 1, W}};

	assert_int_equal(between_good_ones(read, 3), 0);
	assert_int_equal(fake_page(h)[16], ioerr);
	/* A page that is granted for reading cannot be read into. */
	const struct fake_buf readonly[] = {
		{fake_addr(h, 0), 16, 0}, {fake_addr(d + 2, 0), 512, W}, {fake_addr(h, 17), 1, W}};

	assert_int_equal(between_good_ones(readonly, 3), 0);
	assert_int_equal(fake_page(h)[17], ioerr);
	/* But be written from. */
	memcpy(fake_page(h), &(struct gio_virtio_blk_outhdr){.type = GIO_VIRTIO_BLK_T_OUT, .sector = 100}, 16);
	const struct fake_buf from[] = {
		{fake_addr(h, 0), 16, 0}, {fake_addr(d + 2, 0), 512, 0}, {fake_addr(h, 18), 1, W}};

	assert_int_equal(between_good_ones(from, 3), 1);
	assert_int_equal(fake_page(h)[18], ok);
}

/* Status and header of a good request in the page of a bad one's: the joined copies must not join their fates. */
static void test_neighbours_in_a_page(void **state)
{
	struct fake_vq *vq = &guest.vq[0];
	uint32_t h, d;

	(void)state;
	fake_start(&(struct fake_setup){0});
	fake_still_works();
	h = fake_alloc(1);
	d = fake_alloc(8);
	for (unsigned i = 0; i < 8; i++) {
		struct gio_virtio_blk_outhdr header = {.type = GIO_VIRTIO_BLK_T_IN, .sector = i};
		const struct fake_buf bufs[] = {{fake_addr(h, i * 16), 16, 0},
						{i % 2 ? 0x1000 : fake_addr(d + i, 0), 512, W},
						{fake_addr(h, 1024 + i), 1, W}};

		memcpy(fake_page(h) + i * 16, &header, 16);
		vq->avail->ring[vq->avail_idx++ & 255] = fake_chain(vq, bufs, 3);
	}
	__atomic_store_n(&vq->avail->idx, vq->avail_idx, __ATOMIC_RELEASE);
	fake_kick(0);
	fake_used(vq, 8);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(fake_page(h)[1024 + i], i % 2 ? ioerr : ok);
		if (i % 2 == 0)
			assert_memory_equal(fake_page(d + i), disk.bytes + i * 512, 512);
	}
}

static void test_huge_lengths(void **state)
{
	static const uint32_t lengths[] = {0x7fffffff, 0xffffffff, 126 * 65536 + 512};
	uint32_t h;

	(void)state;
	fake_start(&(struct fake_setup){0});
	for (unsigned i = 0; i < 3; i++) {
		h = header_put(GIO_VIRTIO_BLK_T_IN, 0);
		const struct fake_buf read[] = {
			{fake_addr(h, 0), 16, 0}, {fake_addr(h + 1, 0), lengths[i], W}, {fake_addr(h, 16), 1, W}};
		const struct fake_buf write[] = {
			{fake_addr(h, 0), 16, 0}, {fake_addr(h + 1, 0), lengths[i], 0}, {fake_addr(h, 17), 1, W}};
		const struct fake_buf status[] = {{fake_addr(h, 0), 16, 0}, {fake_addr(h, 18), lengths[i], W}};

		assert_int_equal(between_good_ones(read, 3), 0);
		assert_int_equal(fake_page(h)[16], ioerr);
		assert_int_equal(between_good_ones(write, 3), 1);
		assert_int_equal(fake_page(h)[17], ioerr);
		between_good_ones(status, 2); /* its last byte may be anywhere: an error there, or none */
		assert_int_equal(fake_page(h)[18], 0xee);
	}
}

static void test_both_directions(void **state)
{
	uint32_t h;

	(void)state;
	fake_start(&(struct fake_setup){0});
	h = header_put(GIO_VIRTIO_BLK_T_IN, 0);
	const struct fake_buf bufs[] = {
		{fake_addr(h, 0), 16 + 512, 0}, {fake_addr(h, 1024), 512, W}, {fake_addr(h, 16), 1, W}};

	assert_int_equal(between_good_ones(bufs, 3), 0);
	assert_int_equal(fake_page(h)[16], ioerr);
}

static void test_too_many_segments(void **state)
{
	struct fake_buf bufs[131];
	uint32_t h;

	(void)state;
	fake_start(&(struct fake_setup){0});
	h = header_put(GIO_VIRTIO_BLK_T_IN, 0);
	bufs[0] = (struct fake_buf){fake_addr(h, 0), 16, 0};
	for (unsigned i = 1; i < 130; i++)
		bufs[i] = (struct fake_buf){fake_addr(h, 512), 512, W};
	bufs[130] = (struct fake_buf){fake_addr(h, 16), 1, W};
	assert_int_equal(between_good_ones(bufs, 131), 0);
	assert_int_equal(fake_page(h)[16], ioerr);
}

static void test_writes_accepted_on_a_read_only_image(void **state)
{
	uint8_t data[512] = {1}, before[512];

	(void)state;
	fake_start(&(struct fake_setup){.readonly = true});
	memcpy(before, disk.bytes, 512);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_OUT, 0, 512, true, data), ioerr);
	assert_memory_equal(disk.bytes, before, 512);
	assert_int_equal(disk.writes, 0);
}

static void test_no_capacity_check(void **state)
{
	uint8_t data[512];

	(void)state;
	fake_start(&(struct fake_setup){0});
	for (uint64_t sector = 2048; sector; sector *= 2) {
		assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_IN, sector, 512, false, data), ioerr);
		assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_OUT, sector, 512, true, data), ioerr);
	}
	assert_int_equal(disk.reads + disk.writes, 0);
}

static void test_failed_io_never_completed(void **state)
{
	uint8_t data[512];

	(void)state;
	fake_start(&(struct fake_setup){0});
	for (unsigned i = 0; i < 300; i++) { /* more than the ring has entries */
		disk.fail = 1;
		assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_IN, 0, 512, false, data), ioerr);
	}
	fake_still_works();
}

/* ---- indirect tables ---- */

static void test_indirect_tables_that_lie(void **state)
{
	struct gio_virtq_desc *t;
	uint32_t page, h;

	(void)state;
	fake_start(&(struct fake_setup){.indirect = true});
	h = header_put(GIO_VIRTIO_BLK_T_IN, 0);
	page = fake_alloc(1);
	t = (void *)fake_page(page);
	t[0] = (struct gio_virtq_desc){fake_addr(h, 0), 16, NEXT, 1};
	t[1] = (struct gio_virtq_desc){fake_addr(h, 16), 1, W, 0};
	static const uint32_t lengths[] = {0, 1, 15, 33, 16 * 129, 0xfffffff0, 0xffffffff};

	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		const struct fake_buf buf = {fake_addr(page, 0), lengths[i], IND};

		assert_int_equal(between_good_ones(&buf, 1), 0);
	}
	const struct fake_buf good = {fake_addr(page, 0), 32, IND}, nowhere = {0x1000, 32, IND};
	const struct fake_buf ungranted = {GIO_DMA_GRANT_BIT, 32, IND};

	assert_int_equal(between_good_ones(&nowhere, 1), 0);
	assert_int_equal(between_good_ones(&ungranted, 1), 0);
	t[1].flags = W | NEXT; /* a loop */
	assert_int_equal(between_good_ones(&good, 1), 0);
	assert_int_equal(fake_page(h)[16], ioerr);
	t[1] = (struct gio_virtq_desc){fake_addr(h, 17), 1, W | NEXT, 9}; /* a link outside */
	assert_int_equal(between_good_ones(&good, 1), 0);
	assert_int_equal(fake_page(h)[17], ioerr);
	t[1] = (struct gio_virtq_desc){fake_addr(page, 0), 32, IND, 0}; /* a table in the table */
	assert_int_equal(between_good_ones(&good, 1), 0);
}

/* ---- values that change between two reads ---- */

struct flipper {
	bool stop;
	uint32_t *field;
	uint32_t values[2];
};

static void *flip(void *opaque)
{
	struct flipper *f = opaque;

	for (unsigned i = 0; !__atomic_load_n(&f->stop, __ATOMIC_RELAXED); i++)
		__atomic_store_n(f->field, f->values[i % 2], __ATOMIC_RELAXED);
	return NULL;
}

/* Serve one head again and again while a field of its descriptor changes: either value may be seen, never a mixture. */
static void flip_and_serve(struct flipper *f, uint16_t head, const uint32_t expected[2])
{
	pthread_t thread;
	unsigned seen[2] = {0};

	assert_int_equal(pthread_create(&thread, NULL, flip, f), 0);
	for (unsigned i = 0; i < 400; i++) {
		struct gio_virtq_used_elem used;

		fake_avail(&guest.vq[0], head);
		fake_kick(0);
		used = fake_used(&guest.vq[0], 1);
		assert_int_equal(used.id, head);
		assert_true(used.len == expected[0] || used.len == expected[1]);
		seen[used.len == expected[1]]++;
	}
	__atomic_store_n(&f->stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_int_equal(seen[0] + seen[1], 400);
	fake_still_works();
}

static void test_descriptor_length_read_twice(void **state)
{
	struct fake_req req;

	(void)state;
	fake_start(&(struct fake_setup){0});
	req = fake_request(0, GIO_VIRTIO_BLK_T_IN, 0, 8192, false, NULL);
	fake_kick(0);
	fake_used(&guest.vq[0], 1);
	flip_and_serve(&(struct flipper){.field = &guest.vq[0].desc[req.head + 1].len, .values = {512, 8192}}, req.head,
		       (uint32_t[]){513, 8193});
}

static void test_indirect_length_read_three_times(void **state)
{
	struct gio_virtq_desc *t;
	uint32_t page, h;
	uint16_t head;

	(void)state;
	fake_start(&(struct fake_setup){.indirect = true});
	h = header_put(GIO_VIRTIO_BLK_T_IN, 0);
	page = fake_alloc(1);
	t = (void *)fake_page(page);
	t[0] = (struct gio_virtq_desc){fake_addr(h, 0), 16, NEXT, 1};
	t[1] = (struct gio_virtq_desc){fake_addr(h, 16), 1, W, 0};
	const struct fake_buf buf = {fake_addr(page, 0), 32, IND};

	head = fake_chain(&guest.vq[0], &buf, 1);
	flip_and_serve(&(struct flipper){.field = &guest.vq[0].desc[head].len, .values = {32, 0xfffffff0}}, head,
		       (uint32_t[]){1, 0});
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
		T(test_short_requests),
		T(test_readable_after_writable),
		T(test_addresses_without_grants),
		T(test_ungranted_data),
		T(test_neighbours_in_a_page),
		T(test_huge_lengths),
		T(test_both_directions),
		T(test_too_many_segments),
		T(test_writes_accepted_on_a_read_only_image),
		T(test_no_capacity_check),
		T(test_failed_io_never_completed),
		T(test_indirect_tables_that_lie),
		T(test_descriptor_length_read_twice),
		T(test_indirect_length_read_three_times),
	};

	return cmocka_run_group_tests_name("hostile", tests, NULL, NULL);
}
