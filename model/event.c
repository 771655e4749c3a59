/* SPDX-License-Identifier: MIT */
/*
 * Event channels. Bindings change below the big lock. Delivery takes no lock of the shared state, because a backend
 * must never wait for another process that was stopped with a lock held; it relies on the atomic words of struct
 * gm_port.
 */
#include "model/event.h"
#include "model/files.h"
#include "model/lock.h"
#include "model/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Ports come from callers as they please: this is the only place that turns one into a pointer. */
static struct gm_port *port_of(struct gm_machine *m, uint16_t domid, uint32_t port)
{
	return domid < GM_MAX_DOMAINS && port < GM_MAX_PORTS ? &gm_dom(m, domid)->port[port] : NULL;
}

static uint64_t link_load(const struct gm_port *p)
{
	return __atomic_load_n(&p->link, __ATOMIC_ACQUIRE);
}

static void link_store(struct gm_port *p, uint64_t link)
{
	__atomic_store_n(&p->link, link, __ATOMIC_RELEASE);
}

/* ---- pipes -------------------------------------------------------------------------------------------------- */

/* A token is a slot and its generation in one word, so that both are compared and stored at once. */
static uint32_t token_slot(uint32_t token)
{
	return (token & 0xffff) - 1;
}

/* The generation is in the name: a pipe that is opened late by its name can never be a later handle's. */
static char *pipe_path(const struct gm_machine *m, uint32_t token)
{
	char name[32];

	snprintf(name, sizeof(name), "ev.%u.%u", token_slot(token), token >> 16);
	return gm_path(m, name);
}

/* With pipes_lock held for reading: true when the pipe was known (and so the event written). */
static bool pipe_write(struct gm_machine *m, uint32_t token, uint32_t port)
{
	uint32_t slot = token_slot(token);
	ssize_t n;

	if (m->pipe[slot].token != token)
		return false;
	/* Cannot block or fill up: each port is in the pipe once at most, until it is read and unmasked. */
	n = write(m->pipe[slot].fd, &port, sizeof(port));
	(void)n;
	return true;
}

static void pipe_open(struct gm_machine *m, uint32_t token)
{
	uint32_t slot = token_slot(token);
	char *path = pipe_path(m, token);
	/* For reading too: so there is always a reader, and a handle that just closed costs no SIGPIPE. */
	int fd = path ? open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC) : -1;

	free(path);
	if (fd < 0)
		return; /* closed meanwhile: nobody to tell */
	pthread_rwlock_wrlock(&m->pipes_lock);
	if (m->pipe[slot].token)
		close(m->pipe[slot].fd);
	m->pipe[slot].token = token;
	m->pipe[slot].fd = fd;
	pthread_rwlock_unlock(&m->pipes_lock);
}

/*
 * Twice at most: if the pipe is not known yet, it is opened, and then the event is written. A pipe that cannot be
 * opened belongs to a handle that has gone, and nobody waits for its events.
 */
static void pipe_deliver(struct gm_machine *m, uint32_t token, uint32_t port)
{
	for (int i = 0; i < 2; i++) {
		bool done;

		pthread_rwlock_rdlock(&m->pipes_lock);
		done = pipe_write(m, token, port);
		pthread_rwlock_unlock(&m->pipes_lock);
		if (done)
			return;
		pipe_open(m, token);
	}
}

/*
 * Write ends of handles that were closed by their owners: without this a process that lives long would keep all of
 * them.
 */
void gm_pipe_sweep(struct gm_machine *machine)
{
	pthread_rwlock_wrlock(&machine->pipes_lock);
	for (uint32_t i = 0; i < GM_MAX_HANDLES; i++) {
		uint32_t token = machine->pipe[i].token;

		if (token && __atomic_load_n(&machine->state->handle[i].token, __ATOMIC_ACQUIRE) != token) {
			close(machine->pipe[i].fd);
			machine->pipe[i].token = 0;
		}
	}
	pthread_rwlock_unlock(&machine->pipes_lock);
}

/* ---- delivery ----------------------------------------------------------------------------------------------- */

/* Deliver a port that is pending and not masked. Exactly one of several callers does. */
static void port_deliver(struct gm_machine *m, uint16_t domid, uint32_t port)
{
	struct gm_port *p = &gm_dom(m, domid)->port[port];
	uint32_t owner = __atomic_load_n(&p->owner, __ATOMIC_ACQUIRE);
	uint32_t flags = GM_PORT_PENDING;

	if (owner == GM_OWNER_NONE)
		return; /* stays pending */
	if (owner & GM_OWNER_VCPU) {
		__atomic_fetch_and(&p->flags, ~GM_PORT_PENDING, __ATOMIC_ACQ_REL);
		gm_vcpu_wake(&gm_dom(m, domid)->vcpu[owner & ~GM_OWNER_VCPU]);
		return;
	}
	/* Pending and unmasked becomes masked. Pairs with the exchange in gm_event_unmask. */
	if (__atomic_compare_exchange_n(&p->flags, &flags, GM_PORT_MASKED, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		pipe_deliver(m, owner, port);
}

static void port_raise(struct gm_machine *m, uint16_t domid, uint32_t port)
{
	/*
	 * Release: what the sender wrote before, the receiver sees after it has taken the event (its acquire is the
	 * exchange in port_deliver or gm_event_unmask, or the read of the pipe).
	 */
	__atomic_fetch_or(&gm_dom(m, domid)->port[port].flags, GM_PORT_PENDING, __ATOMIC_ACQ_REL);
	port_deliver(m, domid, port);
}

/*
 * The link is read once. What it says may be old by the time of the delivery, which costs an event too many at worst.
 */
int gm_event_send(struct gm_machine *machine, uint16_t domid, uint32_t port)
{
	struct gm_port *p = port_of(machine, domid, port);
	uint64_t link = p ? link_load(p) : 0;

	switch (gm_link_state(link)) {
	case GM_PORT_INTERDOMAIN:
		/* The peer may be closed and even reused by now: then somebody gets an event too many. */
		port_raise(machine, gm_link_domid(link), gm_link_port(link));
		return 0;
	case GM_PORT_UNBOUND:
		return 0; /* dropped, as in Xen */
	default:
		return -EINVAL;
	}
}

void gm_event_unmask(struct gm_machine *machine, uint16_t domid, uint32_t port)
{
	struct gm_port *p = port_of(machine, domid, port);

	/* Acquire and release: pairs with port_deliver, so that a raise while masked is seen here or delivers itself.
	 */
	if (p && __atomic_fetch_and(&p->flags, ~GM_PORT_MASKED, __ATOMIC_ACQ_REL) & GM_PORT_PENDING) {
		GM_COUNT(machine, hypercalls, 1); /* EVTCHNOP_unmask: only when something is pending */
		port_deliver(machine, domid, port);
	}
}

/*
 * A receiver takes an event that it was told of already as one that means nothing new: drivers look at their rings
 * then. That is why everything which is marked as delivered may be delivered once more.
 */
void gm_event_redeliver(struct gm_machine *machine)
{
	for (uint16_t d = 0; d < GM_MAX_DOMAINS; d++) {
		if (!gm_dom_alive(machine, d))
			continue;
		for (uint32_t i = 0; i < GM_MAX_PORTS; i++) {
			struct gm_port *p = &gm_dom(machine, d)->port[i];
			uint32_t owner = __atomic_load_n(&p->owner, __ATOMIC_ACQUIRE);

			if (owner && !(owner & GM_OWNER_VCPU) &&
			    __atomic_load_n(&p->flags, __ATOMIC_ACQUIRE) & GM_PORT_MASKED)
				pipe_deliver(machine, owner, i);
			else if (owner & GM_OWNER_VCPU)
				gm_vcpu_wake(&gm_dom(machine, d)->vcpu[owner & ~GM_OWNER_VCPU]);
		}
	}
}

/* ---- binding ------------------------------------------------------------------------------------------------ */

/* With big held: a free port, reserved. Port 0 is never given out. */
static int port_alloc(struct gm_machine *m, uint16_t domid, uint32_t owner)
{
	for (uint32_t i = 1; i < GM_MAX_PORTS; i++) {
		struct gm_port *p = &gm_dom(m, domid)->port[i];

		if (gm_link_state(link_load(p)) != GM_PORT_FREE)
			continue;
		__atomic_store_n(&p->flags, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&p->owner, owner, __ATOMIC_RELAXED);
		link_store(p, gm_link(GM_PORT_RESERVED, 0, 0));
		return (int)i;
	}
	return -ENOSPC;
}

int gm_event_alloc_unbound_locked(struct gm_machine *machine, uint16_t domid, uint16_t remote, uint32_t owner)
{
	int port = port_alloc(machine, domid, owner);

	if (port > 0)
		link_store(&gm_dom(machine, domid)->port[port], gm_link(GM_PORT_UNBOUND, remote, 0));
	return port;
}

int gm_event_alloc_unbound(struct gm_machine *machine, uint16_t domid, uint16_t remote, uint32_t owner)
{
	int port;

	GM_COUNT(machine, hypercalls, 1);
	gm_big_lock(machine);
	port = gm_dom_alive(machine, domid) ? gm_event_alloc_unbound_locked(machine, domid, remote, owner) : -ESRCH;
	gm_big_unlock(machine);
	return port;
}

/* With big held. */
static int bind_locked(struct gm_machine *m, uint16_t remote, uint32_t remote_port, uint32_t owner)
{
	struct gm_port *peer = port_of(m, remote, remote_port), *p;
	uint64_t link;
	int port;

	if (!gm_dom_alive(m, remote))
		return -ESRCH;
	link = peer ? link_load(peer) : 0;
	if (gm_link_state(link) != GM_PORT_UNBOUND || gm_link_domid(link) != m->domid)
		return -EINVAL;
	port = port_alloc(m, m->domid, owner);
	if (port < 0)
		return port;
	p = &gm_dom(m, m->domid)->port[port];
	link_store(p, gm_link(GM_PORT_INTERDOMAIN, remote, remote_port));
	link_store(peer, gm_link(GM_PORT_INTERDOMAIN, m->domid, (uint32_t)port));
	return port;
}

/* Only the domain that the port was left for can bind it, and only once. */
int gm_event_bind_interdomain(struct gm_machine *machine, uint16_t remote, uint32_t remote_port, uint32_t owner)
{
	int port;

	GM_COUNT(machine, hypercalls, 1);
	if (!gm_self_alive(machine))
		return -ESRCH;
	gm_big_lock(machine);
	port = bind_locked(machine, remote, remote_port, owner);
	gm_big_unlock(machine);
	/* Xen raises the new local port, so that an event sent before the binding is not lost. */
	if (port > 0)
		port_raise(machine, machine->domid, (uint32_t)port);
	return port;
}

/* The peer becomes unbound, and can be bound again: a backend that restarts binds the guest's port a second time. */
void gm_event_close_locked(struct gm_machine *machine, uint16_t domid, uint32_t port)
{
	struct gm_port *p = &gm_dom(machine, domid)->port[port];
	uint64_t link = link_load(p);

	if (gm_link_state(link) == GM_PORT_INTERDOMAIN) {
		struct gm_port *peer = port_of(machine, gm_link_domid(link), gm_link_port(link));

		if (peer && link_load(peer) == gm_link(GM_PORT_INTERDOMAIN, domid, port))
			link_store(peer, gm_link(GM_PORT_UNBOUND, domid, 0));
	}
	__atomic_store_n(&p->owner, GM_OWNER_NONE, __ATOMIC_RELEASE);
	__atomic_store_n(&p->flags, 0, __ATOMIC_RELAXED);
	link_store(p, 0);
}

void gm_event_close_all(struct gm_machine *machine, uint16_t domid)
{
	for (uint32_t i = 0; i < GM_MAX_PORTS; i++)
		if (link_load(&gm_dom(machine, domid)->port[i]))
			gm_event_close_locked(machine, domid, i);
}

/*
 * With big held, after the death of its holder. A port is linked after its peer was looked at and before the peer links
 * back, so half a binding shows at exactly one of the two ports.
 */
void gm_event_repair(struct gm_machine *machine)
{
	for (uint16_t d = 0; d < GM_MAX_DOMAINS; d++)
		for (uint32_t i = 0; i < GM_MAX_PORTS; i++) {
			struct gm_port *p = &gm_dom(machine, d)->port[i], *peer;
			uint64_t link = link_load(p);

			if (gm_link_state(link) == GM_PORT_RESERVED) {
				gm_event_close_locked(machine, d, i);
				continue;
			}
			if (gm_link_state(link) != GM_PORT_INTERDOMAIN)
				continue;
			/* One side was linked, or unlinked, and the other was not: the binding is undone. */
			peer = port_of(machine, gm_link_domid(link), gm_link_port(link));
			if (!peer || link_load(peer) != gm_link(GM_PORT_INTERDOMAIN, d, i))
				link_store(p, gm_link(GM_PORT_UNBOUND, gm_link_domid(link), 0));
		}
}

/* ---- handles ------------------------------------------------------------------------------------------------ */

/* The generation has 15 bits, so that a token never looks like GM_OWNER_VCPU. */
static int handle_claim(struct gm_machine *m, uint32_t *token)
{
	int err = -EMFILE;

	gm_big_lock(m);
	for (uint32_t i = 0; i < GM_MAX_HANDLES && err; i++) {
		struct gm_handle *h = &m->state->handle[i];

		if (__atomic_load_n(&h->token, __ATOMIC_ACQUIRE))
			continue;
		h->gen = (h->gen + 1) & 0x7fff;
		h->proc = m->proc + 1;
		h->domid = m->domid;
		*token = h->gen << 16 | (i + 1);
		__atomic_store_n(&h->token, *token, __ATOMIC_RELEASE);
		err = 0;
	}
	gm_big_unlock(m);
	return err;
}

int gm_handle_open(struct gm_machine *machine, bool cloexec, uint32_t *token, int *fd)
{
	int err = handle_claim(machine, token);
	char *path;

	if (err)
		return err;
	path = pipe_path(machine, *token);
	if (!path) {
		err = -ENOMEM;
		goto err_close;
	}
	unlink(path); /* left by a machine of the same directory that died long ago */
	*fd = mkfifo(path, 0600) ? -1 : open(path, O_RDWR | (cloexec ? O_CLOEXEC : 0));
	err = *fd < 0 ? -errno : 0;
	free(path);
	if (!err)
		return 0;

err_close:
	gm_handle_close(machine, *token);
	return err;
}

/* Safe for a token that has gone already: the keeper and the owner may both close it. */
void gm_handle_close(struct gm_machine *machine, uint32_t token)
{
	struct gm_handle *h = &machine->state->handle[token_slot(token)];
	char *path;

	gm_big_lock(machine);
	if (__atomic_load_n(&h->token, __ATOMIC_ACQUIRE) == token) {
		for (uint32_t i = 0; i < GM_MAX_PORTS; i++) {
			struct gm_port *p = &gm_dom(machine, h->domid)->port[i];

			if (__atomic_load_n(&p->owner, __ATOMIC_ACQUIRE) == token)
				gm_event_close_locked(machine, h->domid, i);
		}
		path = pipe_path(machine, token);
		if (path)
			unlink(path);
		free(path);
		__atomic_store_n(&h->token, 0, __ATOMIC_RELEASE);
	}
	gm_big_unlock(machine);
	gm_pipe_sweep(machine);
}

/* A descriptor that came over an exec has no token with it. The pipe's inode says which handle it is. */
uint32_t gm_handle_find(struct gm_machine *machine, int fd)
{
	struct stat want, st;

	if (fstat(fd, &want) || !S_ISFIFO(want.st_mode))
		return 0;
	for (uint32_t i = 0; i < GM_MAX_HANDLES; i++) {
		uint32_t token = __atomic_load_n(&machine->state->handle[i].token, __ATOMIC_ACQUIRE);
		char *path = token ? pipe_path(machine, token) : NULL;
		bool same = path && !stat(path, &st) && st.st_ino == want.st_ino && st.st_dev == want.st_dev;

		free(path);
		if (same) {
			machine->state->handle[i].proc = machine->proc + 1;
			return token;
		}
	}
	return 0;
}

bool gm_handle_owns(struct gm_machine *machine, uint32_t token, uint32_t port)
{
	struct gm_port *p = port_of(machine, machine->domid, port);

	return p && __atomic_load_n(&p->owner, __ATOMIC_ACQUIRE) == token;
}

int gm_handle_unbind(struct gm_machine *machine, uint32_t token, uint32_t port)
{
	int err = -ENOTCONN;

	if (port >= GM_MAX_PORTS)
		return -EINVAL;
	gm_big_lock(machine);
	if (gm_handle_owns(machine, token, port)) {
		GM_COUNT(machine, hypercalls, 1);
		gm_event_close_locked(machine, machine->domid, port);
		err = 0;
	}
	gm_big_unlock(machine);
	return err;
}
