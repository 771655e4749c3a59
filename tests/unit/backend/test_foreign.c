/* SPDX-License-Identifier: MIT */
/*
 * A device whose guest grants nothing: its frames are mapped for each batch, never more than a bound, and what is not
 * the guest's fails alone. And the mode is the device's: no address of the other kind gets anywhere.
 */
#include <errno.h>
#include <string.h>

#include "tests/unit/backend/fake.h"

#include "backend/guestmem/foreign.h"

#define W GIO_VIRTQ_DESC_F_WRITE

static const struct fake_setup foreign = {.foreign = true};

/* A guest that means to grant must see that it cannot. */
static void test_does_not_offer_access_platform(void **state)
{
	(void)state;
	assert_int_equal(fake_open(&foreign), 0);
	assert_int_equal(fake_offered() & (GIO_VIRTIO_F_VERSION_1 | GIO_VIRTIO_F_ACCESS_PLATFORM),
			 GIO_VIRTIO_F_VERSION_1);
	fake_probe(GIO_VIRTIO_F_VERSION_1 | GIO_VIRTIO_F_ACCESS_PLATFORM);
	assert_int_equal(fake_reg_read(GIO_VIRTIO_MMIO_STATUS), 0x3);
	fake_probe(0); /* a legacy driver */
	assert_int_equal(fake_reg_read(GIO_VIRTIO_MMIO_STATUS), 0x3);
	fake_probe(GIO_VIRTIO_F_VERSION_1);
	assert_int_equal(fake_reg_read(GIO_VIRTIO_MMIO_STATUS), 0xb);
}

static void test_reads_and_writes(void **state)
{
	uint8_t data[65536], back[65536];
	unsigned rings;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 4096);
	fake_start(&foreign);
	rings = fake_xen.mapped;
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_OUT, 8, sizeof(data), true, data), GIO_VIRTIO_BLK_S_OK);
	assert_memory_equal(fake_disk.bytes + 8 * 512, data, sizeof(data));
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_IN, 8, sizeof(back), false, back), GIO_VIRTIO_BLK_S_OK);
	assert_memory_equal(back, data, sizeof(data));
	assert_int_equal(fake_xen.mapped, rings); /* nothing but rings stays mapped */
	assert_int_equal(fake_xen.maps, 0);	  /* and no grant was touched */
	assert_int_equal(fake_xen.copies, 0);
	fake_reset();
	assert_int_equal(fake_xen.mapped, 0);
}

static void test_indirect(void **state)
{
	const struct fake_setup setup = {.foreign = true, .indirect = true};
	uint32_t table, header, data, status;
	struct gio_virtq_desc *desc;
	struct gio_virtio_blk_outhdr *h;

	(void)state;
	fake_start(&setup);
	table = fake_alloc(1), header = fake_alloc(1), data = fake_alloc(1), status = fake_alloc(1);
	h = (void *)fake_page(header);
	*h = (struct gio_virtio_blk_outhdr){.type = GIO_VIRTIO_BLK_T_IN, .sector = 3};
	desc = (void *)fake_page(table);
	desc[0] = (struct gio_virtq_desc){fake_addr(header, 0), 16, GIO_VIRTQ_DESC_F_NEXT, 1};
	desc[1] = (struct gio_virtq_desc){fake_addr(data, 0), 512, GIO_VIRTQ_DESC_F_NEXT | W, 2};
	desc[2] = (struct gio_virtq_desc){fake_addr(status, 9), 1, W, 0};
	fake_avail(&fake_guest.vq[0],
		   fake_chain(&fake_guest.vq[0], &(struct fake_buf){fake_addr(table, 0), 48, GIO_VIRTQ_DESC_F_INDIRECT},
			      1));
	*(fake_page(status) + 9) = 0xee;
	fake_kick(0);
	fake_used(&fake_guest.vq[0], 1);
	assert_int_equal(*(fake_page(status) + 9), GIO_VIRTIO_BLK_S_OK);
	assert_memory_equal(fake_page(data), fake_disk.bytes + 3 * 512, 512);
}

/* Many requests at once: the frames are mapped in portions. */
static void test_maps_a_bounded_number(void **state)
{
	const unsigned count = 24, pages = 16;
	struct fake_req reqs[24];
	unsigned rings;

	(void)state;
	fake_start(&(struct fake_setup){.foreign = true, .disk_size = 4 << 20});
	memset(fake_disk.bytes, 0x5a, 4 << 20);
	rings = fake_xen.mapped;
	for (unsigned i = 0; i < count; i++)
		reqs[i] = fake_request(0, GIO_VIRTIO_BLK_T_IN, i * pages * 8, pages * FAKE_PAGE, false, NULL);
	fake_kick(0);
	fake_used(&fake_guest.vq[0], count);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(fake_status(&reqs[i]), GIO_VIRTIO_BLK_S_OK);
		assert_memory_equal(fake_page(reqs[i].data), fake_disk.bytes, pages * FAKE_PAGE);
	}
	assert_true(fake_xen.most_mapped > rings && fake_xen.most_mapped <= rings + GD_FOREIGN_PAGES);
	assert_int_equal(fake_xen.mapped, rings);
}

/* ---- addresses -------------------------------------------------------------------------------------------------- */

/* A read into `addr`, between two good ones that must not suffer; the bad one's status. */
static uint8_t bad_read(uint64_t addr, uint32_t length)
{
	uint32_t header = fake_alloc(1), status = fake_alloc(1);
	struct gio_virtio_blk_outhdr *h = (void *)fake_page(header);
	struct fake_req before, after;
	const struct fake_buf bufs[] = {
		{fake_addr(header, 0), sizeof(*h), 0}, {addr, length, W}, {fake_addr(status, 0), 1, W}};

	*h = (struct gio_virtio_blk_outhdr){.type = GIO_VIRTIO_BLK_T_IN};
	*fake_page(status) = 0xee;
	before = fake_request(0, GIO_VIRTIO_BLK_T_IN, 0, 4096, false, NULL);
	fake_avail(&fake_guest.vq[0], fake_chain(&fake_guest.vq[0], bufs, 3));
	after = fake_request(0, GIO_VIRTIO_BLK_T_IN, 0, 4096, false, NULL);
	fake_kick(0);
	fake_used(&fake_guest.vq[0], 3);
	assert_int_equal(fake_status(&before), GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(fake_status(&after), GIO_VIRTIO_BLK_S_OK);
	return *fake_page(status);
}

static void test_hostile_addresses(void **state)
{
	uint32_t hole, edge, readonly;

	(void)state;
	fake_start(&foreign);
	edge = fake_alloc(2);
	hole = edge + 1;
	fake_xen.grants[hole] = FAKE_NONE;
	readonly = fake_alloc(1);
	fake_xen.grants[readonly] = FAKE_READONLY;
	const uint64_t bad[] = {
		0, /* a frame that is no RAM */
		0x1000,
		fake_addr(hole, 0),
		fake_addr(edge, 512), /* good at first */
		fake_addr(readonly, 0),
		fake_addr(FAKE_PAGES, 0),   /* past the end */
		(UINT64_C(1) << 44) - 4096, /* the last frame there can be */
		(UINT64_C(1) << 44) - 512,  /* and beyond it */
		UINT64_C(1) << 44,
		(UINT64_C(1) << 44) + fake_addr(0, 0), /* a frame of more than 32 bits, whose low ones are good */
		UINT64_C(1) << 62,
		UINT64_MAX - 4095,
		UINT64_MAX,
		gio_dma_addr(FAKE_GREF_BASE, 0), /* a grant, and a good one */
		gio_dma_addr(FAKE_FRAME_BASE, 0),
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(bad_read(bad[i], 4096), GIO_VIRTIO_BLK_S_IOERR);
	for (size_t i = 0; i < FAKE_PAGE; i++)
		assert_int_equal(fake_page(readonly)[i] | fake_page(hole)[i], 0);
	assert_int_equal(fake_reg_read(GIO_VIRTIO_MMIO_STATUS), 0xf);
	fake_still_works();
}

/* The other way round: a device by grants takes no frame, though it looks like one of a device without. */
static void test_frames_are_nothing_to_a_device_with_grants(void **state)
{
	(void)state;
	fake_start(&(struct fake_setup){0});
	assert_int_equal(bad_read((uint64_t)FAKE_FRAME_BASE * FAKE_PAGE, 4096), GIO_VIRTIO_BLK_S_IOERR);
	assert_int_equal(fake_xen.foreign_maps, 0);
	fake_still_works();
}

static void test_rings_that_are_not_there(void **state)
{
	uint32_t page;

	(void)state;
	assert_int_equal(fake_open(&foreign), 0);
	fake_probe(GIO_VIRTIO_F_VERSION_1);
	page = fake_guest.next_page; /* of the descriptors; the ring has three parts of a page each */
	for (unsigned part = 0; part < 3; part++) {
		memset(fake_xen.grants, FAKE_WRITABLE, sizeof(fake_xen.grants));
		fake_guest.next_page = page;
		fake_xen.grants[page + part] = part == 2 ? FAKE_READONLY : FAKE_NONE;
		fake_queue_ready(0, 64);
		assert_int_equal(fake_reg_read(GIO_VIRTIO_MMIO_QUEUE_READY), 0);
		assert_true(fake_reg_read(GIO_VIRTIO_MMIO_STATUS) & GIO_VIRTIO_STATUS_NEEDS_RESET);
		assert_int_equal(fake_xen.mapped, 0);
		fake_probe(GIO_VIRTIO_F_VERSION_1);
	}
}

/* ---- what the system refuses ------------------------------------------------------------------------------------ */

static void test_a_call_that_fails(void **state)
{
	uint8_t data[4096];

	(void)state;
	fake_xen.fail_errno = ENOMEM;
	fake_start(&foreign);
	for (unsigned n = 1; n <= 2; n++) { /* the header's, the data's; then the status is copied in one of its own */
		/* The queue's thread may see the next chain before it is kicked. */
		__atomic_store_n(&fake_xen.fail_map, n, __ATOMIC_SEQ_CST);
		fake_do(GIO_VIRTIO_BLK_T_IN, 0, sizeof(data), false, data);
		assert_int_equal(fake_xen.fail_map, 0);
		fake_still_works();
	}
}

static void test_handles_that_cannot_be_had(void **state)
{
	unsigned n = 0;
	int err;

	(void)state;
	do {
		fake_xen.fail_open = ++n;
		err = fake_open(&foreign);
		assert_true(err == 0 || err == -ENOENT);
		assert_true(err == 0 || fake_xen.handles == 0);
	} while (err);
	assert_int_equal(n, 3); /* the rings', the queue's: the third was not asked for */
	fake_xen.fail_open = 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_does_not_offer_access_platform),
		T(test_reads_and_writes),
		T(test_indirect),
		T(test_maps_a_bounded_number),
		T(test_hostile_addresses),
		T(test_frames_are_nothing_to_a_device_with_grants),
		T(test_rings_that_are_not_there),
		T(test_a_call_that_fails),
		T(test_handles_that_cannot_be_had),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
