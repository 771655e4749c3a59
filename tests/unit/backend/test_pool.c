/* SPDX-License-Identifier: MIT */
/*
 * A guest's pool: what is taken for one, what lies in it, and what a request in it costs. The guest is as hostile as it
 * can be, and the backend's domain is a PV domain or is not.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/backend/fake.h"

#include "backend/base/count.h"
#include "backend/guestmem/copy.h"

#define W		GIO_VIRTQ_DESC_F_WRITE
#define ROOM		64
#define POOL_ADDR(page) (GIO_DMA_GRANT_BIT | (uint64_t)(FAKE_GREF_BASE + (page)) << 12)
#define ALL		UINT32_MAX /* as many pages as the guest likes */

/* The usual pool: pages 4096 to 5119 are readable, and 5120 to 6143 writable. */
#define R_PAGE 4096u
#define W_PAGE 5120u
#define PAGES  1024u

static const struct gd_pool_run usual[] = {{FAKE_GREF_BASE + R_PAGE, PAGES, false},
					   {FAKE_GREF_BASE + W_PAGE, PAGES, true}};
static struct gd_log own_log;
static struct gd_pool *pool;

static int try(const struct gd_pool_run *runs, unsigned count, uint32_t most, bool only)
{
	const struct gd_pool_config config = {
		.domid = FAKE_DOMID, .runs = runs, .count = count, .pages_most = most, .only = only, .log = &own_log};

	return gd_pool_map(&pool, &config);
}

static void usual_map(bool only)
{
	memset(fake_xen.grants + R_PAGE, FAKE_READONLY, PAGES);
	assert_int_equal(try(usual, 2, 2 * PAGES, only), 0);
}

static int setup_in(void **state, const char *type)
{
	setenv("GRANTIO_GUEST_TYPE", type, 1);
	pool = NULL;
	return fake_setup(state);
}

static int setup_pv(void **state)
{
	return setup_in(state, "PV");
}

static int setup_pvh(void **state)
{
	return setup_in(state, "PVH");
}

static int teardown(void **state)
{
	fake_disk_release();
	fake_close();
	gd_pool_unmap(pool);
	return fake_teardown(state);
}

/* ---- what is taken for a pool ----------------------------------------------------------------------------------- */

static void test_runs_are_refused(void **state)
{
	static const struct {
		struct gd_pool_run runs[2];
		unsigned count;
	} bad[] = {
		{{{100, 0, true}}, 1},
		{{{100, GD_POOL_RUN_PAGES + 1, true}}, 1},
		{{{100, UINT32_MAX, true}}, 1},
		{{{7, 1, true}}, 1},
		{{{0, 16, false}}, 1},
		{{{UINT32_MAX, 2, true}}, 1},
		{{{UINT32_MAX - 9, 11, true}}, 1},
		{{{100, 10, true}, {100, 10, false}}, 2}, /* the same twice */
		{{{100, 10, true}, {109, 10, true}}, 2},
		{{{109, 10, true}, {100, 10, true}}, 2},
		{{{100, 10, true}, {103, 2, true}}, 2}, /* one within the other */
		{{{103, 2, true}, {100, 10, true}}, 2},
		{{{100, 10, true}, {110, 0, true}}, 2}, /* the second is looked at, too */
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		unsigned lines = fake_log_lines;

		assert_int_equal(try(bad[i].runs, bad[i].count, ALL, false), -EINVAL);
		assert_null(pool);
		assert_int_equal(fake_log_lines, lines + 1);
		assert_int_equal(fake_xen.maps, 0);
	}
}

static void test_limits(void **state)
{
	static const struct gd_pool_run last = {UINT32_MAX, 1, true}, first = {GD_POOL_FIRST, 1, true};
	struct gd_pool_run runs[GD_POOL_RUNS + 1];

	(void)state;
	for (unsigned i = 0; i <= GD_POOL_RUNS; i++)
		runs[i] = (struct gd_pool_run){FAKE_GREF_BASE + 2 * i, 2, true}; /* they touch, and do not overlap */
	assert_int_equal(try(runs, GD_POOL_RUNS + 1, ALL, false), -EINVAL);
	assert_int_equal(try(runs, GD_POOL_RUNS, 2 * GD_POOL_RUNS - 1, false), -EINVAL);
	assert_int_equal(try(runs, GD_POOL_RUNS, 2 * GD_POOL_RUNS, false), 0);
	assert_int_equal(gd_pool_pages(pool), 2 * GD_POOL_RUNS);
	gd_pool_unmap(pool);
	/* These can exist, although this guest does not grant them: they are not mapped, and that is no error. */
	assert_int_equal(try(&last, 1, ALL, false), 0);
	assert_true(gd_pool_names(pool, UINT32_MAX));
	gd_pool_unmap(pool);
	assert_int_equal(try(&first, 1, ALL, false), 0);
	assert_int_equal(gd_pool_pages(pool), 0);
	gd_pool_unmap(pool);
	assert_int_equal(try(NULL, 0, 0, true), 0); /* a pool of nothing */
	assert_false(gd_pool_names(pool, FAKE_GREF_BASE));
}

static void test_mapped_as_granted(void **state)
{
	(void)state;
	usual_map(false);
	assert_int_equal(fake_xen.maps, 2);
	assert_int_equal(fake_xen.readable, PAGES);
	assert_int_equal(fake_xen.writable, PAGES);
	assert_int_equal(fake_log_lines, 0);
	assert_true(gd_pool_names(pool, usual[0].first) && gd_pool_names(pool, usual[1].first + PAGES - 1));
	assert_false(gd_pool_names(pool, usual[0].first - 1) || gd_pool_names(pool, usual[1].first + PAGES));
}

static void test_open_fails(void **state)
{
	(void)state;
	fake_xen.fail_open = 1;
	assert_int_equal(try(usual, 2, ALL, false), -ENOENT);
	assert_null(pool);
	assert_int_equal(fake_xen.handles, 0);
}

/* ---- where a buffer lies ---------------------------------------------------------------------------------------- */

static void *found(uint64_t addr, uint32_t length, enum gd_access access)
{
	void *place = &place;

	assert_int_equal(gd_pool_find(pool, addr, length, access, &place), 0);
	return place;
}

static int lost(uint64_t addr, uint32_t length, enum gd_access access)
{
	void *place;

	return gd_pool_find(pool, addr, length, access, &place);
}

static void test_buffers_are_found(void **state)
{
	uint64_t r = fake_addr(R_PAGE, 0), w = fake_addr(W_PAGE, 0);

	(void)state;
	usual_map(false);
	assert_ptr_equal(found(r, 1, GD_ACCESS_READ), fake_page(R_PAGE));
	assert_ptr_equal(found(r + 5000, 10000, GD_ACCESS_READ), fake_page(R_PAGE) + 5000);
	assert_ptr_equal(found(r, PAGES * 4096, GD_ACCESS_READ), fake_page(R_PAGE));
	assert_ptr_equal(found(w + 4095, 1, GD_ACCESS_WRITE), fake_page(W_PAGE) + 4095);
	assert_ptr_equal(found(w, 4096, GD_ACCESS_READ), fake_page(W_PAGE));
	/* Outside of all runs the way copies. */
	assert_null(found(r - 4096, 4096, GD_ACCESS_WRITE));
	assert_null(found(w + PAGES * 4096, 1, GD_ACCESS_WRITE));
	/* What the guest grants for reading is not written. */
	assert_int_equal(lost(r, 1, GD_ACCESS_WRITE), -EFAULT);
	/* Half in a run: at its end, at its beginning, around it, and from one run into the next. */
	assert_int_equal(lost(w + PAGES * 4096 - 1, 2, GD_ACCESS_WRITE), -EFAULT);
	assert_int_equal(lost(r - 1, 2, GD_ACCESS_READ), -EFAULT);
	assert_int_equal(lost(r - 4096, (2 * PAGES + 2) * 4096, GD_ACCESS_READ), -EFAULT);
	assert_int_equal(lost(w - 1, 2, GD_ACCESS_READ), -EFAULT);
	assert_int_equal(lost(gio_dma_addr(0, 0), UINT32_MAX, GD_ACCESS_READ), -EFAULT);
}

static void test_nothing_but_the_pool(void **state)
{
	(void)state;
	usual_map(true);
	assert_ptr_equal(found(fake_addr(W_PAGE, 0), 4096, GD_ACCESS_WRITE), fake_page(W_PAGE));
	assert_int_equal(lost(fake_addr(R_PAGE - 1, 0), 1, GD_ACCESS_READ), -EFAULT);
	assert_int_equal(lost(fake_addr(W_PAGE + PAGES, 0), 1, GD_ACCESS_READ), -EFAULT);
}

/* ---- copies ----------------------------------------------------------------------------------------------------- */

static struct gd_copy *copy_open(const struct gd_way *way)
{
	struct gd_copy *copy;

	assert_int_equal(gd_copy_open(&copy, FAKE_DOMID, way, ROOM), 0);
	gd_copy_use_pool(copy, pool);
	return copy;
}

static void test_copies_in_the_pool_cost_no_call(void **state)
{
	static char in[9000], out[9000];
	struct gd_copy *copy;
	int fault = 0;

	(void)state;
	usual_map(true);
	copy = copy_open(&gd_way_grants);
	memset(out, 'o', sizeof(out));
	memset(fake_page(R_PAGE) + 100, 'i', sizeof(in));
	assert_int_equal(gd_copy_add(copy, GD_COPY_FETCH, fake_addr(R_PAGE, 100), in, sizeof(in), &fault), 0);
	assert_int_equal(gd_copy_add(copy, GD_COPY_PUSH, fake_addr(W_PAGE, 7), out, sizeof(out), &fault), 0);
	assert_int_equal(gd_copy_room(copy), ROOM);
	assert_int_equal(gd_copy_run(copy), 0);
	assert_int_equal(fault, 0);
	assert_memory_equal(in, fake_page(R_PAGE) + 100, sizeof(in));
	assert_memory_equal(out, fake_page(W_PAGE) + 7, sizeof(out));
	assert_int_equal(fake_xen.copies, 0);
	assert_int_equal(gd_count_read(&gd_copy_counters(copy)->calls), 0);
	assert_int_equal(gd_count_read(&gd_copy_counters(copy)->pool_bytes), sizeof(in) + sizeof(out));
	gd_copy_close(copy);
}

/* One batch with pieces of all kinds: each has its own end. */
static void test_pieces_of_all_kinds(void **state)
{
	int pooled = 0, outside = 0, readonly = 0, half = 0, ungranted = 0;
	char a[100] = "", b[100] = "", c[100] = "c";
	struct gd_copy *copy;

	(void)state;
	usual_map(false);
	copy = copy_open(&gd_way_grants);
	fake_xen.grants[1] = FAKE_NONE;
	memset(fake_page(R_PAGE), 'a', sizeof(a));
	memset(fake_page(0), 'b', sizeof(b));
	gd_copy_add(copy, GD_COPY_FETCH, fake_addr(R_PAGE, 0), a, sizeof(a), &pooled);
	gd_copy_add(copy, GD_COPY_FETCH, fake_addr(0, 0), b, sizeof(b), &outside);
	assert_int_equal(gd_copy_add(copy, GD_COPY_PUSH, fake_addr(R_PAGE, 0), c, 1, &readonly), -EFAULT);
	assert_int_equal(gd_copy_add(copy, GD_COPY_FETCH, fake_addr(R_PAGE - 1, 4000), c, 100, &half), -EFAULT);
	gd_copy_add(copy, GD_COPY_PUSH, fake_addr(1, 0), c, 1, &ungranted);
	assert_int_equal(gd_copy_run(copy), 0);
	assert_int_equal(pooled, 0);
	assert_int_equal(outside, 0);
	assert_int_equal(readonly, -EFAULT);
	assert_int_equal(half, -EFAULT);
	assert_int_equal(ungranted, -EFAULT);
	assert_memory_equal(a, fake_page(R_PAGE), sizeof(a)); /* 'a', and not the 'c' that was to be pushed there */
	assert_int_equal(a[0], 'a');
	assert_memory_equal(b, fake_page(0), sizeof(b));
	assert_int_equal(fake_xen.copies, 1);
	gd_copy_close(copy);
}

/* Xen may refuse a run, or have no room for it. */
static void test_what_is_not_mapped_is_copied(void **state)
{
	char data[64] = "", pushed[] = "pushed";
	struct gd_copy *copy;
	int fault = 0;

	(void)state;
	fake_xen.fail_map = 2;
	fake_xen.fail_errno = ENOSPC;
	usual_map(true);
	assert_int_equal(gd_pool_pages(pool), PAGES);
	assert_int_equal(fake_log_lines, 1);
	assert_non_null(strstr(fake_log_last, "1024 of the pool's 2048 pages"));
	copy = copy_open(&gd_way_grants);
	gd_copy_add(copy, GD_COPY_PUSH, fake_addr(W_PAGE, 0), pushed, 6, &fault);
	gd_copy_run(copy);
	assert_int_equal(fake_xen.copies, 1);
	gd_copy_add(copy, GD_COPY_FETCH, fake_addr(R_PAGE, 0), data, 64, &fault);
	gd_copy_run(copy);
	assert_int_equal(fake_xen.copies, 1);
	assert_int_equal(fault, 0);
	assert_memory_equal(fake_page(W_PAGE), pushed, 6);
	gd_copy_close(copy);
}

/* One guest does not get all the mappings that there are. */
static void test_a_guest_has_a_bound(void **state)
{
	enum { EACH = FAKE_PAGES, FULL = GD_POOL_GUEST_PAGES / EACH };
	static const struct gd_pool_run all = {FAKE_GREF_BASE, EACH, true};
	struct gd_pool *first[FULL];

	(void)state;
	for (unsigned i = 0; i < FULL; i++) {
		assert_int_equal(try(&all, 1, ALL, true), 0);
		assert_int_equal(gd_pool_pages(pool), EACH);
		first[i] = pool;
	}
	assert_int_equal(try(&usual[1], 1, ALL, true), 0);
	assert_int_equal(gd_pool_pages(pool), 0);
	assert_int_equal(fake_log_lines, 1);
	assert_non_null(strstr(fake_log_last, "as many as may be"));
	assert_null(found(fake_addr(W_PAGE, 0), 4096, GD_ACCESS_WRITE)); /* copied, and no error */
	gd_pool_unmap(pool);
	/* What is given back may be had again. A mapping that fails is not counted. */
	gd_pool_unmap(first[0]);
	fake_xen.fail_map = 1;
	fake_xen.fail_errno = ENOMEM;
	assert_int_equal(try(&all, 1, ALL, true), 0);
	gd_pool_unmap(pool);
	assert_int_equal(try(&all, 1, ALL, true), 0);
	assert_int_equal(gd_pool_pages(pool), EACH);
	for (unsigned i = 1; i < FULL; i++)
		gd_pool_unmap(first[i]);
}

/* The numbers of frames are no references, even if they are the same. */
static void test_another_way_has_no_pool(void **state)
{
	char data[16] = "";
	struct gd_copy *copy;
	int fault = 0;

	(void)state;
	usual_map(true);
	copy = copy_open(&gd_way_foreign);
	fake_xen.foreign = true;
	gd_copy_add(copy, GD_COPY_FETCH, fake_addr(0, 0), data, sizeof(data), &fault);
	gd_copy_run(copy);
	assert_int_equal(fault, 0);
	assert_int_equal(fake_xen.foreign_maps, 1);
	assert_null(gd_copy_place(copy, GD_COPY_FETCH, fake_addr(0, 0), 16));
	fake_xen.foreign = false;
	gd_copy_close(copy);
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

/* A request whose parts the test places. The header is at `header` of the readable run, the status of the other. */
struct pooled {
	struct gio_virtio_blk_outhdr *header;
	uint8_t *status;
};

static struct pooled submit(uint32_t type, uint64_t sector, const struct fake_buf *data, unsigned count)
{
	struct fake_vq *vq = &fake_guest.vq[0];
	struct pooled p = {(void *)fake_page(R_PAGE), fake_page(W_PAGE)};
	struct fake_buf bufs[8] = {{fake_addr(R_PAGE, 0), sizeof(*p.header), 0}};

	*p.header = (struct gio_virtio_blk_outhdr){.type = type, .sector = sector};
	*p.status = 0xee;
	memcpy(bufs + 1, data, count * sizeof(*data));
	bufs[count + 1] = (struct fake_buf){fake_addr(W_PAGE, 0), 1, W};
	fake_avail(vq, fake_chain(vq, bufs, count + 2));
	fake_kick(0);
	return p;
}

static uint8_t run(uint32_t type, uint64_t sector, struct fake_buf data)
{
	struct pooled p = submit(type, sector, &data, 1);

	fake_used(&fake_guest.vq[0], 1);
	return *p.status;
}

static void device_start(bool only, bool straight)
{
	usual_map(only);
	fake_disk.straight_allowed = straight;
	fake_start(&(struct fake_setup){.pool = pool});
}

static unsigned straight(void)
{
	return __atomic_load_n(&fake_disk.straight, __ATOMIC_SEQ_CST);
}

static void reads_and_writes(void)
{
	for (unsigned i = 0; i < 4; i++) {
		uint32_t length = 512u << i;

		memset(fake_page(W_PAGE + 1), 0, 8192);
		assert_int_equal(
			run(GIO_VIRTIO_BLK_T_IN, 8 * i, (struct fake_buf){fake_addr(W_PAGE + 1, 0), length, W}),
			GIO_VIRTIO_BLK_S_OK);
		assert_memory_equal(fake_page(W_PAGE + 1), fake_disk.bytes + 4096 * i, length);
		assert_int_equal(fake_page(W_PAGE + 1)[length], 0);
		memset(fake_page(R_PAGE + 1), 'w' + (int)i, 8192);
		assert_int_equal(
			run(GIO_VIRTIO_BLK_T_OUT, 64 + 8 * i, (struct fake_buf){fake_addr(R_PAGE + 1, 0), length, 0}),
			GIO_VIRTIO_BLK_S_OK);
		assert_memory_equal(fake_page(R_PAGE + 1), fake_disk.bytes + 32768 + 4096 * i, length);
	}
	assert_int_equal(fake_disk.reads, 4);
	assert_int_equal(fake_disk.writes, 4);
}

/* In a PV domain no page of the pool is given to the disk: fake_disk.c looks at each buffer. */
static void test_requests_in_a_pv_domain(void **state)
{
	(void)state;
	device_start(true, false);
	assert_false(gd_pool_straight(pool));
	reads_and_writes();
	assert_int_equal(fake_xen.copies, 0);
	assert_int_equal(straight(), 0);
}

static void test_requests_in_another_domain(void **state)
{
	(void)state;
	device_start(true, true);
	assert_true(gd_pool_straight(pool));
	reads_and_writes();
	assert_int_equal(fake_xen.copies, 0);
	assert_int_equal(straight(), 8);
}

/* Who does not know what his domain is does as in a PV domain. */
static void test_requests_in_an_unknown_domain(void **state)
{
	static const char *const types[] = {"", "PV\n", "HVMX", "hvm", "PVHX"};

	(void)state;
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		setenv("GRANTIO_GUEST_TYPE", types[i], 1);
		usual_map(true);
		assert_false(gd_pool_straight(pool));
		gd_pool_unmap(pool);
	}
	setenv("GRANTIO_GUEST_TYPE", "HVM\n", 1);
	usual_map(true);
	assert_true(gd_pool_straight(pool));
}

/* A direct grant beside the pool is copied as ever, unless the guest has promised that there is none. */
static void test_requests_elsewhere(void **state)
{
	uint8_t data[512];

	(void)state;
	device_start(false, false);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_IN, 4, sizeof(data), false, data), GIO_VIRTIO_BLK_S_OK);
	assert_memory_equal(data, fake_disk.bytes + 4 * 512, sizeof(data));
	assert_int_not_equal(fake_xen.copies, 0);
}

static void test_requests_elsewhere_are_errors(void **state)
{
	(void)state;
	device_start(true, false);
	assert_int_equal(run(GIO_VIRTIO_BLK_T_OUT, 0, (struct fake_buf){fake_addr(0, 0), 512, 0}),
			 GIO_VIRTIO_BLK_S_IOERR);
	assert_int_equal(run(GIO_VIRTIO_BLK_T_IN, 0, (struct fake_buf){fake_addr(0, 0), 512, W}),
			 GIO_VIRTIO_BLK_S_IOERR);
	/* Half in a run, and into the run that is not to be written. */
	assert_int_equal(run(GIO_VIRTIO_BLK_T_IN, 0, (struct fake_buf){fake_addr(W_PAGE + PAGES - 1, 0), 8192, W}),
			 GIO_VIRTIO_BLK_S_IOERR);
	assert_int_equal(run(GIO_VIRTIO_BLK_T_IN, 0, (struct fake_buf){fake_addr(R_PAGE + 1, 0), 512, W}),
			 GIO_VIRTIO_BLK_S_IOERR);
	assert_int_equal(fake_disk.writes, 0);
	assert_int_equal(fake_xen.copies, 0);
	assert_int_equal(fake_page(R_PAGE + 1)[0], 0);
	assert_int_equal(run(GIO_VIRTIO_BLK_T_IN, 0, (struct fake_buf){fake_addr(W_PAGE + 1, 0), 512, W}),
			 GIO_VIRTIO_BLK_S_OK);
}

/* Parts that follow each other are one piece; others, and those that the disk cannot take, go by our own memory. */
static void test_what_does_not_go_straight(void **state)
{
	const struct fake_buf together[] = {{fake_addr(W_PAGE + 1, 0), 512, W}, {fake_addr(W_PAGE + 1, 512), 4096, W}};
	const struct fake_buf apart[] = {{fake_addr(W_PAGE + 4, 0), 512, W}, {fake_addr(W_PAGE + 6, 0), 512, W}};
	const struct fake_buf odd = {fake_addr(W_PAGE + 8, 3), 1024, W};
	struct pooled p;

	(void)state;
	device_start(false, true);
	p = submit(GIO_VIRTIO_BLK_T_IN, 1, together, 2);
	fake_used(&fake_guest.vq[0], 1);
	assert_int_equal(*p.status, GIO_VIRTIO_BLK_S_OK);
	assert_memory_equal(fake_page(W_PAGE + 1), fake_disk.bytes + 512, 4608);
	assert_int_equal(straight(), 1);
	p = submit(GIO_VIRTIO_BLK_T_IN, 2, apart, 2);
	fake_used(&fake_guest.vq[0], 1);
	assert_int_equal(*p.status, GIO_VIRTIO_BLK_S_OK);
	assert_memory_equal(fake_page(W_PAGE + 4), fake_disk.bytes + 1024, 512);
	assert_memory_equal(fake_page(W_PAGE + 6), fake_disk.bytes + 1536, 512);
	assert_int_equal(run(GIO_VIRTIO_BLK_T_IN, 3, odd), GIO_VIRTIO_BLK_S_OK);
	assert_memory_equal(fake_page(W_PAGE + 8) + 3, fake_disk.bytes + 1536, 1024);
	assert_int_equal(straight(), 1);
	assert_int_equal(fake_xen.copies, 0);
}

/* I/O of a former process may still go to the guest's pages when these are used again. */
static void test_disks_that_do_not_go_straight(void **state)
{
	const struct fake_buf data = {fake_addr(W_PAGE + 1, 0), 512, W};

	(void)state;
	fake_disk.info.fenced = false;
	device_start(true, false);
	assert_int_equal(run(GIO_VIRTIO_BLK_T_IN, 0, data), GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(straight(), 0);
	fake_close();
	fake_disk_reset(1 << 20);
	fake_start(&(struct fake_setup){.pool = pool, .readonly = true});
	assert_int_equal(run(GIO_VIRTIO_BLK_T_IN, 0, data), GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(straight(), 0);
}

/* Ranges decide what is done, and so they are copied, wherever they lie. */
static void test_ranges_are_copied(void **state)
{
	struct gio_virtio_blk_range *range = (void *)fake_page(R_PAGE + 1);
	struct fake_buf data = {fake_addr(R_PAGE + 1, 0), 16 * sizeof(*range), 0};
	struct pooled p;

	(void)state;
	device_start(true, true);
	fake_disk.hold = true;
	for (unsigned i = 0; i < 16; i++)
		range[i] = (struct gio_virtio_blk_range){.sector = 8 * i, .num_sectors = 8};
	p = submit(GIO_VIRTIO_BLK_T_DISCARD, 0, &data, 1);
	fake_until(__atomic_load_n(&fake_disk.held, __ATOMIC_SEQ_CST) == 1);
	/* The first range is with the disk, and all were checked: no later word of the guest counts. */
	for (unsigned i = 0; i < 16; i++)
		range[i] = (struct gio_virtio_blk_range){.sector = 1 << 20, .num_sectors = UINT32_MAX};
	fake_disk_release();
	fake_used(&fake_guest.vq[0], 1);
	assert_int_equal(*p.status, GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(fake_disk.discards, 16);
	assert_int_equal(straight(), 0);
}

/* The header that was checked is a copy, in which nothing changes while the disk is at work. */
static void test_header_changes(void **state)
{
	struct fake_buf data = {fake_addr(W_PAGE + 1, 0), 512, W};
	struct pooled p;

	(void)state;
	device_start(true, true);
	fake_disk.hold = true;
	p = submit(GIO_VIRTIO_BLK_T_IN, 6, &data, 1);
	fake_until(__atomic_load_n(&fake_disk.held, __ATOMIC_SEQ_CST) == 1);
	*p.header = (struct gio_virtio_blk_outhdr){.type = GIO_VIRTIO_BLK_T_OUT, .sector = UINT64_MAX};
	fake_disk_release();
	assert_int_equal(fake_used(&fake_guest.vq[0], 1).len, 513);
	assert_int_equal(*p.status, GIO_VIRTIO_BLK_S_OK);
	assert_memory_equal(fake_page(W_PAGE + 1), fake_disk.bytes + 6 * 512, 512);
	assert_int_equal(fake_disk.writes, 0);
}

/* The guest ends the grants under the mapping, which Xen keeps: nobody notices, and no hypercall is made. */
static void test_grants_end_under_the_mapping(void **state)
{
	(void)state;
	device_start(true, true);
	memset(fake_xen.grants + R_PAGE, FAKE_NONE, 2 * PAGES);
	reads_and_writes();
	assert_int_equal(fake_xen.copies, 0);
}

/* As long as the disk may write the pool, a reset is not over, and nothing else is begun. */
static void test_reset_under_io(void **state)
{
	struct fake_buf data = {fake_addr(W_PAGE + 1, 0), 512, W};

	(void)state;
	device_start(true, true);
	assert_int_equal(gd_vdev_orphans(fake_guest.vdev), 0);
	fake_disk.hold = true;
	submit(GIO_VIRTIO_BLK_T_IN, 6, &data, 1);
	fake_until(__atomic_load_n(&fake_disk.held, __ATOMIC_SEQ_CST) == 1);
	fake_reset();
	assert_int_equal(gd_vdev_orphans(fake_guest.vdev), 1);
	fake_disk_release();
	fake_until(gd_vdev_orphans(fake_guest.vdev) == 0);
	assert_int_equal(straight(), 1);
}

/* ---- registered buffers ----------------------------------------------------------------------------------------- */

/* Whether this system lets us register memory at all: it has a limit for that, and old kernels refuse. */
static bool registers(void)
{
	struct iovec memory = {.iov_base = fake_xen.ram, .iov_len = 2 * PAGES * FAKE_PAGE};
	struct io_uring ring;
	bool good;

	assert_int_equal(io_uring_queue_init(2, &ring, 0), 0);
	good = !io_uring_register_buffers(&ring, &memory, 1);
	io_uring_queue_exit(&ring);
	return good;
}

static unsigned fixed(void)
{
	return __atomic_load_n(&fake_disk.fixed, __ATOMIC_SEQ_CST);
}

static void fixed_start(bool straight)
{
	if (!registers())
		skip();
	fake_disk.info.fixed = true;
	device_start(true, straight);
}

static const struct fake_buf into_pool = {POOL_ADDR(W_PAGE + 1), 512, W};
static const struct fake_buf out_of_pool = {POOL_ADDR(R_PAGE + 1), 512, 0};

/* The pool's second run is writable, and so it is the third buffer. A run for reading cannot be registered. */
static void test_registered_in_another_domain(void **state)
{
	(void)state;
	fixed_start(true);
	assert_int_equal(run(GIO_VIRTIO_BLK_T_IN, 0, into_pool), GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(fixed(), 3);
	assert_int_equal(run(GIO_VIRTIO_BLK_T_OUT, 0, out_of_pool), GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(fixed(), 0);
	assert_int_equal(straight(), 2);
}

/* The same device goes on without its pool, whose pages are not kept. */
static void test_registered_goes_with_the_ring(void **state)
{
	(void)state;
	fixed_start(true);
	assert_int_equal(run(GIO_VIRTIO_BLK_T_IN, 0, into_pool), GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(fixed(), 3);
	fake_reset();
	gd_vdev_use_pool(fake_guest.vdev, NULL);
	fake_probe(FAKE_FEATURES & fake_offered());
	fake_queue_ready(0, 256);
	fake_driver_ok();
	assert_int_equal(run(GIO_VIRTIO_BLK_T_IN, 0, into_pool), GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(fixed(), 1);
	assert_int_equal(straight(), 1);
}

/* In a PV domain our own buffers are registered, and nothing else. */
static void test_registered_in_a_pv_domain(void **state)
{
	void *base;
	uint64_t bytes;

	(void)state;
	fixed_start(false);
	for (unsigned i = 0; i <= GD_POOL_RUNS; i++)
		assert_false(gd_pool_writable(pool, i, &base, &bytes));
	assert_int_equal(run(GIO_VIRTIO_BLK_T_IN, 0, into_pool), GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(fixed(), 1);
	assert_int_equal(run(GIO_VIRTIO_BLK_T_OUT, 0, out_of_pool), GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(fixed(), 1);
}

int main(void)
{
#define PV(test)  cmocka_unit_test_setup_teardown(test, setup_pv, teardown)
#define PVH(test) cmocka_unit_test_setup_teardown(test, setup_pvh, teardown)
	const struct CMUnitTest tests[] = {
		PV(test_runs_are_refused),
		PV(test_limits),
		PV(test_mapped_as_granted),
		PV(test_open_fails),
		PV(test_buffers_are_found),
		PV(test_nothing_but_the_pool),
		PV(test_copies_in_the_pool_cost_no_call),
		PV(test_pieces_of_all_kinds),
		PV(test_what_is_not_mapped_is_copied),
		PV(test_a_guest_has_a_bound),
		PV(test_another_way_has_no_pool),
		PV(test_requests_in_a_pv_domain),
		PVH(test_requests_in_another_domain),
		PV(test_requests_in_an_unknown_domain),
		PV(test_requests_elsewhere),
		PV(test_requests_elsewhere_are_errors),
		PVH(test_what_does_not_go_straight),
		PVH(test_disks_that_do_not_go_straight),
		PVH(test_ranges_are_copied),
		PVH(test_header_changes),
		PVH(test_grants_end_under_the_mapping),
		PVH(test_reset_under_io),
		PVH(test_registered_in_another_domain),
		PVH(test_registered_goes_with_the_ring),
		PV(test_registered_in_a_pv_domain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
