/* SPDX-License-Identifier: MIT */
/*
 * Notifications lie in the shared slot of the process that set them, so that whoever cleans up after its death can run
 * them. `used` is written last when one is set and first when it is read: the other fields are whole in between.
 */
#include "model/notify.h"
#include "model/attach.h"
#include "model/event.h"

#include <errno.h>

/* machine->lock keeps this process's threads apart; no other process sets notifications in our slot. */
int gm_notify_add(struct gm_machine *machine, uint32_t track, uint32_t offset, uint32_t port)
{
	struct gm_proc *p = &machine->state->proc[machine->proc];
	int err = -ENOMEM;

	pthread_mutex_lock(&machine->lock);
	for (uint32_t i = 0; i < GM_MAX_NOTIFIES && err; i++) {
		struct gm_notify *n = &p->notify[i];

		if (__atomic_load_n(&n->used, __ATOMIC_ACQUIRE))
			continue;
		n->track = track;
		n->offset = offset;
		n->port = port;
		__atomic_store_n(&n->used, 1, __ATOMIC_RELEASE);
		err = 0;
	}
	pthread_mutex_unlock(&machine->lock);
	return err;
}

/* Clear the byte while the page is still ours to touch, then signal. `attach` may be NULL: the domain has gone. */
static void notify_run(struct gm_machine *m, uint16_t domid, struct gm_attach *attach, uint64_t frame,
		       struct gm_notify *n)
{
	if (attach && n->offset < GM_PAGE_SIZE && frame < attach->ram_frames)
		__atomic_store_n(attach->ram + frame * GM_PAGE_SIZE + n->offset, 0, __ATOMIC_RELEASE);
	if (n->port != UINT32_MAX)
		gm_event_send(m, domid, n->port);
	__atomic_store_n(&n->used, 0, __ATOMIC_RELEASE);
}

void gm_notify_run_mapped(struct gm_machine *machine, uint32_t slot, uint32_t index, struct gm_attach *attach,
			  uint64_t frame)
{
	struct gm_proc *p = &machine->state->proc[slot];

	for (uint32_t i = 0; i < GM_MAX_NOTIFIES; i++) {
		struct gm_notify *n = &p->notify[i];

		if (__atomic_load_n(&n->used, __ATOMIC_ACQUIRE) && n->track == index)
			notify_run(machine, p->domid, attach, frame, n);
	}
}

static void notify_run_own(struct gm_machine *m, uint16_t domid, struct gm_notify *n)
{
	struct gm_attach *a = gm_attach_get(m, domid);

	notify_run(m, domid, a, n->track & ~GM_NOTIFY_SHARED, n);
	gm_attach_put(m, a);
}

void gm_notify_run_shared(struct gm_machine *machine, uint32_t slot, uint64_t frame)
{
	struct gm_proc *p = &machine->state->proc[slot];

	for (uint32_t i = 0; i < GM_MAX_NOTIFIES; i++) {
		struct gm_notify *n = &p->notify[i];

		if (__atomic_load_n(&n->used, __ATOMIC_ACQUIRE) && (n->track & GM_NOTIFY_SHARED) &&
		    (frame == UINT64_MAX || (n->track & ~GM_NOTIFY_SHARED) == frame))
			notify_run_own(machine, p->domid, n);
	}
}
