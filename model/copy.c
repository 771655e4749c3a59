/* SPDX-License-Identifier: MIT */
/*
 * Grant copies: gntdev's way of cutting segments into operations (at pages of the local buffer, 16 a hypercall), and
 * Xen's way of doing one (pin both sides, check the bounds, copy, unpin). A hypercall's pins are taken together.
 */
#include "model/grant.h"
#include "model/attach.h"
#include "model/lock.h"

#include <errno.h>
#include <string.h>

#include <xengnttab.h>

#define BATCH 16 /* Linux: GNTDEV_COPY_BATCH */

struct side {
	bool gref;
	uint8_t *virt;
	uint32_t ref, domid;
	uint32_t offset; /* in its page */
	bool pinned;
	struct gm_pin pin;
};

struct op {
	struct side source, dest;
	uint32_t len;
	int16_t status;
	int16_t *result; /* the segment's status */
};

struct batch {
	struct gm_machine *m;
	uint32_t n;
	struct op op[BATCH];
	struct gm_attach *attach;	   /* the domain whose grant_lock is held, or NULL */
	struct gm_attach *held[2 * BATCH]; /* every domain that the operations name, once */
	uint32_t nheld;
};

/* ---- one hypercall ------------------------------------------------------------------------------------------ */

static void batch_leave(struct batch *b)
{
	if (b->attach)
		gm_grant_unlock(b->m, b->attach->domid);
	b->attach = NULL;
}

/* Hold this domain's lock, and no other's. */
static void batch_enter(struct batch *b, struct gm_attach *attach)
{
	if (b->attach == attach)
		return;
	batch_leave(b);
	gm_grant_lock(b->m, attach);
	b->attach = attach;
}

/*
 * The domain's files, kept until the batch is done. Each domain is in the list once, however many operations name it;
 * there are at most two per operation, so the list has room.
 */
static struct gm_attach *batch_attach(struct batch *b, uint32_t domid)
{
	struct gm_attach *a;

	for (uint32_t i = 0; i < b->nheld; i++)
		if (b->held[i]->domid == domid)
			return b->held[i];
	a = domid < GM_MAX_DOMAINS ? gm_attach_get(b->m, (uint16_t)domid) : NULL;
	if (a)
		b->held[b->nheld++] = a;
	return a;
}

static int16_t side_pin(struct batch *b, struct side *s, bool write, uint32_t track)
{
	struct gm_attach *a;
	int16_t status;

	if (!s->gref)
		return GNTST_okay;
	a = batch_attach(b, s->domid);
	if (!a)
		return GNTST_bad_domain;
	batch_enter(b, a);
	s->pin = (struct gm_pin){.attach = a, .ref = s->ref, .write = write, .copy = true, .track = track};
	status = gm_grant_pin(b->m, &s->pin);
	s->pinned = !status;
	return status;
}

static void side_unpin(struct batch *b, struct side *s)
{
	if (!s->pinned)
		return;
	batch_enter(b, s->pin.attach);
	gm_grant_unpin(b->m, &s->pin);
}

/* What the grant allows (a sub-page grant is less than a page). What lies within a page was checked before. */
static bool side_in_bounds(const struct side *s, uint32_t len)
{
	return !s->gref || (s->offset >= s->pin.start && s->offset + len <= (uint32_t)s->pin.start + s->pin.length);
}

static uint8_t *side_bytes(const struct side *s)
{
	return s->gref ? s->pin.attach->ram + s->pin.frame * GM_PAGE_SIZE + s->offset : s->virt;
}

/*
 * Returns how many bytes were copied. An operation that was refused when it was pinned has a status already, and moves
 * nothing.
 */
static uint32_t op_copy(struct op *op)
{
	if (op->status)
		return 0;
	if (op->source.offset + op->len > GM_PAGE_SIZE || op->dest.offset + op->len > GM_PAGE_SIZE) {
		op->status = GNTST_bad_copy_arg;
	} else if (!side_in_bounds(&op->source, op->len) || !side_in_bounds(&op->dest, op->len)) {
		op->status = GNTST_general_error;
	} else {
		memmove(side_bytes(&op->dest), side_bytes(&op->source), op->len);
		return op->len;
	}
	return 0;
}

/* A domain that was destroyed while we held its last pins has been waiting for us. */
static void batch_put(struct batch *b)
{
	while (b->nheld) {
		struct gm_attach *a = b->held[--b->nheld];
		uint16_t domid = a->domid;

		gm_attach_put(b->m, a);
		gm_domain_let_go(b->m, domid);
	}
}

/* Pin everything, copy without a lock, unpin everything: while bytes move, other processes can pin and unpin. */
static void batch_run(struct batch *b, const uint32_t *tracks)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < b->n; i++) {
		struct op *op = &b->op[i];

		op->status = side_pin(b, &op->source, false, tracks[2 * i]);
		if (!op->status)
			op->status = side_pin(b, &op->dest, true, tracks[2 * i + 1]);
	}
	batch_leave(b);
	for (uint32_t i = 0; i < b->n; i++)
		bytes += op_copy(&b->op[i]);
	GM_COUNT(b->m, bytes_copied, bytes);
	for (uint32_t i = 0; i < b->n; i++) {
		side_unpin(b, &b->op[i].source);
		side_unpin(b, &b->op[i].dest);
	}
	batch_leave(b);
	batch_put(b);
}

/* GNTTABOP_copy with what has been gathered; the first status that is not okay stays in each segment. */
static int batch_flush(struct batch *b)
{
	uint32_t tracks[2 * BATCH];

	if (!b->n)
		return 0;
	if (!gm_tracks_take(b->m, 2 * b->n, tracks))
		return -ENOMEM;
	GM_COUNT(b->m, hypercalls, 1);
	GM_COUNT(b->m, grant_copies, 1);
	GM_COUNT(b->m, grant_copy_ops, b->n);
	batch_run(b, tracks);
	gm_tracks_give(b->m, 2 * b->n, tracks);
	for (uint32_t i = 0; i < b->n; i++) {
		if (!b->op[i].status)
			continue;
		GM_COUNT(b->m, grants_refused, 1);
		if (*b->op[i].result == GNTST_okay)
			*b->op[i].result = b->op[i].status;
	}
	b->n = 0;
	return 0;
}

/* ---- segments to operations --------------------------------------------------------------------------------- */

/* `len` shrinks to what lies in this page of a local buffer; granted sides are checked to lie within one page. */
static void side_fill(struct side *s, uint16_t self, bool gref, const union xengnttab_copy_ptr *ptr, uint32_t done,
		      uint32_t *len)
{
	*s = (struct side){.gref = gref};
	if (gref) {
		s->ref = ptr->foreign.ref;
		s->domid = ptr->foreign.domid == DOMID_SELF ? self : ptr->foreign.domid;
		s->offset = ptr->foreign.offset + done;
		return;
	}
	s->virt = (uint8_t *)ptr->virt + done;
	s->offset = (uint32_t)((uintptr_t)s->virt % GM_PAGE_SIZE);
	if (*len > GM_PAGE_SIZE - s->offset)
		*len = GM_PAGE_SIZE - s->offset;
}

/* gntdev cuts a segment at each page border of the local buffer, because that is how far one operation reaches. */
static int segment_add(struct batch *b, xengnttab_grant_copy_segment_t *seg)
{
	bool from = seg->flags & GNTCOPY_source_gref, to = seg->flags & GNTCOPY_dest_gref;
	uint32_t done = 0;
	int err;

	if (!from && !to)
		return -EINVAL; /* from ourselves to ourselves */
	if ((from && seg->source.foreign.offset + (uint32_t)seg->len > GM_PAGE_SIZE) ||
	    (to && seg->dest.foreign.offset + (uint32_t)seg->len > GM_PAGE_SIZE))
		return -EINVAL;
	seg->status = GNTST_okay;
	while (done < seg->len) {
		struct op *op;

		err = b->n == BATCH ? batch_flush(b) : 0;
		if (err)
			return err;
		op = &b->op[b->n++];
		op->len = seg->len - done;
		op->result = &seg->status;
		side_fill(&op->source, b->m->domid, from, &seg->source, done, &op->len);
		side_fill(&op->dest, b->m->domid, to, &seg->dest, done, &op->len);
		done += op->len;
	}
	return 0;
}

int gm_grant_copy(struct gm_machine *machine, uint32_t count, struct xengnttab_grant_copy_segment *segs)
{
	struct batch b = {.m = machine};
	int err = 0;

	GM_COUNT(machine, grant_copy_calls, 1);
	for (uint32_t i = 0; i < count && !err; i++)
		err = segment_add(&b, &segs[i]);
	/* gntdev: a malformed segment also drops the operations that were gathered and not yet done. */
	return err ? err : batch_flush(&b);
}
