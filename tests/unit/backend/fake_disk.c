/* SPDX-License-Identifier: MIT */
/* gd_disk and gd_log over memory. Completions come through the queue's io_uring, as a real engine's do. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/unit/backend/fake.h"

#define RELEASED 1u /* in user_data below the tag: the eventfd was written */

struct fake_disk fake_disk;
unsigned fake_log_lines;
char fake_log_last[256];

struct gd_disk {
	int unused;
};

struct gd_disk_queue {
	struct io_uring *ring;
	uint64_t tag;
	unsigned depth, busy, unsent; /* unsent: gd_disk_queue_send() is to come for so many */
	int eventfd;
	uint64_t count;
	bool armed, cancelled;
	struct gd_disk_io *waiting; /* held; the thread's own */
	struct gd_disk_queue *next; /* of those open, under the lock */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct gd_disk_queue *queues_open;

static void add(unsigned *counter, unsigned n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_SEQ_CST);
}

void fake_disk_reset(uint64_t size)
{
	free(fake_disk.bytes);
	memset(&fake_disk, 0, sizeof(fake_disk));
	fake_disk.bytes = malloc(size);
	assert_non_null(fake_disk.bytes);
	for (uint64_t i = 0; i < size; i++)
		fake_disk.bytes[i] = (uint8_t)(i / 512 * 7 + i);
	fake_disk.info = (struct gd_disk_info){.size = size,
					       .block_size = 512,
					       .physical_size = 4096,
					       .align = 512,
					       .max_discard = size,
					       .max_write_zeroes = size,
					       .discard_align = 4096,
					       .flush = true,
					       .multi_queue = true,
					       .fenced = true,
					       .serial = "fake-serial"};
	fake_disk.next_size = size;
}

struct gd_disk *fake_disk_open(void)
{
	fake_disk.open++;
	return malloc(sizeof(struct gd_disk)); /* not calloc: tests make that fail */
}

void gd_disk_close(struct gd_disk *d)
{
	if (!d)
		return;
	assert_int_equal(fake_disk.queues, 0);
	fake_disk.open--;
	free(d);
}

void gd_disk_info(const struct gd_disk *d, struct gd_disk_info *info)
{
	(void)d;
	*info = fake_disk.info;
	info->size = __atomic_load_n(&fake_disk.info.size, __ATOMIC_SEQ_CST);
}

bool gd_disk_refresh(struct gd_disk *d)
{
	bool changed = fake_disk.next_size != fake_disk.info.size;

	(void)d;
	__atomic_store_n(&fake_disk.info.size, fake_disk.next_size, __ATOMIC_SEQ_CST);
	return changed;
}

bool gd_disk_unflushed(const struct gd_disk *d)
{
	(void)d;
	return fake_disk.remembers && __atomic_load_n(&fake_disk.unflushed, __ATOMIC_SEQ_CST);
}

/* As a server that takes a connection and does not answer. */
static void open_wait(void)
{
	add(&fake_disk.queue_opens, 1);
	add(&fake_disk.opening, 1);
	while (__atomic_load_n(&fake_disk.hold_open, __ATOMIC_SEQ_CST))
		fake_yield();
	add(&fake_disk.opening, -1u);
}

int gd_disk_queue_open(struct gd_disk_queue **out, struct gd_disk *d, struct io_uring *ring, uint8_t tag,
		       unsigned depth)
{
	struct gd_disk_queue *q;

	(void)d;
	open_wait();
	if (fake_disk.fail_queue_open)
		return -ENOMEM;
	q = malloc(sizeof(*q));
	assert_non_null(q);
	memset(q, 0, sizeof(*q));
	q->ring = ring;
	q->tag = (uint64_t)tag << 56;
	q->depth = depth;
	q->eventfd = eventfd(0, EFD_CLOEXEC);
	if (q->eventfd < 0) {
		free(q);
		return -EMFILE;
	}
	pthread_mutex_lock(&lock);
	q->next = queues_open;
	queues_open = q;
	fake_disk.queues++;
	pthread_mutex_unlock(&lock);
	*out = q;
	return 0;
}

void gd_disk_queue_close(struct gd_disk_queue *q)
{
	struct gd_disk_queue **at = &queues_open;

	if (!q)
		return;
	assert_int_equal(q->busy, 0);
	pthread_mutex_lock(&lock);
	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	fake_disk.queues--;
	pthread_mutex_unlock(&lock);
	close(q->eventfd);
	free(q);
}

unsigned gd_disk_queue_busy(const struct gd_disk_queue *q)
{
	return q->busy;
}

unsigned gd_disk_queue_events(const struct gd_disk_queue *q)
{
	return q->busy;
}

static struct io_uring_sqe *sqe_get(struct gd_disk_queue *q)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(q->ring);

	if (!sqe && io_uring_submit(q->ring) > 0)
		sqe = io_uring_get_sqe(q->ring);
	assert_non_null(sqe);
	return sqe;
}

/* The I/O itself, when it is completed: so that a held write has changed nothing yet. */
static void io_execute(struct gd_disk_io *io)
{
	uint8_t *at = fake_disk.bytes + io->offset;

	io->result = 0;
	if (__atomic_load_n(&fake_disk.fail, __ATOMIC_SEQ_CST) > 0 &&
	    __atomic_sub_fetch(&fake_disk.fail, 1, __ATOMIC_SEQ_CST) == 0) {
		io->result = fake_disk.fail_errno ? fake_disk.fail_errno : -EIO;
		return;
	}
	switch (io->op) {
	case GD_DISK_READ:
		memcpy(io->buf, at, io->length);
		add(&fake_disk.reads, 1);
		break;
	case GD_DISK_WRITE:
		memcpy(at, io->buf, io->length);
		__atomic_store_n(&fake_disk.unflushed, true, __ATOMIC_SEQ_CST);
		add(&fake_disk.writes, 1);
		add(&fake_disk.fua, io->fua);
		break;
	case GD_DISK_FLUSH:
		__atomic_store_n(&fake_disk.unflushed, false, __ATOMIC_SEQ_CST);
		add(&fake_disk.flushes, 1);
		break;
	case GD_DISK_DISCARD:
	case GD_DISK_WRITE_ZEROES:
		memset(at, 0, io->length);
		add(io->op == GD_DISK_DISCARD ? &fake_disk.discards : &fake_disk.zeroes, 1);
		break;
	}
}

static void io_complete(struct gd_disk_queue *q, struct gd_disk_io *io)
{
	q->busy--;
	io_execute(io);
	io->done(io);
}

/* No page of the guest may be pinned by I/O, unless the test allows it: in a PV domain that damages the kernel. */
static void straight_check(const struct gd_disk_io *io)
{
	uintptr_t at = (uintptr_t)io->buf, ram = (uintptr_t)fake_xen.ram;

	if (at + io->length <= ram || at >= ram + (uintptr_t)FAKE_PAGES * FAKE_PAGE)
		return;
	assert_true(fake_disk.straight_allowed);
	add(&fake_disk.straight, 1);
}

void gd_disk_submit(struct gd_disk_queue *q, struct gd_disk_io *io)
{
	struct io_uring_sqe *sqe;

	assert_true(q->busy < q->depth);
	assert_int_equal(io->offset % fake_disk.info.block_size, 0);
	assert_int_equal(io->length % fake_disk.info.block_size, 0);
	if (io->op != GD_DISK_FLUSH) {
		assert_true(io->length > 0);
		assert_true(io->offset + io->length <= __atomic_load_n(&fake_disk.info.size, __ATOMIC_SEQ_CST));
	}
	if (io->op == GD_DISK_READ || io->op == GD_DISK_WRITE) {
		assert_int_equal((uintptr_t)io->buf % fake_disk.info.align, 0);
		straight_check(io);
		assert_true(fake_disk.info.fixed || !io->fixed);
		__atomic_store_n(&fake_disk.fixed, io->fixed, __ATOMIC_SEQ_CST);
	}
	q->busy++;
	q->unsent++;
	if (__atomic_load_n(&fake_disk.hold, __ATOMIC_SEQ_CST)) {
		io->next = q->waiting;
		q->waiting = io;
		if (!q->armed) {
			sqe = sqe_get(q);
			io_uring_prep_read(sqe, q->eventfd, &q->count, sizeof(q->count), 0);
			io_uring_sqe_set_data64(sqe, q->tag | RELEASED);
			q->armed = true;
		}
		add(&fake_disk.held, 1);
		return;
	}
	assert_int_equal((uintptr_t)io >> 56, 0);
	sqe = sqe_get(q);
	io_uring_prep_nop(sqe);
	io_uring_sqe_set_data64(sqe, q->tag | (uintptr_t)io);
}

void gd_disk_queue_send(struct gd_disk_queue *q)
{
	q->unsent = 0;
}

void gd_disk_queue_cqe(struct gd_disk_queue *q, struct io_uring_cqe *cqe)
{
	uint64_t data = io_uring_cqe_get_data64(cqe) & ~(UINT64_C(0xff) << 56);

	assert_int_equal(q->unsent, 0); /* else an I/O was submitted, and the thread waited without sending it */
	if (data != RELEASED) {
		io_complete(q, (struct gd_disk_io *)(uintptr_t)data);
		return;
	}
	q->armed = false;
	while (q->waiting) {
		struct gd_disk_io *io = q->waiting;

		q->waiting = io->next;
		add(&fake_disk.held, -1u);
		if (q->cancelled) {
			q->busy--;
			io->result = -ECANCELED;
			io->done(io);
		} else {
			io_complete(q, io);
		}
	}
}

void gd_disk_queue_cancel(struct gd_disk_queue *q)
{
	uint64_t one = 1, end = fake_now_ms() + FAKE_WAIT_MS;

	q->cancelled = true;
	add(&fake_disk.cancels, 1);
	while (__atomic_load_n(&fake_disk.cancels, __ATOMIC_SEQ_CST) < fake_disk.cancels_meet && fake_now_ms() < end)
		fake_yield();
	add(&fake_disk.cancels_alone, __atomic_load_n(&fake_disk.cancels, __ATOMIC_SEQ_CST) < fake_disk.cancels_meet);
	assert_int_equal(write(q->eventfd, &one, sizeof(one)), sizeof(one));
}

void fake_disk_release(void)
{
	uint64_t one = 1;

	__atomic_store_n(&fake_disk.hold, false, __ATOMIC_SEQ_CST);
	pthread_mutex_lock(&lock);
	for (struct gd_disk_queue *q = queues_open; q; q = q->next)
		assert_int_equal(write(q->eventfd, &one, sizeof(one)), sizeof(one));
	pthread_mutex_unlock(&lock);
}

/* ---- the log ---- */

__attribute__((format(printf, 1, 0))) static void note(const char *format, va_list args)
{
	pthread_mutex_lock(&lock);
	vsnprintf(fake_log_last, sizeof(fake_log_last), format, args);
	assert_null(strchr(fake_log_last, '\n'));
	pthread_mutex_unlock(&lock);
	add(&fake_log_lines, 1);
}

void gd_log(struct gd_log *log, enum gd_level level, const char *format, ...)
{
	va_list args;

	(void)log, (void)level;
	va_start(args, format);
	note(format, args);
	va_end(args);
}

void gd_log_guest(struct gd_log *log, enum gd_level level, const char *format, ...)
{
	va_list args;

	(void)log, (void)level;
	va_start(args, format);
	note(format, args);
	va_end(args);
}
