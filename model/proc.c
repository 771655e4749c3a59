/* SPDX-License-Identifier: MIT */
/*
 * A slot is in one of three states: 0 free, 1 in use, 2 being released. Each change is one atomic exchange, so that of
 * the keeper and several scavengers exactly one releases a slot. `gen` tells one user of a slot from the next.
 */
#include "model/proc.h"
#include "model/event.h"
#include "model/grant.h"
#include "model/lock.h"
#include "model/notify.h"
#include "model/wait.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* ---- the end of a process ----------------------------------------------------------------------------------- */

/* Closing a handle closes its ports, and their peers see them unbound, as with a real process that ends. */
static void proc_release_handles(struct gm_machine *m, uint32_t slot)
{
	for (uint32_t i = 0; i < GM_MAX_HANDLES; i++) {
		struct gm_handle *h = &m->state->handle[i];
		uint32_t token = __atomic_load_n(&h->token, __ATOMIC_ACQUIRE);

		if (token && h->proc == slot + 1)
			gm_handle_close(m, token);
	}
}

void gm_proc_release(struct gm_machine *machine, uint32_t slot, uint32_t gen)
{
	struct gm_proc *p = &machine->state->proc[slot];
	uint32_t in_use = 1, end;

	/* Whoever makes the change from 1 to 2 releases the slot; all others find it changed and return. */
	if (p->gen != gen ||
	    !__atomic_compare_exchange_n(&p->state, &in_use, 2, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return;
	end = __atomic_load_n(&p->tracks_end, __ATOMIC_ACQUIRE);
	for (uint32_t i = 0; i < end && i < GM_MAX_TRACKS; i++)
		gm_track_drop(machine, slot, i);
	gm_notify_run_shared(machine, slot, UINT64_MAX); /* while its ports can be raised */
	proc_release_handles(machine, slot);

	gm_big_lock(machine);
	for (uint32_t i = 0; i < GM_MAX_DOMAINS; i++)
		if (gm_dom(machine, (uint16_t)i)->guest_proc == slot + 1)
			gm_dom(machine, (uint16_t)i)->guest_proc = 0;
	__atomic_store_n(&p->state, 0, __ATOMIC_RELEASE);
	gm_big_unlock(machine);
	/* It may have died between marking an event delivered and writing it. To deliver it again is always allowed. */
	if (slot != machine->proc)
		gm_event_redeliver(machine);
}

/* ---- a slot ------------------------------------------------------------------------------------------------- */

/* Release the slots of processes that are dead: without a keeper, nobody else does. */
static void procs_scavenge(struct gm_machine *m)
{
	for (uint32_t i = 0; i < GM_MAX_PROCS; i++) {
		struct gm_proc *p = &m->state->proc[i];

		if (__atomic_load_n(&p->state, __ATOMIC_ACQUIRE) && gm_proc_dead(p))
			gm_proc_release(m, i, p->gen);
	}
}

/* The slot is filled in before its state says that it is in use: others read it without a lock. */
static int proc_claim_free(struct gm_machine *m)
{
	int err = -EUSERS;

	gm_big_lock(m);
	for (uint32_t i = 0; i < GM_MAX_PROCS && err; i++) {
		struct gm_proc *p = &m->state->proc[i];

		if (__atomic_load_n(&p->state, __ATOMIC_ACQUIRE))
			continue;
		p->gen++;
		p->pid = getpid();
		p->domid = m->domid;
		p->tracks_end = 0;
		memset(p->notify, 0, sizeof(p->notify));
		m->proc = i;
		m->proc_gen = p->gen;
		__atomic_store_n(&p->state, 1, __ATOMIC_RELEASE);
		err = 0;
	}
	gm_big_unlock(m);
	return err;
}

int gm_proc_claim(struct gm_machine *machine)
{
	int err = proc_claim_free(machine);

	if (err != -EUSERS)
		return err;
	procs_scavenge(machine);
	return proc_claim_free(machine);
}
