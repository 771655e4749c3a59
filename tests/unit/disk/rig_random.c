/* SPDX-License-Identifier: MIT */
#include "tests/unit/disk/rig.h"

#include <stdlib.h>
#include <string.h>

#define STROKE_BYTES 65536u

/* One I/O of many, with its memory. */
struct stroke {
	struct gd_disk_io io;
	char *buf;
	struct shadow *shadow;
	bool busy;
};

struct shadow {
	struct disk_rig *rig;
	char *bytes;
	struct stroke strokes[RIG_DEPTH];
	unsigned seed, left, failures;
};

static unsigned draw(struct shadow *shadow, uint64_t below)
{
	shadow->seed = shadow->seed * 1664525 + 1013904223;
	return (unsigned)((shadow->seed * below) >> 32);
}

static bool overlaps(const struct shadow *shadow, uint64_t offset, uint64_t length)
{
	unsigned i;

	for (i = 0; i < RIG_DEPTH; i++) {
		const struct stroke *other = &shadow->strokes[i];

		if (other->busy && offset < other->io.offset + other->io.length && other->io.offset < offset + length)
			return true;
	}
	return false;
}

static void stroke_done(struct gd_disk_io *io)
{
	struct stroke *stroke = (struct stroke *)io;
	struct shadow *shadow = stroke->shadow;

	stroke->busy = false;
	if (io->result || (io->op == GD_DISK_READ && memcmp(stroke->buf, shadow->bytes + io->offset, io->length)))
		shadow->failures++;
}

static enum gd_disk_op op_draw(struct shadow *shadow)
{
	unsigned kind = draw(shadow, 16);

	if (kind < 6)
		return GD_DISK_READ;
	if (kind < 12)
		return GD_DISK_WRITE;
	if (kind < 14)
		return GD_DISK_WRITE_ZEROES;
	if (kind < 15)
		return shadow->rig->info.max_discard ? GD_DISK_DISCARD : GD_DISK_READ;
	return GD_DISK_FLUSH;
}

/* What is discarded reads as zeroes with all engines and servers that the tests use. */
static void shadow_update(struct shadow *shadow, struct stroke *stroke)
{
	const struct gd_disk_io *io = &stroke->io;
	uint64_t i;

	if (io->op == GD_DISK_WRITE) {
		for (i = 0; i < io->length; i += 4)
			*(uint32_t *)(void *)(stroke->buf + i) = draw(shadow, ~0u);
		memcpy(shadow->bytes + io->offset, stroke->buf, io->length);
	} else if (io->op == GD_DISK_WRITE_ZEROES || io->op == GD_DISK_DISCARD) {
		memset(shadow->bytes + io->offset, 0, io->length);
	}
}

static void stroke_start(struct shadow *shadow, struct stroke *stroke)
{
	const struct gd_disk_info *info = &shadow->rig->info;
	uint64_t block = info->block_size, length, offset;
	struct gd_disk_io *io = &stroke->io;

	length = (draw(shadow, STROKE_BYTES / block) + 1) * block;
	offset = draw(shadow, (info->size - length) / block + 1) * block;
	if (overlaps(shadow, offset, length))
		return;
	memset(io, 0, sizeof(*io));
	io->op = op_draw(shadow);
	io->offset = offset;
	io->length = io->op == GD_DISK_FLUSH ? 0 : length;
	io->unmap = draw(shadow, 2);
	io->fua = !draw(shadow, 8);
	io->buf = stroke->buf;
	io->done = stroke_done;
	shadow_update(shadow, stroke);
	stroke->busy = true;
	shadow->left--;
	gd_disk_submit(shadow->rig->queue, io);
}

static struct shadow *shadow_make(struct disk_rig *rig, unsigned seed, unsigned operations)
{
	struct shadow *shadow = calloc(1, sizeof(*shadow));
	unsigned i;

	shadow->rig = rig;
	shadow->seed = seed;
	shadow->left = operations;
	shadow->bytes = malloc(rig->info.size);
	for (i = 0; i < RIG_DEPTH; i++) {
		shadow->strokes[i].shadow = shadow;
		shadow->strokes[i].buf = aligned_alloc(4096, STROKE_BYTES);
	}
	return shadow;
}

static void shadow_free(struct shadow *shadow)
{
	unsigned i;

	for (i = 0; i < RIG_DEPTH; i++)
		free(shadow->strokes[i].buf);
	free(shadow->bytes);
	free(shadow);
}

/* Read the whole disk: into the shadow, or to compare. */
static void shadow_read(struct shadow *shadow, bool compare)
{
	struct disk_rig *rig = shadow->rig;
	uint64_t offset, n;

	for (offset = 0; offset < rig->info.size; offset += n) {
		n = rig->info.size - offset < rig->area_bytes ? rig->info.size - offset : rig->area_bytes;
		assert_int_equal(rig_io(rig, GD_DISK_READ, offset, n, rig->area), 0);
		if (compare)
			assert_memory_equal(rig->area, shadow->bytes + offset, n);
		else
			memcpy(shadow->bytes + offset, rig->area, n);
	}
}

void rig_random(struct disk_rig *rig, unsigned seed, unsigned operations)
{
	struct shadow *shadow = shadow_make(rig, seed, operations);
	double end = rig_now() + RIG_LIMIT;
	unsigned i;

	shadow_read(shadow, false);
	while (shadow->left || gd_disk_queue_busy(rig->queue)) {
		for (i = 0; i < RIG_DEPTH && shadow->left; i++)
			if (!shadow->strokes[i].busy)
				stroke_start(shadow, &shadow->strokes[i]);
		rig_poll(rig, 1000);
		if (rig_now() > end)
			fail_msg("%u operations left, %u in flight", shadow->left, gd_disk_queue_busy(rig->queue));
	}
	assert_int_equal(shadow->failures, 0);
	shadow_read(shadow, true);
	shadow_free(shadow);
}
