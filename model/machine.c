/* SPDX-License-Identifier: MIT */
/*
 * Making a machine, and taking part in one. A process that opens a machine maps its state, takes a slot in it, and
 * tells the keeper so, which undoes what the process leaves behind when it ends.
 */
#include "model/machine.h"
#include "model/attach.h"
#include "model/domain.h"
#include "model/event.h"
#include "model/files.h"
#include "model/grant.h"
#include "model/lock.h"
#include "model/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The locks do not know what they protect; this is the one place that knows both. */
static const struct gm_recovery recovery = {.bindings = gm_event_repair, .pins = gm_grant_rebuild};

/* ---- create ------------------------------------------------------------------------------------------------- */

/* The file is new and full of zeroes, which is the state of a machine without domains: only the locks need more. */
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
	s = err ? NULL : gm_map_shared(fd, sizeof(*s));
	if (s) {
		err = state_init(s);
		gm_unmap_shared(s, sizeof(*s));
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

/* Domain 0 is made under DOMID_IDLE, because nobody can open the machine as a domain that is not there yet. */
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

/* The size and the magic number tell a machine of another version, whose structures lie elsewhere in the file. */
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
	else if (!(m->state = gm_map_shared(fd, sizeof(*m->state))))
		err = -ENOMEM;
	else if (m->state->magic != GM_MAGIC)
		err = -EPROTO;
	close(fd);
	return err;
}

/*
 * Tell the keeper that we exist. The connection stays open for as long as this process lives; its end, however it comes
 * about, is the keeper's sign. -1 without a keeper, which is no error: slots of dead processes are then released by the
 * next process that finds no free one.
 */
static int keeper_connect(const struct gm_machine *m)
{
	uint32_t hello[2] = {m->proc, m->proc_gen};
	struct sockaddr_un address;
	int dir = gm_socket_address(m, "keeper", &address), fd;

	if (dir < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && (connect(fd, (struct sockaddr *)&address, sizeof(address)) ||
			send(fd, hello, sizeof(hello), MSG_NOSIGNAL) != (ssize_t)sizeof(hello))) {
		close(fd);
		fd = -1;
	}
	close(dir);
	return fd;
}

/* Frees only what is this process's own. The machine goes on, and so does our slot unless it was released before. */
static void machine_free(struct gm_machine *m)
{
	gm_attach_end(m);
	for (uint32_t i = 0; i < GM_MAX_HANDLES; i++)
		if (m->pipe[i].token)
			close(m->pipe[i].fd);
	if (m->keeper_fd >= 0)
		close(m->keeper_fd);
	gm_unmap_shared(m->state, sizeof(*m->state));
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
	m->recovery = &recovery;
	pthread_mutex_init(&m->lock, NULL);
	pthread_rwlock_init(&m->pipes_lock, NULL);
	pthread_mutex_init(&m->share_lock, NULL);
	m->dir = strdup(dir);
	m->track_free = malloc(GM_MAX_TRACKS * sizeof(*m->track_free));
	err = m->dir && m->track_free ? state_map(m) : -ENOMEM;
	if (err)
		goto err_free;
	/* DOMID_IDLE: the machine is being made and has no domain yet. */
	err = domid == DOMID_IDLE || gm_dom_alive(m, domid) ? gm_proc_claim(m) : -ESRCH;
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

/* Released before it is freed, as long as the state is mapped. */
void gm_machine_close(struct gm_machine *machine)
{
	if (!machine)
		return;
	gm_proc_release(machine, machine->proc, machine->proc_gen);
	machine_free(machine);
}

/* In the child of a fork: slot, tracks and ports are the parent's, which lives on. */
void gm_machine_forget(struct gm_machine *machine)
{
	machine_free(machine);
}

const char *gm_machine_dir(const struct gm_machine *machine)
{
	return machine->dir;
}
