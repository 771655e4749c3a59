/* SPDX-License-Identifier: MIT */
/*
 * The table is shared with the hypervisor, which acts on it for peers that may do so at any moment, from other CPUs.
 *
 * How the hypervisor takes an entry into use (xen/common/grant_table.c, _set_status_v1 and _v2):
 *   v1: read flags and domid; check; compare-and-exchange READING/WRITING into flags; read frame.
 *   v2: read flags and domid; check; set READING/WRITING in the status word; full barrier; read flags and domid again;
 *       if they no longer permit, clear the status word and refuse; read frame.
 * and how it leaves: finish all accesses, then clear the marks atomically.
 *
 * So in version 1 one compare-and-exchange decides. Version 2 is Dekker's protocol: each side writes its own word,
 * passes a full barrier and reads the other's; at least one sees the other. If we see no mark of use after the
 * barrier, then the hypervisor sees cleared flags at its second look and backs out. Its mark may flash up meanwhile:
 * at worst we take that for use and try later. Should the entry be set anew by then, its second look finds the new
 * permission and checks that one, and the frame it reads after it is the new one.
 */
#include "entry.h"

#include <abi/grant_table.h>

/* A peer that starts and ends its use all the time changes the word under us: after so many tries, call it in use. */
#define TRIES 8u

struct gio_entries {
	struct gio_os *os;
	struct gio_grant_entry_v1 *v1; /* either this */
	union gio_grant_entry_v2 *v2;  /* or this, with `status` */
	const gio_grant_status_t *status;
	uint32_t count; /* claimed; written under the owner's lock, read anywhere */
	uint32_t max;
};

int gio_entries_open(struct gio_entries **entries, struct gio_os *os)
{
	struct gio_os_grant_table table;
	struct gio_entries *e;
	int err = gio_os_grant_table(os, 0, &table);

	if (err)
		return err;
	if (!table.shared || table.entries > table.max || (table.version != 1 && table.version != 2) ||
	    (table.version == 2 && !table.status))
		return -GIO_EIO;
	e = gio_os_alloc(os, sizeof(*e));
	if (!e)
		return -GIO_ENOMEM;
	e->os = os;
	if (table.version == 1)
		e->v1 = table.shared;
	else
		e->v2 = table.shared;
	e->status = table.status;
	e->count = table.entries;
	e->max = table.max;
	*entries = e;
	return 0;
}

void gio_entries_close(struct gio_entries *entries)
{
	if (entries)
		gio_os_free(entries->os, entries, sizeof(*entries));
}

uint32_t gio_entries_count(const struct gio_entries *entries)
{
	return __atomic_load_n(&entries->count, __ATOMIC_RELAXED);
}

uint32_t gio_entries_max(const struct gio_entries *entries)
{
	return entries->max;
}

int gio_entries_grow(struct gio_entries *entries, uint32_t tail, uint32_t want, struct gio_entries_range *range)
{
	struct gio_os_grant_table table;
	uint32_t count = gio_entries_count(entries);
	uint32_t need = want > tail ? want - tail : want;
	int err;

	if (need > entries->max - count)
		return -GIO_ENOSPC;
	err = gio_os_grant_table(entries->os, count + need, &table);
	if (err)
		return err;
	if (table.entries < count + need || table.entries > entries->max)
		return -GIO_EIO;
	*range = (struct gio_entries_range){count, table.entries - count};
	return 0;
}

void gio_entries_claim(struct gio_entries *entries, struct gio_entries_range *range)
{
	uint32_t count = gio_entries_count(entries), end = range->first + range->count;

	if (end <= count) {
		range->count = 0;
		return;
	}
	range->first = count;
	range->count = end - count;
	__atomic_store_n(&entries->count, end, __ATOMIC_RELAXED);
}

void gio_entries_cancel(struct gio_entries *entries, const struct gio_entries_range *range)
{
	(void)entries, (void)range; /* the table has grown: whoever comes next finds it so */
}

/* `flags` stands first in both versions. */
static uint16_t *flags_of(const struct gio_entries *entries, gio_gref_t ref)
{
	return entries->v1 ? &entries->v1[ref].flags : &entries->v2[ref].hdr.flags;
}

static bool active(uint16_t flags)
{
	return (flags & GIO_GTF_TYPE_MASK) != GIO_GTF_INVALID;
}

bool gio_entry_active(const struct gio_entries *entries, gio_gref_t ref)
{
	return ref < gio_entries_count(entries) && active(__atomic_load_n(flags_of(entries, ref), __ATOMIC_RELAXED));
}

/* The entry's owner is its only writer while it is inactive. */
static bool free_to_set(const uint16_t *flags)
{
	return !active(__atomic_load_n(flags, __ATOMIC_RELAXED));
}

static int set_v1(struct gio_grant_entry_v1 *entry, gio_domid_t domid, gio_gfn_t gfn, uint16_t flags)
{
	if (gfn > UINT32_MAX)
		return -GIO_ERANGE;
	if (!free_to_set(&entry->flags))
		return -GIO_EBUSY;
	__atomic_store_n(&entry->domid, domid, __ATOMIC_RELAXED);
	__atomic_store_n(&entry->frame, (uint32_t)gfn, __ATOMIC_RELAXED);
	/*
	 * Release: domid and frame, written above, before flags; pairs with the hypervisor's full barrier between its
	 * compare-and-exchange of flags and its read of frame.
	 */
	__atomic_store_n(&entry->flags, flags, __ATOMIC_RELEASE);
	return 0;
}

static int set_v2(union gio_grant_entry_v2 *entry, gio_domid_t domid, gio_gfn_t gfn, uint16_t flags)
{
	if (!free_to_set(&entry->hdr.flags))
		return -GIO_EBUSY;
	__atomic_store_n(&entry->hdr.domid, domid, __ATOMIC_RELAXED);
	/* Two words on a 32-bit machine: cannot be seen torn, as flags do not permit before the barrier below. */
	entry->full_page.frame = gfn;
	/* Release: as in set_v1(); pairs with the hypervisor's full barrier before its last look at flags. */
	__atomic_store_n(&entry->hdr.flags, flags, __ATOMIC_RELEASE);
	return 0;
}

int gio_entries_set(struct gio_entries *entries, gio_gref_t first, uint32_t count, gio_domid_t domid,
		    const gio_gfn_t *gfns, bool readonly)
{
	uint16_t flags = (uint16_t)(GIO_GTF_PERMIT_ACCESS | (readonly ? GIO_GTF_READONLY : 0));
	uint32_t exist = gio_entries_count(entries);
	int err = 0;

	if (first >= exist || count > exist - first)
		return -GIO_EINVAL;
	if (entries->v1)
		for (uint32_t i = 0; i < count && !err; i++)
			err = set_v1(&entries->v1[first + i], domid, gfns[i], flags);
	else
		for (uint32_t i = 0; i < count && !err; i++)
			err = set_v2(&entries->v2[first + i], domid, gfns[i], flags);
	return err;
}

gio_gfn_t gio_entry_gfn(const struct gio_entries *entries, gio_gref_t ref)
{
	return entries->v1 ? entries->v1[ref].frame : entries->v2[ref].full_page.frame;
}

static int end_v1(const struct gio_entries *entries, gio_gref_t ref)
{
	uint16_t *word = &entries->v1[ref].flags;
	uint16_t flags = __atomic_load_n(word, __ATOMIC_RELAXED);

	for (unsigned i = 0; i < TRIES; i++) {
		if (flags & GIO_GTF_IN_USE)
			return -GIO_EAGAIN;
		/*
		 * Full barrier, on flags: the peer's accesses to the page, before the hypervisor's atomic clearing of
		 * READING/WRITING, happen before ours after this call. A failed exchange loads the word anew.
		 */
		if (__atomic_compare_exchange_n(word, &flags, GIO_GTF_INVALID, false, __ATOMIC_SEQ_CST,
						__ATOMIC_RELAXED))
			return 0;
	}
	return -GIO_EAGAIN;
}

static bool in_use_v2(const struct gio_entries *entries, gio_gref_t ref)
{
	/*
	 * Acquire (as part of it): the peer's accesses to the page, before the hypervisor's atomic clearing of the
	 * status word, happen before ours after this call.
	 */
	return __atomic_load_n(&entries->status[ref], __ATOMIC_SEQ_CST) & GIO_GTF_IN_USE;
}

static int revoke_v2(const struct gio_entries *entries, gio_gref_t ref)
{
	/*
	 * Full barrier (a sequentially consistent store, then such a load): flags written here, before the status word
	 * read in in_use_v2(); pairs with the hypervisor's between its write of the status word and its second look at
	 * flags.
	 */
	__atomic_store_n(flags_of(entries, ref), GIO_GTF_INVALID, __ATOMIC_SEQ_CST);
	return in_use_v2(entries, ref) ? -GIO_EAGAIN : 0;
}

/* Looks before it closes, so that the peer of a grant in use does not notice; reopens if use began in between. */
static int end_v2(const struct gio_entries *entries, gio_gref_t ref)
{
	uint16_t flags = __atomic_load_n(flags_of(entries, ref), __ATOMIC_RELAXED);
	int err;

	if (in_use_v2(entries, ref))
		return -GIO_EAGAIN;
	err = revoke_v2(entries, ref);
	if (err) /* domid and frame still stand as they were: nothing to order */
		__atomic_store_n(flags_of(entries, ref), flags, __ATOMIC_RELAXED);
	return err;
}

bool gio_entry_left(const struct gio_entries *entries, gio_gref_t ref, gio_gfn_t *gfn)
{
	*gfn = gio_entry_gfn(entries, ref);
	return gio_entry_active(entries, ref) || (entries->v2 && in_use_v2(entries, ref));
}

int gio_entry_end(struct gio_entries *entries, gio_gref_t ref)
{
	return entries->v1 ? end_v1(entries, ref) : end_v2(entries, ref);
}

uint32_t gio_entries_revoke(struct gio_entries *entries, gio_gref_t first, uint32_t count)
{
	uint32_t i = 0;

	if (entries->v1)
		while (i < count && !end_v1(entries, first + i))
			i++;
	else
		while (i < count && !revoke_v2(entries, first + i))
			i++;
	return i;
}

int gio_entry_retry(struct gio_entries *entries, gio_gref_t ref)
{
	return gio_entry_revoke(entries, ref);
}
