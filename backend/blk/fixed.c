/* SPDX-License-Identifier: MIT */
#include "backend/blk/fixed.h"

#include <stddef.h>

#define SLOTS (1 + GD_POOL_RUNS)

void gd_fixed_open(struct gd_fixed *fixed, struct io_uring *ring)
{
	*fixed = (struct gd_fixed){.ring = ring};
	/* Linux has tables that are filled in later since 5.19. */
	if (ring && io_uring_register_buffers_sparse(ring, SLOTS))
		fixed->ring = NULL;
}

/* Fill a slot, or empty it (`base` NULL). */
static void slot_set(struct gd_fixed *fixed, unsigned slot, void *base, uint64_t bytes)
{
	const struct iovec memory = {.iov_base = base, .iov_len = base ? bytes : 0};
	__u64 tag = 0;

	/* What is refused (pages of a kind that this kernel does not pin, the limit of locked memory) stays empty. */
	if (io_uring_register_buffers_update_tag(fixed->ring, slot, &memory, &tag, 1) != 1)
		base = NULL;
	fixed->slots[slot].base = base;
	fixed->slots[slot].bytes = base ? bytes : 0;
}

void gd_fixed_own(struct gd_fixed *fixed, void *base, uint64_t bytes)
{
	if (!fixed->ring || fixed->own_tried)
		return;
	fixed->own_tried = true;
	slot_set(fixed, 0, base, bytes);
}

void gd_fixed_pool(struct gd_fixed *fixed, const struct gd_pool *pool)
{
	for (unsigned i = 0; fixed->ring && i < GD_POOL_RUNS; i++) {
		void *base;
		uint64_t bytes;

		if (fixed->slots[1 + i].base)
			slot_set(fixed, 1 + i, NULL, 0);
		if (pool && gd_pool_writable(pool, i, &base, &bytes))
			slot_set(fixed, 1 + i, base, bytes);
	}
}

unsigned gd_fixed_find(const struct gd_fixed *fixed, const void *at, uint64_t length)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		uint64_t offset = (uintptr_t)at - (uintptr_t)fixed->slots[i].base;

		if (fixed->slots[i].base && offset < fixed->slots[i].bytes && length <= fixed->slots[i].bytes - offset)
			return i + 1;
	}
	return 0;
}
