/* SPDX-License-Identifier: MIT */
/* virtio-blk with a device that breaks the rules, or a system that fails: nothing is lost, leaked or done twice. */
#include "tests/unit/virtio/rig.h"

#include "guest/virtio/blk.h"

/* A device and four reads in flight on queue 0, one on queue 1. */
struct victim {
	struct blk_rig rig;
	struct rig_req r[5];
	uint8_t *p;
	uint32_t grants; /* before there were requests */
};

static void victim_init(struct victim *v, bool indirect)
{
	rig_init(&v->rig, 1);
	v->rig.config.queues = 2;
	v->rig.config.indirect = indirect;
	v->rig.dev->lazy = true;
	v->p = rig_pages(&v->rig, 5, 0);
	rig_open(&v->rig);
	v->grants = rig_grants(&v->rig);
	for (unsigned i = 0; i < 5; i++) {
		rig_req_init(&v->rig, &v->r[i], GIO_BLK_READ, i);
		rig_req_data(&v->r[i], v->p + i * GIO_PAGE_SIZE, 512);
		assert_int_equal(gio_blk_submit(v->rig.blk, i / 4, &v->r[i].req), 0);
	}
}

/* Everything has completed once, `ok` of it well and the rest with -GIO_EPROTO, and its grants have ended. */
static void victim_broken(struct victim *v, unsigned ok)
{
	struct rig_req late;

	assert_true(gio_blk_broken(v->rig.blk));
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(v->r[i].done, 1);
		ok -= v->r[i].req.result == 0;
		if (v->r[i].req.result)
			assert_int_equal(v->r[i].req.result, -GIO_EPROTO);
	}
	assert_int_equal(ok, 0);
	assert_int_equal(rig_grants(&v->rig), v->grants);
	rig_req_init(&v->rig, &late, GIO_BLK_FLUSH, 0);
	assert_int_equal(rig_submit(&v->rig, &late), -GIO_EPROTO);
	assert_int_equal(gio_blk_poll(v->rig.blk, 0), 0);
	assert_int_equal(gio_blk_poll(v->rig.blk, 1), 0);
	gio_blk_kick(v->rig.blk, 0);
	assert_int_equal(v->rig.dev->notifies, 0);
	assert_int_equal(late.done, 0);
}

static void victim_close(struct victim *v)
{
	rig_pages_free(&v->rig, v->p, 5);
	rig_close(&v->rig);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(v->r[i].done, 1);
}

/* ---- used ring -------------------------------------------------------------------------------------------------- */

static void used_bad(bool indirect, uint32_t id)
{
	struct victim v;
	struct fake_chain chain;

	victim_init(&v, indirect);
	/* The first request completes as it should; in the same batch comes one that cannot be. */
	assert_true(fake_dev_take(v.rig.dev, 0, &chain));
	fake_dev_complete(v.rig.dev, 0, chain.head, fake_dev_serve(v.rig.dev, &chain));
	fake_dev_complete(v.rig.dev, 0, id == UINT32_MAX ? chain.head : id, 0);
	assert_int_equal(gio_blk_poll(v.rig.blk, 0), 5);
	victim_broken(&v, 1);
	victim_close(&v);
}

static void test_used_bad(void **state)
{
	static const uint32_t ids[] = {64, 65535, 65536, 1u << 31, 63, UINT32_MAX /* twice */};

	(void)state;
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		used_bad(false, ids[i]);
		used_bad(true, ids[i]);
	}
}

static void test_used_idx_jumps(void **state)
{
	static const uint16_t jumps[] = {5, 64, 65, 0x8000, 65535};

	(void)state;
	for (size_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
		struct victim v;

		victim_init(&v, i & 1);
		fake_dev_set_used_idx(v.rig.dev, 0, jumps[i]);
		fake_dev_raise(v.rig.dev, GIO_VIRTIO_INT_QUEUE);
		rig_interrupt(&v.rig);
		victim_broken(&v, 0);
		victim_close(&v);
	}
}

static void test_used_len_huge(void **state)
{
	struct blk_rig rig;
	struct fake_chain chain;
	struct rig_req r;
	uint8_t *p;

	(void)state;
	rig_init(&rig, 1);
	rig.dev->lazy = true;
	p = rig_pages(&rig, 1, 0);
	rig_open(&rig);
	rig_req_init(&rig, &r, GIO_BLK_READ, 0);
	rig_req_data(&r, p, 512);
	assert_int_equal(rig_submit(&rig, &r), 0);
	assert_true(fake_dev_take(rig.dev, 0, &chain));
	fake_dev_serve(rig.dev, &chain);
	fake_dev_complete(rig.dev, 0, chain.head, UINT32_MAX);
	assert_int_equal(gio_blk_poll(rig.blk, 0), 1);
	assert_int_equal(r.req.result, 0);
	assert_false(gio_blk_broken(rig.blk));
	rig_pages_free(&rig, p, 1);
	rig_close(&rig);
}

/* The device's view of our shared arrays is not read back: scribbling over them changes no other request. */
static void test_shared_scribbled(void **state)
{
	struct blk_rig rig;
	struct fake_chain chain;
	struct rig_req r;
	struct blk_queue *q;

	(void)state;
	rig_init(&rig, 1);
	rig.dev->lazy = true;
	rig.config.indirect = true;
	rig_open(&rig);
	q = &rig.blk->queue[0];
	for (unsigned i = 0; i < 200; i++) {
		rig_req_init(&rig, &r, i & 1 ? GIO_BLK_FLUSH : GIO_BLK_DISCARD, 0);
		r.req.sectors = 1;
		assert_int_equal(rig_submit(&rig, &r), 0);
		assert_true(fake_dev_take(rig.dev, 0, &chain));
		assert_int_equal(fake_dev_serve(rig.dev, &chain), 1);
		assert_int_equal(q->statuses.va[r.req.slot], 0);
		memset(q->shared, 0xff, (size_t)(q->statuses.va - (uint8_t *)q->shared));
		fake_dev_complete(rig.dev, 0, chain.head, 1);
		assert_int_equal(gio_blk_poll(rig.blk, 0), 1);
		assert_int_equal(r.req.result, 0);
	}
	rig_close(&rig);
}

/* ---- the device gives up ---------------------------------------------------------------------------------------- */

static void test_needs_reset(void **state)
{
	struct victim v;

	(void)state;
	victim_init(&v, false);
	v.rig.dev->status |= GIO_VIRTIO_STATUS_NEEDS_RESET;
	fake_dev_raise(v.rig.dev, GIO_VIRTIO_INT_CONFIG);
	assert_int_equal(rig_interrupt(&v.rig), GIO_BLK_IRQ_CONFIG);
	victim_broken(&v, 0);
	fake_dev_raise(v.rig.dev, GIO_VIRTIO_INT_CONFIG | GIO_VIRTIO_INT_QUEUE);
	rig_interrupt(&v.rig);
	victim_close(&v);
}

/* Broken, closed, opened again: the reset mends it. */
static void test_broken_then_reopened(void **state)
{
	struct victim v;

	(void)state;
	victim_init(&v, true);
	fake_dev_set_used_idx(v.rig.dev, 0, 1000);
	assert_int_equal(gio_blk_poll(v.rig.blk, 0), 5);
	victim_broken(&v, 0);
	gio_blk_close(v.rig.blk);
	v.rig.dev->lazy = false;
	rig_open(&v.rig);
	assert_false(gio_blk_broken(v.rig.blk));
	assert_int_equal(rig_io(&v.rig, GIO_BLK_WRITE, 0, v.p, 4096), 0);
	victim_close(&v);
}

/* A request whose done closes in on itself: submitting from done on a broken device is refused, not queued. */
static void resubmit_done(struct gio_blk_req *req)
{
	struct rig_req *r = req->opaque;

	r->done++;
	assert_int_equal(req->result, -GIO_EPROTO);
	assert_int_equal(rig_submit(r->rig, r), -GIO_EPROTO);
	req->result = -GIO_EPROTO;
}

static void test_broken_resubmit(void **state)
{
	struct victim v;

	(void)state;
	victim_init(&v, false);
	for (unsigned i = 0; i < 5; i++)
		v.r[i].req.done = resubmit_done;
	fake_dev_set_used_idx(v.rig.dev, 1, 2);
	assert_int_equal(gio_blk_poll(v.rig.blk, 1), 5);
	victim_broken(&v, 0);
	victim_close(&v);
}

/* The ring breaks while a request's data is being mapped, for which no lock is held: the linker puts this in between.
 */
int __real_gio_dma_map_sg(struct gio_dma *dma, struct gio_sg *sg, unsigned count, enum gio_dma_dir dir);
int __wrap_gio_dma_map_sg(struct gio_dma *dma, struct gio_sg *sg, unsigned count, enum gio_dma_dir dir);
static struct blk_rig *breaks_in_map;

int __wrap_gio_dma_map_sg(struct gio_dma *dma, struct gio_sg *sg, unsigned count, enum gio_dma_dir dir)
{
	struct blk_rig *rig = breaks_in_map;
	int err = __real_gio_dma_map_sg(dma, sg, count, dir);

	breaks_in_map = NULL;
	if (rig) {
		fake_dev_set_used_idx(rig->dev, 0, 99);
		gio_blk_poll(rig->blk, 0);
	}
	return err;
}

static void test_broken_while_mapping(void **state)
{
	struct victim v;
	struct rig_req late;

	(void)state;
	victim_init(&v, false);
	rig_req_init(&v.rig, &late, GIO_BLK_READ, 0);
	rig_req_data(&late, v.p, 512);
	breaks_in_map = &v.rig;
	assert_int_equal(rig_submit(&v.rig, &late), -GIO_EPROTO);
	assert_int_equal(late.done, 0);
	victim_broken(&v, 0); /* and no grant of the late one is left */
	victim_close(&v);
	assert_int_equal(late.done, 0);
}

/* ---- set-up ----------------------------------------------------------------------------------------------------- */

static unsigned lie_offset;
static uint32_t lie_value;
static unsigned lie_from; /* the first read of it that is a lie, from 0 */

static uint32_t lie(struct fake_dev *dev, unsigned offset, uint32_t value)
{
	if (offset != lie_offset)
		return value;
	return dev->hooked++ >= lie_from ? lie_value : value;
}

static void open_lied_to(unsigned offset, unsigned from, uint32_t value, int err)
{
	struct blk_rig rig;

	rig_init(&rig, 1);
	rig.config.queues = 2;
	rig.dev->read_hook = lie;
	lie_offset = offset;
	lie_from = from;
	lie_value = value;
	assert_int_equal(gio_blk_open(&rig.blk, &rig.config), err);
	assert_null(rig.blk);
	for (unsigned i = 0; i < rig.dev->accesses && i < FAKE_DEV_TRACE; i++)
		assert_false(rig.dev->trace[i].write && rig.dev->trace[i].offset == GIO_VIRTIO_MMIO_STATUS &&
			     rig.dev->trace[i].value & GIO_VIRTIO_STATUS_DRIVER_OK);
	assert_int_equal(rig_grants(&rig), 0); /* before the device is asked for anything more */
	rig_close(&rig);
}

#define CONFIG_OFFSET(field) (unsigned)(GIO_VIRTIO_MMIO_CONFIG + offsetof(struct gio_virtio_blk_config, field))

static void test_open_lied_to(void **state)
{
	(void)state;
	RIG_REGISTERS_ONLY();
	open_lied_to(GIO_VIRTIO_MMIO_MAGIC, 0, 0, -GIO_ENODEV);
	open_lied_to(GIO_VIRTIO_MMIO_VERSION, 0, 1, -GIO_ENODEV);
	open_lied_to(GIO_VIRTIO_MMIO_DEVICE_ID, 0, 1, -GIO_ENODEV);
	open_lied_to(GIO_VIRTIO_MMIO_STATUS, 0, 15, -GIO_EPROTO); /* never reset */
	open_lied_to(GIO_VIRTIO_MMIO_STATUS, 1, 3, -GIO_ENODEV);  /* no FEATURES_OK */
	open_lied_to(GIO_VIRTIO_MMIO_DEVICE_FEATURES, 0, 0, -GIO_ENODEV);
	open_lied_to(GIO_VIRTIO_MMIO_QUEUE_NUM_MAX, 0, 0, -GIO_ENODEV);
	open_lied_to(GIO_VIRTIO_MMIO_QUEUE_NUM_MAX, 1, 0, -GIO_ENODEV); /* the second queue, the first is ready */
	open_lied_to(GIO_VIRTIO_MMIO_QUEUE_NUM_MAX, 0, 3, -GIO_ENODEV); /* too small for a request */
	open_lied_to(GIO_VIRTIO_MMIO_QUEUE_READY, 0, 1, -GIO_EPROTO);	/* in use already */
	open_lied_to(GIO_VIRTIO_MMIO_QUEUE_READY, 1, 0, -GIO_EPROTO);	/* does not become ready */
	open_lied_to(GIO_VIRTIO_MMIO_QUEUE_READY, 1, 2, -GIO_EPROTO);
	open_lied_to(CONFIG_OFFSET(capacity) + 4, 0, UINT32_MAX, -GIO_EPROTO); /* bytes overflow */
	open_lied_to(CONFIG_OFFSET(blk_size), 0, 0, -GIO_EPROTO);
	open_lied_to(CONFIG_OFFSET(blk_size), 0, 256, -GIO_EPROTO);
	open_lied_to(CONFIG_OFFSET(blk_size), 0, 1000, -GIO_EPROTO);
	open_lied_to(CONFIG_OFFSET(blk_size), 0, 1u << 31, -GIO_EPROTO);
	open_lied_to(CONFIG_OFFSET(physical_block_exp), 0, 31, -GIO_EPROTO);
	open_lied_to(CONFIG_OFFSET(physical_block_exp), 0, 255, -GIO_EPROTO);
	open_lied_to(CONFIG_OFFSET(num_queues), 0, 0, -GIO_EPROTO);
}

/* Missing features are refused before anything of ours is shared, and the device is told. */
static void test_features_missing(void **state)
{
	static const uint64_t needed[] = {GIO_VIRTIO_F_VERSION_1, GIO_VIRTIO_F_ACCESS_PLATFORM};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct blk_rig rig;

		rig_init(&rig, 1);
		rig.dev->features &= ~needed[i];
		assert_int_equal(gio_blk_open(&rig.blk, &rig.config), -GIO_ENODEV);
		assert_true(rig.dev->status & GIO_VIRTIO_STATUS_FAILED);
		assert_false(rig.dev->status & GIO_VIRTIO_STATUS_DRIVER_OK);
		rig_close(&rig);
	}
}

/* A limit of no segments at all is taken for none given: one. */
static void test_seg_max_zero(void **state)
{
	struct blk_rig rig;
	struct gio_blk_info info;

	(void)state;
	rig_init(&rig, 1);
	rig.dev->config.seg_max = 0;
	rig_open(&rig);
	gio_blk_info(rig.blk, &info);
	assert_int_equal(info.seg_max, 1);
	rig_close(&rig);
}

/* A second queue that is not there, although num_queues says so: refused, and the first one's ring is let go first. */
static void test_second_queue_missing(void **state)
{
	struct blk_rig rig;

	(void)state;
	RIG_REGISTERS_ONLY();
	rig_init(&rig, 1);
	rig.config.queues = 100;
	rig.dev->config.num_queues = 100;
	assert_int_equal(gio_blk_open(&rig.blk, &rig.config), -GIO_ENODEV);
	assert_int_equal(rig.dev->resets, 2);
	assert_int_equal(rig.dev->status, GIO_VIRTIO_STATUS_FAILED);
	assert_int_equal(rig_grants(&rig), 0);
	rig_close(&rig);
}

/* ---- configuration that changes while it is read ----------------------------------------------------------------- */

/* Another capacity, and generation, before each of the first `lie_from` reads of its upper half. */
static uint32_t torn(struct fake_dev *dev, unsigned offset, uint32_t value)
{
	if (offset != CONFIG_OFFSET(capacity) || dev->hooked >= lie_from)
		return value;
	dev->hooked++;
	dev->generation++;
	dev->config.capacity = dev->config.capacity == 0xffffffff ? UINT64_C(0x100000000) : 0xffffffff;
	return value;
}

static void test_config_settles(void **state)
{
	struct blk_rig rig;
	struct gio_blk_info info;

	(void)state;
	RIG_REGISTERS_ONLY();
	rig_init(&rig, 1);
	rig.dev->config.capacity = 0xffffffff;
	rig.dev->read_hook = torn;
	lie_from = 3;
	rig_open(&rig);
	gio_blk_info(rig.blk, &info);
	assert_int_equal(info.capacity, UINT64_C(0x100000000)); /* and not the halves of two: 0x1ffffffff or 0 */
	rig_close(&rig);
}

static void test_config_never_settles(void **state)
{
	struct blk_rig rig;
	struct gio_blk_info info;

	(void)state;
	RIG_REGISTERS_ONLY();
	rig_init(&rig, 1);
	rig.dev->read_hook = torn;
	lie_from = UINT32_MAX;
	assert_int_equal(gio_blk_open(&rig.blk, &rig.config), -GIO_EPROTO);
	assert_true(rig.dev->hooked < 100);
	/* Once it is open, a reading that does not settle is dropped: the device goes on with the old one. */
	rig.dev->read_hook = NULL;
	rig.dev->config.capacity = 1000;
	rig_open(&rig);
	rig.dev->read_hook = torn;
	rig.dev->hooked = 0;
	fake_dev_config_changed(rig.dev);
	assert_int_equal(rig_interrupt(&rig), GIO_BLK_IRQ_CONFIG);
	assert_true(rig.dev->hooked > 1 && rig.dev->hooked < 100);
	gio_blk_info(rig.blk, &info);
	assert_int_equal(info.capacity, 1000);
	assert_false(gio_blk_broken(rig.blk));
	rig_close(&rig);
}

static void test_config_absurd_later(void **state)
{
	struct victim v;

	(void)state;
	victim_init(&v, false);
	v.rig.dev->config.capacity = UINT64_MAX;
	fake_dev_config_changed(v.rig.dev);
	rig_interrupt(&v.rig);
	victim_broken(&v, 0);
	victim_close(&v);
}

/* ---- reset that is not obeyed ------------------------------------------------------------------------------------ */

static uint32_t status_stays(struct fake_dev *dev, unsigned offset, uint32_t value)
{
	(void)dev;
	return offset == GIO_VIRTIO_MMIO_STATUS ? 15 : value;
}

/* The device keeps its rings mapped and does not reset: close returns all the same, and nothing it holds is reused. */
static void test_close_held(void **state)
{
	struct victim v;
	struct gio_grants_stats stats;
	struct fake_os_counts counts;

	(void)state;
	RIG_REGISTERS_ONLY();
	victim_init(&v, false);
	v.rig.dev->keep_mapped = true;
	v.rig.dev->read_hook = status_stays;
	gio_blk_close(v.rig.blk);
	v.rig.blk = NULL;
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(v.r[i].req.result, -GIO_EIO);
	gio_grants_stats(v.rig.grants, &stats);
	assert_true(stats.quarantined > 0);
	assert_int_equal(stats.used, stats.quarantined);
	fake_os_count(v.rig.os, &counts);
	assert_true(counts.holds >= stats.quarantined);
	fake_dev_release(v.rig.dev);
	victim_close(&v);
}

/* ---- faults of the system ---------------------------------------------------------------------------------------- */

static void open_faults(uint32_t version, bool indirect)
{
	struct blk_rig rig;
	unsigned n = 0;
	int err;

	rig_init(&rig, version);
	rig.config.queues = 3;
	rig.config.queue_size = 64;
	rig.config.indirect = indirect;
	do {
		struct fake_os_counts before, after;

		fake_os_count(rig.os, &before);
		fake_os_fail(rig.os, FAKE_ANY, ++n);
		err = gio_blk_open(&rig.blk, &rig.config);
		if (!err)
			break;
		assert_true(err == -GIO_ENOMEM || err == -GIO_ENOSPC);
		assert_int_equal(rig_grants(&rig), 0);
		assert_int_equal(rig.dev->status, 0);
		fake_os_count(rig.os, &after);
		assert_int_equal(after.allocs, before.allocs);
		assert_int_equal(after.pages, before.pages);
	} while (n < 200);
	fake_os_fail(rig.os, FAKE_ANY, 0);
	assert_int_equal(err, 0);
	assert_true(n > 2 + 3 * 6);
	assert_int_equal(rig_io(&rig, GIO_BLK_FLUSH, 0, NULL, 0), 0);
	rig_close(&rig);
}

static void test_open_faults(void **state)
{
	(void)state;
	open_faults(1, false);
	open_faults(2, true);
}

/* References run out: open fails cleanly at each stage, and so does submit, until some are free again. */
static void test_references_run_out(void **state)
{
	struct blk_rig rig;
	struct rig_req r;
	gio_gref_t hog[2048];
	unsigned n = 0;
	uint8_t *p;

	(void)state;
	rig_init(&rig, 1);
	rig.config.queues = 2;
	p = rig_pages(&rig, 1, 0);
	while (n < 2048 && gio_grants_alloc(rig.grants, 1, &hog[n]) == 0)
		n++;
	assert_true(n > 100 && n < 2048);
	do {
		int err = gio_blk_open(&rig.blk, &rig.config);

		if (!err)
			break;
		assert_true(err == -GIO_ENOMEM || err == -GIO_ENOSPC);
		assert_int_equal(rig_grants(&rig), n);
		gio_grants_free(rig.grants, hog[--n], 1);
	} while (n > 0);
	assert_non_null(rig.blk);
	rig_req_init(&rig, &r, GIO_BLK_READ, 0);
	rig_req_data(&r, p, 512);
	assert_int_equal(rig_submit(&rig, &r), -GIO_ENOSPC);
	assert_int_equal(rig.blk->queue[0].vq.free, rig.blk->queue[0].vq.size);
	assert_int_equal(rig.blk->queue[0].busy[0], 0);
	assert_int_equal(rig_io(&rig, GIO_BLK_FLUSH, 0, NULL, 0), 0); /* needs none */
	gio_grants_free(rig.grants, hog[--n], 1);
	assert_int_equal(rig_run(&rig, &r), 0);
	while (n > 0)
		gio_grants_free(rig.grants, hog[--n], 1);
	rig_pages_free(&rig, p, 1);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_used_bad),
		cmocka_unit_test(test_used_idx_jumps),
		cmocka_unit_test(test_used_len_huge),
		cmocka_unit_test(test_shared_scribbled),
		cmocka_unit_test(test_needs_reset),
		cmocka_unit_test(test_broken_then_reopened),
		cmocka_unit_test(test_broken_resubmit),
		cmocka_unit_test(test_broken_while_mapping),
		cmocka_unit_test(test_open_lied_to),
		cmocka_unit_test(test_seg_max_zero),
		cmocka_unit_test(test_features_missing),
		cmocka_unit_test(test_second_queue_missing),
		cmocka_unit_test(test_config_settles),
		cmocka_unit_test(test_config_never_settles),
		cmocka_unit_test(test_config_absurd_later),
		cmocka_unit_test(test_close_held),
		cmocka_unit_test(test_open_faults),
		cmocka_unit_test(test_references_run_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
