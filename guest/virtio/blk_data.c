/* SPDX-License-Identifier: MIT */
/*
 * The memory of virtio-blk requests that the device sees: headers, ranges, tables and status bytes of a queue's slots,
 * and the data. With a pool all of it lies there; else a queue's arrays are granted while the device is open, and data
 * while it is in flight.
 */
#include "blk.h"

#include <abi/virtio.h>

/* ---- the arrays of a queue -------------------------------------------------------------------------------------- */

/* How long each array is. Each has a multiple of 16 bytes, but for the last one. */
static void arrays_size(struct blk_queue *q, const struct gio_blk_info *info)
{
	bool ranges = info->max_discard || info->max_write_zeroes;
	bool tables = info->features & GIO_VIRTIO_F_INDIRECT_DESC;

	q->headers.bytes = q->slots * sizeof(struct gio_virtio_blk_outhdr);
	q->ranges.bytes = ranges ? q->slots * sizeof(struct gio_virtio_blk_range) : 0;
	q->tables.bytes = tables ? q->slots * BLK_TABLE_ENTRIES * sizeof(struct gio_virtq_desc) : 0;
	q->statuses.bytes = q->slots;
}

static void array_place(const struct blk_queue *q, struct blk_array *array, size_t *at)
{
	array->va = (uint8_t *)q->shared + *at;
	array->addr = q->shared_addr + *at;
	*at += array->bytes;
}

/* All arrays side by side in one block. */
static int block_make(struct blk_queue *q, struct gio_dma *dma)
{
	size_t at = 0;

	q->shared_bytes = q->headers.bytes + q->ranges.bytes + q->tables.bytes + q->statuses.bytes;
	q->shared = gio_dma_alloc(dma, q->shared_bytes, 0, &q->shared_addr);
	if (!q->shared)
		return -GIO_ENOMEM;
	array_place(q, &q->headers, &at);
	array_place(q, &q->ranges, &at);
	array_place(q, &q->tables, &at);
	array_place(q, &q->statuses, &at);
	return 0;
}

/* One array in the pool: the device only reads it, but for the statuses. */
static int array_get(struct gio_pool *pool, const struct blk_queue *q, struct blk_array *array)
{
	enum gio_dma_dir dir = array == &q->statuses ? GIO_DMA_BOTH : GIO_DMA_TO_DEVICE;

	if (!array->bytes)
		return 0;
	/* Too long for the pool, or no room in it: it is too small for such a queue. */
	if (gio_pool_get(pool, q->index, array->bytes, dir, 0, &array->addr))
		return -GIO_ENOMEM;
	array->va = gio_pool_va(pool, array->addr);
	return 0;
}

static void array_put(struct gio_pool *pool, struct blk_array *array)
{
	if (array->va)
		gio_pool_put(pool, array->addr, array->bytes);
	array->va = NULL;
}

static void arrays_put(struct gio_pool *pool, struct blk_queue *q)
{
	array_put(pool, &q->headers);
	array_put(pool, &q->ranges);
	array_put(pool, &q->tables);
	array_put(pool, &q->statuses);
}

static int arrays_get(struct gio_pool *pool, struct blk_queue *q)
{
	int err = array_get(pool, q, &q->headers);

	if (!err)
		err = array_get(pool, q, &q->ranges);
	if (!err)
		err = array_get(pool, q, &q->tables);
	if (!err)
		err = array_get(pool, q, &q->statuses);
	if (err)
		arrays_put(pool, q);
	return err;
}

int gio_blk_arrays_init(struct gio_blk *blk, struct blk_queue *q)
{
	arrays_size(q, &blk->info);
	return blk->pool ? arrays_get(blk->pool, q) : block_make(q, &blk->dma);
}

void gio_blk_arrays_exit(struct gio_blk *blk, struct blk_queue *q)
{
	if (blk->pool)
		arrays_put(blk->pool, q);
	else
		gio_dma_free(&blk->dma, q->shared, q->shared_bytes, q->shared_addr);
}

/* ---- the data of a request -------------------------------------------------------------------------------------- */

static enum gio_dma_dir data_dir(const struct gio_blk_req *req)
{
	return req->op == GIO_BLK_WRITE ? GIO_DMA_TO_DEVICE : GIO_DMA_FROM_DEVICE;
}

static void spaces_put(struct gio_pool *pool, const struct gio_sg *sg, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		gio_pool_put(pool, sg[i].addr, sg[i].len);
}

/* All segments or none. */
static int spaces_map(struct gio_pool *pool, unsigned queue, struct gio_blk_req *req)
{
	for (unsigned i = 0; i < req->segments; i++) {
		struct gio_sg *sg = &req->sg[i];
		int err = gio_pool_map(pool, queue, sg->va, sg->len, data_dir(req), &sg->addr);

		if (err) {
			spaces_put(pool, req->sg, i);
			return err;
		}
	}
	return 0;
}

int gio_blk_data_map(struct gio_blk *blk, unsigned queue, struct gio_blk_req *req)
{
	if (!req->segments)
		return 0;
	if (blk->pool)
		return spaces_map(blk->pool, queue, req);
	return gio_dma_map_sg(&blk->dma, req->sg, req->segments, data_dir(req));
}

void gio_blk_data_drop(struct gio_blk *blk, struct gio_blk_req *req)
{
	if (blk->pool)
		spaces_put(blk->pool, req->sg, req->segments);
	else
		gio_dma_unmap_sg(&blk->dma, req->sg, req->segments);
}

/* A request that failed is given nothing: its space may hold what the device wrote there for another one. */
void gio_blk_data_finish(struct gio_blk *blk, struct gio_blk_req *req)
{
	if (!blk->pool || req->result) {
		gio_blk_data_drop(blk, req);
		return;
	}
	for (unsigned i = 0; i < req->segments; i++)
		gio_pool_unmap(blk->pool, (void *)req->sg[i].va, req->sg[i].len, data_dir(req), req->sg[i].addr);
}

int gio_blk_data_limit(const struct gio_blk *blk, struct gio_blk_info *info)
{
	size_t most;

	if (!blk->pool)
		return 0;
	most = gio_pool_mapping_max(blk->pool);
	if (!info->size_max || info->size_max > most)
		info->size_max = (uint32_t)most;
	info->pages_max = gio_pool_request_pages(blk->pool);
	return most ? 0 : -GIO_ENOMEM;
}
