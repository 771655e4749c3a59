/* SPDX-License-Identifier: MIT */
/*
 * Grants, checked as Xen checks them (xen/common/grant_table.c; statuses in xen/grant_table.h).
 *
 * A pin is one use of a grant: a mapping, or one side of a copy while it lasts. While an entry has pins, its in-use
 * bits (flags in version 1, the status word in version 2) are set, by compare-and-exchange with the guest.
 * Transitive grants are refused (GNTST_general_error), as Xen does with `gnttab=no-transitive`.
 */
#ifndef GM_GRANT_H
#define GM_GRANT_H

#include "model/state.h"

/* One use of one reference. The caller says which; gm_grant_pin() adds the page that it names. */
struct gm_pin {
	struct gm_attach *attach; /* the granting domain; the pin does not own it */
	uint32_t ref;
	bool write;
	bool copy;	/* only while a copy lasts, for which a sub-page grant is enough */
	uint32_t track; /* where the pin is noted */

	uint64_t frame;
	uint16_t start, length; /* the bytes that may be copied */
};

/* Take `n` free tracks of this process, or none: false. */
bool gm_tracks_take(struct gm_machine *machine, uint32_t n, uint32_t *tracks);
/* Give tracks back that hold nothing any more. */
void gm_tracks_give(struct gm_machine *machine, uint32_t n, const uint32_t *tracks);

/* Pin a reference for the caller, and note that in its track. With grant_lock held. GNTST_okay, or the refusal. */
int16_t gm_grant_pin(struct gm_machine *machine, struct gm_pin *pin);
/* With grant_lock held. */
void gm_grant_unpin(struct gm_machine *machine, const struct gm_pin *pin);

/* Note a foreign or resource mapping of the attached domain in a track. 0, or -ESRCH when it dies. */
int gm_foreign_hold(struct gm_machine *machine, struct gm_attach *attach, uint32_t track);

/* Release whatever track `index` of process `slot` holds, its unmap notification first; no locks held. */
void gm_track_drop(struct gm_machine *machine, uint32_t slot, uint32_t index);

/* References in the table now. */
uint32_t gm_grant_entries(struct gm_machine *machine, uint16_t domid);

/*
 * Clear what a guest process left in the attached domain's table, as a new domain's is empty. What somebody has pinned
 * stays, with the frame that the pin is on: the next process must not use that before it is let go.
 */
void gm_grant_clear(struct gm_machine *machine, struct gm_attach *attach);

/* Recompute pins and in-use bits from the tracks; with grant_lock held. */
void gm_grant_rebuild(struct gm_machine *machine, struct gm_attach *attach);

/* ---- mappings ----------------------------------------------------------------------------------------------- */

struct gm_mapping {
	uint8_t *addr;
	uint32_t count;
	uint32_t *tracks;
	struct gm_mapping *next; /* the handle's */
};

/* References that are mapped as one range of memory, in this order. */
struct gm_run {
	uint32_t count;
	const uint32_t *domids; /* of each reference; with `one_domain` there is one for all */
	bool one_domain;
	const uint32_t *refs;
	int prot; /* as for mmap */
};

/* Map them. 0, -EINVAL (a grant was refused: all is undone), -ENOMEM. */
int gm_grant_map(struct gm_machine *machine, const struct gm_run *run, struct gm_mapping **out);
/* Also when part of the mapping's pages were refused. Frees it. */
void gm_grant_unmap(struct gm_machine *machine, struct gm_mapping *mapping);
/* Set the unmap notification of a mapping's first pages: see struct gm_notify. 0 or -ENOMEM. */
int gm_grant_notify(struct gm_machine *machine, const struct gm_mapping *mapping, uint32_t offset, uint32_t port);

/* ---- granting, for programs that share pages ---------------------------------------------------------------- */

/* Is there an entry of our table that names this frame? */
bool gm_grant_names(struct gm_machine *machine, struct gm_attach *attach, uint64_t frame);
/* A grant that a program makes of one of its domain's frames. */
struct gm_offer {
	uint16_t domid; /* the domain that may use it */
	bool writable;
	uint64_t frame;
	uint32_t ref; /* where to look first for a free entry; then the entry that was found */
};
/* 0 or -ENOSPC. */
int gm_grant_offer(struct gm_machine *machine, struct gm_attach *attach, struct gm_offer *offer);
/* End it for new users. While it has some it goes on naming its frame, and is not free. */
void gm_grant_withdraw(struct gm_machine *machine, struct gm_attach *attach, uint32_t ref);

/* ---- copies ------------------------------------------------------------------------------------------------- */

struct xengnttab_grant_copy_segment;
/* As gntdev's IOCTL_GNTDEV_GRANT_COPY: 0 with a status in each segment, or -EINVAL for one that is malformed. */
int gm_grant_copy(struct gm_machine *machine, uint32_t count, struct xengnttab_grant_copy_segment *segs);

#endif
