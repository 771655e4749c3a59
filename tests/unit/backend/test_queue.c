/* SPDX-License-Identifier: MIT */
/* The split ring by itself: indices over their end, events, chains, and everything that makes a ring a lie. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/guestmem/guestmem.h"
#include "backend/virtio/chain.h"
#include "backend/virtio/ring.h"
#include "tests/unit/backend/fake.h"

#define SIZE 8u
#define W    GIO_VIRTQ_DESC_F_WRITE
#define NEXT GIO_VIRTQ_DESC_F_NEXT
#define IND  GIO_VIRTQ_DESC_F_INDIRECT

static struct gd_guestmem *mem;
static struct gd_ring queue;
static struct gio_virtq_desc *desc;
static struct gio_virtq_avail *avail;
static struct gio_virtq_used *used;
static uint16_t *used_event, *avail_event;
static struct gd_chain chain;

static struct gd_ledger_queue ledger;

static struct gd_ring_layout layout(bool event_idx, bool indirect)
{
	return (struct gd_ring_layout){.ledger = &ledger,
				       .desc = fake_addr(0, 0),
				       .driver = fake_addr(1, 0),
				       .device = fake_addr(2, 0),
				       .size = SIZE,
				       .event_idx = event_idx,
				       .indirect = indirect};
}

static void queue_open(bool event_idx, bool indirect)
{
	struct gd_ring_layout l = layout(event_idx, indirect);

	assert_int_equal(gd_ring_open(&queue, mem, &l, 256), 0);
}

static int setup(void **state)
{
	fake_setup(state);
	desc = (void *)fake_page(0);
	avail = (void *)fake_page(1);
	used = (void *)fake_page(2);
	used_event = &avail->ring[SIZE];
	avail_event = (uint16_t *)&used->ring[SIZE];
	return gd_guestmem_open(&mem, FAKE_DOMID, &gd_way_grants);
}

static int teardown(void **state)
{
	gd_ring_close(&queue, mem);
	memset(&queue, 0, sizeof(queue));
	gd_guestmem_close(mem);
	return fake_teardown(state);
}

/* ---- opening ---- */

static void test_open_rights(void **state)
{
	struct gd_ring_layout l = layout(true, false);

	(void)state;
	fake_xen.grants[0] = FAKE_READONLY; /* what we only read may be granted for reading */
	fake_xen.grants[1] = FAKE_READONLY;
	assert_int_equal(gd_ring_open(&queue, mem, &l, 256), 0);
	assert_int_equal(fake_xen.readable, 2);
	assert_int_equal(fake_xen.writable, 1);
	gd_ring_close(&queue, mem);
	fake_xen.grants[2] = FAKE_READONLY;
	assert_int_equal(gd_ring_open(&queue, mem, &l, 256), -EFAULT);
	assert_int_equal(fake_xen.mapped, 0);
}

static void test_open_refused(void **state)
{
	static const uint32_t sizes[] = {0, 3, 12, 512, 1024, 65536, 0x80000000, UINT32_MAX};
	struct gd_ring_layout l;

	(void)state;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		l = layout(true, false);
		l.size = sizes[i];
		assert_int_equal(gd_ring_open(&queue, mem, &l, 256), -EPROTO);
	}
	l = layout(true, false), l.desc += 8;
	assert_int_equal(gd_ring_open(&queue, mem, &l, 256), -EPROTO);
	l = layout(true, false), l.driver += 1;
	assert_int_equal(gd_ring_open(&queue, mem, &l, 256), -EPROTO);
	l = layout(true, false), l.device += 2;
	assert_int_equal(gd_ring_open(&queue, mem, &l, 256), -EPROTO);
	l = layout(true, false), l.desc = 0x1000;
	assert_int_equal(gd_ring_open(&queue, mem, &l, 256), -EFAULT);
	for (unsigned page = 0; page < 3; page++) {
		l = layout(true, false);
		fake_xen.grants[page] = FAKE_NONE;
		assert_int_equal(gd_ring_open(&queue, mem, &l, 256), -EFAULT);
		fake_xen.grants[page] = FAKE_WRITABLE;
	}
	assert_int_equal(fake_xen.mapped, 0);
}

/* "mapping the page count without the offset in page": all three parts run on into a page of their own. */
static void test_parts_cross_pages(void **state)
{
	struct gd_ring_layout l = {.ledger = &ledger,
				   .desc = fake_addr(10, 4096 - 64),
				   .driver = fake_addr(12, 4096 - 10),
				   .device = fake_addr(14, 4096 - 12),
				   .size = SIZE,
				   .event_idx = true};

	(void)state;
	assert_int_equal(gd_ring_open(&queue, mem, &l, 256), 0);
	assert_int_equal(fake_xen.mapped, 6);
	*(struct gio_virtq_desc *)(fake_page(11)) = (struct gio_virtq_desc){0x1234, 5, W, 7}; /* descriptor 4 */
	*(uint16_t *)(fake_page(12) + 4096 - 8) = 1;					      /* index */
	*(uint16_t *)(fake_page(12) + 4096 - 6) = 4;					      /* first entry */
	assert_int_equal(gd_ring_look(&queue), 1);
	assert_int_equal(gd_ring_head(&queue), 4);
	assert_int_equal(gd_ring_desc(&queue, 4).addr, 0x1234);
	assert_int_equal(gd_ring_desc(&queue, 4).length, 5);
	assert_int_equal(gd_ring_desc(&queue, 4).flags, W);
	assert_int_equal(gd_ring_desc(&queue, 4).next, 7);
	gd_ring_use(&queue, 4, 99);
	gd_ring_use(&queue, 3, 98);
	gd_ring_publish(&queue);
	assert_int_equal(*(uint32_t *)(fake_page(14) + 4096 - 8), 4); /* the second entry lies in the next page */
	assert_int_equal(*(uint32_t *)(fake_page(15)), 3);
	assert_int_equal(*(uint32_t *)(fake_page(15) + 4), 98);
}

/* ---- the available ring ---- */

static void test_look(void **state)
{
	(void)state;
	queue_open(true, false);
	assert_int_equal(gd_ring_look(&queue), 0);
	avail->idx = SIZE;
	assert_int_equal(gd_ring_look(&queue), SIZE);
	avail->idx = SIZE + 1;
	assert_int_equal(gd_ring_look(&queue), -EPROTO);
	avail->idx = UINT16_MAX; /* backwards */
	assert_int_equal(gd_ring_look(&queue), -EPROTO);
}

static void test_head_not_checked(void **state)
{
	(void)state;
	queue_open(true, false);
	avail->idx = 1;
	avail->ring[0] = SIZE;
	assert_int_equal(gd_ring_look(&queue), 1);
	assert_int_equal(gd_ring_head(&queue), -EPROTO);
	avail->ring[0] = UINT16_MAX;
	assert_int_equal(gd_ring_head(&queue), -EPROTO);
	avail->ring[0] = SIZE - 1;
	assert_int_equal(gd_ring_head(&queue), SIZE - 1);
}

/* Both indices over 65535, with the entries where they belong; several times round the ring. */
static void test_index_wrap(void **state)
{
	(void)state;
	queue_open(true, false);
	avail->idx = queue.next_avail = queue.next_used = queue.published = 65530;
	for (unsigned i = 0; i < 32; i++) {
		uint16_t at = (uint16_t)(65530 + i);

		avail->ring[at % SIZE] = (uint16_t)(i % SIZE);
		avail->idx++;
		assert_int_equal(gd_ring_look(&queue), 1);
		assert_int_equal(gd_ring_head(&queue), i % SIZE);
		gd_ring_advance(&queue, 1);
		assert_int_equal(gd_ring_look(&queue), 0);
		gd_ring_use(&queue, (uint16_t)(i % SIZE), i);
		gd_ring_publish(&queue);
		assert_int_equal(used->idx, (uint16_t)(at + 1));
		assert_int_equal(used->ring[at % SIZE].id, i % SIZE);
		assert_int_equal(used->ring[at % SIZE].len, i);
	}
}

static void test_advance_back(void **state)
{
	(void)state;
	queue_open(true, false);
	avail->idx = 3;
	for (uint16_t i = 0; i < 3; i++)
		avail->ring[i] = i;
	gd_ring_look(&queue);
	gd_ring_advance(&queue, 3);
	gd_ring_advance(&queue, -2);
	assert_int_equal(gd_ring_look(&queue), 2);
	assert_int_equal(gd_ring_head(&queue), 1);
}

/* ---- events ---- */

/* "used->idx read back from the guest": what the guest writes there is of no consequence. */
static void test_used_index_read_back(void **state)
{
	(void)state;
	queue_open(true, false);
	gd_ring_use(&queue, 1, 10);
	gd_ring_publish(&queue);
	used->idx = 77;
	gd_ring_use(&queue, 2, 20);
	gd_ring_publish(&queue);
	assert_int_equal(used->idx, 2);
	assert_int_equal(used->ring[1].id, 2);
}

static void test_publish_is_one_store(void **state)
{
	(void)state;
	queue_open(true, false);
	gd_ring_use(&queue, 1, 10);
	gd_ring_use(&queue, 2, 20);
	assert_int_equal(used->idx, 0); /* nothing is shown before */
	*used_event = 1;
	assert_true(gd_ring_publish(&queue));
	assert_int_equal(used->idx, 2);
	assert_false(gd_ring_publish(&queue)); /* nothing new */
}

/* While the thread is at work the next chain needs no kick, also if none has woken it; around the wrap too. */
static void test_no_kick_while_disarmed(void **state)
{
	(void)state;
	queue_open(true, false);
	for (unsigned i = 0; i < 4; i++) {
		uint16_t next = (uint16_t)(65534 + i);

		queue.next_avail = avail->idx = next;
		assert_true(gd_ring_arm(&queue));
		assert_true(gio_virtq_need_event(*avail_event, (uint16_t)(next + 1), next));
		gd_ring_disarm(&queue);
		for (uint16_t n = 1; n <= SIZE; n++)
			assert_false(gio_virtq_need_event(*avail_event, (uint16_t)(next + n), next));
		assert_false(gd_ring_waiting(&queue));
		avail->idx++;
		assert_true(gd_ring_waiting(&queue));
		assert_false(gd_ring_arm(&queue)); /* it must be looked at again */
	}
}

/* An interrupt exactly when the index passes used_event, around the wrap too. */
static void test_interrupt_event_idx(void **state)
{
	(void)state;
	queue_open(true, false);
	queue.next_used = queue.published = 65533;
	for (unsigned i = 0; i < 16; i++) {
		uint16_t entry = (uint16_t)(65533 + i);

		*used_event = entry;
		gd_ring_use(&queue, 0, 0);
		assert_true(gd_ring_publish(&queue));
		*used_event = (uint16_t)(entry + 2); /* not yet */
		gd_ring_use(&queue, 0, 0), i++;
		assert_false(gd_ring_publish(&queue));
	}
	*used_event = (uint16_t)(queue.next_used - 1); /* long past */
	gd_ring_use(&queue, 0, 0);
	assert_false(gd_ring_publish(&queue));
}

static void test_interrupt_flags(void **state)
{
	(void)state;
	queue_open(false, false);
	gd_ring_use(&queue, 0, 0);
	assert_true(gd_ring_publish(&queue));
	avail->flags = GIO_VIRTQ_AVAIL_F_NO_INTERRUPT;
	gd_ring_use(&queue, 0, 0);
	assert_false(gd_ring_publish(&queue));
	assert_int_equal(*avail_event, 0); /* not ours to write without EVENT_IDX */
}

static void test_arm_event_idx(void **state)
{
	(void)state;
	queue_open(true, false);
	queue.next_avail = 65535;
	avail->idx = 65535;
	assert_true(gd_ring_arm(&queue));
	assert_int_equal(*avail_event, 65535);
	avail->idx = 0; /* one more, over the end */
	assert_false(gd_ring_arm(&queue));
	assert_int_equal(gd_ring_look(&queue), 1);
	gd_ring_advance(&queue, 1);
	gd_ring_disarm(&queue);
	assert_int_equal(*avail_event, 65535); /* stays behind: no kicks while at work */
	assert_true(gd_ring_arm(&queue));
	assert_int_equal(*avail_event, 0);
	assert_int_equal(used->flags, 0);
}

/* "draining again after re-enabling kicks left them suppressed": arm, disarm, arm. */
static void test_arm_flags(void **state)
{
	(void)state;
	queue_open(false, false);
	assert_int_equal(used->flags, 0);
	gd_ring_disarm(&queue);
	assert_int_equal(used->flags, GIO_VIRTQ_USED_F_NO_NOTIFY);
	assert_true(gd_ring_arm(&queue));
	assert_int_equal(used->flags, 0);
	avail->idx = 1;
	assert_false(gd_ring_arm(&queue));
	gd_ring_disarm(&queue);
	gd_ring_advance(&queue, 1);
	assert_true(gd_ring_arm(&queue));
	assert_int_equal(used->flags, 0);
	gd_ring_disarm(&queue);
	assert_int_equal(used->flags, GIO_VIRTQ_USED_F_NO_NOTIFY);
}

/* ---- chains ---- */

static int walk(uint16_t head)
{
	return gd_chain_walk(&chain, &queue, head);
}

static void test_chain(void **state)
{
	gio_dma_t status;

	(void)state;
	queue_open(true, false);
	desc[5] = (struct gio_virtq_desc){fake_addr(20, 0), 16, NEXT, 0};
	desc[0] = (struct gio_virtq_desc){fake_addr(21, 0), 0, NEXT, 7}; /* empty: left out */
	desc[7] = (struct gio_virtq_desc){fake_addr(22, 0), 4096, NEXT | W, 2};
	desc[2] = (struct gio_virtq_desc){fake_addr(23, 4095), 2, W, 99}; /* without NEXT, `next` is nothing */
	assert_int_equal(walk(5), 0);
	assert_null(chain.why);
	assert_int_equal(chain.readable, 1);
	assert_int_equal(chain.writable, 2);
	assert_int_equal(chain.readable_bytes, 16);
	assert_int_equal(chain.writable_bytes, 4098);
	assert_int_equal(chain.segments[1].addr, fake_addr(22, 0));
	assert_true(gd_chain_status(&chain, &gd_way_grants, &status));
	assert_int_equal(status, fake_addr(24, 0));
}

static void test_chain_loops(void **state)
{
	(void)state;
	queue_open(true, false);
	desc[0] = (struct gio_virtq_desc){fake_addr(20, 0), 16, NEXT, 0};
	assert_int_equal(walk(0), -EPROTO);
	desc[0].next = 1;
	desc[1] = (struct gio_virtq_desc){fake_addr(20, 0), 16, NEXT, 0};
	assert_int_equal(walk(0), -EPROTO);
	for (unsigned i = 0; i < SIZE; i++) /* as long as the ring: no loop */
		desc[i] = (struct gio_virtq_desc){fake_addr(20, 0), 16, i + 1 < SIZE ? NEXT : 0, (uint16_t)(i + 1)};
	assert_int_equal(walk(0), 0);
	assert_int_equal(chain.readable, SIZE);
}

static void test_chain_leaves_the_table(void **state)
{
	(void)state;
	queue_open(true, false);
	desc[0] = (struct gio_virtq_desc){fake_addr(20, 0), 16, NEXT, SIZE};
	assert_int_equal(walk(0), -EPROTO);
	desc[0].next = UINT16_MAX;
	assert_int_equal(walk(0), -EPROTO);
}

static void test_chain_order(void **state)
{
	(void)state;
	queue_open(true, false);
	desc[0] = (struct gio_virtq_desc){fake_addr(20, 0), 16, NEXT | W, 1};
	desc[1] = (struct gio_virtq_desc){fake_addr(21, 0), 16, NEXT, 2};
	desc[2] = (struct gio_virtq_desc){fake_addr(22, 0), 1, W, 0};
	assert_int_equal(walk(0), 0);
	assert_non_null(chain.why);
	assert_int_equal(chain.last.addr, fake_addr(22, 0)); /* the status can be told all the same */
}

static void test_chain_status_address(void **state)
{
	gio_dma_t status;

	(void)state;
	chain = (struct gd_chain){.last = {.addr = 0, .length = 0}};
	assert_false(gd_chain_status(&chain, &gd_way_grants, &status));
	chain.last = (struct gd_segment){0x7fffffffffffffff, 2}; /* its last byte would be reference 0's */
	assert_false(gd_chain_status(&chain, &gd_way_grants, &status));
	chain.last = (struct gd_segment){gio_dma_addr(UINT32_MAX, 4095), 2};
	assert_false(gd_chain_status(&chain, &gd_way_grants, &status));
	chain.last = (struct gd_segment){gio_dma_addr(UINT32_MAX, 4094), 2};
	assert_true(gd_chain_status(&chain, &gd_way_grants, &status));
	assert_int_equal(status, gio_dma_addr(UINT32_MAX, 4095));
}

static void test_indirect_not_negotiated(void **state)
{
	(void)state;
	queue_open(true, false);
	desc[0] = (struct gio_virtq_desc){fake_addr(20, 0), 48, IND, 0};
	assert_int_equal(walk(0), -EPROTO);
}

static void test_indirect_length(void **state)
{
	static const uint32_t bad[] = {0, 1, 15, 17, 0xfffffff0, 129 * 16};

	(void)state;
	queue_open(true, true);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		desc[0] = (struct gio_virtq_desc){fake_addr(20, 0), bad[i], IND, 0};
		assert_int_equal(walk(0), 0);
		assert_non_null(chain.why);
		assert_int_equal(chain.table.length, 0);
	}
	desc[0].len = 128 * 16;
	assert_int_equal(walk(0), 0);
	assert_null(chain.why);
	assert_int_equal(chain.table.length, 128 * 16);
	desc[0].flags = IND | NEXT;
	assert_int_equal(walk(0), -EPROTO);
}

static void test_indirect_table(void **state)
{
	struct gio_virtq_desc table[3] = {
		{fake_addr(20, 0), 16, NEXT, 2}, {fake_addr(21, 0), 1, W, 0}, {0x99, 8, NEXT | W, 1}};

	(void)state;
	queue_open(true, true);
	desc[0] = (struct gio_virtq_desc){fake_addr(20, 0), 48, IND, 0};
	walk(0);
	gd_chain_walk_table(&chain, table);
	assert_null(chain.why);
	assert_int_equal(chain.readable, 1);
	assert_int_equal(chain.writable, 2);
	assert_int_equal(chain.last.addr, fake_addr(21, 0));
	walk(0);
	table[1].flags = NEXT | W; /* back to the first */
	gd_chain_walk_table(&chain, table);
	assert_non_null(chain.why);
	walk(0);
	table[1].flags = NEXT | W;
	table[1].next = 3;
	gd_chain_walk_table(&chain, table);
	assert_non_null(chain.why);
	walk(0);
	table[1].flags = IND;
	gd_chain_walk_table(&chain, table);
	assert_non_null(chain.why);
}

static void test_too_many_segments(void **state)
{
	static struct gio_virtq_desc table[128];

	(void)state;
	queue_open(true, true);
	for (unsigned i = 0; i < 128; i++)
		table[i] = (struct gio_virtq_desc){fake_addr(20, 0), 1, i < 127 ? NEXT | W : W, (uint16_t)(i + 1)};
	desc[0] = (struct gio_virtq_desc){fake_addr(30, 0), 16, NEXT, 1};
	desc[1] = (struct gio_virtq_desc){fake_addr(20, 0), 128 * 16, IND, 0};
	walk(0);
	gd_chain_walk_table(&chain, table);
	assert_non_null(chain.why);
	desc[1].len = 127 * 16;
	table[126].flags = W;
	walk(0);
	gd_chain_walk_table(&chain, table);
	assert_null(chain.why);
	assert_int_equal(chain.readable + chain.writable, GD_CHAIN_SEGMENTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_open_rights),
		T(test_open_refused),
		T(test_parts_cross_pages),
		T(test_look),
		T(test_head_not_checked),
		T(test_index_wrap),
		T(test_advance_back),
		T(test_used_index_read_back),
		T(test_publish_is_one_store),
		T(test_no_kick_while_disarmed),
		T(test_interrupt_event_idx),
		T(test_interrupt_flags),
		T(test_arm_event_idx),
		T(test_arm_flags),
		T(test_chain),
		T(test_chain_loops),
		T(test_chain_leaves_the_table),
		T(test_chain_order),
		T(test_chain_status_address),
		T(test_indirect_not_negotiated),
		T(test_indirect_length),
		T(test_indirect_table),
		T(test_too_many_segments),
	};

	return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
