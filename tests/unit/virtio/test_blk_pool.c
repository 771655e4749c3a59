/* SPDX-License-Identifier: MIT */
/* The virtio-blk driver with a pool: all that the device is told of lies there, and nothing is granted for a request.
 */
#include "tests/unit/virtio/rig.h"

#include <abi/dma_addr.h>

#include "guest/virtio/blk.h"

#define PAGES 96u

static void pattern(uint8_t *p, size_t len, unsigned salt)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 7 + i / 251 + salt);
}

static struct gio_pool_stats pool_stats(const struct blk_rig *rig)
{
	struct gio_pool_stats s;

	gio_pool_stats(rig->pool, &s);
	return s;
}

static size_t active(const struct blk_rig *rig)
{
	struct fake_os_counts counts;

	fake_os_count(rig->os, &counts);
	return counts.active;
}

/* ---- what the device is told ------------------------------------------------------------------------------------ */

static struct blk_rig *watched;
static unsigned buffers_seen;

/* A buffer lies within one run, which is readonly unless the device is to write there. */
static bool in_pool(const struct gio_virtq_desc *buf)
{
	struct gio_pool_run runs[GIO_POOL_RUNS];
	unsigned count = gio_pool_runs(watched->pool, runs);
	uint32_t first = gio_dma_addr_gref(buf->addr);
	uint64_t pages = gio_dma_pages(gio_dma_addr_offset(buf->addr), buf->len);

	for (unsigned i = 0; i < count; i++)
		if (first >= runs[i].first && first + pages <= runs[i].first + runs[i].count)
			return runs[i].readonly == !(buf->flags & GIO_VIRTQ_DESC_F_WRITE);
	return false;
}

static unsigned addresses_hook(struct fake_dev *dev, const struct fake_chain *chain, unsigned status)
{
	(void)dev;
	for (unsigned i = 0; i < chain->count; i++) {
		assert_true(gio_dma_addr_valid(chain->buf[i].addr));
		assert_true(in_pool(&chain->buf[i]));
		buffers_seen++;
	}
	return status;
}

/* Each kind of request; whatever is granted once the driver is open stays as it is, also while requests are in flight.
 */
static void addresses(struct blk_rig *rig)
{
	uint8_t *p = rig_pages(rig, 4, 0x5a);
	size_t granted = active(rig);
	struct rig_req r;

	watched = rig;
	buffers_seen = 0;
	rig->dev->serve_hook = addresses_hook;
	assert_int_equal(rig_io(rig, GIO_BLK_WRITE, 0, p + 3, 8192), 0);
	assert_int_equal(rig_io(rig, GIO_BLK_READ, 0, p + 5, 512), 0);
	assert_int_equal(rig_io(rig, GIO_BLK_GET_ID, 0, p, GIO_BLK_ID_BYTES), 0);
	assert_int_equal(rig_io(rig, GIO_BLK_FLUSH, 0, NULL, 0), 0);
	rig_req_init(rig, &r, GIO_BLK_DISCARD, 10);
	r.req.sectors = 2;
	assert_int_equal(rig_run(rig, &r), 0);
	assert_int_equal(buffers_seen, 3 + 3 + 3 + 2 + 3);
	rig->dev->lazy = true;
	rig_req_init(rig, &r, GIO_BLK_READ, 10);
	rig_req_data(&r, p, 4096);
	assert_int_equal(rig_submit(rig, &r), 0);
	assert_int_equal(active(rig), granted);
	fake_dev_run(rig->dev, 0, 1);
	rig_interrupt(rig);
	assert_int_equal(active(rig), granted);
	rig_pages_free(rig, p, 4);
}

static void with_pool(void (*test)(struct blk_rig *rig), bool indirect)
{
	struct blk_rig rig;

	rig_init(&rig, 1);
	rig.config.indirect = indirect;
	rig_pool(&rig, PAGES);
	rig_open(&rig);
	test(&rig);
	rig_close(&rig);
}

static void test_addresses(void **state)
{
	(void)state;
	with_pool(addresses, false);
	with_pool(addresses, true);
}

/* ---- data ------------------------------------------------------------------------------------------------------- */

static unsigned fail_hook(struct fake_dev *dev, const struct fake_chain *chain, unsigned status)
{
	(void)dev, (void)chain, (void)status;
	return GIO_VIRTIO_BLK_S_IOERR;
}

static unsigned silent_hook(struct fake_dev *dev, const struct fake_chain *chain, unsigned status)
{
	(void)dev, (void)chain, (void)status;
	return 0x100; /* no status at all */
}

/* A read that failed leaves its buffer as it was: the space holds what other requests have left there. */
static void failed_read(struct blk_rig *rig)
{
	uint8_t *p = rig_pages(rig, 1, 0);

	pattern(p, 4096, 1);
	assert_int_equal(rig_io(rig, GIO_BLK_WRITE, 0, p, 4096), 0);
	assert_int_equal(rig_io(rig, GIO_BLK_READ, 0, p, 4096), 0); /* its data is left in the pool */
	memset(p, 0x11, 4096);
	rig->dev->serve_hook = fail_hook;
	assert_int_equal(rig_io(rig, GIO_BLK_READ, 8, p, 4096), -GIO_EIO);
	rig->dev->serve_hook = silent_hook;
	assert_int_equal(rig_io(rig, GIO_BLK_READ, 8, p, 4096), -GIO_EIO);
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(p[i], 0x11);
	rig_pages_free(rig, p, 1);
}

static void test_failed_read(void **state)
{
	(void)state;
	with_pool(failed_read, false);
}

/* The device goes on writing to what it was told of: it reaches the copy, and no buffer. */
static void changes_later(struct blk_rig *rig)
{
	uint8_t *p = rig_pages(rig, 1, 0), *was = rig_pages(rig, 1, 0), evil[4096];
	struct fake_chain chain;
	struct rig_req r;

	memset(evil, 0x66, sizeof(evil));
	pattern(was, 4096, 9);
	memcpy(rig->dev->disk, was, 4096);
	rig->dev->lazy = true;
	rig_req_init(rig, &r, GIO_BLK_READ, 0);
	rig_req_data(&r, p, 4096);
	assert_int_equal(rig_submit(rig, &r), 0);
	assert_true(fake_dev_take(rig->dev, 0, &chain));
	fake_dev_complete(rig->dev, 0, chain.head, fake_dev_serve(rig->dev, &chain));
	assert_int_equal(gio_blk_poll(rig->blk, 0), 1);
	assert_int_equal(r.req.result, 0);
	assert_int_equal(fake_peer_copy(rig->os, FAKE_DEV_DOMID, chain.buf[1].addr, evil, 4096, true), 0);
	assert_memory_equal(p, was, 4096);
	rig_pages_free(rig, p, 1);
	rig_pages_free(rig, was, 1);
}

static void test_changes_later(void **state)
{
	(void)state;
	with_pool(changes_later, false);
}

/* ---- room ------------------------------------------------------------------------------------------------------- */

/* The pool is full before the ring is: submit says so, takes nothing, and works again after a completion. */
static void exhaustion(struct blk_rig *rig)
{
	uint8_t *p = rig_pages(rig, 16, 0);
	struct rig_req r[64];
	struct gio_pool_stats before = pool_stats(rig);
	unsigned n = 0;
	int err;

	rig->dev->lazy = true;
	for (;; n++) {
		assert_true(n < 64);
		rig_req_init(rig, &r[n], n & 1 ? GIO_BLK_READ : GIO_BLK_WRITE, 0);
		rig_req_data(&r[n], p, 13 * GIO_PAGE_SIZE);
		rig_req_data(&r[n], p, 2 * GIO_PAGE_SIZE + 512);
		err = rig_submit(rig, &r[n]);
		if (err)
			break;
	}
	assert_int_equal(err, -GIO_ENOMEM);
	assert_in_range(n, 2 * (PAGES / 2) / 16, 2 * PAGES / 16);
	assert_int_equal(pool_stats(rig).used, before.used + n * 16);
	assert_int_equal(fake_dev_run(rig->dev, 0, 2), 2);
	assert_int_equal(gio_blk_poll(rig->blk, 0), 2);
	assert_int_equal(rig_submit(rig, &r[n]), 0);
	fake_dev_run(rig->dev, 0, 64);
	gio_blk_poll(rig->blk, 0);
	for (unsigned i = 0; i <= n; i++)
		assert_int_equal(r[i].done, 1);
	assert_int_equal(pool_stats(rig).used, before.used);
	rig_pages_free(rig, p, 16);
}

static void test_exhaustion(void **state)
{
	(void)state;
	with_pool(exhaustion, false);
}

static void limits(struct blk_rig *rig)
{
	uint8_t *p = rig_pages(rig, 100, 0);
	struct gio_blk_info info;
	struct rig_req r;

	gio_blk_info(rig->blk, &info);
	assert_int_equal(info.size_max, 11 * 4096); /* the pool's: what headers and ranges have left */
	assert_int_equal(info.pages_max, 11);
	rig_req_init(rig, &r, GIO_BLK_READ, 0);
	rig_req_data(&r, p, info.size_max + 512);
	assert_int_equal(rig_submit(rig, &r), -GIO_EINVAL);
	/* As many pages as there may be, in the smallest segments; and one more. */
	rig_req_init(rig, &r, GIO_BLK_READ, 0);
	for (unsigned i = 0; i < info.pages_max; i++)
		rig_req_data(&r, p + i * GIO_PAGE_SIZE, 512);
	assert_int_equal(rig_run(rig, &r), 0);
	r.done = 0;
	rig_req_data(&r, p, 512);
	assert_int_equal(rig_submit(rig, &r), -GIO_EINVAL);
	rig_pages_free(rig, p, 100);
}

static void test_limits(void **state)
{
	struct blk_rig rig;

	(void)state;
	rig_init(&rig, 1);
	rig.config.queue_size = 256;
	rig_pool(&rig, 13);
	rig_open(&rig);
	limits(&rig);
	rig_close(&rig);
}

/* A pool that has no room for the queues' arrays, or none beside them: open fails, and gives all back. */
static void test_too_small(void **state)
{
	(void)state;
	for (uint32_t pages = 1; pages <= 4; pages++) { /* 4: headers and ranges of two queues, and nothing else */
		struct blk_rig rig;
		struct gio_pool_stats stats;

		rig_init(&rig, 1);
		rig.config.queues = 2;
		rig_pool(&rig, pages);
		assert_int_equal(gio_blk_open(&rig.blk, &rig.config), -GIO_ENOMEM);
		rig.blk = NULL;
		stats = pool_stats(&rig);
		assert_int_equal(stats.used, 0);
		assert_int_equal(rig.dev->status, 0);
		rig_close(&rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),     cmocka_unit_test(test_failed_read),
		cmocka_unit_test(test_changes_later), cmocka_unit_test(test_exhaustion),
		cmocka_unit_test(test_limits),	      cmocka_unit_test(test_too_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
