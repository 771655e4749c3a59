/* SPDX-License-Identifier: MIT */
#include "model/wait.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int64_t gm_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* A wait that is interrupted begins again with what is left of its limit, and not with the whole of it. */
int gm_left_ms(int64_t deadline)
{
	int64_t left;

	if (deadline < 0)
		return -1;
	left = deadline - gm_now_ms();
	return left > 0 ? (int)left : 0;
}

/* The word lies in shared memory: FUTEX_PRIVATE_FLAG must not be set here or below. */
int gm_futex_wait(const uint32_t *word, uint32_t value, int timeout_ms)
{
	struct timespec ts = {.tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000L};

	if (!syscall(SYS_futex, word, FUTEX_WAIT, value, timeout_ms < 0 ? NULL : &ts, NULL, 0))
		return 0;
	return -errno;
}

void gm_futex_wake(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* Pairs with vcpu_wait() in guest.c. */
void gm_vcpu_wake(struct gm_vcpu *vcpu)
{
	__atomic_fetch_add(&vcpu->gen, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&vcpu->waiters, __ATOMIC_SEQ_CST))
		gm_futex_wake(&vcpu->gen);
}

/* Pairs with gm_guest_irq_wait(). */
void gm_irq_wake(struct gm_irq *line)
{
	__atomic_fetch_add(&line->gen, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&line->waiters, __ATOMIC_SEQ_CST))
		gm_futex_wake(&line->gen);
}

/* By pidfd, because kill(pid, 0) succeeds for a zombie and fails for a process of another user. */
bool gm_proc_dead(const struct gm_proc *proc)
{
	struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, proc->pid, 0), .events = POLLIN};
	bool dead;

	if (end.fd < 0)
		return errno == ESRCH;
	dead = poll(&end, 1, 0) == 1;
	close(end.fd);
	return dead;
}
