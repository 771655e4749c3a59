/* SPDX-License-Identifier: MIT */
/* An NBD server stops answering: its guest's disk waits or fails, as the settings say, and no other disk does. */
#include "tests/host/host.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const uint16_t guests[] = {1, 2, 0};

static pid_t server;
static char uri[192];

/* nbdkit at a socket that is there before it is (sd_listen_fds(3)): nothing has to be waited for. */
static void server_run(int listener)
{
	char pid[16];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (listener == 3)
		fcntl(3, F_SETFD, 0);
	else
		dup2(listener, 3);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
	unsetenv("LD_PRELOAD");
	execlp("nbdkit", "nbdkit", "-f", "--exit-with-parent", "memory", "4M", (char *)NULL);
	_exit(127);
}

static void server_start(struct th_host *host)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/nbd", host->dir);
	snprintf(uri, sizeof(uri), "nbd+unix:///?socket=%s", address.sun_path);
	unlink(address.sun_path);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 16), 0);
	server = fork();
	if (!server)
		server_run(listener);
	close(listener);
	assert_true(server > 0);
}

static void server_pause(void)
{
	int status;

	assert_int_equal(kill(server, SIGSTOP), 0);
	assert_int_equal(waitpid(server, &status, WUNTRACED), server);
	assert_true(WIFSTOPPED(status));
}

static int teardown(void **state)
{
	if (server > 0) {
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
	}
	server = 0;
	return th_teardown(state);
}

static void *write_run(void *disk)
{
	static char data[4096];

	return (void *)(intptr_t)gp_disk_write(disk, data, 0, sizeof(data));
}

/* A write to the disk whose server stands still, and one to another guest's disk, which must not wait for it. */
static pthread_t both_write(struct gp_disk *still, struct gp_disk *other, const char *image)
{
	pthread_t writer;

	assert_int_equal(pthread_create(&writer, NULL, write_run, still), 0);
	th_guest_check(other, image, 0, 4096, 7);
	return writer;
}

static int written(pthread_t writer)
{
	void *result;

	assert_int_equal(pthread_join(writer, &result), 0);
	return (int)(intptr_t)result;
}

static void a_time_out_fails_it(void **state)
{
	static const char *const arguments[] = {"--nbd-timeout=2", "--nbd-reconnect=0", NULL};
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", 4 * TH_MIB);
	struct gp_disk *still, *other;

	server_start(host);
	th_grantiod_start(host, arguments);
	th_domain_create(host, 1);
	th_disk_attach(host, 1, 0, uri);
	th_domain_create(host, 2);
	th_disk_attach(host, 2, 0, image);
	still = th_guest_open(host, 1, 0);
	other = th_guest_open(host, 2, 0);
	server_pause();
	assert_int_equal(written(both_write(still, other, image)), -EIO);
	th_log_wait(host, "connection lost (no answer for ", 1);
	assert_int_equal(kill(server, SIGCONT), 0);
	assert_int_equal(written(both_write(still, other, image)), 0); /* it waits for the connection, which is made */
	th_guest_close(still);
	th_guest_close(other);
	th_grantiod_end(host, guests);
}

static void without_one_it_waits(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", 4 * TH_MIB);
	struct gp_disk *still, *other;
	pthread_t writer;

	server_start(host);
	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_disk_attach(host, 1, 0, uri);
	th_domain_create(host, 2);
	th_disk_attach(host, 2, 0, image);
	still = th_guest_open(host, 1, 0);
	other = th_guest_open(host, 2, 0);
	server_pause();
	writer = both_write(still, other, image);
	th_log_wait(host, "s, with 1 requests in flight: they wait", 1);
	assert_int_equal(kill(server, SIGCONT), 0);
	assert_int_equal(written(writer), 0);
	th_log_wait(host, "the server answers again, after ", 1);
	th_guest_close(still);
	th_guest_close(other);
	th_grantiod_end(host, guests);
}

/* One that takes connections and says nothing: the reason is in xenstore before xl gives up, and it is refused. */
static void a_silent_one_is_refused(void **state)
{
	struct th_host *host = *state;

	server_start(host);
	server_pause();
	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_disk_write(host, 1, 0, uri, NULL);
	assert_false(th_disk_verdict(host, 1, 0));
	th_log_wait(host, "no answer in time", 1);
	th_grantiod_end(host, guests);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_time_out_fails_it, th_setup, teardown),
		cmocka_unit_test_setup_teardown(without_one_it_waits, th_setup, teardown),
		cmocka_unit_test_setup_teardown(a_silent_one_is_refused, th_setup, teardown),
	};

	return cmocka_run_group_tests_name("nbd", tests, NULL, NULL);
}
