/* SPDX-License-Identifier: MIT */
/* virtio-blk's queues: what a backend sees of a request, slots, a full ring, wrapping indices, completion. */
#include "tests/unit/virtio/rig.h"

#include "guest/virtio/blk.h"

/* ---- what a backend can see ------------------------------------------------------------------------------------- */

/* The data of a write cannot be written by the device, and is out of its reach before done is called. */
static struct {
	struct blk_rig *rig;
	gio_dma_t addr;
	int in_done;
} reach;

static void reach_done(struct gio_blk_req *req)
{
	char byte;

	(void)req;
	reach.in_done = fake_peer_copy(reach.rig->os, FAKE_DEV_DOMID, reach.addr, &byte, 1, false);
}

static void granted(struct blk_rig *rig, enum gio_blk_op op)
{
	uint8_t *p = rig_pages(rig, 1, 0x11);
	uint32_t before = rig_grants(rig);
	struct rig_req r;
	char byte;

	rig->dev->lazy = true;
	rig_req_init(rig, &r, op, 0);
	rig_req_data(&r, p, 4096);
	r.req.done = reach_done;
	assert_int_equal(rig_submit(rig, &r), 0);
	assert_int_equal(rig_grants(rig), before + 1); /* the data; nothing else of a request */
	reach.rig = rig;
	reach.addr = r.sg[0].addr;
	reach.in_done = 0;
	assert_int_equal(fake_peer_copy(rig->os, FAKE_DEV_DOMID, reach.addr, &byte, 1, false), 0);
	assert_int_equal(!!fake_peer_copy(rig->os, FAKE_DEV_DOMID, reach.addr, &byte, 1, true), op == GIO_BLK_WRITE);
	assert_int_not_equal(fake_peer_copy(rig->os, FAKE_DEV_DOMID + 1, reach.addr, &byte, 1, false), 0);
	fake_dev_run(rig->dev, 0, 1);
	assert_int_equal(gio_blk_poll(rig->blk, 0), 1);
	assert_int_not_equal(reach.in_done, 0);
	assert_int_equal(rig_grants(rig), before);
	rig_pages_free(rig, p, 1);
}

/* Without a pool, that is: test_blk_pool.c has the other case. */
static void granted_both(struct blk_rig *rig)
{
	if (rig->pool)
		return;
	granted(rig, GIO_BLK_READ);
	granted(rig, GIO_BLK_WRITE);
}

static void test_granted(void **state)
{
	(void)state;
	rig_over_modes(granted_both);
}

/* Headers of a batch, and its statuses, are adjacent, even after requests completed in another order. */
static void adjacent(struct blk_rig *rig)
{
	struct rig_req r[8];
	struct fake_chain chain[8];
	struct blk_queue *q = &rig->blk->queue[0];
	gio_dma_t statuses = q->statuses.addr;
	unsigned expect;

	rig->dev->lazy = true;
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 8; i++) {
			rig_req_init(rig, &r[i], GIO_BLK_FLUSH, 0);
			assert_int_equal(rig_submit(rig, &r[i]), 0);
			assert_true(fake_dev_take(rig->dev, 0, &chain[i]));
			assert_int_equal(chain[i].indirect, rig->config.indirect);
			expect = (round * 8 + i) % q->slots;
			assert_int_equal(chain[i].buf[0].addr, q->headers.addr + expect * 16);
			assert_int_equal(chain[i].buf[1].addr, statuses + expect);
		}
		for (unsigned i = 0; i < 8; i++) {
			unsigned pick = (i * 5 + round) % 8;

			fake_dev_complete(rig->dev, 0, chain[pick].head, fake_dev_serve(rig->dev, &chain[pick]));
		}
		assert_int_equal(gio_blk_poll(rig->blk, 0), 8);
		for (unsigned i = 0; i < 8; i++)
			assert_int_equal(r[i].req.result, 0);
	}
}

/* Reaping completes without asking for an interrupt; the poll at the end asks. */
static void test_reap(void **state)
{
	struct blk_rig rig;
	struct rig_req r[3];
	uint16_t armed;

	(void)state;
	rig_init(&rig, 1);
	rig_open(&rig);
	armed = fake_dev_used_event(rig.dev, 0);
	for (unsigned i = 0; i < 3; i++) {
		rig_req_init(&rig, &r[i], GIO_BLK_FLUSH, 0);
		assert_int_equal(rig_submit(&rig, &r[i]), 0);
		gio_blk_kick(rig.blk, 0);
		assert_int_equal(gio_blk_reap(rig.blk, 0), 1);
		assert_int_equal(r[i].req.result, 0);
		assert_int_equal(fake_dev_used_event(rig.dev, 0), armed);
	}
	assert_int_equal(gio_blk_reap(rig.blk, 1000), 0);
	assert_int_equal(gio_blk_poll(rig.blk, 0), 0);
	assert_int_equal(fake_dev_used_event(rig.dev, 0), (uint16_t)(armed + 3));
	rig_close(&rig);
}

static void test_adjacent(void **state)
{
	(void)state;
	rig_over_modes(adjacent);
}

/* ---- a full ring, long runs ------------------------------------------------------------------------------------- */

static void full(struct blk_rig *rig)
{
	static struct rig_req r[65];
	uint8_t *p = rig_pages(rig, 1, 0);
	uint32_t before = rig_grants(rig);
	unsigned fit = 0, most = rig->config.indirect ? 64 : 64 / 3;

	rig->dev->lazy = true;
	for (;; fit++) {
		int err;

		rig_req_init(rig, &r[fit], GIO_BLK_WRITE, fit);
		rig_req_data(&r[fit], p, 512);
		err = rig_submit(rig, &r[fit]);
		if (err) {
			assert_int_equal(err, -GIO_ENOSPC);
			break;
		}
		assert_true(fit < most);
	}
	assert_int_equal(fit, most);
	assert_int_equal(rig_grants(rig), before + fit); /* the refused one left nothing mapped */
	gio_blk_kick(rig->blk, 0);
	/* One completion makes room for one. */
	assert_int_equal(fake_dev_run(rig->dev, 0, 1), 1);
	assert_int_equal(gio_blk_poll(rig->blk, 0), 1);
	assert_int_equal(rig_submit(rig, &r[fit]), 0);
	fake_dev_run(rig->dev, 0, UINT32_MAX);
	assert_int_equal(gio_blk_poll(rig->blk, 0), fit);
	for (unsigned i = 0; i <= fit; i++) {
		assert_int_equal(r[i].done, 1);
		assert_int_equal(r[i].req.result, 0);
	}
	assert_int_equal(rig_grants(rig), before);
	rig_pages_free(rig, p, 1);
}

static void test_full(void **state)
{
	(void)state;
	rig_over_modes(full);
}

/* More requests than a 16-bit index counts, so that all indices wrap; every completion arrives by interrupt. */
static void wrap(struct blk_rig *rig)
{
	uint8_t *p = rig_pages(rig, 1, 0);

	for (unsigned i = 0; i < 66000; i++) {
		assert_int_equal(rig_io(rig, GIO_BLK_READ, i % FAKE_DEV_SECTORS, p, 512), 0);
		rig->dev->accesses = 0;
	}
	rig_pages_free(rig, p, 1);
}

static void test_wrap(void **state)
{
	(void)state;
	for (unsigned mode = 0; mode < 2; mode++) {
		struct blk_rig rig;

		rig_init(&rig, 1);
		rig.config.queue_size = 4;
		rig.config.no_event_idx = mode;
		rig_open(&rig);
		wrap(&rig);
		rig_close(&rig);
	}
}

/* ---- done() ----------------------------------------------------------------------------------------------------- */

/* Submits itself again until `hooked` runs out, from within done: no lock is held there. */
static void again_done(struct gio_blk_req *req)
{
	struct rig_req *r = req->opaque;

	r->done++;
	assert_int_equal(req->result, 0);
	if (r->rig->dev->hooked == 0)
		return;
	r->rig->dev->hooked--;
	assert_int_equal(rig_submit(r->rig, r), 0);
	gio_blk_kick(r->rig->blk, 0);
}

static void again(struct blk_rig *rig)
{
	struct rig_req r[4];

	rig->dev->hooked = 1000;
	for (unsigned i = 0; i < 4; i++) {
		rig_req_init(rig, &r[i], GIO_BLK_FLUSH, 0);
		r[i].req.done = again_done;
		assert_int_equal(rig_submit(rig, &r[i]), 0);
	}
	gio_blk_kick(rig->blk, 0);
	rig_interrupt(rig);
	assert_int_equal(r[0].done + r[1].done + r[2].done + r[3].done, 1004);
}

static void test_submit_in_done(void **state)
{
	(void)state;
	rig_over_modes(again);
}

/*
 * A ring that was full of used requests is armed again all the same, and a poll takes no more than was in flight when
 * it began, however fast the device serves what done submits.
 */
static void poll_full(struct blk_rig *rig)
{
	static struct rig_req r[64];
	unsigned count = rig->config.indirect ? 64 : 32;
	unsigned irqs;

	rig->dev->hooked = 2 * count;
	for (unsigned i = 0; i < count; i++) {
		rig_req_init(rig, &r[i], GIO_BLK_FLUSH, 0);
		r[i].req.done = again_done;
		assert_int_equal(rig_submit(rig, &r[i]), 0);
	}
	gio_blk_kick(rig->blk, 0);
	for (unsigned left = 2 * count;; left -= count) {
		irqs = rig->dev->irqs;
		assert_int_equal(rig->dev->hooked, left);
		assert_int_equal(gio_blk_poll(rig->blk, 0), count);
		if (left == 0)
			break;
		assert_true(rig->dev->irqs > irqs);
	}
	assert_int_equal(gio_blk_poll(rig->blk, 0), 0);
	rig->dev->irq = false;
	assert_int_equal(rig_io(rig, GIO_BLK_FLUSH, 0, NULL, 0), 0);
}

static void test_poll_full(void **state)
{
	(void)state;
	rig_over_modes(poll_full);
}

/* Slots that do not fill a word, taken and given back in all orders: none beyond the last is ever used. */
static void test_slots_few(void **state)
{
	struct blk_rig rig;
	struct rig_req r[4];
	struct fake_chain chain[4];
	unsigned seed = 1;

	(void)state;
	rig_init(&rig, 1);
	rig.config.queue_size = 8;
	rig.dev->lazy = true;
	rig_open(&rig);
	assert_int_equal(rig.blk->queue[0].slots, 4);
	for (unsigned i = 0; i < 4; i++)
		r[i].done = 1;
	for (unsigned n = 0; n < 1000; n++) {
		unsigned i = (seed = seed * 1103515245 + 12345) / 65536 % 4;

		if (r[i].done) {
			rig_req_init(&rig, &r[i], GIO_BLK_FLUSH, 0);
			assert_int_equal(rig_submit(&rig, &r[i]), 0);
			assert_true(r[i].req.slot < 4);
			assert_true(fake_dev_take(rig.dev, 0, &chain[i]));
		} else {
			fake_dev_complete(rig.dev, 0, chain[i].head, fake_dev_serve(rig.dev, &chain[i]));
			assert_int_equal(gio_blk_poll(rig.blk, 0), 1);
			assert_int_equal(r[i].done, 1);
			assert_int_equal(r[i].req.result, 0);
		}
	}
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_granted),	       cmocka_unit_test(test_adjacent),
		cmocka_unit_test(test_full),	       cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_submit_in_done), cmocka_unit_test(test_poll_full),
		cmocka_unit_test(test_slots_few),      cmocka_unit_test(test_reap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
