/* SPDX-License-Identifier: MIT */
/* NBD servers that are killed, stopped or silent while a disk is in use: what is done again, what fails, what is said.
 */
#include "tests/unit/disk/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "backend/disk/nbd.h"

#define MIB (1u << 20)

/* Killed with I/O in flight: changes fail at once, reads wait for the server, and so does what comes later. */
static void test_killed_and_back(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io ios[8], later = {.op = GD_DISK_READ, .length = 4096, .buf = rig->area};
	unsigned i;

	rig_server(rig, NBDKIT("--filter=delay", "memory", "8M", "rdelay=30", "wdelay=30"));
	rig_open_uri(rig, 0);
	for (i = 0; i < 8; i++) {
		ios[i] = (struct gd_disk_io){.op = i % 2 ? GD_DISK_READ : GD_DISK_WRITE,
					     .offset = i * 4096u,
					     .length = 4096,
					     .buf = rig->area + i * 4096};
		rig_submit(rig, &ios[i]);
	}
	rig_poll(rig, 50);
	assert_int_equal(gd_disk_queue_busy(rig->queue), 8);
	rig_server_kill(rig);
	rig_log_await(rig, "4 requests failed, 4 are done again; connecting again");
	assert_int_equal(rig_logged(rig, "connection lost"), 1);
	assert_int_equal(rig_done_count, 4);
	rig_submit(rig, &later);
	rig_poll(rig, 150); /* at least one attempt finds nobody */
	assert_int_equal(gd_disk_queue_busy(rig->queue), 5);
	rig_server(rig, NBDKIT("memory", "9M"));
	rig_wait_idle(rig);
	for (i = 0; i < 8; i++)
		assert_int_equal(ios[i].result, i % 2 ? 0 : -EIO);
	assert_int_equal(later.result, 0);
	assert_int_equal(rig_logged(rig, "connected again after"), 1);
	assert_int_equal(rig_log_lines(rig), 2);
	assert_true(gd_disk_refresh(rig->disk)); /* the new server's size */
	gd_disk_info(rig->disk, &rig->info);
	assert_int_equal(rig->info.size, 9 * MIB);
	rig_random(rig, 17, 300);
}

/* A server that stands still and goes on: it is said, and nothing fails. */
static void test_stopped_and_on(void **state)
{
	struct gd_disk_io io = {.op = GD_DISK_WRITE, .length = 4096};
	struct disk_rig *rig = *state;

	rig->silent_ms = 300;
	rig_server(rig, NBDKIT("memory", "8M"));
	rig_open_uri(rig, 0);
	assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 4096, rig->area), 0);
	rig_server_stop(rig);
	io.buf = rig->area;
	rig_submit(rig, &io);
	rig_log_await(rig, "s, with 1 requests in flight: they wait");
	assert_int_equal(gd_disk_queue_busy(rig->queue), 1);
	assert_int_equal(kill(rig->server, SIGCONT), 0);
	rig_wait_idle(rig);
	assert_int_equal(io.result, 0);
	assert_int_equal(rig_logged(rig, "the server answers again, after"), 1);
	assert_int_equal(rig_log_lines(rig), 2);
}

/* ... or does not, and the setting says how long that is borne. */
static void test_stopped_for_good(void **state)
{
	struct gd_disk_io ios[2] = {{.op = GD_DISK_WRITE, .length = 4096}, {.op = GD_DISK_READ, .length = 4096}};
	struct disk_rig *rig = *state;

	rig->silent_ms = 200;
	rig->timeout_ms = 3000;
	rig->reconnect_ms = 200;
	rig_server(rig, NBDKIT("memory", "8M"));
	rig_open_uri(rig, 0);
	rig_server_stop(rig);
	ios[0].buf = rig->area;
	ios[1].buf = rig->area + 4096;
	rig_submit(rig, &ios[0]);
	rig_submit(rig, &ios[1]);
	rig_wait_idle(rig);
	assert_int_equal(ios[0].result, -EIO);
	assert_int_equal(ios[1].result, -EIO);
	assert_int_equal(rig_logged(rig, "with 2 requests in flight: they fail after 3 s"), 1);
	assert_int_equal(rig_logged(rig, " s): 2 requests failed, 0 are done again"), 1);
	rig_log_await(rig, "no server for 0 s"); /* one that stands still takes connections, and no more */
	rig_server(rig, NBDKIT("memory", "8M"));
	rig_log_await(rig, "connected again");
	assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 4096, rig->area), 0);
}

/* Gone while idle, and back before anything is asked: no I/O sees it. */
static void test_gone_while_idle(void **state)
{
	struct disk_rig *rig = *state;

	rig_server(rig, NBDKIT("memory", "1M"));
	rig_open_uri(rig, 0);
	assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 4096, rig->area), 0);
	rig_server_kill(rig);
	rig_log_await(rig, "0 requests failed");
	rig_server(rig, NBDKIT("memory", "1M"));
	rig_log_await(rig, "connected again");
	assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 4096, rig->area), 0);
	assert_int_equal(rig_io(rig, GD_DISK_FLUSH, 0, 0, NULL), 0); /* nothing was written: nothing is lost */
}

/* Acknowledged writes that a flush never covered went with the server: the next flush says so, once. */
static void test_lost_writes(void **state)
{
	struct disk_rig *rig = *state;

	rig_server(rig, NBDKIT("memory", "1M"));
	rig_open_uri(rig, 0);
	assert_int_equal(rig_io(rig, GD_DISK_WRITE, 0, 4096, rig->area), 0);
	assert_int_equal(rig_io(rig, GD_DISK_FLUSH, 0, 0, NULL), 0);
	rig_server_kill(rig);
	rig_server(rig, NBDKIT("memory", "1M"));
	rig_log_await(rig, "connected again");
	assert_int_equal(rig_io(rig, GD_DISK_FLUSH, 0, 0, NULL), 0); /* all was flushed */
	assert_int_equal(rig_io(rig, GD_DISK_WRITE, 0, 4096, rig->area), 0);
	assert_int_equal(ftruncate(rig->stderr_log, 0), 0);
	rig_server_kill(rig);
	rig_log_await(rig, "(the server closed the connection): 0 requests failed");
	rig_server(rig, NBDKIT("memory", "1M"));
	assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 4096, rig->area), 0);
	assert_int_equal(rig_io(rig, GD_DISK_FLUSH, 0, 0, NULL), -EIO);
	assert_int_equal(rig_logged(rig, "flush of 0 bytes at 0: writes before it may be lost"), 1);
	assert_int_equal(rig_io(rig, GD_DISK_FLUSH, 0, 0, NULL), 0);
}

/* Another process, as far as the disk can tell: it has what was remembered, and connections of its own. */
static void reopen(struct disk_rig *rig)
{
	rig_close(rig);
	rig_open_uri(rig, 0);
}

/* The process may have ended at any instruction, and the server before the next one came: the first flush says so. */
static void test_lost_writes_of_a_former_process(void **state)
{
	struct disk_rig *rig = *state;
	uint32_t unflushed = 0;

	rig->unflushed = &unflushed;
	rig_server(rig, NBDKIT("memory", "1M"));
	rig_open_uri(rig, 0);
	assert_int_equal(rig_io(rig, GD_DISK_WRITE, 0, 4096, rig->area), 0);
	assert_true(gd_disk_unflushed(rig->disk));
	assert_int_equal(rig_io(rig, GD_DISK_FLUSH, 0, 0, NULL), 0);
	assert_false(gd_disk_unflushed(rig->disk));
	reopen(rig);
	assert_int_equal(rig_io(rig, GD_DISK_FLUSH, 0, 0, NULL), 0); /* all was flushed */
	assert_int_equal(rig_io(rig, GD_DISK_WRITE, 0, 4096, rig->area), 0);
	reopen(rig);
	assert_false(gd_disk_unflushed(rig->disk)); /* a flush would be in vain */
	reopen(rig);				    /* and it is remembered until a flush has failed */
	assert_int_equal(rig_io(rig, GD_DISK_FLUSH, 0, 0, NULL), -EIO);
	assert_int_equal(rig_logged(rig, "flush of 0 bytes at 0: writes before it may be lost"), 1);
	assert_int_equal(rig_io(rig, GD_DISK_FLUSH, 0, 0, NULL), 0);
	reopen(rig);
	assert_int_equal(rig_io(rig, GD_DISK_FLUSH, 0, 0, NULL), 0);
}

/* A flush of our own does not take the error that the guest's is owed. */
static void test_own_flush(void **state)
{
	struct gd_disk_io own = {.op = GD_DISK_FLUSH, .own = true, .done = rig_done};
	struct disk_rig *rig = *state;
	uint32_t unflushed = 0;

	rig->unflushed = &unflushed;
	rig_server(rig, NBDKIT("memory", "1M"));
	rig_open_uri(rig, 0);
	assert_int_equal(rig_io(rig, GD_DISK_WRITE, 0, 4096, rig->area), 0);
	assert_int_equal(rig_run(rig, &own), 0);
	reopen(rig);
	assert_int_equal(rig_io(rig, GD_DISK_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(rig_io(rig, GD_DISK_WRITE, 0, 4096, rig->area), 0);
	reopen(rig);
	assert_int_equal(rig_run(rig, &own), -EIO);
	assert_int_equal(rig_io(rig, GD_DISK_FLUSH, 0, 0, NULL), -EIO);
	assert_int_equal(rig_run(rig, &own), 0);
}

/* Away for long: waiting I/O fails after that time, later I/O at once, and all is well when the server is back. */
static void test_away_for_long(void **state)
{
	struct gd_disk_io later = {.op = GD_DISK_READ, .length = 4096};
	struct disk_rig *rig = *state;

	rig->reconnect_ms = 1000;
	rig_server(rig, NBDKIT("memory", "1M"));
	rig_open_uri(rig, 0);
	rig_server_kill(rig);
	rig_log_await(rig, "connection lost");
	assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 4096, rig->area), -EIO);
	assert_int_equal(rig_logged(rig, "no server for 1 s (connect: "), 1); /* and not before that */
	later.buf = rig->area;
	rig_submit(rig, &later);
	assert_int_equal(gd_disk_queue_busy(rig->queue), 0); /* without a wait */
	assert_int_equal(later.result, -EIO);
	rig_server(rig, NBDKIT("memory", "1M"));
	rig_log_await(rig, "connected again");
	assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 4096, rig->area), 0);
	assert_int_equal(rig_log_lines(rig), 3);
}

/* A server that does not answer does not hold the queue. */
static void test_cancel(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io io = {.op = GD_DISK_READ, .length = 4096, .buf = rig->area};

	rig_server(rig, NBDKIT("--filter=delay", "memory", "1M", "rdelay=30"));
	rig_open_uri(rig, 0);
	rig_submit(rig, &io);
	rig_poll(rig, 20);
	assert_int_equal(gd_disk_queue_busy(rig->queue), 1);
	gd_disk_queue_cancel(rig->queue);
	assert_int_equal(gd_disk_queue_busy(rig->queue), 0);
	assert_int_equal(io.result, -ECANCELED);
	assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 512, rig->area), -ECANCELED);
	rig_poll(rig, 20);
}

/* ... and one that is away neither. */
static void test_cancel_waiting(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io io = {.op = GD_DISK_READ, .length = 4096, .buf = rig->area};

	rig_server(rig, NBDKIT("memory", "1M"));
	rig_open_uri(rig, 0);
	rig_server_kill(rig);
	rig_log_await(rig, "connection lost");
	rig_submit(rig, &io);
	assert_int_equal(gd_disk_queue_busy(rig->queue), 1);
	gd_disk_queue_cancel(rig->queue);
	assert_int_equal(io.result, -ECANCELED);
	rig_poll(rig, 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_killed_and_back), TEST(test_stopped_and_on), TEST(test_stopped_for_good),
		TEST(test_gone_while_idle), TEST(test_lost_writes),    TEST(test_lost_writes_of_a_former_process),
		TEST(test_own_flush),	    TEST(test_away_for_long),  TEST(test_cancel),
		TEST(test_cancel_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
