/* SPDX-License-Identifier: MIT */
/* The machine of a test, its grantiods, domains, disks and images. */
#include "tests/harness/private.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the machine ---- */

/* The daemon prints the directory once it can be used. */
static bool daemon_start(struct th_machine *m)
{
	char *argv[] = {(char *)(uintptr_t)TH_GRANTIO,
			(char *)(uintptr_t) "model",
			(char *)(uintptr_t) "start",
			(char *)(uintptr_t) "--foreground",
			(char *)(uintptr_t) "--machine",
			m->dir,
			NULL};
	struct pollfd wait;
	int fds[2], err;
	char byte;
	bool ok;

	snprintf(m->daemon.log, sizeof(m->daemon.log), "%s/daemon.log", m->files);
	err = open(m->daemon.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (err < 0 || pipe2(fds, O_CLOEXEC))
		return false;
	th_process_start(m, &m->daemon, argv, 0, false, fds[1], err);
	close(fds[1]);
	close(err);
	wait = (struct pollfd){.fd = fds[0], .events = POLLIN};
	ok = poll(&wait, 1, TH_LIMIT_MS) == 1 && read(fds[0], &byte, 1) == 1;
	close(fds[0]);
	if (!ok)
		th_log_print(&m->daemon);
	return ok;
}

static bool store_open(struct th_machine *m)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/store", m->dir);
	setenv("XENSTORED_PATH", path, 1);
	m->xs = xs_open(0);
	return m->xs != NULL;
}

static int entry_remove(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

struct th_machine *th_machine_start(void)
{
	struct th_machine *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->files = strdup("/dev/shm/grantio-test-XXXXXX");
	assert_non_null(m->files);
	assert_non_null(mkdtemp(m->files));
	assert_true(asprintf(&m->dir, "%s/m", m->files) > 0);
	if (!daemon_start(m) || gm_machine_open(&m->model, m->dir) || !store_open(m)) {
		th_machine_stop(m);
		fail_msg("the machine does not start");
	}
	return m;
}

/* End a process; -1 if it does not do so well. */
static int process_stop(struct th_process *process, const char *name)
{
	int status;

	if (!process->pid)
		return 0;
	status = th_process_wait(process, SIGTERM, TH_LIMIT_MS);
	if (status == 0)
		return 0;
	if (status > 0) {
		print_error("%s ended with %s %d\n", name, WIFSIGNALED(status) ? "signal" : "status",
			    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	} else {
		print_error("%s has not ended within %d ms of SIGTERM, and is killed\n", name, TH_LIMIT_MS);
		th_process_wait(process, SIGKILL, TH_LIMIT_MS);
	}
	th_log_print(process);
	return -1;
}

int th_machine_stop(struct th_machine *m)
{
	int rc;

	if (!m)
		return 0;
	rc = m->reported;
	while (m->grantiods)
		rc |= th_grantiod_stop(m);
	if (m->xs)
		xs_close(m->xs);
	gm_machine_close(m->model);
	rc |= process_stop(&m->daemon, "the machine's daemon");
	if (nftw(m->files, entry_remove, 16, FTW_DEPTH | FTW_PHYS)) {
		print_error("%s: %s\n", m->files, strerror(errno));
		rc = -1;
	}
	free(m->files);
	free(m->dir);
	free(m);
	return rc;
}

const char *th_machine_dir(const struct th_machine *m)
{
	return m->dir;
}

const char *th_files_dir(const struct th_machine *m)
{
	return m->files;
}

struct gm_machine *th_machine_model(const struct th_machine *m)
{
	return m->model;
}

/* ---- grantiod ---- */

struct th_process *th_grantiod(struct th_machine *m)
{
	if (!m->grantiods)
		fail_msg("no grantiod runs");
	return &m->grantiod[m->grantiods - 1];
}

pid_t th_grantiod_pid(const struct th_machine *m)
{
	return m->grantiods ? m->grantiod[m->grantiods - 1].pid : 0;
}

static void grantiod_start(struct th_machine *m, unsigned domid, va_list list)
{
	char *argv[TH_ARGS] = {(char *)(uintptr_t)TH_GRANTIOD};
	struct th_process *process = &m->grantiod[m->grantiods];
	unsigned argc = 1;
	int err;

	th_args(argv, &argc, list);
	assert_true(m->grantiods < TH_GRANTIODS);
	*process = (struct th_process){0};
	snprintf(process->log, sizeof(process->log), "%s/grantiod.%u.log", m->files, m->grantiods);
	err = open(process->log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	assert_true(err >= 0);
	th_process_start(m, process, argv, domid, true, -1, err);
	close(err);
	m->grantiods++;
	th_log_wait(m, "<5>ready", TH_LIMIT_MS);
	th_leaks_mark(m);
}

void th_grantiod_start(struct th_machine *m, ...)
{
	va_list list;

	va_start(list, m);
	grantiod_start(m, 0, list);
	va_end(list);
}

void th_grantiod_start_as(struct th_machine *m, unsigned domid, ...)
{
	va_list list;

	va_start(list, domid);
	grantiod_start(m, domid, list);
	va_end(list);
}

int th_grantiod_stop(struct th_machine *m)
{
	int rc = process_stop(th_grantiod(m), "grantiod");

	m->grantiods--;
	m->reported |= rc;
	return rc;
}

void th_grantiod_kill(struct th_machine *m)
{
	assert_true(th_process_wait(th_grantiod(m), SIGKILL, TH_LIMIT_MS) >= 0);
	m->grantiods--;
}

/* ---- domains, disks, images ---- */

unsigned th_domain_create(struct th_machine *m, const char *memory, unsigned vcpus)
{
	char out[512], number[12];

	snprintf(number, sizeof(number), "%u", vcpus);
	if (th_grantio(m, out, sizeof(out), "model", "create", "--memory", memory, "--vcpus", number, NULL))
		fail_msg("%s", out);
	return (unsigned)strtoul(out, NULL, 10);
}

void th_domain_destroy(struct th_machine *m, unsigned domid)
{
	char out[512], number[12];

	snprintf(number, sizeof(number), "%u", domid);
	if (th_grantio(m, out, sizeof(out), "model", "destroy", number, NULL) || out[0])
		fail_msg("%s", out);
}

const char *th_disk_attach(struct th_machine *m, unsigned domid, const char *target, ...)
{
	char *argv[TH_ARGS] = {(char *)(uintptr_t)TH_GRANTIO, (char *)(uintptr_t) "disk", (char *)(uintptr_t) "attach"};
	char out[512], number[12];
	unsigned argc = 3;
	va_list list;

	snprintf(number, sizeof(number), "%u", domid);
	argv[argc++] = number;
	argv[argc++] = (char *)(uintptr_t)target;
	va_start(list, target);
	th_args(argv, &argc, list);
	va_end(list);
	if (th_run_argv(m, out, sizeof(out), argv)) {
		if (m->grantiods)
			th_log_print(th_grantiod(m));
		fail_msg("%s", out);
	}
	snprintf(m->vdev, sizeof(m->vdev), "%.*s", (int)strcspn(out, "\n"), out);
	return m->vdev;
}

void th_disk_detach(struct th_machine *m, unsigned domid, const char *vdev)
{
	char out[512], number[12];

	snprintf(number, sizeof(number), "%u", domid);
	if (th_grantio(m, out, sizeof(out), "disk", "detach", number, vdev, NULL))
		fail_msg("%s", out);
}

const char *th_image(struct th_machine *m, uint64_t bytes)
{
	char *path = m->image[m->images];
	int fd;

	assert_true(m->images < TH_IMAGES);
	snprintf(path, sizeof(m->image[0]), "%s/image%u.raw", m->files, m->images++);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)bytes))
		fail_msg("%s: %s", path, strerror(errno));
	close(fd);
	return path;
}
