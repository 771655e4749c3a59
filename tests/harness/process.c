/* SPDX-License-Identifier: MIT */
/* Processes of a test: started so that they die with it, waited for with a limit, and their logs. */
#include "tests/harness/private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int64_t th_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void th_args(char **argv, unsigned *argc, va_list list)
{
	const char *arg;

	while ((arg = va_arg(list, const char *))) {
		assert_true(*argc < TH_ARGS - 1);
		argv[(*argc)++] = (char *)(uintptr_t)arg;
	}
	argv[*argc] = NULL;
}

static void environment(const struct th_machine *m, unsigned domid, bool preload)
{
	char store[96], number[12];

	snprintf(number, sizeof(number), "%u", domid);
	if (domid)
		snprintf(store, sizeof(store), "%s/store.%u", m->dir, domid);
	else
		snprintf(store, sizeof(store), "%s/store", m->dir);
	setenv("GRANTIO_MACHINE", m->dir, 1);
	setenv("GRANTIO_DOMID", number, 1);
	setenv("XENSTORED_PATH", store, 1);
	/* A preloaded library comes before the sanitizer's own, which it otherwise objects to. */
	setenv("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=1", 1);
	if (preload)
		setenv("LD_PRELOAD", TH_MODEL_LIB, 1);
}

/* In the child: nothing here returns. */
static void child(const struct th_machine *m, pid_t parent, char *const *argv, unsigned domid, bool preload, int out,
		  int err)
{
	int null = open("/dev/null", O_RDWR);

	setpgid(0, 0); /* so that what it starts can be ended with it */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127); /* the test ended before the call above */
	dup2(null, STDIN_FILENO);
	dup2(out < 0 ? null : out, STDOUT_FILENO);
	dup2(err < 0 ? null : err, STDERR_FILENO);
	environment(m, domid, preload);
	execvp(argv[0], argv);
	dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

void th_process_start(struct th_machine *m, struct th_process *process, char *const *argv, unsigned domid, bool preload,
		      int out, int err)
{
	pid_t parent = getpid();

	fflush(NULL);
	process->pid = fork();
	if (process->pid == 0)
		child(m, parent, argv, domid, preload, out, err);
	if (process->pid < 0)
		fail_msg("fork: %s", strerror(errno));
	process->pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
	if (process->pidfd < 0)
		fail_msg("pidfd_open: %s", strerror(errno));
}

int th_process_wait(struct th_process *process, int signal_number, int limit_ms)
{
	struct pollfd wait = {.fd = process->pidfd, .events = POLLIN};
	int status = 0;

	if (signal_number)
		kill(process->pid, signal_number); /* our child, not waited for yet: the number is its own */
	if (poll(&wait, 1, limit_ms) != 1)
		return -1;
	waitpid(process->pid, &status, 0);
	kill(-process->pid, SIGKILL); /* what it started; its group's number is not free while that lives */
	close(process->pidfd);
	process->pid = 0;
	return status;
}

unsigned th_descriptors(pid_t pid)
{
	char path[32];
	unsigned count = 0;
	int fd;

	for (fd = 0; fd < 4096; fd++) {
		struct stat st;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
		count += lstat(path, &st) == 0;
	}
	return count;
}

/* ---- logs ---- */

char *th_log_load(const struct th_process *process, size_t *length)
{
	int fd = open(process->log, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t got;
	char *text;

	if (fd < 0 || fstat(fd, &st))
		fail_msg("%s: %s", process->log, strerror(errno));
	text = malloc((size_t)st.st_size + 1);
	assert_non_null(text);
	got = read(fd, text, (size_t)st.st_size);
	assert_true(got >= 0);
	close(fd);
	text[got] = '\0';
	if (length)
		*length = (size_t)got;
	return text;
}

void th_log_print(const struct th_process *process)
{
	size_t length;
	char *text = th_log_load(process, &length);

	print_error("--- the end of %s:\n%s---\n", process->log, text + (length > 4000 ? length - 4000 : 0));
	free(text);
}

bool th_log_has(struct th_machine *m, const char *text)
{
	return th_log_count(m, text) > 0;
}

unsigned th_log_count(struct th_machine *m, const char *text)
{
	struct th_process *process = th_grantiod(m);
	size_t length;
	char *log = th_log_load(process, &length), *line;
	unsigned count = 0;

	line = log + (process->mark < length ? process->mark : length);
	while ((line = strstr(line, text))) {
		count++;
		line += strcspn(line, "\n");
	}
	free(log);
	return count;
}

void th_log_mark(struct th_machine *m)
{
	free(th_log_load(th_grantiod(m), &th_grantiod(m)->mark));
}

/* Until the log grows, the process ends, or the limit: false then. */
static bool log_grown(int inotify, int pidfd, int64_t deadline)
{
	struct pollfd wait[2] = {{.fd = inotify, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};
	int64_t left = deadline - th_now_ms();
	char events[4096];

	if (left <= 0 || poll(wait, 2, (int)left) <= 0)
		return false;
	if (wait[0].revents)
		return read(inotify, events, sizeof(events)) > 0;
	return false; /* it has ended */
}

void th_log_wait(struct th_machine *m, const char *text, int limit_ms)
{
	struct th_process *process = th_grantiod(m);
	int inotify = inotify_init1(IN_CLOEXEC);
	int64_t deadline = th_now_ms() + limit_ms;
	bool more = true, found;

	assert_true(inotify >= 0 && inotify_add_watch(inotify, process->log, IN_MODIFY) >= 0);
	while (!(found = th_log_has(m, text)) && more)
		more = log_grown(inotify, process->pidfd, deadline);
	close(inotify);
	if (!found && !th_log_has(m, text)) {
		th_log_print(process);
		fail_msg("grantiod has not written \"%s\" within %d ms", text, limit_ms);
	}
}
