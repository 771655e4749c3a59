/* SPDX-License-Identifier: MIT */
/* virtio-blk with a device that keeps to the rules: every operation, with and without indirect tables and event index.
 */
#include "tests/unit/virtio/rig.h"

#include "guest/virtio/blk.h"

/* Bytes that tell where they belong. */
static void pattern(uint8_t *p, size_t len, unsigned salt)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 7 + i / 251 + salt);
}

/* ---- operations ------------------------------------------------------------------------------------------------- */

static void write_read(struct blk_rig *rig)
{
	uint8_t *out = rig_pages(rig, 4, 0), *in = rig_pages(rig, 4, 0xaa);

	pattern(out, 16384, 1);
	/* At an odd offset, over several pages. */
	assert_int_equal(rig_io(rig, GIO_BLK_WRITE, 5, out + 100, 8192), 0);
	assert_memory_equal(rig->dev->disk + 5 * 512, out + 100, 8192);
	assert_int_equal(rig_io(rig, GIO_BLK_READ, 6, in + 7, 4096), 0);
	assert_memory_equal(in + 7, out + 100 + 512, 4096);
	assert_int_equal(in[6], 0xaa);
	assert_int_equal(in[7 + 4096], 0xaa);
	/* The last sector, and the first. */
	assert_int_equal(rig_io(rig, GIO_BLK_WRITE, FAKE_DEV_SECTORS - 1, out, 512), 0);
	assert_int_equal(rig_io(rig, GIO_BLK_READ, 0, in, 512), 0);
	rig_pages_free(rig, out, 4);
	rig_pages_free(rig, in, 4);
}

static void test_write_read(void **state)
{
	(void)state;
	rig_over_modes(write_read);
}

/* A table has 16 entries; longer chains use the ring. */
static unsigned table_hook(struct fake_dev *dev, const struct fake_chain *chain, unsigned status)
{
	bool tables = dev->driver_features & GIO_VIRTIO_F_INDIRECT_DESC;

	assert_int_equal(chain->indirect, tables && chain->count <= 16);
	return status;
}

static void segments(struct blk_rig *rig)
{
	uint8_t *out = rig_pages(rig, 8, 0), *in = rig_pages(rig, 8, 0);

	pattern(out, 8 * GIO_PAGE_SIZE, 3);
	rig->dev->serve_hook = table_hook;
	/* Around the size of an indirect table, and to the most the device allows; odd lengths that add up. */
	for (unsigned n = 1; n <= 30; n++) {
		struct rig_req r;
		unsigned at = 0;

		rig_req_init(rig, &r, GIO_BLK_WRITE, 100);
		for (unsigned i = 0; i + 1 < n; i++, at += 500)
			rig_req_data(&r, out + at, 500);
		rig_req_data(&r, out + at, 512 + (512 - at % 512) % 512);
		at += 512 + (512 - at % 512) % 512;
		assert_int_equal(rig_run(rig, &r), 0);
		assert_memory_equal(rig->dev->disk + 100 * 512, out, at);
		rig_req_init(rig, &r, GIO_BLK_READ, 100);
		memset(in, 0, at);
		for (unsigned i = 0; i + 1 < n; i++)
			rig_req_data(&r, in + i * 500, 500);
		rig_req_data(&r, in + (n - 1) * 500, at - (n - 1) * 500);
		assert_int_equal(rig_run(rig, &r), 0);
		assert_memory_equal(in, out, at);
	}
	rig_pages_free(rig, out, 8);
	rig_pages_free(rig, in, 8);
}

static void test_segments(void **state)
{
	(void)state;
	rig_over_modes(segments);
}

static void no_data(struct blk_rig *rig)
{
	struct rig_req r;

	assert_int_equal(rig_io(rig, GIO_BLK_FLUSH, 77, NULL, 0), 0);
	assert_int_equal(rig->dev->flushes, 1);
	memset(rig->dev->disk, 0x55, sizeof(rig->dev->disk));
	rig_req_init(rig, &r, GIO_BLK_DISCARD, 10);
	r.req.sectors = 256;
	r.req.unmap = true; /* means nothing to DISCARD, and the device may not see it */
	assert_int_equal(rig_run(rig, &r), 0);
	assert_int_equal(rig->dev->last_range_flags, 0);
	assert_int_equal(rig->dev->disk[10 * 512 - 1], 0x55);
	assert_int_equal(rig->dev->disk[10 * 512], 0xdd);
	assert_int_equal(rig->dev->disk[266 * 512 - 1], 0xdd);
	assert_int_equal(rig->dev->disk[266 * 512], 0x55);
	for (unsigned unmap = 0; unmap < 2; unmap++) {
		rig_req_init(rig, &r, GIO_BLK_WRITE_ZEROES, 20);
		r.req.sectors = 1;
		r.req.unmap = unmap;
		assert_int_equal(rig_run(rig, &r), 0);
		assert_int_equal(rig->dev->last_range_flags, unmap ? GIO_VIRTIO_BLK_RANGE_F_UNMAP : 0);
		assert_int_equal(rig->dev->disk[20 * 512 + 511], 0);
		assert_int_equal(rig->dev->disk[21 * 512], 0xdd);
	}
}

static void test_no_data(void **state)
{
	(void)state;
	rig_over_modes(no_data);
}

static void get_id(struct blk_rig *rig)
{
	uint8_t *p = rig_pages(rig, 1, 0);
	struct rig_req r;

	assert_int_equal(rig_io(rig, GIO_BLK_GET_ID, 0, p + 30, GIO_BLK_ID_BYTES), 0);
	assert_string_equal((char *)p + 30, "a disk of twenty by");
	rig_req_init(rig, &r, GIO_BLK_GET_ID, 0);
	rig_req_data(&r, p, GIO_BLK_ID_BYTES - 1);
	assert_int_equal(rig_submit(rig, &r), -GIO_EINVAL);
	assert_int_equal(r.done, 0);
	rig_pages_free(rig, p, 1);
}

static void test_get_id(void **state)
{
	(void)state;
	rig_over_modes(get_id);
}

static unsigned fail_hook(struct fake_dev *dev, const struct fake_chain *chain, unsigned status)
{
	(void)status;
	(void)chain;
	return dev->hooked;
}

/* Whatever the device puts into the status, and when it puts nothing. */
static void statuses(struct blk_rig *rig)
{
	static const struct {
		unsigned status;
		int result;
	} cases[] = {{GIO_VIRTIO_BLK_S_OK, 0},
		     {GIO_VIRTIO_BLK_S_IOERR, -GIO_EIO},
		     {GIO_VIRTIO_BLK_S_UNSUPP, -GIO_EOPNOTSUPP},
		     {3, -GIO_EIO},
		     {0xff, -GIO_EIO},
		     {0x100, -GIO_EIO}};
	uint8_t *p = rig_pages(rig, 1, 0);

	rig->dev->serve_hook = fail_hook;
	for (unsigned round = 0; round < 20; round++) /* so that every slot has been used with success */
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			rig->dev->hooked = cases[i].status;
			assert_int_equal(rig_io(rig, GIO_BLK_READ, 0, p, 512), cases[i].result);
		}
	assert_false(gio_blk_broken(rig->blk));
	rig_pages_free(rig, p, 1);
}

static void test_statuses(void **state)
{
	(void)state;
	rig_over_modes(statuses);
}

/* ---- information ------------------------------------------------------------------------------------------------ */

static void test_info(void **state)
{
	struct blk_rig rig;
	struct gio_blk_info info;

	(void)state;
	rig_init(&rig, 1);
	rig.dev->config.blk_size = 4096;
	rig.dev->config.capacity = UINT64_C(0x123456789a);
	rig.dev->config.writeback = 0;
	rig.config.queues = 3;
	rig_open(&rig);
	gio_blk_info(rig.blk, &info);
	assert_int_equal(info.capacity, UINT64_C(0x123456789a));
	assert_int_equal(info.block_size, 4096);
	assert_int_equal(info.size_max, 65536);
	assert_int_equal(info.seg_max, 30);
	assert_int_equal(info.max_discard, 256);
	assert_int_equal(info.max_write_zeroes, 128);
	assert_int_equal(info.physical_exp, 3);
	assert_false(info.readonly);
	assert_true(info.flush);
	assert_false(info.writeback);
	assert_int_equal(info.queues, 3);
	assert_int_equal(info.queue_size, 64);
	assert_int_equal(info.features, rig.dev->driver_features);
	assert_false(info.features & (GIO_VIRTIO_F_INDIRECT_DESC | GIO_VIRTIO_F_RING_PACKED));
	rig_close(&rig);
}

/* A device that offers nothing but what is required. */
static void test_info_bare(void **state)
{
	struct blk_rig rig;
	struct gio_blk_info info;
	struct rig_req r;

	(void)state;
	rig_init(&rig, 1);
	rig.dev->features = GIO_VIRTIO_F_VERSION_1 | GIO_VIRTIO_F_ACCESS_PLATFORM;
	rig.config.queues = 4;
	rig.config.indirect = true;
	rig_open(&rig);
	gio_blk_info(rig.blk, &info);
	assert_int_equal(info.block_size, 512);
	assert_int_equal(info.size_max, 0);
	assert_int_equal(info.seg_max, 1);
	assert_int_equal(info.max_discard, 0);
	assert_int_equal(info.queues, 1);
	assert_false(info.flush || info.writeback || info.readonly);
	rig_req_init(&rig, &r, GIO_BLK_FLUSH, 0);
	assert_int_equal(rig_submit(&rig, &r), -GIO_EOPNOTSUPP);
	rig_req_init(&rig, &r, GIO_BLK_DISCARD, 0);
	r.req.sectors = 1;
	assert_int_equal(rig_submit(&rig, &r), -GIO_EOPNOTSUPP);
	r.req.op = GIO_BLK_WRITE_ZEROES;
	assert_int_equal(rig_submit(&rig, &r), -GIO_EOPNOTSUPP);
	assert_int_equal(rig.blk->queue[0].ranges.bytes, 0);
	assert_int_equal(rig.blk->queue[0].tables.bytes, 0);
	rig_close(&rig);
}

static void test_writeback_without_wce(void **state)
{
	(void)state;
	for (unsigned flush = 0; flush < 2; flush++) {
		struct blk_rig rig;
		struct gio_blk_info info;

		rig_init(&rig, 1);
		rig.dev->features &= ~GIO_VIRTIO_BLK_F_CONFIG_WCE;
		if (!flush)
			rig.dev->features &= ~GIO_VIRTIO_BLK_F_FLUSH;
		rig.dev->config.writeback = !flush; /* not to be read */
		rig_open(&rig);
		gio_blk_info(rig.blk, &info);
		assert_int_equal(info.writeback, flush);
		rig_close(&rig);
	}
}

static void test_queue_sizes(void **state)
{
	static const struct {
		unsigned wanted, max, size;
		int err;
	} cases[] = {
		{0, 64, 64, 0},		  {0, 4096, 1024, 0},
		{16, 64, 16, 0},	  {128, 64, 64, 0},
		{2048, 4096, 2048, 0},	  {0, 100, 64, 0},
		{64, 63, 32, 0},	  {0, 4, 4, 0},
		{0, 3, 0, -GIO_ENODEV},	  {0, 1, 0, -GIO_ENODEV},
		{0, 0, 0, -GIO_ENODEV},	  {3, 64, 0, -GIO_EINVAL},
		{2, 64, 0, -GIO_EINVAL},  {65536, 64, 0, -GIO_EINVAL},
		{0, UINT32_MAX, 1024, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct blk_rig rig;
		struct gio_blk_info info;

		rig_init(&rig, 1);
		rig.config.queue_size = cases[i].wanted;
		rig.dev->num_max = cases[i].max;
		rig.dev->config.seg_max = 5000;
		assert_int_equal(gio_blk_open(&rig.blk, &rig.config), cases[i].err);
		if (!cases[i].err) {
			gio_blk_info(rig.blk, &info);
			assert_int_equal(info.queue_size, cases[i].size);
			assert_int_equal(info.seg_max, cases[i].size - 2);
		} else if (cases[i].err == -GIO_ENODEV) {
			assert_true(rig.dev->status & GIO_VIRTIO_STATUS_FAILED);
		}
		rig_close(&rig);
	}
}

/* ---- limits, checked before anything is submitted --------------------------------------------------------------- */

static int try_io(struct blk_rig *rig, enum gio_blk_op op, uint64_t sector, unsigned n, size_t len)
{
	struct rig_req r;

	rig_req_init(rig, &r, op, sector);
	for (unsigned i = 0; i < n; i++)
		rig_req_data(&r, rig->dev, len); /* never looked at */
	return rig_submit(rig, &r);
}

static int try_range(struct blk_rig *rig, enum gio_blk_op op, uint64_t sector, uint64_t sectors)
{
	struct rig_req r;

	rig_req_init(rig, &r, op, sector);
	r.req.sectors = sectors;
	return rig_submit(rig, &r);
}

static void limits(struct blk_rig *rig)
{
	const uint64_t end = FAKE_DEV_SECTORS;
	uint32_t before = rig_grants(rig);

	assert_int_equal(try_io(rig, GIO_BLK_READ, end, 1, 512), -GIO_ERANGE);
	assert_int_equal(try_io(rig, GIO_BLK_READ, end - 1, 1, 1024), -GIO_ERANGE);
	assert_int_equal(try_io(rig, GIO_BLK_WRITE, UINT64_MAX, 1, 512), -GIO_ERANGE);
	assert_int_equal(try_io(rig, GIO_BLK_WRITE, UINT64_MAX - 1, 2, 1024), -GIO_ERANGE);
	assert_int_equal(try_io(rig, GIO_BLK_READ, 0, 0, 0), -GIO_EINVAL);
	assert_int_equal(try_io(rig, GIO_BLK_READ, 0, 1, 0), -GIO_EINVAL);
	assert_int_equal(try_io(rig, GIO_BLK_READ, 0, 1, 511), -GIO_EINVAL);
	assert_int_equal(try_io(rig, GIO_BLK_READ, 0, 31, 512), -GIO_EINVAL);
	assert_int_equal(try_io(rig, GIO_BLK_READ, 0, 1, 65536 + 512), -GIO_EINVAL);
	assert_int_equal(try_io(rig, GIO_BLK_FLUSH, 0, 1, 512), -GIO_EINVAL);
	assert_int_equal(try_io(rig, (enum gio_blk_op)99, 0, 1, 512), -GIO_EINVAL);
	assert_int_equal(try_range(rig, GIO_BLK_DISCARD, 0, 0), -GIO_EINVAL);
	assert_int_equal(try_range(rig, GIO_BLK_DISCARD, 0, 257), -GIO_ERANGE);
	assert_int_equal(try_range(rig, GIO_BLK_DISCARD, 0, UINT64_C(0x100000001)), -GIO_ERANGE);
	assert_int_equal(try_range(rig, GIO_BLK_DISCARD, end - 1, 2), -GIO_ERANGE);
	assert_int_equal(try_range(rig, GIO_BLK_WRITE_ZEROES, 0, 129), -GIO_ERANGE);
	assert_int_equal(try_range(rig, GIO_BLK_WRITE_ZEROES, UINT64_MAX, 1), -GIO_ERANGE);
	assert_int_equal(gio_blk_submit(rig->blk, 1, NULL), -GIO_EINVAL);
	assert_int_equal(gio_blk_poll(rig->blk, 1), 0);
	gio_blk_kick(rig->blk, 1);
	assert_int_equal(rig_grants(rig), before);
	assert_int_equal(rig->dev->served, 0);
	assert_int_equal(rig->dev->notifies, 0);
}

static void test_limits(void **state)
{
	(void)state;
	rig_over_modes(limits);
}

/* Without SIZE_MAX a chain is still no longer than 2^32 bytes; a count of sectors is not cut to 32 bits. */
static void test_limits_of_32_bits(void **state)
{
	struct blk_rig rig;

	(void)state;
	rig_init(&rig, 1);
	rig.dev->features &= ~GIO_VIRTIO_BLK_F_SIZE_MAX;
	rig.dev->config.capacity = UINT64_C(1) << 40;
	rig_open(&rig);
	assert_int_equal(try_io(&rig, GIO_BLK_READ, 0, 2, 0x80000000), -GIO_EINVAL);
	assert_int_equal(try_io(&rig, GIO_BLK_READ, 0, 1, 0xfffffe00), -GIO_EINVAL);
	assert_int_equal(try_range(&rig, GIO_BLK_DISCARD, 0, UINT64_C(0x100000001)), -GIO_ERANGE);
	rig_close(&rig);
}

static void test_readonly(void **state)
{
	struct blk_rig rig;
	struct gio_blk_info info;
	uint8_t *p;

	(void)state;
	rig_init(&rig, 1);
	rig.dev->features |= GIO_VIRTIO_BLK_F_RO;
	p = rig_pages(&rig, 1, 0);
	rig_open(&rig);
	gio_blk_info(rig.blk, &info);
	assert_true(info.readonly);
	assert_int_equal(try_io(&rig, GIO_BLK_WRITE, 0, 1, 512), -GIO_EROFS);
	assert_int_equal(try_range(&rig, GIO_BLK_DISCARD, 0, 1), -GIO_EROFS);
	assert_int_equal(try_range(&rig, GIO_BLK_WRITE_ZEROES, 0, 1), -GIO_EROFS);
	assert_int_equal(rig_io(&rig, GIO_BLK_READ, 0, p, 512), 0);
	assert_int_equal(rig_io(&rig, GIO_BLK_FLUSH, 0, NULL, 0), 0);
	rig_pages_free(&rig, p, 1);
	rig_close(&rig);
}

/* ---- several queues, configuration changes, close --------------------------------------------------------------- */

static void test_queues(void **state)
{
	struct blk_rig rig;
	struct rig_req r[3];
	struct gio_blk_stats stats;
	uint8_t *p;

	(void)state;
	rig_init(&rig, 2);
	rig.config.queues = 3;
	p = rig_pages(&rig, 3, 0);
	pattern(rig.dev->disk, sizeof(rig.dev->disk), 9);
	rig_open(&rig);
	for (unsigned i = 0; i < 3; i++) {
		rig_req_init(&rig, &r[i], GIO_BLK_READ, i * 100);
		rig_req_data(&r[i], p + i * GIO_PAGE_SIZE, 4096);
		assert_int_equal(gio_blk_submit(rig.blk, i, &r[i].req), 0);
		gio_blk_kick(rig.blk, i);
		assert_int_equal(rig.dev->queue[i].used_idx, 1);
	}
	assert_int_equal(rig_interrupt(&rig), GIO_BLK_IRQ_QUEUE);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(r[i].done, 1);
		assert_memory_equal(p + i * GIO_PAGE_SIZE, rig.dev->disk + i * 100 * 512, 4096);
	}
	gio_blk_stats(rig.blk, &stats);
	assert_int_equal(stats.requests, 3);
	assert_int_equal(stats.kicks, 3);
	assert_int_equal(stats.interrupts, 1);
	rig_pages_free(&rig, p, 3);
	rig_close(&rig);
}

static void test_capacity_changes(void **state)
{
	struct blk_rig rig;
	struct gio_blk_info info;
	uint8_t *p;

	(void)state;
	rig_init(&rig, 1);
	rig.dev->config.capacity = 10;
	p = rig_pages(&rig, 1, 0);
	rig_open(&rig);
	assert_int_equal(try_io(&rig, GIO_BLK_READ, 10, 1, 512), -GIO_ERANGE);
	rig.dev->config.capacity = 20;
	rig.dev->config.writeback = 0;
	rig.dev->config.seg_max = 1; /* limits stay: requests in flight were made by them */
	fake_dev_config_changed(rig.dev);
	assert_int_equal(rig_interrupt(&rig), GIO_BLK_IRQ_CONFIG);
	gio_blk_info(rig.blk, &info);
	assert_int_equal(info.capacity, 20);
	assert_false(info.writeback);
	assert_int_equal(info.seg_max, 30);
	assert_int_equal(rig_io(&rig, GIO_BLK_READ, 10, p, 512), 0);
	rig.dev->config.capacity = 5;
	fake_dev_config_changed(rig.dev);
	rig_interrupt(&rig);
	assert_int_equal(try_io(&rig, GIO_BLK_READ, 10, 1, 512), -GIO_ERANGE);
	rig_pages_free(&rig, p, 1);
	rig_close(&rig);
}

/* Requests in flight when the device goes away complete, once, after the device has been reset. */
static void close_in_flight(struct blk_rig *rig)
{
	struct rig_req r[3];
	uint8_t *p = rig_pages(rig, 3, 0);

	rig->dev->lazy = true;
	for (unsigned i = 0; i < 3; i++) {
		rig_req_init(rig, &r[i], GIO_BLK_WRITE, i);
		rig_req_data(&r[i], p, 3 * GIO_PAGE_SIZE / 3);
		assert_int_equal(rig_submit(rig, &r[i]), 0);
	}
	gio_blk_kick(rig->blk, 0);
	assert_int_equal(rig->dev->resets, 1);
	gio_blk_close(rig->blk);
	rig->blk = NULL;
	assert_int_equal(rig->dev->resets, 2);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(r[i].done, 1);
		assert_int_equal(r[i].req.result, -GIO_EIO);
	}
	assert_int_equal(rig_grants(rig), 0);
	rig_pages_free(rig, p, 3);
}

static void test_close_in_flight(void **state)
{
	(void)state;
	rig_over_modes(close_in_flight);
	gio_blk_close(NULL);
}

/* Closed, a device can be opened again. */
static void test_reopen(void **state)
{
	struct blk_rig rig;

	(void)state;
	rig_init(&rig, 1);
	for (unsigned i = 0; i < 3; i++) {
		rig_open(&rig);
		assert_int_equal(rig_io(&rig, GIO_BLK_FLUSH, 0, NULL, 0), 0);
		gio_blk_close(rig.blk);
		rig.blk = NULL;
	}
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_read),
		cmocka_unit_test(test_segments),
		cmocka_unit_test(test_no_data),
		cmocka_unit_test(test_get_id),
		cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_info),
		cmocka_unit_test(test_info_bare),
		cmocka_unit_test(test_writeback_without_wce),
		cmocka_unit_test(test_queue_sizes),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_limits_of_32_bits),
		cmocka_unit_test(test_readonly),
		cmocka_unit_test(test_queues),
		cmocka_unit_test(test_capacity_changes),
		cmocka_unit_test(test_close_in_flight),
		cmocka_unit_test(test_reopen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
