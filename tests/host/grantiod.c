/* SPDX-License-Identifier: MIT */
/* grantiod as a process of the test: its log, its end, and what it left behind. */
#include "tests/host/host.h"
#include "tests/host/host_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARGUMENTS 16
#define STEP_MS	  2 /* between two looks at counts whose change is not signalled to anybody */

struct th_log {
	int fd; /* grantiod's stderr; -1: it does not run */
	pthread_t thread;
	pthread_mutex_t lock; /* the rest */
	pthread_cond_t more;
	char *text;
	size_t length;
};

/* ---- log ---------------------------------------------------------------------------------------------------- */

struct th_log *th_log_open(void)
{
	struct th_log *log = calloc(1, sizeof(*log));
	pthread_condattr_t clock;

	assert_non_null(log);
	log->fd = -1;
	pthread_mutex_init(&log->lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&log->more, &clock);
	pthread_condattr_destroy(&clock);
	return log;
}

void th_log_close(struct th_log *log)
{
	free(log->text);
	pthread_cond_destroy(&log->more);
	pthread_mutex_destroy(&log->lock);
	free(log);
}

static void *log_run(void *opaque)
{
	struct th_log *log = opaque;
	char buffer[4096];
	ssize_t got;

	while ((got = read(log->fd, buffer, sizeof(buffer))) > 0 || (got < 0 && errno == EINTR)) {
		if (got < 0)
			continue;
		fwrite(buffer, 1, (size_t)got, stderr);
		pthread_mutex_lock(&log->lock);
		log->text = realloc(log->text, log->length + (size_t)got + 1);
		memcpy(log->text + log->length, buffer, (size_t)got);
		log->length += (size_t)got;
		log->text[log->length] = '\0';
		pthread_cond_broadcast(&log->more);
		pthread_mutex_unlock(&log->lock);
	}
	return NULL;
}

/* Under the lock. */
static unsigned log_count(const struct th_log *log, const char *text)
{
	unsigned count = 0;

	for (const char *at = log->text; at && (at = strstr(at, text)); at++)
		count++;
	return count;
}

unsigned th_log_count(struct th_host *host, const char *text)
{
	unsigned count;

	pthread_mutex_lock(&host->log->lock);
	count = log_count(host->log, text);
	pthread_mutex_unlock(&host->log->lock);
	return count;
}

void th_log_wait(struct th_host *host, const char *text, unsigned count)
{
	struct timespec end;
	unsigned found;
	int err = 0;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += TH_SECONDS;
	pthread_mutex_lock(&host->log->lock);
	while ((found = log_count(host->log, text)) < count && !err)
		err = pthread_cond_timedwait(&host->log->more, &host->log->lock, &end);
	pthread_mutex_unlock(&host->log->lock);
	if (found < count)
		fail_msg("the log has '%s' %u times, waited for %u", text, found, count);
}

/* ---- grantiod ----------------------------------------------------------------------------------------------- */

static unsigned entries(pid_t pid, const char *what)
{
	char path[64];
	unsigned count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

unsigned th_grantiod_descriptors(const struct th_host *host)
{
	return entries(host->grantiod, "fd");
}

static void grantiod_exec(int log, const char *const *arguments)
{
	const char *argv[ARGUMENTS + 2] = {getenv("GRANTIOD")}, *library = getenv("GRANTIO_MODEL_LIB");

	for (unsigned i = 0; arguments && arguments[i] && i < ARGUMENTS; i++)
		argv[i + 1] = arguments[i];
	if (library)
		setenv("LD_PRELOAD", library, 1);
	dup2(log, STDERR_FILENO);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that is killed leaves no grantiod behind */
	if (argv[0])
		execv(argv[0], (char *const *)argv);
	_exit(127);
}

void th_grantiod_start(struct th_host *host, const char *const *arguments)
{
	unsigned ready = th_log_count(host, "<5>ready\n");
	int log[2];

	assert_int_equal(host->grantiod, 0);
	assert_int_equal(pipe2(log, O_CLOEXEC), 0);
	host->grantiod = fork();
	assert_true(host->grantiod >= 0);
	if (!host->grantiod)
		grantiod_exec(log[1], arguments);
	close(log[1]);
	host->log->fd = log[0];
	assert_int_equal(pthread_create(&host->log->thread, NULL, log_run, host->log), 0);
	th_log_wait(host, "<5>ready\n", ready + 1);
	host->fds = th_grantiod_descriptors(host);
	host->threads = entries(host->grantiod, "task");
}

void th_grantiod_pause(struct th_host *host)
{
	int status;

	kill(host->grantiod, SIGSTOP);
	assert_int_equal(waitpid(host->grantiod, &status, WUNTRACED), host->grantiod);
	assert_true(WIFSTOPPED(status));
}

int th_grantiod_stop(struct th_host *host, int signal)
{
	int status = -1;

	kill(host->grantiod, signal);
	/* Bounded: it ends itself after 10 s (STOP_SECONDS), and the test runner ends us. */
	while (waitpid(host->grantiod, &status, 0) < 0 && errno == EINTR)
		;
	host->grantiod = 0;
	pthread_join(host->log->thread, NULL); /* at the end of its pipe */
	close(host->log->fd);
	host->log->fd = -1;
	return status;
}

int th_grantiod_run(struct th_host *host, const char *const *arguments, char *text, size_t size)
{
	size_t length = 0;
	ssize_t got;
	int status, log[2];
	pid_t child;

	(void)host;
	assert_int_equal(pipe2(log, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child)
		grantiod_exec(log[1], arguments);
	close(log[1]);
	while ((got = read(log[0], text + length, size - 1 - length)) > 0)
		length += (size_t)got;
	text[length] = '\0';
	close(log[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

bool th_left_over(struct th_host *host, const uint16_t *domids, char *text, size_t size)
{
	struct gm_stats stats;
	unsigned fds, threads;

	assert_int_equal(gm_domain_stats(host->machine, 0, &stats), 0);
	if (stats.mappings_held || stats.ports) {
		snprintf(text, size, "domain 0: %u mappings, %u ports", stats.mappings_held, stats.ports);
		return true;
	}
	for (; domids && *domids; domids++) {
		if (gm_domain_stats(host->machine, *domids, &stats) || (!stats.grants_active && !stats.ioreq_servers))
			continue; /* gone, or as it should be */
		snprintf(text, size, "domain %u: %u grants in use, %u ioreq servers", *domids, stats.grants_active,
			 stats.ioreq_servers);
		return true;
	}
	if (!host->grantiod)
		return false;
	fds = th_grantiod_descriptors(host);
	threads = entries(host->grantiod, "task");
	snprintf(text, size, "grantiod: %u descriptors (at rest %u), %u threads (%u)", fds, host->fds, threads,
		 host->threads);
	return fds != host->fds || threads != host->threads;
}

void th_quiet(struct th_host *host, const uint16_t *domids)
{
	int64_t end = th_now_ms() + TH_SECONDS * 1000;
	char text[128];

	while (th_left_over(host, domids, text, sizeof(text))) {
		if (th_now_ms() > end)
			fail_msg("left behind: %s", text);
		poll(NULL, 0, STEP_MS);
	}
}

void th_grantiod_end(struct th_host *host, const uint16_t *domids)
{
	int status = th_grantiod_stop(host, SIGTERM);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	th_quiet(host, domids);
}
