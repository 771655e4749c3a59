/* SPDX-License-Identifier: MIT */
/*
 * Robust locks shared by processes. EOWNERDEAD says that the former holder died with the lock held; the lock is ours
 * then, and what it protects may be half changed. It is repaired before the lock is used on, so that no caller sees it.
 */
#include "model/lock.h"

#include <errno.h>

void gm_mutex_init(pthread_mutex_t *mutex)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(mutex, &attr);
	pthread_mutexattr_destroy(&attr);
}

/* Bindings are changed at both ends. A death in between leaves one end linked, which the repair unlinks. */
void gm_big_lock(struct gm_machine *machine)
{
	pthread_mutex_t *big = &machine->state->big;

	if (pthread_mutex_lock(big) == EOWNERDEAD) {
		machine->recovery->bindings(machine);
		pthread_mutex_consistent(big);
	}
}

void gm_big_unlock(struct gm_machine *machine)
{
	pthread_mutex_unlock(&machine->state->big);
}

/* Pin counts and in-use bits follow from the tracks of all processes, so the repair computes them anew. */
void gm_grant_lock(struct gm_machine *machine, struct gm_attach *attach)
{
	pthread_mutex_t *lock = &gm_dom(machine, attach->domid)->grant_lock;

	if (pthread_mutex_lock(lock) == EOWNERDEAD) {
		machine->recovery->pins(machine, attach);
		pthread_mutex_consistent(lock);
	}
}

void gm_grant_unlock(struct gm_machine *machine, uint16_t domid)
{
	pthread_mutex_unlock(&gm_dom(machine, domid)->grant_lock);
}

void gm_io_lock(struct gm_machine *machine, uint16_t domid)
{
	pthread_mutex_t *lock = &gm_dom(machine, domid)->io_lock;

	/* Every change below this lock is one store away from a state that is right: nothing to repair. */
	if (pthread_mutex_lock(lock) == EOWNERDEAD)
		pthread_mutex_consistent(lock);
}

void gm_io_unlock(struct gm_machine *machine, uint16_t domid)
{
	pthread_mutex_unlock(&gm_dom(machine, domid)->io_lock);
}
