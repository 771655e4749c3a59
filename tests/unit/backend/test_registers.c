/* SPDX-License-Identifier: MIT */
/* The registers of virtio-mmio: what the mainline driver does, and what no driver should. */
#include <stdlib.h>
#include <string.h>

#include "backend/virtio/vdev_priv.h"
#include "backend/virtio/wait.h"
#include "tests/unit/backend/fake.h"

#define NEEDED (GIO_VIRTIO_F_VERSION_1 | GIO_VIRTIO_F_ACCESS_PLATFORM)

/* What a mainline 6.12 driver writes while it probes a disk, as recorded on Xen (tests speak of rings at 8, 9 and 10).
 */
static const struct {
	uint32_t offset, value;
} trace[] = {
	{0x070, 0x0},	     {0x070, 0x1},	  {0x070, 0x3},	       {0x014, 0x1},	    {0x014, 0x0},
	{0x024, 0x1},	     {0x020, 0x3},	  {0x024, 0x0},	       {0x020, 0x30000204}, {0x070, 0xb},
	{0x030, 0x0},	     {0x038, 0x100},	  {0x080, 0x00008000}, {0x084, 0x80000000}, {0x090, 0x00009000},
	{0x094, 0x80000000}, {0x0a0, 0x0000a000}, {0x0a4, 0x80000000}, {0x044, 0x1},	    {0x070, 0xf},
	{0x050, 0x0},	     {0x064, 0x1},
};

static void test_identity(void **state)
{
	(void)state;
	fake_open(&(struct fake_setup){0});
	assert_int_equal(fake_reg_read(0x000), 0x74726976);
	assert_int_equal(fake_reg_read(0x004), 2);
	assert_int_equal(fake_reg_read(0x008), 2);
	assert_int_not_equal(fake_reg_read(0x00c), 0);
	assert_int_equal(fake_reg_read(0x070), 0);
	assert_int_equal(fake_reg_read(0x034), 256);
	for (uint32_t sel = 0; sel < 3; sel++) { /* no shared memory: length -1 */
		fake_reg_write(0x0ac, sel);
		assert_int_equal(fake_reg_read(0x0b0), UINT32_MAX);
		assert_int_equal(fake_reg_read(0x0b4), UINT32_MAX);
	}
}

static void test_features(void **state)
{
	uint64_t f;

	(void)state;
	fake_open(&(struct fake_setup){0});
	f = fake_offered();
	assert_int_equal(f & NEEDED, NEEDED);
	assert_true(f & GIO_VIRTIO_F_EVENT_IDX);
	assert_false(f & GIO_VIRTIO_F_INDIRECT_DESC);
	assert_false(f & GIO_VIRTIO_BLK_F_RO);
	assert_false(f & GIO_VIRTIO_F_RING_RESET);
	fake_reg_write(GIO_VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	assert_int_equal(fake_reg_read(GIO_VIRTIO_MMIO_DEVICE_FEATURES), 0);
	fake_reg_write(GIO_VIRTIO_MMIO_DEVICE_FEATURES_SEL, UINT32_MAX);
	assert_int_equal(fake_reg_read(GIO_VIRTIO_MMIO_DEVICE_FEATURES), 0);
}

/* The recorded probe, with its indirect and event-index features, its ring addresses and sizes. */
static void test_mainline_trace(void **state)
{
	struct fake_vq *vq = &fake_guest.vq[0];

	(void)state;
	fake_open(&(struct fake_setup){.indirect = true});
	/* References 8 to 10 are below the base of this file's grants: move the addresses, nothing else. */
	for (unsigned i = 0; i < sizeof(trace) / sizeof(trace[0]); i++) {
		uint32_t value = trace[i].value;

		if (trace[i].offset == 0x080 || trace[i].offset == 0x090 || trace[i].offset == 0x0a0)
			value += (FAKE_GREF_BASE - 8) << 12;
		fake_reg_write(trace[i].offset, value);
	}
	assert_int_equal(fake_reg_read(0x070), 0xf);
	assert_int_equal(fake_reg_read(0x044), 1);
	*vq = (struct fake_vq){
		.size = 256, .desc = (void *)fake_page(0), .avail = (void *)fake_page(1), .used = (void *)fake_page(2)};
	fake_guest.next_page = 3;
	fake_still_works();
	assert_int_equal(fake_xen.mapped, 3);
}

static void test_features_refused(void **state)
{
	static const uint64_t bad[] = {0,
				       GIO_VIRTIO_F_VERSION_1,
				       GIO_VIRTIO_F_ACCESS_PLATFORM,
				       NEEDED | GIO_VIRTIO_F_RING_PACKED,
				       NEEDED | GIO_VIRTIO_F_INDIRECT_DESC,
				       UINT64_MAX};

	(void)state;
	fake_open(&(struct fake_setup){0});
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fake_probe(bad[i]);
		assert_int_equal(fake_reg_read(0x070), 3); /* FEATURES_OK is not set: the driver gives up */
		fake_reg_write(0x070, 0xf);
		assert_int_equal(fake_reg_read(0x070), 3); /* nor can DRIVER_OK be */
		fake_queue_ready(0, 256);
		assert_int_equal(fake_xen.maps, 0);
	}
	fake_probe(NEEDED);
	assert_int_equal(fake_reg_read(0x070), 0xb);
}

static void test_features_fixed_after_ok(void **state)
{
	(void)state;
	fake_open(&(struct fake_setup){0});
	fake_probe(NEEDED);
	fake_reg_write(GIO_VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	fake_reg_write(GIO_VIRTIO_MMIO_DRIVER_FEATURES, 0);
	fake_reg_write(GIO_VIRTIO_MMIO_DRIVER_FEATURES_SEL, 7);
	fake_reg_write(GIO_VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
	fake_queue_ready(0, 256);
	fake_driver_ok();
	fake_still_works();
}

static void test_status_bits_stay(void **state)
{
	(void)state;
	fake_start(&(struct fake_setup){0});
	fake_reg_write(0x070, 1);
	assert_int_equal(fake_reg_read(0x070), 0xf);
	fake_reg_write(0x070, 0xf | GIO_VIRTIO_STATUS_NEEDS_RESET); /* not the driver's to set */
	assert_int_equal(fake_reg_read(0x070), 0xf);
	fake_reg_write(0x070, GIO_VIRTIO_STATUS_FAILED);
	assert_int_equal(fake_reg_read(0x070), 0x8f);
	fake_reg_write(0x070, 0);
	assert_int_equal(fake_reg_read(0x070), 0);
}

static void test_reset_forgets(void **state)
{
	(void)state;
	fake_start(&(struct fake_setup){.queues = 2});
	assert_int_equal(fake_xen.mapped, 6);
	gd_mmio_write(&fake_guest.mmio, 0x120, 1, 0);
	fake_reset();
	assert_int_equal(fake_xen.mapped, 0);
	assert_int_equal(fake_reg_read(0x070), 0);
	assert_int_equal(fake_reg_read(0x060), 0);
	assert_int_equal(fake_reg_read(0x044), 0);
	assert_int_equal(gd_mmio_read(&fake_guest.mmio, 0x120, 1), 1); /* the cache mode is as configured again */
	fake_probe(FAKE_FEATURES & fake_offered());
	fake_queue_ready(0, 64);
	fake_driver_ok();
	fake_still_works();
}

static void test_queue_registers_bounded(void **state)
{
	(void)state;
	fake_open(&(struct fake_setup){.queues = 2});
	fake_probe(NEEDED);
	fake_reg_write(0x030, 1);
	assert_int_equal(fake_reg_read(0x034), 256);
	/* "unbounded queue_sel" */
	for (uint32_t sel = 2; sel; sel = sel > 0x40000000 ? 0 : sel * 3) {
		fake_reg_write(0x030, sel);
		assert_int_equal(fake_reg_read(0x034), 0);
		assert_int_equal(fake_reg_read(0x044), 0);
		for (uint32_t offset = 0x034; offset <= 0x0c0; offset += 4)
			if (offset < 0x050 || offset > 0x070)
				fake_reg_write(offset, 1);
	}
	fake_reg_write(0x030, UINT32_MAX);
	fake_reg_write(0x044, 1);
	assert_int_equal(fake_xen.maps, 0);
	fake_queue_ready(0, 256);
	fake_queue_ready(1, 256);
	fake_driver_ok();
	fake_still_works();
}

/* Size and addresses of a queue at work cannot be changed. */
static void test_queue_registers_fixed_when_ready(void **state)
{
	(void)state;
	fake_start(&(struct fake_setup){0});
	fake_reg_write(0x030, 0);
	fake_reg_write(0x038, 8);
	fake_reg_write(0x080, 0);
	fake_reg_write(0x0a4, 0);
	fake_still_works();
	fake_reg_write(0x044, 0);
	assert_int_equal(fake_reg_read(0x044), 0);
	assert_int_equal(fake_xen.mapped, 0);
}

/* "unknown register left unanswered", "unbounded config-space offset": every access is answered. */
static void test_any_access_is_answered(void **state)
{
	static const unsigned sizes[] = {0, 1, 2, 3, 4, 8, 16, 255};
	static const uint64_t far[] = {0x1000,	       0xffffffff,	  UINT64_MAX,
				       UINT64_MAX - 3, UINT64_MAX - 0xff, UINT64_C(1) << 63};

	(void)state;
	fake_start(&(struct fake_setup){0});
	for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		for (uint64_t offset = 0; offset < 0x300; offset++) {
			uint64_t value = gd_mmio_read(&fake_guest.mmio, offset, sizes[s]);

			if (offset < 0x100 && (offset % 4 || sizes[s] != 4))
				assert_int_equal(value, 0);
			if (offset >= 0x100 + sizeof(struct gio_virtio_blk_config))
				assert_int_equal(value, 0);
			if (offset != 0x070 || sizes[s] != 4)
				gd_mmio_write(&fake_guest.mmio, offset, sizes[s], offset == 0x044 ? 1 : 2);
		}
		for (unsigned i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
			assert_int_equal(gd_mmio_read(&fake_guest.mmio, far[i], sizes[s]), 0);
			gd_mmio_write(&fake_guest.mmio, far[i], sizes[s], UINT64_MAX);
		}
	}
	fake_still_works();
}

static void test_config_space(void **state)
{
	struct gio_virtio_blk_config config, bytes;

	(void)state;
	fake_open(&(struct fake_setup){.queues = 4});
	for (unsigned i = 0; i < sizeof(config); i++)
		((uint8_t *)&bytes)[i] = (uint8_t)gd_mmio_read(&fake_guest.mmio, 0x100 + i, 1);
	for (unsigned i = 0; i < sizeof(config); i += 4)
		*(uint32_t *)((char *)&config + i) = (uint32_t)gd_mmio_read(&fake_guest.mmio, 0x100 + i, 4);
	assert_memory_equal(&config, &bytes, sizeof(config));
	assert_int_equal(config.capacity, 2048);
	assert_int_equal(config.size_max, 65536);
	assert_int_equal(config.seg_max, 126);
	assert_int_equal(config.blk_size, 512);
	assert_int_equal(config.physical_block_exp, 3);
	assert_int_equal(config.min_io_size, 8);
	assert_int_equal(config.writeback, 1);
	assert_int_equal(config.num_queues, 4);
	assert_int_equal(config.max_discard_sectors, 2048);
	assert_int_equal(config.max_discard_seg, 16);
	assert_int_equal(config.discard_sector_alignment, 8);
	assert_int_equal(config.max_write_zeroes_sectors, 2048);
	assert_int_equal(config.write_zeroes_may_unmap, 1);
	assert_int_equal(gd_mmio_read(&fake_guest.mmio, 0x100, 8), 2048);
	/* Across the end of the space: what there is, and zeroes. */
	assert_int_equal(gd_mmio_read(&fake_guest.mmio, 0x100 + sizeof(config) - 2, 8), 0);
	/* Nothing but the cache mode can be written, and that by one byte, once CONFIG_WCE is negotiated. */
	for (unsigned i = 0; i < sizeof(config); i++)
		gd_mmio_write(&fake_guest.mmio, 0x100 + i, 1, 0xff);
	gd_mmio_write(&fake_guest.mmio, 0x120, 4, 0);
	gd_mmio_write(&fake_guest.mmio, 0x120, 1, 0);
	for (unsigned i = 0; i < sizeof(config); i++)
		((uint8_t *)&config)[i] = (uint8_t)gd_mmio_read(&fake_guest.mmio, 0x100 + i, 1);
	assert_memory_equal(&config, &bytes, sizeof(config));
}

/* What the disk takes at once bounds what is offered, and small rings do. */
static void test_limits(void **state)
{
	(void)state;
	fake_disk.info.max_transfer = 256 * 1024;
	fake_open(&(struct fake_setup){0});
	assert_int_equal(gd_mmio_read(&fake_guest.mmio, 0x108, 4), 65536);
	assert_int_equal(gd_mmio_read(&fake_guest.mmio, 0x10c, 4), 4);
	fake_close();
	fake_disk.info.max_transfer = 4096;
	fake_open(&(struct fake_setup){0});
	assert_int_equal(gd_mmio_read(&fake_guest.mmio, 0x108, 4), 4096);
	assert_int_equal(gd_mmio_read(&fake_guest.mmio, 0x10c, 4), 1);
	fake_close();
	fake_disk.info.max_transfer = 0;
	fake_open(&(struct fake_setup){.queue_size = 16});
	assert_int_equal(gd_mmio_read(&fake_guest.mmio, 0x10c, 4), 14);
	fake_close();
	fake_open(&(struct fake_setup){.queue_size = 2});
	assert_int_equal(gd_mmio_read(&fake_guest.mmio, 0x10c, 4), 1);
}

/* What an interrupt costs is from the first raise to the acknowledgement, and one that nobody raised costs nothing. */
static void test_interrupt_cost(void **state)
{
	const struct gd_transport_ops *ops;
	struct gd_mmio *mmio = &fake_guest.mmio;
	uint64_t raised;
	uint32_t cost;

	(void)state;
	fake_open(&(struct fake_setup){0});
	ops = mmio->transport.ops;
	ops->used(&mmio->transport, 0);
	raised = mmio->raised_at;
	assert_int_not_equal(raised, 0);
	mmio->raised_at = raised - 800; /* it was a while ago */
	ops->changed(&mmio->transport);
	assert_int_equal(mmio->raised_at, raised - 800);
	fake_reg_write(GIO_VIRTIO_MMIO_INTERRUPT_ACK, GIO_VIRTIO_INT_QUEUE | GIO_VIRTIO_INT_CONFIG);
	assert_int_equal(mmio->interrupt, 0);
	cost = gd_status_interrupt_us(&fake_guest.vdev->status);
	assert_in_range(cost, 801 / 8, GD_WAIT_INTERRUPT_US / 8);
	fake_reg_write(GIO_VIRTIO_MMIO_INTERRUPT_ACK, GIO_VIRTIO_INT_QUEUE);
	assert_int_equal(gd_status_interrupt_us(&fake_guest.vdev->status), cost);
}

/* Two processes one after the other: the driver sees that the configuration may be another one. */
static void test_generation_of_a_successor(void **state)
{
	uint32_t generation;

	(void)state;
	fake_open(&(struct fake_setup){0});
	generation = fake_reg_read(0x0fc);
	assert_int_equal(fake_reg_read(0x0fc), generation);
	fake_close();
	fake_open(&(struct fake_setup){0});
	assert_int_not_equal(fake_reg_read(0x0fc), generation);
}

static void test_resize(void **state)
{
	uint32_t generation;
	uint8_t data[512];

	(void)state;
	/* Without EVENT_IDX each request brings its interrupt for sure. */
	fake_start(&(struct fake_setup){.disk_size = 1 << 20, .features = FAKE_FEATURES & ~GIO_VIRTIO_F_EVENT_IDX});
	fake_still_works();
	fake_until(__atomic_load_n(&fake_guest.raised, __ATOMIC_SEQ_CST) == 1);
	fake_reg_write(0x064, 3);
	generation = fake_reg_read(0x0fc);
	gd_vdev_refresh(fake_guest.vdev); /* no change: silence */
	assert_int_equal(fake_guest.raised, 1);
	fake_disk.next_size = 1 << 19;
	gd_vdev_refresh(fake_guest.vdev);
	assert_int_equal(fake_guest.raised, 2);
	assert_int_equal(fake_reg_read(0x060), GIO_VIRTIO_INT_CONFIG);
	assert_int_not_equal(fake_reg_read(0x0fc), generation);
	assert_int_equal(gd_mmio_read(&fake_guest.mmio, 0x100, 8), 1024);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_IN, 1024, 512, false, data), GIO_VIRTIO_BLK_S_IOERR);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_IN, 1023, 512, false, data), GIO_VIRTIO_BLK_S_OK);
	fake_disk.next_size = (1 << 20) - 512;
	gd_vdev_refresh(fake_guest.vdev);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_IN, 2046, 512, false, data), GIO_VIRTIO_BLK_S_OK);
	fake_reset();
	fake_disk.next_size = 1 << 19; /* nobody is there to be told */
	gd_vdev_refresh(fake_guest.vdev);
	assert_int_equal(fake_reg_read(0x060), 0);
}

static void test_open_refused(void **state)
{
	(void)state;
	assert_int_not_equal(fake_open(&(struct fake_setup){.queues = 17}), 0);
	assert_int_not_equal(fake_open(&(struct fake_setup){.queue_size = 100}), 0);
	assert_int_not_equal(fake_open(&(struct fake_setup){.queue_size = 2048}), 0);
	fake_disk.info.block_size = 100;
	assert_int_not_equal(fake_open(&(struct fake_setup){0}), 0);
	fake_disk.info.block_size = 512;
	fake_disk.info.align = 65536;
	assert_int_not_equal(fake_open(&(struct fake_setup){0}), 0);
	fake_disk.info.align = 512;
	for (unsigned n = 1;; n++) { /* each handle on the grant device */
		fake_xen.fail_open = n;
		if (fake_open(&(struct fake_setup){.queues = 2}) == 0)
			break;
		assert_int_equal(fake_xen.handles, 0);
		assert_in_range(n, 1, 3);
	}
	gd_vdev_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
		T(test_identity),
		T(test_features),
		T(test_mainline_trace),
		T(test_features_refused),
		T(test_features_fixed_after_ok),
		T(test_status_bits_stay),
		T(test_reset_forgets),
		T(test_queue_registers_bounded),
		T(test_queue_registers_fixed_when_ready),
		T(test_any_access_is_answered),
		T(test_config_space),
		T(test_limits),
		T(test_interrupt_cost),
		T(test_resize),
		T(test_generation_of_a_successor),
		T(test_open_refused),
	};

	return cmocka_run_group_tests_name("registers", tests, NULL, NULL);
}
