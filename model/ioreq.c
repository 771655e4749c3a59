/* SPDX-License-Identifier: MIT */
/*
 * Ioreq servers and interrupt lines of a domain. The range lists and states lie below the domain's io_lock; ports are
 * opened and closed below the big lock. A vCPU that waits for a server compares its generation, and so notices its end.
 */
#include "model/ioreq.h"
#include "model/attach.h"
#include "model/event.h"
#include "model/lock.h"
#include "model/wait.h"

#include <errno.h>
#include <string.h>

#include <xen/memory.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/dm_op.h>

/* Xen asks the same: a privileged domain, or one that was made the target's device model. */
int gm_dm_allowed(struct gm_machine *machine, uint16_t domid)
{
	if (!gm_self_alive(machine) || !gm_dom_alive(machine, domid))
		return -ESRCH;
	if (domid == machine->domid)
		return -EPERM; /* Xen: the domain must be a remote one */
	if (machine->domid &&
	    !(__atomic_load_n(&gm_dom(machine, machine->domid)->targets, __ATOMIC_RELAXED) & 1u << domid))
		return -EPERM;
	return 0;
}

/* The server if it is the caller's: -ENOENT, -EPERM otherwise. With io_lock held. */
static int server_get(struct gm_machine *m, uint16_t domid, uint16_t id, struct gm_server **out)
{
	struct gm_server *s;

	if (id >= GM_MAX_SERVERS || !gm_dom(m, domid)->server[id].used)
		return -ENOENT;
	s = &gm_dom(m, domid)->server[id];
	*out = s;
	return s->emulator == m->domid ? 0 : -EPERM;
}

/* ---- create and destroy ------------------------------------------------------------------------------------- */

/* Xen's ports of a server end with it, and the device model's ends become unbound. */
static void server_ports_close(struct gm_machine *m, uint16_t domid, struct gm_server *s)
{
	for (uint32_t i = 0; i < GM_MAX_VCPUS; i++)
		if (s->vcpu_port[i])
			gm_event_close_locked(m, domid, s->vcpu_port[i]);
	if (s->buf_port)
		gm_event_close_locked(m, domid, s->buf_port);
	memset(s->vcpu_port, 0, sizeof(s->vcpu_port));
	s->buf_port = 0;
}

/* With big held: one port a vCPU, to be bound by the emulator. */
static int server_ports_open(struct gm_machine *m, uint16_t domid, struct gm_server *s)
{
	uint32_t vcpus = gm_dom(m, domid)->vcpus;
	int port;

	for (uint32_t i = 0; i < vcpus; i++) {
		port = gm_event_alloc_unbound_locked(m, domid, m->domid, GM_OWNER_VCPU | i);
		if (port < 0) {
			server_ports_close(m, domid, s);
			return port;
		}
		s->vcpu_port[i] = (uint32_t)port;
	}
	return 0;
}

/* With big held. The server is visible to vCPUs only from the moment when `used` is set, with all of its ports open. */
static int server_create(struct gm_machine *m, uint16_t domid, uint16_t *id)
{
	struct gm_server *s;
	uint16_t i;
	int err;

	if (!gm_dom_alive(m, domid))
		return -ESRCH;
	for (i = 0; i < GM_MAX_SERVERS && gm_dom(m, domid)->server[i].used; i++)
		;
	if (i == GM_MAX_SERVERS)
		return -ENOSPC;
	s = &gm_dom(m, domid)->server[i];
	memset(s->vcpu_port, 0, sizeof(s->vcpu_port));
	memset(s->nr_ranges, 0, sizeof(s->nr_ranges));
	s->buf_port = 0;
	s->buffered = s->enabled = s->page_made = false;
	s->emulator = m->domid;
	err = server_ports_open(m, domid, s);
	if (err)
		return err;
	gm_io_lock(m, domid);
	s->gen++;
	s->used = true;
	gm_io_unlock(m, domid);
	*id = i;
	return 0;
}

int gm_server_create(struct gm_machine *machine, uint16_t domid, int buffered, uint16_t *id)
{
	int err;

	/* Arm has no buffered ioreqs. */
	if (buffered != HVM_IOREQSRV_BUFIOREQ_OFF)
		return -EINVAL;
	gm_big_lock(machine);
	err = server_create(machine, domid, id);
	gm_big_unlock(machine);
	return err;
}

/* With big held. A vCPU that waits for this server's answer goes on without. */
static void server_end(struct gm_machine *m, uint16_t domid, uint16_t id)
{
	struct gm_domain *d = gm_dom(m, domid);
	struct gm_server *s = &d->server[id];
	struct gm_attach *a = gm_attach_get(m, domid);

	gm_io_lock(m, domid);
	s->enabled = false;
	s->used = false;
	s->gen++;
	gm_io_unlock(m, domid);
	server_ports_close(m, domid, s);
	if (a)
		memset(gm_server_page(a, id, 0), 0, (size_t)2 * GM_PAGE_SIZE); /* the next server's page is new */
	gm_attach_put(m, a);
	for (uint32_t i = 0; i < GM_MAX_VCPUS; i++)
		gm_vcpu_wake(&d->vcpu[i]);
}

int gm_server_destroy(struct gm_machine *machine, uint16_t domid, uint16_t id)
{
	struct gm_server *s;
	int err;

	gm_big_lock(machine);
	err = server_get(machine, domid, id, &s);
	if (!err)
		server_end(machine, domid, id);
	gm_big_unlock(machine);
	return err;
}

/* Servers outlive their device models, so that only the end of the domain ends those that nobody destroyed. */
void gm_servers_destroy(struct gm_machine *machine, uint16_t domid)
{
	for (uint16_t i = 0; i < GM_MAX_SERVERS; i++)
		if (gm_dom(machine, domid)->server[i].used)
			server_end(machine, domid, i);
}

/* ---- state and pages ---------------------------------------------------------------------------------------- */

/* The device model reads from the page which port each vCPU listens at. */
static void ports_publish(struct gm_machine *m, const struct gm_attach *a, const struct gm_server *s, uint16_t id)
{
	struct ioreq *page = (struct ioreq *)(void *)gm_server_page(a, id, 1);

	for (uint32_t i = 0; i < gm_dom(m, a->domid)->vcpus; i++)
		__atomic_store_n(&page[i].vp_eport, s->vcpu_port[i], __ATOMIC_RELEASE);
}

int gm_server_enable(struct gm_machine *machine, uint16_t domid, uint16_t id, bool enable)
{
	struct gm_attach *a = gm_attach_get(machine, domid);
	struct gm_server *s;
	int err;

	if (!a)
		return -ESRCH;
	gm_io_lock(machine, domid);
	err = server_get(machine, domid, id, &s);
	if (!err && enable && !s->enabled && s->page_made)
		ports_publish(machine, a, s, id); /* a page that is made later stays without ports, as in Xen */
	if (!err)
		s->enabled = enable;
	gm_io_unlock(machine, domid);
	gm_attach_put(machine, a);
	return err;
}

int gm_server_buf_port(struct gm_machine *machine, uint16_t domid, uint16_t id, uint32_t *port)
{
	struct gm_server *s;
	int err;

	gm_io_lock(machine, domid);
	err = server_get(machine, domid, id, &s);
	if (!err && s->buffered)
		*port = s->buf_port;
	gm_io_unlock(machine, domid);
	return err;
}

/* Page 0 is the buffered one, which Arm does not have; page 1 has the vCPUs' ioreqs. */
int gm_server_pages(struct gm_machine *machine, uint16_t domid, uint16_t id, uint64_t frame, uint64_t nr)
{
	struct gm_server *s;
	int err;

	gm_io_lock(machine, domid);
	err = server_get(machine, domid, id, &s);
	if (!err && (frame > 1 || nr > 2 || frame + nr > 2))
		err = -EINVAL;
	else if (!err && frame == XENMEM_resource_ioreq_server_frame_bufioreq && nr && !s->buffered)
		err = -ENOENT;
	else if (!err && nr)
		s->page_made = true;
	gm_io_unlock(machine, domid);
	return err;
}

/* ---- ranges ------------------------------------------------------------------------------------------------- */

/* Bytes of start..end that the ranges cover: they never overlap each other. */
static uint64_t ranges_cover(const struct gm_server *s, enum gm_io_type type, uint64_t start, uint64_t end)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < s->nr_ranges[type]; i++) {
		const struct gm_range *r = &s->range[type][i];
		uint64_t from = r->start > start ? r->start : start, to = r->end < end ? r->end : end;

		if (from <= to)
			sum += to - from + 1;
	}
	return sum;
}

static void range_remove(struct gm_server *s, enum gm_io_type type, uint32_t i)
{
	s->range[type][i] = s->range[type][s->nr_ranges[type] - 1];
	s->nr_ranges[type]--;
}

/* GM_MAX_RANGES is Xen's own limit per server and type. */
static int range_append(struct gm_server *s, enum gm_io_type type, uint64_t start, uint64_t end)
{
	uint32_t n = s->nr_ranges[type];

	if (n == GM_MAX_RANGES)
		return -ENOMEM;
	s->range[type][n] = (struct gm_range){start, end};
	s->nr_ranges[type] = n + 1;
	return 0;
}

/* Adjacent ranges are one, as in Xen's rangesets: 256 devices side by side take one. */
static int range_add(struct gm_server *s, enum gm_io_type type, uint64_t start, uint64_t end)
{
	for (uint32_t i = 0; i < s->nr_ranges[type];) {
		const struct gm_range *r = &s->range[type][i];

		if (start && r->end == start - 1)
			start = r->start;
		else if (end != UINT64_MAX && r->start == end + 1)
			end = r->end;
		else {
			i++;
			continue;
		}
		range_remove(s, type, i);
		i = 0;
	}
	return range_append(s, type, start, end);
}

/* A cut out of the middle leaves two ranges, for which there may be no room: then nothing has changed. */
static int range_cut(struct gm_server *s, enum gm_io_type type, uint64_t start, uint64_t end)
{
	for (uint32_t i = 0; i < s->nr_ranges[type];) {
		struct gm_range *r = &s->range[type][i];

		if (r->start > end || r->end < start) {
			i++;
		} else if (r->start < start && r->end > end) {
			if (range_append(s, type, end + 1, r->end))
				return -ENOMEM;
			r->end = start - 1;
			return 0;
		} else if (r->start < start) {
			r->end = start - 1;
		} else if (r->end > end) {
			r->start = end + 1;
		} else {
			range_remove(s, type, i);
		}
	}
	return 0;
}

/* A range that a server gets, of which it must have nothing, or gives back, of which it must have all. */
struct range_change {
	bool add;
	enum gm_io_type type;
	uint64_t start, end;
};

/* With io_lock held. */
static int range_change(struct gm_server *s, const struct range_change *c)
{
	uint64_t covered = ranges_cover(s, c->type, c->start, c->end);

	if (c->add)
		return covered ? -EEXIST : range_add(s, c->type, c->start, c->end);
	return covered != c->end - c->start + 1 ? -ENOENT : range_cut(s, c->type, c->start, c->end);
}

static int server_change(struct gm_machine *m, uint16_t domid, uint16_t id, const struct range_change *c)
{
	struct gm_server *s;
	int err;

	if (c->start > c->end)
		return -EINVAL;
	gm_io_lock(m, domid);
	err = server_get(m, domid, id, &s);
	if (!err)
		err = range_change(s, c);
	gm_io_unlock(m, domid);
	return err;
}

int gm_server_map(struct gm_machine *machine, uint16_t domid, uint16_t id, enum gm_io_type type, uint64_t start,
		  uint64_t end)
{
	return server_change(machine, domid, id, &(struct range_change){true, type, start, end});
}

int gm_server_unmap(struct gm_machine *machine, uint16_t domid, uint16_t id, enum gm_io_type type, uint64_t start,
		    uint64_t end)
{
	return server_change(machine, domid, id, &(struct range_change){false, type, start, end});
}

bool gm_server_select(struct gm_machine *machine, uint16_t domid, struct gm_range bytes, unsigned vcpu,
		      struct gm_choice *choice)
{
	struct gm_domain *d = gm_dom(machine, domid);
	bool found = false;

	gm_io_lock(machine, domid);
	/* Newest id first, as Xen goes through them. */
	for (unsigned i = GM_MAX_SERVERS; i-- && !found;) {
		struct gm_server *s = &d->server[i];

		found = s->used && s->enabled &&
			ranges_cover(s, GM_IO_MMIO, bytes.start, bytes.end) == bytes.end - bytes.start + 1;
		if (found)
			*choice = (struct gm_choice){.id = i, .gen = s->gen, .port = s->vcpu_port[vcpu]};
	}
	gm_io_unlock(machine, domid);
	return found;
}

/* ---- interrupt lines ---------------------------------------------------------------------------------------- */

/* The model has edge-triggered lines only: raising one is an event, and there is no level to keep. */
int gm_irq_set(struct gm_machine *machine, uint16_t domid, uint32_t irq, uint32_t level)
{
	struct gm_domain *d = gm_dom(machine, domid);
	struct gm_irq *line;

	if (d->irq_event)
		return -EOPNOTSUPP;
	if (irq < GM_FIRST_SPI || irq >= GM_MAX_IRQS || level > 1)
		return -EINVAL;
	if (!level)
		return 0; /* the line is edge-triggered: falling means nothing */
	line = &d->irq[irq];
	GM_COUNT(machine, irqs_raised, 1);
	__atomic_store_n(&line->pending, 1, __ATOMIC_SEQ_CST);
	gm_irq_wake(line); /* pairs with gm_guest_irq_wait */
	return 0;
}
