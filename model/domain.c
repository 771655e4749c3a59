/* SPDX-License-Identifier: MIT */
/* Domains: making and ending them, what they have done, and the faults that tests set for them. */
#include "model/domain.h"
#include "model/attach.h"
#include "model/event.h"
#include "model/files.h"
#include "model/grant.h"
#include "model/ioreq.h"
#include "model/lock.h"
#include "model/wait.h"

#include <errno.h>
#include <string.h>

/* ---- making ------------------------------------------------------------------------------------------------- */

/*
 * The epoch counts the creations under this id. Handles that were opened for the former domain compare it, and fail
 * from now on instead of acting on the new one.
 */
int gm_domain_make(struct gm_machine *machine, uint16_t domid, const struct gm_domain_config *config)
{
	struct gm_domain *d = gm_dom(machine, domid);
	uint32_t frames = config->grant_frames ? config->grant_frames : 64;
	int err = gm_files_make(machine, domid, config->ram_bytes / GM_PAGE_SIZE, frames);

	if (err)
		return err;
	d->targets = 0;
	d->vcpus = config->vcpus;
	d->ram_frames = config->ram_bytes / GM_PAGE_SIZE;
	d->max_frames = frames;
	d->frames = 1;
	d->version = 1;
	d->irq_event = config->irq_event;
	d->guest_proc = 0;
	d->active_count = d->foreign_count = 0;
	memset(&d->stats, 0, sizeof(d->stats));
	memset(d->fault, 0, sizeof(d->fault));
	memset(d->vcpu, 0, sizeof(d->vcpu));
	memset(d->irq, 0, sizeof(d->irq));
	memset(d->port, 0, sizeof(d->port));
	for (uint32_t i = 0; i < GM_MAX_SERVERS; i++)
		d->server[i].used = d->server[i].enabled = false;
	__atomic_fetch_add(&d->epoch, 1, __ATOMIC_RELEASE);
	/* Release: whoever sees the domain running sees all of the above. */
	__atomic_store_n(&d->state, GM_DOMAIN_RUNNING, __ATOMIC_RELEASE);
	return 0;
}

/* With big held: the id that was asked for, or the next free one after the last given out, as Xen does. */
static int domid_choose(struct gm_machine *m, uint16_t wanted, uint16_t *out)
{
	uint32_t last = m->state->last_domid;

	if (wanted) {
		*out = wanted;
		return gm_dom_state(m, wanted) == GM_DOMAIN_NONE ? 0 : -EEXIST;
	}
	for (uint32_t i = 0; i < GM_MAX_DOMAINS - 1; i++) {
		uint16_t id = (uint16_t)((last + i) % (GM_MAX_DOMAINS - 1) + 1);

		if (gm_dom_state(m, id) == GM_DOMAIN_NONE) {
			m->state->last_domid = id;
			*out = id;
			return 0;
		}
	}
	return -ENOSPC;
}

/* The big lock keeps two creations from choosing the same id. */
int gm_domain_create(struct gm_machine *machine, const struct gm_domain_config *config, uint16_t *domid)
{
	uint16_t id;
	int err;

	if (config->domid >= GM_MAX_DOMAINS || !config->ram_bytes || config->ram_bytes % GM_PAGE_SIZE ||
	    !config->vcpus || config->vcpus > GM_MAX_VCPUS || config->grant_frames > GM_MAX_FRAMES)
		return -EINVAL;
	gm_big_lock(machine);
	err = domid_choose(machine, config->domid, &id);
	if (!err)
		err = gm_domain_make(machine, id, config);
	gm_big_unlock(machine);
	if (!err && domid)
		*domid = id;
	return err;
}

/* Domain 0 may act for every guest without this. */
int gm_domain_set_target(struct gm_machine *machine, uint16_t domid, uint16_t target)
{
	int err = -ESRCH;

	if (!domid || domid == target)
		return -EINVAL;
	gm_big_lock(machine);
	if (gm_dom_alive(machine, domid) && gm_dom_alive(machine, target)) {
		__atomic_fetch_or(&gm_dom(machine, domid)->targets, 1u << target, __ATOMIC_RELAXED);
		err = 0;
	}
	gm_big_unlock(machine);
	return err;
}

/* ---- ending ------------------------------------------------------------------------------------------------- */

/* Wake all that wait in the domain: it is crashed or dying. */
static void domain_wake(struct gm_machine *machine, uint16_t domid)
{
	struct gm_domain *d = gm_dom(machine, domid);

	for (uint32_t i = 0; i < GM_MAX_VCPUS; i++)
		gm_vcpu_wake(&d->vcpu[i]);
	for (uint32_t i = 0; i < GM_MAX_IRQS; i++)
		gm_irq_wake(&d->irq[i]);
}

/*
 * With big held. The state comes first: from then on every new map, copy, bind and device model operation on the domain
 * is refused, and only then is what exists taken apart. Waiters are woken last, so that they find all of it gone.
 */
static void domain_kill(struct gm_machine *m, uint16_t domid)
{
	struct gm_domain *d = gm_dom(m, domid);
	struct gm_attach *a = gm_attach_get(m, domid);

	/* Under the grant lock, so that no map or copy which saw the domain alive is still to take its pin. */
	if (a)
		gm_grant_lock(m, a);
	__atomic_store_n(&d->state, GM_DOMAIN_DYING, __ATOMIC_RELEASE);
	if (a)
		gm_grant_unlock(m, domid);
	gm_attach_put(m, a);
	for (uint32_t i = 0; i < GM_MAX_DOMAINS; i++)
		__atomic_fetch_and(&gm_dom(m, (uint16_t)i)->targets, ~(1u << domid), __ATOMIC_RELAXED);
	gm_servers_destroy(m, domid);
	gm_event_close_all(m, domid);
	domain_wake(m, domid);
}

/*
 * A domain that is dying already is reaped again if it can be, and its destruction is no error: a toolstack repeats it.
 */
int gm_domain_destroy(struct gm_machine *machine, uint16_t domid)
{
	int err = 0;

	if (!domid)
		return -EINVAL; /* the control domain is the machine */
	gm_big_lock(machine);
	if (gm_dom_alive(machine, domid))
		domain_kill(machine, domid);
	else if (gm_dom_state(machine, domid) == GM_DOMAIN_NONE)
		err = -ESRCH;
	if (!err)
		gm_domain_reap(machine, domid);
	gm_big_unlock(machine);
	gm_attach_sweep(machine);
	gm_pipe_sweep(machine);
	return err;
}

/* Only a running domain crashes. One that is being destroyed meanwhile must not come back as crashed. */
void gm_domain_crash(struct gm_machine *machine, uint16_t domid)
{
	uint32_t running = GM_DOMAIN_RUNNING;

	if (__atomic_compare_exchange_n(&gm_dom(machine, domid)->state, &running, GM_DOMAIN_CRASHED, false,
					__ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		domain_wake(machine, domid);
}

/* ---- the guest process -------------------------------------------------------------------------------------- */

int32_t gm_guest_holder(struct gm_machine *machine)
{
	uint32_t slot = gm_dom(machine, machine->domid)->guest_proc;
	const struct gm_proc *p = slot ? &machine->state->proc[slot - 1] : NULL;

	/* The keeper may not have come to a dead one yet, and its place is free nevertheless. */
	return p && !gm_proc_dead(p) ? p->pid : 0;
}

/* Two processes that act as one guest would write the same grant table with two allocators. The second is refused. */
int gm_guest_claim(struct gm_machine *machine)
{
	struct gm_domain *d = gm_dom(machine, machine->domid);
	struct gm_attach *a;
	bool ours;
	int err = 0;

	gm_big_lock(machine);
	ours = d->guest_proc == machine->proc + 1;
	if (!gm_dom_alive(machine, machine->domid))
		err = -ESRCH;
	else if (!ours && gm_guest_holder(machine))
		err = -EBUSY;
	else
		d->guest_proc = machine->proc + 1;
	gm_big_unlock(machine);
	if (err || ours)
		return err;
	/* A process that was killed could not end its grants. On Xen its domain would be gone, and a new one's table
	 * is empty. */
	a = gm_attach_get(machine, machine->domid);
	if (a)
		gm_grant_clear(machine, a);
	gm_attach_put(machine, a);
	return a ? 0 : -ESRCH;
}

/* ---- asking ------------------------------------------------------------------------------------------------- */

enum gm_domain_state gm_domain_state(struct gm_machine *machine, uint16_t domid)
{
	return (enum gm_domain_state)gm_dom_state(machine, domid);
}

/* Counted from the tracks, which are the truth, and not kept as a number that a death could leave wrong. */
static uint32_t mappings_held(struct gm_machine *m, uint16_t domid)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < GM_MAX_PROCS; i++) {
		struct gm_proc *p = &m->state->proc[i];
		uint32_t end = __atomic_load_n(&p->tracks_end, __ATOMIC_ACQUIRE);

		if (!__atomic_load_n(&p->state, __ATOMIC_ACQUIRE) || p->domid != domid)
			continue;
		for (uint32_t t = 0; t < end && t < GM_MAX_TRACKS; t++) {
			uint64_t w = __atomic_load_n(&m->state->track[i][t], __ATOMIC_RELAXED);

			n += w && !(w & (GM_TRACK_COPY | GM_TRACK_FOREIGN));
		}
	}
	return n;
}

/* Statistics are read without a lock: each number is right by itself, and their sum may be a moment apart. */
int gm_domain_stats(struct gm_machine *machine, uint16_t domid, struct gm_stats *out)
{
	const uint64_t *from;
	uint64_t *to = (uint64_t *)out;
	struct gm_domain *d;

	if (gm_dom_state(machine, domid) == GM_DOMAIN_NONE)
		return -ESRCH;
	d = gm_dom(machine, domid);
	from = (const uint64_t *)&d->stats;
	for (size_t i = 0; i < offsetof(struct gm_stats, grants_active) / sizeof(*to); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	out->grants_active = __atomic_load_n(&d->active_count, __ATOMIC_RELAXED);
	out->mappings_held = mappings_held(machine, domid);
	out->ports = 0;
	for (uint32_t i = 0; i < GM_MAX_PORTS; i++)
		out->ports += gm_link_state(__atomic_load_n(&d->port[i].link, __ATOMIC_RELAXED)) != GM_PORT_FREE;
	out->ioreq_servers = 0;
	for (uint32_t i = 0; i < GM_MAX_SERVERS; i++)
		out->ioreq_servers += __atomic_load_n(&d->server[i].used, __ATOMIC_RELAXED);
	return 0;
}

/* ---- faults ------------------------------------------------------------------------------------------------- */

/* `left` is written last, since it is what arms the fault. */
int gm_fault_set(struct gm_machine *machine, uint16_t domid, enum gm_fault kind, uint32_t n)
{
	struct gm_fault_slot *f;

	if ((unsigned)kind >= GM_FAULT_KINDS)
		return -EINVAL;
	if (gm_dom_state(machine, domid) == GM_DOMAIN_NONE)
		return -ESRCH;
	f = &gm_dom(machine, domid)->fault[kind];
	__atomic_store_n(&f->struck, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&f->left, n, __ATOMIC_RELEASE);
	return 0;
}

bool gm_fault_struck(struct gm_machine *machine, uint16_t domid, enum gm_fault kind)
{
	if ((unsigned)kind >= GM_FAULT_KINDS || gm_dom_state(machine, domid) == GM_DOMAIN_NONE)
		return false;
	return __atomic_load_n(&gm_dom(machine, domid)->fault[kind].struck, __ATOMIC_ACQUIRE);
}

bool gm_fault(struct gm_machine *machine, enum gm_fault kind)
{
	struct gm_fault_slot *f = &gm_dom(machine, machine->domid)->fault[kind];
	uint32_t left = __atomic_load_n(&f->left, __ATOMIC_ACQUIRE);

	/* Bounded: each failure of the exchange means that another caller took one off. */
	while (left) {
		if (!__atomic_compare_exchange_n(&f->left, &left, left - 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			continue;
		if (left == 1)
			__atomic_store_n(&f->struck, 1, __ATOMIC_RELEASE);
		return left == 1;
	}
	return false;
}
