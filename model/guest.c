/* SPDX-License-Identifier: MIT */
/* A guest: its memory and grant table, its vCPUs' device accesses through ioreq pages, its interrupts. */
#include "model/guest.h"
#include "model/attach.h"
#include "model/domain.h"
#include "model/event.h"
#include "model/grant.h"
#include "model/guest_priv.h"
#include "model/ioreq.h"
#include "model/lock.h"
#include "model/wait.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* ---- open and close ----------------------------------------------------------------------------------------- */

/* Asked as the domain itself, since only its own slot says which process is its guest. */
int gm_guest_pid(const char *dir, uint16_t domid)
{
	struct gm_machine *m;
	int err, pid;

	if (!domid || domid >= GM_MAX_DOMAINS)
		return -EINVAL;
	err = gm_machine_open_as(&m, dir, domid);
	if (err)
		return err;
	gm_big_lock(m);
	pid = gm_guest_holder(m);
	gm_big_unlock(m);
	gm_machine_close(m);
	return pid;
}

/*
 * The claim comes before the attachment: it clears the grant table of a process that was killed, and refuses a second
 * guest before that one can touch anything.
 */
int gm_guest_open(struct gm_guest **guest, const char *dir, uint16_t domid)
{
	struct gm_guest *g;
	int err;

	if (!domid || domid >= GM_MAX_DOMAINS)
		return -EINVAL;
	g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	err = gm_machine_open_as(&g->m, dir, domid);
	if (err)
		goto err_free;
	g->d = gm_dom(g->m, domid);
	err = gm_guest_claim(g->m);
	if (err)
		goto err_machine;
	g->a = gm_attach_get(g->m, domid);
	if (!g->a) {
		err = -ESRCH;
		goto err_machine;
	}
	pthread_mutex_init(&g->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&g->vcpu_free, &attr);
	pthread_condattr_destroy(&attr);
	*guest = g;
	return 0;

err_machine:
	gm_machine_close(g->m);
err_free:
	free(g);
	return err;
}

void gm_guest_close(struct gm_guest *guest)
{
	if (!guest)
		return;
	gm_attach_put(guest->m, guest->a);
	gm_machine_close(guest->m); /* gives guest_proc back too */
	pthread_cond_destroy(&guest->vcpu_free);
	pthread_mutex_destroy(&guest->lock);
	free(guest);
}

struct gm_machine *gm_guest_machine(struct gm_guest *guest)
{
	return guest->m;
}

uint16_t gm_guest_domid(const struct gm_guest *guest)
{
	return guest->m->domid;
}

void *gm_guest_ram(struct gm_guest *guest, size_t *bytes)
{
	if (bytes)
		*bytes = guest->a->ram_frames * GM_PAGE_SIZE;
	return guest->a->ram;
}

/* ---- grant table -------------------------------------------------------------------------------------------- */

/* As Xen's GNTTABOP_set_version: the table's layout changes, so nothing may be in use, and all entries go. */
int gm_guest_grant_version(struct gm_guest *guest, uint32_t version)
{
	int err = 0;

	if (version != 1 && version != 2)
		return -EINVAL;
	GM_COUNT(guest->m, hypercalls, 1);
	gm_grant_lock(guest->m, guest->a);
	if (!gm_self_alive(guest->m)) {
		err = -ESRCH;
	} else if (guest->d->active_count) {
		err = -EBUSY;
	} else if (guest->d->version != version) {
		memset(guest->a->grants, 0, (size_t)guest->d->frames * GM_PAGE_SIZE);
		memset(guest->a->grants + (size_t)guest->a->max_frames * GM_PAGE_SIZE, 0,
		       (size_t)guest->a->max_frames * 512);
		guest->d->version = version;
	}
	gm_grant_unlock(guest->m, guest->m->domid);
	return err;
}

/* The table grows by whole pages and never shrinks, as on Xen. Growing is a hypercall, looking at it is none. */
int gm_guest_grant_table(struct gm_guest *guest, uint32_t entries, struct gm_grant_table *out)
{
	struct gm_domain *d = guest->d;
	uint32_t per_frame, frames;
	int err = 0;

	gm_grant_lock(guest->m, guest->a);
	per_frame = d->version == 2 ? 256 : 512;
	frames = entries / per_frame + (entries % per_frame != 0);
	if (!gm_self_alive(guest->m)) {
		err = -ESRCH;
	} else if (frames > d->max_frames) {
		err = -ENOSPC;
	} else if (frames > d->frames) {
		GM_COUNT(guest->m, hypercalls, 1);
		__atomic_store_n(&d->frames, frames, __ATOMIC_RELEASE);
	}
	out->shared = guest->a->grants;
	out->status = d->version == 2
			      ? (uint16_t *)(void *)(guest->a->grants + (size_t)guest->a->max_frames * GM_PAGE_SIZE)
			      : NULL;
	out->entries = d->frames * per_frame;
	out->max = d->max_frames * per_frame;
	out->version = d->version;
	gm_grant_unlock(guest->m, guest->m->domid);
	return err;
}

/* ---- device accesses ---------------------------------------------------------------------------------------- */

/* A guest that is destroyed or has crashed runs no more vCPU, so each of its accesses and waits ends. */
static bool guest_running(struct gm_guest *g)
{
	return gm_self_alive(g->m) && gm_dom_state(g->m, g->m->domid) == GM_DOMAIN_RUNNING;
}

/* See GM_IOREQ_STATE_OFFSET: the state shares a byte with flags that nobody writes meanwhile. */
static uint8_t *state_byte(struct ioreq *p)
{
	return (uint8_t *)p + GM_IOREQ_STATE_OFFSET;
}

static unsigned state_load(struct ioreq *p)
{
	/* Acquire: the answer's data is read after its state. Pairs with the backend's barrier before RESP_READY. */
	return __atomic_load_n(state_byte(p), __ATOMIC_ACQUIRE) & GM_IOREQ_STATE_MASK;
}

static struct ioreq *ioreq_of(struct gm_guest *g, unsigned server, unsigned vcpu)
{
	return (struct ioreq *)(void *)gm_server_page(g->a, server, 1) + vcpu;
}

/*
 * An access that timed out leaves its vCPU stuck, as on Xen, until the answer comes after all; the ioreq is idle again
 * from then on, and so is the vCPU.
 */
static bool vcpu_usable(struct gm_guest *g, unsigned vcpu)
{
	uint32_t pending = __atomic_load_n(&g->d->vcpu[vcpu].pending, __ATOMIC_ACQUIRE);
	struct ioreq *p;

	if (g->busy[vcpu])
		return false;
	if (!pending)
		return true;
	p = ioreq_of(g, pending - 1, vcpu);
	if (state_load(p) != STATE_IORESP_READY && state_load(p) != STATE_IOREQ_NONE)
		return false;
	__atomic_store_n(state_byte(p), STATE_IOREQ_NONE, __ATOMIC_RELEASE);
	__atomic_store_n(&g->d->vcpu[vcpu].pending, 0, __ATOMIC_RELEASE);
	return true;
}

/* Take a vCPU that has nothing to do; waits for one. */
static int vcpu_take(struct gm_guest *g, int64_t deadline)
{
	struct timespec ts = {.tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000};
	int found = -1, err = 0;

	pthread_mutex_lock(&g->lock);
	while (!err) {
		for (unsigned i = 0; i < g->d->vcpus && found < 0; i++)
			if (vcpu_usable(g, i))
				found = (int)i;
		if (found >= 0)
			break;
		if (deadline < 0)
			pthread_cond_wait(&g->vcpu_free, &g->lock);
		else
			err = -pthread_cond_timedwait(&g->vcpu_free, &g->lock, &ts);
	}
	if (found >= 0)
		g->busy[found] = true;
	pthread_mutex_unlock(&g->lock);
	return found >= 0 ? found : err;
}

/* One waiter is enough: one vCPU has become free. */
static void vcpu_give(struct gm_guest *g, unsigned vcpu)
{
	pthread_mutex_lock(&g->lock);
	g->busy[vcpu] = false;
	pthread_cond_signal(&g->vcpu_free);
	pthread_mutex_unlock(&g->lock);
}

struct access {
	struct gm_guest *g;
	unsigned vcpu;
	struct gm_choice server;
	struct ioreq *p;
	int64_t deadline;
};

/* The server may end, and another be made with its id, while a vCPU waits for it: the generation tells them apart. */
static bool server_same(const struct access *ac)
{
	const struct gm_server *s = &ac->g->d->server[ac->server.id];

	return __atomic_load_n(&s->used, __ATOMIC_ACQUIRE) &&
	       __atomic_load_n(&s->gen, __ATOMIC_ACQUIRE) == ac->server.gen;
}

/* Sleep until the state may have changed from `state`. 0 or -ETIMEDOUT. */
static int vcpu_wait(struct access *ac, unsigned state)
{
	struct gm_vcpu *v = &ac->g->d->vcpu[ac->vcpu];
	uint32_t gen = __atomic_load_n(&v->gen, __ATOMIC_SEQ_CST);
	int err = 0;

	/* Announce, then look, then sleep: pairs with gm_vcpu_wake, which counts and then looks for waiters. */
	__atomic_store_n(&v->waiters, 1, __ATOMIC_SEQ_CST);
	if (state_load(ac->p) == state && server_same(ac) && guest_running(ac->g))
		err = gm_futex_wait(&v->gen, gen, gm_left_ms(ac->deadline));
	__atomic_store_n(&v->waiters, 0, __ATOMIC_RELAXED);
	return err == -ETIMEDOUT ? err : 0;
}

/*
 * Hand the access to the server. The page is shared with the device model, so what Xen relies on is checked as Xen
 * checks it: the ioreq must be idle, and name the port that Xen put there.
 */
static int access_send(struct access *ac, uint64_t addr, unsigned size, bool write, uint64_t value)
{
	struct ioreq *p = ac->p;
	uint32_t eport = __atomic_load_n(&p->vp_eport, __ATOMIC_RELAXED);
	unsigned state = state_load(p);
	struct ioreq req = {.addr = addr,
			    .data = write ? value : 0,
			    .count = 1,
			    .size = size,
			    .vp_eport = ac->server.port,
			    .state = STATE_IOREQ_NONE,
			    .dir = write ? IOREQ_WRITE : IOREQ_READ,
			    .type = IOREQ_TYPE_COPY};

	if (state != STATE_IOREQ_NONE || eport != ac->server.port) {
		fprintf(stderr, "grantio model: d%uv%u: device model set %s %u: access to %#llx fails\n",
			ac->g->m->domid, ac->vcpu, state ? "bad io state" : "bad event channel", state ? state : eport,
			(unsigned long long)addr);
		return -EFAULT;
	}
	*p = req;
	__atomic_store_n(&ac->g->d->vcpu[ac->vcpu].pending, ac->server.id + 1, __ATOMIC_RELAXED);
	req.state = STATE_IOREQ_READY;
	/* Release: the request is there before its state; pairs with the backend's barrier after it read the state. */
	__atomic_store_n(state_byte(p), ((uint8_t *)&req)[GM_IOREQ_STATE_OFFSET], __ATOMIC_RELEASE);
	GM_COUNT(ac->g->m, ioreqs, 1);
	gm_event_send(ac->g->m, ac->g->m->domid, ac->server.port);
	return 0;
}

/* Xen crashes the guest whose device model breaks the protocol; the line is that of Xen's console. */
static int guest_crash(const struct access *ac, unsigned from, unsigned to)
{
	fprintf(stderr, "grantio model: d%uv%u: weird ioreq state transition %u -> %u: domain crashed\n",
		ac->g->m->domid, ac->vcpu, from, to);
	gm_domain_crash(ac->g->m, ac->g->m->domid);
	return -ESHUTDOWN;
}

/* Wait for the answer as Xen does: the state may only rise, until it is RESP_READY. */
static int access_wait(struct access *ac, uint64_t *data)
{
	unsigned last = STATE_IOREQ_READY, state;
	bool gone;
	int err;

	for (;;) {
		state = state_load(ac->p);
		gone = !server_same(ac);
		if (!guest_running(ac->g)) /* after `gone`: a domain dies before its servers do */
			return -ESHUTDOWN;
		if (gone)
			return 0; /* nobody is left to answer: ones */
		if (state == STATE_IOREQ_NONE)
			return 0; /* the server gave up */
		if (state < last || state > STATE_IORESP_READY)
			return guest_crash(ac, last, state);
		last = state;
		if (state == STATE_IORESP_READY) {
			*data = __atomic_load_n(&ac->p->data, __ATOMIC_RELAXED);
			__atomic_store_n(state_byte(ac->p), STATE_IOREQ_NONE, __ATOMIC_RELEASE);
			return 0;
		}
		err = vcpu_wait(ac, state);
		if (err && state_load(ac->p) == state)
			return err;
	}
}

static int access_run(struct access *ac, uint64_t addr, unsigned size, bool write, uint64_t *value)
{
	struct gm_range bytes = {.start = addr, .end = addr + size - 1};
	uint64_t data = UINT64_MAX;
	int err = 0;

	/* Without a server nobody is there to answer: ones. */
	if (gm_server_select(ac->g->m, ac->g->m->domid, bytes, ac->vcpu, &ac->server)) {
		ac->p = ioreq_of(ac->g, ac->server.id, ac->vcpu);
		err = access_send(ac, addr, size, write, *value);
		if (err)
			return err;
		err = access_wait(ac, &data);
		if (err != -ETIMEDOUT)
			__atomic_store_n(&ac->g->d->vcpu[ac->vcpu].pending, 0, __ATOMIC_RELEASE);
	}
	if (!err && !write)
		*value = size == 8 ? data : data & ((UINT64_C(1) << size * 8) - 1);
	return err;
}

/* Which vCPU makes the access does not matter to the device, so any that is free will do. */
int gm_guest_mmio(struct gm_guest *guest, uint64_t addr, unsigned size, bool write, uint64_t *value, int timeout_ms)
{
	struct access ac = {.g = guest, .deadline = timeout_ms < 0 ? -1 : gm_now_ms() + timeout_ms};
	int vcpu, err;

	if ((size != 1 && size != 2 && size != 4 && size != 8) || addr > UINT64_MAX - size)
		return -EINVAL;
	if (!guest_running(guest))
		return -ESHUTDOWN;
	vcpu = vcpu_take(guest, ac.deadline);
	if (vcpu < 0)
		return vcpu;
	ac.vcpu = (unsigned)vcpu;
	err = access_run(&ac, addr, size, write, value);
	vcpu_give(guest, ac.vcpu);
	return err;
}

/* ---- interrupts --------------------------------------------------------------------------------------------- */

/* What ends a wait: 0 an edge, -EINTR a wake, -ESHUTDOWN; -EAGAIN: nothing yet. */
static int irq_poll(struct gm_guest *g, unsigned irq, uint32_t wakes)
{
	struct gm_irq_wake *w = &g->irq[irq];

	if (!guest_running(g))
		return -ESHUTDOWN;
	if (__atomic_exchange_n(&w->due, 0, __ATOMIC_SEQ_CST) || __atomic_load_n(&w->count, __ATOMIC_SEQ_CST) != wakes)
		return -EINTR;
	/* Acquire: what the device did before it raised the line is seen after this. Pairs with gm_irq_set. */
	return __atomic_exchange_n(&g->d->irq[irq].pending, 0, __ATOMIC_SEQ_CST) ? 0 : -EAGAIN;
}

/* `wakes` is read before the first look: a wake from then on ends this wait, whatever else happens. */
int gm_guest_irq_wait(struct gm_guest *guest, unsigned irq, int timeout_ms)
{
	int64_t deadline = timeout_ms < 0 ? -1 : gm_now_ms() + timeout_ms;
	struct gm_irq *line;
	uint32_t wakes;
	int err;

	if (irq >= GM_MAX_IRQS)
		return -EINVAL;
	line = &guest->d->irq[irq];
	wakes = __atomic_load_n(&guest->irq[irq].count, __ATOMIC_SEQ_CST);
	for (;;) {
		uint32_t gen = __atomic_load_n(&line->gen, __ATOMIC_SEQ_CST);

		/* Announce, look, sleep: as in vcpu_wait. */
		__atomic_fetch_add(&line->waiters, 1, __ATOMIC_SEQ_CST);
		err = irq_poll(guest, irq, wakes);
		if (err == -EAGAIN && gm_futex_wait(&line->gen, gen, gm_left_ms(deadline)) == -ETIMEDOUT)
			err = -ETIMEDOUT;
		__atomic_fetch_sub(&line->waiters, 1, __ATOMIC_SEQ_CST);
		if (err != -EAGAIN)
			break;
	}
	if (err == -ETIMEDOUT && __atomic_exchange_n(&line->pending, 0, __ATOMIC_SEQ_CST))
		err = 0;
	return err;
}

void gm_guest_irq_wake(struct gm_guest *guest, unsigned irq)
{
	if (irq >= GM_MAX_IRQS)
		return;
	/* `due` also for a wait that is yet to come: a wake is never lost between two waits. */
	__atomic_store_n(&guest->irq[irq].due, 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&guest->irq[irq].count, 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&guest->d->irq[irq].gen, 1, __ATOMIC_SEQ_CST);
	gm_futex_wake(&guest->d->irq[irq].gen);
}
