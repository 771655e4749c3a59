/* SPDX-License-Identifier: MIT */
/* What a batch costs: copies, segments, operations, interrupts, system calls. And that nothing else grows with it. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/backend/fake.h"
#include "backend/virtio/wait.h"

#define W GIO_VIRTQ_DESC_F_WRITE
#define N 32u

/* Requests whose headers and status bytes lie side by side, as our guest library lays them out; or as Linux does. */
struct batch {
	uint32_t headers, statuses, data; /* first pages */
	uint32_t stride;		  /* bytes between headers, and between status bytes */
};

static void *header_of(const struct batch *b, unsigned i)
{
	return fake_page(b->headers) + (size_t)i * b->stride;
}

static uint8_t *status_of(const struct batch *b, unsigned i)
{
	return fake_page(b->statuses) + (size_t)i * (b->stride == 16 ? 1 : b->stride);
}

static void batch_place(struct batch *b, uint32_t stride, unsigned count)
{
	b->stride = stride;
	b->headers = fake_alloc((stride * count + 4095) / 4096);
	b->statuses = stride == 16 ? fake_alloc(1) : b->headers;
	b->data = fake_alloc(count);
	for (unsigned i = 0; i < count && stride != 16; i++)
		assert_true(stride >= 64);
}

/* All of them become visible to the device at once: by one store of the index. */
static void batch_submit(struct fake_vq *vq, const struct batch *b, uint32_t type, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		bool read = type == GIO_VIRTIO_BLK_T_IN;
		uint32_t status = b->stride == 16 ? i : i * b->stride + 32;
		struct gio_virtio_blk_outhdr header = {.type = type, .sector = i * 8};
		const struct fake_buf bufs[] = {{fake_addr(b->headers, 0) + (uint64_t)i * b->stride, 16, 0},
						{fake_addr(b->data + i, 0), 4096, read ? W : 0},
						{fake_addr(b->statuses, 0) + status, 1, W}};

		memcpy(header_of(b, i), &header, sizeof(header));
		*(fake_page(b->statuses) + status) = 0xee;
		vq->avail->ring[vq->avail_idx++ & (vq->size - 1)] = fake_chain(vq, bufs, 3);
	}
	__atomic_store_n(&vq->avail->idx, vq->avail_idx, __ATOMIC_RELEASE);
}

static void batch_check_reads(const struct batch *b, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		assert_memory_equal(fake_page(b->data + i), fake_disk.bytes + (size_t)i * 4096, 4096);
		assert_int_equal(*(status_of(b, i) + (b->stride == 16 ? 0 : 32)), GIO_VIRTIO_BLK_S_OK);
	}
}

struct cost {
	unsigned copies, segments, operations, raised, mapped;
	struct gd_vdev_stats stats;
};

static struct cost cost_now(void)
{
	struct cost c = {.copies = __atomic_load_n(&fake_xen.copies, __ATOMIC_SEQ_CST),
			 .segments = __atomic_load_n(&fake_xen.segments, __ATOMIC_SEQ_CST),
			 .operations = __atomic_load_n(&fake_xen.operations, __ATOMIC_SEQ_CST),
			 .raised = __atomic_load_n(&fake_guest.raised, __ATOMIC_SEQ_CST),
			 .mapped = __atomic_load_n(&fake_xen.mapped, __ATOMIC_SEQ_CST)};

	gd_vdev_stats(fake_guest.vdev, &c.stats);
	return c;
}

static struct cost batch_cost(const struct batch *b, uint32_t type, unsigned count)
{
	struct cost before = cost_now(), after;

	batch_submit(&fake_guest.vq[0], b, type, count);
	fake_kick(0);
	fake_used(&fake_guest.vq[0], count);
	fake_until(cost_now().stats.requests - before.stats.requests >= count);
	after = cost_now();
	assert_int_equal(after.mapped, before.mapped); /* rings, and nothing else */
	after.copies -= before.copies;
	after.segments -= before.segments;
	after.operations -= before.operations;
	after.raised -= before.raised;
	after.stats.syscalls -= before.stats.syscalls;
	after.stats.batches -= before.stats.batches;
	after.stats.requests -= before.stats.requests;
	return after;
}

/* A guest that packs headers and status bytes: 1 + 32 + 1 segments, in two copies. */
static void test_reads_packed(void **state)
{
	struct batch b;
	struct cost c;

	(void)state;
	fake_start(&(struct fake_setup){0});
	fake_still_works();
	batch_place(&b, 16, N);
	c = batch_cost(&b, GIO_VIRTIO_BLK_T_IN, N);
	batch_check_reads(&b, N);
	assert_int_equal(c.copies, 2);
	assert_int_equal(c.segments, 1 + N + 1);
	assert_int_equal(c.operations, 1 + N + 1);
	assert_in_range(c.raised, 0, 1); /* none, if we had seen it all before the device looked whether we want one */
	assert_int_equal(c.stats.batches, 1);
	assert_int_equal(c.stats.requests, N);
	assert_in_range(c.stats.syscalls, 1, N); /* at most one a request, interrupt included */
	/* Two copies, two waits, one wake-up, one interrupt; and what naps of the next wait have begun meanwhile. */
	assert_in_range(c.stats.syscalls, 1, 6 + GD_WAIT_NAPS);
}

static void test_writes_packed(void **state)
{
	struct batch b;
	struct cost c;

	(void)state;
	fake_start(&(struct fake_setup){0});
	fake_still_works();
	batch_place(&b, 16, N);
	for (unsigned i = 0; i < N; i++)
		memset(fake_page(b.data + i), (int)(i + 1), 4096);
	c = batch_cost(&b, GIO_VIRTIO_BLK_T_OUT, N);
	for (unsigned i = 0; i < N; i++)
		assert_memory_equal(fake_page(b.data + i), fake_disk.bytes + (size_t)i * 4096, 4096);
	assert_int_equal(c.copies, 2);
	assert_int_equal(c.segments, 1 + N + 1);
	assert_int_equal(c.operations, 1 + N + 1);
	assert_in_range(c.raised, 0, 1); /* none, if we had seen it all before the device looked whether we want one */
}

/* As Linux's struct virtblk_req: header and status of a request close together, requests wherever the slab has them. */
static void test_reads_scattered(void **state)
{
	struct batch b;
	struct cost c;

	(void)state;
	fake_start(&(struct fake_setup){0});
	fake_still_works();
	batch_place(&b, 4096 + 512, N);
	c = batch_cost(&b, GIO_VIRTIO_BLK_T_IN, N);
	batch_check_reads(&b, N);
	assert_int_equal(c.copies, 2);
	assert_int_equal(c.segments, 3 * N);
	assert_int_equal(c.operations, c.segments);
	/* Sixteen requests in a slab page: their headers are one segment, each status byte one. */
	batch_place(&b, 256, N);
	c = batch_cost(&b, GIO_VIRTIO_BLK_T_IN, N);
	batch_check_reads(&b, N);
	assert_int_equal(c.copies, 2);
	assert_int_equal(c.segments, 2 + N + N);
}

static void test_indirect_tables_in_one_copy(void **state)
{
	struct fake_vq *vq = &fake_guest.vq[0];
	uint32_t tables, data;
	struct cost before, after;

	(void)state;
	fake_start(&(struct fake_setup){.indirect = true});
	fake_still_works();
	tables = fake_alloc(N);
	data = fake_alloc(N);
	for (unsigned i = 0; i < N; i++) {
		struct gio_virtq_desc *t = (void *)fake_page(tables + i);
		struct gio_virtio_blk_outhdr header = {.type = GIO_VIRTIO_BLK_T_IN, .sector = i * 8};
		const struct fake_buf buf = {fake_addr(tables + i, 0), 48, GIO_VIRTQ_DESC_F_INDIRECT};

		t[0] = (struct gio_virtq_desc){fake_addr(tables + i, 1024), 16, GIO_VIRTQ_DESC_F_NEXT, 1};
		t[1] = (struct gio_virtq_desc){fake_addr(data + i, 0), 4096, W | GIO_VIRTQ_DESC_F_NEXT, 2};
		t[2] = (struct gio_virtq_desc){fake_addr(tables + i, 2048), 1, W, 0};
		memcpy(fake_page(tables + i) + 1024, &header, sizeof(header));
		vq->avail->ring[vq->avail_idx++ & (vq->size - 1)] = fake_chain(vq, &buf, 1);
	}
	before = cost_now();
	__atomic_store_n(&vq->avail->idx, vq->avail_idx, __ATOMIC_RELEASE);
	fake_kick(0);
	fake_used(vq, N);
	after = cost_now();
	assert_int_equal(after.copies - before.copies, 3);
	for (unsigned i = 0; i < N; i++)
		assert_memory_equal(fake_page(data + i), fake_disk.bytes + (size_t)i * 4096, 4096);
}

/* More than a batch takes: all are served with one kick. */
static void test_large_ring(void **state)
{
	struct batch b;
	struct cost c;

	(void)state;
	fake_start(&(struct fake_setup){.queue_size = 1024, .disk_size = 2 << 20});
	fake_still_works();
	batch_place(&b, 16, 255); /* one page of headers */
	c = batch_cost(&b, GIO_VIRTIO_BLK_T_IN, 255);
	batch_check_reads(&b, 255);
	assert_in_range(c.copies, 3, 4 * 2);
	assert_int_equal(c.stats.batches, 2);
}

static void test_several_queues(void **state)
{
	struct fake_req req[FAKE_QUEUES];

	(void)state;
	fake_start(&(struct fake_setup){.queues = FAKE_QUEUES});
	assert_int_equal(gd_mmio_read(&fake_guest.mmio, 0x122, 2), FAKE_QUEUES);
	for (unsigned round = 0; round < 50; round++) {
		for (unsigned q = 0; q < FAKE_QUEUES; q++) {
			req[q] = fake_request(q, GIO_VIRTIO_BLK_T_IN, q * 8, 4096, false, NULL);
			fake_kick(q);
		}
		for (unsigned q = 0; q < FAKE_QUEUES; q++) {
			fake_used(&fake_guest.vq[q], 1);
			assert_int_equal(fake_status(&req[q]), GIO_VIRTIO_BLK_S_OK);
			assert_memory_equal(fake_page(req[q].data), fake_disk.bytes + q * 4096, 4096);
		}
		fake_guest.next_page -= 3 * FAKE_QUEUES;
	}
}

/* An engine that can have one queue only: the device offers one. */
static void test_single_queue_disk(void **state)
{
	(void)state;
	fake_disk.info.multi_queue = false;
	assert_int_equal(fake_open(&(struct fake_setup){.queues = 4}), 0);
	fake_reg_write(GIO_VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	assert_int_equal(fake_reg_read(GIO_VIRTIO_MMIO_DEVICE_FEATURES) & GIO_VIRTIO_BLK_F_MQ, 0);
	assert_int_equal(gd_mmio_read(&fake_guest.mmio, 0x122, 2), 1);
	fake_reg_write(GIO_VIRTIO_MMIO_QUEUE_SEL, 1);
	assert_int_equal(fake_reg_read(GIO_VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
}

/* Without EVENT_IDX the flags do the same. */
static void test_flags_instead_of_events(void **state)
{
	struct fake_vq *vq = &fake_guest.vq[0];
	unsigned raised;

	(void)state;
	fake_start(&(struct fake_setup){.features = FAKE_FEATURES & ~GIO_VIRTIO_F_EVENT_IDX});
	fake_still_works();
	fake_still_works();
	fake_until(__atomic_load_n(&vq->used->flags, __ATOMIC_SEQ_CST) == 0); /* asleep: it wants kicks */
	fake_until(__atomic_load_n(&fake_guest.raised, __ATOMIC_SEQ_CST) == 2);
	__atomic_store_n(&vq->avail->flags, GIO_VIRTQ_AVAIL_F_NO_INTERRUPT, __ATOMIC_SEQ_CST);
	raised = fake_guest.raised;
	fake_still_works();
	fake_until(__atomic_load_n(&vq->used->flags, __ATOMIC_SEQ_CST) == 0);
	assert_int_equal(__atomic_load_n(&fake_guest.raised, __ATOMIC_SEQ_CST), raised);
}

/*
 * "Draining again after re-enabling kicks left them suppressed": a driver that kicks only when the device asks for it,
 * many times with nothing else going on that could hide a lost one.
 */
static void test_no_kick_is_lost(void **state)
{
	struct fake_vq *vq = &fake_guest.vq[0];
	uint16_t *event;

	(void)state;
	fake_start(&(struct fake_setup){0});
	event = (uint16_t *)&vq->used->ring[vq->size];
	for (unsigned i = 0; i < 2000; i++) {
		uint32_t page = fake_guest.next_page;
		uint16_t before = vq->avail_idx;

		fake_request(0, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
		__sync_synchronize(); /* our index before their event: pairs with gd_ring_arm() */
		if (gio_virtq_need_event(__atomic_load_n(event, __ATOMIC_SEQ_CST), vq->avail_idx, before))
			fake_kick(0);
		fake_used(vq, 1);
		fake_guest.next_page = page;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
		T(test_reads_packed),	   T(test_writes_packed),
		T(test_reads_scattered),   T(test_indirect_tables_in_one_copy),
		T(test_large_ring),	   T(test_several_queues),
		T(test_single_queue_disk), T(test_flags_instead_of_events),
		T(test_no_kick_is_lost),
	};

	return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
