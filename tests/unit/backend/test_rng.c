/* SPDX-License-Identifier: MIT */
/* The device that gives random numbers: what it writes and how much of it, what it refuses, and how it keeps its rate.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "tests/unit/backend/fake.h"

#define RATE  1048576u
#define WRITE GIO_VIRTQ_DESC_F_WRITE
#define SLOW  GD_RNG_RATE_MIN

static const struct fake_setup usual = {.rng_rate = RATE}, slow = {.rng_rate = SLOW};

/* The kernel's generator: whether it fails, and what the ledger says of the queue's first head when it is asked. */
static struct {
	bool fails; /* atomic */
	struct gd_ledger_queue *ledger;
	uint8_t mark;
} kernel;

ssize_t __real_getrandom(void *bytes, size_t length, unsigned flags);
ssize_t __wrap_getrandom(void *bytes, size_t length, unsigned flags);
ssize_t __wrap_getrandom(void *bytes, size_t length, unsigned flags)
{
	if (kernel.ledger)
		kernel.mark = kernel.ledger->heads[0];
	if (!__atomic_load_n(&kernel.fails, __ATOMIC_SEQ_CST))
		return __real_getrandom(bytes, length, flags);
	errno = ENOSYS;
	return -1;
}

/* The queue's thread, as the tests of the rate see it. All but `test` and `ops` are atomic. */
static struct {
	pthread_t test;
	uint64_t clock_us;	 /* its clock stands at this; 0: it has the system's */
	uint64_t looks;		 /* how often it has begun to look at its ring, */
	uint64_t timers;	 /* and how many of its timers have ended */
	struct gd_class_ops ops; /* the class's own, but for two that count these */
	const struct gd_class_ops *real;
} thread;

int __real_clock_gettime(clockid_t id, struct timespec *now);
int __wrap_clock_gettime(clockid_t id, struct timespec *now);
int __wrap_clock_gettime(clockid_t id, struct timespec *now)
{
	uint64_t us = __atomic_load_n(&thread.clock_us, __ATOMIC_SEQ_CST);

	if (!us || pthread_equal(pthread_self(), thread.test))
		return __real_clock_gettime(id, now);
	*now = (struct timespec){.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
	return 0;
}

static int counted_take(struct gd_class_queue *queue)
{
	__atomic_fetch_add(&thread.looks, 1, __ATOMIC_SEQ_CST);
	return thread.real->take(queue);
}

static void counted_cqe(struct gd_class_queue *queue, struct io_uring_cqe *cqe)
{
	__atomic_fetch_add(&thread.timers, 1, __ATOMIC_SEQ_CST);
	thread.real->cqe(queue, cqe);
}

int __real_gd_rng_open(struct gd_class_device **device, const struct gd_device_config *config, uint32_t rate,
		       char *error, size_t size);
int __wrap_gd_rng_open(struct gd_class_device **device, const struct gd_device_config *config, uint32_t rate,
		       char *error, size_t size);
int __wrap_gd_rng_open(struct gd_class_device **device, const struct gd_device_config *config, uint32_t rate,
		       char *error, size_t size)
{
	int err = __real_gd_rng_open(device, config, rate, error, size);

	if (err)
		return err;
	thread.real = (*device)->ops;
	thread.ops = *thread.real;
	thread.ops.take = counted_take;
	thread.ops.cqe = counted_cqe;
	(*device)->ops = &thread.ops;
	return 0;
}

/* From here on the queue's thread sees the time move only by clock_forward(). */
static void clock_stop(void)
{
	struct timespec now;

	__real_clock_gettime(CLOCK_MONOTONIC, &now);
	__atomic_store_n(&thread.clock_us, (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000,
			 __ATOMIC_SEQ_CST);
}

static void clock_forward(uint64_t us)
{
	__atomic_fetch_add(&thread.clock_us, us, __ATOMIC_SEQ_CST);
}

static int clock_teardown(void **state)
{
	int err = fake_teardown(state);

	__atomic_store_n(&thread.clock_us, 0, __ATOMIC_SEQ_CST);
	return err;
}

/* Wait until the thread has looked at its ring, from beginning to end, and has answered what it then took. */
static void looked(void)
{
	uint64_t before = __atomic_load_n(&thread.looks, __ATOMIC_SEQ_CST);

	fake_until(__atomic_load_n(&thread.looks, __ATOMIC_SEQ_CST) >= before + 2);
}

/* How often it has looked at its ring for another reason than the end of a timer. */
static int64_t looks_without_timer(void)
{
	uint64_t looks = __atomic_load_n(&thread.looks, __ATOMIC_SEQ_CST);

	return (int64_t)(looks - __atomic_load_n(&thread.timers, __ATOMIC_SEQ_CST));
}

static struct gio_virtq_used_elem serve(const struct fake_buf *bufs, unsigned count)
{
	uint16_t head = fake_chain(&fake_guest.vq[0], bufs, count);
	struct gio_virtq_used_elem used;

	fake_avail(&fake_guest.vq[0], head);
	fake_kick(0);
	used = fake_used(&fake_guest.vq[0], 1);
	assert_int_equal(used.id, head);
	return used;
}

static uint32_t serve_page(uint32_t page, uint32_t length)
{
	return serve(&(struct fake_buf){fake_addr(page, 0), length, WRITE}, 1).len;
}

static unsigned different(const uint8_t *bytes, size_t length, uint8_t from)
{
	unsigned n = 0;

	for (size_t i = 0; i < length; i++)
		n += bytes[i] != from;
	return n;
}

static void budget_pays(void **state)
{
	struct gd_rng_budget b;

	(void)state;
	gd_rng_budget_init(&b, SLOW, 1000);
	assert_int_equal(gd_rng_budget_pay(&b, 4096, 1000), 0); /* it begins with a burst of one whole request */
	assert_int_equal(gd_rng_budget_pay(&b, 1024, 1000), 1000000);
	assert_int_equal(gd_rng_budget_pay(&b, 1024, 501000), 500000);
	assert_int_equal(gd_rng_budget_pay(&b, 1024, 1000999), 1);
	assert_int_equal(gd_rng_budget_pay(&b, 1024, 1001000), 0);
	assert_int_equal(gd_rng_budget_pay(&b, 64, 1001000), 62500);
	assert_int_equal(gd_rng_budget_pay(&b, 4096, UINT64_C(1) << 62),
			 0); /* however long it waits, no more than that */
	assert_int_equal(gd_rng_budget_pay(&b, 4096, UINT64_C(1) << 62), 4000000);
	gd_rng_budget_init(&b, GD_RNG_RATE_MAX, 0);
	assert_int_equal(gd_rng_budget_pay(&b, GD_RNG_RATE_MAX / 16, 0), 0);
	assert_int_equal(gd_rng_budget_pay(&b, 4096, 0), 4); /* rounded up */
	assert_int_equal(gd_rng_budget_pay(&b, GD_RNG_RATE_MAX / 16, UINT64_MAX), 0);
}

static void fills_buffers(void **state)
{
	const struct fake_setup indirect = {.rng_rate = RATE, .indirect = true};
	uint32_t page;

	(void)state;
	fake_start(&indirect);
	assert_int_equal(fake_reg_read(GIO_VIRTIO_MMIO_DEVICE_ID), GIO_VIRTIO_ID_RNG);
	assert_int_equal(fake_offered() & (0xffffff | GIO_VIRTIO_F_INDIRECT_DESC), 0); /* even where disks offer it */
	page = fake_alloc(2);
	for (unsigned round = 0; round < 300; round++) { /* more than the queue has entries */
		struct fake_buf bufs[] = {{fake_addr(page, 4000), 200, WRITE}, {fake_addr(page + 1, 1000), 56, WRITE}};

		memset(fake_page(page), 0xee, 2 * FAKE_PAGE);
		assert_int_equal(serve(bufs, 2).len, 256);
		assert_true(different(fake_page(page) + 4000, 200, 0xee) > 150);
		assert_true(different(fake_page(page + 1) + 1000, 56, 0xee) > 30);
		assert_int_equal(different(fake_page(page), 4000, 0xee), 0);
		assert_int_equal(different(fake_page(page) + 4200, 896, 0xee), 0);
		assert_int_equal(different(fake_page(page + 1) + 1056, 3040, 0xee), 0);
	}
	assert_int_equal(serve_page(page, 1), 1);
}

/* No two requests get the same bytes, be they of one batch or not. */
static void repeats_nothing(void **state)
{
	uint32_t page;

	(void)state;
	fake_start(&usual);
	page = fake_alloc(1);
	for (unsigned i = 0; i < 100; i++)
		fake_avail(&fake_guest.vq[0],
			   fake_chain(&fake_guest.vq[0], &(struct fake_buf){fake_addr(page, i * 32), 32, WRITE}, 1));
	fake_kick(0);
	fake_used(&fake_guest.vq[0], 100);
	for (unsigned i = 0; i < 100; i++)
		for (unsigned j = 0; j < i; j++)
			assert_memory_not_equal(fake_page(page) + i * 32, fake_page(page) + j * 32, 32);
}

static void bounds_a_request(void **state)
{
	uint32_t page;

	(void)state;
	fake_start(&usual);
	page = fake_alloc(3);
	memset(fake_page(page), 0xee, 3 * FAKE_PAGE);
	assert_int_equal(serve_page(page, 3 * FAKE_PAGE), GD_RNG_REQUEST_BYTES);
	assert_int_equal(different(fake_page(page) + GD_RNG_REQUEST_BYTES, 3 * FAKE_PAGE - GD_RNG_REQUEST_BYTES, 0xee),
			 0);
	assert_int_equal(serve_page(page, UINT32_MAX), GD_RNG_REQUEST_BYTES); /* no more is looked at */
	assert_int_equal(serve_page(page, 64), 64);
}

static void refuses(void **state)
{
	uint32_t page;

	(void)state;
	fake_start(&usual);
	page = fake_alloc(2);
	memset(fake_page(page), 0xee, 2 * FAKE_PAGE);
	{
		struct fake_buf readable = {fake_addr(page, 0), 64, 0}, nothing = {fake_addr(page, 0), 0, WRITE};
		struct fake_buf both[] = {{fake_addr(page, 0), 64, 0}, {fake_addr(page, 64), 64, WRITE}};
		struct fake_buf reversed[] = {{fake_addr(page, 0), 64, WRITE}, {fake_addr(page, 64), 64, 0}};
		struct fake_buf stranger = {0x1000, 64, WRITE};

		assert_int_equal(serve(&readable, 1).len, 0);
		assert_int_equal(serve(&nothing, 1).len, 0);
		assert_int_equal(serve(both, 2).len, 0);
		assert_int_equal(serve(reversed, 2).len, 0);
		assert_int_equal(serve(&stranger, 1).len, 0);
	}
	assert_int_equal(different(fake_page(page), 2 * FAKE_PAGE, 0xee), 0);
	fake_xen.grants[page + 1] = FAKE_READONLY;
	assert_int_equal(serve_page(page + 1, 64), 0);
	fake_xen.grants[page + 1] = FAKE_NONE;
	assert_int_equal(serve_page(page + 1, 64), 0);
	fake_xen.grants[page + 1] = FAKE_WRITABLE;
	assert_int_equal(serve_page(page + 1, 64), 64);
	assert_int_equal(fake_reg_read(GIO_VIRTIO_MMIO_STATUS), 0xf);
}

/* A chain that the device has already: the ring is broken, and after a reset nothing of it is left. */
static void one_head_twice(void **state)
{
	uint32_t page;
	uint16_t head;

	(void)state;
	fake_start(&usual);
	page = fake_alloc(1);
	memset(fake_page(page), 0xee, FAKE_PAGE);
	head = fake_chain(&fake_guest.vq[0], &(struct fake_buf){fake_addr(page, 0), 64, WRITE}, 1);
	fake_guest.vq[0].avail->ring[0] = head;
	fake_guest.vq[0].avail_idx = 1;
	fake_avail(&fake_guest.vq[0], head);
	fake_kick(0);
	fake_until(fake_reg_read(GIO_VIRTIO_MMIO_STATUS) & GIO_VIRTIO_STATUS_NEEDS_RESET);
	fake_reset();
	assert_int_equal(different(fake_page(page), FAKE_PAGE, 0xee), 0);
	fake_probe(FAKE_FEATURES & fake_offered());
	fake_queue_ready(0, 256);
	fake_driver_ok();
	assert_int_equal(serve_page(fake_alloc(1), 64), 64);
	assert_int_equal(different(fake_page(page), FAKE_PAGE, 0xee), 0);
}

/*
 * What is more than the rate waits in the ring, and costs nothing meanwhile: the thread looks there only when a timer
 * has ended. A request costs 64 bytes at least.
 */
static void keeps_its_rate(void **state)
{
	const uint64_t each_us = UINT64_C(1000000) * GD_RNG_REQUEST_LEAST / SLOW;
	const unsigned count = 8;
	uint32_t page;
	int64_t before;

	(void)state;
	fake_start(&slow);
	clock_stop();
	page = fake_alloc(1);
	assert_int_equal(serve_page(page, 4096), 4096);
	before = looks_without_timer();
	for (unsigned i = 0; i < count; i++)
		fake_avail(&fake_guest.vq[0],
			   fake_chain(&fake_guest.vq[0], &(struct fake_buf){fake_addr(page, 0), 1, WRITE}, 1));
	fake_kick(0);
	for (unsigned i = 0; i < count; i++) {
		looked();
		assert_false(fake_used_now(&fake_guest.vq[0]));
		clock_forward(each_us - 1000);
		looked();
		assert_false(fake_used_now(&fake_guest.vq[0]));
		clock_forward(1000);
		fake_used(&fake_guest.vq[0], 1);
	}
	/* It was looked at four times for each, and without a timer for the kick and little else. */
	assert_true(looks_without_timer() - before <= count);
}

/* A reset, and the end of the device, while a request waits for the rate: neither waits for the timer. */
static void reset_while_it_waits(void **state)
{
	uint32_t page;

	(void)state;
	fake_start(&slow);
	clock_stop();
	page = fake_alloc(2);
	assert_int_equal(serve_page(page, 4096), 4096);
	for (unsigned round = 0; round < 2; round++) {
		memset(fake_page(page), 0xee, FAKE_PAGE);
		fake_avail(&fake_guest.vq[0],
			   fake_chain(&fake_guest.vq[0], &(struct fake_buf){fake_addr(page, 0), 4096, WRITE}, 1));
		fake_kick(0);
		fake_reset();
		assert_int_equal(different(fake_page(page), FAKE_PAGE, 0xee), 0);
		fake_probe(FAKE_FEATURES & fake_offered());
		fake_queue_ready(0, 256);
		fake_driver_ok();
	}
	clock_forward(UINT64_C(1000000) * 64 / SLOW);
	assert_int_equal(serve_page(page + 1, 64), 64);
	assert_int_equal(different(fake_page(page), FAKE_PAGE, 0xee), 0);
	fake_avail(&fake_guest.vq[0],
		   fake_chain(&fake_guest.vq[0], &(struct fake_buf){fake_addr(page, 0), 4096, WRITE}, 1));
	fake_kick(0);
}

/* What a former process had taken and not answered is served, at its next try. */
static void serves_what_was_left(void **state)
{
	struct fake_setup what = usual;
	struct gio_virtq_used_elem used;
	uint32_t page;
	uint16_t head;

	(void)state;
	assert_int_equal(gd_ledger_make(&what.ledger, NULL), 0);
	fake_start(&what);
	page = fake_alloc(1);
	gd_vdev_quiesce(fake_guest.vdev);
	fake_until(gd_vdev_inflight(fake_guest.vdev) == 0);
	head = fake_chain(&fake_guest.vq[0], &(struct fake_buf){fake_addr(page, 0), 64, WRITE}, 1);
	fake_avail(&fake_guest.vq[0], head);
	{
		/* The ledger, as a process leaves it that has taken this chain and ends. */
		struct gd_ledger_registers r;
		struct gd_ledger *next;

		gd_ledger_load(what.ledger, &r);
		assert_int_equal(r.class_id, GIO_VIRTIO_ID_RNG);
		assert_int_equal(gd_ledger_make(&next, NULL), 0);
		gd_ledger_save(next, &r);
		gd_ledger_take(gd_ledger_queue(next, 0), head);
		fake_close();
		what.ledger = next;
	}
	assert_int_equal(fake_open(&what), 0);
	assert_int_equal(gd_vdev_resume(fake_guest.vdev), 0);
	used = fake_used(&fake_guest.vq[0], 1);
	assert_int_equal(used.id, head);
	assert_int_equal(used.len, 64);
	assert_true(different(fake_page(page), 64, 0) > 30);
}

/* A request is in the ledger from before its bytes are made until they are shown. */
static void notes_what_it_takes(void **state)
{
	struct fake_setup what = usual;

	(void)state;
	assert_int_equal(gd_ledger_make(&what.ledger, NULL), 0);
	fake_start(&what);
	kernel.ledger = gd_ledger_queue(what.ledger, 0);
	assert_int_equal(serve_page(fake_alloc(1), 64), 64);
	fake_until(__atomic_load_n(&kernel.ledger->heads[0], __ATOMIC_ACQUIRE) == GD_LEDGER_FREE);
	assert_int_equal(kernel.mark, GD_LEDGER_TAKEN);
	kernel.ledger = NULL;
}

/* No bytes of the kernel's: nothing is written to the guest then, and without any there is no device. */
static void kernel_has_none(void **state)
{
	struct fake_setup what = usual;
	uint32_t page;
	int err;

	(void)state;
	fake_start(&usual);
	page = fake_alloc(1);
	memset(fake_page(page), 0xee, FAKE_PAGE);
	__atomic_store_n(&kernel.fails, true, __ATOMIC_SEQ_CST);
	assert_int_equal(serve_page(page, 64), 0);
	assert_int_equal(different(fake_page(page), FAKE_PAGE, 0xee), 0);
	__atomic_store_n(&kernel.fails, false, __ATOMIC_SEQ_CST);
	assert_int_equal(serve_page(page, 64), 64);
	fake_close();
	assert_int_equal(gd_ledger_make(&what.ledger, NULL), 0); /* before that, as this takes a random number, too */
	__atomic_store_n(&kernel.fails, true, __ATOMIC_SEQ_CST);
	err = fake_open(&what);
	__atomic_store_n(&kernel.fails, false, __ATOMIC_SEQ_CST);
	assert_int_equal(err, -ENOSYS);
	assert_string_equal(fake_open_error, "queue 0: cannot get random bytes: Function not implemented");
	fake_guest.vdev = NULL;
	gd_ledger_close(what.ledger);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(budget_pays),
		cmocka_unit_test_setup_teardown(fills_buffers, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(repeats_nothing, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(bounds_a_request, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(refuses, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(one_head_twice, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(keeps_its_rate, fake_setup, clock_teardown),
		cmocka_unit_test_setup_teardown(reset_while_it_waits, fake_setup, clock_teardown),
		cmocka_unit_test_setup_teardown(serves_what_was_left, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(notes_what_it_takes, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(kernel_has_none, fake_setup, fake_teardown),
	};

	thread.test = pthread_self();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
