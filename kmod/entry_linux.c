// SPDX-License-Identifier: GPL-2.0-only
/*
 * Entries of a grant table that the kernel owns (guest/grant/entry.h). They are changed by the kernel's own functions,
 * and only by those that Linux 5.10 exports.
 *
 * The kernel hands out single references, but a buffer needs consecutive ones. So this file asks the kernel for a chunk
 * of references, sorts them, keeps the longest range of consecutive ones, and gives the others back. Soon after boot
 * few references are in use, and the whole chunk is one range.
 *
 * For each reference that is ours this file keeps a word. While the reference is active the word has the frame that it
 * grants. When the module is unloaded, a grant that the backend still uses is left to the kernel together with its
 * page, which is found by that frame.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/vmalloc.h>
#include <xen/grant_table.h>

#include "../guest/grant/entry.h"
#include "compat.h"

#define PER_FRAME (XEN_PAGE_SIZE / 8) /* entries of version 1; version 2 has half as many */
#define CHUNK	  512u		      /* references asked for at a time, at least */
#define CHUNK_MAX 8192u		      /* and at most: 32 KiB to sort them in */

#define LEAF_SHIFT 9 /* words per leaf: 512, 4 KiB */
#define LEAF	   (1u << LEAF_SHIFT)

/* A reference's word: 0 where it is not ours; INACTIVE; or domain << 48 | frame << 2 | ACTIVE. */
#define INACTIVE	 1u
#define ACTIVE		 2u
#define WORD(domid, gfn) ((u64)(domid) << 48 | (u64)(gfn) << 2 | ACTIVE)
#define WORD_GFN(w)	 ((w) >> 2 & U32_MAX)
#define WORD_DOMID(w)	 ((w) >> 48)
#define WORD_USED(w)	 (((w)&3) == ACTIVE)

/*
 * The kernel writes a line to its log for each grant that it cannot end as it is in use. A backend domain may cause at
 * most HELD_LINES of them in HELD_PERIOD. After that its grants go to quarantine without an attempt to end them. A
 * retry in quarantine writes no line, and the first one ends the grants that are not in use.
 */
#define HELD_LINES  8u
#define HELD_PERIOD (30 * HZ)

/*
 * How many lines a domain has caused. Domains whose numbers agree in the lower bits share one. It is counted without a
 * lock, since an exact number is not needed.
 */
struct noise {
	unsigned long since; /* jiffies */
	u32 lines;
};

struct gio_entries {
	struct gio_os *os;
	u32 max;
	struct noise noise[16];
	u64 *leaf[]; /* of the words; NULL where no reference is ours */
};

static u32 leaves(u32 max)
{
	return (max + LEAF - 1) >> LEAF_SHIFT;
}

static u64 *word(const struct gio_entries *entries, grant_ref_t ref)
{
	/* Acquire: a leaf's zeroes after its address; pairs with the cmpxchg() in leaf_make(). */
	u64 *leaf = ref < entries->max ? smp_load_acquire(&entries->leaf[ref >> LEAF_SHIFT]) : NULL;

	return leaf ? &leaf[ref & (LEAF - 1)] : NULL;
}

int gio_entries_open(struct gio_entries **entries, struct gio_os *os)
{
	u32 max = min_t(u64, (u64)gnttab_max_grant_frames() * PER_FRAME, 1u << 28);
	struct gio_entries *e;

	if (!max)
		return -GIO_EIO;
	e = vzalloc(struct_size(e, leaf, leaves(max)));
	if (!e)
		return -GIO_ENOMEM;
	e->os = os;
	e->max = max;
	*entries = e;
	return 0;
}

/* What is active is held by the backend, and has a hold on its page (guest/grant/grants.c): both become the kernel's.
 */
static void reference_leave(grant_ref_t ref, u64 word)
{
	if (WORD_USED(word))
		gk_grant_leave(ref, pfn_to_page(PHYS_PFN((phys_addr_t)WORD_GFN(word) << GIO_PAGE_SHIFT)));
	else if (word)
		gnttab_free_grant_reference(ref);
}

void gio_entries_close(struct gio_entries *entries)
{
	u32 i, j;

	if (!entries)
		return;
	for (i = 0; i < leaves(entries->max); i++) {
		u64 *leaf = entries->leaf[i];

		for (j = 0; leaf && j < LEAF; j++)
			reference_leave((i << LEAF_SHIFT) + j, leaf[j]);
		kfree(leaf);
	}
	vfree(entries);
}

/* Ours come from anywhere in the table: there is no end behind which all are free. */
u32 gio_entries_count(const struct gio_entries *entries)
{
	return 0;
}

u32 gio_entries_max(const struct gio_entries *entries)
{
	return entries->max;
}

static int by_value(const void *a, const void *b)
{
	grant_ref_t x = *(const grant_ref_t *)a, y = *(const grant_ref_t *)b;

	return x < y ? -1 : x > y;
}

/* The longest range of consecutive values in a sorted array: where it begins, and its length. */
static u32 longest(const grant_ref_t *refs, u32 count, u32 *at)
{
	u32 best = 0, start = 0, i;

	for (i = 1; i <= count; i++) {
		if (i < count && refs[i] == refs[i - 1] + 1)
			continue;
		if (i - start > best) {
			best = i - start;
			*at = start;
		}
		start = i;
	}
	return best;
}

/* Take `count` references of the kernel. -ENOSPC: it has not so many, and can get no more. */
static int chunk_take(grant_ref_t *refs, u32 count)
{
	grant_ref_t head;
	u32 i;

	if (gnttab_alloc_grant_references(count, &head))
		return -GIO_ENOSPC;
	for (i = 0; i < count; i++)
		refs[i] = gnttab_claim_grant_reference(&head); /* cannot fail: there are `count` of them */
	return 0;
}

/* All but `kept` from `at` on go back. */
static void chunk_return(const grant_ref_t *refs, u32 count, u32 at, u32 kept)
{
	u32 i;

	for (i = 0; i < count; i++)
		if (i < at || i >= at + kept)
			gnttab_free_grant_reference(refs[i]);
}

/* Make the leaf of `ref`; several may do so at once. */
static int leaf_make(struct gio_entries *entries, grant_ref_t ref)
{
	u64 **place = &entries->leaf[ref >> LEAF_SHIFT], *leaf;

	if (READ_ONCE(*place))
		return 0;
	leaf = kcalloc(LEAF, sizeof(*leaf), GFP_ATOMIC | __GFP_NOWARN);
	if (!leaf)
		return -GIO_ENOMEM;
	if (cmpxchg(place, NULL, leaf))
		kfree(leaf);
	return 0;
}

static int leaves_make(struct gio_entries *entries, grant_ref_t first, u32 count)
{
	u32 i;
	int err = 0;

	if (first >= entries->max || count > entries->max - first)
		return -GIO_EIO; /* the kernel's table is larger than it said */
	for (i = first >> LEAF_SHIFT; i <= (first + count - 1) >> LEAF_SHIFT && !err; i++)
		err = leaf_make(entries, i << LEAF_SHIFT);
	return err;
}

/* Ask for `count`, keep the longest range if it has `want`. */
static int chunk_try(struct gio_entries *entries, u32 count, u32 want, struct gio_entries_range *range)
{
	grant_ref_t *refs = kmalloc_array(count, sizeof(*refs), GFP_ATOMIC | __GFP_NOWARN);
	u32 at = 0, kept;
	int err;

	if (!refs)
		return -GIO_ENOMEM;
	err = chunk_take(refs, count);
	if (err)
		goto free_refs;
	sort(refs, count, sizeof(*refs), by_value, NULL);
	kept = longest(refs, count, &at);
	if (kept < want)
		err = -GIO_ENOSPC;
	else
		err = leaves_make(entries, refs[at], kept);
	*range = (struct gio_entries_range){refs[at], kept};
	chunk_return(refs, count, at, err ? 0 : kept);
free_refs:
	kfree(refs);
	return err;
}

int gio_entries_grow(struct gio_entries *entries, u32 tail, u32 want, struct gio_entries_range *range)
{
	u32 count = max(want, CHUNK);
	int err;

	if (want > CHUNK_MAX)
		return -GIO_ENOSPC;
	/* A larger chunk has longer ranges; the kernel's table grows with it. Bounded: it doubles. */
	for (;;) {
		err = chunk_try(entries, count, want, range);
		if (err != -GIO_ENOSPC || count >= CHUNK_MAX)
			break;
		count = min(count * 2, CHUNK_MAX);
	}
	/* Near the table's limit there may be less than a chunk, and enough for `want`. */
	if (err == -GIO_ENOSPC)
		err = chunk_try(entries, want, want, range);
	return err;
}

void gio_entries_claim(struct gio_entries *entries, struct gio_entries_range *range)
{
	u32 i;

	for (i = 0; i < range->count; i++)
		WRITE_ONCE(*word(entries, range->first + i), INACTIVE);
}

void gio_entries_cancel(struct gio_entries *entries, const struct gio_entries_range *range)
{
	u32 i;

	for (i = 0; i < range->count; i++)
		gnttab_free_grant_reference(range->first + i);
}

static int set(struct gio_entries *entries, gio_gref_t ref, gio_domid_t domid, gio_gfn_t gfn, bool readonly)
{
	u64 *w = word(entries, ref);

	if (!w || !READ_ONCE(*w))
		return -GIO_EINVAL;
	if (WORD_USED(READ_ONCE(*w)))
		return -GIO_EBUSY;
	if (gfn > U32_MAX)
		return -GIO_ERANGE; /* the kernel's table may be of version 1 */
	WRITE_ONCE(*w, WORD(domid, gfn));
	gnttab_grant_foreign_access_ref(ref, domid, gk_frame(gfn), readonly);
	return 0;
}

int gio_entries_set(struct gio_entries *entries, gio_gref_t first, u32 count, gio_domid_t domid, const gio_gfn_t *gfns,
		    bool readonly)
{
	int err = 0;
	u32 i;

	for (i = 0; i < count && !err; i++)
		err = set(entries, first + i, domid, gfns[i], readonly);
	return err;
}

gio_gfn_t gio_entry_gfn(const struct gio_entries *entries, gio_gref_t ref)
{
	return WORD_GFN(READ_ONCE(*word(entries, ref)));
}

bool gio_entry_active(const struct gio_entries *entries, gio_gref_t ref)
{
	const u64 *w = word(entries, ref);

	return w && WORD_USED(READ_ONCE(*w));
}

bool gio_entry_left(const struct gio_entries *entries, gio_gref_t ref, gio_gfn_t *gfn)
{
	return false; /* the kernel's own allocator gives us none but its free ones */
}

static struct noise *noise_of(struct gio_entries *entries, u64 word)
{
	return &entries->noise[WORD_DOMID(word) % ARRAY_SIZE(entries->noise)];
}

/* True if the domain has had its lines. */
static bool noisy(struct noise *noise)
{
	return READ_ONCE(noise->lines) >= HELD_LINES && time_before(jiffies, READ_ONCE(noise->since) + HELD_PERIOD);
}

static void noise_add(struct noise *noise)
{
	u32 lines = READ_ONCE(noise->lines);

	if (!lines || !time_before(jiffies, READ_ONCE(noise->since) + HELD_PERIOD)) {
		WRITE_ONCE(noise->since, jiffies);
		lines = 0;
	}
	WRITE_ONCE(noise->lines, lines + 1);
	if (lines + 1 == HELD_LINES)
		pr_notice("grantio: a backend holds grants past their end; no more lines of it for %u s\n",
			  HELD_PERIOD / HZ);
}

int gio_entry_end(struct gio_entries *entries, gio_gref_t ref)
{
	u64 *w = word(entries, ref), was = READ_ONCE(*w);

	if (!WORD_USED(was))
		return 0;
	if (!gk_grant_end(ref)) {
		noise_add(noise_of(entries, was));
		return -GIO_EAGAIN;
	}
	WRITE_ONCE(*w, INACTIVE);
	return 0;
}

/* An end without a try sends the page to quarantine, as if it were held: gio_entry_retry() finds out. */
static bool revoke(struct gio_entries *entries, gio_gref_t ref)
{
	u64 was = READ_ONCE(*word(entries, ref));

	return !(WORD_USED(was) && noisy(noise_of(entries, was))) && !gio_entry_end(entries, ref);
}

u32 gio_entries_revoke(struct gio_entries *entries, gio_gref_t first, u32 count)
{
	u32 i = 0;

	while (i < count && revoke(entries, first + i))
		i++;
	return i;
}

/* Get back the reference that the kernel has just been given: it comes first, unless another CPU was faster. */
static bool reference_retake(grant_ref_t ref)
{
	grant_ref_t got;

	if (chunk_take(&got, 1))
		return false;
	if (got != ref)
		gnttab_free_grant_reference(got);
	return got == ref;
}

/*
 * gk_grant_end() has a line in the log for each time that it fails, which is once for a grant here. What tries in
 * silence also frees the reference: nearly always it can be had again; else it leaves us, and a later chunk may bring
 * it back. (If they all left, ours would be full of holes in time.)
 */
int gio_entry_retry(struct gio_entries *entries, gio_gref_t ref)
{
	u64 *w = word(entries, ref);

	if (!gnttab_try_end_foreign_access(ref))
		return -GIO_EAGAIN;
	/* Nobody else writes the word, even of a reference that others may have: claims are serialised with us. */
	if (reference_retake(ref)) {
		WRITE_ONCE(*w, INACTIVE);
		return 0;
	}
	WRITE_ONCE(*w, 0);
	return 1;
}
