/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk used by several threads at once, beside a device that runs in threads of its own: one per queue, which
 * sleep when the ring is empty and are woken by kicks only. A lost kick or interrupt leaves a test waiting until its
 * deadline.
 */
#include "tests/unit/virtio/rig.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define QUEUES	   2u
#define SUBMITTERS 4u
#define DEPTH	   6u
#define ROUNDS	   2000u
#define DEADLINE   60 /* seconds for a thread to hear of what it waits for */

/* A counter that one side raises and another waits for. */
struct bell {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned rung;
	bool stop;
};

static struct bell kicked[QUEUES], irq;
static struct blk_rig rig;

static void bell_init(struct bell *b)
{
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->cond, NULL);
	b->rung = 0;
	b->stop = false;
}

static void bell_ring(struct bell *b, bool stop)
{
	pthread_mutex_lock(&b->lock);
	b->rung++;
	b->stop |= stop;
	pthread_cond_broadcast(&b->cond);
	pthread_mutex_unlock(&b->lock);
}

/* Wait until it is rung, or told to stop: false. */
static bool bell_wait(struct bell *b)
{
	bool go;

	pthread_mutex_lock(&b->lock);
	while (!b->rung && !b->stop)
		pthread_cond_wait(&b->cond, &b->lock);
	b->rung = 0;
	go = !b->stop;
	pthread_mutex_unlock(&b->lock);
	return go;
}

/* ---- the device -------------------------------------------------------------------------------------------------- */

static struct fake_os_mmio registers; /* the device's own hooks */

static void *device_main(void *opaque)
{
	unsigned queue = (unsigned)(uintptr_t)opaque;

	while (bell_wait(&kicked[queue])) {
		unsigned before = __atomic_load_n(&rig.dev->irqs, __ATOMIC_SEQ_CST);

		fake_dev_run(rig.dev, queue, UINT32_MAX);
		if (__atomic_load_n(&rig.dev->irqs, __ATOMIC_SEQ_CST) != before)
			bell_ring(&irq, false);
	}
	return NULL;
}

static void notify_by_bell(void *opaque, uint64_t addr, unsigned size, uint32_t value)
{
	if (addr - FAKE_DEV_BASE == GIO_VIRTIO_MMIO_QUEUE_NOTIFY)
		bell_ring(&kicked[value], false);
	else
		registers.write(opaque, addr, size, value);
}

static void *interrupt_main(void *opaque)
{
	(void)opaque;
	while (bell_wait(&irq))
		gio_blk_interrupt(rig.blk);
	return NULL;
}

/* ---- the guest --------------------------------------------------------------------------------------------------- */

struct submitter {
	pthread_t thread;
	unsigned index, completed;
	struct rig_req r[DEPTH];
	uint8_t *p;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned in_flight, errors;
	bool late;
};

static void submitter_done(struct gio_blk_req *req)
{
	struct submitter *s = req->opaque;

	pthread_mutex_lock(&s->lock);
	s->in_flight--;
	s->completed++;
	s->errors += req->result != 0;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static void submitter_wait(struct submitter *s)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += DEADLINE;
	pthread_mutex_lock(&s->lock);
	while (s->in_flight && !s->late)
		s->late = pthread_cond_timedwait(&s->cond, &s->lock, &until) == ETIMEDOUT;
	pthread_mutex_unlock(&s->lock);
}

/* A batch of requests of its own sectors: written, then read back and compared. */
static void submitter_batch(struct submitter *s, enum gio_blk_op op, unsigned round)
{
	unsigned queue = s->index % QUEUES;

	for (unsigned i = 0; i < DEPTH; i++) {
		uint8_t *p = s->p + i * GIO_PAGE_SIZE;

		rig_req_init(&rig, &s->r[i], op, (s->index * DEPTH + i) * 8);
		rig_req_data(&s->r[i], p, 512);
		s->r[i].req.opaque = s;
		s->r[i].req.done = submitter_done;
		memset(p, op == GIO_BLK_WRITE ? (int)(round + i) : 0, 512);
		pthread_mutex_lock(&s->lock);
		s->in_flight++;
		pthread_mutex_unlock(&s->lock);
		if (gio_blk_submit(rig.blk, queue, &s->r[i].req)) {
			pthread_mutex_lock(&s->lock);
			s->in_flight--;
			s->errors++;
			pthread_mutex_unlock(&s->lock);
		}
	}
	gio_blk_kick(rig.blk, queue);
	if (round % 3 == 0)
		gio_blk_poll(rig.blk, queue); /* races with the interrupt */
	submitter_wait(s);
	for (unsigned i = 0; i < DEPTH && op == GIO_BLK_READ; i++)
		s->errors += s->p[i * GIO_PAGE_SIZE + 511] != (uint8_t)(round + i);
}

static void *submitter_main(void *opaque)
{
	struct submitter *s = opaque;

	for (unsigned round = 0; round < ROUNDS / DEPTH && !s->late; round++) {
		submitter_batch(s, GIO_BLK_WRITE, round);
		if (!s->late)
			submitter_batch(s, GIO_BLK_READ, round);
	}
	return NULL;
}

static void storm(bool event_idx, bool indirect, bool pool)
{
	static struct submitter s[SUBMITTERS];
	pthread_t device[QUEUES], interrupt;
	pthread_condattr_t clock;
	unsigned late = 0, errors = 0, completed = 0;

	rig_init(&rig, 1);
	rig.config.queues = QUEUES;
	rig.config.queue_size = 64;
	rig.config.no_event_idx = !event_idx;
	rig.config.indirect = indirect;
	if (pool)
		rig_pool(&rig, 64);
	bell_init(&irq);
	for (unsigned i = 0; i < QUEUES; i++)
		bell_init(&kicked[i]);
	fake_dev_mmio(rig.dev, &registers);
	fake_os_set_mmio(rig.os,
			 &(struct fake_os_mmio){.read = registers.read, .write = notify_by_bell, .opaque = rig.dev});
	rig_open(&rig);
	for (unsigned i = 0; i < QUEUES; i++)
		pthread_create(&device[i], NULL, device_main, (void *)(uintptr_t)i);
	pthread_create(&interrupt, NULL, interrupt_main, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC); /* the day's time may be set meanwhile */
	for (unsigned i = 0; i < SUBMITTERS; i++) {
		s[i] = (struct submitter){.index = i, .p = rig_pages(&rig, DEPTH, 0)};
		pthread_mutex_init(&s[i].lock, NULL);
		pthread_cond_init(&s[i].cond, &clock);
		pthread_create(&s[i].thread, NULL, submitter_main, &s[i]);
	}
	pthread_condattr_destroy(&clock);
	for (unsigned i = 0; i < SUBMITTERS; i++) {
		pthread_join(s[i].thread, NULL);
		late += s[i].late;
		errors += s[i].errors;
		completed += s[i].completed;
	}
	for (unsigned i = 0; i < QUEUES; i++) {
		bell_ring(&kicked[i], true);
		pthread_join(device[i], NULL);
	}
	bell_ring(&irq, true);
	pthread_join(interrupt, NULL);
	assert_int_equal(late, 0);
	assert_int_equal(errors, 0);
	assert_int_equal(completed, SUBMITTERS * DEPTH * 2 * (ROUNDS / DEPTH));
	for (unsigned i = 0; i < SUBMITTERS; i++)
		rig_pages_free(&rig, s[i].p, DEPTH);
	rig_close(&rig);
}

static void test_storm_event_idx(void **state)
{
	(void)state;
	storm(true, false, false);
}

static void test_storm_flags(void **state)
{
	(void)state;
	storm(false, true, false);
}

static void test_storm_pool(void **state)
{
	(void)state;
	storm(true, false, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_storm_event_idx),
		cmocka_unit_test(test_storm_flags),
		cmocka_unit_test(test_storm_pool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
