/* SPDX-License-Identifier: MIT */
/* The split ring, driver side, with the device's side played by hand. */
#include "tests/unit/virtio/rig.h"

#include "guest/virtio/shared.h"

struct ring {
	struct blk_rig rig;
	struct gio_dma dma;
	struct gio_transport *transport;
	struct gio_virtq vq;
};

static void ring_init(struct ring *r, uint32_t size, uint64_t features)
{
	struct gio_transports_place place;
	uint64_t agreed;
	uint32_t max;

	rig_init(&r->rig, 1);
	place = rig_place(&r->rig);
	r->rig.dev->num_max = GIO_VIRTQ_MAX;
	assert_int_equal(gio_dma_init(&r->dma, r->rig.os, r->rig.grants, FAKE_DEV_DOMID, UINT64_MAX), 0);
	assert_int_equal(gio_transports_open(&r->transport, r->rig.os, &place, GIO_VIRTIO_ID_BLOCK), 0);
	assert_int_equal(gio_transport_negotiate(r->transport, GIO_VIRTIO_F_VERSION_1, features, &agreed), 0);
	assert_int_equal(gio_virtq_init(&r->vq, &r->dma, size, features & GIO_VIRTIO_F_EVENT_IDX), 0);
	assert_int_equal(gio_transport_queue_probe(r->transport, 0, &max), 0);
	assert_int_equal(gio_transport_queue_enable(r->transport, &r->vq), 0);
}

static void ring_exit_with(struct ring *r, unsigned faults)
{
	fake_dev_release(r->rig.dev);
	gio_virtq_exit(&r->vq);
	gio_transport_close(r->transport);
	rig_close_with(&r->rig, faults);
}

static void ring_exit(struct ring *r)
{
	ring_exit_with(r, 0);
}

/* A chain of `count` buffers whose addresses and lengths tell `cookie`; the last is the device's to write. */
static void chain_fill(struct gio_virtq_chain *chain, unsigned count, uint16_t cookie)
{
	for (unsigned i = 0; i < count; i++)
		gio_virtq_chain_add(chain, UINT64_C(0x8000000000000000) | (uint64_t)cookie << 16 | i, cookie + i,
				    i + 1 == count);
}

static int ring_add(struct ring *r, unsigned count, uint16_t cookie)
{
	struct gio_virtq_chain chain;
	int err = gio_virtq_reserve(&r->vq, count);

	if (err)
		return err;
	gio_virtq_chain_start(&chain, &r->vq, count);
	chain_fill(&chain, count, cookie);
	gio_virtq_chain_publish(&chain, cookie);
	return 0;
}

static void chain_check(const struct fake_chain *chain, unsigned count, uint16_t cookie)
{
	assert_int_equal(chain->count, count);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(chain->buf[i].addr, UINT64_C(0x8000000000000000) | (uint64_t)cookie << 16 | i);
		assert_int_equal(chain->buf[i].len, cookie + i);
		assert_int_equal(!!(chain->buf[i].flags & GIO_VIRTQ_DESC_F_WRITE), i + 1 == count);
	}
}

/* ---- layout ----------------------------------------------------------------------------------------------------- */

static void test_sizes(void **state)
{
	(void)state;
	assert_int_equal(gio_virtq_desc_bytes(256), 4096);
	assert_int_equal(gio_virtq_avail_bytes(256), 4 + 512 + 2);
	assert_int_equal(gio_virtq_used_event_offset(256), 516);
	assert_int_equal(gio_virtq_used_bytes(256), 4 + 2048 + 2);
	assert_int_equal(gio_virtq_avail_event_offset(256), 2052);
	assert_true(gio_virtq_size_valid(1));
	assert_true(gio_virtq_size_valid(32768));
	assert_false(gio_virtq_size_valid(0));
	assert_false(gio_virtq_size_valid(3));
	assert_false(gio_virtq_size_valid(65536));
}

static void test_need_event(void **state)
{
	static const struct {
		uint16_t event, now, before;
		bool need;
	} cases[] = {
		{0, 1, 0, true},	 {1, 1, 0, false},	   {0, 0, 0, false},
		{4, 5, 0, true},	 {5, 5, 0, false},	   {65535, 0, 65535, true},
		{65535, 2, 65530, true}, {65529, 2, 65530, false}, {2, 2, 65530, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(gio_virtq_need_event(cases[i].event, cases[i].now, cases[i].before), cases[i].need);
}

static void test_init_sizes(void **state)
{
	static const uint32_t bad[] = {0, 3, 65536, 1000};
	struct ring r;
	struct gio_virtq vq;

	(void)state;
	ring_init(&r, 4, 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(gio_virtq_init(&vq, &r.dma, bad[i], true), -GIO_EINVAL);
	ring_exit(&r);
}

/* Whether Xen would let the backend write there. */
static bool device_writes(struct ring *r, gio_dma_t addr)
{
	char zero = 0;

	return !fake_peer_copy(r->rig.os, FAKE_DEV_DOMID, addr, &zero, 1, true);
}

static void test_init_layout(void **state)
{
	(void)state;
	for (uint32_t size = 1; size <= 1024; size *= 2) {
		struct ring r;

		ring_init(&r, size, 0);
		assert_int_equal(r.vq.desc_addr % GIO_VIRTQ_DESC_ALIGN, 0);
		assert_int_equal(r.vq.avail_addr % GIO_VIRTQ_AVAIL_ALIGN, 0);
		assert_int_equal(r.vq.used_addr % GIO_VIRTQ_USED_ALIGN, 0);
		assert_true(r.vq.avail_addr >= r.vq.desc_addr + gio_virtq_desc_bytes(size));
		assert_true(r.vq.used_addr >= r.vq.avail_addr + gio_virtq_avail_bytes(size));
		assert_int_equal(r.rig.dev->queue[0].desc, r.vq.desc_addr);
		assert_int_equal(r.rig.dev->queue[0].driver, r.vq.avail_addr);
		assert_int_equal(r.rig.dev->queue[0].device, r.vq.used_addr);
		assert_false(device_writes(&r, r.vq.desc_addr));
		assert_false(device_writes(&r, r.vq.avail_addr));
		assert_false(device_writes(&r, r.vq.avail_addr + gio_virtq_avail_bytes(size) - 1));
		assert_true(device_writes(&r, r.vq.used_addr));
		assert_true(device_writes(&r, r.vq.used_addr + gio_virtq_used_bytes(size) - 1));
		ring_exit(&r);
	}
}

static void test_init_faults(void **state)
{
	struct ring r;
	unsigned n = 0;
	int err;

	(void)state;
	ring_init(&r, 4, 0);
	do {
		struct gio_virtq vq;
		uint32_t before = rig_grants(&r.rig);

		fake_os_fail(r.rig.os, FAKE_ANY, ++n);
		err = gio_virtq_init(&vq, &r.dma, 512, true);
		if (err)
			assert_int_equal(err, -GIO_ENOMEM);
		gio_virtq_exit(&vq);
		assert_int_equal(rig_grants(&r.rig), before);
	} while (fake_os_struck(r.rig.os, FAKE_ANY) && n < 100);
	fake_os_fail(r.rig.os, FAKE_ANY, 0);
	assert_int_equal(err, 0);
	assert_true(n > 3);
	ring_exit(&r);
}

/* ---- chains ----------------------------------------------------------------------------------------------------- */

static void test_chain_direct(void **state)
{
	struct ring r;
	struct fake_chain chain;
	uint16_t cookie;

	(void)state;
	ring_init(&r, 8, 0);
	assert_int_equal(ring_add(&r, 3, 11), 0);
	assert_int_equal(ring_add(&r, 5, 22), 0);
	assert_int_equal(gio_virtq_reserve(&r.vq, 1), -GIO_ENOSPC);
	assert_true(fake_dev_take(r.rig.dev, 0, &chain));
	chain_check(&chain, 3, 11);
	fake_dev_complete(r.rig.dev, 0, chain.head, 0);
	assert_true(fake_dev_take(r.rig.dev, 0, &chain));
	chain_check(&chain, 5, 22);
	assert_false(fake_dev_take(r.rig.dev, 0, &chain));
	assert_int_equal(gio_virtq_reap(&r.vq, &cookie), 0);
	assert_int_equal(cookie, 11);
	assert_int_equal(gio_virtq_reap(&r.vq, &cookie), -GIO_EAGAIN);
	fake_dev_complete(r.rig.dev, 0, chain.head, 0);
	assert_int_equal(gio_virtq_reap(&r.vq, &cookie), 0);
	assert_int_equal(cookie, 22);
	assert_int_equal(r.vq.free, 8);
	ring_exit(&r);
}

static void test_chain_indirect(void **state)
{
	struct ring r;
	struct fake_chain seen;
	struct gio_virtq_chain chain;
	struct gio_virtq_desc *table;
	gio_dma_t addr;
	uint16_t cookie;

	(void)state;
	ring_init(&r, 4, GIO_VIRTIO_F_INDIRECT_DESC);
	table = gio_dma_alloc(&r.dma, 16 * sizeof(*table), 0, &addr);
	assert_non_null(table);
	for (unsigned n = 1; n <= 16; n++) {
		assert_int_equal(gio_virtq_reserve(&r.vq, 1), 0);
		gio_virtq_chain_start_indirect(&chain, &r.vq, n, table, addr);
		chain_fill(&chain, n, 7);
		gio_virtq_chain_publish(&chain, 7);
		assert_true(fake_dev_take(r.rig.dev, 0, &seen));
		assert_true(seen.indirect);
		chain_check(&seen, n, 7);
		fake_dev_complete(r.rig.dev, 0, seen.head, 0);
		assert_int_equal(gio_virtq_reap(&r.vq, &cookie), 0);
		assert_int_equal(r.vq.free, 4);
	}
	gio_dma_free(&r.dma, table, 16 * sizeof(*table), addr);
	ring_exit(&r);
}

static void test_reserve(void **state)
{
	struct ring r;

	(void)state;
	ring_init(&r, 8, 0);
	assert_int_equal(gio_virtq_reserve(&r.vq, 9), -GIO_ENOSPC);
	assert_int_equal(gio_virtq_reserve(&r.vq, 5), 0);
	assert_int_equal(gio_virtq_reserve(&r.vq, 4), -GIO_ENOSPC);
	assert_int_equal(ring_add(&r, 3, 1), 0);
	gio_virtq_unreserve(&r.vq, 5);
	assert_int_equal(ring_add(&r, 5, 2), 0);
	assert_int_equal(gio_virtq_reserve(&r.vq, 1), -GIO_ENOSPC);
	ring_exit(&r);
}

/* Chains of changing lengths, completed out of order, for long enough that the free list is thoroughly mixed. */
static void shuffle(struct ring *r, unsigned rounds, uint16_t start)
{
	struct fake_queue *q = &r->rig.dev->queue[0];
	unsigned seed = 12345, in_flight = 0;
	uint16_t heads[16], cookies[16], cookie, next = 1;

	r->vq.avail_idx = r->vq.used_idx = r->vq.armed = start;
	q->avail_idx = q->used_idx = start;
	fake_dev_set_used_idx(r->rig.dev, 0, start);
	shared_store16(&r->vq.avail->idx, start);
	for (unsigned i = 0; i < rounds; i++) {
		unsigned count = 1 + (seed = seed * 1103515245 + 12345) / 65536 % 3;
		struct fake_chain chain;

		if (in_flight < 5) {
			assert_int_equal(ring_add(r, count, next), 0);
			assert_true(fake_dev_take(r->rig.dev, 0, &chain));
			chain_check(&chain, count, next);
			heads[in_flight] = chain.head;
			cookies[in_flight++] = next++;
		}
		if (in_flight == 5 || seed & 0x10000) {
			unsigned pick = seed / 131072 % in_flight;

			fake_dev_complete(r->rig.dev, 0, heads[pick], 0);
			assert_int_equal(gio_virtq_reap(&r->vq, &cookie), 0);
			assert_int_equal(cookie, cookies[pick]);
			heads[pick] = heads[--in_flight];
			cookies[pick] = cookies[in_flight];
		}
	}
	while (in_flight) {
		fake_dev_complete(r->rig.dev, 0, heads[--in_flight], 0);
		assert_int_equal(gio_virtq_reap(&r->vq, &cookie), 0);
		assert_int_equal(cookie, cookies[in_flight]);
	}
	assert_int_equal(r->vq.free, r->vq.size);
	assert_int_equal(r->vq.in_flight, 0);
}

static void test_out_of_order(void **state)
{
	struct ring r;

	(void)state;
	ring_init(&r, 16, 0);
	shuffle(&r, 2000, 0);
	ring_exit(&r);
}

static void test_index_wraps(void **state)
{
	struct ring r;

	(void)state;
	ring_init(&r, 16, GIO_VIRTIO_F_EVENT_IDX);
	shuffle(&r, 2000, 65000);
	assert_true(r.vq.avail_idx < 65000);
	ring_exit(&r);
}

/* ---- a device that must not be believed ------------------------------------------------------------------------- */

static void expect_broken(struct ring *r)
{
	uint16_t cookie;

	assert_int_equal(gio_virtq_reap(&r->vq, &cookie), -GIO_EPROTO);
	assert_true(r->vq.broken);
	/* For good, even if the device mends its ring. */
	fake_dev_set_used_idx(r->rig.dev, 0, r->vq.used_idx);
	assert_int_equal(gio_virtq_reap(&r->vq, &cookie), -GIO_EPROTO);
	assert_int_equal(gio_virtq_reserve(&r->vq, 1), -GIO_EPROTO);
	assert_false(gio_virtq_kick_prepare(&r->vq));
	assert_false(gio_virtq_rearm(&r->vq));
	ring_exit(r);
}

/* Two chains in flight: descriptors 0 to 2 and 3 to 5. */
static void hostile_init(struct ring *r)
{
	ring_init(r, 8, GIO_VIRTIO_F_EVENT_IDX);
	assert_int_equal(ring_add(r, 3, 1), 0);
	assert_int_equal(ring_add(r, 3, 2), 0);
}

static void test_used_id_bad(void **state)
{
	static const uint32_t bad[] = {8, 9, 65536, 65536 + 3, 0x80000000, UINT32_MAX, /* out of range */
				       6, 7,					       /* free */
				       1, 2, 4,	    5}; /* inside a chain, not its head */

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct ring r;

		hostile_init(&r);
		fake_dev_put_used(r.rig.dev, 0, 0, bad[i], 0);
		fake_dev_set_used_idx(r.rig.dev, 0, 1);
		expect_broken(&r);
	}
}

static void test_used_twice(void **state)
{
	struct ring r;
	uint16_t cookie;

	(void)state;
	hostile_init(&r);
	fake_dev_put_used(r.rig.dev, 0, 0, 3, 0);
	fake_dev_put_used(r.rig.dev, 0, 1, 3, 0);
	fake_dev_set_used_idx(r.rig.dev, 0, 2);
	assert_int_equal(gio_virtq_reap(&r.vq, &cookie), 0);
	assert_int_equal(cookie, 2);
	expect_broken(&r);
}

static void test_used_idx_jumps(void **state)
{
	static const uint16_t bad[] = {3, 8, 9, 100, 0x8000, 65535, 65534};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct ring r;

		hostile_init(&r);
		fake_dev_put_used(r.rig.dev, 0, 0, 0, 0);
		fake_dev_put_used(r.rig.dev, 0, 1, 3, 0);
		fake_dev_set_used_idx(r.rig.dev, 0, bad[i]);
		expect_broken(&r);
	}
}

static void test_used_len_any(void **state)
{
	static const uint32_t lens[] = {0, 1, 513, UINT32_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		struct ring r;
		uint16_t cookie;

		hostile_init(&r);
		fake_dev_complete(r.rig.dev, 0, 3, lens[i]);
		assert_int_equal(gio_virtq_reap(&r.vq, &cookie), 0);
		assert_int_equal(cookie, 2);
		ring_exit(&r);
	}
}

/* Whatever the device writes over the driver's parts of the ring, the driver goes by its own memory. */
static void test_descriptors_overwritten(void **state)
{
	struct ring r;
	struct fake_chain chain;
	uint16_t cookie;

	(void)state;
	hostile_init(&r);
	memset(r.vq.desc, 0xff, gio_virtq_desc_bytes(8));
	memset(r.vq.avail->ring, 0xff, 16);
	fake_dev_complete(r.rig.dev, 0, 0, 0);
	fake_dev_complete(r.rig.dev, 0, 3, 0);
	assert_int_equal(gio_virtq_reap(&r.vq, &cookie), 0);
	assert_int_equal(gio_virtq_reap(&r.vq, &cookie), 0);
	assert_int_equal(r.vq.free, 8);
	r.rig.dev->queue[0].avail_idx = 2;
	assert_int_equal(ring_add(&r, 8, 9), 0);
	assert_true(fake_dev_take(r.rig.dev, 0, &chain));
	chain_check(&chain, 8, 9);
	ring_exit(&r);
}

/* ---- notifications ---------------------------------------------------------------------------------------------- */

static void test_kick_event_idx(void **state)
{
	struct ring r;

	(void)state;
	ring_init(&r, 64, GIO_VIRTIO_F_EVENT_IDX);
	assert_false(gio_virtq_kick_prepare(&r.vq)); /* nothing new */
	assert_int_equal(ring_add(&r, 1, 1), 0);
	assert_true(gio_virtq_kick_prepare(&r.vq));
	assert_false(gio_virtq_kick_prepare(&r.vq)); /* told already */
	assert_int_equal(ring_add(&r, 1, 2), 0);
	assert_false(gio_virtq_kick_prepare(&r.vq)); /* the device has not asked again */
	fake_dev_set_avail_event(r.rig.dev, 0, 4);
	assert_int_equal(ring_add(&r, 1, 3), 0);
	assert_int_equal(ring_add(&r, 1, 4), 0);
	assert_false(gio_virtq_kick_prepare(&r.vq)); /* index 4 is the fifth */
	assert_int_equal(ring_add(&r, 1, 5), 0);
	assert_int_equal(ring_add(&r, 1, 6), 0);
	assert_true(gio_virtq_kick_prepare(&r.vq));
	ring_exit(&r);
}

static void test_kick_flags(void **state)
{
	struct ring r;

	(void)state;
	ring_init(&r, 64, 0);
	fake_dev_set_used_flags(r.rig.dev, 0, GIO_VIRTQ_USED_F_NO_NOTIFY);
	assert_int_equal(ring_add(&r, 1, 1), 0);
	assert_false(gio_virtq_kick_prepare(&r.vq));
	fake_dev_set_used_flags(r.rig.dev, 0, 0);
	assert_false(gio_virtq_kick_prepare(&r.vq));
	assert_int_equal(ring_add(&r, 1, 2), 0);
	assert_true(gio_virtq_kick_prepare(&r.vq));
	/* With flags only, avail_event means nothing. */
	fake_dev_set_avail_event(r.rig.dev, 0, 40000);
	assert_int_equal(ring_add(&r, 1, 3), 0);
	assert_true(gio_virtq_kick_prepare(&r.vq));
	ring_exit(&r);
}

/* More than a turn of the index between two kicks: the event index cannot say whether it was passed. */
static void test_kick_after_a_turn(void **state)
{
	struct ring r;
	struct fake_chain chain;
	uint16_t cookie;

	(void)state;
	ring_init(&r, 4, GIO_VIRTIO_F_EVENT_IDX);
	fake_dev_set_avail_event(r.rig.dev, 0, 100);
	for (unsigned i = 0; i < 65537; i++) {
		assert_int_equal(ring_add(&r, 1, 1), 0);
		assert_true(fake_dev_take(r.rig.dev, 0, &chain));
		fake_dev_complete(r.rig.dev, 0, chain.head, 0);
		assert_int_equal(gio_virtq_reap(&r.vq, &cookie), 0);
	}
	assert_true(gio_virtq_kick_prepare(&r.vq));
	ring_exit(&r);
}

static void reap_one(struct ring *r)
{
	uint16_t cookie;

	assert_int_equal(gio_virtq_reap(&r->vq, &cookie), 0);
}

static void test_rearm_event_idx(void **state)
{
	struct ring r;
	uint16_t cookie;

	(void)state;
	hostile_init(&r);
	assert_false(gio_virtq_rearm(&r.vq)); /* armed from the start */
	fake_dev_complete(r.rig.dev, 0, 0, 0);
	assert_int_equal(r.rig.dev->irqs, 1);
	reap_one(&r);
	assert_int_equal(fake_dev_used_event(r.rig.dev, 0), 0); /* not yet: this side is still reaping */
	assert_int_equal(gio_virtq_reap(&r.vq, &cookie), -GIO_EAGAIN);
	/* Between that look and the request for an interrupt: it has none of its own. */
	fake_dev_complete(r.rig.dev, 0, 3, 0);
	assert_int_equal(r.rig.dev->irqs, 1);
	assert_true(gio_virtq_rearm(&r.vq));
	assert_int_equal(fake_dev_used_event(r.rig.dev, 0), 1);
	reap_one(&r);
	assert_false(gio_virtq_rearm(&r.vq));
	assert_int_equal(fake_dev_used_event(r.rig.dev, 0), 2);
	assert_int_equal(ring_add(&r, 1, 3), 0);
	fake_dev_complete(r.rig.dev, 0, r.vq.avail->ring[2], 0);
	assert_int_equal(r.rig.dev->irqs, 2);
	ring_exit(&r);
}

static void test_rearm_flags(void **state)
{
	struct ring r;

	(void)state;
	ring_init(&r, 8, 0);
	assert_int_equal(ring_add(&r, 3, 1), 0);
	assert_int_equal(ring_add(&r, 3, 2), 0);
	assert_int_equal(fake_dev_avail_flags(r.rig.dev, 0), 0);
	fake_dev_complete(r.rig.dev, 0, 0, 0);
	reap_one(&r);
	assert_int_equal(fake_dev_avail_flags(r.rig.dev, 0), GIO_VIRTQ_AVAIL_F_NO_INTERRUPT);
	fake_dev_complete(r.rig.dev, 0, 3, 0);
	assert_int_equal(r.rig.dev->irqs, 1);
	assert_true(gio_virtq_rearm(&r.vq));
	assert_int_equal(fake_dev_avail_flags(r.rig.dev, 0), 0);
	reap_one(&r);
	assert_false(gio_virtq_rearm(&r.vq));
	assert_false(gio_virtq_rearm(&r.vq));
	ring_exit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_need_event),
		cmocka_unit_test(test_init_sizes),
		cmocka_unit_test(test_init_layout),
		cmocka_unit_test(test_init_faults),
		cmocka_unit_test(test_chain_direct),
		cmocka_unit_test(test_chain_indirect),
		cmocka_unit_test(test_reserve),
		cmocka_unit_test(test_out_of_order),
		cmocka_unit_test(test_index_wraps),
		cmocka_unit_test(test_used_id_bad),
		cmocka_unit_test(test_used_twice),
		cmocka_unit_test(test_used_idx_jumps),
		cmocka_unit_test(test_used_len_any),
		cmocka_unit_test(test_descriptors_overwritten),
		cmocka_unit_test(test_kick_event_idx),
		cmocka_unit_test(test_kick_flags),
		cmocka_unit_test(test_kick_after_a_turn),
		cmocka_unit_test(test_rearm_event_idx),
		cmocka_unit_test(test_rearm_flags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
