/* SPDX-License-Identifier: MIT */
#include "tests/unit/virtio/fake_dev.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <abi/dma_addr.h>

void fake_dev_fault(struct fake_dev *dev, const char *what)
{
	fprintf(stderr, "fake device: %s\n", what);
	dev->faults++;
}

/* ---- rings: mapped -------------------------------------------------------------------------------------------- */

static void part_map(struct fake_dev *dev, struct fake_part *part, uint64_t addr, uint32_t bytes, bool write)
{
	uint64_t pages = gio_dma_pages(gio_dma_addr_offset(addr), bytes);

	*part = (struct fake_part){.addr = addr, .write = write};
	if (!gio_dma_addr_valid(addr) || pages > sizeof(part->page) / sizeof(part->page[0])) {
		fake_dev_fault(dev, "a ring at no address of ours");
		return;
	}
	for (uint32_t i = 0; i < pages; i++) {
		gio_gfn_t gfn;

		if (fake_peer_pin(dev->os, dev->domid, gio_dma_addr_gref(addr) + i, write, &gfn)) {
			fake_dev_fault(dev, "a ring that is not granted");
			return;
		}
		part->page[part->pages++] = fake_os_va(dev->os, gfn);
	}
}

static void part_unmap(struct fake_dev *dev, struct fake_part *part)
{
	for (unsigned i = 0; i < part->pages; i++)
		fake_peer_unpin(dev->os, gio_dma_addr_gref(part->addr) + i, part->write);
	part->pages = 0;
}

/* Byte `at` of a part; fields are aligned, and so never cross pages. */
static void *part_at(struct fake_dev *dev, struct fake_part *part, uint32_t at)
{
	static uint64_t nowhere[2];
	uint64_t offset = gio_dma_addr_offset(part->addr) + (uint64_t)at;

	if (offset >> GIO_PAGE_SHIFT >= part->pages) {
		fake_dev_fault(dev, "a queue that is not ready, or an index out of it");
		return nowhere;
	}
	return part->page[offset >> GIO_PAGE_SHIFT] + (offset & GIO_PAGE_MASK);
}

static uint16_t ring_load16(struct fake_dev *dev, struct fake_part *part, uint32_t at)
{
	return __atomic_load_n((uint16_t *)part_at(dev, part, at), __ATOMIC_SEQ_CST);
}

static void ring_store16(struct fake_dev *dev, struct fake_part *part, uint32_t at, uint16_t v)
{
	__atomic_store_n((uint16_t *)part_at(dev, part, at), v, __ATOMIC_SEQ_CST);
}

void fake_dev_queue_ready(struct fake_dev *dev, struct fake_queue *q)
{
	q->ready = 1;
	q->avail_idx = q->used_idx = 0;
	part_map(dev, &q->part[0], q->desc, gio_virtq_desc_bytes(q->num), false);
	part_map(dev, &q->part[1], q->driver, gio_virtq_avail_bytes(q->num), false);
	part_map(dev, &q->part[2], q->device, gio_virtq_used_bytes(q->num), true);
}

void fake_dev_release(struct fake_dev *dev)
{
	for (unsigned i = 0; i < FAKE_DEV_QUEUES; i++)
		for (unsigned p = 0; p < 3; p++)
			part_unmap(dev, &dev->queue[i].part[p]);
}

/* ---- chains ----------------------------------------------------------------------------------------------------- */

static bool table_fetch(struct fake_dev *dev, struct fake_chain *chain, const struct gio_virtq_desc *by)
{
	unsigned count = by->len / (unsigned)sizeof(*by);

	if (by->flags != GIO_VIRTQ_DESC_F_INDIRECT || by->len % sizeof(*by) || count == 0 || count > FAKE_DEV_BUFS)
		return false;
	chain->indirect = true;
	chain->count = count;
	if (fake_peer_copy(dev->os, dev->domid, by->addr, chain->buf, by->len, false))
		return false;
	for (unsigned i = 0; i + 1 < count; i++)
		if (chain->buf[i].next != i + 1 || !(chain->buf[i].flags & GIO_VIRTQ_DESC_F_NEXT))
			return false;
	return !(chain->buf[count - 1].flags & GIO_VIRTQ_DESC_F_NEXT);
}

static bool chain_fetch(struct fake_dev *dev, struct fake_queue *q, struct fake_chain *chain)
{
	uint16_t i = chain->head;

	for (;;) {
		struct gio_virtq_desc desc;

		if (i >= q->num || chain->count == q->num)
			return false;
		memcpy(&desc, part_at(dev, &q->part[0], i * (uint32_t)sizeof(desc)), sizeof(desc));
		if (desc.flags & GIO_VIRTQ_DESC_F_INDIRECT)
			return (dev->driver_features & GIO_VIRTIO_F_INDIRECT_DESC) && chain->count == 0 &&
			       table_fetch(dev, chain, &desc);
		chain->buf[chain->count++] = desc;
		if (!(desc.flags & GIO_VIRTQ_DESC_F_NEXT))
			return true;
		i = desc.next;
	}
}

bool fake_dev_take(struct fake_dev *dev, unsigned queue, struct fake_chain *chain)
{
	struct fake_queue *q = &dev->queue[queue];

	if (ring_load16(dev, &q->part[1], offsetof(struct gio_virtq_avail, idx)) == q->avail_idx)
		return false;
	chain->head = ring_load16(dev, &q->part[1], 4 + 2u * (q->avail_idx & (q->num - 1)));
	chain->count = 0;
	chain->indirect = false;
	q->avail_idx++;
	if (!chain_fetch(dev, q, chain))
		fake_dev_fault(dev, "a chain that makes no sense");
	return true;
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

static int buf_copy(struct fake_dev *dev, const struct gio_virtq_desc *buf, void *bytes, bool write)
{
	if (!!(buf->flags & GIO_VIRTQ_DESC_F_WRITE) != write) {
		fake_dev_fault(dev, "a buffer of the wrong direction");
		return -1;
	}
	if (fake_peer_copy(dev->os, dev->domid, buf->addr, bytes, buf->len, write)) {
		fake_dev_fault(dev, "a buffer that is not granted so");
		return -1;
	}
	return 0;
}

static unsigned data_serve(struct fake_dev *dev, const struct fake_chain *chain, uint64_t sector, bool write,
			   uint32_t *len)
{
	uint64_t at = sector * GIO_VIRTIO_BLK_SECTOR;

	for (unsigned i = 1; i + 1 < chain->count; i++) {
		if (at > sizeof(dev->disk) || chain->buf[i].len > sizeof(dev->disk) - at)
			return GIO_VIRTIO_BLK_S_IOERR;
		if (buf_copy(dev, &chain->buf[i], dev->disk + at, write))
			return GIO_VIRTIO_BLK_S_IOERR;
		at += chain->buf[i].len;
		*len += write ? chain->buf[i].len : 0;
	}
	return GIO_VIRTIO_BLK_S_OK;
}

static unsigned range_serve(struct fake_dev *dev, const struct fake_chain *chain, uint8_t fill)
{
	struct gio_virtio_blk_range range;

	if (chain->count != 3 || chain->buf[1].len != sizeof(range) || buf_copy(dev, &chain->buf[1], &range, false))
		return GIO_VIRTIO_BLK_S_IOERR;
	dev->last_range_flags = range.flags;
	if (range.sector > FAKE_DEV_SECTORS || range.num_sectors > FAKE_DEV_SECTORS - range.sector)
		return GIO_VIRTIO_BLK_S_IOERR;
	memset(dev->disk + range.sector * GIO_VIRTIO_BLK_SECTOR, fill, range.num_sectors * GIO_VIRTIO_BLK_SECTOR);
	return GIO_VIRTIO_BLK_S_OK;
}

static unsigned id_serve(struct fake_dev *dev, const struct fake_chain *chain, uint32_t *len)
{
	uint32_t at = 0;

	for (unsigned i = 1; i + 1 < chain->count; i++) {
		if (chain->buf[i].len > sizeof(dev->id) - at || buf_copy(dev, &chain->buf[i], dev->id + at, true))
			return GIO_VIRTIO_BLK_S_IOERR;
		at += chain->buf[i].len;
	}
	*len += at;
	return GIO_VIRTIO_BLK_S_OK;
}

static unsigned type_serve(struct fake_dev *dev, const struct fake_chain *chain, uint32_t *len)
{
	struct gio_virtio_blk_outhdr header;

	if (chain->buf[0].len != sizeof(header) || buf_copy(dev, &chain->buf[0], &header, false))
		return GIO_VIRTIO_BLK_S_IOERR;
	__atomic_store_n(&dev->last_type, header.type, __ATOMIC_RELAXED);
	switch (header.type) {
	case GIO_VIRTIO_BLK_T_IN:
		return data_serve(dev, chain, header.sector, true, len);
	case GIO_VIRTIO_BLK_T_OUT:
		return data_serve(dev, chain, header.sector, false, len);
	case GIO_VIRTIO_BLK_T_FLUSH:
		dev->flushes++;
		return chain->count == 2 && header.sector == 0 ? GIO_VIRTIO_BLK_S_OK : GIO_VIRTIO_BLK_S_IOERR;
	case GIO_VIRTIO_BLK_T_GET_ID:
		return id_serve(dev, chain, len);
	case GIO_VIRTIO_BLK_T_DISCARD:
		return range_serve(dev, chain, 0xdd);
	case GIO_VIRTIO_BLK_T_WRITE_ZEROES:
		return range_serve(dev, chain, 0);
	default:
		return GIO_VIRTIO_BLK_S_UNSUPP;
	}
}

uint32_t fake_dev_serve(struct fake_dev *dev, const struct fake_chain *chain)
{
	uint32_t len = 0;
	unsigned status;
	uint8_t byte;

	if (chain->count < 2) {
		fake_dev_fault(dev, "a chain without header or status");
		return 0;
	}
	status = type_serve(dev, chain, &len);
	__atomic_fetch_add(&dev->served, 1, __ATOMIC_RELAXED);
	if (dev->serve_hook)
		status = dev->serve_hook(dev, chain, status);
	byte = (uint8_t)status;
	if (chain->buf[chain->count - 1].len != 1)
		fake_dev_fault(dev, "a status of more than a byte");
	else if (status <= UINT8_MAX && buf_copy(dev, &chain->buf[chain->count - 1], &byte, true) == 0)
		len++;
	return len;
}

/* ---- used ring -------------------------------------------------------------------------------------------------- */

void fake_dev_put_used(struct fake_dev *dev, unsigned queue, uint16_t at, uint32_t id, uint32_t len)
{
	struct fake_queue *q = &dev->queue[queue];
	struct gio_virtq_used_elem *elem = part_at(dev, &q->part[2], 4 + 8u * (at & (q->num - 1)));

	__atomic_store_n(&elem->id, id, __ATOMIC_RELAXED);
	__atomic_store_n(&elem->len, len, __ATOMIC_RELAXED);
}

void fake_dev_set_used_idx(struct fake_dev *dev, unsigned queue, uint16_t idx)
{
	ring_store16(dev, &dev->queue[queue].part[2], offsetof(struct gio_virtq_used, idx), idx);
}

uint16_t fake_dev_used_event(struct fake_dev *dev, unsigned queue)
{
	struct fake_queue *q = &dev->queue[queue];

	return ring_load16(dev, &q->part[1], gio_virtq_used_event_offset(q->num));
}

uint16_t fake_dev_avail_flags(struct fake_dev *dev, unsigned queue)
{
	return ring_load16(dev, &dev->queue[queue].part[1], offsetof(struct gio_virtq_avail, flags));
}

void fake_dev_set_avail_event(struct fake_dev *dev, unsigned queue, uint16_t event)
{
	struct fake_queue *q = &dev->queue[queue];

	ring_store16(dev, &q->part[2], gio_virtq_avail_event_offset(q->num), event);
}

void fake_dev_set_used_flags(struct fake_dev *dev, unsigned queue, uint16_t flags)
{
	ring_store16(dev, &dev->queue[queue].part[2], offsetof(struct gio_virtq_used, flags), flags);
}

void fake_dev_raise(struct fake_dev *dev, uint32_t causes)
{
	__atomic_fetch_or(&dev->interrupt, causes, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&dev->irqs, 1, __ATOMIC_SEQ_CST);
	if (dev->raise_hook)
		dev->raise_hook(dev, causes);
	__atomic_store_n(&dev->irq, true, __ATOMIC_SEQ_CST);
}

void fake_dev_complete(struct fake_dev *dev, unsigned queue, uint32_t id, uint32_t len)
{
	struct fake_queue *q = &dev->queue[queue];
	uint16_t before = q->used_idx;
	bool wanted;

	fake_dev_put_used(dev, queue, before, id, len);
	fake_dev_set_used_idx(dev, queue, ++q->used_idx);
	/* Sequentially consistent accesses: the index is stored before used_event or flags are loaded. */
	if (dev->driver_features & GIO_VIRTIO_F_EVENT_IDX)
		wanted = gio_virtq_need_event(fake_dev_used_event(dev, queue), q->used_idx, before);
	else
		wanted = !(fake_dev_avail_flags(dev, queue) & GIO_VIRTQ_AVAIL_F_NO_INTERRUPT);
	if (wanted)
		fake_dev_raise(dev, GIO_VIRTIO_INT_QUEUE);
}

unsigned fake_dev_run(struct fake_dev *dev, unsigned queue, unsigned max)
{
	struct fake_queue *q = &dev->queue[queue];
	struct fake_chain *chain = malloc(sizeof(*chain));
	unsigned count = 0;

	while (chain && count < max) {
		if (!fake_dev_take(dev, queue, chain)) {
			fake_dev_set_avail_event(dev, queue, q->avail_idx);
			if (!fake_dev_take(dev, queue, chain))
				break;
		}
		fake_dev_complete(dev, queue, chain->head, fake_dev_serve(dev, chain));
		count++;
	}
	free(chain);
	return count;
}

/* ---- registers -------------------------------------------------------------------------------------------------- */

static struct fake_queue *queue_selected(struct fake_dev *dev)
{
	return dev->queue_sel < FAKE_DEV_QUEUES ? &dev->queue[dev->queue_sel] : NULL;
}

static uint32_t config_read(struct fake_dev *dev, unsigned offset, unsigned size)
{
	uint32_t value = 0;

	if (offset % size || offset > sizeof(dev->config) - size)
		fake_dev_fault(dev, "a configuration access that is misaligned or out of it");
	else
		memcpy(&value, (uint8_t *)&dev->config + offset, size);
	return value;
}

static uint32_t reg_read(struct fake_dev *dev, unsigned offset)
{
	struct fake_queue *q = queue_selected(dev);

	switch (offset) {
	case GIO_VIRTIO_MMIO_MAGIC:
		return GIO_VIRTIO_MMIO_MAGIC_VALUE;
	case GIO_VIRTIO_MMIO_VERSION:
		return GIO_VIRTIO_MMIO_VERSION_2;
	case GIO_VIRTIO_MMIO_DEVICE_ID:
		return GIO_VIRTIO_ID_BLOCK;
	case GIO_VIRTIO_MMIO_DEVICE_FEATURES:
		return dev->features_sel > 1 ? 0 : (uint32_t)(dev->features >> 32 * dev->features_sel);
	case GIO_VIRTIO_MMIO_QUEUE_NUM_MAX:
		return q ? dev->num_max : 0;
	case GIO_VIRTIO_MMIO_QUEUE_READY:
		return q ? q->ready : 0;
	case GIO_VIRTIO_MMIO_INTERRUPT_STATUS:
		return __atomic_load_n(&dev->interrupt, __ATOMIC_SEQ_CST);
	case GIO_VIRTIO_MMIO_STATUS:
		return dev->status;
	case GIO_VIRTIO_MMIO_CONFIG_GENERATION:
		return dev->generation;
	default:
		fake_dev_fault(dev, "a read of a register that drivers do not read");
		return 0;
	}
}

void fake_dev_status_write(struct fake_dev *dev, uint32_t value)
{
	const uint64_t known = dev->features;

	if (value) {
		if ((value & dev->status) != (dev->status & ~GIO_VIRTIO_STATUS_NEEDS_RESET))
			fake_dev_fault(dev, "a status bit taken back");
		if (dev->driver_features & ~known)
			value &= ~GIO_VIRTIO_STATUS_FEATURES_OK;
		dev->status = value;
		return;
	}
	dev->resets++;
	if (!dev->keep_mapped)
		fake_dev_release(dev);
	for (unsigned i = 0; i < FAKE_DEV_QUEUES; i++)
		dev->queue[i].ready = 0;
	dev->status = dev->interrupt = 0;
	dev->driver_features = 0;
}

static void features_write(struct fake_dev *dev, uint32_t value)
{
	unsigned shift = dev->driver_features_sel ? 32 : 0;

	dev->driver_features &= ~(UINT64_C(0xffffffff) << shift);
	dev->driver_features |= (uint64_t)value << shift;
}

static void half_write(uint64_t *reg, unsigned offset, uint32_t value)
{
	unsigned shift = offset & 4 ? 32 : 0;

	*reg = (*reg & ~(UINT64_C(0xffffffff) << shift)) | (uint64_t)value << shift;
}

static void queue_write(struct fake_dev *dev, unsigned offset, uint32_t value)
{
	struct fake_queue *q = queue_selected(dev);

	if (!q || (q->ready && offset != GIO_VIRTIO_MMIO_QUEUE_READY)) {
		fake_dev_fault(dev, "set-up of a queue that is not there, or ready");
		return;
	}
	switch (offset) {
	case GIO_VIRTIO_MMIO_QUEUE_NUM:
		q->num = value;
		if (!gio_virtq_size_valid(value) || value > dev->num_max)
			fake_dev_fault(dev, "a queue size that was not offered");
		break;
	case GIO_VIRTIO_MMIO_QUEUE_READY:
		if (value == 1)
			fake_dev_queue_ready(dev, q);
		break;
	case GIO_VIRTIO_MMIO_QUEUE_DESC_LOW:
	case GIO_VIRTIO_MMIO_QUEUE_DESC_HIGH:
		half_write(&q->desc, offset, value);
		break;
	case GIO_VIRTIO_MMIO_QUEUE_DRIVER_LOW:
	case GIO_VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
		half_write(&q->driver, offset, value);
		break;
	case GIO_VIRTIO_MMIO_QUEUE_DEVICE_LOW:
	case GIO_VIRTIO_MMIO_QUEUE_DEVICE_HIGH:
		half_write(&q->device, offset, value);
		break;
	default:
		fake_dev_fault(dev, "a write of a register that drivers do not write");
	}
}

void fake_dev_notify(struct fake_dev *dev, unsigned value)
{
	__atomic_fetch_add(&dev->notifies, 1, __ATOMIC_SEQ_CST);
	if (value >= FAKE_DEV_QUEUES || !(dev->status & GIO_VIRTIO_STATUS_DRIVER_OK))
		fake_dev_fault(dev, "a notify before DRIVER_OK, or of no queue");
	else if (!dev->lazy)
		fake_dev_run(dev, value, UINT32_MAX);
}

static void reg_write(struct fake_dev *dev, unsigned offset, uint32_t value)
{
	switch (offset) {
	case GIO_VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		dev->features_sel = value;
		break;
	case GIO_VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		dev->driver_features_sel = value;
		break;
	case GIO_VIRTIO_MMIO_DRIVER_FEATURES:
		features_write(dev, value);
		break;
	case GIO_VIRTIO_MMIO_QUEUE_SEL:
		dev->queue_sel = value;
		break;
	case GIO_VIRTIO_MMIO_QUEUE_NOTIFY:
		fake_dev_notify(dev, value);
		break;
	case GIO_VIRTIO_MMIO_INTERRUPT_ACK:
		__atomic_fetch_and(&dev->interrupt, ~value, __ATOMIC_SEQ_CST);
		break;
	case GIO_VIRTIO_MMIO_STATUS:
		fake_dev_status_write(dev, value);
		break;
	default:
		queue_write(dev, offset, value);
	}
}

static void trace(struct fake_dev *dev, bool write, unsigned offset, unsigned size, uint32_t value)
{
	unsigned at = __atomic_fetch_add(&dev->accesses, 1, __ATOMIC_SEQ_CST);

	if (at < FAKE_DEV_TRACE)
		dev->trace[at] = (struct fake_access){write, offset, size, value};
}

static uint32_t dev_read(void *opaque, uint64_t addr, unsigned size)
{
	struct fake_dev *dev = opaque;
	unsigned offset = (unsigned)(addr - FAKE_DEV_BASE);
	uint32_t value;

	if (offset < GIO_VIRTIO_MMIO_CONFIG && size != 4)
		fake_dev_fault(dev, "a register access that is not 32 bits wide");
	value = offset < GIO_VIRTIO_MMIO_CONFIG ? reg_read(dev, offset)
						: config_read(dev, offset - GIO_VIRTIO_MMIO_CONFIG, size);
	if (dev->read_hook)
		value = dev->read_hook(dev, offset, value);
	trace(dev, false, offset, size, value);
	return value;
}

static void dev_write(void *opaque, uint64_t addr, unsigned size, uint32_t value)
{
	struct fake_dev *dev = opaque;
	unsigned offset = (unsigned)(addr - FAKE_DEV_BASE);

	if (offset >= GIO_VIRTIO_MMIO_CONFIG || size != 4)
		fake_dev_fault(dev, "a write that is not to a register");
	trace(dev, true, offset, size, value);
	reg_write(dev, offset, value);
}

void fake_dev_config_changed(struct fake_dev *dev)
{
	dev->generation++;
	fake_dev_raise(dev, GIO_VIRTIO_INT_CONFIG);
}

void fake_dev_mmio(struct fake_dev *dev, struct fake_os_mmio *out)
{
	*out = (struct fake_os_mmio){.read = dev_read, .write = dev_write, .opaque = dev};
}

struct fake_dev *fake_dev_new(struct gio_os *os)
{
	struct fake_dev *dev = calloc(1, sizeof(*dev));
	struct fake_os_mmio mmio;

	if (!dev)
		abort(); /* the host has no memory */
	dev->os = os;
	dev->domid = FAKE_DEV_DOMID;
	dev->num_max = 64;
	dev->features = GIO_VIRTIO_F_VERSION_1 | GIO_VIRTIO_F_ACCESS_PLATFORM | GIO_VIRTIO_F_EVENT_IDX |
			GIO_VIRTIO_F_INDIRECT_DESC | GIO_VIRTIO_F_RING_PACKED | GIO_VIRTIO_BLK_F_SIZE_MAX |
			GIO_VIRTIO_BLK_F_SEG_MAX | GIO_VIRTIO_BLK_F_BLK_SIZE | GIO_VIRTIO_BLK_F_FLUSH |
			GIO_VIRTIO_BLK_F_TOPOLOGY | GIO_VIRTIO_BLK_F_CONFIG_WCE | GIO_VIRTIO_BLK_F_MQ |
			GIO_VIRTIO_BLK_F_DISCARD | GIO_VIRTIO_BLK_F_WRITE_ZEROES;
	dev->config = (struct gio_virtio_blk_config){.capacity = FAKE_DEV_SECTORS,
						     .size_max = 65536,
						     .seg_max = 30,
						     .blk_size = 512,
						     .physical_block_exp = 3,
						     .writeback = 1,
						     .num_queues = FAKE_DEV_QUEUES,
						     .max_discard_sectors = 256,
						     .max_discard_seg = 1,
						     .max_write_zeroes_sectors = 128,
						     .max_write_zeroes_seg = 1,
						     .write_zeroes_may_unmap = 1};
	memcpy(dev->id, "a disk of twenty by", sizeof(dev->id));
	fake_dev_mmio(dev, &mmio);
	fake_os_set_mmio(os, &mmio);
	return dev;
}

void fake_dev_delete(struct fake_dev *dev)
{
	if (!dev)
		return;
	fake_os_set_mmio(dev->os, &(struct fake_os_mmio){0});
	fake_dev_release(dev);
	free(dev);
}
