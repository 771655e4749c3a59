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

struct th_private {
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

int64_t th_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- machine ------------------------------------------------------------------------------------------------ */

static void *machine_run(void *opaque)
{
	struct th_private *priv = opaque;
	struct pollfd fds[] = {{.fd = gm_keeper_fd(priv->keeper), .events = POLLIN},
			       {.fd = priv->store ? gm_store_fd(priv->store) : -1, .events = POLLIN},
			       {.fd = priv->stop, .events = POLLIN}};

	while (!fds[2].revents) {
		if (poll(fds, 3, -1) <= 0)
			continue;
		if (fds[0].revents)
			gm_keeper_run(priv->keeper);
		if (fds[1].revents)
			gm_store_run(priv->store);
	}
	return NULL;
}

static void machine_start(struct th_private *priv)
{
	priv->stop = eventfd(0, EFD_CLOEXEC);
	assert_true(priv->stop >= 0);
	assert_int_equal(pthread_create(&priv->machine_thread, NULL, machine_run, priv), 0);
}

static void machine_stop(struct th_private *priv)
{
	uint64_t one = 1;

	assert_int_equal(write(priv->stop, &one, sizeof(one)), sizeof(one));
	pthread_join(priv->machine_thread, NULL);
	close(priv->stop);
}

void th_store_end(struct th_host *host)
{
	machine_stop(host->priv);
	gm_store_close(host->priv->store);
	host->priv->store = NULL;
	machine_start(host->priv);
}

void th_store_begin(struct th_host *host)
{
	machine_stop(host->priv);
	assert_int_equal(gm_store_open(&host->priv->store, host->dir), 0);
	machine_start(host->priv);
	xs_close(host->xs);
	host->xs = xs_open(0);
	assert_non_null(host->xs);
}

static struct th_private *host_new(void)
{
	struct th_private *priv = calloc(1, sizeof(*priv));
	pthread_condattr_t clock;

	assert_non_null(priv);
	priv->log = -1;
	pthread_mutex_init(&priv->lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&priv->more, &clock);
	pthread_condattr_destroy(&clock);
	return priv;
}

int th_setup(void **state)
{
	struct th_host *host = calloc(1, sizeof(*host));
	struct th_private *priv = host_new();
	char path[96];

	assert_non_null(host);
	host->priv = priv;
	strcpy(host->dir, "/dev/shm/grantio-scenario-XXXXXX");
	assert_non_null(mkdtemp(host->dir));
	assert_int_equal(gm_machine_create(host->dir), 0);
	assert_int_equal(gm_machine_open(&host->machine, host->dir), 0);
	assert_int_equal(gm_keeper_open(&priv->keeper, host->machine), 0);
	assert_int_equal(gm_store_open(&priv->store, host->dir), 0);
	machine_start(priv);
	snprintf(path, sizeof(path), "%s/store", host->dir);
	setenv("XENSTORED_PATH", path, 1);
	setenv("GRANTIO_MACHINE", host->dir, 1);
	host->xs = xs_open(0);
	assert_non_null(host->xs);
	*state = host;
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

int th_teardown(void **state)
{
	struct th_host *host = *state;
	struct th_private *priv = host->priv;
	int left = host->grantiod ? th_grantiod_stop(host, SIGKILL) : 0;

	(void)left; /* a test that failed before it stopped it */
	th_toolstack_exit(host);
	xs_close(host->xs);
	machine_stop(priv);
	gm_store_close(priv->store);
	gm_keeper_close(priv->keeper);
	gm_machine_close(host->machine);
	dir_remove(host->dir);
	free(priv->text);
	pthread_cond_destroy(&priv->more);
	pthread_mutex_destroy(&priv->lock);
	free(priv);
	free(host);
	return 0;
}

/* ---- log ---------------------------------------------------------------------------------------------------- */

static void *log_run(void *opaque)
{
	struct th_private *priv = opaque;
	char buffer[4096];
	ssize_t got;

	while ((got = read(priv->log, buffer, sizeof(buffer))) > 0 || (got < 0 && errno == EINTR)) {
		if (got < 0)
			continue;
		fwrite(buffer, 1, (size_t)got, stderr);
		pthread_mutex_lock(&priv->lock);
		priv->text = realloc(priv->text, priv->length + (size_t)got + 1);
		memcpy(priv->text + priv->length, buffer, (size_t)got);
		priv->length += (size_t)got;
		priv->text[priv->length] = '\0';
		pthread_cond_broadcast(&priv->more);
		pthread_mutex_unlock(&priv->lock);
	}
	return NULL;
}

/* Under the lock. */
static unsigned log_count(const struct th_private *priv, const char *text)
{
	unsigned count = 0;

	for (const char *at = priv->text; at && (at = strstr(at, text)); at++)
		count++;
	return count;
}

unsigned th_log_count(struct th_host *host, const char *text)
{
	unsigned count;

	pthread_mutex_lock(&host->priv->lock);
	count = log_count(host->priv, text);
	pthread_mutex_unlock(&host->priv->lock);
	return count;
}

void th_log_wait(struct th_host *host, const char *text, unsigned count)
{
	struct timespec end;
	unsigned found;
	int ret = 0;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += TH_SECONDS;
	pthread_mutex_lock(&host->priv->lock);
	while ((found = log_count(host->priv, text)) < count && !ret)
		ret = pthread_cond_timedwait(&host->priv->more, &host->priv->lock, &end);
	pthread_mutex_unlock(&host->priv->lock);
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

void th_grantiod_start(struct th_host *host, const char *const *arguments)
{
	struct th_private *priv = host->priv;
	unsigned ready = th_log_count(host, "<5>ready\n");
	int log[2];

	assert_int_equal(host->grantiod, 0);
	assert_int_equal(pipe2(log, O_CLOEXEC), 0);
	host->grantiod = fork();
	assert_true(host->grantiod >= 0);
	if (!host->grantiod)
		daemon_exec(log[1], arguments);
	close(log[1]);
	priv->log = log[0];
	assert_int_equal(pthread_create(&priv->log_thread, NULL, log_run, priv), 0);
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
	pthread_join(host->priv->log_thread, NULL); /* at the end of its pipe */
	close(host->priv->log);
	host->priv->log = -1;
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
static bool left_over(struct th_host *host, const uint16_t *domids, char *text, size_t size)
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

	while (left_over(host, domids, text, sizeof(text))) {
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
