/* SPDX-License-Identifier: MIT */
/*
 * Quarantine: grants that we ended and that a peer still uses, with their pages.
 *
 * Each is a retired run of one reference; it waits in a queue that goes through the slots of the run allocator, so
 * that entering it needs no memory and cannot fail. While it waits, its page is held (gio_os_page_get).
 *
 * Threads: callers serialise, with the lock of `runs`.
 */
#ifndef GRANTIO_GUEST_GRANT_QUARANTINE_H
#define GRANTIO_GUEST_GRANT_QUARANTINE_H

#include "entry.h"
#include "run.h"

struct gio_quarantine {
	struct gio_os *os;
	struct gio_entries *entries;
	struct gio_runs *runs;
	gio_gref_t head, tail; /* if count is not 0 */
	uint32_t count;	       /* atomic */
};

void gio_quarantine_init(struct gio_quarantine *q, struct gio_os *os, struct gio_entries *entries,
			 struct gio_runs *runs);

/*
 * Put in a retired run of one, whose page the caller holds: from now on both are the quarantine's. The slot's `value`
 * is the number of the user who had it, or 0.
 */
void gio_quarantine_push(struct gio_quarantine *q, gio_gref_t ref);

/*
 * Try the `most` that have waited longest; release the references and pages of those that ended. Those that did not go
 * to the end of the queue. Returns how many ended.
 */
uint32_t gio_quarantine_reap(struct gio_quarantine *q, uint32_t most);

/* True if nothing is there now. Wants no lock. */
bool gio_quarantine_empty(const struct gio_quarantine *q);

/* How many are of this user. Looks at all. */
uint32_t gio_quarantine_held(const struct gio_quarantine *q, uint32_t user);

#endif
