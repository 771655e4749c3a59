/* SPDX-License-Identifier: MIT */
/* The machine's files and locks, and the slot of a process that takes part. */
#include "state.h"
#include "event.h"
#include "grant.h"
#include "ioreq.h"
#include "share.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* ---- small things ------------------------------------------------------------------------------------------- */

int64_t gm_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int gm_left_ms(int64_t deadline)
{
	int64_t left;

	if (deadline < 0)
		return -1;
	left = deadline - gm_now_ms();
	return left > 0 ? (int)left : 0;
}

int gm_futex_wait(const uint32_t *word, uint32_t value, int timeout_ms)
{
	struct timespec ts = {.tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000L};

	if (!syscall(SYS_futex, word, FUTEX_WAIT, value, timeout_ms < 0 ? NULL : &ts, NULL, 0))
		return 0;
	return -errno;
}

void gm_futex_wake(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

char *gm_path(const struct gm_machine *machine, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", machine->dir, name) < 0 ? NULL : path;
}

char *gm_domain_path(const struct gm_machine *machine, uint16_t domid, const char *what)
{
	char *path;

	return asprintf(&path, "%s/dom%u.%s", machine->dir, domid, what) < 0 ? NULL : path;
}

/* ---- locks -------------------------------------------------------------------------------------------------- */

void gm_mutex_init(pthread_mutex_t *mutex)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(mutex, &attr);
	pthread_mutexattr_destroy(&attr);
}

void gm_big_lock(struct gm_machine *machine)
{
	pthread_mutex_t *big = &machine->state->big;

	if (pthread_mutex_lock(big) == EOWNERDEAD) {
		gm_event_repair(machine);
		pthread_mutex_consistent(big);
	}
}

void gm_big_unlock(struct gm_machine *machine)
{
	pthread_mutex_unlock(&machine->state->big);
}

void gm_grant_lock(struct gm_machine *machine, struct gm_attach *attach)
{
	pthread_mutex_t *lock = &gm_dom(machine, attach->domid)->grant_lock;

	if (pthread_mutex_lock(lock) == EOWNERDEAD) {
		gm_grant_rebuild(machine, attach);
		pthread_mutex_consistent(lock);
	}
}

void gm_grant_unlock(struct gm_machine *machine, uint16_t domid)
{
	pthread_mutex_unlock(&gm_dom(machine, domid)->grant_lock);
}

void gm_io_lock(struct gm_machine *machine, uint16_t domid)
{
	pthread_mutex_t *lock = &gm_dom(machine, domid)->io_lock;

	/* Every change below this lock is one store away from a state that is right: nothing to repair. */
	if (pthread_mutex_lock(lock) == EOWNERDEAD)
		pthread_mutex_consistent(lock);
}

void gm_io_unlock(struct gm_machine *machine, uint16_t domid)
{
	pthread_mutex_unlock(&gm_dom(machine, domid)->io_lock);
}

/* ---- attachments: a domain's files in this process ---------------------------------------------------------- */

static size_t grants_bytes(uint32_t max_frames)
{
	/* Entries of either version, then the status words: 2 bytes for each of version 2's 256 entries a page. */
	return (size_t)max_frames * GM_PAGE_SIZE + (size_t)max_frames * 512;
}

static size_t active_bytes(uint32_t max_frames)
{
	return (size_t)max_frames * 512 * sizeof(struct gm_active);
}

static int domain_open(const struct gm_machine *machine, uint16_t domid, const char *what, int flags)
{
	char *path = gm_domain_path(machine, domid, what);
	int fd = path ? open(path, flags | O_CLOEXEC) : -1;

	free(path);
	return fd;
}

/*
 * Nothing can be touched for so much before and behind each mapping: a program that writes past the end of its own
 * memory shall die of it, and not leave a machine in which pins and domains are what it happened to write.
 */
#define GUARD (64u << 10)

static size_t guarded_bytes(size_t bytes)
{
	return GUARD + (bytes + GM_PAGE_SIZE - 1) / GM_PAGE_SIZE * GM_PAGE_SIZE + GUARD;
}

static void *map_shared(int fd, size_t bytes)
{
	const int none = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	uint8_t *all = mmap(NULL, guarded_bytes(bytes), PROT_NONE, none, -1, 0);

	if (all == MAP_FAILED)
		return NULL;
	if (mmap(all + GUARD, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0) !=
	    MAP_FAILED)
		return all + GUARD;
	munmap(all, guarded_bytes(bytes));
	return NULL;
}

/* Takes NULL. */
static void unmap_shared(void *p, size_t bytes)
{
	if (p)
		munmap((uint8_t *)p - GUARD, guarded_bytes(bytes));
}

static void attach_free(struct gm_attach *a)
{
	unmap_shared(a->ram, a->ram_frames * GM_PAGE_SIZE);
	unmap_shared(a->grants, grants_bytes(a->max_frames));
	unmap_shared(a->active, active_bytes(a->max_frames));
	unmap_shared(a->io, (size_t)GM_MAX_SERVERS * 2 * GM_PAGE_SIZE);
	if (a->ram_fd >= 0)
		close(a->ram_fd);
	if (a->ram_ro_fd >= 0)
		close(a->ram_ro_fd);
	if (a->io_fd >= 0)
		close(a->io_fd);
	if (a->grant_fd >= 0)
		close(a->grant_fd);
	free(a);
}

static bool attach_map(struct gm_machine *machine, struct gm_attach *a)
{
	int active_fd = domain_open(machine, a->domid, "active", O_RDWR);

	a->ram_fd = domain_open(machine, a->domid, "ram", O_RDWR);
	a->ram_ro_fd = domain_open(machine, a->domid, "ram", O_RDONLY);
	a->io_fd = domain_open(machine, a->domid, "ioreq", O_RDWR);
	a->grant_fd = domain_open(machine, a->domid, "grants", O_RDWR);
	if (active_fd >= 0) {
		a->active = map_shared(active_fd, active_bytes(a->max_frames));
		close(active_fd);
	}
	if (a->ram_fd >= 0 && a->ram_frames)
		a->ram = map_shared(a->ram_fd, a->ram_frames * GM_PAGE_SIZE);
	if (a->grant_fd >= 0)
		a->grants = map_shared(a->grant_fd, grants_bytes(a->max_frames));
	if (a->io_fd >= 0)
		a->io = map_shared(a->io_fd, (size_t)GM_MAX_SERVERS * 2 * GM_PAGE_SIZE);
	return (a->ram || !a->ram_frames) && a->ram_ro_fd >= 0 && a->grants && a->active && a->io;
}

static struct gm_attach *attach_new(struct gm_machine *machine, uint16_t domid, uint32_t epoch)
{
	struct gm_domain *d = gm_dom(machine, domid);
	struct gm_attach *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->domid = domid;
	a->epoch = epoch;
	a->ram_frames = d->ram_frames;
	a->max_frames = d->max_frames;
	a->ram_fd = a->ram_ro_fd = a->io_fd = a->grant_fd = -1;
	/* The epoch is read again: had the id changed hands meanwhile, we would hold another domain's files. */
	if (!attach_map(machine, a) || __atomic_load_n(&d->epoch, __ATOMIC_ACQUIRE) != epoch) {
		attach_free(a);
		return NULL;
	}
	return a;
}

static bool attach_stale(struct gm_machine *machine, const struct gm_attach *a)
{
	return machine->attach[a->domid] != a || gm_dom_state(machine, a->domid) == GM_DOMAIN_NONE ||
	       __atomic_load_n(&gm_dom(machine, a->domid)->epoch, __ATOMIC_ACQUIRE) != a->epoch;
}

/* With machine->lock held: forget `a` if the domain has gone and nobody uses it. */
static void attach_drop_stale(struct gm_machine *machine, struct gm_attach *a)
{
	if (a->refs || !attach_stale(machine, a))
		return;
	if (machine->attach[a->domid] == a)
		machine->attach[a->domid] = NULL;
	attach_free(a);
}

struct gm_attach *gm_attach_get(struct gm_machine *machine, uint16_t domid)
{
	struct gm_attach *a;

	if (gm_dom_state(machine, domid) == GM_DOMAIN_NONE)
		return NULL;
	pthread_mutex_lock(&machine->lock);
	a = machine->attach[domid];
	if (a && attach_stale(machine, a)) {
		machine->attach[domid] = NULL; /* its last user frees it */
		if (!a->refs)
			attach_free(a);
		a = NULL;
	}
	if (!a) {
		a = attach_new(machine, domid, __atomic_load_n(&gm_dom(machine, domid)->epoch, __ATOMIC_ACQUIRE));
		machine->attach[domid] = a;
	}
	if (a)
		a->refs++;
	pthread_mutex_unlock(&machine->lock);
	return a;
}

void gm_attach_put(struct gm_machine *machine, struct gm_attach *attach)
{
	if (!attach)
		return;
	pthread_mutex_lock(&machine->lock);
	attach->refs--;
	attach_drop_stale(machine, attach);
	pthread_mutex_unlock(&machine->lock);
}

void gm_attach_sweep(struct gm_machine *machine)
{
	pthread_mutex_lock(&machine->lock);
	for (uint32_t i = 0; i < GM_MAX_DOMAINS; i++)
		if (machine->attach[i])
			attach_drop_stale(machine, machine->attach[i]);
	pthread_mutex_unlock(&machine->lock);
	gm_pipe_sweep(machine);
}

/* ---- create ------------------------------------------------------------------------------------------------- */

static int state_init(struct gm_state *s)
{
	s->magic = GM_MAGIC;
	s->size = sizeof(*s);
	gm_mutex_init(&s->big);
	for (uint32_t i = 0; i < GM_MAX_DOMAINS; i++) {
		gm_mutex_init(&s->domain[i].grant_lock);
		gm_mutex_init(&s->domain[i].io_lock);
	}
	return 0;
}

/* Make the state file under a name of its own, then link it: a machine appears whole, or not at all. */
static int state_create(const char *dir)
{
	char *tmp = NULL, *path = NULL;
	struct gm_state *s;
	int fd, err = -ENOMEM;

	if (asprintf(&tmp, "%s/.machine.%d", dir, (int)getpid()) < 0 || asprintf(&path, "%s/machine", dir) < 0)
		goto out;
	fd = open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0) {
		err = -errno;
		goto out;
	}
	err = ftruncate(fd, sizeof(*s)) ? -errno : 0;
	s = err ? NULL : map_shared(fd, sizeof(*s));
	if (s) {
		err = state_init(s);
		unmap_shared(s, sizeof(*s));
		if (!err && link(tmp, path))
			err = -errno;
	} else if (!err) {
		err = -ENOMEM;
	}
	unlink(tmp);
	close(fd);
out:
	free(tmp);
	free(path);
	return err;
}

/* What programs of domain 0 share with others is in it, and nothing else. */
#define DOM0_RAM (4u << 20)

int gm_machine_create(const char *dir)
{
	const struct gm_domain_config dom0 = {.domid = 0, .ram_bytes = DOM0_RAM, .vcpus = 1, .grant_frames = 4};
	struct gm_machine *m;
	int err;

	if (mkdir(dir, 0755) && errno != EEXIST)
		return -errno;
	err = state_create(dir);
	if (err)
		return err;
	err = gm_machine_open_as(&m, dir, DOMID_IDLE);
	if (err)
		return err;
	err = gm_domain_make(m, 0, &dom0);
	gm_machine_close(m);
	return err;
}

/* ---- open and close ----------------------------------------------------------------------------------------- */

static int state_map(struct gm_machine *m)
{
	char *path = gm_path(m, "machine");
	struct stat st;
	int fd, err = 0;

	if (!path)
		return -ENOMEM;
	fd = open(path, O_RDWR | O_CLOEXEC);
	free(path);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || st.st_size != (off_t)sizeof(*m->state))
		err = -EPROTO; /* made by another version of the model */
	else if (!(m->state = map_shared(fd, sizeof(*m->state))))
		err = -ENOMEM;
	else if (m->state->magic != GM_MAGIC)
		err = -EPROTO;
	close(fd);
	return err;
}

bool gm_proc_dead(const struct gm_proc *proc)
{
	struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, proc->pid, 0), .events = POLLIN};
	bool dead;

	if (end.fd < 0)
		return errno == ESRCH;
	dead = poll(&end, 1, 0) == 1; /* a zombie, too: it can be seen by kill(), and does nothing any more */
	close(end.fd);
	return dead;
}

/* Release the slots of processes that are dead; with no keeper, nobody else does. */
static void procs_scavenge(struct gm_machine *m)
{
	for (uint32_t i = 0; i < GM_MAX_PROCS; i++) {
		struct gm_proc *p = &m->state->proc[i];

		if (__atomic_load_n(&p->state, __ATOMIC_ACQUIRE) && gm_proc_dead(p))
			gm_proc_release(m, i, p->gen);
	}
}

static int proc_claim_free(struct gm_machine *m)
{
	int err = -EUSERS;

	gm_big_lock(m);
	for (uint32_t i = 0; i < GM_MAX_PROCS && err; i++) {
		struct gm_proc *p = &m->state->proc[i];

		if (__atomic_load_n(&p->state, __ATOMIC_ACQUIRE))
			continue;
		p->gen++;
		p->pid = getpid();
		p->domid = m->domid;
		p->tracks_end = 0;
		memset(p->notify, 0, sizeof(p->notify));
		m->proc = i;
		m->proc_gen = p->gen;
		__atomic_store_n(&p->state, 1, __ATOMIC_RELEASE);
		err = 0;
	}
	gm_big_unlock(m);
	return err;
}

/* Tell the keeper that we exist: when the connection ends, we do. Without a keeper there is none to tell. */
static int keeper_connect(const struct gm_machine *m)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	uint32_t hello[2] = {m->proc, m->proc_gen};
	int dir, fd;

	/* By way of the directory's descriptor, since a socket's path may have 107 bytes at most. */
	dir = open(m->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "/proc/self/fd/%d/keeper", dir);
	if (dir < 0 || fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) ||
	    send(fd, hello, sizeof(hello), MSG_NOSIGNAL) != (ssize_t)sizeof(hello)) {
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	if (dir >= 0)
		close(dir);
	return fd;
}

static void machine_free(struct gm_machine *m)
{
	for (uint32_t i = 0; i < GM_MAX_DOMAINS; i++)
		if (m->attach[i])
			attach_free(m->attach[i]);
	for (uint32_t i = 0; i < GM_MAX_HANDLES; i++)
		if (m->pipe[i].token)
			close(m->pipe[i].fd);
	if (m->keeper_fd >= 0)
		close(m->keeper_fd);
	unmap_shared(m->state, sizeof(*m->state));
	pthread_rwlock_destroy(&m->pipes_lock);
	pthread_mutex_destroy(&m->share_lock);
	pthread_mutex_destroy(&m->lock);
	free(m->track_free);
	free(m->dir);
	free(m);
}

int gm_machine_open_as(struct gm_machine **machine, const char *dir, uint16_t domid)
{
	struct gm_machine *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return -ENOMEM;
	m->keeper_fd = -1;
	m->domid = domid;
	pthread_mutex_init(&m->lock, NULL);
	pthread_rwlock_init(&m->pipes_lock, NULL);
	pthread_mutex_init(&m->share_lock, NULL);
	m->dir = strdup(dir);
	m->track_free = malloc(GM_MAX_TRACKS * sizeof(*m->track_free));
	err = m->dir && m->track_free ? state_map(m) : -ENOMEM;
	if (err)
		goto err_free;
	/* DOMID_IDLE: the machine is being made and has no domain yet. */
	err = domid == DOMID_IDLE || gm_dom_alive(m, domid) ? proc_claim_free(m) : -ESRCH;
	if (err == -EUSERS) {
		procs_scavenge(m);
		err = proc_claim_free(m);
	}
	if (err)
		goto err_free;
	if (domid != DOMID_IDLE)
		m->epoch = __atomic_load_n(&gm_dom(m, domid)->epoch, __ATOMIC_ACQUIRE);
	m->keeper_fd = keeper_connect(m);
	*machine = m;
	return 0;

err_free:
	machine_free(m);
	return err;
}

int gm_machine_open(struct gm_machine **machine, const char *dir)
{
	return gm_machine_open_as(machine, dir, 0);
}

void gm_machine_close(struct gm_machine *machine)
{
	if (!machine)
		return;
	gm_proc_release(machine, machine->proc, machine->proc_gen);
	machine_free(machine);
}

void gm_machine_forget(struct gm_machine *machine)
{
	machine_free(machine);
}

const char *gm_machine_dir(const struct gm_machine *machine)
{
	return machine->dir;
}

/* ---- the end of a process ----------------------------------------------------------------------------------- */

static void proc_release_handles(struct gm_machine *m, uint32_t slot)
{
	for (uint32_t i = 0; i < GM_MAX_HANDLES; i++) {
		struct gm_handle *h = &m->state->handle[i];
		uint32_t token = __atomic_load_n(&h->token, __ATOMIC_ACQUIRE);

		if (token && h->proc == slot + 1)
			gm_handle_close(m, token);
	}
}

void gm_proc_release(struct gm_machine *machine, uint32_t slot, uint32_t gen)
{
	struct gm_proc *p = &machine->state->proc[slot];
	uint32_t in_use = 1, end;

	/* One releaser only: 2 is "being released". */
	if (p->gen != gen ||
	    !__atomic_compare_exchange_n(&p->state, &in_use, 2, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return;
	end = __atomic_load_n(&p->tracks_end, __ATOMIC_ACQUIRE);
	for (uint32_t i = 0; i < end && i < GM_MAX_TRACKS; i++)
		gm_track_drop(machine, slot, i);
	gm_share_notify_run(machine, slot, UINT64_MAX); /* while its ports can be raised */
	proc_release_handles(machine, slot);

	gm_big_lock(machine);
	for (uint32_t i = 0; i < GM_MAX_DOMAINS; i++)
		if (gm_dom(machine, (uint16_t)i)->guest_proc == slot + 1)
			gm_dom(machine, (uint16_t)i)->guest_proc = 0;
	__atomic_store_n(&p->state, 0, __ATOMIC_RELEASE);
	gm_big_unlock(machine);
	/* It may have died between marking an event delivered and writing it: deliver again, which is always allowed.
	 */
	if (slot != machine->proc)
		gm_event_redeliver(machine);
}
