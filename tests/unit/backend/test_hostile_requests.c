/* SPDX-License-Identifier: MIT */
/*
 * A hostile guest's requests: the defects that other backends were found to have, each under its name, and requests
 * that lie. Each of them fails, and the requests beside it do not notice.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/backend/fake.h"

#define W    GIO_VIRTQ_DESC_F_WRITE
#define NEXT GIO_VIRTQ_DESC_F_NEXT
#define IND  GIO_VIRTQ_DESC_F_INDIRECT

static const uint8_t ok = GIO_VIRTIO_BLK_S_OK, ioerr = GIO_VIRTIO_BLK_S_IOERR;

/* ---- requests that lie: an error for them, and nothing for anybody else ---- */

/* A chain of these pieces between two good requests. Returns the used length; the status goes where it says. */
static uint32_t between_good_ones(const struct fake_buf *bufs, unsigned count)
{
	struct fake_req before, after;
	struct fake_vq *vq = &fake_guest.vq[0];
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
	assert_memory_equal(fake_page(before.data), fake_disk.bytes, 4096);
	assert_memory_equal(fake_page(after.data), fake_disk.bytes + 4096, 4096);
	assert_int_equal(fake_reg_read(0x070), 0xf);
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
	assert_int_equal(fake_disk.writes, 0);
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
	fake_xen.grants[d + 1] = FAKE_NONE;
	fake_xen.grants[d + 2] = FAKE_READONLY;
	const struct fake_buf write[] = {
		{fake_addr(h, 0), 16, 0}, {fake_addr(d, 0), 8192, 0}, {fake_addr(h, 16), 1, W}};

	assert_int_equal(between_good_ones(write, 3), 1);
	assert_int_equal(fake_page(h)[16], ioerr);
	assert_int_equal(fake_disk.writes, 0);
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
	struct fake_vq *vq = &fake_guest.vq[0];
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
			assert_memory_equal(fake_page(d + i), fake_disk.bytes + i * 512, 512);
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
	memcpy(before, fake_disk.bytes, 512);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_OUT, 0, 512, true, data), ioerr);
	assert_memory_equal(fake_disk.bytes, before, 512);
	assert_int_equal(fake_disk.writes, 0);
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
	assert_int_equal(fake_disk.reads + fake_disk.writes, 0);
}

static void test_failed_io_never_completed(void **state)
{
	uint8_t data[512];

	(void)state;
	fake_start(&(struct fake_setup){0});
	for (unsigned i = 0; i < 300; i++) { /* more than the ring has entries */
		fake_disk.fail = 1;
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

		fake_avail(&fake_guest.vq[0], head);
		fake_kick(0);
		used = fake_used(&fake_guest.vq[0], 1);
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
	fake_used(&fake_guest.vq[0], 1);
	flip_and_serve(&(struct flipper){.field = &fake_guest.vq[0].desc[req.head + 1].len, .values = {512, 8192}},
		       req.head, (uint32_t[]){513, 8193});
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

	head = fake_chain(&fake_guest.vq[0], &buf, 1);
	flip_and_serve(&(struct flipper){.field = &fake_guest.vq[0].desc[head].len, .values = {32, 0xfffffff0}}, head,
		       (uint32_t[]){1, 0});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
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

	return cmocka_run_group_tests_name("hostile-requests", tests, NULL, NULL);
}
