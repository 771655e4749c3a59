/* SPDX-License-Identifier: MIT */
/* Requests of every type through the whole device, with their data compared. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/backend/fake.h"

#define IN  GIO_VIRTIO_BLK_T_IN
#define OUT GIO_VIRTIO_BLK_T_OUT

#define W GIO_VIRTQ_DESC_F_WRITE

static const uint8_t ok = GIO_VIRTIO_BLK_S_OK, ioerr = GIO_VIRTIO_BLK_S_IOERR, unsupp = GIO_VIRTIO_BLK_S_UNSUPP;

static void fill(uint8_t *data, size_t length, unsigned seed)
{
	for (size_t i = 0; i < length; i++)
		data[i] = (uint8_t)(i * 13 + i / 256 + seed);
}

static void test_read(void **state)
{
	static uint8_t data[65536];

	(void)state;
	fake_start(&(struct fake_setup){0});
	fake_still_works();
	assert_int_equal(fake_do(IN, 0, sizeof(data), false, data), ok);
	assert_memory_equal(data, fake_disk.bytes, sizeof(data));
	assert_int_equal(fake_do(IN, (1 << 20) / 512 - 1, 512, false, data), ok);
	assert_memory_equal(data, fake_disk.bytes + (1 << 20) - 512, 512);
}

static void test_write(void **state)
{
	static uint8_t data[65536];
	struct gd_vdev_stats stats;

	(void)state;
	fill(data, sizeof(data), 3);
	fake_start(&(struct fake_setup){0});
	assert_int_equal(fake_do(OUT, 16, sizeof(data), true, data), ok);
	assert_memory_equal(fake_disk.bytes + 16 * 512, data, sizeof(data));
	assert_int_equal(fake_disk.fua, 0);
	gd_vdev_stats(fake_guest.vdev, &stats);
	assert_int_equal(stats.bytes_written, sizeof(data));
	assert_int_equal(stats.requests, 1);
	assert_int_equal(stats.errors, 0);
}

static void test_used_length(void **state)
{
	struct fake_req req;

	(void)state;
	fake_start(&(struct fake_setup){0});
	req = fake_request(0, IN, 0, 1024, false, NULL);
	fake_kick(0);
	assert_int_equal(fake_used(&fake_guest.vq[0], 1).len, 1025);
	assert_int_equal(fake_status(&req), ok);
	req = fake_request(0, OUT, 0, 1024, true, NULL);
	fake_kick(0);
	assert_int_equal(fake_used(&fake_guest.vq[0], 1).len, 1);
	assert_int_equal(fake_status(&req), ok);
}

/* What was not written is not counted: the status lies behind data that a failed read leaves as it was (2.7.8.2). */
static void test_used_length_of_failures(void **state)
{
	struct fake_req req;

	(void)state;
	fake_start(&(struct fake_setup){0});
	fake_disk.fail = 1;
	req = fake_request(0, IN, 0, 1024, false, NULL);
	fake_kick(0);
	assert_int_equal(fake_used(&fake_guest.vq[0], 1).len, 0);
	assert_int_equal(fake_status(&req), ioerr);
	req = fake_request(0, 77, 0, 1024, false, NULL);
	fake_kick(0);
	assert_int_equal(fake_used(&fake_guest.vq[0], 1).len, 0);
	assert_int_equal(fake_status(&req), unsupp);
	req = fake_request(0, GIO_VIRTIO_BLK_T_GET_ID, 0, 64, false, NULL);
	fake_kick(0);
	assert_int_equal(fake_used(&fake_guest.vq[0], 1).len, GIO_VIRTIO_BLK_ID_BYTES);
	assert_int_equal(fake_status(&req), ok);
	fake_disk.fail = 1;
	req = fake_request(0, OUT, 0, 1024, true, NULL);
	fake_kick(0);
	assert_int_equal(fake_used(&fake_guest.vq[0], 1).len, 1);
	assert_int_equal(fake_status(&req), ioerr);
}

static void test_flush(void **state)
{
	(void)state;
	fake_start(&(struct fake_setup){0});
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_FLUSH, 0, 0, false, NULL), ok);
	assert_int_equal(fake_disk.flushes, 1);
}

static void test_flush_not_offered(void **state)
{
	(void)state;
	fake_disk.info.flush = false;
	fake_start(&(struct fake_setup){0});
	assert_int_equal(fake_guest.features & (GIO_VIRTIO_BLK_F_FLUSH | GIO_VIRTIO_BLK_F_CONFIG_WCE), 0);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_FLUSH, 0, 0, false, NULL), unsupp);
	assert_int_equal(fake_disk.flushes, 0);
}

static void test_get_id(void **state)
{
	char id[21] = {0}, expected[20] = "fake-serial";

	(void)state;
	fake_start(&(struct fake_setup){0});
	memset(id, 'x', sizeof(id));
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_GET_ID, 0, 20, false, id), ok);
	assert_memory_equal(id, expected, 20);
	assert_int_equal(id[20], 'x');
}

/* "serial overrun": a buffer of another length than 20 gets neither more than 20 bytes nor more than it holds. */
static void test_serial_overrun(void **state)
{
	char id[64], zero[64] = {0};

	(void)state;
	strcpy(fake_disk.info.serial, "01234567890123456789");
	fake_start(&(struct fake_setup){0});
	memset(id, 0, sizeof(id));
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_GET_ID, 0, 64, false, id), ok);
	assert_memory_equal(id, "01234567890123456789", 20);
	assert_memory_equal(id + 20, zero, 44);
	memset(id, 'y', sizeof(id));
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_GET_ID, 0, 4, false, id), ok);
	assert_memory_equal(id, "0123yyyy", 8);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_GET_ID, 0, 0, false, NULL), ioerr);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_GET_ID, 0, 20, true, id), ioerr);
}

static void test_unknown_type(void **state)
{
	uint8_t data[512];

	(void)state;
	fake_start(&(struct fake_setup){0});
	assert_int_equal(fake_do(99, 0, 512, false, data), unsupp);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_SECURE_ERASE, 0, 512, true, data), unsupp);
	fake_still_works();
}

static void test_discard_and_write_zeroes(void **state)
{
	struct gio_virtio_blk_range ranges[3] = {{0, 8, 0}, {64, 16, 0}, {2040, 8, 0}};
	static uint8_t zero[8192];

	(void)state;
	fake_start(&(struct fake_setup){0});
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_DISCARD, 0, sizeof(ranges), true, ranges), ok);
	assert_int_equal(fake_disk.discards, 3);
	assert_memory_equal(fake_disk.bytes + 64 * 512, zero, 16 * 512);
	assert_memory_equal(fake_disk.bytes + 2040 * 512, zero, 8 * 512);
	ranges[0] = (struct gio_virtio_blk_range){128, 16, GIO_VIRTIO_BLK_RANGE_F_UNMAP};
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, true, ranges), ok);
	assert_memory_equal(fake_disk.bytes + 128 * 512, zero, 16 * 512);
	assert_int_equal(fake_disk.zeroes, 1);
	assert_int_equal(fake_disk.flushes, 0);
}

static void test_discard_refused(void **state)
{
	struct gio_virtio_blk_range ranges[17] = {{0, 8, 0}, {2048, 1, 0}};
	uint8_t before[4096];

	(void)state;
	fake_start(&(struct fake_setup){0});
	memcpy(before, fake_disk.bytes, sizeof(before));
	/* The second range lies behind the end: the first is not done either. */
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_DISCARD, 0, 32, true, ranges), ioerr);
	assert_memory_equal(before, fake_disk.bytes, sizeof(before));
	ranges[0] = (struct gio_virtio_blk_range){0, 8, GIO_VIRTIO_BLK_RANGE_F_UNMAP};
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_DISCARD, 0, 16, true, ranges), unsupp);
	ranges[0] = (struct gio_virtio_blk_range){0, 8, 2};
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, true, ranges), unsupp);
	/* An unknown flag says "unsupported", whatever else is wrong, and wherever (5.2.6.2). */
	ranges[0] = (struct gio_virtio_blk_range){0, 0, 0};
	ranges[1] = (struct gio_virtio_blk_range){2048, 1, 2};
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_WRITE_ZEROES, 0, 32, true, ranges), unsupp);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_DISCARD, 0, 32, true, ranges), unsupp);
	ranges[0] = (struct gio_virtio_blk_range){0, 0, 0};
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_DISCARD, 0, 16, true, ranges), ioerr);
	ranges[0] = (struct gio_virtio_blk_range){UINT64_MAX, 8, 0};
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_DISCARD, 0, 16, true, ranges), ioerr);
	ranges[0] = (struct gio_virtio_blk_range){UINT64_MAX / 512, 8, 0};
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_DISCARD, 0, 16, true, ranges), ioerr);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_DISCARD, 0, 15, true, ranges), ioerr);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_DISCARD, 0, 0, true, ranges), ioerr);
	for (unsigned i = 0; i < 17; i++)
		ranges[i] = (struct gio_virtio_blk_range){i * 8, 8, 0};
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_DISCARD, 0, sizeof(ranges), true, ranges), ioerr);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_DISCARD, 0, sizeof(ranges) - 16, true, ranges), ok);
	assert_int_equal(fake_disk.discards, 16);
	fake_still_works();
}

static void test_discard_not_offered(void **state)
{
	struct gio_virtio_blk_range range = {0, 8, 0};

	(void)state;
	fake_start(&(struct fake_setup){.no_discard = true});
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_DISCARD, 0, 16, true, &range), unsupp);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, true, &range), unsupp);
}

static void test_discard_disk_error(void **state)
{
	struct gio_virtio_blk_range ranges[3] = {{0, 8, 0}, {64, 16, 0}, {2040, 8, 0}};

	(void)state;
	fake_start(&(struct fake_setup){0});
	fake_disk.fail = 2; /* the second of three */
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_DISCARD, 0, sizeof(ranges), true, ranges), ioerr);
	assert_int_equal(fake_disk.discards, 1);
	fake_disk.fail = 1;
	fake_disk.fail_errno = -EOPNOTSUPP;
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_DISCARD, 0, sizeof(ranges), true, ranges), unsupp);
	fake_still_works();
}

static void test_writethrough(void **state)
{
	struct gio_virtio_blk_range range = {0, 8, 0};
	uint8_t data[512] = {1};

	(void)state;
	fake_start(&(struct fake_setup){.writethrough = true});
	assert_int_equal(gd_mmio_read(&fake_guest.mmio, 0x120, 1), 0);
	assert_int_equal(fake_do(OUT, 0, 512, true, data), ok);
	assert_int_equal(fake_disk.fua, 1);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, true, &range), ok);
	assert_int_equal(fake_disk.flushes, 1);
	/* The driver turns to writeback, and back. */
	gd_mmio_write(&fake_guest.mmio, 0x120, 1, 1);
	assert_int_equal(gd_mmio_read(&fake_guest.mmio, 0x120, 1), 1);
	assert_int_equal(fake_do(OUT, 0, 512, true, data), ok);
	assert_int_equal(fake_disk.fua, 1);
	gd_mmio_write(&fake_guest.mmio, 0x120, 1, 0);
	assert_int_equal(fake_do(OUT, 0, 512, true, data), ok);
	assert_int_equal(fake_disk.fua, 2);
}

/* A driver that cannot flush gets writethrough, whatever the toolstack said. */
static void test_writethrough_without_flush(void **state)
{
	uint8_t data[512] = {1};

	(void)state;
	fake_start(&(struct fake_setup){.features = GIO_VIRTIO_F_VERSION_1 | GIO_VIRTIO_F_ACCESS_PLATFORM});
	assert_int_equal(fake_do(OUT, 0, 512, true, data), ok);
	assert_int_equal(fake_disk.fua, 1);
}

/* One that may change the mode, and cannot flush, finds it at writethrough as soon as its features are accepted. */
static void test_writethrough_with_wce_alone(void **state)
{
	uint8_t data[512] = {1};

	(void)state;
	assert_int_equal(fake_open(&(struct fake_setup){0}), 0);
	fake_probe(GIO_VIRTIO_F_VERSION_1 | GIO_VIRTIO_F_ACCESS_PLATFORM | GIO_VIRTIO_BLK_F_CONFIG_WCE);
	assert_int_equal(gd_mmio_read(&fake_guest.mmio, 0x120, 1), 0);
	fake_queue_ready(0, 256);
	fake_driver_ok();
	assert_int_equal(fake_do(OUT, 0, 512, true, data), ok);
	assert_int_equal(fake_disk.fua, 1);
}

static void test_capacity(void **state)
{
	static uint8_t data[8192];

	(void)state;
	fake_start(&(struct fake_setup){0});
	assert_int_equal(fake_do(IN, 2048, 512, false, data), ioerr);
	assert_int_equal(fake_do(IN, 2047, 1024, false, data), ioerr);
	assert_int_equal(fake_do(OUT, UINT64_MAX, 512, true, data), ioerr);
	assert_int_equal(fake_do(OUT, UINT64_MAX / 512 + 1, 512, true, data), ioerr); /* times 512 it is 0 */
	assert_int_equal(fake_do(IN, 2047, 512, false, data), ok);
	assert_int_equal(fake_disk.writes, 0);
	fake_still_works();
}

static void test_alignment(void **state)
{
	static uint8_t data[8192];

	(void)state;
	fake_disk.info.block_size = 4096;
	fake_start(&(struct fake_setup){0});
	assert_int_equal(gd_mmio_read(&fake_guest.mmio, 0x114, 4), 4096);
	assert_int_equal(fake_do(IN, 1, 4096, false, data), ioerr);
	assert_int_equal(fake_do(IN, 8, 512, false, data), ioerr);
	assert_int_equal(fake_do(IN, 8, 100, false, data), ioerr);
	assert_int_equal(fake_do(IN, 8, 4096, false, data), ok);
	assert_memory_equal(data, fake_disk.bytes + 4096, 4096);
}

static void test_read_only(void **state)
{
	struct gio_virtio_blk_range range = {0, 8, 0};
	uint8_t data[512] = {1}, before[512];

	(void)state;
	fake_start(&(struct fake_setup){.readonly = true});
	memcpy(before, fake_disk.bytes, 512);
	fake_reg_write(GIO_VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	assert_true(fake_reg_read(GIO_VIRTIO_MMIO_DEVICE_FEATURES) & GIO_VIRTIO_BLK_F_RO);
	assert_int_equal(fake_do(OUT, 0, 512, true, data), ioerr);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_DISCARD, 0, 16, true, &range), unsupp);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, true, &range), unsupp);
	assert_memory_equal(fake_disk.bytes, before, 512);
	fake_do(IN, 4, 512, false, data);
	assert_memory_equal(data, fake_disk.bytes + 4 * 512, 512);
}

static void test_direction(void **state)
{
	uint8_t data[512], before[512];

	(void)state;
	fake_start(&(struct fake_setup){0});
	memcpy(before, fake_disk.bytes, 512);
	assert_int_equal(fake_do(IN, 0, 512, true, data), ioerr);
	assert_int_equal(fake_do(OUT, 0, 512, false, data), ioerr);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_FLUSH, 0, 512, false, data), ioerr);
	assert_memory_equal(fake_disk.bytes, before, 512);
	fake_still_works();
}

static void test_disk_error(void **state)
{
	uint8_t data[512];
	struct gd_vdev_stats stats;

	(void)state;
	fake_start(&(struct fake_setup){0});
	fake_disk.fail = 1;
	assert_int_equal(fake_do(IN, 0, 512, false, data), ioerr);
	fake_disk.fail = 1;
	assert_int_equal(fake_do(OUT, 0, 512, true, data), ioerr);
	fake_disk.fail = 1;
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_FLUSH, 0, 0, false, NULL), ioerr);
	gd_vdev_stats(fake_guest.vdev, &stats);
	assert_int_equal(stats.errors, 3);
	fake_still_works();
}

/* ---- layouts ---- */

/* Make a chain of these pieces, kick, and wait for it. Returns the used length. */
static uint32_t chain_do(const struct fake_buf *bufs, unsigned count)
{
	uint16_t head = fake_chain(&fake_guest.vq[0], bufs, count);
	struct gio_virtq_used_elem used;

	fake_avail(&fake_guest.vq[0], head);
	fake_kick(0);
	used = fake_used(&fake_guest.vq[0], 1);
	assert_int_equal(used.id, head);
	return used.len;
}

/* Header in three pieces, data at odd places, the status at the end of a larger descriptor: by bytes, not descriptors.
 */
static void test_odd_layout(void **state)
{
	struct gio_virtio_blk_outhdr header = {.type = IN, .sector = 2};
	uint32_t h, d;
	uint8_t *got;

	(void)state;
	fake_start(&(struct fake_setup){0});
	h = fake_alloc(1);
	d = fake_alloc(2);
	memcpy(fake_page(h) + 100, &header, 16);
	got = fake_page(d) + 4000;
	const struct fake_buf bufs[] = {{fake_addr(h, 100), 3, 0},    {fake_addr(h, 103), 12, 0},
					{fake_addr(h, 115), 1, 0},    {fake_addr(d, 4000), 1, W},
					{fake_addr(d, 4001), 500, W}, {fake_addr(d, 4501), 524, W}};

	assert_int_equal(chain_do(bufs, 6), 1025);
	assert_memory_equal(got, fake_disk.bytes + 1024, 1024);
	assert_int_equal(got[1024], ok);
}

static void test_odd_layout_write(void **state)
{
	struct gio_virtio_blk_outhdr header = {.type = OUT, .sector = 2};
	uint32_t h;

	(void)state;
	fake_start(&(struct fake_setup){0});
	h = fake_alloc(2);
	memcpy(fake_page(h) + 8, &header, 16);
	fill(fake_page(h) + 24, 1024, 7);
	/* Header and data in one descriptor, empty descriptors in between. */
	const struct fake_buf bufs[] = {{fake_addr(h, 8), 16 + 300, 0},
					{fake_addr(h, 8), 0, 0},
					{fake_addr(h, 8 + 316), 724, 0},
					{fake_addr(h, 4096), 1, W},
					{fake_addr(h, 4096), 0, W}};

	assert_int_equal(chain_do(bufs, 5), 1);
	assert_int_equal(*fake_page(h + 1), ok);
	assert_memory_equal(fake_disk.bytes + 1024, fake_page(h) + 24, 1024);
}

static void test_many_segments(void **state)
{
	struct fake_buf bufs[128];
	struct gio_virtio_blk_outhdr header = {.type = IN, .sector = 0};
	uint32_t h, d;

	(void)state;
	fake_start(&(struct fake_setup){0});
	assert_int_equal(gd_mmio_read(&fake_guest.mmio, 0x10c, 4), 126);
	h = fake_alloc(1);
	d = fake_alloc(126);
	memcpy(fake_page(h), &header, 16);
	bufs[0] = (struct fake_buf){fake_addr(h, 0), 16, 0};
	for (unsigned i = 0; i < 126; i++) /* backwards, so that nothing is adjacent */
		bufs[1 + i] = (struct fake_buf){fake_addr(d + 125 - i, 0), 4096, W};
	bufs[127] = (struct fake_buf){fake_addr(h, 16), 1, W};
	assert_int_equal(chain_do(bufs, 128), 126 * 4096 + 1);
	for (unsigned i = 0; i < 126; i++)
		assert_memory_equal(fake_page(d + 125 - i), fake_disk.bytes + i * 4096, 4096);
}

/* The longest request that SIZE_MAX and SEG_MAX allow, several at once: more than the arena holds. */
static void test_longest_requests_wait_for_buffers(void **state)
{
	const uint32_t length = 126 * 65536;
	struct fake_req req[6];

	(void)state;
	fake_start(&(struct fake_setup){.disk_size = 16 << 20});
	uint32_t data = fake_alloc(length / 4096);

	for (unsigned r = 0; r < 6; r++) {
		struct fake_buf bufs[128];
		struct gio_virtio_blk_outhdr header = {.type = IN, .sector = r * 128};

		req[r] = (struct fake_req){.header = fake_alloc(1), .status = fake_alloc(1)};
		memcpy(fake_page(req[r].header), &header, 16);
		*fake_page(req[r].status) = 0xee;
		bufs[0] = (struct fake_buf){fake_addr(req[r].header, 0), 16, 0};
		for (unsigned i = 0; i < 126; i++)
			bufs[1 + i] = (struct fake_buf){fake_addr(data + i * 16, 0), 65536, W};
		bufs[127] = (struct fake_buf){fake_addr(req[r].status, 0), 1, W};
		/* 128 descriptors each, 256 in all: two in the ring at a time. */
		req[r].head = fake_chain(&fake_guest.vq[0], bufs, 128);
		fake_avail(&fake_guest.vq[0], req[r].head);
		fake_kick(0);
		if (r % 2)
			fake_used(&fake_guest.vq[0], 2);
	}
	for (unsigned r = 0; r < 6; r++)
		assert_int_equal(fake_status(&req[r]), ok);
	assert_memory_equal(fake_page(data), fake_disk.bytes + 5 * 65536, length);
}

static void test_arena_exhausted_in_order(void **state)
{
	struct fake_req req[20];
	const uint32_t length = 4 << 20;

	(void)state;
	fake_start(&(struct fake_setup){.disk_size = 8 << 20, .queue_size = 64});
	__atomic_store_n(&fake_disk.hold, true, __ATOMIC_SEQ_CST);
	uint32_t data = fake_alloc(length / 4096); /* which all of them share */

	for (unsigned i = 0; i < 20; i++) {
		struct gio_virtio_blk_outhdr header = {.type = IN, .sector = i};

		req[i] = (struct fake_req){.header = fake_alloc(1), .status = fake_alloc(1)};
		memcpy(fake_page(req[i].header), &header, 16);
		*fake_page(req[i].status) = 0xee;
		const struct fake_buf bufs[] = {{fake_addr(req[i].header, 0), 16, 0},
						{fake_addr(data, 0), length, W},
						{fake_addr(req[i].status, 0), 1, W}};

		req[i].head = fake_chain(&fake_guest.vq[0], bufs, 3);
		fake_avail(&fake_guest.vq[0], req[i].head);
	}
	fake_kick(0);
	fake_until(__atomic_load_n(&fake_disk.held, __ATOMIC_SEQ_CST) == 4); /* 1024 pages each: the arena is full */
	assert_false(fake_used_now(&fake_guest.vq[0]));
	fake_disk_release();
	fake_used(&fake_guest.vq[0], 20);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(fake_status(&req[i]), ok);
	fake_still_works();
}

static void test_indirect(void **state)
{
	struct gio_virtio_blk_outhdr header = {.type = IN, .sector = 2};
	struct gio_virtq_desc *table;
	uint32_t t, h, d;

	(void)state;
	fake_start(&(struct fake_setup){.indirect = true});
	assert_true(fake_guest.features & GIO_VIRTIO_F_INDIRECT_DESC);
	t = fake_alloc(1);
	h = fake_alloc(1);
	d = fake_alloc(2);
	memcpy(fake_page(h), &header, 16);
	table = (void *)(fake_page(t) + 64);
	table[0] = (struct gio_virtq_desc){fake_addr(h, 0), 16, GIO_VIRTQ_DESC_F_NEXT, 2};
	table[2] = (struct gio_virtq_desc){fake_addr(d, 0), 8192, GIO_VIRTQ_DESC_F_NEXT | W, 1};
	table[1] = (struct gio_virtq_desc){fake_addr(h, 16), 1, W, 0};
	const struct fake_buf buf = {fake_addr(t, 64), 48, GIO_VIRTQ_DESC_F_INDIRECT};

	assert_int_equal(chain_do(&buf, 1), 8193);
	assert_memory_equal(fake_page(d), fake_disk.bytes + 1024, 8192);
	/* Direct descriptors followed by a table: 2.7.5.3.2 */
	const struct fake_buf mixed[] = {{fake_addr(h, 0), 16, 0},
					 {fake_addr(t, 64 + 16), 32, GIO_VIRTQ_DESC_F_INDIRECT}};

	memset(fake_page(d), 0, 8192);
	table[1] = (struct gio_virtq_desc){fake_addr(d, 0), 8192, GIO_VIRTQ_DESC_F_NEXT | W, 1};
	table[2] = (struct gio_virtq_desc){fake_addr(h, 16), 1, W, 0};
	assert_int_equal(chain_do(mixed, 2), 8193);
	assert_memory_equal(fake_page(d), fake_disk.bytes + 1024, 8192);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
		T(test_read),
		T(test_write),
		T(test_used_length),
		T(test_used_length_of_failures),
		T(test_flush),
		T(test_flush_not_offered),
		T(test_get_id),
		T(test_serial_overrun),
		T(test_unknown_type),
		T(test_discard_and_write_zeroes),
		T(test_discard_refused),
		T(test_discard_not_offered),
		T(test_discard_disk_error),
		T(test_writethrough),
		T(test_writethrough_without_flush),
		T(test_writethrough_with_wce_alone),
		T(test_capacity),
		T(test_alignment),
		T(test_read_only),
		T(test_direction),
		T(test_disk_error),
		T(test_odd_layout),
		T(test_odd_layout_write),
		T(test_many_segments),
		T(test_longest_requests_wait_for_buffers),
		T(test_arena_exhausted_in_order),
		T(test_indirect),
	};

	return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
