/* SPDX-License-Identifier: MIT */
/*
 * The keeper: it learns of each process's end, and does then what Linux does when a process's gntdev and evtchn
 * descriptors are closed.
 *
 * A process says hello on the socket `keeper` with its slot and generation; its end is the connection's. Processes that
 * were there before the keeper, or could not say hello, are watched by pidfd.
 */
#include "model/files.h"
#include "model/proc.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define EVENTS 32

struct watch {
	int fd; /* connection or pidfd; the listening socket has none */
	bool pidfd;
	bool known; /* slot and gen are set */
	uint32_t slot, gen;
	struct watch *next;
};

struct gm_keeper {
	struct gm_machine *m;
	int epoll, listener;
	struct watch *watches;
};

/*
 * Watch `fd`, which is the watch's from then on: a process's connection, or its pidfd. NULL: no memory or no epoll
 * entry.
 */
static struct watch *watch_add(struct gm_keeper *k, int fd)
{
	struct watch *w = calloc(1, sizeof(*w));
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = w};

	if (!w)
		return NULL;
	w->fd = fd;
	if (epoll_ctl(k->epoll, EPOLL_CTL_ADD, fd, &ev)) {
		free(w);
		return NULL;
	}
	w->next = k->watches;
	k->watches = w;
	return w;
}

static void watch_end(struct gm_keeper *k, struct watch *w)
{
	struct watch **at;

	for (at = &k->watches; *at != w; at = &(*at)->next)
		;
	*at = w->next;
	/* A child on its way to exec may have the descriptor too: closing ours alone would leave it in the epoll. */
	epoll_ctl(k->epoll, EPOLL_CTL_DEL, w->fd, NULL);
	close(w->fd);
	free(w);
}

/* A process that said hello is watched by its connection, and must not be released by a second watch as well. */
static bool slot_watched(const struct gm_keeper *k, uint32_t slot, uint32_t gen)
{
	for (const struct watch *w = k->watches; w; w = w->next)
		if (w->known && w->slot == slot && w->gen == gen)
			return true;
	return false;
}

/* For a process that cannot tell us of its end itself. */
static void watch_pid(struct gm_keeper *k, uint32_t slot, uint32_t gen, int32_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct watch *w;

	if (fd < 0) {
		if (errno == ESRCH)
			gm_proc_release(k->m, slot, gen);
		return;
	}
	w = watch_add(k, fd);
	if (!w) {
		close(fd);
		return;
	}
	w->pidfd = w->known = true;
	w->slot = slot;
	w->gen = gen;
}

/* Watch, or release, every process that has not said hello. */
static void procs_scan(struct gm_keeper *k)
{
	for (uint32_t i = 0; i < GM_MAX_PROCS; i++) {
		struct gm_proc *p = &k->m->state->proc[i];

		if (__atomic_load_n(&p->state, __ATOMIC_ACQUIRE) && !(i == k->m->proc && p->gen == k->m->proc_gen) &&
		    !slot_watched(k, i, p->gen))
			watch_pid(k, i, p->gen, p->pid);
	}
}

/* A process that released another's things may have died over it: whoever is "being released" is so again. */
static void releases_resume(struct gm_keeper *k)
{
	for (uint32_t i = 0; i < GM_MAX_PROCS; i++) {
		struct gm_proc *p = &k->m->state->proc[i];
		uint32_t releasing = 2;

		if (__atomic_compare_exchange_n(&p->state, &releasing, 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			gm_proc_release(k->m, i, p->gen);
	}
}

static int listener_open(const struct gm_machine *m)
{
	struct sockaddr_un address;
	int dir = gm_socket_address(m, "keeper", &address), fd, err;

	if (dir < 0)
		return dir;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	unlink(address.sun_path); /* of a keeper that was killed */
	err = fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, GM_MAX_PROCS) ? -errno : 0;
	close(dir);
	if (!err)
		return fd;
	if (fd >= 0)
		close(fd);
	return err;
}

int gm_keeper_open(struct gm_keeper **keeper, struct gm_machine *machine)
{
	struct gm_keeper *k = calloc(1, sizeof(*k));
	struct epoll_event ev = {.events = EPOLLIN};
	int err;

	if (!k)
		return -ENOMEM;
	k->m = machine;
	k->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (k->epoll < 0) {
		err = -errno;
		goto err_free;
	}
	k->listener = listener_open(machine);
	if (k->listener < 0) {
		err = k->listener;
		goto err_epoll;
	}
	if (epoll_ctl(k->epoll, EPOLL_CTL_ADD, k->listener, &ev)) {
		err = -errno;
		goto err_listener;
	}
	releases_resume(k);
	procs_scan(k);
	*keeper = k;
	return 0;

err_listener:
	close(k->listener);
err_epoll:
	close(k->epoll);
err_free:
	free(k);
	return err;
}

/* Processes go on without a keeper. The next one finds them by their slots. */
void gm_keeper_close(struct gm_keeper *keeper)
{
	char *path;

	if (!keeper)
		return;
	while (keeper->watches)
		watch_end(keeper, keeper->watches);
	path = gm_path(keeper->m, "keeper");
	if (path)
		unlink(path);
	free(path);
	close(keeper->listener);
	close(keeper->epoll);
	free(keeper);
}

int gm_keeper_fd(const struct gm_keeper *keeper)
{
	return keeper->epoll;
}

static void accept_all(struct gm_keeper *k)
{
	int fd;

	/* Bounded by the processes there can be. */
	for (uint32_t i = 0; i < GM_MAX_PROCS; i++) {
		fd = accept4(k->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			break;
		if (!watch_add(k, fd))
			close(fd);
	}
}

/* A connection has something to say: hello, or that its process is gone. */
static void watch_run(struct gm_keeper *k, struct watch *w)
{
	uint32_t hello[2];
	ssize_t n = w->pidfd ? 0 : recv(w->fd, hello, sizeof(hello), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == (ssize_t)sizeof(hello) && !w->known && hello[0] < GM_MAX_PROCS) {
		w->slot = hello[0];
		w->gen = hello[1];
		w->known = true;
		return;
	}
	if (w->known)
		gm_proc_release(k->m, w->slot, w->gen);
	watch_end(k, w);
}

/* At most EVENTS events per turn: the epoll descriptor stays readable while there are more. */
void gm_keeper_run(struct gm_keeper *keeper)
{
	struct epoll_event ev[EVENTS];
	bool accepted = false;
	int n = epoll_wait(keeper->epoll, ev, EVENTS, 0);

	for (int i = 0; i < n; i++) {
		if (ev[i].data.ptr)
			watch_run(keeper, ev[i].data.ptr);
		else
			accepted = true;
	}
	if (accepted)
		accept_all(keeper);
}
