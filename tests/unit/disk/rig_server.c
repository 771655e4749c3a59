/* SPDX-License-Identifier: MIT */
#include "tests/unit/disk/rig.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* `listener`: -1, or the socket to hand over as systemd does (sd_listen_fds(3)): no need to wait until the server is
 * up. */
static pid_t program_start(const char *const *argv, int listener)
{
	pid_t parent = getpid(), pid = fork();
	char text[16];
	int null;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	dup2(null, 0);
	dup2(null, 1);
	dup2(null, 2);
	if (listener == 3)
		fcntl(3, F_SETFD, 0);
	else if (listener >= 0)
		dup2(listener, 3);
	if (listener >= 0) {
		snprintf(text, sizeof(text), "%d", (int)getpid());
		setenv("LISTEN_PID", text, 1);
		setenv("LISTEN_FDS", "1", 1);
	}
	unsetenv("LD_PRELOAD");
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

int rig_command(const char *const *argv)
{
	pid_t pid = program_start(argv, -1);
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) == 127)
		return -1;
	return WEXITSTATUS(status);
}

static void server_start(struct disk_rig *rig, const char *const *argv, int listener)
{
	rig_server_kill(rig);
	assert_int_equal(listen(listener, 16), 0);
	rig->server = program_start(argv, listener);
	close(listener);
	assert_true(rig->server > 0);
}

void rig_server(struct disk_rig *rig, const char *const *argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(rig->socket, sizeof(rig->socket), "%s/socket", rig->dir);
	snprintf(rig->uri, sizeof(rig->uri), "nbd+unix:///?socket=%s", rig->socket);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", rig->socket);
	unlink(rig->socket);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	server_start(rig, argv, listener);
}

void rig_server_tcp(struct disk_rig *rig, const char *const *argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
	snprintf(rig->uri, sizeof(rig->uri), "nbd://localhost:%u/", ntohs(address.sin_port));
	server_start(rig, argv, listener);
}

void rig_server_stop(struct disk_rig *rig)
{
	int status;

	assert_int_equal(kill(rig->server, SIGSTOP), 0);
	assert_int_equal(waitpid(rig->server, &status, WUNTRACED), rig->server);
	assert_true(WIFSTOPPED(status));
}

void rig_server_wait(struct disk_rig *rig)
{
	int watch = pidfd_open(rig->server, 0);
	struct pollfd ended = {.fd = watch, .events = POLLIN};

	assert_true(watch >= 0);
	if (poll(&ended, 1, RIG_LIMIT * 1000) != 1)
		fail_msg("the server has not ended after %d s", RIG_LIMIT);
	close(watch);
	waitpid(rig->server, NULL, 0);
	rig->server = 0;
}

void rig_server_kill(struct disk_rig *rig)
{
	if (rig->server > 0) {
		kill(rig->server, SIGKILL);
		waitpid(rig->server, NULL, 0);
	}
	rig->server = 0;
}

void rig_open_uri(struct disk_rig *rig, unsigned flags)
{
	if (rig_open(rig, rig->uri, flags))
		fail_msg("%s", rig->error);
}

void rig_log_await(struct disk_rig *rig, const char *text)
{
	double end = rig_now() + RIG_LIMIT;

	while (!rig_logged(rig, text)) {
		rig_poll(rig, 100);
		if (rig_now() > end)
			fail_msg("not logged: %s", text);
	}
}
