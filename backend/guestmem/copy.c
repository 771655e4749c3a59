/* SPDX-License-Identifier: MIT */
#include "backend/guestmem/copy.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <abi/dma_addr.h>

#include "backend/base/count.h"
#include "backend/guestmem/pool.h"
#include "backend/guestmem/shared.h"
#include "backend/guestmem/way.h"

#define STAGE_BYTES (64 * GIO_PAGE_SIZE) /* for joined segments; when it is full, pieces go one by one */

/* A sort key: direction, reference, offset in the page, and which piece it is. */
#define KEY_INDEX_BITS	19u
#define KEY_OFFSET_BITS 12u
#define SEGMENTS_MAX	(1u << KEY_INDEX_BITS)

/* A small piece within one page, as it was added. */
struct piece {
	void *local;
	int *fault;
	uint32_t ref;
	uint16_t offset, length;
	enum gd_copy_dir dir;
};

/* The pieces that a segment stands for: one (`fault`), or `count` small ones from keys[first] on, through `stage`. */
struct owner {
	int *fault;
	char *stage;
	uint32_t first, count;
};

/* The segments of one call. */
struct list {
	xengnttab_grant_copy_segment_t *segments;
	struct owner *owners;
	unsigned count;
};

struct gd_copy {
	struct gd_guestmem *mem;
	const struct gd_pool *pool; /* NULL: none */
	unsigned capacity;	    /* of each list, and of `small`: pieces and segments together never exceed it */
	struct list now;	    /* what the next call does */
	struct list again;	    /* what is to be tried again */
	struct piece *small;
	unsigned smalls;
	uint64_t *keys, *sorted; /* a key for each small piece; the sort's scratch space */
	char *stage;		 /* page-aligned */
	size_t staged;
	struct gd_copy_stats stats;
};

static int list_open(struct list *list, unsigned capacity)
{
	list->segments = calloc(capacity, sizeof(*list->segments));
	list->owners = calloc(capacity, sizeof(*list->owners));
	return list->segments && list->owners ? 0 : -ENOMEM;
}

static void list_close(struct list *list)
{
	free(list->segments);
	free(list->owners);
}

int gd_copy_open(struct gd_copy **copy, uint16_t domid, const struct gd_way *way, unsigned segments)
{
	struct gd_copy *c;
	int err;

	if (segments == 0 || segments > SEGMENTS_MAX)
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->capacity = segments;
	c->small = calloc(segments, sizeof(*c->small));
	c->keys = calloc(segments, sizeof(*c->keys));
	c->sorted = calloc(segments, sizeof(*c->sorted));
	c->stage = aligned_alloc(GIO_PAGE_SIZE, STAGE_BYTES);
	if (list_open(&c->now, segments) || list_open(&c->again, segments) || !c->small || !c->keys || !c->sorted ||
	    !c->stage) {
		err = -ENOMEM;
		goto err_close_copy;
	}
	err = gd_guestmem_open(&c->mem, domid, way);
	if (err)
		goto err_close_copy;
	*copy = c;
	return 0;

err_close_copy:
	gd_copy_close(c);
	return err;
}

void gd_copy_close(struct gd_copy *copy)
{
	if (!copy)
		return;
	gd_guestmem_close(copy->mem);
	list_close(&copy->now);
	list_close(&copy->again);
	free(copy->small);
	free(copy->keys);
	free(copy->sorted);
	free(copy->stage);
	free(copy);
}

unsigned gd_copy_cost(gio_dma_t addr, uint32_t length)
{
	return (unsigned)gio_dma_pages(gio_dma_addr_offset(addr), length);
}

unsigned gd_copy_room(const struct gd_copy *copy)
{
	return copy->capacity - copy->now.count - copy->smalls;
}

const struct gd_copy_stats *gd_copy_counters(const struct gd_copy *copy)
{
	return &copy->stats;
}

void gd_copy_use_pool(struct gd_copy *copy, const struct gd_pool *pool)
{
	/* References mean nothing to another way. */
	copy->pool = copy->mem->way == &gd_way_grants ? pool : NULL;
}

/* Add a piece to a list, as a segment of its own. Returns its owner, which is the piece alone. */
static struct owner *segment_add(struct gd_copy *copy, struct list *list, const struct piece *p)
{
	xengnttab_grant_copy_segment_t *seg = &list->segments[list->count];
	struct owner *owner = &list->owners[list->count++];
	union xengnttab_copy_ptr guest = {.foreign = {.ref = p->ref, .offset = p->offset, .domid = copy->mem->domid}};
	union xengnttab_copy_ptr ours = {.virt = p->local};
	bool fetch = p->dir == GD_COPY_FETCH;

	/*
	 * offset + length <= 4096, as otherwise the ioctl would fail as a whole: both come from page_part(), or from a
	 * union of such ranges within one page.
	 */
	seg->source = fetch ? guest : ours;
	seg->dest = fetch ? ours : guest;
	seg->flags = fetch ? GNTCOPY_source_gref : GNTCOPY_dest_gref;
	seg->len = p->length;
	seg->status = GNTST_general_error; /* until it is done */
	*owner = (struct owner){.fault = p->fault};
	return owner;
}

/* How many bytes of a range lie in its first page. */
static uint16_t page_part(uint32_t offset, uint32_t length)
{
	uint32_t room = GIO_PAGE_SIZE - offset;

	return (uint16_t)(length < room ? length : room);
}

/* True: the piece goes on where the last segment ends, in the same page and for the same owner, and lengthens it. */
static bool segment_extend(struct gd_copy *copy, const struct piece *p)
{
	xengnttab_grant_copy_segment_t *seg;
	bool fetch = p->dir == GD_COPY_FETCH;

	if (copy->now.count == 0 || copy->now.owners[copy->now.count - 1].fault != p->fault)
		return false;
	seg = &copy->now.segments[copy->now.count - 1];
	const union xengnttab_copy_ptr *guest = fetch ? &seg->source : &seg->dest;
	const union xengnttab_copy_ptr *ours = fetch ? &seg->dest : &seg->source;

	if (seg->flags != (fetch ? GNTCOPY_source_gref : GNTCOPY_dest_gref) || guest->foreign.ref != p->ref ||
	    guest->foreign.offset + seg->len != p->offset || (char *)ours->virt + seg->len != p->local)
		return false;
	seg->len = (uint16_t)(seg->len + p->length); /* still within the page: p is */
	return true;
}

static void piece_add(struct gd_copy *copy, const struct piece *p, bool small)
{
	if (small) {
		copy->small[copy->smalls++] = *p;
		return;
	}
	if (segment_extend(copy, p))
		return;
	segment_add(copy, &copy->now, p);
}

/* Find the place of a piece in the mapped pool; NULL: the way has to copy it. */
static int place_find(struct gd_copy *copy, enum gd_copy_dir dir, gio_dma_t addr, uint32_t length, void **place)
{
	*place = NULL;
	if (!gd_guestmem_range_valid(copy->mem->way, addr, length))
		return -EFAULT;
	if (!copy->pool)
		return 0;
	return gd_pool_find(copy->pool, addr, length, dir == GD_COPY_FETCH ? GD_ACCESS_READ : GD_ACCESS_WRITE, place);
}

static void place_copy(struct gd_copy *copy, enum gd_copy_dir dir, void *place, void *local, uint32_t length)
{
	if (dir == GD_COPY_FETCH)
		gd_shared_read(local, place, length);
	else
		gd_shared_write(place, local, length);
	gd_count_add(&copy->stats.pool_bytes, length);
}

int gd_copy_add(struct gd_copy *copy, enum gd_copy_dir dir, gio_dma_t addr, void *local, uint32_t length, int *fault)
{
	bool small = length <= GD_COPY_SMALL;
	struct piece p = {.local = local, .fault = fault, .dir = dir};
	void *place;

	if (length == 0)
		return 0;
	if (place_find(copy, dir, addr, length, &place)) {
		*fault = -EFAULT;
		return -EFAULT;
	}
	if (place) {
		place_copy(copy, dir, place, local, length);
		return 0;
	}
	if (gd_copy_cost(addr, length) > gd_copy_room(copy))
		return -ENOSPC;
	p.ref = gio_dma_addr_gref(addr);
	p.offset = (uint16_t)gio_dma_addr_offset(addr);
	for (; length > 0; length -= p.length, p.ref++, p.offset = 0, p.local = (char *)p.local + p.length) {
		p.length = page_part(p.offset, length);
		piece_add(copy, &p, small);
	}
	return 0;
}

bool gd_copy_now(struct gd_copy *copy, enum gd_copy_dir dir, gio_dma_t addr, void *local, uint32_t length)
{
	void *place;

	if (place_find(copy, dir, addr, length, &place) || !place)
		return false;
	place_copy(copy, dir, place, local, length);
	return true;
}

void *gd_copy_place(struct gd_copy *copy, enum gd_copy_dir dir, gio_dma_t addr, uint32_t length)
{
	void *place;

	if (!copy->pool || !gd_pool_straight(copy->pool) || place_find(copy, dir, addr, length, &place))
		return NULL;
	return place;
}

/* ---- joining small pieces --------------------------------------------------------------------------------------- */

static uint64_t key_make(const struct piece *p, unsigned index)
{
	return (uint64_t)(p->dir == GD_COPY_PUSH) << 63 | (uint64_t)p->ref << (KEY_INDEX_BITS + KEY_OFFSET_BITS) |
	       (uint64_t)p->offset << KEY_INDEX_BITS | index;
}

static const struct piece *key_piece(const struct gd_copy *copy, unsigned at)
{
	return &copy->small[copy->keys[at] & (SEGMENTS_MAX - 1)];
}

static void keys_merge(const uint64_t *from, uint64_t *to, unsigned start, unsigned middle, unsigned end)
{
	unsigned a = start, b = middle;

	for (unsigned i = start; i < end; i++)
		to[i] = a < middle && (b >= end || from[a] <= from[b]) ? from[a++] : from[b++];
}

static bool keys_in_order(const uint64_t *keys, unsigned count)
{
	for (unsigned i = 1; i < count; i++)
		if (keys[i - 1] > keys[i])
			return false;
	return true;
}

/* A merge sort, since the guest chooses the order, and the cost must not depend on it. Often it is in order already. */
static void keys_sort(struct gd_copy *copy)
{
	unsigned count = copy->smalls;

	for (unsigned width = 1; width < count && !keys_in_order(copy->keys, count); width *= 2) {
		uint64_t *swap = copy->keys;

		for (unsigned start = 0; start < count; start += 2 * width) {
			unsigned middle = start + width < count ? start + width : count;
			unsigned end = start + 2 * width < count ? start + 2 * width : count;

			keys_merge(copy->keys, copy->sorted, start, middle, end);
		}
		copy->keys = copy->sorted;
		copy->sorted = swap;
	}
}

/*
 * How many pieces from keys[first] on make one segment, and how long that segment is. A fetch may take the bytes
 * between the pieces as well: they lie in a page that the guest has granted. A push may touch its own bytes only.
 */
static unsigned join_length(const struct gd_copy *copy, unsigned first, uint16_t *length)
{
	const struct piece *p = key_piece(copy, first);
	uint32_t end = (uint32_t)p->offset + p->length;
	unsigned n = 1;

	for (; first + n < copy->smalls; n++) {
		const struct piece *next = key_piece(copy, first + n);
		uint32_t next_end = (uint32_t)next->offset + next->length;

		if (next->dir != p->dir || next->ref != p->ref || (p->dir == GD_COPY_PUSH && next->offset != end))
			break;
		if (next_end > end)
			end = next_end;
	}
	*length = (uint16_t)(end - p->offset);
	return n;
}

/* Staging space within one of our pages, as crossing into another costs an operation. NULL: there is none left. */
static char *stage_get(struct gd_copy *copy, uint16_t length)
{
	char *stage;

	if (page_part(copy->staged % GIO_PAGE_SIZE, length) < length)
		copy->staged = (copy->staged / GIO_PAGE_SIZE + 1) * GIO_PAGE_SIZE;
	if (copy->staged + length > STAGE_BYTES)
		return NULL;
	stage = copy->stage + copy->staged;
	copy->staged += length;
	return stage;
}

/* Move bytes between the staging space and the pieces' own places. */
static void stage_move(struct gd_copy *copy, const struct owner *owner)
{
	uint16_t base = key_piece(copy, owner->first)->offset;

	for (unsigned i = owner->first; i < owner->first + owner->count; i++) {
		const struct piece *p = key_piece(copy, i);
		char *there = owner->stage + (p->offset - base);

		if (p->dir == GD_COPY_FETCH)
			memcpy(p->local, there, p->length);
		else
			memcpy(there, p->local, p->length);
	}
}

static void pieces_single(struct gd_copy *copy, struct list *list, unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++)
		segment_add(copy, list, key_piece(copy, i));
}

static void pieces_joined(struct gd_copy *copy, unsigned first, unsigned count, char *stage, uint16_t length)
{
	struct piece whole = *key_piece(copy, first);
	struct owner *owner;

	whole.local = stage;
	whole.length = length;
	owner = segment_add(copy, &copy->now, &whole);
	*owner = (struct owner){.stage = stage, .first = first, .count = count};
	if (whole.dir == GD_COPY_PUSH)
		stage_move(copy, owner);
}

static void small_join(struct gd_copy *copy)
{
	uint16_t length;
	unsigned count;

	for (unsigned i = 0; i < copy->smalls; i++)
		copy->keys[i] = key_make(&copy->small[i], i);
	keys_sort(copy);
	for (unsigned first = 0; first < copy->smalls; first += count) {
		char *stage = NULL;

		count = join_length(copy, first, &length);
		if (count > 1)
			stage = stage_get(copy, length);
		if (stage)
			pieces_joined(copy, first, count, stage, length);
		else
			pieces_single(copy, &copy->now, first, count);
	}
}

/* ---- the call --------------------------------------------------------------------------------------------------- */

static void owner_fault(struct gd_copy *copy, const struct owner *owner, int err)
{
	if (owner->fault)
		*owner->fault = err;
	for (unsigned i = owner->first; i < owner->first + owner->count; i++)
		*key_piece(copy, i)->fault = err;
}

/* Look at the status of each segment. Those that are to be tried again are what the next call does. */
static void statuses_collect(struct gd_copy *copy, bool retry)
{
	struct list done = copy->now;

	copy->again.count = 0;
	for (unsigned i = 0; i < done.count; i++) {
		const struct owner *owner = &done.owners[i];
		int16_t status = done.segments[i].status;

		if (status == GNTST_okay) {
			if (owner->count && (done.segments[i].flags & GNTCOPY_source_gref))
				stage_move(copy, owner);
		} else if (status == GNTST_eagain && retry) {
			copy->again.segments[copy->again.count] = done.segments[i];
			copy->again.owners[copy->again.count++] = *owner;
		} else if (owner->count) {
			pieces_single(copy, &copy->again, owner->first, owner->count);
		} else {
			owner_fault(copy, owner, -EFAULT);
		}
	}
	copy->now = copy->again;
	copy->again = done;
}

static int call(struct gd_copy *copy)
{
	uint64_t bytes = 0, hypercalls = 0;
	int err;

	for (unsigned i = 0; i < copy->now.count; i++)
		bytes += copy->now.segments[i].len;
	err = copy->mem->way->copy(copy->mem, copy->now.count, copy->now.segments, &hypercalls);
	gd_count_add(&copy->stats.calls, 1);
	gd_count_add(&copy->stats.segments, copy->now.count);
	gd_count_add(&copy->stats.hypercalls, hypercalls);
	gd_count_add(&copy->stats.bytes, bytes);
	return err;
}

int gd_copy_run(struct gd_copy *copy)
{
	int err = 0;

	small_join(copy);
	/*
	 * This loop ends: after GD_COPY_TRIES calls only the pieces of a joined segment are tried again. They are not
	 * joined any more then, and so they are not tried once more.
	 */
	for (unsigned tries = 1; copy->now.count > 0; tries++) {
		err = call(copy);
		if (err) {
			for (unsigned i = 0; i < copy->now.count; i++)
				owner_fault(copy, &copy->now.owners[i], -EIO);
			break;
		}
		statuses_collect(copy, tries < GD_COPY_TRIES);
	}
	copy->now.count = 0;
	copy->smalls = 0;
	copy->staged = 0;
	return err;
}
