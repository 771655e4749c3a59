/* SPDX-License-Identifier: MIT */
/*
 * Waiting and waking between the processes of a machine: futexes on its shared words, time limits, and the end of a
 * process.
 *
 * Whoever waits announces itself in `waiters`, looks at its condition, and then sleeps on `gen`. Whoever changes the
 * condition counts `gen` and then looks at `waiters`. All four accesses are sequentially consistent, so one of both
 * sides sees the other, and no wake-up is lost.
 */
#ifndef GM_WAIT_H
#define GM_WAIT_H

#include "model/state.h"

/* Futex on a shared word. 0, -EAGAIN (the value has changed), -EINTR, -ETIMEDOUT. `timeout_ms` -1: without limit. */
int gm_futex_wait(const uint32_t *word, uint32_t value, int timeout_ms);
/* Wake all processes that sleep on the word. */
void gm_futex_wake(uint32_t *word);

/* Milliseconds of the monotonic clock. */
int64_t gm_now_ms(void);
/* The time that is left until `deadline` (-1: none): -1, or 0 and more. */
int gm_left_ms(int64_t deadline);

/* Something that this vCPU may wait for has changed. */
void gm_vcpu_wake(struct gm_vcpu *vcpu);
/* The same for all that wait for an edge of the interrupt line. */
void gm_irq_wake(struct gm_irq *line);

/*
 * True when the process of a slot has ended, also while its parent has not waited for it, and whoever its user is. */
bool gm_proc_dead(const struct gm_proc *proc);

#endif
