/* SPDX-License-Identifier: MIT */
/* Programs that a test runs, and xenstore. */
#include "tests/harness/private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- programs ---- */

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

int th_run_argv(struct th_machine *m, char *out, size_t size, char *const *argv)
{
	int64_t deadline = th_now_ms() + TH_LIMIT_MS;
	struct th_process process = {0};
	char none[1] = "";
	int fds[2], status = -1;

	if (!out) {
		out = none;
		size = sizeof(none);
	}
	out[0] = '\0';
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	th_process_start(m, &process, argv, 0, false, fds[1], fds[1]);
	close(fds[1]);
	if (output_read(fds[0], out, size, deadline))
		status = th_process_wait(&process, 0, (int)(deadline - th_now_ms()));
	close(fds[0]);
	if (status < 0) {
		th_process_wait(&process, SIGKILL, TH_LIMIT_MS);
		fail_msg("%s has not ended within %d ms: %s", argv[0], TH_LIMIT_MS, out);
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int th_run(struct th_machine *m, char *out, size_t size, ...)
{
	char *argv[TH_ARGS];
	unsigned argc = 0;
	va_list list;

	va_start(list, size);
	th_args(argv, &argc, list);
	va_end(list);
	return th_run_argv(m, out, size, argv);
}

int th_grantio(struct th_machine *m, char *out, size_t size, ...)
{
	char *argv[TH_ARGS] = {(char *)(uintptr_t)TH_GRANTIO};
	unsigned argc = 1;
	va_list list;

	va_start(list, size);
	th_args(argv, &argc, list);
	va_end(list);
	return th_run_argv(m, out, size, argv);
}

/* ---- xenstore ---- */

struct xs_handle *th_store(struct th_machine *m)
{
	return m->xs;
}

#define PATH_FORMAT(path, format)                             \
	do {                                                  \
		va_list list_;                                \
                                                              \
		va_start(list_, format);                      \
		vsnprintf(path, sizeof(path), format, list_); \
		va_end(list_);                                \
	} while (0)

char *th_store_read(struct th_machine *m, const char *format, ...)
{
	char path[512];

	PATH_FORMAT(path, format);
	return xs_read(m->xs, XBT_NULL, path, NULL);
}

void th_store_write(struct th_machine *m, const char *value, const char *format, ...)
{
	char path[512];

	PATH_FORMAT(path, format);
	if (!xs_write(m->xs, XBT_NULL, path, value, (unsigned)strlen(value)))
		fail_msg("write %s: %s", path, strerror(errno));
}

void th_store_rm(struct th_machine *m, const char *format, ...)
{
	char path[512];

	PATH_FORMAT(path, format);
	if (!xs_rm(m->xs, XBT_NULL, path))
		fail_msg("rm %s: %s", path, strerror(errno));
}

static bool event_wait(struct xs_handle *xs, int64_t deadline)
{
	struct pollfd wait = {.fd = xs_fileno(xs), .events = POLLIN};
	int64_t left = deadline - th_now_ms();
	char **event;

	if (left <= 0 || poll(&wait, 1, (int)left) != 1)
		return false;
	while ((event = xs_check_watch(xs)))
		free(event);
	return errno == EAGAIN;
}

void th_store_wait(struct th_machine *m, const char *value, int limit_ms, const char *format, ...)
{
	int64_t deadline = th_now_ms() + limit_ms;
	char path[512], *now = NULL;
	bool done = false, more = true;

	PATH_FORMAT(path, format);
	assert_true(xs_watch(m->xs, path, "th_store_wait"));
	while (more && !done) {
		more = event_wait(m->xs, deadline);
		free(now);
		now = xs_read(m->xs, XBT_NULL, path, NULL);
		done = value ? now && strcmp(now, value) == 0 : !now;
	}
	xs_unwatch(m->xs, path, "th_store_wait");
	if (!done) {
		if (m->grantiods)
			th_log_print(th_grantiod(m));
		fail_msg("%s is %s, not %s, after %d ms", path, now ? now : "gone", value ? value : "gone", limit_ms);
	}
	free(now);
}
