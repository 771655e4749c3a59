/* SPDX-License-Identifier: MIT */
/*
 * Entries: the grant table itself, and its growth.
 *
 * One file per owner of the table implements this header, chosen by linking: entry.c where the guest library owns it
 * (abi/grant_table.h, versions 1 and 2); a kernel module puts the kernel's own grant calls here.
 *
 * An entry is *inactive*, *active* (the peer may use it), or *closing*: no longer open to new use, but still in use.
 * In version 1 the marks of use and the permission are one word, and an entry in use cannot be closed: until it is
 * found unused for an instant, the peer may go on using it. In version 2 revoking closes it at once.
 *
 * Threads: an entry belongs to one caller at a time; different entries may be worked on at once. gio_entries_claim()
 * wants its callers serialised. Nothing here sleeps but open and grow.
 * Not defended: what the hypervisor writes is believed.
 */
#ifndef GRANTIO_GUEST_GRANT_ENTRY_H
#define GRANTIO_GUEST_GRANT_ENTRY_H

#include <grantio/os.h>
#include <grantio/types.h>

struct gio_entries;

/* The guest's table as it is. -GIO_ENOMEM, -GIO_EIO (a table that makes no sense). `os` stays the caller's. */
int gio_entries_open(struct gio_entries **entries, struct gio_os *os);
/* Leaves the entries as they are. Takes NULL. */
void gio_entries_close(struct gio_entries *entries);

/* References [0, count) exist, as far as they have been claimed; `max` is what the hypervisor would allow. */
uint32_t gio_entries_count(const struct gio_entries *entries);
uint32_t gio_entries_max(const struct gio_entries *entries);

struct gio_entries_range {
	gio_gref_t first;
	uint32_t count;
};

/*
 * Ask the system for references, so that a run of `want` becomes possible; the last `tail` that were claimed are free.
 * `range` is then what may be claimed. Several threads may do so at once. -GIO_ENOSPC at the hypervisor's limit,
 * -GIO_ENOMEM.
 */
int gio_entries_grow(struct gio_entries *entries, uint32_t tail, uint32_t want, struct gio_entries_range *range);
/* Take possession: cuts `range` down to what nobody claimed before, perhaps nothing (count 0). */
void gio_entries_claim(struct gio_entries *entries, struct gio_entries_range *range);
/* Give back a range that will not be claimed. */
void gio_entries_cancel(struct gio_entries *entries, const struct gio_entries_range *range);

/*
 * Activate `count` entries from `first` on, for a frame each; on failure those before the one that failed are active.
 * -GIO_EINVAL: no such entry; -GIO_ERANGE: version 1 and a frame above 32 bits; -GIO_EBUSY: active already.
 */
int gio_entries_set(struct gio_entries *entries, gio_gref_t first, uint32_t count, gio_domid_t domid,
		    const gio_gfn_t *gfns, bool readonly);

static inline int gio_entry_set(struct gio_entries *entries, gio_gref_t ref, gio_domid_t domid, gio_gfn_t gfn,
				bool readonly)
{
	return gio_entries_set(entries, ref, 1, domid, &gfn, readonly);
}

/* The frame of an entry that is active or closing. */
gio_gfn_t gio_entry_gfn(const struct gio_entries *entries, gio_gref_t ref);
/* True unless the entry is inactive. False for references that do not exist. */
bool gio_entry_active(const struct gio_entries *entries, gio_gref_t ref);

/*
 * True if whoever had the table before us left this entry active or in use: `gfn` is then the frame that a peer may
 * still reach by it. Before anybody sets entries.
 */
bool gio_entry_left(const struct gio_entries *entries, gio_gref_t ref, gio_gfn_t *gfn);

/*
 * Make an active entry inactive. -GIO_EAGAIN: it is in use, and active as before (in version 2 the peer's first use
 * within this call may have been refused). 0 if it was inactive. The reference must exist.
 */
int gio_entry_end(struct gio_entries *entries, gio_gref_t ref);

/*
 * The same, for good, for entries from `first` on until one is in use: that one is then closing (version 2) or active
 * (version 1). Returns how many are inactive: `count`, or the place of that one. What the peer wrote to their pages is
 * visible, and nothing of its is to come.
 */
uint32_t gio_entries_revoke(struct gio_entries *entries, gio_gref_t first, uint32_t count);

/* For one entry: 0 or -GIO_EAGAIN. Repeat until 0. */
static inline int gio_entry_revoke(struct gio_entries *entries, gio_gref_t ref)
{
	return gio_entries_revoke(entries, ref, 1) ? 0 : -GIO_EAGAIN;
}

/*
 * Repeat a revocation that gave -GIO_EAGAIN: as gio_entry_revoke(), or 1: the entry is inactive, and the reference has
 * gone back to the system with it, which may offer it again by gio_entries_grow(). Callers are serialised with
 * gio_entries_claim().
 */
int gio_entry_retry(struct gio_entries *entries, gio_gref_t ref);

#endif
