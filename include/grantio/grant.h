/* SPDX-License-Identifier: MIT */
/*
 * Grant references in runs, and the grants made with them.
 *
 * (Owner of this room: extend the concepts block, keep these signatures unless there is a reason.)
 */
#ifndef GRANTIO_GRANT_H
#define GRANTIO_GRANT_H

#include <grantio/os.h>
#include <grantio/types.h>

struct gio_grants; /* one per grant table */

struct gio_grants_stats {
	uint32_t entries;     /* references that exist (the reserved first ones apart) */
	uint32_t used;        /* allocated now, those in quarantine included */
	uint32_t quarantined; /* ended by us, still held by a backend */
};

/*
 * Take over the guest's grant table from reference `first` on (8: Xen's reserved entries, GNTTAB_NR_RESERVED_ENTRIES).
 */
int gio_grants_init(struct gio_grants **grants, struct gio_os *os, gio_gref_t first);
/* Ends what can be ended. Takes NULL. The number of grants that a backend still holds: their pages are never freed. */
uint32_t gio_grants_exit(struct gio_grants *grants);

/* A run of `count` consecutive free references. -GIO_ENOSPC at the hypervisor's limit, -GIO_ENOMEM. */
int gio_grants_alloc(struct gio_grants *grants, uint32_t count, gio_gref_t *first);
/* Give a run back; none of its grants may be active. */
void gio_grants_free(struct gio_grants *grants, gio_gref_t first, uint32_t count);

/* Let `domid` access frame `gfn` by reference `ref`, which the caller has allocated. -GIO_ERANGE: frame too large. */
int gio_grant_access(struct gio_grants *grants, gio_gref_t ref, gio_domid_t domid, gio_gfn_t gfn, bool readonly);

/* End one grant. 0, or -GIO_EAGAIN while the peer still holds it: the entry is then unchanged and still active. */
int gio_grant_end(struct gio_grants *grants, gio_gref_t ref);

/*
 * End a run of grants and free its references. Those still held go to quarantine, with a hold on their page
 * (gio_os_page_get), and are ended and freed later. Returns how many went there.
 */
uint32_t gio_grants_revoke(struct gio_grants *grants, gio_gref_t first, uint32_t count);

/* Try the quarantine again, a bounded number of entries a call; returns how many remain. Also done on its own. */
uint32_t gio_grants_reap(struct gio_grants *grants);

void gio_grants_stats(struct gio_grants *grants, struct gio_grants_stats *out);

#endif
