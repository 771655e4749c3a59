/* SPDX-License-Identifier: MIT */
/* The machine, in a thread of this process or as a command started it, and the host as a whole. */
#include "tests/host/host.h"
#include "tests/host/host_priv.h"

#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "model/store/store.h"

struct th_machine {
	struct gm_keeper *keeper;
	struct gm_store *store; /* NULL: between th_store_end() and th_store_begin() */
	pthread_t thread;
	int stop; /* eventfd */
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
	struct th_machine *m = opaque;
	struct pollfd fds[] = {{.fd = gm_keeper_fd(m->keeper), .events = POLLIN},
			       {.fd = m->store ? gm_store_fd(m->store) : -1, .events = POLLIN},
			       {.fd = m->stop, .events = POLLIN}};

	while (!fds[2].revents) {
		if (poll(fds, 3, -1) <= 0)
			continue;
		if (fds[0].revents)
			gm_keeper_run(m->keeper);
		if (fds[1].revents)
			gm_store_run(m->store);
	}
	return NULL;
}

static void machine_start(struct th_machine *m)
{
	m->stop = eventfd(0, EFD_CLOEXEC);
	assert_true(m->stop >= 0);
	assert_int_equal(pthread_create(&m->thread, NULL, machine_run, m), 0);
}

static void machine_stop(struct th_machine *m)
{
	uint64_t one = 1;

	assert_int_equal(write(m->stop, &one, sizeof(one)), sizeof(one));
	pthread_join(m->thread, NULL);
	close(m->stop);
}

static void store_connect(struct th_host *host)
{
	host->xs = xs_open(0);
	assert_non_null(host->xs);
}

void th_store_end(struct th_host *host)
{
	machine_stop(host->inner);
	gm_store_close(host->inner->store);
	host->inner->store = NULL;
	machine_start(host->inner);
}

void th_store_begin(struct th_host *host)
{
	machine_stop(host->inner);
	assert_int_equal(gm_store_open(&host->inner->store, host->dir), 0);
	machine_start(host->inner);
	xs_close(host->xs);
	store_connect(host);
}

/* ---- the host ----------------------------------------------------------------------------------------------- */

/* An empty host: its directory, and the environment that tells every program where the machine and its store are. */
static struct th_host *host_new(const char *machine)
{
	struct th_host *host = calloc(1, sizeof(*host));
	char path[96];

	assert_non_null(host);
	strcpy(host->files, "/dev/shm/grantio-test-XXXXXX");
	assert_non_null(mkdtemp(host->files));
	snprintf(host->dir, sizeof(host->dir), "%s%s", host->files, machine);
	snprintf(path, sizeof(path), "%s/store", host->dir);
	setenv("XENSTORED_PATH", path, 1);
	setenv("GRANTIO_MACHINE", host->dir, 1);
	host->log = th_log_open();
	return host;
}

static struct th_machine *machine_open(const struct th_host *host)
{
	struct th_machine *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	assert_int_equal(gm_keeper_open(&m->keeper, host->machine), 0);
	assert_int_equal(gm_store_open(&m->store, host->dir), 0);
	machine_start(m);
	return m;
}

/* Takes NULL. */
static void machine_close(struct th_machine *m)
{
	if (!m)
		return;
	machine_stop(m);
	gm_store_close(m->store);
	gm_keeper_close(m->keeper);
	free(m);
}

int th_setup(void **state)
{
	struct th_host *host = host_new("");

	assert_int_equal(gm_machine_create(host->dir), 0);
	assert_int_equal(gm_machine_open(&host->machine, host->dir), 0);
	host->inner = machine_open(host);
	store_connect(host);
	*state = host;
	return 0;
}

int th_setup_by_command(void **state)
{
	struct th_host *host = host_new("/machine");

	host->daemon = th_model_start(host);
	assert_int_equal(gm_machine_open(&host->machine, host->dir), 0);
	store_connect(host);
	*state = host;
	return 0;
}

static int entry_remove(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

static void dir_remove(const char *path)
{
	nftw(path, entry_remove, 16, FTW_DEPTH | FTW_PHYS);
}

const char *th_state_dir(struct th_host *host)
{
	if (!host->state[0]) {
		snprintf(host->state, sizeof(host->state), "%s/state", host->files);
		assert_int_equal(mkdir(host->state, 0700), 0);
	}
	return host->state;
}

int th_teardown(void **state)
{
	struct th_host *host = *state;
	int err = 0;

	if (host->grantiod)
		th_grantiod_stop(host, SIGKILL); /* the test failed before it stopped it */
	th_toolstack_exit(host);
	xs_close(host->xs);
	machine_close(host->inner);
	gm_machine_close(host->machine);
	if (host->daemon)
		err = th_model_stop(host->daemon);
	dir_remove(host->files);
	th_log_close(host->log);
	free(host);
	return err;
}
