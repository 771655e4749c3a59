/* SPDX-License-Identifier: MIT */
/* The control socket, changes of an image's size, and signals. */
#include "tests/host/host.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const uint16_t guests[] = {1, 0};

static void control_path(struct th_host *host, char path[96])
{
	snprintf(path, 96, "%s/control", host->dir);
}

static int control_connect(struct th_host *host)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	control_path(host, address.sun_path);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* The whole answer. */
static void control(struct th_host *host, const char *request, char *answer, size_t size)
{
	int fd = control_connect(host);
	size_t got = 0;
	ssize_t n;

	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
	while (got < size - 1 && (n = read(fd, answer + got, size - 1 - got)) > 0)
		got += (size_t)n;
	answer[got] = '\0';
	close(fd);
}

static void start(struct th_host *host)
{
	char path[96];

	control_path(host, path);
	th_grantiod_start(host, (const char *const[]){"--control", path, NULL});
}

static void stop(struct th_host *host)
{
	struct stat left;
	char path[96];

	th_grantiod_end(host, guests);
	control_path(host, path);
	assert_int_not_equal(stat(path, &left), 0); /* the socket goes with it */
}

static void answers_stats(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", TH_MIB);
	struct gp_disk *disk;
	char answer[1024], path[96];
	struct stat mode;

	start(host);
	control_path(host, path);
	assert_int_equal(stat(path, &mode), 0);
	assert_int_equal(mode.st_mode & 0777, 0600);
	control(host, "stats\n", answer, sizeof(answer));
	assert_string_equal(answer, "");
	th_domain_create(host, 1);
	th_disk_attach(host, 1, 0, image);
	disk = th_guest_open(host, 1, 0);
	th_guest_check(disk, image, 0, 8192, 1);
	control(host, "stats\n", answer, sizeof(answer));
	assert_ptr_equal(strstr(answer, "d1/xvda phase=served ioreqs="), answer);
	assert_non_null(strstr(answer, " transport=mmio target="));
	assert_non_null(strstr(answer, " bytes_read=8192 bytes_written=8192 "));
	assert_non_null(strstr(answer, " errors=0 "));
	assert_non_null(strstr(answer, " target=/"));
	th_guest_close(disk);
	stop(host);
}

static void answers_nonsense(void **state)
{
	struct th_host *host = *state;
	char answer[256], longest[200];

	start(host);
	control(host, "refresh 1/xvda\n", answer, sizeof(answer));
	assert_string_equal(answer, "error: '1/xvda': no such device\n");
	control(host, "quit\n", answer, sizeof(answer));
	assert_string_equal(answer, "error: 'quit': must be stats or refresh D/DEV\n");
	control(host, "\n", answer, sizeof(answer));
	assert_string_equal(answer, "error: '': must be stats or refresh D/DEV\n");
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	control(host, longest, answer, sizeof(answer));
	assert_string_equal(answer, "");
	stop(host);
}

/* Clients that say nothing: each ninth takes the oldest one's place, and everybody who asks is answered. */
static void silent_clients(void **state)
{
	struct th_host *host = *state;
	char answer[64], byte;
	int fds[12];

	start(host);
	for (unsigned i = 0; i < 12; i++)
		fds[i] = control_connect(host);
	control(host, "refresh 9/x\n", answer, sizeof(answer));
	assert_string_equal(answer, "error: '9/x': no such device\n");
	assert_int_equal(read(fds[0], &byte, 1), 0); /* closed */
	for (unsigned i = 0; i < 12; i++)
		close(fds[i]);
	stop(host);
}

/* A change by truncate(1) is seen by the guest within a second or two, and at once when asked to look. */
static void resize(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", 4 * TH_MIB);
	uint64_t sizes[] = {8 * TH_MIB, 2 * TH_MIB, 16 * TH_MIB};
	struct gp_disk *disk;
	char answer[64];

	start(host);
	th_domain_create(host, 1);
	th_disk_attach(host, 1, 0, image);
	disk = th_guest_open(host, 1, 0);
	th_guest_check(disk, image, 0, 4096, 1); /* writes: the watch has events of its own */
	for (unsigned i = 0; i < 3; i++) {
		struct timespec now, end;

		assert_int_equal(truncate(image, (off_t)sizes[i]), 0);
		if (i == 2) {
			control(host, "refresh d1/xvda\n", answer, sizeof(answer));
			assert_string_equal(answer, "ok\n");
		}
		clock_gettime(CLOCK_MONOTONIC, &end);
		end.tv_sec += TH_SECONDS;
		do /* the guest's interrupt handler reads the new size */
			clock_gettime(CLOCK_MONOTONIC, &now);
		while (gp_disk_size(disk) != sizes[i] && now.tv_sec < end.tv_sec && !sched_yield());
		assert_int_equal(gp_disk_size(disk), sizes[i]);
	}
	th_guest_check(disk, image, 15 * TH_MIB, 65536, 2);
	th_guest_close(disk);
	stop(host);
}

/* A socket that a crash left behind is replaced; one with somebody behind it is not. */
static void socket_left_behind(void **state)
{
	struct th_host *host = *state;
	char path[96], answer[64];
	pid_t first;

	start(host);
	assert_true(WIFSIGNALED(th_grantiod_stop(host, SIGKILL)));
	start(host);
	control(host, "stats\n", answer, sizeof(answer));
	first = host->grantiod;
	control_path(host, path);
	assert_int_equal(th_grantiod_run(host, (const char *const[]){"--control", path, NULL}, answer, sizeof(answer)),
			 1);
	th_log_wait(host, "<5>ready\n", 2);
	assert_int_equal(host->grantiod, first);
	control(host, "stats\n", answer, sizeof(answer));
	stop(host);
}

static void notifies_systemd(void **state)
{
	struct th_host *host = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = TH_SECONDS};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char message[64] = "";

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", host->dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	setenv("NOTIFY_SOCKET", address.sun_path, 1);
	start(host);
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(recv(fd, message, sizeof(message) - 1, 0), 7);
	assert_string_equal(message, "READY=1");
	close(fd);
	stop(host);
}

/* grantiod needs more descriptors than the soft limit that a shell has. */
static void takes_all_descriptors(void **state)
{
	struct rlimit limit, before, now;
	struct th_host *host = *state;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = before;
	limit.rlim_cur = 256;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	start(host);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(prlimit(host->grantiod, RLIMIT_NOFILE, NULL, &now), 0);
	assert_true(now.rlim_cur == now.rlim_max);
	stop(host);
}

/* Of its descriptors' numbers. */
static unsigned lowest_free(const struct th_host *host)
{
	struct stat entry;
	char path[64];

	for (unsigned i = 0;; i++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%u", (int)host->grantiod, i);
		if (lstat(path, &entry))
			return i;
	}
}

/* Without any left a client is told to go, and does not wait until there are some again. */
static void no_descriptors_left(void **state)
{
	struct th_host *host = *state;
	struct timeval patience = {.tv_sec = TH_SECONDS};
	struct rlimit limit, before;
	char answer[64];
	int fd;

	start(host);
	control(host, "stats\n", answer, sizeof(answer));
	assert_int_equal(prlimit(host->grantiod, RLIMIT_NOFILE, NULL, &before), 0);
	limit = before;
	limit.rlim_cur = lowest_free(host);
	assert_int_equal(prlimit(host->grantiod, RLIMIT_NOFILE, &limit, NULL), 0);
	for (unsigned i = 0; i < 20; i++) {
		fd = control_connect(host);
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
		assert_int_equal(read(fd, answer, sizeof(answer)), 0);
		close(fd);
	}
	assert_int_equal(prlimit(host->grantiod, RLIMIT_NOFILE, &before, NULL), 0);
	control(host, "refresh 1/xvda\n", answer, sizeof(answer));
	assert_string_equal(answer, "error: '1/xvda': no such device\n");
	stop(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(answers_stats, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(answers_nonsense, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(silent_clients, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(resize, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(socket_left_behind, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(notifies_systemd, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(takes_all_descriptors, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(no_descriptors_left, th_setup, th_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
