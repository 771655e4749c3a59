/* SPDX-License-Identifier: MIT */
/* The guest library's driver: transfers of every shape. */
#include "guest.h"

#include <string.h>

#define PAGES	 4u
#define BATCH	 16u
#define AGAIN_MS 100u /* until the device is looked at again without an event, where it asks for that */

/* ---- one disk --------------------------------------------------------------------------------------------------- */

int disk_open(struct disk *disk, struct world *world, struct frontend *front, bool indirect, bool event_idx)
{
	struct gio_blk_config config = {.os = gio_xen_os(),
					.grants = world->grants,
					.pool = front->messages.pool,
					.backend = front->domid,
					.connection = front->messages.connection,
					.base = front->base,
					.queue_size = 64,
					.indirect = indirect,
					.no_event_idx = !event_idx};

	*disk = (struct disk){.front = front};
	return gio_blk_open(&disk->blk, &config);
}

void disk_close(struct disk *disk)
{
	gio_blk_close(disk->blk);
	disk->blk = NULL;
	gio_xen_frontend_take(disk->front);
}

int disk_wait(struct disk *disk, const unsigned *flag)
{
	uint64_t end = gio_xen_now_ms() + WAIT_MS;
	unsigned causes = 0;

	while (!*flag) {
		if (gio_xen_now_ms() >= end)
			return -GIO_EAGAIN;
		(void)gio_xen_frontend_wait(disk->front, causes & GIO_BLK_IRQ_AGAIN ? AGAIN_MS : WAIT_MS);
		gio_xen_frontend_take(disk->front);
		causes = gio_blk_interrupt(disk->blk);
		disk->config_changes += !!(causes & GIO_BLK_IRQ_CONFIG);
	}
	return 0;
}

static void done(struct gio_blk_req *req)
{
	++*(unsigned *)req->opaque;
}

int disk_requests(struct disk *disk, struct gio_blk_req *reqs, unsigned count)
{
	unsigned flags[BATCH] = {0};
	int ret = 0, err;

	for (unsigned i = 0; i < count; i++) {
		reqs[i].done = done;
		reqs[i].opaque = &flags[i];
		err = gio_blk_submit(disk->blk, 0, &reqs[i]);
		reqs[i].result = err;
		flags[i] = !!err;
	}
	gio_blk_kick(disk->blk, 0);
	for (unsigned i = 0; i < count; i++) {
		err = disk_wait(disk, &flags[i]);
		if (err) {
			gio_xen_print("a request is not answered\n");
			gio_blk_close(disk->blk); /* it and its flag are about to go */
			disk->blk = NULL;
			return err;
		}
		ret = ret ? ret : reqs[i].result;
	}
	return ret;
}

int disk_request(struct disk *disk, enum gio_blk_op op, uint64_t sector, void *va, size_t bytes)
{
	struct gio_sg sg = {.va = va, .len = bytes};
	struct gio_blk_req req = {.op = op, .sector = sector, .sg = &sg, .segments = va ? 1 : 0};

	if (!va)
		req.sectors = bytes / GIO_BLK_SECTOR;
	return disk_requests(disk, &req, 1);
}

/* ---- patterns --------------------------------------------------------------------------------------------------- */

static void fill(uint8_t *at, size_t bytes, uint32_t seed)
{
	for (size_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)((i * 2654435761u + seed * 40503u) >> 7);
}

static bool filled(const uint8_t *at, size_t bytes, uint32_t seed)
{
	for (size_t i = 0; i < bytes; i++)
		if (at[i] != (uint8_t)((i * 2654435761u + seed * 40503u) >> 7))
			return false;
	return true;
}

static bool is_all(const uint8_t *at, size_t bytes, uint8_t value)
{
	for (size_t i = 0; i < bytes; i++)
		if (at[i] != value)
			return false;
	return true;
}

/* Buffers that begin and end anywhere; nothing beside them changes. */
static void shapes(struct disk *disk, uint8_t *buffer)
{
	static const unsigned starts[] = {0, 1, 8, 511, 512, 2049, 3584, 4095}, sizes[] = {512, 1024, 4096, 7680};
	unsigned count = 0, wrong = 0, failed = 0;

	for (unsigned s = 0; s < COUNT(starts); s++)
		for (unsigned k = 0; k < COUNT(sizes); k++, count++) {
			uint8_t *at = buffer + starts[s];
			uint64_t sector = 8 + count * 16 + s;

			fill(at, sizes[k], count);
			failed += disk_request(disk, GIO_BLK_WRITE, sector, at, sizes[k]) != 0;
			memset(buffer, 0xa5, PAGES * GIO_PAGE_SIZE);
			failed += disk_request(disk, GIO_BLK_READ, sector, at, sizes[k]) != 0;
			wrong += !filled(at, sizes[k], count) || !is_all(buffer, starts[s], 0xa5) ||
				 !is_all(at + sizes[k], PAGES * GIO_PAGE_SIZE - starts[s] - sizes[k], 0xa5);
		}
	gio_xen_print("shapes: %u, %u failed, %u wrong\n", count, failed, wrong);
}

/* One request, its data in pieces that are no sectors. */
static void pieces(struct disk *disk, uint8_t *buffer)
{
	struct gio_sg out[] = {{.va = buffer + 7, .len = 1},	  {.va = buffer + 100, .len = 511},
			       {.va = buffer + 4000, .len = 200}, {.va = buffer + 8190, .len = 4},
			       {.va = buffer + 9000, .len = 820}, {.va = buffer + 12288, .len = 4096}};
	struct gio_blk_req req = {.op = GIO_BLK_WRITE, .sector = 1000, .sg = out, .segments = COUNT(out)};
	uint8_t *expected = gio_os_pages_alloc(gio_xen_os(), PAGES);
	size_t at = 0;
	int ret;

	fill(buffer, PAGES * GIO_PAGE_SIZE, 99);
	for (unsigned i = 0; i < COUNT(out); at += out[i++].len)
		memcpy(expected + at, out[i].va, out[i].len);
	ret = disk_requests(disk, &req, 1);
	gio_xen_print("pieces: write %d", ret);
	memset(buffer, 0, PAGES * GIO_PAGE_SIZE);
	ret = disk_request(disk, GIO_BLK_READ, 1000, buffer, at);
	gio_xen_print(", read %d, %s", ret, memcmp(buffer, expected, at) ? "wrong" : "right");
	memset(buffer, 0, PAGES * GIO_PAGE_SIZE);
	req.op = GIO_BLK_READ;
	ret = disk_requests(disk, &req, 1);
	at = 0;
	for (unsigned i = 0; i < COUNT(out) && !ret; at += out[i++].len)
		if (memcmp(expected + at, out[i].va, out[i].len))
			ret = 1;
	gio_xen_print(", read in pieces %d\n", ret);
	gio_os_pages_free(gio_xen_os(), expected, PAGES);
}

/* Many at once, one kick. */
static void batch(struct disk *disk, uint8_t *buffer)
{
	struct gio_blk_req reqs[BATCH];
	struct gio_sg sg[BATCH];
	unsigned wrong = 0;
	int ret;

	for (unsigned i = 0; i < BATCH; i++) {
		sg[i] = (struct gio_sg){.va = buffer + i * 1024, .len = 1024};
		reqs[i] = (struct gio_blk_req){
			.op = GIO_BLK_WRITE, .sector = 2000 + (BATCH - i) * 2, .sg = &sg[i], .segments = 1};
		fill(buffer + i * 1024, 1024, 200 + i);
	}
	ret = disk_requests(disk, reqs, BATCH);
	gio_xen_print("batch: write %d", ret);
	memset(buffer, 0, PAGES * GIO_PAGE_SIZE);
	for (unsigned i = 0; i < BATCH; i++)
		reqs[i].op = GIO_BLK_READ;
	ret = disk_requests(disk, reqs, BATCH);
	for (unsigned i = 0; i < BATCH; i++)
		wrong += !filled(buffer + i * 1024, 1024, 200 + i);
	gio_xen_print(", read %d, %u wrong\n", ret, wrong);
}

static void others(struct disk *disk, uint8_t *buffer)
{
	int ret;

	gio_xen_print("flush: %d\n", disk_request(disk, GIO_BLK_FLUSH, 0, NULL, 0));
	fill(buffer, 8192, 5);
	ret = disk_request(disk, GIO_BLK_WRITE, 3000, buffer, 8192);
	gio_xen_print("write zeroes: %d", ret);
	gio_xen_print(" %d", disk_request(disk, GIO_BLK_WRITE_ZEROES, 3002, NULL, 2048));
	ret = disk_request(disk, GIO_BLK_READ, 3000, buffer, 8192);
	gio_xen_print(" %d, %s\n", ret,
		      filled(buffer, 1024, 5) && is_all(buffer + 1024, 2048, 0) && !is_all(buffer + 3072, 512, 0)
			      ? "right"
			      : "wrong");
	gio_xen_print("discard: %d", disk_request(disk, GIO_BLK_DISCARD, 3000, NULL, 8192));
	ret = disk_request(disk, GIO_BLK_READ, 3000, buffer, 8192);
	gio_xen_print(" %d, %s\n", ret, is_all(buffer, 8192, 0) ? "zeroes" : "something");
	memset(buffer, 0, 32);
	ret = disk_request(disk, GIO_BLK_GET_ID, 0, buffer, GIO_BLK_ID_BYTES);
	gio_xen_print("id: %d '%s'\n", ret, buffer[0] ? "given" : "");
}

/* What the driver refuses by itself. */
static void refusals(struct disk *disk, uint8_t *buffer)
{
	struct gio_blk_info info;

	gio_blk_info(disk->blk, &info);
	gio_xen_print("refusals: %d", disk_request(disk, GIO_BLK_READ, info.capacity, buffer, 512));
	gio_xen_print(" %d", disk_request(disk, GIO_BLK_READ, info.capacity - 1, buffer, 1024));
	gio_xen_print(" %d", disk_request(disk, GIO_BLK_READ, UINT64_MAX, buffer, 1024));
	gio_xen_print(" %d", disk_request(disk, GIO_BLK_READ, 0, buffer, 511));
	gio_xen_print(" %d", disk_request(disk, GIO_BLK_READ, 0, buffer, 0));
	gio_xen_print(" %d", disk_request(disk, GIO_BLK_READ, 0, NULL, 0));
	gio_xen_print(" %d", disk_request(disk, GIO_BLK_DISCARD, 0, NULL, 0));
	gio_xen_print(" %d\n", disk_request(disk, GIO_BLK_WRITE_ZEROES, info.capacity, NULL, 512));
}

static void info_print(struct disk *disk)
{
	struct gio_blk_info info;

	gio_blk_info(disk->blk, &info);
	gio_xen_print("capacity %llu, block %u, size_max %u, seg_max %u", (unsigned long long)info.capacity,
		      info.block_size, info.size_max, info.seg_max);
	gio_xen_print(", discard %u, zeroes %u, queues %u of %u", info.max_discard, info.max_write_zeroes, info.queues,
		      info.queue_size);
	gio_xen_print(", features %llx%s%s\n", (unsigned long long)info.features, info.readonly ? ", read-only" : "",
		      info.writeback ? ", writeback" : "");
}

static void run(struct world *world, uint8_t *buffer, bool indirect, bool event_idx)
{
	struct disk disk;
	int ret = disk_open(&disk, world, &world->rw, indirect, event_idx);

	gio_xen_print("- disk%s%s: %d\n", indirect ? ", indirect" : "", event_idx ? ", event index" : "", ret);
	if (ret)
		return;
	info_print(&disk);
	if (disk.blk)
		shapes(&disk, buffer);
	if (disk.blk)
		pieces(&disk, buffer);
	if (disk.blk)
		batch(&disk, buffer);
	if (disk.blk)
		others(&disk, buffer);
	if (disk.blk)
		refusals(&disk, buffer);
	disk_close(&disk);
}

static void read_only(struct world *world, uint8_t *buffer)
{
	struct disk disk;
	int ret = disk_open(&disk, world, &world->ro, false, true);

	gio_xen_print("- read-only disk: %d\n", ret);
	if (ret)
		return;
	info_print(&disk);
	gio_xen_print("read %d", disk_request(&disk, GIO_BLK_READ, 3, buffer, 4096));
	gio_xen_print(", write %d", disk_request(&disk, GIO_BLK_WRITE, 3, buffer, 4096));
	gio_xen_print(", discard %d\n", disk_request(&disk, GIO_BLK_DISCARD, 3, NULL, 512));
	disk_close(&disk);
}

void disk_run(struct world *world)
{
	uint8_t *buffer = gio_os_pages_alloc(gio_xen_os(), PAGES);

	run(world, buffer, false, false);
	run(world, buffer, false, true);
	run(world, buffer, true, false);
	run(world, buffer, true, true);
	read_only(world, buffer);
	gio_os_pages_free(gio_xen_os(), buffer, PAGES);
}
