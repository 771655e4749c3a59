/* SPDX-License-Identifier: MIT */
/*
 * The daemon of a machine: keeper and store in one loop. The keeper cleans up after processes that die, the store is
 * the machine's xenstore; what else Xen does is done by the processes themselves, on shared memory.
 */
#include "cli/model/machine.h"

#include "model/store/store.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* The parts that one loop serves. daemon_open() makes all of them or none. */
struct daemon {
	struct gm_machine *machine;
	struct gm_keeper *keeper;
	struct gm_store *store;
	int signals;
};

/* Each client takes a descriptor. How many a domain may have is limited by the store. */
static void descriptors_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit); /* if it fails, clients are refused earlier */
	}
}

/* By descriptor, so that the loop ends between two events and never within one. */
static int signals_open(void)
{
	sigset_t set;
	int fd;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Keeper and store are in one thread: neither blocks, so that none waits for the other. */
static void loop(const struct daemon *daemon)
{
	struct pollfd fds[] = {
		{.fd = gm_keeper_fd(daemon->keeper), .events = POLLIN},
		{.fd = gm_store_fd(daemon->store), .events = POLLIN},
		{.fd = daemon->signals, .events = POLLIN},
	};

	while (!fds[2].revents) {
		if (poll(fds, 3, -1) < 0)
			continue; /* EINTR; nothing else can come of these three */
		if (fds[0].revents)
			gm_keeper_run(daemon->keeper);
		if (fds[1].revents)
			gm_store_run(daemon->store);
	}
}

/* In steps, so that the message says which one failed. */
static int daemon_open(struct daemon *daemon, const char *dir, const char **what)
{
	int err;

	*what = "signals";
	err = daemon->signals = signals_open();
	if (err < 0)
		return err;
	*what = "machine";
	err = gm_machine_create(dir);
	if (!err)
		err = gm_machine_open(&daemon->machine, dir);
	if (err)
		goto err_close_signals;
	*what = "keeper";
	err = gm_keeper_open(&daemon->keeper, daemon->machine);
	if (err)
		goto err_close_machine;
	*what = "store";
	err = gm_store_open(&daemon->store, dir);
	if (err)
		goto err_close_keeper;
	return 0;

err_close_keeper:
	gm_keeper_close(daemon->keeper);
err_close_machine:
	gm_machine_close(daemon->machine);
err_close_signals:
	close(daemon->signals);
	return err;
}

/* In the reverse order of opening. Clients find their connections closed, as if the host had gone down. */
static void daemon_close(struct daemon *daemon)
{
	gm_store_close(daemon->store);
	gm_keeper_close(daemon->keeper);
	gm_machine_close(daemon->machine);
	close(daemon->signals);
}

/* The files are removed by whoever made them. `model stop` does it again for a daemon that was killed. */
int gc_model_run(const char *dir, void (*ready)(int error, const char *what, void *arg), void *arg)
{
	struct daemon daemon = {0};
	const char *what;
	int err;

	descriptors_raise();
	err = daemon_open(&daemon, dir, &what);
	ready(err, what, arg);
	if (!err) {
		loop(&daemon);
		daemon_close(&daemon);
	}
	gc_machine_remove(dir); /* if other files are there, they and the directory stay */
	return err ? GC_FAILED : GC_OK;
}
