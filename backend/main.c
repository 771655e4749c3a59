/* SPDX-License-Identifier: MIT */
/*
 * grantiod: serves virtio devices, which are disks and random numbers, to Xen guests that share only what they grant.
 *
 * The main thread waits for xenstore, signals, jobs that have ended, and the control socket. Each guest's accesses are
 * answered by a thread of its own (xen/ioreq.h), and each queue has a thread as well (virtio/vdev.h).
 */
#include "backend/base/clock.h"
#include "backend/base/job.h"
#include "backend/base/log.h"
#include "backend/base/loop.h"
#include "backend/config.h"
#include "backend/control.h"
#include "backend/reload.h"
#include "backend/sizewatch.h"
#include "backend/xenbus/xenbus.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CHECK_MS     5000 /* see gd_xenbus_work() */
#define STOP_SECONDS 10	  /* so long I/O in flight may take to end; then the process ends all the same */

struct daemon {
	struct gd_config *config; /* held */
	struct gd_reload reload;
	struct gd_loop *loop;
	struct gd_jobs *jobs;
	struct gd_sizewatch *sizewatch;
	struct gd_xenbus *xenbus;
	struct gd_control *control;
	struct gd_loop_source signals;
	bool stop;
};

/* New settings are for disks that are opened from now on; wrong ones change nothing. All images are looked at again. */
static void settings_ready(struct gd_reload *reload, struct gd_config *config)
{
	struct daemon *daemon = reload->opaque;

	if (config && gd_reload_keep(config, daemon->config)) {
		gd_log(NULL, GD_ERR, "no memory for new settings: they stay as they were");
		gd_config_drop(config);
	} else if (config) {
		gd_xenbus_config(daemon->xenbus, config);
		gd_config_drop(daemon->config);
		daemon->config = config;
		gd_log_level(config->level);
		gd_config_remark(config);
	}
	if (!daemon->stop)
		gd_xenbus_refresh(daemon->xenbus);
}

static void signals_ready(struct gd_loop_source *source, uint32_t events)
{
	struct daemon *daemon = source->opaque;
	struct signalfd_siginfo info;

	(void)events;
	if (read(source->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP) {
		gd_log(NULL, GD_NOTICE, "SIGHUP: reading the settings, and looking at all images again");
		gd_reload_start(&daemon->reload);
		return;
	}
	gd_log(NULL, GD_NOTICE, "%s: stopping", info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
	daemon->stop = true;
}

/* The signals are blocked before any thread is made, so that they are blocked in all threads. */
static int signals_open(struct daemon *daemon)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	signal(SIGPIPE, SIG_IGN); /* a socket whose other end has gone is an error like others, */
	signal(SIGXFSZ, SIG_IGN); /* and so is a file that may not grow as far (RLIMIT_FSIZE) */
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	daemon->signals =
		(struct gd_loop_source){signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), signals_ready, daemon};
	return daemon->signals.fd < 0 ? -errno : gd_loop_add(daemon->loop, &daemon->signals, EPOLLIN);
}

/* sd_notify(3)'s protocol: a datagram to the socket named by NOTIFY_SOCKET ('@': abstract). */
static void notify_ready(void)
{
	static const char message[] = "READY=1";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	size_t length = path ? strlen(path) : 0;
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	int fd;

	if (!path || (path[0] != '/' && path[0] != '@') || length >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, length);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, message, sizeof(message) - 1, MSG_NOSIGNAL, (struct sockaddr *)&address, size) < 0)
		gd_log(NULL, GD_WARN, "NOTIFY_SOCKET '%s': %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* A disk takes some ten descriptors, and the usual soft limit is 1024: raise it to the hard limit. */
static void descriptors_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		gd_log(NULL, GD_NOTICE, "RLIMIT_NOFILE: cannot raise it to its hard limit: %s", strerror(errno));
}

static int daemon_open(struct daemon *daemon)
{
	int err = gd_loop_open(&daemon->loop);

	if (!err)
		err = signals_open(daemon);
	if (!err)
		err = gd_jobs_open(&daemon->jobs, daemon->loop);
	if (!err)
		daemon->reload.jobs = daemon->jobs;
	if (!err)
		err = gd_sizewatch_open(&daemon->sizewatch, daemon->loop);
	if (err) {
		gd_log(NULL, GD_ERR, "cannot start: %s", strerror(-err));
		return err;
	}
	err = gd_xenbus_open(&daemon->xenbus, daemon->config, daemon->loop, daemon->jobs, daemon->sizewatch);
	if (!err && daemon->config->control)
		err = gd_control_open(&daemon->control, daemon->config->control, daemon->loop, daemon->xenbus);
	return err;
}

/* Close what was opened; all devices are closed already. */
static void daemon_close(struct daemon *daemon)
{
	gd_control_close(daemon->control);
	gd_xenbus_close(daemon->xenbus);
	gd_sizewatch_close(daemon->sizewatch);
	gd_jobs_close(daemon->jobs);
	if (daemon->loop && daemon->signals.fd > 0)
		close(daemon->signals.fd);
	gd_loop_close(daemon->loop);
	gd_config_drop(daemon->config);
}

static int daemon_run(struct daemon *daemon)
{
	int err = 0;

	while (!daemon->stop && !err) {
		err = gd_loop_step(daemon->loop, CHECK_MS);
		if (err == -ETIMEDOUT)
			err = 0;
		gd_xenbus_work(daemon->xenbus);
	}
	return err;
}

/* False: a job or a device does not end. Its thread may be anywhere, so that the process cannot end in order. */
static bool daemon_stop(struct daemon *daemon)
{
	uint64_t end = gd_clock_ms() + STOP_SECONDS * 1000, now;

	gd_xenbus_stop(daemon->xenbus);
	while (!gd_xenbus_idle(daemon->xenbus) && (now = gd_clock_ms()) < end) {
		int err = gd_loop_step(daemon->loop, (int)(end - now));

		if (err && err != -ETIMEDOUT)
			break;
		gd_xenbus_work(daemon->xenbus);
	}
	if (gd_xenbus_idle(daemon->xenbus))
		return true;
	gd_xenbus_complain(daemon->xenbus);
	return false;
}

int main(int argc, char **argv)
{
	struct daemon daemon = {.reload = {.argc = argc, .argv = argv, .done = settings_ready, .opaque = &daemon}};
	char error[GD_CONFIG_ERROR];
	int err;

	if (gd_config_new(&daemon.config, argc, argv, error)) {
		gd_log(NULL, GD_ERR, "%s", error);
		return 2;
	}
	if (daemon.config->help || daemon.config->version) {
		printf("%s", daemon.config->help ? gd_config_usage : "grantiod " GD_VERSION "\n");
		gd_config_drop(daemon.config);
		return 0;
	}
	gd_log_level(daemon.config->level);
	gd_config_remark(daemon.config);
	descriptors_raise();
	err = daemon_open(&daemon);
	if (!err) {
		gd_log(NULL, GD_NOTICE, "ready");
		notify_ready();
		err = daemon_run(&daemon);
		if (!daemon_stop(&daemon)) {
			gd_control_close(daemon.control); /* removes its socket */
			_exit(1);
		}
		/* What is left to the next grantiod is left as it is, with its threads: they may end at any
		 * instruction. */
		if (gd_xenbus_leaves(daemon.xenbus) || daemon.reload.running) {
			gd_control_close(daemon.control);
			_exit(err ? 1 : 0);
		}
	}
	daemon_close(&daemon);
	return err ? 1 : 0;
}
