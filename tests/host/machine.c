/* SPDX-License-Identifier: MIT */
/* The machine and its threads, and grantiod as a process. */
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
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "model/store/store.h"

#define ARGUMENTS 16
#define STEP_MS	  2 /* between two looks at counts, of whose change nobody tells */

struct rig_host {
	struct gm_keeper *keeper;
	struct gm_store *store;
	pthread_t machine_thread;
	int stop; /* eventfd */

	/* grantiod's log */
	int log; /* its stderr; -1: none */
	pthread_t log_thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	char *text;
	size_t length;
};

int64_t rig_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- machine ------------------------------------------------------------------------------------------------ */

static void *machine_run(void *opaque)
{
	struct rig_host *host = opaque;
	struct pollfd fds[] = {{.fd = gm_keeper_fd(host->keeper), .events = POLLIN},
			       {.fd = host->store ? gm_store_fd(host->store) : -1, .events = POLLIN},
			       {.fd = host->stop, .events = POLLIN}};

	while (!fds[2].revents) {
		if (poll(fds, 3, -1) <= 0)
			continue;
		if (fds[0].revents)
			gm_keeper_run(host->keeper);
		if (fds[1].revents)
			gm_store_run(host->store);
	}
	return NULL;
}

static void machine_start(struct rig_host *host)
{
	host->stop = eventfd(0, EFD_CLOEXEC);
	assert_true(host->stop >= 0);
	assert_int_equal(pthread_create(&host->machine_thread, NULL, machine_run, host), 0);
}

static void machine_stop(struct rig_host *host)
{
	uint64_t one = 1;

	assert_int_equal(write(host->stop, &one, sizeof(one)), sizeof(one));
	pthread_join(host->machine_thread, NULL);
	close(host->stop);
}

void rig_store_end(struct rig *rig)
{
	machine_stop(rig->host);
	gm_store_close(rig->host->store);
	rig->host->store = NULL;
	machine_start(rig->host);
}

void rig_store_begin(struct rig *rig)
{
	machine_stop(rig->host);
	assert_int_equal(gm_store_open(&rig->host->store, rig->dir), 0);
	machine_start(rig->host);
	xs_close(rig->xs);
	rig->xs = xs_open(0);
	assert_non_null(rig->xs);
}

static struct rig_host *host_new(void)
{
	struct rig_host *host = calloc(1, sizeof(*host));
	pthread_condattr_t clock;

	assert_non_null(host);
	host->log = -1;
	pthread_mutex_init(&host->lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&host->more, &clock);
	pthread_condattr_destroy(&clock);
	return host;
}

int rig_setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct rig_host *host = host_new();
	char path[96];

	assert_non_null(rig);
	rig->host = host;
	strcpy(rig->dir, "/dev/shm/grantio-scenario-XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	assert_int_equal(gm_machine_create(rig->dir), 0);
	assert_int_equal(gm_machine_open(&rig->machine, rig->dir), 0);
	assert_int_equal(gm_keeper_open(&host->keeper, rig->machine), 0);
	assert_int_equal(gm_store_open(&host->store, rig->dir), 0);
	machine_start(host);
	snprintf(path, sizeof(path), "%s/store", rig->dir);
	setenv("XENSTORED_PATH", path, 1);
	setenv("GRANTIO_MACHINE", rig->dir, 1);
	rig->xs = xs_open(0);
	assert_non_null(rig->xs);
	*state = rig;
	return 0;
}

/* Files of the machine, and images; no directories are among them. */
static void dir_remove(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(path);
}

int rig_teardown(void **state)
{
	struct rig *rig = *state;
	struct rig_host *host = rig->host;
	int left = rig->daemon ? rig_daemon_stop(rig, SIGKILL) : 0;

	(void)left; /* a test that failed before it stopped it */
	rig_toolstack_exit(rig);
	xs_close(rig->xs);
	machine_stop(host);
	gm_store_close(host->store);
	gm_keeper_close(host->keeper);
	gm_machine_close(rig->machine);
	dir_remove(rig->dir);
	free(host->text);
	pthread_cond_destroy(&host->more);
	pthread_mutex_destroy(&host->lock);
	free(host);
	free(rig);
	return 0;
}

/* ---- log ---------------------------------------------------------------------------------------------------- */

static void *log_run(void *opaque)
{
	struct rig_host *host = opaque;
	char buffer[4096];
	ssize_t got;

	while ((got = read(host->log, buffer, sizeof(buffer))) > 0 || (got < 0 && errno == EINTR)) {
		if (got < 0)
			continue;
		fwrite(buffer, 1, (size_t)got, stderr);
		pthread_mutex_lock(&host->lock);
		host->text = realloc(host->text, host->length + (size_t)got + 1);
		memcpy(host->text + host->length, buffer, (size_t)got);
		host->length += (size_t)got;
		host->text[host->length] = '\0';
		pthread_cond_broadcast(&host->more);
		pthread_mutex_unlock(&host->lock);
	}
	return NULL;
}

/* Under the lock. */
static unsigned log_count(const struct rig_host *host, const char *text)
{
	unsigned count = 0;

	for (const char *at = host->text; at && (at = strstr(at, text)); at++)
		count++;
	return count;
}

unsigned rig_log_count(struct rig *rig, const char *text)
{
	unsigned count;

	pthread_mutex_lock(&rig->host->lock);
	count = log_count(rig->host, text);
	pthread_mutex_unlock(&rig->host->lock);
	return count;
}

void rig_log_wait(struct rig *rig, const char *text, unsigned count)
{
	struct timespec end;
	unsigned found;
	int ret = 0;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += RIG_SECONDS;
	pthread_mutex_lock(&rig->host->lock);
	while ((found = log_count(rig->host, text)) < count && !ret)
		ret = pthread_cond_timedwait(&rig->host->more, &rig->host->lock, &end);
	pthread_mutex_unlock(&rig->host->lock);
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

unsigned rig_daemon_descriptors(const struct rig *rig)
{
	return entries(rig->daemon, "fd");
}

static void daemon_exec(int log, const char *const *arguments)
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

void rig_daemon_start(struct rig *rig, const char *const *arguments)
{
	struct rig_host *host = rig->host;
	unsigned ready = rig_log_count(rig, "<5>ready\n");
	int log[2];

	assert_int_equal(rig->daemon, 0);
	assert_int_equal(pipe2(log, O_CLOEXEC), 0);
	rig->daemon = fork();
	assert_true(rig->daemon >= 0);
	if (!rig->daemon)
		daemon_exec(log[1], arguments);
	close(log[1]);
	host->log = log[0];
	assert_int_equal(pthread_create(&host->log_thread, NULL, log_run, host), 0);
	rig_log_wait(rig, "<5>ready\n", ready + 1);
	rig->fds = rig_daemon_descriptors(rig);
	rig->threads = entries(rig->daemon, "task");
}

void rig_daemon_pause(struct rig *rig)
{
	int status;

	kill(rig->daemon, SIGSTOP);
	assert_int_equal(waitpid(rig->daemon, &status, WUNTRACED), rig->daemon);
	assert_true(WIFSTOPPED(status));
}

int rig_daemon_stop(struct rig *rig, int signal)
{
	int status = -1;

	kill(rig->daemon, signal);
	/* Bounded: it ends itself after 10 s (STOP_SECONDS), and the test runner ends us. */
	while (waitpid(rig->daemon, &status, 0) < 0 && errno == EINTR)
		;
	rig->daemon = 0;
	pthread_join(rig->host->log_thread, NULL); /* at the end of its pipe */
	close(rig->host->log);
	rig->host->log = -1;
	return status;
}

int rig_daemon_run(struct rig *rig, const char *const *arguments, char *text, size_t size)
{
	size_t length = 0;
	ssize_t got;
	int status, log[2];
	pid_t child;

	(void)rig;
	assert_int_equal(pipe2(log, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child)
		daemon_exec(log[1], arguments);
	close(log[1]);
	while ((got = read(log[0], text + length, size - 1 - length)) > 0)
		length += (size_t)got;
	text[length] = '\0';
	close(log[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* What is left, as a text; false: nothing. */
static bool left_over(struct rig *rig, const uint16_t *domids, char *text, size_t size)
{
	struct gm_stats stats;
	unsigned fds, threads;

	assert_int_equal(gm_domain_stats(rig->machine, 0, &stats), 0);
	if (stats.mappings_held || stats.ports) {
		snprintf(text, size, "domain 0: %u mappings, %u ports", stats.mappings_held, stats.ports);
		return true;
	}
	for (; domids && *domids; domids++) {
		if (gm_domain_stats(rig->machine, *domids, &stats) || (!stats.grants_active && !stats.ioreq_servers))
			continue; /* gone, or as it should be */
		snprintf(text, size, "domain %u: %u grants in use, %u ioreq servers", *domids, stats.grants_active,
			 stats.ioreq_servers);
		return true;
	}
	if (!rig->daemon)
		return false;
	fds = rig_daemon_descriptors(rig);
	threads = entries(rig->daemon, "task");
	snprintf(text, size, "grantiod: %u descriptors (at rest %u), %u threads (%u)", fds, rig->fds, threads,
		 rig->threads);
	return fds != rig->fds || threads != rig->threads;
}

void rig_quiet(struct rig *rig, const uint16_t *domids)
{
	int64_t end = rig_now_ms() + RIG_SECONDS * 1000;
	char text[128];

	while (left_over(rig, domids, text, sizeof(text))) {
		if (rig_now_ms() > end)
			fail_msg("left behind: %s", text);
		poll(NULL, 0, STEP_MS);
	}
}

void rig_daemon_end(struct rig *rig, const uint16_t *domids)
{
	int status = rig_daemon_stop(rig, SIGTERM);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	rig_quiet(rig, domids);
}
