/* SPDX-License-Identifier: MIT */
/* A worker's thread: it follows the control side (worker.c), and executes the chains of its ring. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "backend/base/clock.h"
#include "backend/base/count.h"
#include "backend/guestmem/shared.h"
#include "backend/virtio/wait.h"
#include "backend/virtio/worker_priv.h"

#define RING_SPARE 8u

/* ---- its ring -------------------------------------------------------------------------------------------------- */

/* The cheapest kind of ring: the kernel looks for completions only when this thread, its only user, asks for them. */
static int ring_open(struct gd_worker *w)
{
	static const unsigned flags[] = {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
					 IORING_SETUP_COOP_TASKRUN, 0};
	/*
	 * There is room for a batch, the eventfd and what an engine needs. If there is more, it is submitted in parts.
	 * The system makes room for twice as many completions, and so for those of all I/O in flight.
	 */
	unsigned queue_size = w->config.class->config.queue_size;
	unsigned entries = queue_size + (queue_size > w->ops->batch ? 0 : RING_SPARE);
	int err = -EINVAL;

	for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]) && err == -EINVAL; i++)
		err = io_uring_queue_init(entries, &w->ring, flags[i]);
	return err;
}

static void wake_arm(struct gd_worker *w)
{
	struct io_uring_sqe *sqe;

	if (w->wake_armed)
		return;
	sqe = io_uring_get_sqe(&w->ring);
	if (!sqe)
		return; /* the ring is full: it will be submitted now, and armed before the next sleep */
	io_uring_prep_read(sqe, w->eventfd, &w->wake_count, sizeof(w->wake_count), 0);
	io_uring_sqe_set_data64(sqe, (uint64_t)GD_TAG_WAKE << GD_TAG_SHIFT);
	w->wake_armed = true;
}

static void wake_take(struct gd_worker *w)
{
	w->wake_armed = false;
	gd_look_wake(&w->look, gd_clock_us() - __atomic_load_n(&w->waking_us, __ATOMIC_ACQUIRE));
}

static void cqe_handle(struct gd_worker *w, struct io_uring_cqe *cqe)
{
	uint64_t tag = io_uring_cqe_get_data64(cqe) >> GD_TAG_SHIFT;

	if (tag == GD_TAG_CLASS)
		w->ops->cqe(w->queue, cqe);
	else if (tag == GD_TAG_BELL)
		gd_worker_bell_rang(w, cqe->res);
	else if (tag == GD_TAG_ARMED)
		gd_worker_bell_refused(w);
	else
		wake_take(w);
}

static void cqes_reap(struct gd_worker *w)
{
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;

	io_uring_for_each_cqe(&w->ring, head, cqe)
	{
		cqe_handle(w, cqe);
		n++;
	}
	io_uring_cq_advance(&w->ring, n);
}

/*
 * Submit what is prepared, and wait with a limit. If nothing was prepared, and the time is over, it is seen by how much
 * later than that this thread ran: so long does it take to wake it.
 */
static void ring_nap(struct gd_worker *w, struct gd_wait plan)
{
	struct __kernel_timespec limit = {.tv_nsec = (long long)plan.timeout_us * 1000};
	bool empty = io_uring_sq_ready(&w->ring) == 0;
	uint64_t end = gd_clock_us() + plan.timeout_us, now;
	struct io_uring_cqe *cqe;
	int n = io_uring_submit_and_wait_timeout(&w->ring, &cqe, plan.completions, &limit, NULL);

	now = gd_clock_us();
	if (empty && n == -ETIME && now >= end)
		gd_look_wake(&w->look, now - end);
}

/* Submit what is prepared, and wait as planned, in one system call. */
static void ring_enter(struct gd_worker *w, struct gd_wait plan)
{
	if (plan.completions == 0 && io_uring_sq_ready(&w->ring) == 0)
		return;
	gd_count_add(&w->syscalls, 1);
	if (plan.timeout_us)
		ring_nap(w, plan);
	else if (plan.completions)
		io_uring_submit_and_wait(&w->ring, plan.completions);
	else
		io_uring_submit_and_get_events(&w->ring);
}

/* ---- control --------------------------------------------------------------------------------------------------- */

/* Let go of the ring. Its I/O in flight becomes orphans of the device. */
static void ring_detach(struct gd_worker *w)
{
	w->queue->ring = NULL;
	w->ops->finish(w->queue); /* requests that are done and not answered are dropped */
	/* Orphans of an earlier ring are counted already: nothing was submitted since. */
	__atomic_fetch_add(&w->config.status->orphans, w->queue->inflight - w->orphans, __ATOMIC_SEQ_CST);
	w->orphans = w->queue->inflight;
	gd_ledger_orphans(w->config.ledger, w->queue->changing);
	w->attached = NULL;
	w->broken = false;
	w->lately = 0;
	w->empty_us = 0;
}

/* The pool goes and comes with the ring. */
static void pool_follow(struct gd_worker *w)
{
	const struct gd_pool *pool = w->attached ? w->attached->pool : NULL;

	gd_copy_use_pool(w->queue->copy, pool);
	if (w->ops->pool)
		w->ops->pool(w->queue, pool);
}

/* Follow the control side. False: the thread is to end. */
static bool control_follow(struct gd_worker *w)
{
	bool quit;

	if (!__atomic_exchange_n(&w->changed, false, __ATOMIC_ACQUIRE))
		return true;
	pthread_mutex_lock(&w->lock);
	if (w->wanted != w->attached) {
		if (w->attached)
			ring_detach(w);
		w->attached = w->wanted;
		pool_follow(w);
		w->served = w->wanted;
		pthread_cond_broadcast(&w->settled);
	}
	quit = w->quit;
	pthread_mutex_unlock(&w->lock);
	return !quit;
}

/* Count orphans that are gone. The last one of the device lets all queues go on. */
static void orphans_count(struct gd_worker *w)
{
	unsigned gone = w->orphans - w->queue->inflight;

	/* Nothing new is submitted while the device has orphans: so all I/O in flight are orphans. */
	if (w->orphans == 0 || gone == 0)
		return;
	w->orphans -= gone;
	gd_ledger_orphans(w->config.ledger, w->queue->changing);
	if (__atomic_sub_fetch(&w->config.status->orphans, gone, __ATOMIC_SEQ_CST) == 0)
		w->config.drained(w->config.opaque);
}

static bool worker_serving(const struct gd_worker *w)
{
	return w->attached && !w->broken && !w->quiesced &&
	       __atomic_load_n(&w->config.status->orphans, __ATOMIC_ACQUIRE) == 0;
}

/*
 * Nothing is held for the first time since the device is to be quiet: flush what was written. Of several queues the
 * last one's flush covers the others' writes as well.
 */
static void quiet_begin(struct gd_worker *w)
{
	const struct gd_class_ops *ops = w->config.class->ops;

	if (ops->flush)
		ops->flush(w->queue);
	/* Release: what was taken before is counted, the flush too. Pairs with the acquire in gd_worker_held(). */
	__atomic_store_n(&w->calm, true, __ATOMIC_RELEASE);
}

/* Once the device is quiesced: report whenever this queue has nothing left to answer. */
static void quiet_tell(struct gd_worker *w)
{
	const struct gd_status *status = w->config.status;

	if (!__atomic_load_n(&status->quiesced, __ATOMIC_ACQUIRE))
		return;
	w->loud |= !w->quiesced;
	w->quiesced = true;
	if (!w->calm && !gd_class_held(w->queue))
		quiet_begin(w);
	if (gd_class_held(w->queue)) {
		w->loud = true;
	} else if (w->loud && status->quiet) {
		w->loud = false;
		status->quiet(status->opaque);
	}
}

/* ---- at work --------------------------------------------------------------------------------------------------- */

static void interrupt_raise(struct gd_worker *w)
{
	gd_count_add(&w->syscalls, 1); /* it counts as one, whatever it takes */
	gd_status_used(w->config.status, w->config.index);
}

/*
 * All news that was there is looked at after this. It is an exchange, and not a store: either it reads the `true` of a
 * thread that has news, and its acquire (which pairs with the release in gd_worker_kick()) lets us see them; or that
 * `true` comes later, and prevents the sleep.
 */
static void news_begin(struct gd_worker *w)
{
	(void)__atomic_exchange_n(&w->kicked, false, __ATOMIC_ACQ_REL);
}

static void worker_take(struct gd_worker *w)
{
	int n;

	w->queue->stalled = w->queue->more = false;
	quiet_tell(w);
	if (!worker_serving(w))
		return;
	w->queue->ring = w->attached;
	gd_ring_disarm(w->queue->ring);
	n = w->ops->take(w->queue);
	if (n > 0) {
		w->lately = (unsigned)n;
		w->naps = 0;
		w->empty_us = 0;
	}
	if (n >= 0)
		return;
	w->broken = true;
	w->queue->ring = NULL;
	gd_status_break(w->config.status, w->config.index, "the ring cannot be trusted", n);
}

static void worker_finish(struct gd_worker *w)
{
	if (w->ops->finish(w->queue))
		interrupt_raise(w);
	orphans_count(w);
	quiet_tell(w);
}

/* Get ready to be woken. False: there is news, and the thread must not sleep. */
static bool sleep_begin(struct gd_worker *w)
{
	if (w->queue->ring && !w->queue->stalled && !w->quiesced && !gd_ring_arm(w->queue->ring))
		return false;
	wake_arm(w);
	if (!w->wake_armed || !gd_worker_bell_arm(w))
		return false;
	__atomic_store_n(&w->asleep, true, __ATOMIC_RELEASE);
	/* Orders our store of `asleep` before our load of `kicked`. Pairs with the barrier in gd_worker_kick(). */
	gd_shared_barrier();
	if (!__atomic_load_n(&w->kicked, __ATOMIC_ACQUIRE))
		return true;
	__atomic_store_n(&w->asleep, false, __ATOMIC_RELAXED);
	return false;
}

/* Wait as planned. Returns how many I/Os were completed. */
static unsigned wait_once(struct gd_worker *w, struct gd_wait plan)
{
	unsigned before = w->queue->inflight;
	bool sleep = plan.completions > 0 && plan.timeout_us == 0;

	if (sleep && !sleep_begin(w))
		plan.completions = 0;
	ring_enter(w, plan);
	if (sleep) {
		__atomic_store_n(&w->asleep, false, __ATOMIC_RELAXED);
		if (w->queue->ring)
			gd_ring_disarm(w->queue->ring); /* before an answer lets the guest go on */
	}
	cqes_reap(w);
	return before - w->queue->inflight;
}

/* Gather where a completion may stand for several I/Os, or a part of one. Returns how many I/Os were completed. */
static unsigned wait_again(struct gd_worker *w, struct gd_wait plan)
{
	uint64_t now = gd_clock_us(), end = now + plan.timeout_us;
	unsigned n = 0;

	do {
		plan.timeout_us = (unsigned)(end - now);
		n += wait_once(w, plan);
		now = gd_clock_us();
	} while (w->queue->inflight > 0 && now < end);
	return n;
}

static unsigned wait_planned(struct gd_worker *w, struct gd_wait plan)
{
	return plan.again ? wait_again(w, plan) : wait_once(w, plan);
}

/* Whether the ring is empty, and nothing but a chain can make work. */
static bool ring_idle(const struct gd_worker *w)
{
	return w->queue->ring && !w->queue->inflight && !w->queue->more && !w->queue->stalled && !w->quiesced;
}

/* Look until `look_end_us`, with kicks off. True: there is news; if that is no chain, the look goes on after it. */
static bool ring_watch(struct gd_worker *w)
{
	uint64_t now = gd_clock_us(), yield = now + GD_LOOK_YIELD_US;

	for (; now < w->look_end_us; now = gd_clock_us()) {
		if (gd_ring_waiting(w->queue->ring)) {
			gd_count_add(&w->looks_paid, 1);
			return true;
		}
		if (__atomic_load_n(&w->kicked, __ATOMIC_RELAXED))
			return true;
		if (now < yield)
			continue;
		gd_count_add(&w->syscalls, 1);
		sched_yield();
		yield = now + GD_LOOK_YIELD_US;
	}
	w->look_end_us = 0;
	gd_count_add(&w->looks_vain, 1);
	return false;
}

/* If the ring has just become empty, look at it for a while where that is worth it. True: there is news. */
static bool empty_begin(struct gd_worker *w)
{
	unsigned us;

	if (!w->look.most_us || !ring_idle(w))
		return false;
	if (!w->empty_us) {
		w->empty_us = gd_clock_us();
		us = gd_look_plan(&w->look);
		w->look_end_us = us ? w->empty_us + us : 0;
	}
	return w->look_end_us && ring_watch(w);
}

/* If a chain has come since the ring became empty, learn from how long that took. */
static void empty_end(struct gd_worker *w, bool slept)
{
	uint64_t us;

	if (!w->empty_us || !ring_idle(w) || !gd_ring_waiting(w->queue->ring))
		return;
	us = gd_clock_us() - w->empty_us;
	gd_look_gap(&w->look, slept ? gd_look_slept(&w->look, us) : us);
	w->empty_us = 0;
}

static void worker_wait(struct gd_worker *w)
{
	struct gd_wait_state state = {.inflight = w->queue->inflight,
				      .events = w->ops->events(w->queue),
				      .more = w->queue->more,
				      .dry = w->dry,
				      .lately = w->lately,
				      .naps = w->naps,
				      .interrupt_us = gd_status_interrupt_us(w->config.status)};
	struct gd_wait plan = gd_wait_plan(&state);
	unsigned n;

	if (empty_begin(w)) {
		empty_end(w, false);
		return;
	}
	n = wait_planned(w, plan);
	empty_end(w, true);
	w->dry = plan.timeout_us && state.inflight && n == 0;
	if (plan.timeout_us && !state.inflight)
		w->naps++;
	if (!state.dry || n == 0)
		return;
	/* The first completion of a slow disk has come: gather those that come with it. */
	state = (struct gd_wait_state){
		.inflight = w->queue->inflight, .events = w->ops->events(w->queue), .interrupt_us = state.interrupt_us};
	plan = gd_wait_plan(&state);
	if (plan.timeout_us)
		wait_planned(w, plan);
}

/* What does a wake-up cost here? A few short naps tell, before the first request: of these, the least counts most. */
static void wake_measure(struct gd_worker *w)
{
	const struct gd_wait plan = {.completions = 1, .timeout_us = 20};

	for (unsigned i = 0; w->look.most_us && i < 3; i++)
		ring_nap(w, plan);
}

static int worker_set_up(struct gd_worker *w)
{
	char name[16];
	int err;

	snprintf(name, sizeof(name), "%.12s.%u", w->config.class->config.log->name, w->config.index % 100);
	pthread_setname_np(pthread_self(), name);
	prctl(PR_SET_TIMERSLACK, 1); /* gathering takes less time than the usual slack of 50 us */
	w->failing = "cannot get its io_uring";
	err = ring_open(w);
	if (err == -EPERM || err == -ENOSYS)
		w->failing = "io_uring is refused (by sysctl kernel.io_uring_disabled, or a system call filter)";
	if (err)
		return err;
	w->failing = w->ops->failure;
	err = w->ops->queue_start(w->queue, &w->ring, GD_TAG_CLASS);
	if (err)
		io_uring_queue_exit(&w->ring);
	else
		wake_measure(w);
	return err;
}

/* The ring is gone: wait for the disk, but within a limit, as it may never answer. */
static void worker_drain(struct gd_worker *w)
{
	const struct gd_wait step = {.completions = 1, .timeout_us = GD_WAIT_DRAIN_STEP_US};
	unsigned steps = GD_WAIT_DRAIN_MS * 1000 / GD_WAIT_DRAIN_STEP_US;

	while (w->queue->inflight > 0) {
		/* Other completions (a kick, a poll) count as a step, too, which only makes the wait shorter. */
		if (steps > 0 && --steps == 0)
			w->ops->cancel(w->queue);
		wait_once(w, step);
		worker_finish(w);
	}
}

void *gd_worker_run(void *opaque)
{
	struct gd_worker *w = opaque;
	int err = worker_set_up(w);

	pthread_mutex_lock(&w->lock);
	w->up = !err;
	w->failed = err;
	pthread_cond_broadcast(&w->settled);
	pthread_mutex_unlock(&w->lock);
	if (err)
		return NULL;
	for (;;) {
		news_begin(w);
		if (!control_follow(w))
			break;
		worker_take(w);
		worker_finish(w);
		worker_wait(w);
		worker_finish(w);
	}
	worker_drain(w);
	w->ops->queue_stop(w->queue);
	io_uring_queue_exit(&w->ring);
	return NULL;
}
