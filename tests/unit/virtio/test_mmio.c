/* SPDX-License-Identifier: MIT */
/* virtio-mmio, driver side: what it asks of the registers, in which order, and which answers it refuses. */
#include "tests/unit/virtio/rig.h"

#include "guest/virtio/mmio.h"

struct bus {
	struct blk_rig rig;
	struct gio_transport *transport;
};

static void bus_init(struct bus *b)
{
	rig_init(&b->rig, 1);
	assert_int_equal(gio_mmio_open(&b->transport, b->rig.os, FAKE_DEV_BASE, GIO_VIRTIO_ID_BLOCK), 0);
}

static void bus_close(struct bus *b)
{
	gio_transport_close(b->transport);
	rig_close(&b->rig);
}

static unsigned writes_to(const struct fake_dev *dev, unsigned offset)
{
	unsigned count = 0;

	for (unsigned i = 0; i < dev->accesses; i++)
		count += dev->trace[i].write && dev->trace[i].offset == offset;
	return count;
}

static unsigned reads_of(const struct fake_dev *dev, unsigned offset)
{
	unsigned count = 0;

	for (unsigned i = 0; i < dev->accesses; i++)
		count += !dev->trace[i].write && dev->trace[i].offset == offset;
	return count;
}

/* One register reads as something else: which, and as what. `hooked` counts reads of it. */
static unsigned lie_offset;
static uint32_t lie_value;

static uint32_t lie(struct fake_dev *dev, unsigned offset, uint32_t value)
{
	if (offset != lie_offset)
		return value;
	dev->hooked++;
	return lie_value;
}

static void lie_about(struct bus *b, unsigned offset, uint32_t value)
{
	lie_offset = offset;
	lie_value = value;
	b->rig.dev->hooked = 0;
	b->rig.dev->read_hook = lie;
}

/* ---- probe, reset ----------------------------------------------------------------------------------------------- */

static void test_probe_refuses(void **state)
{
	static const struct {
		unsigned offset;
		uint32_t value;
	} cases[] = {
		{GIO_VIRTIO_MMIO_MAGIC, 0},	    {GIO_VIRTIO_MMIO_MAGIC, UINT32_MAX}, {GIO_VIRTIO_MMIO_VERSION, 1},
		{GIO_VIRTIO_MMIO_VERSION, 3},	    {GIO_VIRTIO_MMIO_DEVICE_ID, 0},	 {GIO_VIRTIO_MMIO_DEVICE_ID, 1},
		{GIO_VIRTIO_MMIO_DEVICE_ID, 0x102},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bus b;
		int err;

		rig_init(&b.rig, 1);
		lie_about(&b, cases[i].offset, cases[i].value);
		err = gio_mmio_open(&b.transport, b.rig.os, FAKE_DEV_BASE, GIO_VIRTIO_ID_BLOCK);
		assert_int_equal(err, -GIO_ENODEV);
		for (unsigned n = 0; n < b.rig.dev->accesses; n++)
			assert_false(b.rig.dev->trace[n].write);
		/* Nothing was read after the register that is wrong (4.2.3.1.1). */
		assert_int_equal(b.rig.dev->trace[b.rig.dev->accesses - 1].offset, cases[i].offset);
		rig_close(&b.rig);
	}
}

static void test_reset_never_done(void **state)
{
	struct bus b;

	(void)state;
	bus_init(&b);
	lie_about(&b, GIO_VIRTIO_MMIO_STATUS, 4);
	assert_int_equal(gio_transport_reset(b.transport), -GIO_EPROTO);
	assert_int_equal(b.rig.dev->hooked, GIO_MMIO_RESET_READS);
	bus_close(&b);
}

static uint32_t slow_status(struct fake_dev *dev, unsigned offset, uint32_t value)
{
	return offset == GIO_VIRTIO_MMIO_STATUS && dev->hooked++ < 5 ? 15 : value;
}

static void test_reset_takes_time(void **state)
{
	struct bus b;

	(void)state;
	bus_init(&b);
	b.rig.dev->read_hook = slow_status;
	assert_int_equal(gio_transport_reset(b.transport), 0);
	assert_int_equal(reads_of(b.rig.dev, GIO_VIRTIO_MMIO_STATUS), 6);
	assert_int_equal(writes_to(b.rig.dev, GIO_VIRTIO_MMIO_STATUS), 1);
	bus_close(&b);
}

/* ---- features --------------------------------------------------------------------------------------------------- */

static void test_negotiate(void **state)
{
	const uint64_t required = GIO_VIRTIO_F_VERSION_1 | GIO_VIRTIO_F_ACCESS_PLATFORM;
	const uint64_t wanted = GIO_VIRTIO_BLK_F_FLUSH | GIO_VIRTIO_BLK_F_RO; /* offered; not offered */
	struct bus b;
	uint64_t agreed;

	(void)state;
	bus_init(&b);
	assert_int_equal(gio_transport_negotiate(b.transport, required, wanted, &agreed), 0);
	assert_int_equal(agreed, required | GIO_VIRTIO_BLK_F_FLUSH);
	assert_int_equal(b.rig.dev->driver_features, agreed);
	assert_int_equal(b.rig.dev->status,
			 GIO_VIRTIO_STATUS_ACKNOWLEDGE | GIO_VIRTIO_STATUS_DRIVER | GIO_VIRTIO_STATUS_FEATURES_OK);
	bus_close(&b);
}

static void test_negotiate_missing(void **state)
{
	const uint64_t required = GIO_VIRTIO_F_VERSION_1 | GIO_VIRTIO_F_ACCESS_PLATFORM;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct bus b;
		uint64_t agreed;

		bus_init(&b);
		b.rig.dev->features &= i ? ~GIO_VIRTIO_F_VERSION_1 : ~GIO_VIRTIO_F_ACCESS_PLATFORM;
		assert_int_equal(gio_transport_negotiate(b.transport, required, 0, &agreed), -GIO_ENODEV);
		assert_true(b.rig.dev->status & GIO_VIRTIO_STATUS_FAILED);
		assert_false(b.rig.dev->status & GIO_VIRTIO_STATUS_FEATURES_OK);
		assert_int_equal(writes_to(b.rig.dev, GIO_VIRTIO_MMIO_DRIVER_FEATURES), 0);
		bus_close(&b);
	}
}

static uint32_t features_not_ok(struct fake_dev *dev, unsigned offset, uint32_t value)
{
	(void)dev;
	return offset == GIO_VIRTIO_MMIO_STATUS ? value & ~GIO_VIRTIO_STATUS_FEATURES_OK : value;
}

static void test_negotiate_not_ok(void **state)
{
	struct bus b;
	uint64_t agreed;

	(void)state;
	bus_init(&b);
	b.rig.dev->read_hook = features_not_ok;
	assert_int_equal(gio_transport_negotiate(b.transport, GIO_VIRTIO_F_VERSION_1, 0, &agreed), -GIO_ENODEV);
	assert_true(b.rig.dev->status & GIO_VIRTIO_STATUS_FAILED);
	bus_close(&b);
}

/* A device that sets bits of its own does not get them echoed. */
static void test_status_is_ours(void **state)
{
	struct bus b;

	(void)state;
	bus_init(&b);
	lie_about(&b, GIO_VIRTIO_MMIO_STATUS, UINT32_MAX);
	gio_transport_status_add(b.transport, GIO_VIRTIO_STATUS_ACKNOWLEDGE);
	assert_int_equal(gio_transport_status_read(b.transport), UINT32_MAX);
	gio_transport_status_add(b.transport, GIO_VIRTIO_STATUS_DRIVER);
	assert_int_equal(b.rig.dev->status, 3);
	bus_close(&b);
}

/* ---- queues ----------------------------------------------------------------------------------------------------- */

static void test_queue_probe(void **state)
{
	struct bus b;
	uint32_t max;

	(void)state;
	bus_init(&b);
	b.rig.dev->num_max = 256;
	assert_int_equal(gio_transport_queue_probe(b.transport, 3, &max), 0);
	assert_int_equal(max, 256);
	assert_int_equal(b.rig.dev->queue_sel, 3);
	assert_int_equal(gio_transport_queue_probe(b.transport, FAKE_DEV_QUEUES, &max), -GIO_ENODEV);
	lie_about(&b, GIO_VIRTIO_MMIO_QUEUE_READY, 1);
	assert_int_equal(gio_transport_queue_probe(b.transport, 0, &max), -GIO_EPROTO);
	bus_close(&b);
}

static void test_queue_enable(void **state)
{
	struct bus b;
	struct gio_dma dma;
	struct gio_virtq vq;
	uint32_t max;

	(void)state;
	bus_init(&b);
	assert_int_equal(gio_dma_init(&dma, b.rig.os, b.rig.grants, FAKE_DEV_DOMID, UINT64_MAX), 0);
	assert_int_equal(gio_virtq_init(&vq, &dma, 32, false), 0);
	assert_int_equal(gio_transport_queue_probe(b.transport, 1, &max), 0);
	assert_int_equal(gio_transport_queue_enable(b.transport, &vq), 0);
	assert_int_equal(b.rig.dev->queue[1].ready, 1);
	assert_int_equal(b.rig.dev->queue[1].num, 32);
	assert_int_equal(b.rig.dev->queue[1].desc, vq.desc_addr); /* the grant bit lies in the HIGH half */
	assert_int_equal(b.rig.dev->queue[1].driver, vq.avail_addr);
	assert_int_equal(b.rig.dev->queue[1].device, vq.used_addr);
	assert_int_equal(gio_transport_queue_probe(b.transport, 2, &max), 0);
	lie_about(&b, GIO_VIRTIO_MMIO_QUEUE_READY, 0);
	assert_int_equal(gio_transport_queue_enable(b.transport, &vq), -GIO_EPROTO);
	fake_dev_release(b.rig.dev);
	gio_virtq_exit(&vq);
	bus_close(&b);
}

/* ---- interrupt and configuration -------------------------------------------------------------------------------- */

static void test_interrupt(void **state)
{
	struct bus b;

	(void)state;
	bus_init(&b);
	assert_int_equal(gio_transport_interrupt(b.transport), 0);
	assert_int_equal(writes_to(b.rig.dev, GIO_VIRTIO_MMIO_INTERRUPT_ACK), 0);
	for (uint32_t causes = 1; causes <= 3; causes++) {
		fake_dev_raise(b.rig.dev, causes);
		assert_int_equal(gio_transport_interrupt(b.transport), causes);
		assert_int_equal(b.rig.dev->interrupt, 0);
	}
	lie_about(&b, GIO_VIRTIO_MMIO_INTERRUPT_STATUS, 0xfffffffd);
	assert_int_equal(gio_transport_interrupt(b.transport), GIO_VIRTIO_INT_QUEUE);
	assert_int_equal(b.rig.dev->trace[b.rig.dev->accesses - 1].value, GIO_VIRTIO_INT_QUEUE);
	bus_close(&b);
}

static void test_config_widths(void **state)
{
	struct bus b;
	struct fake_access *last;

	(void)state;
	bus_init(&b);
	b.rig.dev->config.capacity = UINT64_C(0x0123456789abcdef);
	assert_int_equal(gio_transport_config_read64(b.transport, 0), UINT64_C(0x0123456789abcdef));
	last = &b.rig.dev->trace[b.rig.dev->accesses - 1];
	assert_int_equal(last->size, 4);
	assert_int_equal(gio_transport_config_read(b.transport, 24, 1), 3);
	assert_int_equal(gio_transport_config_read(b.transport, 34, 2), FAKE_DEV_QUEUES);
	last = &b.rig.dev->trace[b.rig.dev->accesses - 1];
	assert_int_equal(last->size, 2);
	assert_int_equal(last->offset, GIO_VIRTIO_MMIO_CONFIG + 34);
	bus_close(&b);
}

/* ---- the whole way ---------------------------------------------------------------------------------------------- */

/*
 * The register writes of Linux 6.12 (arm64, virtio_mmio and virtio_blk, one queue, features and addresses aside), from
 * reset to the first acknowledged interrupt: backends are tried against that order, so this driver keeps to it.
 */
static void test_trace_like_linux(void **state)
{
	static const struct {
		unsigned offset;
		int64_t value; /* -1: whatever */
	} linux_writes[] = {
		{0x070, 0},  {0x070, 1},	  {0x070, 3},  {0x014, 1},	    {0x014, 0},	 {0x024, 1},
		{0x020, 3},  {0x024, 0},	  {0x020, -1}, {0x070, 11},	    {0x030, 0},	 {0x038, 64},
		{0x080, -1}, {0x084, 0x80000000}, {0x090, -1}, {0x094, 0x80000000}, {0x0a0, -1}, {0x0a4, 0x80000000},
		{0x044, 1},  {0x070, 15},	  {0x050, 0},  {0x064, 1},
	};
	const size_t count = sizeof(linux_writes) / sizeof(linux_writes[0]);
	struct blk_rig rig;
	uint8_t *p;
	size_t n = 0;

	(void)state;
	rig_init(&rig, 1);
	p = rig_pages(&rig, 1, 0);
	rig_open(&rig);
	assert_int_equal(rig_io(&rig, GIO_BLK_READ, 0, p, 512), 0);
	for (unsigned i = 0; i < rig.dev->accesses; i++) {
		if (!rig.dev->trace[i].write)
			continue;
		assert_true(n < count);
		assert_int_equal(rig.dev->trace[i].offset, linux_writes[n].offset);
		if (linux_writes[n].value >= 0)
			assert_int_equal(rig.dev->trace[i].value, linux_writes[n].value);
		n++;
	}
	assert_int_equal(n, count);
	rig_pages_free(&rig, p, 1);
	rig_close(&rig);
}

/* No register is read or written more often than it must be: each access blocks a vCPU. */
static void test_trace_of_a_request(void **state)
{
	struct blk_rig rig;
	unsigned before;
	uint8_t *p;

	(void)state;
	rig_init(&rig, 1);
	p = rig_pages(&rig, 1, 0);
	rig_open(&rig);
	before = rig.dev->accesses;
	assert_int_equal(rig_io(&rig, GIO_BLK_WRITE, 0, p, 512), 0);
	assert_int_equal(rig.dev->accesses - before, 3);
	assert_int_equal(rig.dev->trace[before].offset, GIO_VIRTIO_MMIO_QUEUE_NOTIFY);
	assert_int_equal(rig.dev->trace[before + 1].offset, GIO_VIRTIO_MMIO_INTERRUPT_STATUS);
	assert_int_equal(rig.dev->trace[before + 2].offset, GIO_VIRTIO_MMIO_INTERRUPT_ACK);
	rig_pages_free(&rig, p, 1);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_probe_refuses),	   cmocka_unit_test(test_reset_never_done),
		cmocka_unit_test(test_reset_takes_time),   cmocka_unit_test(test_negotiate),
		cmocka_unit_test(test_negotiate_missing),  cmocka_unit_test(test_negotiate_not_ok),
		cmocka_unit_test(test_status_is_ours),	   cmocka_unit_test(test_queue_probe),
		cmocka_unit_test(test_queue_enable),	   cmocka_unit_test(test_interrupt),
		cmocka_unit_test(test_config_widths),	   cmocka_unit_test(test_trace_like_linux),
		cmocka_unit_test(test_trace_of_a_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
