/* SPDX-License-Identifier: MIT */
/* Programs of domain 0 that a test runs to their end, and a machine that is started by one: `grantio model start`. */
#include "tests/host/host.h"
#include "tests/host/host_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS 32
#define LIMIT_MS  (TH_SECONDS * 1000)

struct th_process {
	pid_t pid;
	int pidfd;
	int out; /* of th_model_start(): the daemon may write to its end as long as this one is open */
};

/* In the child: nothing here returns. `out` gets what it prints and its errors. */
static void child(pid_t parent, char *const *argv, int out)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setpgid(0, 0); /* so that the processes which it starts can be ended with it */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127); /* the test ended before the call above */
	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	execvp(argv[0], argv);
	dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* The machine and its store are in the environment already: th_setup() put them there. */
static void process_start(struct th_process *process, char *const *argv, int out)
{
	pid_t parent = getpid();

	fflush(NULL);
	process->pid = fork();
	if (process->pid == 0)
		child(parent, argv, out);
	assert_true(process->pid > 0);
	process->pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
	assert_true(process->pidfd >= 0);
}

/* Send a signal (0: none) and wait for the end: the status as of waitpid(2), or -1 when it is still there. */
static int process_wait(struct th_process *process, int signal, int limit_ms)
{
	struct pollfd wait = {.fd = process->pidfd, .events = POLLIN};
	int status = 0;

	if (signal)
		kill(process->pid, signal); /* our child, not waited for yet: the number is its own */
	if (poll(&wait, 1, limit_ms) != 1)
		return -1;
	waitpid(process->pid, &status, 0);
	kill(-process->pid, SIGKILL); /* its group: that number is not free while a member of it lives */
	close(process->pidfd);
	process->pid = 0;
	return status;
}

/* ---- programs ----------------------------------------------------------------------------------------------- */

static void arguments_add(char **argv, unsigned argc, va_list list)
{
	const char *argument;

	while ((argument = va_arg(list, const char *))) {
		assert_true(argc < ARGUMENTS - 1);
		argv[argc++] = (char *)(uintptr_t)argument;
	}
	argv[argc] = NULL;
}

/* Read until the end or the deadline; what does not fit is read and dropped. True: the end. */
static bool output_read(int fd, char *out, size_t size, int64_t deadline)
{
	size_t used = 0;
	char buffer[4096];

	for (;;) {
		struct pollfd wait = {.fd = fd, .events = POLLIN};
		int64_t left = deadline - th_now_ms();
		ssize_t n;
		size_t keep;

		if (left <= 0 || poll(&wait, 1, (int)left) != 1)
			return false;
		n = read(fd, buffer, sizeof(buffer));
		if (n <= 0)
			return true;
		keep = (size_t)n < size - 1 - used ? (size_t)n : size - 1 - used;
		memcpy(out + used, buffer, keep);
		used += keep;
		out[used] = '\0';
	}
}

static int run(char *out, size_t size, char *const *argv)
{
	int64_t deadline = th_now_ms() + LIMIT_MS;
	struct th_process process = {0};
	char none[1] = "";
	int fds[2], status = -1;

	if (!out) {
		out = none;
		size = sizeof(none);
	}
	out[0] = '\0';
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	process_start(&process, argv, fds[1]);
	close(fds[1]);
	if (output_read(fds[0], out, size, deadline))
		status = process_wait(&process, 0, (int)(deadline - th_now_ms()));
	close(fds[0]);
	if (status < 0) {
		process_wait(&process, SIGKILL, LIMIT_MS);
		fail_msg("%s has not ended within %d s: %s", argv[0], TH_SECONDS, out);
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int th_run(char *out, size_t size, ...)
{
	char *argv[ARGUMENTS];
	va_list list;

	va_start(list, size);
	arguments_add(argv, 0, list);
	va_end(list);
	return run(out, size, argv);
}

int th_grantio(char *out, size_t size, ...)
{
	char *argv[ARGUMENTS] = {getenv("GRANTIO")};
	va_list list;

	va_start(list, size);
	arguments_add(argv, 1, list);
	va_end(list);
	return run(out, size, argv);
}

/* ---- a machine that a command starts ------------------------------------------------------------------------- */

/* The command prints the directory once the machine can be used. */
struct th_process *th_model_start(struct th_host *host)
{
	static const char *const words[] = {"model", "start", "--foreground", "--machine"};
	char *argv[] = {getenv("GRANTIO"),
			(char *)(uintptr_t)words[0],
			(char *)(uintptr_t)words[1],
			(char *)(uintptr_t)words[2],
			(char *)(uintptr_t)words[3],
			host->dir,
			NULL};
	struct th_process *process = calloc(1, sizeof(*process));
	char line[256];
	ssize_t got;
	int fds[2];

	assert_non_null(process);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	process_start(process, argv, fds[1]);
	close(fds[1]);
	process->out = fds[0];
	got = read(process->out, line, sizeof(line));
	if (got <= 0 || strncmp(line, host->dir, strlen(host->dir)) != 0)
		fail_msg("the machine does not start: %.*s", got > 0 ? (int)got : 0, line);
	return process;
}

int th_model_stop(struct th_process *process)
{
	int status = process_wait(process, SIGTERM, LIMIT_MS);

	if (status < 0)
		process_wait(process, SIGKILL, LIMIT_MS);
	close(process->out);
	if (status)
		print_error("the machine's daemon ended with wait status %d after SIGTERM\n", status);
	free(process);
	return status ? -1 : 0;
}
