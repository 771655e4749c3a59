/* SPDX-License-Identifier: MIT */
/*
 * Grant references in runs, and the grants made with them.
 *
 * Concepts. A *grant reference* is an index into the guest's grant table. A *run* is a number of consecutive
 * references: it is allocated, its references are each given a page (*access*), and at last it is *revoked*: the
 * grants end and the references are free again. Allocating and freeing cost the same however large and however full
 * the table is. The table grows when no run is left, up to the hypervisor's limit.
 *
 * *Quarantine.* A grant cannot be ended while the peer has its page mapped (or copies from it). Revoking never waits
 * and never fails: such a grant stays behind, its reference stays allocated and its page held (gio_os_page_get), until
 * the peer lets go; later allocations and revocations look after it, and gio_grants_reap() does. In a version 2 table
 * a grant in quarantine is closed to new use; in version 1 the hypervisor offers no way to close a grant in use.
 *
 * Errors: 0 (or a count) or -GIO_E*. On failure everything is as before the call. A caller's error that can be told
 * (a run freed twice, one that was never allocated, a wrong length) changes nothing and is counted in `misuses`.
 * Threads: any function may be called at once, but open and close; a reference belongs to the caller that allocated it.
 * Single references are as a rule allocated and revoked without the lock: a few free ones are kept aside.
 * The lock is held for a bounded number of steps and never while the system is asked for memory or for more table, so
 * that gio_grants_alloc() may sleep only if gio_os_grant_table() or gio_os_alloc() does.
 * Not defended: a caller that uses a reference that it did not allocate, where that looks right.
 */
#ifndef GRANTIO_GRANT_H
#define GRANTIO_GRANT_H

#include <grantio/os.h>
#include <grantio/types.h>

struct gio_grants; /* one per grant table */

struct gio_grants_stats {
	uint32_t entries;     /* references that exist (the reserved first ones apart) */
	uint32_t used;	      /* allocated now, those in quarantine included */
	uint32_t quarantined; /* ended by us, still held by a backend */
	uint32_t misuses;     /* frees and revocations refused so far, each a caller's error */
};

/*
 * Take over the guest's grant table from reference `first` on (8: Xen's reserved entries, GNTTAB_NR_RESERVED_ENTRIES).
 * Entries that a system before this one left in use wait, with their pages, until their peers are done with them.
 * `os` stays the caller's and must outlive `*grants`. -GIO_ENOMEM, -GIO_EIO (a table that makes no sense), -GIO_ERANGE
 * (one of more than 2^28 entries).
 */
int gio_grants_open(struct gio_grants **grants, struct gio_os *os, gio_gref_t first);

/*
 * Ends what can be ended, the runs that callers left allocated among them. Takes NULL. Returns the number of grants
 * that a backend still holds: their pages are never freed.
 */
uint32_t gio_grants_close(struct gio_grants *grants);

/* A number for a user of this table, which is nobody else's (unless there have been 2^32); never 0. */
uint32_t gio_grants_user(struct gio_grants *grants);
/* True if what is allocated from `first` on is this user's. */
bool gio_grants_owned(const struct gio_grants *grants, gio_gref_t first, uint32_t user);

/* A run of `count` consecutive free references. -GIO_ENOSPC at the hypervisor's limit, -GIO_ENOMEM, -GIO_EINVAL (0). */
int gio_grants_alloc(struct gio_grants *grants, uint32_t count, gio_gref_t *first);
/* The same for a user; else it is nobody's (0). */
int gio_grants_alloc_for(struct gio_grants *grants, uint32_t count, uint32_t user, gio_gref_t *first);
/* Give a run back, as it was allocated; none of its grants may be active. */
void gio_grants_free(struct gio_grants *grants, gio_gref_t first, uint32_t count);

/*
 * Let `domid` access frame `gfn` by reference `ref`, which the caller has allocated. -GIO_ERANGE: frame too large for a
 * table of version 1; -GIO_EBUSY: the reference grants something already; -GIO_EINVAL: not an allocated reference.
 */
int gio_grant_access(struct gio_grants *grants, gio_gref_t ref, gio_domid_t domid, gio_gfn_t gfn, bool readonly);

/*
 * The same for a part of a run, which begins at `first` as it was allocated: its references from the `at`-th on, one
 * for each of `count` frames. On failure some of them may grant their frames: revoke the run. -GIO_EINVAL: it has not
 * so many references.
 */
int gio_grants_access(struct gio_grants *grants, gio_gref_t first, uint32_t at, uint32_t count, gio_domid_t domid,
		      const gio_gfn_t *gfns, bool readonly);

/*
 * End one grant; the reference stays the caller's. 0 (also if it was not active), or -GIO_EAGAIN while the peer still
 * holds it: the entry is then unchanged and still active. -GIO_EINVAL: not an allocated reference.
 */
int gio_grant_end(struct gio_grants *grants, gio_gref_t ref);

/*
 * End a run of grants and free its references; for a run as it was allocated, of which any may be active. Those still
 * held go to quarantine, with a hold on their page (gio_os_page_get), and are ended and freed later. Needs no memory.
 * Returns how many went there, or -GIO_EINVAL (a caller's error, as above): not exactly an allocated run.
 */
int gio_grants_revoke(struct gio_grants *grants, gio_gref_t first, uint32_t count);

/* How many references of a user are in quarantine. Takes time by the quarantine's length. */
uint32_t gio_grants_held(struct gio_grants *grants, uint32_t user);

/* Try the quarantine again, a bounded number of entries a call; returns how many remain. Also done on its own. */
uint32_t gio_grants_reap(struct gio_grants *grants);

void gio_grants_stats(struct gio_grants *grants, struct gio_grants_stats *out);

#endif
