/* SPDX-License-Identifier: MIT */
/* Pins: the checks of xen/common/grant_table.c, and the tracks that remember them. */
#include "model/grant.h"
#include "model/attach.h"
#include "model/lock.h"
#include "model/notify.h"

#include <errno.h>
#include <string.h>

#define IN_USE	 (GTF_reading | GTF_writing)
#define MAX_PINS 255u /* Xen counts each kind of pin in eight bits */
#define TRIES	 5    /* Xen gives up on an entry that the guest keeps changing */

uint32_t gm_grant_entries(struct gm_machine *machine, uint16_t domid)
{
	struct gm_domain *d = gm_dom(machine, domid);

	return __atomic_load_n(&d->frames, __ATOMIC_ACQUIRE) * (d->version == 2 ? 256 : 512);
}

/* ---- entries, as they lie in the guest's table -------------------------------------------------------------- */

/* The first word of an entry of either version: flags and domain. */
union header {
	uint32_t raw;
	struct {
		uint16_t flags, domid;
	};
};

struct entry {
	uint32_t *header;
	uint16_t *in_use;	  /* where GTF_reading and GTF_writing are: in the header's flags, or the status word */
	union grant_entry_v2 *v2; /* NULL in version 1 */
	struct grant_entry_v1 *v1;
};

static struct entry entry_at(const struct gm_domain *d, const struct gm_attach *a, uint32_t ref)
{
	struct entry e = {0};

	if (d->version == 2) {
		e.v2 = (union grant_entry_v2 *)(void *)a->grants + ref;
		e.header = (uint32_t *)(void *)e.v2;
		e.in_use = (uint16_t *)(void *)(a->grants + (size_t)a->max_frames * GM_PAGE_SIZE) + ref;
	} else {
		e.v1 = (struct grant_entry_v1 *)(void *)a->grants + ref;
		e.header = (uint32_t *)(void *)e.v1;
		e.in_use = (uint16_t *)(void *)e.header;
	}
	return e;
}

/*
 * What a permit_access entry allows. Each field is read once: the guest may change it at any time, and what was checked
 * must be what is used.
 */
static void entry_read(const struct entry *e, uint16_t flags, struct gm_active *act)
{
	act->sub_page = 0;
	act->start = 0;
	act->length = GM_PAGE_SIZE;
	if (e->v1) {
		act->frame = __atomic_load_n(&e->v1->frame, __ATOMIC_RELAXED);
	} else if (flags & GTF_sub_page) {
		act->frame = __atomic_load_n(&e->v2->sub_page.frame, __ATOMIC_RELAXED);
		act->start = __atomic_load_n(&e->v2->sub_page.page_off, __ATOMIC_RELAXED);
		act->length = __atomic_load_n(&e->v2->sub_page.length, __ATOMIC_RELAXED);
		act->sub_page = 1;
	} else {
		act->frame = __atomic_load_n(&e->v2->full_page.frame, __ATOMIC_RELAXED);
	}
}

/* The guest may take the page back as soon as it sees these bits gone. */
static void in_use_clear(const struct entry *e, uint16_t flags)
{
	/* Release: our last access to the page comes before it; pairs with the guest's look at the bits when it ends a
	 * grant. */
	__atomic_fetch_and(e->in_use, (uint16_t)~flags, __ATOMIC_RELEASE);
}

/* Is this header a grant to `domid`? Only an entry with no pins is asked: pins have fixed the answer. */
static bool header_ok(union header h, uint16_t domid, bool copy)
{
	uint16_t mask = GTF_type_mask | (copy ? 0 : GTF_sub_page);

	return (h.flags & mask) == GTF_permit_access && h.domid == domid;
}

/* Version 1: the bits go into the word that the guest owns, by compare-and-exchange. */
static int16_t in_use_set_v1(const struct entry *e, uint16_t domid, bool pinned, bool write, bool copy, uint16_t *flags)
{
	union header h = {.raw = __atomic_load_n(e->header, __ATOMIC_ACQUIRE)}, set;

	for (int i = 0; i < TRIES; i++) {
		if (!pinned && !header_ok(h, domid, copy))
			return GNTST_general_error;
		if (write && h.flags & GTF_readonly)
			return GNTST_general_error;
		set = h;
		set.flags |= write ? IN_USE : GTF_reading;
		/* Acquire: the entry's frame is read after this; pairs with the guest's barrier before its flags. */
		if (__atomic_compare_exchange_n(e->header, &h.raw, set.raw, false, __ATOMIC_ACQ_REL,
						__ATOMIC_ACQUIRE)) {
			*flags = set.flags;
			return GNTST_okay;
		}
	}
	return GNTST_general_error;
}

/* Version 2: the bits go into the status word, and then the header must still say the same. */
static int16_t in_use_set_v2(const struct entry *e, uint16_t domid, bool pinned, bool write, bool copy, uint16_t *flags)
{
	union header h = {.raw = __atomic_load_n(e->header, __ATOMIC_ACQUIRE)};

	if ((!pinned && !header_ok(h, domid, copy)) || (write && h.flags & GTF_readonly))
		return GNTST_general_error;
	__atomic_fetch_or(e->in_use, write ? IN_USE : GTF_reading, __ATOMIC_SEQ_CST);
	/*
	 * Both sequentially consistent: the store of the status comes before this second look at the flags; pairs with
	 * the guest's full barrier between its store of the flags and its look at the status (xen/grant_table.h, the
	 * comment on invalidating an entry).
	 */
	h.raw = __atomic_load_n(e->header, __ATOMIC_SEQ_CST);
	if (!pinned && (!header_ok(h, domid, copy) || (write && h.flags & GTF_readonly))) {
		in_use_clear(e, IN_USE);
		return GNTST_general_error;
	}
	if (pinned && write && h.flags & GTF_readonly) {
		in_use_clear(e, GTF_writing);
		return GNTST_general_error;
	}
	*flags = h.flags;
	return GNTST_okay;
}

/* ---- pins --------------------------------------------------------------------------------------------------- */

/* Release: whoever reads a track after a death sees the pin that it stands for. */
static void track_store(struct gm_machine *m, uint32_t slot, uint32_t index, uint64_t track)
{
	__atomic_store_n(&m->state->track[slot][index], track, __ATOMIC_RELEASE);
}

/* The first pin, or the first that writes: ask the guest's entry. */
static int16_t active_check(const struct gm_domain *d, const struct entry *e, struct gm_active *act, uint16_t domid,
			    const struct gm_pin *pin)
{
	bool pinned = act->readers || act->writers;
	uint16_t flags = 0;
	int16_t status = e->v2 ? in_use_set_v2(e, domid, pinned, pin->write, pin->copy, &flags)
			       : in_use_set_v1(e, domid, pinned, pin->write, pin->copy, &flags);

	if (status || pinned)
		return status;
	entry_read(e, flags, act);
	act->domid = domid;
	if (act->frame < d->ram_frames)
		return GNTST_okay;
	in_use_clear(e, IN_USE);
	return GNTST_bad_page;
}

/* May the caller take one pin more? Xen allows it only in the way that the first pin fixed. */
static bool pin_allowed(const struct gm_machine *m, const struct gm_active *act, const struct gm_pin *pin)
{
	return act->domid == m->domid && (!act->sub_page || pin->copy) &&
	       (pin->write ? act->writers : act->readers) < MAX_PINS;
}

/* The track is written last: a death before that leaves a pin without a track, which the rebuild takes off again. */
static void pin_take(struct gm_machine *m, struct gm_active *act, struct gm_pin *pin)
{
	uint64_t flags = (pin->write ? GM_TRACK_WRITE : 0) | (pin->copy ? GM_TRACK_COPY : 0);

	if (pin->write)
		act->writers++;
	else
		act->readers++;
	pin->frame = act->frame;
	pin->start = act->start;
	pin->length = act->length;
	track_store(m, m->proc, pin->track, gm_track(pin->attach->domid, pin->ref, flags));
}

int16_t gm_grant_pin(struct gm_machine *machine, struct gm_pin *pin)
{
	uint16_t domid = pin->attach->domid;
	struct gm_domain *d = gm_dom(machine, domid);
	struct gm_active *act;
	struct entry e;
	bool pinned;
	int16_t status;

	if (!gm_dom_alive(machine, domid) || __atomic_load_n(&d->epoch, __ATOMIC_ACQUIRE) != pin->attach->epoch)
		return GNTST_bad_domain;
	if (pin->ref >= gm_grant_entries(machine, domid))
		return GNTST_bad_gntref;
	act = &pin->attach->active[pin->ref];
	pinned = act->readers || act->writers;
	if (pinned && !pin_allowed(machine, act, pin))
		return GNTST_general_error;
	if (!pinned || (pin->write && !act->writers)) {
		e = entry_at(d, pin->attach, pin->ref);
		status = active_check(d, &e, act, machine->domid, pin);
		if (status)
			return status;
	}
	pin_take(machine, act, pin);
	__atomic_fetch_add(&d->active_count, !pinned, __ATOMIC_RELAXED);
	return GNTST_okay;
}

/* Take one pin off. With grant_lock held. */
static void active_release(struct gm_machine *m, struct gm_attach *a, uint32_t ref, bool write)
{
	struct gm_domain *d = gm_dom(m, a->domid);
	struct gm_active *act = &a->active[ref];
	struct entry e = entry_at(d, a, ref);

	if (write ? !act->writers : !act->readers)
		return; /* rebuilt meanwhile: not ours any more */
	if (write)
		act->writers--;
	else
		act->readers--;
	if (write && !act->writers)
		in_use_clear(&e, GTF_writing);
	if (!act->readers && !act->writers) {
		in_use_clear(&e, GTF_reading);
		__atomic_fetch_sub(&d->active_count, 1, __ATOMIC_RELAXED);
	}
}

/* The track goes first, for the same reason as in pin_take(). */
void gm_grant_unpin(struct gm_machine *machine, const struct gm_pin *pin)
{
	uint64_t track = __atomic_load_n(&machine->state->track[machine->proc][pin->track], __ATOMIC_RELAXED);

	track_store(machine, machine->proc, pin->track, 0);
	active_release(machine, pin->attach, gm_track_ref(track), track & GM_TRACK_WRITE);
}

/* Under the grant lock, so that a domain cannot be reaped between the look at its state and the hold. */
int gm_foreign_hold(struct gm_machine *machine, struct gm_attach *attach, uint32_t track)
{
	int err = -ESRCH;

	gm_grant_lock(machine, attach);
	if (gm_dom_alive(machine, attach->domid) &&
	    __atomic_load_n(&gm_dom(machine, attach->domid)->epoch, __ATOMIC_ACQUIRE) == attach->epoch) {
		gm_dom(machine, attach->domid)->foreign_count++;
		track_store(machine, machine->proc, track, gm_track(attach->domid, 0, GM_TRACK_FOREIGN));
		err = 0;
	}
	gm_grant_unlock(machine, attach->domid);
	return err;
}

/* ---- tracks ------------------------------------------------------------------------------------------------- */

/* All or none: a call that can pin only half of what it was asked for would have to undo that half. */
bool gm_tracks_take(struct gm_machine *machine, uint32_t n, uint32_t *tracks)
{
	struct gm_proc *p = &machine->state->proc[machine->proc];
	uint32_t end;
	bool ok;

	pthread_mutex_lock(&machine->lock);
	end = p->tracks_end; /* only we write it */
	ok = n <= machine->track_nfree + (GM_MAX_TRACKS - end);
	for (uint32_t i = 0; i < n && ok; i++)
		tracks[i] = machine->track_nfree ? machine->track_free[--machine->track_nfree] : end++;
	if (ok)
		__atomic_store_n(&p->tracks_end, end, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&machine->lock);
	return ok;
}

void gm_tracks_give(struct gm_machine *machine, uint32_t n, const uint32_t *tracks)
{
	pthread_mutex_lock(&machine->lock);
	for (uint32_t i = n; i > 0; i--)
		machine->track_free[machine->track_nfree++] = tracks[i - 1];
	pthread_mutex_unlock(&machine->lock);
}

/*
 * Also for a process that has died, by whoever cleans up after it. The notification runs while the page is still
 * pinned, as gntdev runs it before it unmaps.
 */
void gm_track_drop(struct gm_machine *machine, uint32_t slot, uint32_t index)
{
	uint64_t track = __atomic_load_n(&machine->state->track[slot][index], __ATOMIC_ACQUIRE);
	uint16_t domid = gm_track_domid(track);
	struct gm_attach *a = track ? gm_attach_get(machine, domid) : NULL;

	if (!a) {
		track_store(machine, slot, index, 0);
		return;
	}
	gm_grant_lock(machine, a);
	/* Again: rebuilding may have found it gone. */
	track = __atomic_load_n(&machine->state->track[slot][index], __ATOMIC_ACQUIRE);
	if (track & GM_TRACK_FOREIGN) {
		track_store(machine, slot, index, 0);
		gm_dom(machine, domid)->foreign_count--;
	} else if (track) {
		gm_notify_run_mapped(machine, slot, index, a, a->active[gm_track_ref(track)].frame);
		track_store(machine, slot, index, 0);
		active_release(machine, a, gm_track_ref(track), track & GM_TRACK_WRITE);
	}
	gm_grant_unlock(machine, domid);
	gm_attach_put(machine, a);
	gm_domain_let_go(machine, domid);
}

/* ---- what a guest process left ------------------------------------------------------------------------------ */

/* A pinned entry says what its pin is on, whatever its writer meant by the last thing that it wrote. */
static void entry_hold(const struct entry *e, const struct gm_active *act)
{
	union header h = {.flags = GTF_permit_access | (act->writers ? 0 : GTF_readonly), .domid = act->domid};

	if (e->v1) {
		e->v1->frame = (uint32_t)act->frame;
		h.flags |= act->writers ? IN_USE : GTF_reading;
	} else {
		e->v2->full_page.frame = act->frame;
	}
	__atomic_store_n(e->header, h.raw, __ATOMIC_RELEASE);
}

/* Only the entries are cleared. Pins stay until their holders let go, because those still have the memory mapped. */
void gm_grant_clear(struct gm_machine *machine, struct gm_attach *attach)
{
	struct gm_domain *d = gm_dom(machine, attach->domid);
	uint32_t entries;

	gm_grant_lock(machine, attach);
	entries = gm_grant_entries(machine, attach->domid);
	for (uint32_t i = 0; i < entries; i++) {
		const struct gm_active *act = &attach->active[i];
		struct entry e = entry_at(d, attach, i);

		if (act->readers || act->writers) {
			entry_hold(&e, act);
			continue;
		}
		if (e.v2)
			__atomic_store_n(e.in_use, 0, __ATOMIC_RELAXED);
		memset(e.header, 0, e.v2 ? sizeof(*e.v2) : sizeof(*e.v1));
	}
	gm_grant_unlock(machine, attach->domid);
}

/* ---- granting ----------------------------------------------------------------------------------------------- */

/* With grant_lock held: nobody grants by it, and nobody uses what was granted. */
static bool entry_free(const struct entry *e, const struct gm_active *act)
{
	return !act->readers && !act->writers && !__atomic_load_n((uint16_t *)(void *)e->header, __ATOMIC_RELAXED) &&
	       !__atomic_load_n(e->in_use, __ATOMIC_RELAXED);
}

/* A linear search, which is good enough for the few pages that programs share by gntalloc. */
bool gm_grant_names(struct gm_machine *machine, struct gm_attach *attach, uint64_t frame)
{
	struct gm_domain *d = gm_dom(machine, attach->domid);
	uint32_t entries;
	bool named = false;

	gm_grant_lock(machine, attach);
	entries = gm_grant_entries(machine, attach->domid);
	for (uint32_t i = 0; i < entries && !named; i++) {
		struct entry e = entry_at(d, attach, i);

		named = !entry_free(&e, &attach->active[i]) && (e.v1 ? e.v1->frame : e.v2->full_page.frame) == frame;
	}
	gm_grant_unlock(machine, attach->domid);
	return named;
}

/* Release: the frame is in the entry before its flags permit access. */
static void entry_grant(const struct entry *e, uint16_t domid, uint64_t frame, bool writable)
{
	union header h = {.flags = GTF_permit_access | (writable ? 0 : GTF_readonly), .domid = domid};

	if (e->v1)
		e->v1->frame = (uint32_t)frame;
	else
		e->v2->full_page.frame = frame;
	__atomic_store_n(e->header, h.raw, __ATOMIC_RELEASE);
}

/* With grant_lock held: a bigger table, as far as the domain may have it. */
static int table_grow(struct gm_domain *d)
{
	if (d->frames == d->max_frames)
		return -ENOSPC;
	__atomic_store_n(&d->frames, d->frames + 1, __ATOMIC_RELEASE);
	return 0;
}

int gm_grant_offer(struct gm_machine *machine, struct gm_attach *attach, struct gm_offer *offer)
{
	struct gm_domain *d = gm_dom(machine, attach->domid);
	struct entry e;
	int err = 0;

	gm_grant_lock(machine, attach);
	for (;; offer->ref++) {
		if (offer->ref >= gm_grant_entries(machine, attach->domid))
			err = table_grow(d);
		if (err)
			break;
		e = entry_at(d, attach, offer->ref);
		if (entry_free(&e, &attach->active[offer->ref])) {
			entry_grant(&e, offer->domid, offer->frame, offer->writable);
			break;
		}
	}
	gm_grant_unlock(machine, attach->domid);
	return err;
}

void gm_grant_withdraw(struct gm_machine *machine, struct gm_attach *attach, uint32_t ref)
{
	struct entry e;

	gm_grant_lock(machine, attach);
	e = entry_at(gm_dom(machine, attach->domid), attach, ref);
	/* The marks of use stay in version 1, and go with the last user: then the entry is free. */
	__atomic_fetch_and((uint16_t *)(void *)e.header, e.v1 ? IN_USE : 0, __ATOMIC_SEQ_CST);
	gm_grant_unlock(machine, attach->domid);
}

/* ---- after a death ------------------------------------------------------------------------------------------ */

static void rebuild_track(struct gm_domain *d, struct gm_attach *a, uint64_t track, uint16_t holder, uint32_t entries)
{
	uint32_t ref = gm_track_ref(track);

	if (!(track & GM_TRACK_HELD) || gm_track_domid(track) != a->domid)
		return;
	if (track & GM_TRACK_FOREIGN) {
		d->foreign_count++;
	} else if (ref < entries) {
		a->active[ref].domid = holder;
		if (track & GM_TRACK_WRITE)
			a->active[ref].writers++;
		else
			a->active[ref].readers++;
	}
}

/*
 * With grant_lock held, after its holder died: nothing in the counts can be trusted, and everything can be computed.
 * Tracks of slots that are being released count as well, since their pins are still on.
 */
void gm_grant_rebuild(struct gm_machine *machine, struct gm_attach *attach)
{
	struct gm_domain *d = gm_dom(machine, attach->domid);
	uint32_t entries = gm_grant_entries(machine, attach->domid), count = 0;

	for (uint32_t i = 0; i < entries; i++)
		attach->active[i].readers = attach->active[i].writers = 0;
	d->foreign_count = 0;
	for (uint32_t s = 0; s < GM_MAX_PROCS; s++) {
		struct gm_proc *p = &machine->state->proc[s];
		uint32_t end = __atomic_load_n(&p->tracks_end, __ATOMIC_ACQUIRE);

		if (!__atomic_load_n(&p->state, __ATOMIC_ACQUIRE))
			continue;
		for (uint32_t t = 0; t < end && t < GM_MAX_TRACKS; t++)
			rebuild_track(d, attach, __atomic_load_n(&machine->state->track[s][t], __ATOMIC_ACQUIRE),
				      p->domid, entries);
	}
	for (uint32_t i = 0; i < entries; i++) {
		const struct gm_active *act = &attach->active[i];
		struct entry e = entry_at(d, attach, i);

		count += act->readers || act->writers;
		if (!act->writers)
			in_use_clear(&e, GTF_writing);
		if (!act->writers && !act->readers)
			in_use_clear(&e, GTF_reading);
	}
	__atomic_store_n(&d->active_count, count, __ATOMIC_RELAXED);
}
