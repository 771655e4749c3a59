/* SPDX-License-Identifier: MIT */
/* The main loop's timers, its wake-ups by other threads, and jobs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>

#include "backend/base/clock.h"
#include "backend/base/error.h"
#include "backend/base/job.h"
#include "backend/base/timer.h"
#include "backend/base/wakeup.h"

#define LIMIT_MS 60000 /* that anything may take before it counts as lost */
#define FAR_MS	 3600000

static struct gd_loop *loop;
static unsigned descriptors;

static unsigned descriptors_count(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static int setup(void **state)
{
	(void)state;
	descriptors = descriptors_count();
	return gd_loop_open(&loop);
}

static int teardown(void **state)
{
	(void)state;
	gd_loop_close(loop);
	return descriptors_count() != descriptors;
}

static void count(void *opaque)
{
	++*(unsigned *)opaque;
}

/* ---- timers ----------------------------------------------------------------------------------------------------- */

static void test_timer_expires_once(void **state)
{
	struct gd_timer timer = {0};
	unsigned expired = 0;
	uint64_t begin;

	(void)state;
	assert_int_equal(gd_timer_open(&timer, loop, count, &expired), 0);
	assert_false(gd_timer_pending(&timer));
	assert_int_equal(gd_loop_step(loop, 0), -ETIMEDOUT);
	begin = gd_clock_ns();
	gd_timer_set(&timer, 20);
	assert_int_equal(gd_loop_step(loop, LIMIT_MS), 0);
	assert_int_equal(expired, 1);
	assert_true(gd_clock_ns() - begin >= 20000000); /* never too early */
	assert_false(gd_timer_pending(&timer));
	assert_int_equal(gd_loop_step(loop, 50), -ETIMEDOUT);
	assert_int_equal(expired, 1);
	gd_timer_close(&timer);
}

static void test_timer_of_no_time(void **state)
{
	struct gd_timer timer = {0};
	unsigned expired = 0;

	(void)state;
	assert_int_equal(gd_timer_open(&timer, loop, count, &expired), 0);
	gd_timer_set(&timer, 0);
	assert_int_equal(gd_loop_step(loop, LIMIT_MS), 0);
	assert_int_equal(expired, 1);
	gd_timer_close(&timer);
}

/* Another time takes the place of the first one, later or earlier. */
static void test_timer_is_set_again(void **state)
{
	struct gd_timer timer = {0};
	unsigned expired = 0;

	(void)state;
	assert_int_equal(gd_timer_open(&timer, loop, count, &expired), 0);
	gd_timer_set(&timer, 1);
	gd_timer_set(&timer, FAR_MS);
	assert_true(gd_timer_pending(&timer));
	assert_int_equal(gd_loop_step(loop, 50), -ETIMEDOUT);
	gd_timer_set(&timer, 1);
	assert_int_equal(gd_loop_step(loop, LIMIT_MS), 0);
	assert_int_equal(expired, 1);
	gd_timer_close(&timer);
}

static void timer_close(void *opaque)
{
	gd_timer_close(opaque);
}

/* By its own callback, and where it never was open. */
static void test_timer_is_closed(void **state)
{
	struct gd_timer timer = {0};

	(void)state;
	gd_timer_close(&timer);
	assert_int_equal(gd_timer_open(&timer, loop, timer_close, &timer), 0);
	gd_timer_set(&timer, 0);
	assert_int_equal(gd_loop_step(loop, LIMIT_MS), 0);
	assert_int_equal(gd_loop_step(loop, 0), -ETIMEDOUT);
	gd_timer_close(&timer);
}

/* ---- wake-ups --------------------------------------------------------------------------------------------------- */

static void *send(void *opaque)
{
	gd_wakeup_send(opaque);
	return NULL;
}

static void test_wakeup_by_a_thread(void **state)
{
	struct gd_wakeup wakeup = {0};
	unsigned woken = 0;
	pthread_t thread;

	(void)state;
	gd_wakeup_close(&wakeup);
	assert_int_equal(gd_wakeup_open(&wakeup, loop, count, &woken), 0);
	assert_int_equal(gd_loop_step(loop, 0), -ETIMEDOUT);
	assert_int_equal(pthread_create(&thread, NULL, send, &wakeup), 0);
	assert_int_equal(gd_loop_step(loop, LIMIT_MS), 0);
	assert_int_equal(woken, 1);
	pthread_join(thread, NULL);
	gd_wakeup_send(&wakeup); /* two before the loop looks are one */
	gd_wakeup_send(&wakeup);
	assert_int_equal(gd_loop_step(loop, LIMIT_MS), 0);
	assert_int_equal(gd_loop_step(loop, 0), -ETIMEDOUT);
	assert_int_equal(woken, 2);
	gd_wakeup_close(&wakeup);
}

/* Without a descriptor nothing opens, and what did not open may be closed. */
static void test_no_descriptors(void **state)
{
	struct rlimit former, none;
	struct gd_wakeup wakeup = {0};
	struct gd_timer timer = {0};
	struct gd_jobs *jobs = NULL;
	int err[3];

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &former), 0);
	none = former;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	err[0] = gd_timer_open(&timer, loop, count, NULL);
	err[1] = gd_wakeup_open(&wakeup, loop, count, NULL);
	err[2] = gd_jobs_open(&jobs, loop);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &former), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(err[i], -EMFILE);
	gd_timer_close(&timer);
	gd_wakeup_close(&wakeup);
	gd_jobs_close(jobs);
}

/* ---- jobs ------------------------------------------------------------------------------------------------------- */

#define JOBS 16

struct task {
	struct gd_job job;
	unsigned ran, done;
	pthread_t by;
};

static void task_run(struct gd_job *job)
{
	struct task *task = job->opaque;

	task->ran++;
	task->by = pthread_self();
}

static void task_done(struct gd_job *job)
{
	struct task *task = job->opaque;

	assert_false(pthread_equal(task->by, pthread_self()));
	task->done++;
}

static void test_jobs_run_and_are_told(void **state)
{
	struct task tasks[JOBS] = {0};
	uint64_t end = gd_clock_ms() + LIMIT_MS;
	struct gd_jobs *jobs;

	(void)state;
	assert_int_equal(gd_jobs_open(&jobs, loop), 0);
	for (unsigned i = 0; i < JOBS; i++) {
		tasks[i].job = (struct gd_job){.run = task_run, .done = task_done, .opaque = &tasks[i]};
		assert_int_equal(gd_job_start(jobs, &tasks[i].job, "a name of more than 15 characters"), 0);
	}
	assert_int_equal(gd_jobs_running(jobs), JOBS);
	while (gd_jobs_running(jobs) && gd_clock_ms() < end)
		gd_loop_step(loop, LIMIT_MS);
	assert_int_equal(gd_jobs_running(jobs), 0);
	for (unsigned i = 0; i < JOBS; i++)
		assert_true(tasks[i].ran == 1 && tasks[i].done == 1);
	gd_jobs_close(jobs);
}

/* ---- errors and clock ------------------------------------------------------------------------------------------- */

static void test_errors(void **state)
{
	(void)state;
	errno = ENOSPC;
	assert_int_equal(gd_errno_or(EIO), -ENOSPC);
	errno = 0;
	assert_int_equal(gd_errno_or(EIO), -EIO);
}

static void test_clock_units(void **state)
{
	uint64_t ns = gd_clock_ns(), us = gd_clock_us(), ms = gd_clock_ms();
	struct timespec after;

	(void)state;
	assert_true(us >= ns / 1000 && ms >= us / 1000 && gd_clock_ns() >= ms * 1000000);
	ns = gd_clock_ns();
	after = gd_clock_after(1999);
	assert_true(after.tv_nsec >= 0 && after.tv_nsec < 1000000000);
	assert_true((uint64_t)after.tv_sec * 1000000000 + (uint64_t)after.tv_nsec >= ns + 1999000000);
	assert_true((uint64_t)after.tv_sec * 1000000000 + (uint64_t)after.tv_nsec <= gd_clock_ns() + 1999000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_timer_expires_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_timer_of_no_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_timer_is_set_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_timer_is_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wakeup_by_a_thread, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_jobs_run_and_are_told, setup, teardown),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_clock_units),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
