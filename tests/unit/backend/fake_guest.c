/* SPDX-License-Identifier: MIT */
/* A driver for the device under test. */
#include <sched.h>
#include <string.h>
#include <time.h>

#include "tests/unit/backend/fake.h"

struct fake_guest fake_guest;
char fake_open_error[256];

uint64_t fake_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now); /* the device's clock may be the test's */
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void fake_yield(void)
{
	sched_yield();
}

static void raise_interrupt(void *opaque)
{
	struct fake_guest *g = opaque;

	__atomic_fetch_add(&g->raised, 1, __ATOMIC_SEQ_CST);
}

static void quiet_count(void *opaque)
{
	struct fake_guest *g = opaque;

	__atomic_fetch_add(&g->quiet, 1, __ATOMIC_SEQ_CST);
}

int fake_setup(void **state)
{
	(void)state;
	memset(&fake_guest, 0, sizeof(fake_guest));
	fake_xen_reset();
	fake_disk_reset(1 << 20);
	fake_log_lines = 0;
	return 0;
}

int fake_teardown(void **state)
{
	(void)state;
	fake_disk_release(); /* or closing would wait for ever */
	fake_close();
	assert_int_equal(fake_xen.mapped, 0);
	assert_int_equal(fake_xen.handles, 0);
	assert_int_equal(fake_xen.crossings, 0);
	assert_int_equal(fake_disk.open, 0);
	assert_int_equal(fake_disk.queues, 0);
	assert_int_equal(fake_disk.held, 0);
	return 0;
}

uint32_t fake_reg_read(uint32_t offset)
{
	return (uint32_t)gd_mmio_read(&fake_guest.mmio, offset, 4);
}

void fake_reg_write(uint32_t offset, uint32_t value)
{
	gd_mmio_write(&fake_guest.mmio, offset, 4, value);
}

uint32_t fake_alloc(uint32_t pages)
{
	uint32_t first = fake_guest.next_page;

	fake_guest.next_page += pages;
	assert_true(fake_guest.next_page <= FAKE_PAGES);
	return first;
}

static int class_open(const struct fake_setup *setup, struct gd_class_device **class)
{
	struct gd_device_config config = {.domid = FAKE_DOMID,
					  .way = setup->foreign ? &gd_way_foreign : &gd_way_grants,
					  .log = &fake_guest.log,
					  .queues = setup->queues ? setup->queues : 1,
					  .queue_size = setup->queue_size ? setup->queue_size : 256,
					  .look_us = setup->look_us,
					  .indirect = setup->indirect};
	struct gd_blk_config blk = {.disk = setup->rng_rate ? NULL : fake_disk_open(),
				    .writeback = !setup->writethrough,
				    .discard = !setup->no_discard};
	int err;

	if (setup->rng_rate)
		return gd_rng_open(class, &config, setup->rng_rate, fake_open_error, sizeof(fake_open_error));
	err = gd_blk_open(class, &config, &blk, fake_open_error, sizeof(fake_open_error));

	if (err)
		gd_disk_close(blk.disk);
	return err;
}

int fake_open(const struct fake_setup *setup)
{
	struct gd_vdev_config config = {.transport = &fake_guest.mmio.transport,
					.quiet = quiet_count,
					.ledger = setup->ledger,
					.opaque = &fake_guest};
	int err;

	if (setup->disk_size)
		fake_disk_reset(setup->disk_size);
	fake_xen.foreign = setup->foreign;
	fake_disk.info.readonly = setup->readonly;
	strcpy(fake_guest.log.name, "d7/xvda");
	gd_mmio_init(&fake_guest.mmio, raise_interrupt, &fake_guest);
	err = class_open(setup, &config.class);
	if (err)
		return err;
	if (setup->opening)
		setup->opening(&config);
	err = gd_vdev_open(&fake_guest.vdev, &config, fake_open_error, sizeof(fake_open_error));
	assert_int_equal(fake_open_error[0] != '\0', err != 0);
	if (err)
		gd_class_close(config.class);
	else
		gd_vdev_use_pool(fake_guest.vdev, setup->pool);
	return err;
}

void fake_probe(uint64_t features)
{
	fake_guest.features = features;
	fake_reg_write(GIO_VIRTIO_MMIO_STATUS, 0);
	fake_reg_write(GIO_VIRTIO_MMIO_STATUS, 1);
	fake_reg_write(GIO_VIRTIO_MMIO_STATUS, 3);
	fake_reg_write(GIO_VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	fake_reg_write(GIO_VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32));
	fake_reg_write(GIO_VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	fake_reg_write(GIO_VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)features);
	fake_reg_write(GIO_VIRTIO_MMIO_STATUS, 0xb);
}

static void address_write(uint32_t low, uint64_t addr)
{
	fake_reg_write(low, (uint32_t)addr);
	fake_reg_write(low + 4, (uint32_t)(addr >> 32));
}

static uint32_t pages_of(uint32_t bytes)
{
	return (bytes + FAKE_PAGE - 1) / FAKE_PAGE;
}

/* Each part begins in a page of its own. */
void fake_vq_place(struct fake_vq *vq, uint32_t size, uint64_t addr[3])
{
	uint32_t desc = fake_alloc(pages_of(gio_virtq_desc_bytes(size)));
	uint32_t avail = fake_alloc(pages_of(gio_virtq_avail_bytes(size)));
	uint32_t used = fake_alloc(pages_of(gio_virtq_used_bytes(size)));

	memset(fake_page(desc), 0, (size_t)(fake_guest.next_page - desc) * FAKE_PAGE);
	*vq = (struct fake_vq){.size = size,
			       .page = desc,
			       .desc = (void *)fake_page(desc),
			       .avail = (void *)fake_page(avail),
			       .used = (void *)fake_page(used)};
	addr[0] = fake_addr(desc, 0);
	addr[1] = fake_addr(avail, 0);
	addr[2] = fake_addr(used, 0);
}

void fake_queue_ready(unsigned index, uint32_t size)
{
	uint64_t addr[3];

	fake_vq_place(&fake_guest.vq[index], size, addr);
	fake_reg_write(GIO_VIRTIO_MMIO_QUEUE_SEL, index);
	fake_reg_write(GIO_VIRTIO_MMIO_QUEUE_NUM, size);
	address_write(GIO_VIRTIO_MMIO_QUEUE_DESC_LOW, addr[0]);
	address_write(GIO_VIRTIO_MMIO_QUEUE_DRIVER_LOW, addr[1]);
	address_write(GIO_VIRTIO_MMIO_QUEUE_DEVICE_LOW, addr[2]);
	fake_reg_write(GIO_VIRTIO_MMIO_QUEUE_READY, 1);
}

void fake_driver_ok(void)
{
	fake_reg_write(GIO_VIRTIO_MMIO_STATUS, 0xf);
}

uint64_t fake_offered(void)
{
	uint64_t low;

	fake_reg_write(GIO_VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	low = fake_reg_read(GIO_VIRTIO_MMIO_DEVICE_FEATURES);
	fake_reg_write(GIO_VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	return low | (uint64_t)fake_reg_read(GIO_VIRTIO_MMIO_DEVICE_FEATURES) << 32;
}

void fake_start(const struct fake_setup *setup)
{
	unsigned queues = setup->queues ? setup->queues : 1;

	assert_int_equal(fake_open(setup), 0);
	fake_probe((setup->features ? setup->features : FAKE_FEATURES | GIO_VIRTIO_F_INDIRECT_DESC) & fake_offered());
	assert_int_equal(fake_reg_read(GIO_VIRTIO_MMIO_STATUS), 0xb);
	for (unsigned i = 0; i < queues; i++)
		fake_queue_ready(i, setup->queue_size ? setup->queue_size : 256);
	fake_driver_ok();
	assert_int_equal(fake_reg_read(GIO_VIRTIO_MMIO_STATUS), 0xf);
}

void fake_close(void)
{
	gd_vdev_close(fake_guest.vdev);
	fake_guest.vdev = NULL;
}

void fake_reset(void)
{
	fake_reg_write(GIO_VIRTIO_MMIO_STATUS, 0);
	memset(fake_guest.vq, 0, sizeof(fake_guest.vq));
}

/* ---- rings ---- */

uint16_t fake_chain(struct fake_vq *vq, const struct fake_buf *bufs, unsigned count)
{
	uint16_t head = (uint16_t)(vq->next_desc & (vq->size - 1));

	for (unsigned i = 0; i < count; i++) {
		uint16_t at = (uint16_t)(vq->next_desc++ & (vq->size - 1));

		vq->desc[at] = (struct gio_virtq_desc){
			.addr = bufs[i].addr,
			.len = bufs[i].len,
			.flags = (uint16_t)(bufs[i].flags | (i + 1 < count ? GIO_VIRTQ_DESC_F_NEXT : 0)),
			.next = (uint16_t)(vq->next_desc & (vq->size - 1))};
	}
	return head;
}

void fake_avail(struct fake_vq *vq, uint16_t head)
{
	vq->avail->ring[vq->avail_idx++ & (vq->size - 1)] = head;
	/* Release: descriptors and entry before the index; pairs with the device's acquire. */
	__atomic_store_n(&vq->avail->idx, vq->avail_idx, __ATOMIC_RELEASE);
}

void fake_kick(unsigned queue)
{
	if (fake_guest.kick)
		fake_guest.kick(queue);
	else
		fake_reg_write(GIO_VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

static uint16_t used_index(struct fake_vq *vq)
{
	return __atomic_load_n(&vq->used->idx, __ATOMIC_ACQUIRE);
}

bool fake_used_now(struct fake_vq *vq)
{
	return used_index(vq) != vq->last_used;
}

struct gio_virtq_used_elem fake_used(struct fake_vq *vq, unsigned count)
{
	fake_until((uint16_t)(used_index(vq) - vq->last_used) >= count);
	/*
	 * Acquire what the queue's thread did before its last unmap: where the ring is mapped at another address there
	 * (fake_xen.foreign), ThreadSanitizer does not know that the two indices are one.
	 */
	(void)__atomic_load_n(&fake_xen.mapped, __ATOMIC_ACQUIRE);
	vq->last_used = (uint16_t)(vq->last_used + count);
	/* used_event: an interrupt for the next one */
	__atomic_store_n(&vq->avail->ring[vq->size], vq->last_used, __ATOMIC_SEQ_CST);
	return vq->used->ring[(vq->last_used - 1) & (vq->size - 1)];
}

/* ---- requests ---- */

struct fake_req fake_request(unsigned queue, uint32_t type, uint64_t sector, uint32_t length, bool readable,
			     const void *data)
{
	struct fake_vq *vq = &fake_guest.vq[queue];
	struct fake_req req = {.header = fake_alloc(1), .length = length, .status = fake_alloc(1)};
	struct gio_virtio_blk_outhdr *header = (void *)fake_page(req.header);
	struct fake_buf bufs[3];
	unsigned n = 0;

	*header = (struct gio_virtio_blk_outhdr){.type = type, .sector = sector};
	*fake_page(req.status) = 0xee;
	bufs[n++] = (struct fake_buf){.addr = fake_addr(req.header, 0), .len = sizeof(*header)};
	if (length > 0) {
		req.data = fake_alloc(pages_of(length));
		if (data)
			memcpy(fake_page(req.data), data, length);
		bufs[n++] = (struct fake_buf){
			.addr = fake_addr(req.data, 0), .len = length, .flags = readable ? 0 : GIO_VIRTQ_DESC_F_WRITE};
	}
	bufs[n++] = (struct fake_buf){.addr = fake_addr(req.status, 0), .len = 1, .flags = GIO_VIRTQ_DESC_F_WRITE};
	req.head = fake_chain(vq, bufs, n);
	fake_avail(vq, req.head);
	return req;
}

uint8_t fake_status(const struct fake_req *req)
{
	return *fake_page(req->status);
}

uint8_t fake_do(uint32_t type, uint64_t sector, uint32_t length, bool readable, void *data)
{
	uint32_t page = fake_guest.next_page;
	struct fake_req req = fake_request(0, type, sector, length, readable, readable ? data : NULL);
	struct gio_virtq_used_elem used;

	fake_kick(0);
	used = fake_used(&fake_guest.vq[0], 1);
	assert_int_equal(used.id, req.head);
	if (!readable && length > 0)
		memcpy(data, fake_page(req.data), length);
	fake_guest.next_page = page;
	return fake_status(&req);
}

void fake_still_works(void)
{
	uint8_t data[1024];

	memset(data, 0, sizeof(data));
	assert_int_equal(fake_reg_read(GIO_VIRTIO_MMIO_STATUS), 0xf);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_IN, 4, sizeof(data), false, data), GIO_VIRTIO_BLK_S_OK);
	assert_memory_equal(data, fake_disk.bytes + 4 * 512, sizeof(data));
}
