/* SPDX-License-Identifier: MIT */
/*
 * The machine's locks. They are shared between processes and robust: when their holder dies, the next one to take a
 * lock repairs what the holder may have left half done, by the functions that the machine was given for it. So this
 * file knows nothing of what the locks protect. The order of the locks is in state.h.
 */
#ifndef GM_LOCK_H
#define GM_LOCK_H

#include "model/state.h"

/* What is repaired after the death of a lock's holder; called with that lock held. */
struct gm_recovery {
	void (*bindings)(struct gm_machine *machine);			    /* below `big` */
	void (*pins)(struct gm_machine *machine, struct gm_attach *attach); /* below a grant_lock */
};

/* Make a lock in shared memory. */
void gm_mutex_init(pthread_mutex_t *mutex);

/* Domains, bindings, and the slots of processes and event channel handles. */
void gm_big_lock(struct gm_machine *machine);
void gm_big_unlock(struct gm_machine *machine);
/* One domain's active entries, and the size of its grant table. */
void gm_grant_lock(struct gm_machine *machine, struct gm_attach *attach);
void gm_grant_unlock(struct gm_machine *machine, uint16_t domid);
/* One domain's ioreq servers. */
void gm_io_lock(struct gm_machine *machine, uint16_t domid);
void gm_io_unlock(struct gm_machine *machine, uint16_t domid);

#endif
