/* SPDX-License-Identifier: MIT */
/*
 * Requests whose parts lie in a guest's pool. The guest is as hostile as it can be, and the backend's domain is a PV
 * domain or is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/backend/fake.h"
#include "tests/unit/backend/pool_rig.h"

#include "backend/blk/fixed.h"

#define W		GIO_VIRTQ_DESC_F_WRITE
#define POOL_ADDR(page) (GIO_DMA_GRANT_BIT | (uint64_t)(FAKE_GREF_BASE + (page)) << 12)

/* ---- requests --------------------------------------------------------------------------------------------------- */

/* A request whose parts the test places. The header is at `header` of the readable run, the status of the other. */
struct pooled {
	struct gio_virtio_blk_outhdr *header;
	uint8_t *status;
};

static struct pooled submit(uint32_t type, uint64_t sector, const struct fake_buf *data, unsigned count)
{
	struct fake_vq *vq = &fake_guest.vq[0];
	struct pooled p = {(void *)fake_page(POOL_RIG_R), fake_page(POOL_RIG_W)};
	struct fake_buf bufs[8] = {{fake_addr(POOL_RIG_R, 0), sizeof(*p.header), 0}};

	*p.header = (struct gio_virtio_blk_outhdr){.type = type, .sector = sector};
	*p.status = 0xee;
	memcpy(bufs + 1, data, count * sizeof(*data));
	bufs[count + 1] = (struct fake_buf){fake_addr(POOL_RIG_W, 0), 1, W};
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
	pool_rig_map(only);
	fake_disk.straight_allowed = straight;
	fake_start(&(struct fake_setup){.pool = pool_rig});
}

static unsigned straight(void)
{
	return __atomic_load_n(&fake_disk.straight, __ATOMIC_SEQ_CST);
}

/* What the administrator is told. */
static void assert_counted(uint64_t straight_io, uint64_t registered_io)
{
	struct gd_vdev_stats stats = {0};

	gd_vdev_stats(fake_guest.vdev, &stats);
	assert_int_equal(stats.straight, straight_io);
	assert_int_equal(stats.registered, registered_io);
}

static void reads_and_writes(void)
{
	for (unsigned i = 0; i < 4; i++) {
		uint32_t length = 512u << i;

		memset(fake_page(POOL_RIG_W + 1), 0, 8192);
		assert_int_equal(
			run(GIO_VIRTIO_BLK_T_IN, 8 * i, (struct fake_buf){fake_addr(POOL_RIG_W + 1, 0), length, W}),
			GIO_VIRTIO_BLK_S_OK);
		assert_memory_equal(fake_page(POOL_RIG_W + 1), fake_disk.bytes + 4096 * i, length);
		assert_int_equal(fake_page(POOL_RIG_W + 1)[length], 0);
		memset(fake_page(POOL_RIG_R + 1), 'w' + (int)i, 8192);
		assert_int_equal(run(GIO_VIRTIO_BLK_T_OUT, 64 + 8 * i,
				     (struct fake_buf){fake_addr(POOL_RIG_R + 1, 0), length, 0}),
				 GIO_VIRTIO_BLK_S_OK);
		assert_memory_equal(fake_page(POOL_RIG_R + 1), fake_disk.bytes + 32768 + 4096 * i, length);
	}
	assert_int_equal(fake_disk.reads, 4);
	assert_int_equal(fake_disk.writes, 4);
}

/* In a PV domain no page of the pool is given to the disk: fake_disk.c looks at each buffer. */
static void test_requests_in_a_pv_domain(void **state)
{
	(void)state;
	device_start(true, false);
	assert_false(gd_pool_straight(pool_rig));
	reads_and_writes();
	assert_int_equal(fake_xen.copies, 0);
	assert_int_equal(straight(), 0);
	assert_counted(0, 0);
}

static void test_requests_in_another_domain(void **state)
{
	(void)state;
	device_start(true, true);
	assert_true(gd_pool_straight(pool_rig));
	reads_and_writes();
	assert_int_equal(fake_xen.copies, 0);
	assert_int_equal(straight(), 8);
	assert_counted(8, 0);
}

/* Who does not know what his domain is does as in a PV domain. */
static void test_requests_in_an_unknown_domain(void **state)
{
	static const char *const types[] = {"", "PV\n", "HVMX", "hvm", "PVHX"};

	(void)state;
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		setenv("GRANTIO_GUEST_TYPE", types[i], 1);
		pool_rig_map(true);
		assert_false(gd_pool_straight(pool_rig));
		gd_pool_unmap(pool_rig);
	}
	setenv("GRANTIO_GUEST_TYPE", "HVM\n", 1);
	pool_rig_map(true);
	assert_true(gd_pool_straight(pool_rig));
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
	assert_int_equal(
		run(GIO_VIRTIO_BLK_T_IN, 0, (struct fake_buf){fake_addr(POOL_RIG_W + POOL_RIG_PAGES - 1, 0), 8192, W}),
		GIO_VIRTIO_BLK_S_IOERR);
	assert_int_equal(run(GIO_VIRTIO_BLK_T_IN, 0, (struct fake_buf){fake_addr(POOL_RIG_R + 1, 0), 512, W}),
			 GIO_VIRTIO_BLK_S_IOERR);
	assert_int_equal(fake_disk.writes, 0);
	assert_int_equal(fake_xen.copies, 0);
	assert_int_equal(fake_page(POOL_RIG_R + 1)[0], 0);
	assert_int_equal(run(GIO_VIRTIO_BLK_T_IN, 0, (struct fake_buf){fake_addr(POOL_RIG_W + 1, 0), 512, W}),
			 GIO_VIRTIO_BLK_S_OK);
}

/* Parts that follow each other are one piece; others, and those that the disk cannot take, go by our own memory. */
static void test_what_does_not_go_straight(void **state)
{
	const struct fake_buf together[] = {{fake_addr(POOL_RIG_W + 1, 0), 512, W},
					    {fake_addr(POOL_RIG_W + 1, 512), 4096, W}};
	const struct fake_buf apart[] = {{fake_addr(POOL_RIG_W + 4, 0), 512, W},
					 {fake_addr(POOL_RIG_W + 6, 0), 512, W}};
	const struct fake_buf odd = {fake_addr(POOL_RIG_W + 8, 3), 1024, W};
	struct pooled p;

	(void)state;
	device_start(false, true);
	p = submit(GIO_VIRTIO_BLK_T_IN, 1, together, 2);
	fake_used(&fake_guest.vq[0], 1);
	assert_int_equal(*p.status, GIO_VIRTIO_BLK_S_OK);
	assert_memory_equal(fake_page(POOL_RIG_W + 1), fake_disk.bytes + 512, 4608);
	assert_int_equal(straight(), 1);
	p = submit(GIO_VIRTIO_BLK_T_IN, 2, apart, 2);
	fake_used(&fake_guest.vq[0], 1);
	assert_int_equal(*p.status, GIO_VIRTIO_BLK_S_OK);
	assert_memory_equal(fake_page(POOL_RIG_W + 4), fake_disk.bytes + 1024, 512);
	assert_memory_equal(fake_page(POOL_RIG_W + 6), fake_disk.bytes + 1536, 512);
	assert_int_equal(run(GIO_VIRTIO_BLK_T_IN, 3, odd), GIO_VIRTIO_BLK_S_OK);
	assert_memory_equal(fake_page(POOL_RIG_W + 8) + 3, fake_disk.bytes + 1536, 1024);
	assert_int_equal(straight(), 1);
	assert_int_equal(fake_xen.copies, 0);
}

/* I/O of a former process may still go to the guest's pages when these are used again. */
static void test_disks_that_do_not_go_straight(void **state)
{
	const struct fake_buf data = {fake_addr(POOL_RIG_W + 1, 0), 512, W};

	(void)state;
	fake_disk.info.fenced = false;
	device_start(true, false);
	assert_int_equal(run(GIO_VIRTIO_BLK_T_IN, 0, data), GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(straight(), 0);
	fake_close();
	fake_disk_reset(1 << 20);
	fake_start(&(struct fake_setup){.pool = pool_rig, .readonly = true});
	assert_int_equal(run(GIO_VIRTIO_BLK_T_IN, 0, data), GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(straight(), 0);
}

/* Ranges decide what is done, and so they are copied, wherever they lie. */
static void test_ranges_are_copied(void **state)
{
	struct gio_virtio_blk_range *range = (void *)fake_page(POOL_RIG_R + 1);
	struct fake_buf data = {fake_addr(POOL_RIG_R + 1, 0), 16 * sizeof(*range), 0};
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
	struct fake_buf data = {fake_addr(POOL_RIG_W + 1, 0), 512, W};
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
	assert_memory_equal(fake_page(POOL_RIG_W + 1), fake_disk.bytes + 6 * 512, 512);
	assert_int_equal(fake_disk.writes, 0);
}

/* The guest ends the grants under the mapping, which Xen keeps: nobody notices, and no hypercall is made. */
static void test_grants_end_under_the_mapping(void **state)
{
	(void)state;
	device_start(true, true);
	memset(fake_xen.grants + POOL_RIG_R, FAKE_NONE, 2 * POOL_RIG_PAGES);
	reads_and_writes();
	assert_int_equal(fake_xen.copies, 0);
}

/* As long as the disk may write the pool_rig, a reset is not over, and nothing else is begun. */
static void test_reset_under_io(void **state)
{
	struct fake_buf data = {fake_addr(POOL_RIG_W + 1, 0), 512, W};

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
	struct iovec memory = {.iov_base = fake_xen.ram, .iov_len = 2 * POOL_RIG_PAGES * FAKE_PAGE};
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

static const struct fake_buf into_pool = {POOL_ADDR(POOL_RIG_W + 1), 512, W};
static const struct fake_buf out_of_pool = {POOL_ADDR(POOL_RIG_R + 1), 512, 0};

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
	assert_counted(2, 1);
}

/* The same device goes on without its pool_rig, whose pages are not kept. */
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
	assert_counted(1, 2); /* the other one was in our own memory */
}

/* A read of nothing by registered buffer `buffer`: the kernel's result. */
static int fixed_read(struct io_uring *ring, unsigned buffer, void *at, int fd)
{
	struct io_uring_cqe *cqe;
	int result;

	io_uring_prep_read_fixed(io_uring_get_sqe(ring), fd, at, 512, 0, (int)buffer - 1);
	assert_int_equal(io_uring_submit_and_wait(ring, 1), 1);
	assert_int_equal(io_uring_peek_cqe(ring, &cqe), 0);
	result = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return result;
}

/* The kernel lets go of the pool's pages as well: otherwise the guest would never see them unused. */
static void test_registered_is_given_back(void **state)
{
	void *page = fake_page(POOL_RIG_W);
	struct gd_fixed buffers;
	struct io_uring ring;
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_true(zero >= 0);
	pool_rig_map(true);
	assert_int_equal(io_uring_queue_init(2, &ring, 0), 0);
	gd_fixed_open(&buffers, &ring);
	gd_fixed_pool(&buffers, pool_rig);
	if (registers()) {
		assert_int_equal(gd_fixed_find(&buffers, page, POOL_RIG_PAGES * FAKE_PAGE), 3);
		assert_int_equal(gd_fixed_find(&buffers, page, POOL_RIG_PAGES * FAKE_PAGE + 1), 0);
		assert_int_equal(gd_fixed_find(&buffers, fake_page(POOL_RIG_W - 1), 1), 0);
		assert_int_equal(fixed_read(&ring, 3, page, zero), 512);
		gd_fixed_pool(&buffers, NULL);
		assert_int_equal(gd_fixed_find(&buffers, page, 1), 0);
		assert_int_equal(fixed_read(&ring, 3, page, zero), -EFAULT);
	}
	io_uring_queue_exit(&ring);
	close(zero);
}

/* In a PV domain our own buffers are registered, and nothing else. */
static void test_registered_in_a_pv_domain(void **state)
{
	void *base;
	uint64_t bytes;

	(void)state;
	fixed_start(false);
	for (unsigned i = 0; i <= GD_POOL_RUNS; i++)
		assert_false(gd_pool_writable(pool_rig, i, &base, &bytes));
	assert_int_equal(run(GIO_VIRTIO_BLK_T_IN, 0, into_pool), GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(fixed(), 1);
	assert_int_equal(run(GIO_VIRTIO_BLK_T_OUT, 0, out_of_pool), GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(fixed(), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		POOL_RIG_PV(test_requests_in_a_pv_domain),
		POOL_RIG_PVH(test_requests_in_another_domain),
		POOL_RIG_PV(test_requests_in_an_unknown_domain),
		POOL_RIG_PV(test_requests_elsewhere),
		POOL_RIG_PV(test_requests_elsewhere_are_errors),
		POOL_RIG_PVH(test_what_does_not_go_straight),
		POOL_RIG_PVH(test_disks_that_do_not_go_straight),
		POOL_RIG_PVH(test_ranges_are_copied),
		POOL_RIG_PVH(test_header_changes),
		POOL_RIG_PVH(test_grants_end_under_the_mapping),
		POOL_RIG_PVH(test_reset_under_io),
		POOL_RIG_PVH(test_registered_in_another_domain),
		POOL_RIG_PVH(test_registered_goes_with_the_ring),
		POOL_RIG_PVH(test_registered_is_given_back),
		POOL_RIG_PV(test_registered_in_a_pv_domain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
