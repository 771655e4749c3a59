/* SPDX-License-Identifier: MIT */
/*
 * The N-th call to the system fails, for N = 1, 2, ... until everything succeeds. Whatever fails: one line about it, an
 * errno, every I/O done exactly once, nothing left open, and no crash (run it under ASan for the memory).
 */
#include "tests/unit/disk/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <libnbd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define IOS 8

static unsigned fault_at, fault_seen; /* fail the fault_at-th call; calls seen; 0: none fails */
static bool fault_ring;		      /* the ring's calls take part */
static bool ring_stuck;		      /* the ring takes nothing at all */
static bool lockless;		      /* a file system that has no locks */

static bool fault(void)
{
	return fault_at && ++fault_seen == fault_at;
}

/* Each wrapper is the linker's: --wrap=NAME sends calls of the disk room to __wrap_NAME. */
#define WRAP(type, name, parameters, arguments, failed, error) \
	type __real_##name parameters;                         \
	type __wrap_##name parameters;                         \
	type __wrap_##name parameters                          \
	{                                                      \
		if (fault()) {                                 \
			errno = error;                         \
			return failed;                         \
		}                                              \
		return __real_##name arguments;                \
	}

WRAP(void *, calloc, (size_t n, size_t size), (n, size), NULL, ENOMEM)
WRAP(void *, malloc, (size_t size), (size), NULL, ENOMEM)
WRAP(char *, strdup, (const char *text), (text), NULL, ENOMEM)
WRAP(int, fstat64, (int fd, struct stat *st), (fd, st), -1, EIO)
WRAP(ssize_t, readlink, (const char *path, char *out, size_t size), (path, out, size), -1, ENOENT)
WRAP(int, statx, (int fd, const char *path, int flags, unsigned mask, struct statx *out), (fd, path, flags, mask, out),
     -1, ENOSYS)
WRAP(struct nbd_handle *, nbd_create, (void), (), NULL, ENOMEM)
WRAP(int, nbd_set_export_name, (struct nbd_handle * handle, const char *name), (handle, name), -1, ENOMEM)
WRAP(int, nbd_aio_connect_unix, (struct nbd_handle * handle, const char *path), (handle, path), -1, ECONNREFUSED)
WRAP(int, nbd_aio_notify_read, (struct nbd_handle * handle), (handle), -1, EIO)
WRAP(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags), -1, EPIPE)
WRAP(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags), -1, ECONNRESET)
WRAP(ssize_t, getrandom, (void *to, size_t bytes, unsigned flags), (to, bytes, flags), -1, ENOSYS)

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
	mode_t mode;
	va_list args;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	if (fault()) {
		errno = EMFILE;
		return -1;
	}
	return __real_open64(path, flags, mode);
}

int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...)
{
	void *argument;
	va_list args;

	va_start(args, command);
	argument = va_arg(args, void *);
	va_end(args);
	if (fault() || (lockless && command == F_OFD_SETLK)) {
		errno = ENOLCK;
		return -1;
	}
	return __real_fcntl64(fd, command, argument);
}

/* The ring takes nothing: seen only where the queue submits because the ring is full. */
int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring)
{
	return ring_stuck || (fault_ring && fault()) ? -EBUSY : __real_io_uring_submit(ring);
}

static int errors;

static void done(struct gd_disk_io *io)
{
	rig_done_count++;
	errors += io->result != 0;
	if (io->result > 0)
		fail_msg("result %d", io->result);
}

/* Some of everything, all at once; true when all of it succeeded. */
static bool work(struct disk_rig *rig)
{
	static const enum gd_disk_op ops[IOS] = {GD_DISK_READ,	  GD_DISK_WRITE, GD_DISK_READ, GD_DISK_WRITE_ZEROES,
						 GD_DISK_DISCARD, GD_DISK_FLUSH, GD_DISK_READ, GD_DISK_WRITE};
	struct gd_disk_io ios[IOS];
	double end = rig_now() + RIG_LIMIT;
	unsigned i;

	errors = 0;
	rig_done_count = 0;
	for (i = 0; i < IOS; i++) {
		ios[i] = (struct gd_disk_io){.op = ops[i],
					     .offset = i * 65536u,
					     .length = 65536,
					     .buf = rig->area + i * 65536u,
					     .done = done};
		gd_disk_submit(rig->queue, &ios[i]);
	}
	while (gd_disk_queue_busy(rig->queue)) {
		rig_poll(rig, 1000);
		assert_true(rig_now() < end);
	}
	assert_int_equal(rig_done_count, IOS);
	return !errors;
}

static int fds_now(void)
{
	int n = 0, fd;

	for (fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Open, work, close, with a fault; true when nothing failed. Afterwards all is as before. */
static bool attempt(struct disk_rig *rig, const char *target, unsigned n)
{
	int fds = fds_now(), result;
	bool good = false;

	fault_seen = 0;
	fault_at = n;
	assert_int_equal(ftruncate(rig->stderr_log, 0), 0);
	result = rig_open(rig, target, RIG_DISCARD);
	if (result) {
		assert_true(result < 0);
		/* gd_disk_open() gives a line; what fails later is said by the log, or is want of memory */
		assert_true(strlen(rig->error) || rig_log_lines(rig) || result == -ENOMEM);
	} else {
		assert_string_equal(rig->error, "");
		good = work(rig);
		rig_close(rig);
	}
	good = good && fault_seen < n;
	fault_at = 0;
	assert_int_equal(fds_now(), fds);
	return good;
}

static unsigned loop(struct disk_rig *rig, const char *target)
{
	unsigned n;

	for (n = 1; !attempt(rig, target, n); n++)
		if (n == 500)
			fail_msg("500 faults and no end");
	assert_true(rig_open(rig, target, 0) == 0); /* without faults all is well */
	assert_true(work(rig));
	return n;
}

static void test_file(void **state)
{
	struct disk_rig *rig = *state;

	rig_image(rig, "a.raw", 1 << 20);
	assert_in_range(loop(rig, rig->path), 10, 499);
}

/* ... with a ring of two SQEs, whose submission fails too. */
static void test_file_ring(void **state)
{
	struct disk_rig *rig = *state;

	fault_ring = true;
	rig->ring_entries = 2;
	rig_image(rig, "a.raw", 1 << 20);
	assert_in_range(loop(rig, rig->path), 10, 499);
	fault_ring = false;
}

static void test_nbd(void **state)
{
	static const char *const argv[] = {"nbdkit", "-f", "--exit-with-parent", "memory", "1M", NULL};
	struct disk_rig *rig = *state;

	rig_server(rig, argv);
	assert_in_range(loop(rig, rig->uri), 10, 499);
}

static void test_nbd_ring(void **state)
{
	static const char *const argv[] = {"nbdkit", "-f", "--exit-with-parent", "memory", "1M", NULL};
	struct disk_rig *rig = *state;

	fault_ring = true;
	rig->ring_entries = 1;
	rig_server(rig, argv);
	assert_in_range(loop(rig, rig->uri), 10, 499);
	fault_ring = false;
}

/* Opened without a lock: nothing says that the I/O of a former process has ended. */
static void test_file_lockless(void **state)
{
	struct disk_rig *rig = *state;

	rig_image(rig, "a.raw", 1 << 20);
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	assert_true(rig->info.fenced);
	rig_close(rig);
	lockless = true;
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	assert_false(rig->info.fenced);
	assert_int_equal(rig_logged(rig, "cannot be locked"), 1);
	lockless = false;
}

static void ring_fill(struct disk_rig *rig)
{
	struct io_uring_sqe *sqe;

	ring_stuck = true;
	while ((sqe = io_uring_get_sqe(&rig->ring))) {
		io_uring_prep_nop(sqe);
		sqe->user_data = 0; /* nobody's */
	}
}

/* No room in the ring: I/O waits if something is in flight that will take it up again, and fails otherwise. */
static void test_file_ring_stuck(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io ios[IOS];
	unsigned i;

	rig->ring_entries = 2;
	rig_image(rig, "a.raw", 1 << 20);
	assert_int_equal(rig_open(rig, rig->path, 0), 0);
	ring_stuck = true;
	for (i = 0; i < IOS; i++) {
		ios[i] = (struct gd_disk_io){.op = GD_DISK_READ,
					     .offset = i * 4096u,
					     .length = 4096,
					     .buf = rig->area + i * 4096u,
					     .done = rig_done};
		gd_disk_submit(rig->queue, &ios[i]);
	}
	assert_int_equal(rig_done_count, 0);
	ring_stuck = false;
	rig_wait_idle(rig);
	for (i = 0; i < IOS; i++)
		assert_int_equal(ios[i].result, 0);
	ring_fill(rig);
	gd_disk_submit(rig->queue, &ios[0]);
	assert_int_equal(rig_done_count, IOS + 1);
	assert_int_equal(ios[0].result, -EAGAIN);
	ring_stuck = false;
	assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 4096, rig->area), 0);
}

/* No room to wait for the server's answers, nor for time to pass: nothing hangs, and the next I/O sets it going again.
 */
static void test_nbd_ring_stuck(void **state)
{
	static const char *const argv[] = {"nbdkit", "-f", "--exit-with-parent", "--filter=delay",
					   "memory", "1M", "wdelay=30",		 "delay-zero=50ms",
					   NULL};
	/* The answer to the quick one is a header alone, so that it comes in one piece. */
	struct gd_disk_io slow = {.op = GD_DISK_WRITE, .length = 512}, next = {.op = GD_DISK_READ, .length = 512},
			  quick = {.op = GD_DISK_WRITE_ZEROES, .offset = 512, .length = 512};
	struct disk_rig *rig = *state;
	double end;

	rig_server(rig, argv);
	assert_int_equal(rig_open(rig, rig->uri, 0), 0);
	slow.buf = rig->area;
	next.buf = rig->area + 1024;
	rig_submit(rig, &slow);
	rig_submit(rig, &quick);
	ring_fill(rig);
	for (end = rig_now() + RIG_LIMIT;
	     !rig_done_count && rig_now() < end;) { /* the ring is stuck: only look at it */
		struct io_uring_cqe *cqe, copy;

		if (io_uring_peek_cqe(&rig->ring, &cqe))
			continue;
		memcpy(&copy, cqe, sizeof(copy));
		io_uring_cqe_seen(&rig->ring, cqe);
		gd_disk_queue_cqe(rig->queue, &copy);
	}
	assert_int_equal(quick.result, 0);
	assert_int_equal(gd_disk_queue_busy(rig->queue), 0);
	assert_int_equal(slow.result, -EIO);
	assert_int_equal(rig_logged(rig, "connection lost (the ring takes no more): 1 requests failed"), 1);
	rig_submit(rig, &next);
	assert_int_equal(gd_disk_queue_busy(rig->queue), 0);
	assert_int_equal(next.result, -EIO);
	ring_stuck = false;
	rig_submit(rig, &next); /* fails too, but time is waited for again */
	while (!rig_logged(rig, "connected again")) {
		rig_poll(rig, 1000);
		assert_true(rig_now() < end + RIG_LIMIT);
	}
	assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 4096, rig->area), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_file),	  TEST(test_file_ring),	      TEST(test_nbd),
		TEST(test_nbd_ring),	  TEST(test_file_ring_stuck), TEST(test_nbd_ring_stuck),
		TEST(test_file_lockless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
