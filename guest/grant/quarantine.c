/* SPDX-License-Identifier: MIT */
#include "quarantine.h"

void gio_quarantine_init(struct gio_quarantine *q, struct gio_os *os, struct gio_entries *entries,
			 struct gio_runs *runs)
{
	*q = (struct gio_quarantine){.os = os, .entries = entries, .runs = runs};
}

void gio_quarantine_push(struct gio_quarantine *q, gio_gref_t ref)
{
	if (q->count)
		gio_runs_slot(q->runs, q->tail)->link = ref;
	else
		q->head = ref;
	q->tail = ref;
	__atomic_store_n(&q->count, q->count + 1, __ATOMIC_RELAXED);
}

static gio_gref_t pop(struct gio_quarantine *q)
{
	gio_gref_t ref = q->head;

	q->head = gio_runs_slot(q->runs, ref)->link; /* of the last one: stale, and not used as count is 0 */
	__atomic_store_n(&q->count, q->count - 1, __ATOMIC_RELAXED);
	return ref;
}

uint32_t gio_quarantine_reap(struct gio_quarantine *q, uint32_t most)
{
	uint32_t ended = 0;

	if (most > q->count)
		most = q->count;
	for (uint32_t i = 0; i < most; i++) {
		gio_gref_t ref = pop(q);
		gio_gfn_t gfn = gio_entry_gfn(q->entries, ref); /* before the reference may leave us */
		int err = gio_entry_retry(q->entries, ref);

		if (err < 0) {
			gio_quarantine_push(q, ref);
			continue;
		}
		gio_os_page_put(q->os, gfn);
		if (err)
			gio_runs_forget(q->runs, ref, 1);
		else
			gio_runs_release(q->runs, ref, 1);
		ended++;
	}
	return ended;
}

bool gio_quarantine_empty(const struct gio_quarantine *q)
{
	return !__atomic_load_n(&q->count, __ATOMIC_RELAXED);
}

uint32_t gio_quarantine_held(const struct gio_quarantine *q, uint32_t user)
{
	gio_gref_t ref = q->head;
	uint32_t held = 0;

	for (uint32_t i = 0; i < q->count; i++) {
		const struct gio_run_slot *slot = gio_runs_slot(q->runs, ref);

		held += slot->value == user;
		ref = slot->link;
	}
	return held;
}
