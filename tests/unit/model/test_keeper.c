/* SPDX-License-Identifier: MIT */
/* Processes that end: what they held is released, whatever they were doing. */
#include "tests/unit/model/server.h"

#include "model/attach.h"
#include "model/event.h"
#include "model/grant.h"
#include "model/lock.h"
#include "model/proc.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>

/* Run the keeper until grants, mappings and ports of the guest and domain 0 are all gone. */
static bool keeper_clears(struct gm_keeper *k, struct world *w)
{
	struct pollfd pfd = {.fd = gm_keeper_fd(k), .events = POLLIN};
	struct gm_stats g = stats_of(w, w->domid), d = stats_of(w, 0);

	while (g.grants_active || g.mappings_held || g.ports || d.mappings_held || d.ports) {
		if (poll(&pfd, 1, LIMIT_MS) != 1)
			return false;
		gm_keeper_run(k);
		g = stats_of(w, w->domid);
		d = stats_of(w, 0);
	}
	return true;
}

/* A child that runs `body` and then waits to be killed; returns when it is that far. */
static pid_t child_start(struct world *w, void (*body)(struct world *))
{
	uint32_t *at = shared_page();
	pid_t pid = fork();

	if (!pid) {
		body(w);
		__atomic_store_n(at, 1, __ATOMIC_RELEASE);
		for (;;)
			pause();
	}
	assert_true(await(at, 1));
	munmap(at, PAGE);
	return pid;
}

static void child_kill(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void hold_everything(struct world *w)
{
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);
	xenevtchn_handle *xce = xenevtchn_open(NULL, 0);
	xenforeignmemory_handle *fmem = xenforeignmemory_open(NULL, 0);
	uint32_t refs[2] = {8, 9};

	xengnttab_map_domain_grant_refs(xgt, 2, w->domid, refs, PROT_READ | PROT_WRITE);
	xengnttab_map_grant_ref(xgt, w->domid, 8, PROT_READ);
	xengnttab_map_grant_ref_notify(xgt, w->domid, 10, PROT_READ | PROT_WRITE, 77, UINT32_MAX);
	xenforeignmemory_map(fmem, w->domid, PROT_READ, 1, (xen_pfn_t[]){3}, NULL);
	xenevtchn_bind_unbound_port(xce, 0);
	xenevtchn_bind_unbound_port(xce, 1);
}

static void grants_for_the_child(struct world *w)
{
	grant(w, 8, 0, 5, GTF_permit_access);
	grant(w, 9, 0, 6, GTF_permit_access);
	grant(w, 10, 0, 7, GTF_permit_access);
	w->ram[7 * PAGE + 77] = 1;
}

static void released(struct world *w)
{
	for (uint32_t ref = 8; ref < 11; ref++)
		assert_int_equal(in_use(w, ref), 0);
	assert_int_equal(w->ram[7 * PAGE + 77], 0); /* the unmap notification */
	/* The foreign mapping is gone too: nothing keeps the domain. */
	assert_int_equal(gm_domain_destroy(w->m, w->domid), 0);
	assert_int_equal(gm_domain_state(w->m, w->domid), GM_DOMAIN_NONE);
}

static int event_pipes(struct world *w)
{
	char cmd[128];
	FILE *f;
	int n = -1;

	snprintf(cmd, sizeof(cmd), "ls %s | grep -c '^ev\\.'", w->dir);
	f = popen(cmd, "r");
	if (fscanf(f, "%d", &n) != 1)
		n = -1;
	pclose(f);
	return n;
}

static void test_killed_process_is_released(void **state)
{
	struct world *w = world_of(state);
	struct gm_keeper *k;
	pid_t pid;

	assert_int_equal(gm_keeper_open(&k, w->m), 0);
	grants_for_the_child(w);
	pid = child_start(w, hold_everything);
	gm_keeper_run(k);
	assert_int_equal(stats_of(w, w->domid).grants_active, 3);
	assert_int_equal(stats_of(w, 0).mappings_held, 4);
	assert_int_equal(stats_of(w, 0).ports, 2);
	assert_int_equal(event_pipes(w), 1);
	child_kill(pid);
	assert_true(keeper_clears(k, w));
	assert_int_equal(event_pipes(w), 0);
	released(w);
	gm_keeper_close(k);
}

static void test_process_from_before_the_keeper(void **state)
{
	struct world *w = world_of(state);
	struct gm_keeper *k;
	pid_t pid;

	grants_for_the_child(w);
	pid = child_start(w, hold_everything);
	assert_int_equal(gm_keeper_open(&k, w->m), 0);
	assert_int_equal(stats_of(w, w->domid).grants_active, 3);
	child_kill(pid);
	assert_true(keeper_clears(k, w));
	released(w);
	gm_keeper_close(k);
}

static void test_process_that_died_before_the_keeper(void **state)
{
	struct world *w = world_of(state);
	struct gm_keeper *k;

	grants_for_the_child(w);
	child_kill(child_start(w, hold_everything));
	assert_int_equal(stats_of(w, w->domid).grants_active, 3);
	assert_int_equal(gm_keeper_open(&k, w->m), 0);
	assert_int_equal(stats_of(w, w->domid).grants_active, 0);
	released(w);
	gm_keeper_close(k);
}

static void become_guest_two(struct world *w)
{
	struct gm_guest *g;

	if (gm_guest_open(&g, w->dir, 2))
		_exit(1);
}

static void test_guest_process_dies(void **state)
{
	struct gm_domain_config config = {.domid = 2, .ram_bytes = PAGE, .vcpus = 1};
	struct world *w = world_of(state);
	struct gm_keeper *k;
	struct gm_guest *g;
	pid_t pid;

	assert_int_equal(gm_domain_create(w->m, &config, NULL), 0);
	assert_int_equal(gm_keeper_open(&k, w->m), 0);
	assert_int_equal(gm_guest_pid(w->dir, 2), 0);
	pid = child_start(w, become_guest_two);
	gm_keeper_run(k);
	assert_int_equal(gm_guest_open(&g, w->dir, 2), -EBUSY);
	assert_int_equal(gm_guest_pid(w->dir, 2), pid);
	child_kill(pid);
	/* At once, whether or not the keeper has come to it. */
	assert_int_equal(gm_guest_pid(w->dir, 2), 0);
	assert_int_equal(gm_guest_open(&g, w->dir, 2), 0);
	gm_keeper_run(k);
	assert_int_equal(gm_guest_pid(w->dir, 2), getpid()); /* the late release was not ours */
	gm_guest_close(g);
	gm_keeper_close(k);
	assert_int_equal(gm_domain_destroy(w->m, 2), 0);
}

#define LEFT 8u /* grants that the process leaves, from FIRST_REF on, of frames from 16 on */

static uint32_t left_version;

static void leave_grants(struct world *w)
{
	struct gm_guest *g;

	if (gm_guest_open(&g, w->dir, 2) || gm_guest_grant_version(g, left_version) ||
	    gm_guest_grant_table(g, FIRST_REF + LEFT, &w->table))
		_exit(1);
	for (uint32_t i = 0; i < LEFT; i++)
		grant(w, FIRST_REF + i, 0, 16 + i, GTF_permit_access);
}

/* What entry `ref` of `table` grants; its frame goes to `frame`. */
static uint16_t entry_of(const struct gm_grant_table *table, uint32_t ref, uint64_t *frame)
{
	const union grant_entry_v2 *v2 = (const union grant_entry_v2 *)table->shared + ref;
	const struct grant_entry_v1 *v1 = (const struct grant_entry_v1 *)table->shared + ref;

	*frame = table->version == 2 ? v2->full_page.frame : v1->frame;
	return (table->version == 2 ? v2->hdr.flags : v1->flags) & (GTF_type_mask | GTF_readonly);
}

/* As after a domain's death: nothing, but for what a backend has mapped, which must be seen to be so. */
static void left_grants_check(struct world *w)
{
	struct gm_grant_table table;
	struct gm_guest *g;
	uint64_t frame;

	assert_int_equal(gm_guest_open(&g, w->dir, 2), 0);
	assert_int_equal(gm_guest_grant_table(g, 0, &table), 0);
	assert_int_equal(table.version, left_version);
	assert_int_equal(stats_of(w, 2).grants_active, 2);
	for (uint32_t i = 0; i < LEFT; i++) {
		uint16_t flags = entry_of(&table, FIRST_REF + i, &frame);

		assert_int_equal(flags, i == 1 ? GTF_permit_access : i == 3 ? GTF_permit_access | GTF_readonly : 0);
		assert_int_equal(frame, i == 1 || i == 3 ? 16 + i : 0);
	}
	gm_guest_close(g);
}

static void test_what_a_dead_guest_granted(void **state)
{
	struct gm_domain_config config = {.domid = 2, .ram_bytes = GUEST_RAM, .vcpus = 1};
	struct world *w = world_of(state);
	struct gm_grant_table table = w->table;
	struct gm_guest *g;

	for (left_version = 1; left_version <= 2; left_version++) {
		xengnttab_handle *xgt = xengnttab_open(NULL, 0);
		void *written, *read;
		uint64_t frame;
		pid_t pid;

		assert_int_equal(gm_domain_create(w->m, &config, NULL), 0);
		pid = child_start(w, leave_grants);
		written = xengnttab_map_grant_ref(xgt, 2, FIRST_REF + 1, PROT_READ | PROT_WRITE);
		read = xengnttab_map_grant_ref(xgt, 2, FIRST_REF + 3, PROT_READ);
		assert_true(written && read);
		child_kill(pid);
		left_grants_check(w);
		assert_int_equal(xengnttab_unmap(xgt, written, 1), 0);
		assert_int_equal(xengnttab_unmap(xgt, read, 1), 0);
		/* The one after that finds them gone, too. */
		assert_int_equal(gm_guest_open(&g, w->dir, 2), 0);
		assert_int_equal(gm_guest_grant_table(g, 0, &table), 0);
		assert_int_equal(entry_of(&table, FIRST_REF + 1, &frame), 0);
		gm_guest_close(g);
		xengnttab_close(xgt);
		assert_int_equal(gm_domain_destroy(w->m, 2), 0);
	}
}

/* ---- fork --------------------------------------------------------------------------------------------------- */

static void test_fork_shares_nothing(void **state)
{
	struct world *w = world_of(state);
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);
	xenevtchn_handle *xce = xenevtchn_open(NULL, 0);
	int status;
	uint8_t *p;
	pid_t pid;

	grants_for_the_child(w);
	assert_int_equal(xenevtchn_bind_unbound_port(xce, 0), 1);
	p = xengnttab_map_grant_ref(xgt, w->domid, 8, PROT_READ);
	pid = fork();
	if (!pid) {
		xengnttab_handle *own;
		void *q;

		/* What a child may do with what it inherits: close it. And open its own. */
		xengnttab_close(xgt);
		xenevtchn_close(xce);
		own = xengnttab_open(NULL, 0);
		q = own ? xengnttab_map_grant_ref(own, w->domid, 9, PROT_READ) : NULL;
		if (!q || in_use(w, 9) != GTF_reading)
			_exit(1);
		xengnttab_close(own);
		_exit(in_use(w, 9) ? 2 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(in_use(w, 8), GTF_reading);
	assert_int_equal(*p, 0);
	assert_int_equal(stats_of(w, 0).ports, 1);
	assert_int_equal(xengnttab_unmap(xgt, p, 1), 0);
	xenevtchn_close(xce);
	xengnttab_close(xgt);
}

/* ---- deaths inside the hypervisor --------------------------------------------------------------------------- */

/* Die with the grant lock held, a pin taken that no track tells of, and one given back that a track still has. */
static void die_in_grant_lock(struct world *w)
{
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);
	struct gm_machine *m;
	struct gm_attach *a;

	xengnttab_map_grant_ref(xgt, w->domid, 8, PROT_READ);
	if (gm_machine_open(&m, w->dir))
		_exit(1);
	a = gm_attach_get(m, w->domid);
	gm_grant_lock(m, a);
	a->active[9].readers++;
	a->active[9].writers += 7;
	a->active[8].readers = 0;
	((struct grant_entry_v1 *)(void *)a->grants)[9].flags |= GTF_reading | GTF_writing;
	__atomic_store_n(&gm_dom(m, w->domid)->active_count, 99, __ATOMIC_RELEASE);
}

static void test_death_with_the_grant_lock(void **state)
{
	struct world *w = world_of(state);
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);
	struct gm_keeper *k;
	pid_t pid;
	void *p;

	grants_for_the_child(w);
	assert_int_equal(gm_keeper_open(&k, w->m), 0);
	pid = child_start(w, die_in_grant_lock);
	child_kill(pid);
	/* The next to take the lock finds it broken and everything as the tracks say. */
	p = xengnttab_map_grant_ref(xgt, w->domid, 10, PROT_READ);
	assert_non_null(p);
	assert_int_equal(in_use(w, 8), GTF_reading);
	assert_int_equal(in_use(w, 9), 0);
	assert_int_equal(stats_of(w, w->domid).grants_active, 2);
	assert_int_equal(xengnttab_unmap(xgt, p, 1), 0);
	assert_true(keeper_clears(k, w));
	assert_int_equal(in_use(w, 8), 0);
	xengnttab_close(xgt);
	gm_keeper_close(k);
}

/* Die with the big lock held and half a binding made: our side linked, the peer's not. */
static void die_in_big_lock(struct world *w)
{
	struct gm_machine *m;

	if (gm_machine_open(&m, w->dir))
		_exit(1);
	gm_big_lock(m);
	gm_dom(m, 1)->port[100].link = gm_link(GM_PORT_INTERDOMAIN, 0, 200);
	gm_dom(m, 1)->port[101].link = gm_link(GM_PORT_RESERVED, 0, 0);
}

static void test_death_with_the_big_lock(void **state)
{
	struct world *w = world_of(state);
	xenevtchn_handle *xce = xenevtchn_open(NULL, 0);

	child_kill(child_start(w, die_in_big_lock));
	assert_true(xenevtchn_bind_unbound_port(xce, 0) > 0);
	assert_true(gm_dom(w->m, 1)->port[100].link == gm_link(GM_PORT_UNBOUND, 0, 0));
	assert_true(gm_dom(w->m, 1)->port[101].link == 0);
	gm_big_lock(w->m);
	gm_event_close_locked(w->m, 1, 100);
	gm_big_unlock(w->m);
	xenevtchn_close(xce);
}

/* Die between marking an event delivered and writing it to the pipe: the receiver gets it all the same. */
static void test_death_before_an_event_is_written(void **state)
{
	struct world *w = world_of(state);
	xenevtchn_handle *xce = xenevtchn_open(NULL, 0);
	struct pollfd pfd = {.fd = xenevtchn_fd(xce), .events = POLLIN};
	int port = xenevtchn_bind_unbound_port(xce, 0);
	struct gm_machine *dead;

	assert_true(port > 0);
	assert_int_equal(gm_machine_open(&dead, w->dir), 0);
	__atomic_store_n(&gm_dom(w->m, 0)->port[port].flags, GM_PORT_MASKED, __ATOMIC_RELEASE);
	assert_int_equal(poll(&pfd, 1, 0), 0);
	gm_proc_release(w->m, dead->proc, dead->proc_gen);
	assert_int_equal(poll(&pfd, 1, LIMIT_MS), 1);
	assert_int_equal(xenevtchn_pending(xce), port);
	gm_machine_close(dead);
	xenevtchn_close(xce);
}

/* A release that its doer did not live to finish. */
static void test_death_of_a_releaser(void **state)
{
	struct world *w = world_of(state);
	struct gm_keeper *k;

	grants_for_the_child(w);
	child_kill(child_start(w, hold_everything));
	for (uint32_t i = 0; i < GM_MAX_PROCS; i++)
		if (w->m->state->proc[i].state && w->m->state->proc[i].tracks_end)
			w->m->state->proc[i].state = 2;
	assert_int_equal(gm_keeper_open(&k, w->m), 0);
	released(w);
	gm_keeper_close(k);
}

/* ---- a backend that dies with a request, and the next that answers it --------------------------------------- */

static struct {
	uint32_t id;
	uint32_t got;
} * backend;

static void serve_and_fall_silent(struct world *w)
{
	struct server s;
	unsigned vcpu;

	server_open(&s, w->domid, VCPUS);
	server_enable(&s);
	xendevicemodel_map_io_range_to_ioreq_server(s.dmod, w->domid, s.id, 1, BASE, BASE + BYTES - 1);
	backend->id = s.id;
	__atomic_store_n(&backend->got, 1, __ATOMIC_RELEASE);
	server_wait_ready(&s, &vcpu);
	__atomic_store_n(&backend->got, 2, __ATOMIC_RELEASE);
}

static void *ask(void *arg)
{
	struct world *w = arg;
	uint64_t v = 0;

	return gm_guest_mmio(w->guest, BASE + 8, 4, false, &v, LIMIT_MS) || v != 0x77 ? NULL : arg;
}

/* Take over server `id`: its page, its ports. */
static void server_adopt(struct server *s, struct world *w, ioservid_t id)
{
	void *addr = NULL;

	*s = (struct server){.domid = w->domid, .vcpus = VCPUS, .id = id, .stop = -1};
	s->xce = xenevtchn_open(NULL, 0);
	s->fmem = xenforeignmemory_open(NULL, 0);
	s->dmod = xendevicemodel_open(NULL, 0);
	s->res = xenforeignmemory_map_resource(s->fmem, w->domid, XENMEM_resource_ioreq_server, id, 1, 1, &addr,
					       PROT_READ | PROT_WRITE, 0);
	assert_non_null(s->res);
	s->page = addr;
	for (unsigned i = 0; i < VCPUS; i++) {
		s->port[i] = xenevtchn_bind_interdomain(s->xce, w->domid, s->page[i].vp_eport);
		assert_true(s->port[i] > 0);
	}
}

static void test_next_backend_answers(void **state)
{
	struct world *w = world_of(state);
	struct gm_keeper *k;
	struct server s;
	pthread_t thread;
	void *answered;
	pid_t pid;

	backend = shared_page();
	assert_int_equal(gm_keeper_open(&k, w->m), 0);
	pid = fork();
	if (!pid) {
		serve_and_fall_silent(w);
		for (;;)
			pause();
	}
	assert_true(await(&backend->got, 1));
	assert_int_equal(pthread_create(&thread, NULL, ask, w), 0);
	assert_true(await(&backend->got, 2));
	child_kill(pid);
	while (stats_of(w, 0).ports) {
		struct pollfd pfd = {.fd = gm_keeper_fd(k), .events = POLLIN};

		assert_int_equal(poll(&pfd, 1, LIMIT_MS), 1);
		gm_keeper_run(k);
	}
	assert_int_equal(stats_of(w, w->domid).ioreq_servers, 1);
	server_adopt(&s, w, (ioservid_t)backend->id);
	s.regs[1] = 0x77;
	assert_int_equal(server_poll(&s, LIMIT_MS), 1); /* binding raised it */
	pthread_join(thread, &answered);
	assert_non_null(answered);
	s.stop = open("/dev/null", O_RDONLY);
	server_close(&s);
	gm_keeper_close(k);
	munmap(backend, PAGE);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
	const struct CMUnitTest tests[] = {
		T(test_killed_process_is_released),
		T(test_process_from_before_the_keeper),
		T(test_process_that_died_before_the_keeper),
		T(test_guest_process_dies),
		T(test_what_a_dead_guest_granted),
		T(test_fork_shares_nothing),
		T(test_death_with_the_grant_lock),
		T(test_death_with_the_big_lock),
		T(test_death_before_an_event_is_written),
		T(test_death_of_a_releaser),
		T(test_next_backend_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
