/* SPDX-License-Identifier: MIT */
#include "tests/unit/disk/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static char *log_text(struct disk_rig *rig, char *out, size_t size)
{
	ssize_t n = pread(rig->stderr_log, out, size - 1, 0);

	assert_true(n >= 0);
	out[n] = 0;
	return out;
}

static void test_lines(void **state)
{
	struct disk_rig *rig = *state;
	char text[256];

	gd_log(NULL, GD_NOTICE, "ready");
	gd_log(&rig->log, GD_INFO, "serving %s", "/a b");
	gd_log(&rig->log, GD_DEBUG, "not written at this level");
	assert_string_equal(log_text(rig, text, sizeof(text)), "<5>ready\n<6>d1/xvda: serving /a b\n");
}

static void test_level(void **state)
{
	struct disk_rig *rig = *state;
	char text[256];

	gd_log_level(GD_ERR);
	gd_log(&rig->log, GD_WARN, "no");
	gd_log_guest(&rig->log, GD_WARN, "no");
	gd_log(&rig->log, GD_ERR, "yes");
	gd_log_level(GD_INFO);
	assert_string_equal(log_text(rig, text, sizeof(text)), "<3>d1/xvda: yes\n");
}

static void test_escape(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"plain \\ \"text\" 100%", "plain \\ \"text\" 100%"},
		{"a\nb\tc\rd\x1b[0m\x7f", "a\\nb\\tc\\x0dd\\x1b[0m\\x7f"},
		{"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x92\xbe",
		 "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x92\xbe"},
		{"\xc2\x9b", "\\xc2\\x9b"},				 /* a C1 control */
		{"\x9b \xff \xc3", "\\x9b \\xff \\xc3"},		 /* not UTF-8; cut off */
		{"\xc0\xaf \xed\xa0\x80", "\\xc0\\xaf \\xed\\xa0\\x80"}, /* overlong; a surrogate */
		{"\xe2\x82", "\\xe2\\x82"},
		{"", ""},
	};
	char once[256], twice[256], tight[4];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(gd_log_escape(once, sizeof(once), cases[i].in), strlen(cases[i].out));
		assert_string_equal(once, cases[i].out);
		gd_log_escape(twice, sizeof(twice), once);
		assert_string_equal(twice, once);
	}
	assert_int_equal(gd_log_escape(tight, sizeof(tight), "ab\n"), 2); /* no half escapes */
	assert_string_equal(tight, "ab");
	assert_int_equal(gd_log_escape(tight, 0, "ab"), 0);
}

static void test_one_line(void **state)
{
	struct disk_rig *rig = *state;
	char text[256], device[64] = "xv\nda";
	struct gd_log log;

	gd_log_init(&log, 7, device);
	gd_log(&log, GD_ERR, "image \"%s\"", "x\n<0>forged");
	assert_string_equal(log_text(rig, text, sizeof(text)), "<3>d7/xv\\nda: image \"x\\n<0>forged\"\n");
	memset(device, 'x', sizeof(device) - 1);
	device[sizeof(device) - 1] = 0;
	gd_log_init(&log, 65535, device);
	assert_int_equal(strlen(log.name), sizeof(log.name) - 1);
}

static void test_long_line(void **state)
{
	struct disk_rig *rig = *state;
	char text[4096], *big = malloc(3000);

	memset(big, 'x', 2999);
	big[2999] = 0;
	gd_log(&rig->log, GD_ERR, "%s", big);
	log_text(rig, text, sizeof(text));
	assert_true(strlen(text) <= 1024 && strlen(text) > 1000);
	assert_string_equal(text + strlen(text) - 5, "x...\n");
	memset(big, '\n', 1000); /* fits as it is, not escaped */
	big[1000] = 0;
	assert_int_equal(ftruncate(rig->stderr_log, 0), 0);
	gd_log(&rig->log, GD_ERR, "%s", big);
	log_text(rig, text, sizeof(text));
	assert_true(strlen(text) <= 1024);
	assert_string_equal(text + strlen(text) - 6, "\\n...\n");
	free(big);
}

static void test_errno_kept(void **state)
{
	int kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);

	(void)state;
	close(STDERR_FILENO);
	errno = ENOSPC;
	gd_log(NULL, GD_ERR, "into nothing");
	assert_int_equal(errno, ENOSPC);
	dup2(kept, STDERR_FILENO);
	close(kept);
	assert_string_equal(gd_log_errno(-ENOSPC), "No space left on device");
	assert_string_equal(gd_log_errno(ENOSPC), "No space left on device");
	assert_string_equal(gd_log_errno(99999), "unknown error");
}

static void test_rate(void **state)
{
	struct disk_rig *rig = *state;
	unsigned i;

	for (i = 0; i < 35; i++)
		gd_log_guest(&rig->log, GD_WARN, "bad request %u", i);
	assert_int_equal(rig_log_lines(rig), 10);
	assert_int_equal(rig_logged(rig, "bad request 9"), 1);
	gd_log(&rig->log, GD_WARN, "what is not the guest's doing is not limited");
	assert_int_equal(rig_log_lines(rig), 11);
	rig->log.window_ns -= 10000000000u; /* ten seconds go by */
	gd_log_guest(&rig->log, GD_WARN, "bad request again");
	assert_int_equal(rig_logged(rig, "<4>d1/xvda: 25 more lines like the last ones were not written"), 1);
	assert_int_equal(rig_logged(rig, "bad request again"), 1);
	assert_int_equal(rig_log_lines(rig), 13);
}

static void *talk(void *opaque)
{
	unsigned i;

	for (i = 0; i < 1000; i++)
		gd_log_guest(opaque, GD_WARN, "from a thread");
	return NULL;
}

static void test_threads(void **state)
{
	struct disk_rig *rig = *state;
	pthread_t threads[4];
	unsigned i;

	gd_log_guest(&rig->log, GD_WARN, "from a thread");
	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, talk, &rig->log), 0);
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(rig_logged(rig, "<4>d1/xvda: from a thread"), 10);
	assert_int_equal(rig->log.dropped, 3991);
}

#define LINES 2000u

/* Lines of stderr as far as they have come, and of these: what the last "lines were lost" says. */
static unsigned lines_read(int fd, unsigned *lost)
{
	char text[4096], *at;
	unsigned lines = 0;
	FILE *in = fdopen(fd, "r");

	assert_non_null(in);
	while (fgets(text, sizeof(text), in)) {
		at = strstr(text, " lines were lost: stderr was full");
		if (at)
			*lost = (unsigned)strtoul(text + 3, NULL, 10);
		lines += !at;
	}
	fclose(in);
	return lines;
}

/* `reader` and `writer`: the ends of something that holds less than LINES lines. */
static void nobody_reads(struct disk_rig *rig, int reader, int writer)
{
	int flags = fcntl(writer, F_GETFL), again = dup(reader);
	unsigned lost = 0, lines;

	assert_int_equal(dup2(writer, STDERR_FILENO), STDERR_FILENO);
	for (unsigned i = 0; i < LINES; i++)
		gd_log(&rig->log, GD_INFO, "line %u", i); /* comes back */
	assert_int_equal(fcntl(STDERR_FILENO, F_GETFL), flags);
	assert_int_equal(fcntl(reader, F_SETFL, O_NONBLOCK), 0);
	lines = lines_read(reader, &lost);
	assert_in_range(lines, 10, LINES - 1);
	assert_int_equal(lost, 0);
	gd_log(&rig->log, GD_INFO, "there is room again");
	assert_int_equal(lines_read(again, &lost), 1);
	assert_int_equal(lines + lost, LINES);
	assert_int_equal(dup2(rig->stderr_log, STDERR_FILENO), STDERR_FILENO);
	gd_log(NULL, GD_INFO, "elsewhere");
	assert_int_equal(rig_logged(rig, "<6>elsewhere"), 1);
	close(writer);
}

static void test_full_pipe(void **state)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_true(fcntl(ends[1], F_SETPIPE_SZ, 4096) >= 4096);
	nobody_reads(*state, ends[0], ends[1]);
}

/* As the journal's. */
static void test_full_socket(void **state)
{
	int ends[2], size = 4096;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	nobody_reads(*state, ends[0], ends[1]);
}

/* A pipe that cannot be opened again, here for want of descriptors. */
static void test_full_pipe_without_descriptors(void **state)
{
	struct rlimit before, none;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_true(fcntl(ends[1], F_SETPIPE_SZ, 16384) >= 16384);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){.rlim_cur = 3, .rlim_max = before.rlim_max};
	assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	gd_log(NULL, GD_INFO, "finds that it cannot be");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(read(ends[0], (char[64]){0}, 64), 27);
	nobody_reads(*state, ends[0], ends[1]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lines, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_level, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_escape, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_one_line, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_long_line, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_errno_kept, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_rate, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_threads, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_full_pipe, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_full_socket, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_full_pipe_without_descriptors, rig_setup, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
