/* SPDX-License-Identifier: MIT */
#include <grantio/grant.h>

#include "entry.h"
#include "quarantine.h"
#include "run.h"
#include "spare.h"

#define REAP_ASIDE 2u  /* entries of the quarantine that an allocation or a revocation looks after */
#define REAP_CALL  64u /* entries that gio_grants_reap(), or an allocation that found nothing, tries */

struct gio_grants {
	struct gio_os *os;
	struct gio_entries *entries;
	struct gio_lock lock; /* of what follows */
	struct gio_runs runs;
	struct gio_quarantine quarantine;

	/* Without the lock. */
	struct gio_spare spare; /* single references, which are retired in `runs` */
	uint32_t misuses;	/* atomic */
	uint32_t users;		/* numbers given so far; atomic */
};

/* Under the lock, or before anybody else has `grants`: make what `range` names ours. Its metadata exists. */
static void claim(struct gio_grants *grants, struct gio_entries_range *range)
{
	gio_entries_claim(grants->entries, range);
	if (range->count)
		gio_runs_add(&grants->runs, range->first, range->count); /* cannot fail: reserved, and claimed once */
}

/* Take over one entry that a system before us left: ours to end, with the page that a peer may still reach by it. */
static void add_left(struct gio_grants *grants, gio_gref_t ref, gio_gfn_t gfn)
{
	gio_gref_t got;

	gio_runs_add(&grants->runs, ref, 1);	/* cannot fail: reserved, and added once */
	gio_runs_alloc(&grants->runs, 1, &got); /* is this one, since no other is free */
	gio_runs_retire(&grants->runs, ref, 1);
	gio_os_page_get(grants->os, gfn);
	gio_runs_slot(&grants->runs, ref)->value = 0; /* nobody's */
	gio_quarantine_push(&grants->quarantine, ref);
}

/* Add [first, end) without what was left in it. */
static void add_free(struct gio_grants *grants, gio_gref_t first, gio_gref_t end)
{
	gio_gfn_t gfn;

	for (gio_gref_t ref = first; ref <= end; ref++) {
		if (ref < end && !gio_entry_left(grants->entries, ref, &gfn))
			continue;
		if (ref > first)
			gio_runs_add(&grants->runs, first, ref - first);
		first = ref + 1;
	}
}

/*
 * Add [first, the table's end). Entries that are not empty are a former system's: one that was started by another's
 * kexec finds such a table, and so does a guest process of the model. They go to quarantine before anything is free.
 */
static int add_initial(struct gio_grants *grants, gio_gref_t first)
{
	uint32_t count = gio_entries_count(grants->entries);
	gio_gfn_t gfn;
	int err;

	if (first >= count)
		return 0;
	err = gio_runs_reserve(&grants->runs, first, count - first);
	if (err)
		return err;
	for (gio_gref_t ref = first; ref < count; ref++)
		if (gio_entry_left(grants->entries, ref, &gfn))
			add_left(grants, ref, gfn);
	add_free(grants, first, count);
	return 0;
}

int gio_grants_open(struct gio_grants **grants, struct gio_os *os, gio_gref_t first)
{
	struct gio_grants *g = gio_os_alloc(os, sizeof(*g));
	int err;

	if (!g)
		return -GIO_ENOMEM;
	g->os = os;
	err = gio_entries_open(&g->entries, os);
	if (err)
		goto free_grants;
	err = gio_runs_init(&g->runs, os, gio_entries_max(g->entries));
	if (err)
		goto close_entries;
	gio_quarantine_init(&g->quarantine, os, g->entries, &g->runs);
	err = add_initial(g, first);
	if (err)
		goto exit_runs;
	gio_os_lock_init(&g->lock);
	gio_quarantine_reap(&g->quarantine, UINT32_MAX); /* what nobody uses any more */
	*grants = g;
	return 0;

exit_runs:
	gio_runs_exit(&g->runs);
close_entries:
	gio_entries_close(g->entries);
free_grants:
	gio_os_free(os, g, sizeof(*g));
	return err;
}

/* Hold the page of a user's grant that could not be ended. */
static void hold(struct gio_grants *grants, gio_gref_t ref, uint32_t user)
{
	gio_os_page_get(grants->os, gio_entry_gfn(grants->entries, ref));
	gio_runs_slot(&grants->runs, ref)->value = user;
	gio_runs_slot(&grants->runs, ref)->link = 1;
}

/* End a run of grants. Returns how many could not be: their pages are held, and their links are 1, the others' 0. */
static uint32_t end_run(struct gio_grants *grants, gio_gref_t first, uint32_t count)
{
	uint32_t held = 0, user = gio_runs_slot(&grants->runs, first)->link;

	for (uint32_t i = 0; i < count; i++) {
		i += gio_entries_revoke(grants->entries, first + i, count - i);
		if (i == count)
			break;
		for (uint32_t j = 0; !held && j < count; j++)
			gio_runs_slot(&grants->runs, first + j)->link = 0;
		hold(grants, first + i, user);
		held++;
	}
	return held;
}

uint32_t gio_grants_close(struct gio_grants *grants)
{
	uint32_t held, pos = 0, first, count;

	if (!grants)
		return 0;
	gio_quarantine_reap(&grants->quarantine, UINT32_MAX);
	held = grants->quarantine.count;
	while (gio_runs_next(&grants->runs, &pos, &first, &count))
		held += end_run(grants, first, count);
	gio_os_lock_exit(&grants->lock);
	gio_runs_exit(&grants->runs);
	gio_entries_close(grants->entries);
	gio_os_free(grants->os, grants, sizeof(*grants));
	return held;
}

/* Under the lock: what is spare becomes part of longer runs. False: there was none. */
static bool spare_melt(struct gio_grants *grants)
{
	bool any = false;
	gio_gref_t ref;

	while (gio_spare_drain(&grants->spare, &ref)) {
		gio_runs_release(&grants->runs, ref, 1);
		any = true;
	}
	return any;
}

/* Under the lock: a run from what is there, the quarantine and the spare references included. */
static int take(struct gio_grants *grants, uint32_t count, gio_gref_t *first)
{
	int err;

	gio_quarantine_reap(&grants->quarantine, REAP_ASIDE);
	err = gio_runs_alloc(&grants->runs, count, first);
	if (err == -GIO_ENOSPC && gio_quarantine_reap(&grants->quarantine, REAP_CALL))
		err = gio_runs_alloc(&grants->runs, count, first);
	if (err == -GIO_ENOSPC && spare_melt(grants))
		err = gio_runs_alloc(&grants->runs, count, first);
	return err;
}

/* Without the lock, since it may sleep: have the table grow, and make the metadata for what is new. */
static int grow(struct gio_grants *grants, uint32_t tail, uint32_t want, struct gio_entries_range *range)
{
	int err = gio_entries_grow(grants->entries, tail, want, range);

	if (err)
		return err;
	err = gio_runs_reserve(&grants->runs, range->first, range->count);
	if (err)
		gio_entries_cancel(grants->entries, range);
	return err;
}

/* A run that nobody owns yet, by the allocator and the table. */
static int alloc(struct gio_grants *grants, uint32_t count, gio_gref_t *first)
{
	int err, grown;

	gio_os_lock(&grants->lock);
	/*
	 * Bounded: each round finds the table longer than the one before, by our growth or another's, up to its limit.
	 * A table that cannot grow because another has just claimed its last part is one to look at again.
	 */
	while ((err = take(grants, count, first)) == -GIO_ENOSPC) {
		uint32_t entries = gio_entries_count(grants->entries), tail = gio_runs_tail(&grants->runs, entries);
		struct gio_entries_range range;

		gio_os_unlock(&grants->lock);
		grown = grow(grants, tail, count, &range);
		gio_os_lock(&grants->lock);
		if (!grown) {
			claim(grants, &range);
		} else if (grown != -GIO_ENOSPC || gio_entries_count(grants->entries) == entries) {
			err = grown;
			break;
		}
	}
	gio_os_unlock(&grants->lock);
	return err;
}

int gio_grants_alloc_for(struct gio_grants *grants, uint32_t count, uint32_t user, gio_gref_t *first)
{
	int err = 0;

	if (count == 1 && gio_spare_take(&grants->spare, user, first))
		gio_runs_restore(&grants->runs, *first, 1);
	else
		err = alloc(grants, count, first);
	if (!err)
		gio_runs_slot(&grants->runs, *first)->link = user;
	return err;
}

int gio_grants_alloc(struct gio_grants *grants, uint32_t count, gio_gref_t *first)
{
	return gio_grants_alloc_for(grants, count, 0, first);
}

uint32_t gio_grants_user(struct gio_grants *grants)
{
	uint32_t user;

	do
		user = __atomic_add_fetch(&grants->users, 1, __ATOMIC_RELAXED);
	while (!user);
	return user;
}

bool gio_grants_owned(const struct gio_grants *grants, gio_gref_t first, uint32_t user)
{
	return gio_runs_holds(&grants->runs, first, 1) && gio_runs_slot(&grants->runs, first)->link == user;
}

/* Make a run nobody else's to free; counts a caller's error. */
static int retire(struct gio_grants *grants, gio_gref_t first, uint32_t count)
{
	int err = gio_runs_retire(&grants->runs, first, count);

	if (err)
		__atomic_fetch_add(&grants->misuses, 1, __ATOMIC_RELAXED);
	return err;
}

static bool any_active(const struct gio_grants *grants, gio_gref_t first, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (gio_entry_active(grants->entries, first + i))
			return true;
	return false;
}

void gio_grants_free(struct gio_grants *grants, gio_gref_t first, uint32_t count)
{
	bool active;

	if (retire(grants, first, count))
		return;
	active = any_active(grants, first, count);
	gio_os_lock(&grants->lock);
	if (active) {
		gio_runs_restore(&grants->runs, first, count);
		__atomic_fetch_add(&grants->misuses, 1, __ATOMIC_RELAXED);
	} else {
		gio_runs_release(&grants->runs, first, count);
	}
	gio_os_unlock(&grants->lock);
}

int gio_grant_access(struct gio_grants *grants, gio_gref_t ref, gio_domid_t domid, gio_gfn_t gfn, bool readonly)
{
	if (!gio_runs_plausible(&grants->runs, ref))
		return -GIO_EINVAL;
	return gio_entry_set(grants->entries, ref, domid, gfn, readonly);
}

int gio_grants_access(struct gio_grants *grants, gio_gref_t first, uint32_t at, uint32_t count, gio_domid_t domid,
		      const gio_gfn_t *gfns, bool readonly)
{
	if (count > UINT32_MAX - at || !gio_runs_holds(&grants->runs, first, at + count))
		return -GIO_EINVAL;
	return gio_entries_set(grants->entries, first + at, count, domid, gfns, readonly);
}

int gio_grant_end(struct gio_grants *grants, gio_gref_t ref)
{
	if (!gio_runs_plausible(&grants->runs, ref))
		return -GIO_EINVAL;
	return gio_entry_end(grants->entries, ref);
}

/*
 * Under the lock: take the retired run apart into what ended, which is released in one piece between any two held
 * references, and what is held (link is 1), which goes to quarantine.
 */
static void sort_out(struct gio_grants *grants, gio_gref_t first, uint32_t count)
{
	while (count) {
		bool held = gio_runs_slot(&grants->runs, first)->link;
		uint32_t len = 1;

		while (!held && len < count && !gio_runs_slot(&grants->runs, first + len)->link)
			len++;
		if (held)
			gio_quarantine_push(&grants->quarantine, first);
		else
			gio_runs_release(&grants->runs, first, len);
		first += len;
		count -= len;
	}
}

/* Keep a retired reference whose grant has ended. False while others wait for this caller to look after them. */
static bool spare_keep(struct gio_grants *grants, gio_gref_t ref)
{
	return gio_quarantine_empty(&grants->quarantine) &&
	       gio_spare_give(&grants->spare, gio_runs_slot(&grants->runs, ref)->link, ref);
}

int gio_grants_revoke(struct gio_grants *grants, gio_gref_t first, uint32_t count)
{
	int err = retire(grants, first, count);
	uint32_t held;

	if (err)
		return err;
	held = end_run(grants, first, count);
	if (count == 1 && !held && spare_keep(grants, first))
		return 0;
	gio_os_lock(&grants->lock);
	gio_quarantine_reap(&grants->quarantine, REAP_ASIDE);
	if (held)
		sort_out(grants, first, count);
	else
		gio_runs_release(&grants->runs, first, count);
	gio_os_unlock(&grants->lock);
	return (int)held;
}

uint32_t gio_grants_reap(struct gio_grants *grants)
{
	uint32_t left;

	gio_os_lock(&grants->lock);
	gio_quarantine_reap(&grants->quarantine, REAP_CALL);
	left = grants->quarantine.count;
	gio_os_unlock(&grants->lock);
	return left;
}

uint32_t gio_grants_held(struct gio_grants *grants, uint32_t user)
{
	uint32_t held;

	gio_os_lock(&grants->lock);
	held = gio_quarantine_held(&grants->quarantine, user);
	gio_os_unlock(&grants->lock);
	return held;
}

void gio_grants_stats(struct gio_grants *grants, struct gio_grants_stats *out)
{
	gio_os_lock(&grants->lock);
	out->entries = grants->runs.total;
	out->used = grants->runs.used - gio_spare_count(&grants->spare);
	out->quarantined = grants->quarantine.count;
	out->misuses = __atomic_load_n(&grants->misuses, __ATOMIC_RELAXED);
	gio_os_unlock(&grants->lock);
}
