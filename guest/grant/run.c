/* SPDX-License-Identifier: MIT */
#include "run.h"

#define NIL	   UINT32_MAX
#define WALK	   16u /* runs of the request's own list that are looked at */
#define STATE_BITS 3u

/* Tags: state in the low bits, length above. Only the ends of runs say more than INSIDE. */
enum state {
	ABSENT,	 /* never added; what fresh metadata says */
	INSIDE,	 /* no end of a run, or the last index of an allocated one */
	FREE,	 /* first of a free run */
	TAIL,	 /* last of a free run longer than 1 */
	USED,	 /* first of an allocated run */
	RETIRED, /* first of an allocated run that somebody is about to free, as long as that index is not */
};

static uint32_t tag_make(enum state state, uint32_t len)
{
	return len << STATE_BITS | (uint32_t)state;
}

static enum state tag_state(uint32_t tag)
{
	return (enum state)(tag & ((1u << STATE_BITS) - 1));
}

static uint32_t tag_len(uint32_t tag)
{
	return tag >> STATE_BITS;
}

/* Atomic, also under the callers' lock, since gio_runs_retire() looks without it. Nothing is ordered by a tag. */
static void tag_set(struct gio_run_slot *s, uint32_t tag)
{
	__atomic_store_n(&s->tag, tag, __ATOMIC_RELAXED);
}

static struct gio_run_slot *page_of(const struct gio_runs *runs, uint32_t index)
{
	/*
	 * Atomic, also under the callers' lock, as pages appear without it. Acquire: the page's zeroes are seen after
	 * its address; pairs with the exchange in gio_runs_reserve().
	 */
	return __atomic_load_n(&runs->pages[index >> GIO_RUNS_PAGE_SHIFT], __ATOMIC_ACQUIRE);
}

struct gio_run_slot *gio_runs_slot(const struct gio_runs *runs, uint32_t index)
{
	struct gio_run_slot *page = index < runs->limit ? page_of(runs, index) : NULL;

	return page ? &page[index & (GIO_RUNS_PAGE - 1)] : NULL;
}

/* The slot of an index known to have been added: cannot be NULL. */
static struct gio_run_slot *slot(const struct gio_runs *runs, uint32_t index)
{
	return &page_of(runs, index)[index & (GIO_RUNS_PAGE - 1)];
}

static uint32_t tag_at(const struct gio_runs *runs, uint32_t index)
{
	const struct gio_run_slot *s = gio_runs_slot(runs, index);

	/* The owner of a neighbour may retire it meanwhile, without the lock. It is not free either way. */
	return s ? __atomic_load_n(&s->tag, __ATOMIC_RELAXED) : tag_make(ABSENT, 0);
}

static uint32_t log2_floor(uint32_t v)
{
	return 31u - (uint32_t)__builtin_clz(v);
}

struct list {
	uint32_t level, sub;
};

/* The list that holds free runs of length `len`. */
static struct list list_of(uint32_t len)
{
	uint32_t log;

	if (len < GIO_RUNS_SUB)
		return (struct list){0, len};
	log = log2_floor(len);
	return (struct list){log - GIO_RUNS_SUB_LOG2 + 1, (len >> (log - GIO_RUNS_SUB_LOG2)) & (GIO_RUNS_SUB - 1)};
}

static void list_insert(struct gio_runs *runs, uint32_t first, uint32_t len)
{
	struct list l = list_of(len);
	uint32_t *head = &runs->heads[l.level][l.sub];
	struct gio_run_slot *s = slot(runs, first);

	tag_set(slot(runs, first + len - 1), tag_make(TAIL, len));
	tag_set(s, tag_make(FREE, len)); /* after TAIL: a run of one has only this */
	s->link = *head;
	s->prev = NIL;
	if (*head != NIL)
		slot(runs, *head)->prev = first;
	*head = first;
	runs->sub_map[l.level] |= 1u << l.sub;
	runs->level_map |= 1u << l.level;
}

/* Take a free run out of its list; its end tags become INSIDE. */
static void list_remove(struct gio_runs *runs, uint32_t first, uint32_t len)
{
	struct list l = list_of(len);
	struct gio_run_slot *s = slot(runs, first);

	if (s->prev != NIL)
		slot(runs, s->prev)->link = s->link;
	else
		runs->heads[l.level][l.sub] = s->link;
	if (s->link != NIL)
		slot(runs, s->link)->prev = s->prev;
	if (runs->heads[l.level][l.sub] == NIL) {
		runs->sub_map[l.level] &= ~(1u << l.sub);
		if (!runs->sub_map[l.level])
			runs->level_map &= ~(1u << l.level);
	}
	tag_set(s, tag_make(INSIDE, 0));
	tag_set(slot(runs, first + len - 1), tag_make(INSIDE, 0));
}

/* The first run of the first list in which every run has at least `count`, or NIL. */
static uint32_t find_good(const struct gio_runs *runs, uint32_t count)
{
	uint32_t round = count < GIO_RUNS_SUB ? 0 : (1u << (log2_floor(count) - GIO_RUNS_SUB_LOG2)) - 1;
	struct list l = list_of(count + round); /* below 2^29, so a level that exists */
	uint32_t map = runs->sub_map[l.level] & (UINT32_MAX << l.sub);

	if (!map) {
		uint32_t levels = runs->level_map & (UINT32_MAX << l.level << 1);

		if (!levels)
			return NIL;
		l.level = (uint32_t)__builtin_ctz(levels);
		map = runs->sub_map[l.level];
	}
	return runs->heads[l.level][__builtin_ctz(map)];
}

/* A run that fits among the first of the list that also has too short ones, or NIL. */
static uint32_t find_near(const struct gio_runs *runs, uint32_t count)
{
	struct list l = list_of(count);
	uint32_t index = runs->heads[l.level][l.sub];

	for (unsigned i = 0; i < WALK && index != NIL; i++) {
		if (tag_len(slot(runs, index)->tag) >= count)
			return index;
		index = slot(runs, index)->link;
	}
	return NIL;
}

/* Insert [first, first + len), whose tags say INSIDE, together with its free neighbours. */
static void insert_merged(struct gio_runs *runs, uint32_t first, uint32_t len)
{
	uint32_t before = gio_runs_tail(runs, first);
	uint32_t after = tag_at(runs, first + len);

	if (before) {
		list_remove(runs, first - before, before);
		first -= before;
		len += before;
	}
	if (tag_state(after) == FREE) {
		list_remove(runs, first + len, tag_len(after));
		len += tag_len(after);
	}
	list_insert(runs, first, len);
}

int gio_runs_init(struct gio_runs *runs, struct gio_os *os, uint32_t limit)
{
	size_t pages = ((size_t)limit + GIO_RUNS_PAGE - 1) >> GIO_RUNS_PAGE_SHIFT;

	if (!limit || limit > GIO_RUNS_LIMIT)
		return -GIO_ERANGE;
	*runs = (struct gio_runs){.os = os, .limit = limit};
	for (unsigned i = 0; i < GIO_RUNS_LEVELS; i++)
		for (unsigned j = 0; j < GIO_RUNS_SUB; j++)
			runs->heads[i][j] = NIL;
	runs->pages = gio_os_alloc(os, pages * sizeof(*runs->pages));
	return runs->pages ? 0 : -GIO_ENOMEM;
}

void gio_runs_exit(struct gio_runs *runs)
{
	size_t pages = ((size_t)runs->limit + GIO_RUNS_PAGE - 1) >> GIO_RUNS_PAGE_SHIFT;

	for (size_t i = 0; i < pages; i++)
		gio_os_free(runs->os, runs->pages[i], GIO_RUNS_PAGE * sizeof(**runs->pages));
	gio_os_free(runs->os, runs->pages, pages * sizeof(*runs->pages));
}

static bool range_valid(const struct gio_runs *runs, uint32_t first, uint32_t count)
{
	return count && count <= runs->limit && first <= runs->limit - count;
}

int gio_runs_reserve(struct gio_runs *runs, uint32_t first, uint32_t count)
{
	if (!range_valid(runs, first, count))
		return -GIO_ERANGE;
	for (uint32_t i = first >> GIO_RUNS_PAGE_SHIFT; i <= (first + count - 1) >> GIO_RUNS_PAGE_SHIFT; i++) {
		struct gio_run_slot *page, *none = NULL;

		if (__atomic_load_n(&runs->pages[i], __ATOMIC_RELAXED))
			continue;
		page = gio_os_alloc(runs->os, GIO_RUNS_PAGE * sizeof(*page));
		if (!page)
			return -GIO_ENOMEM;
		/*
		 * Release: the page's zeroes before its address; pairs with the load in page_of(). A page of
		 * zeroes is ABSENT throughout, so that it may appear while others allocate.
		 */
		if (!__atomic_compare_exchange_n(&runs->pages[i], &none, page, false, __ATOMIC_ACQ_REL,
						 __ATOMIC_RELAXED))
			gio_os_free(runs->os, page, GIO_RUNS_PAGE * sizeof(*page));
	}
	return 0;
}

int gio_runs_add(struct gio_runs *runs, uint32_t first, uint32_t count)
{
	if (!range_valid(runs, first, count))
		return -GIO_EINVAL;
	for (uint32_t i = first; i < first + count; i++) {
		const struct gio_run_slot *s = gio_runs_slot(runs, i);

		if (!s || tag_state(s->tag) != ABSENT)
			return -GIO_EINVAL;
	}
	for (uint32_t i = first; i < first + count; i++)
		tag_set(slot(runs, i), tag_make(INSIDE, 0));
	insert_merged(runs, first, count);
	runs->total += count;
	return 0;
}

int gio_runs_alloc(struct gio_runs *runs, uint32_t count, uint32_t *first)
{
	uint32_t index, len;

	if (!count)
		return -GIO_EINVAL;
	if (count > runs->total - runs->used)
		return -GIO_ENOSPC;
	index = find_good(runs, count);
	if (index == NIL)
		index = find_near(runs, count);
	if (index == NIL)
		return -GIO_ENOSPC;
	len = tag_len(slot(runs, index)->tag);
	list_remove(runs, index, len);
	if (len > count)
		list_insert(runs, index + count, len - count);
	tag_set(slot(runs, index), tag_make(USED, count));
	runs->used += count;
	*first = index;
	return 0;
}

int gio_runs_retire(struct gio_runs *runs, uint32_t first, uint32_t count)
{
	struct gio_run_slot *s = range_valid(runs, first, count) ? gio_runs_slot(runs, first) : NULL;
	uint32_t used = tag_make(USED, count);

	/* To a tag without a length, as parts may leave. Nothing is ordered by it: the owner knows what it did. */
	if (!s || !__atomic_compare_exchange_n(&s->tag, &used, tag_make(RETIRED, 0), false, __ATOMIC_RELAXED,
					       __ATOMIC_RELAXED))
		return -GIO_EINVAL;
	return 0;
}

void gio_runs_restore(struct gio_runs *runs, uint32_t first, uint32_t count)
{
	tag_set(slot(runs, first), tag_make(USED, count));
}

void gio_runs_release(struct gio_runs *runs, uint32_t first, uint32_t count)
{
	tag_set(slot(runs, first), tag_make(INSIDE, 0));
	runs->used -= count;
	insert_merged(runs, first, count);
}

void gio_runs_forget(struct gio_runs *runs, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++)
		tag_set(slot(runs, i), tag_make(ABSENT, 0));
	runs->used -= count;
	runs->total -= count;
}

int gio_runs_free(struct gio_runs *runs, uint32_t first, uint32_t count)
{
	int err = gio_runs_retire(runs, first, count);

	if (!err)
		gio_runs_release(runs, first, count);
	return err;
}

bool gio_runs_plausible(const struct gio_runs *runs, uint32_t index)
{
	enum state state = tag_state(tag_at(runs, index));

	return state == INSIDE || state == USED || state == RETIRED;
}

bool gio_runs_holds(const struct gio_runs *runs, uint32_t first, uint32_t count)
{
	uint32_t tag = tag_at(runs, first);

	return tag_state(tag) == USED && tag_len(tag) >= count;
}

uint32_t gio_runs_tail(const struct gio_runs *runs, uint32_t end)
{
	uint32_t tag = end ? tag_at(runs, end - 1) : tag_make(ABSENT, 0);

	/* FREE at the last index: a run of one. */
	return tag_state(tag) == TAIL || tag == tag_make(FREE, 1) ? tag_len(tag) : 0;
}

bool gio_runs_next(const struct gio_runs *runs, uint32_t *pos, uint32_t *first, uint32_t *count)
{
	while (*pos < runs->limit) {
		uint32_t index = *pos, tag = tag_at(runs, index), len = tag_len(tag);

		if (!gio_runs_slot(runs, index)) /* a page that nobody reserved */
			*pos = (index | (GIO_RUNS_PAGE - 1)) + 1;
		else
			*pos = index + (len ? len : 1);
		if (tag_state(tag) != USED)
			continue;
		*first = index;
		*count = len;
		return true;
	}
	return false;
}
