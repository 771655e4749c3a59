/* SPDX-License-Identifier: MIT */
/* Machines and domains: making, ending while somebody still holds pages, the id used again; foreign mappings. */
#include "tests/unit/model/common.h"

#include "model/attach.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

/* ---- machines ----------------------------------------------------------------------------------------------- */

static void test_machine_errors(void **state)
{
	struct world *w = world_of(state);
	struct gm_machine *m;
	char path[128];
	int fd;

	assert_int_equal(gm_machine_create(w->dir), -EEXIST);
	snprintf(path, sizeof(path), "%s/none", w->dir);
	assert_int_equal(gm_machine_open(&m, path), -ENOENT);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(gm_machine_open(&m, path), -ENOENT);
	snprintf(path, sizeof(path), "%s/none/machine", w->dir);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
	snprintf(path, sizeof(path), "%s/none", w->dir);
	assert_int_equal(gm_machine_open(&m, path), -EPROTO);
	assert_string_equal(gm_machine_dir(w->m), w->dir);
}

static void test_environment_errors(void **state)
{
	struct world *w = world_of(state);

	unsetenv("GRANTIO_MACHINE");
	assert_null(xengnttab_open(NULL, 0));
	assert_int_equal(errno, ENOENT);
	assert_null(xenevtchn_open(NULL, 0));
	assert_int_equal(errno, ENOENT);
	assert_null(xenforeignmemory_open(NULL, 0));
	assert_int_equal(errno, ENOENT);
	assert_null(xendevicemodel_open(NULL, 0));
	assert_int_equal(errno, ENOENT);
	setenv("GRANTIO_MACHINE", w->dir, 1);
	setenv("GRANTIO_DOMID", "1x", 1);
	assert_null(xengnttab_open(NULL, 0));
	assert_int_equal(errno, EINVAL);
	become(17);
	assert_null(xengnttab_open(NULL, 0));
	assert_int_equal(errno, ESRCH);
}

/* ---- making domains ----------------------------------------------------------------------------------------- */

static void test_create(void **state)
{
	struct gm_domain_config good = {.domid = 2, .ram_bytes = PAGE, .vcpus = 1}, c;
	struct world *w = world_of(state);
	uint16_t id, first;

	c = good, c.domid = 32;
	assert_int_equal(gm_domain_create(w->m, &c, &id), -EINVAL);
	c = good, c.ram_bytes = 0;
	assert_int_equal(gm_domain_create(w->m, &c, &id), -EINVAL);
	c = good, c.ram_bytes = PAGE + 1;
	assert_int_equal(gm_domain_create(w->m, &c, &id), -EINVAL);
	c = good, c.vcpus = 0;
	assert_int_equal(gm_domain_create(w->m, &c, &id), -EINVAL);
	c = good, c.vcpus = 33;
	assert_int_equal(gm_domain_create(w->m, &c, &id), -EINVAL);
	c = good, c.domid = 1;
	assert_int_equal(gm_domain_create(w->m, &c, &id), -EEXIST);
	assert_int_equal(gm_domain_state(w->m, 2), GM_DOMAIN_NONE);
	assert_int_equal(gm_domain_create(w->m, &good, &id), 0);
	assert_int_equal(id, 2);
	assert_int_equal(gm_domain_state(w->m, 2), GM_DOMAIN_RUNNING);
	c = good, c.domid = 0;
	assert_int_equal(gm_domain_create(w->m, &c, &first), 0);
	assert_int_equal(gm_domain_destroy(w->m, first), 0);
	assert_int_equal(gm_domain_create(w->m, &c, &id), 0);
	assert_int_not_equal(id, first); /* an id is not used again at once */
	while (!gm_domain_create(w->m, &c, &id))
		;
	assert_int_equal(gm_domain_create(w->m, &c, &id), -ENOSPC);
	for (id = 2; id < GM_MAX_DOMAINS; id++)
		assert_int_equal(gm_domain_destroy(w->m, id), 0);
	assert_int_equal(gm_domain_destroy(w->m, 2), -ESRCH);
	assert_int_equal(gm_domain_destroy(w->m, 0), -EINVAL);
}

static void test_one_process_is_the_guest(void **state)
{
	struct world *w = world_of(state);
	struct gm_guest *g;

	assert_int_equal(gm_guest_open(&g, w->dir, w->domid), -EBUSY);
	assert_int_equal(gm_guest_open(&g, w->dir, 9), -ESRCH);
	assert_int_equal(gm_guest_open(&g, w->dir, 0), -EINVAL);
	gm_guest_close(w->guest);
	assert_int_equal(gm_guest_open(&w->guest, w->dir, w->domid), 0);
}

/* ---- ending them -------------------------------------------------------------------------------------------- */

static int files_of(struct world *w, uint16_t domid)
{
	static const char *const names[] = {"ram", "grants", "active", "ioreq"};
	char path[128];
	int n = 0;

	for (unsigned i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/dom%u.%s", w->dir, domid, names[i]);
		n += !access(path, F_OK);
	}
	return n;
}

static int16_t copy_status(xengnttab_handle *xgt, uint16_t domid, uint32_t ref)
{
	uint8_t byte;
	xengnttab_grant_copy_segment_t s = {.flags = GNTCOPY_source_gref, .len = 1};

	s.source.foreign.ref = ref;
	s.source.foreign.domid = domid;
	s.dest.virt = &byte;
	assert_int_equal(xengnttab_grant_copy(xgt, 1, &s), 0);
	return s.status;
}

static void test_destroy_while_mapped(void **state)
{
	struct gm_domain_config config = {.domid = 1, .ram_bytes = 2 * PAGE, .vcpus = 1};
	struct world *w = world_of(state);
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);
	struct gm_stats stats;
	struct gm_guest *g;
	uint8_t *a, *b;

	grant(w, 8, 0, 5, GTF_permit_access);
	w->ram[5 * PAGE] = 42;
	a = xengnttab_map_grant_ref(xgt, 1, 8, PROT_READ | PROT_WRITE);
	b = xengnttab_map_grant_ref(xgt, 1, 8, PROT_READ);
	assert_true(a && b);
	assert_int_equal(gm_domain_destroy(w->m, 1), 0);
	assert_int_equal(gm_domain_state(w->m, 1), GM_DOMAIN_DYING);
	assert_int_equal(gm_domain_destroy(w->m, 1), 0); /* again: still dying */
	assert_int_equal(files_of(w, 1), 4);
	assert_null(xengnttab_map_grant_ref(xgt, 1, 8, PROT_READ));
	assert_int_equal(copy_status(xgt, 1, 8), GNTST_bad_domain);
	assert_int_equal(*b, 42); /* what is mapped stays */
	*a = 43;
	assert_int_equal(*b, 43);
	assert_int_equal(gm_domain_create(w->m, &config, NULL), -EEXIST);
	assert_int_equal(gm_guest_open(&g, w->dir, 1), -ESRCH);
	assert_int_equal(xengnttab_unmap(xgt, a, 1), 0);
	assert_int_equal(gm_domain_state(w->m, 1), GM_DOMAIN_DYING);
	assert_int_equal(xengnttab_unmap(xgt, b, 1), 0);
	assert_int_equal(gm_domain_state(w->m, 1), GM_DOMAIN_NONE);
	assert_int_equal(files_of(w, 1), 0);
	assert_int_equal(gm_domain_stats(w->m, 1, &stats), -ESRCH);

	/* The id again: another domain, with memory and a grant table of its own. */
	assert_int_equal(gm_domain_create(w->m, &config, NULL), 0);
	assert_int_equal(copy_status(xgt, 1, 8), GNTST_general_error);
	assert_int_equal(gm_guest_irq_wait(w->guest, 33, 0), -ESHUTDOWN); /* the old guest is not the new one */
	assert_int_equal(gm_guest_grant_table(w->guest, 0, &w->table), -ESRCH);
	assert_int_equal(gm_guest_open(&g, w->dir, 1), 0);
	assert_int_equal(((uint8_t *)gm_guest_ram(g, NULL))[0], 0);
	gm_guest_close(g);
	xengnttab_close(xgt);
	assert_int_equal(gm_domain_destroy(w->m, 1), 0);
}

static void test_a_dead_domains_handles_are_dead(void **state)
{
	struct world *w = world_of(state);
	struct gm_domain_config config = {.domid = 5, .ram_bytes = PAGE, .vcpus = 1};
	xengnttab_handle *xgt;
	xenevtchn_handle *xce;
	int port;

	assert_int_equal(gm_domain_create(w->m, &config, NULL), 0);
	become(5);
	xgt = xengnttab_open(NULL, 0);
	xce = xenevtchn_open(NULL, 0);
	port = xenevtchn_bind_unbound_port(xce, 0);
	assert_true(port > 0);
	assert_int_equal(gm_domain_destroy(w->m, 5), 0);
	assert_int_equal(gm_domain_create(w->m, &config, NULL), 0);
	assert_null(xengnttab_map_grant_ref(xgt, 1, 8, PROT_READ));
	assert_int_equal(errno, ENODEV);
	assert_int_equal(xenevtchn_notify(xce, (uint32_t)port), -1);
	assert_int_equal(errno, ENOTCONN);
	assert_int_equal(xenevtchn_bind_unbound_port(xce, 0), -1);
	assert_int_equal(errno, ESRCH);
	xenevtchn_close(xce);
	xengnttab_close(xgt);
	assert_int_equal(gm_domain_destroy(w->m, 5), 0);
}

/* A peer's destruction makes our port unbound, to nobody. */
static void test_destroy_unbinds_peers(void **state)
{
	struct world *w = world_of(state);
	uint32_t *shared = shared_page(); /* 0: the child's port; 1: go on */
	xenevtchn_handle *xce;
	int port, status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		xenevtchn_handle *mine;

		become(w->domid);
		mine = xenevtchn_open(NULL, 0);
		__atomic_store_n(&shared[0], (uint32_t)xenevtchn_bind_unbound_port(mine, 0), __ATOMIC_RELEASE);
		if (!await(&shared[1], 1))
			_exit(1);
		_exit(xenevtchn_notify(mine, shared[0]) == -1 && errno == ENOTCONN ? 0 : 2);
	}
	while (!__atomic_load_n(&shared[0], __ATOMIC_ACQUIRE))
		sched_yield();
	xce = xenevtchn_open(NULL, 0);
	port = xenevtchn_bind_interdomain(xce, w->domid, shared[0]);
	assert_true(port > 0);
	assert_int_equal(gm_domain_destroy(w->m, w->domid), 0);
	assert_int_equal(xenevtchn_notify(xce, (uint32_t)port), 0); /* dropped */
	assert_int_equal(xenevtchn_bind_interdomain(xce, w->domid, shared[0]), -1);
	assert_int_equal(errno, ESRCH);
	__atomic_store_n(&shared[1], 1, __ATOMIC_RELEASE);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	xenevtchn_close(xce);
	munmap(shared, PAGE);
}

/* ---- foreign memory ----------------------------------------------------------------------------------------- */

static void test_foreign_mappings(void **state)
{
	struct world *w = world_of(state);
	xenforeignmemory_handle *fmem = xenforeignmemory_open(NULL, 0);
	const xen_pfn_t good[] = {3, 4, 9}, bad[] = {3, 1u << 20, 9};
	int err[3] = {1, 1, 1};
	uint8_t *p;

	w->ram[4 * PAGE] = 4;
	w->ram[9 * PAGE] = 9;
	p = xenforeignmemory_map(fmem, w->domid, PROT_READ | PROT_WRITE, 3, good, NULL);
	assert_non_null(p);
	assert_int_equal(p[PAGE], 4);
	assert_int_equal(p[2 * PAGE], 9);
	p[0] = 3;
	assert_int_equal(w->ram[3 * PAGE], 3);
	assert_int_equal(xenforeignmemory_unmap(fmem, p, 2), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(xenforeignmemory_unmap(fmem, p, 3), 0);
	assert_null(xenforeignmemory_map(fmem, w->domid, PROT_READ, 3, bad, NULL));
	assert_int_equal(errno, EINVAL);
	p = xenforeignmemory_map(fmem, w->domid, PROT_READ, 3, bad, err);
	assert_non_null(p);
	assert_int_equal(err[0], 0);
	assert_int_equal(err[1], -EINVAL);
	assert_int_equal(err[2], 0);
	assert_int_equal(p[2 * PAGE], 9);
	assert_int_equal(mprotect(p, PAGE, PROT_READ | PROT_WRITE), -1);
	assert_null(xenforeignmemory_map(fmem, 9, PROT_READ, 3, good, NULL));
	assert_int_equal(errno, ESRCH);
	/* Holds the domain, until the handle is closed. */
	assert_int_equal(gm_domain_destroy(w->m, w->domid), 0);
	assert_int_equal(gm_domain_state(w->m, w->domid), GM_DOMAIN_DYING);
	assert_int_equal(p[2 * PAGE], 9);
	xenforeignmemory_close(fmem);
	assert_int_equal(gm_domain_state(w->m, w->domid), GM_DOMAIN_NONE);
}

static void test_resource_size_and_kind(void **state)
{
	struct world *w = world_of(state);
	xenforeignmemory_handle *fmem = xenforeignmemory_open(NULL, 0);
	void *addr = NULL;
	size_t size = 0;

	assert_int_equal(xenforeignmemory_resource_size(fmem, w->domid, XENMEM_resource_ioreq_server, 0, &size), 0);
	assert_int_equal(size, 2 * PAGE);
	assert_int_equal(xenforeignmemory_resource_size(fmem, w->domid, 77, 0, &size), -1);
	assert_int_equal(errno, EOPNOTSUPP);
	assert_null(xenforeignmemory_map_resource(fmem, w->domid, XENMEM_resource_grant_table, 0, 0, 1, &addr,
						  PROT_READ, 0));
	assert_int_equal(errno, EOPNOTSUPP);
	xenforeignmemory_close(fmem);
}

/* The line of /proc/self/maps for the mapping that holds `at`; its limits and permissions. False: none. */
static bool map_of(uintptr_t at, uintptr_t *start, uintptr_t *end, char perms[8])
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	bool found = false;

	while (!found && fgets(line, sizeof(line), maps)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx %7s", &from, &to, perms) != 3 || at < from || at >= to)
			continue;
		*start = from;
		*end = to;
		found = true;
	}
	fclose(maps);
	return found;
}

static bool guarded(const void *p, size_t bytes)
{
	uintptr_t at = (uintptr_t)p, start, end;
	char perms[8];

	return map_of(at - 1, &start, &end, perms) && end == at && end - start >= 16 * PAGE &&
	       !strncmp(perms, "---", 3) && map_of(at + bytes, &start, &end, perms) && start == at + bytes &&
	       end - start >= 16 * PAGE && !strncmp(perms, "---", 3);
}

/* A program that writes past the end of its own memory must not reach the machine's. */
static void test_guards(void **state)
{
	struct world *w = world_of(state);
	size_t frames = ANY_FRAMES;
	struct gm_attach *a = gm_attach_get(w->m, w->domid);
	size_t state_bytes = (sizeof(struct gm_state) + PAGE - 1) / PAGE * PAGE;

	assert_true(guarded(w->ram, GUEST_RAM));
	assert_true(guarded(w->m->state, state_bytes));
	assert_true(guarded(a->ram, GUEST_RAM));
	assert_true(guarded(a->grants, (frames * (PAGE + 512) + PAGE - 1) / PAGE * PAGE));
	assert_true(guarded(a->active, (frames * 512 * sizeof(struct gm_active) + PAGE - 1) / PAGE * PAGE));
	assert_true(guarded(a->io, (size_t)GM_MAX_SERVERS * 2 * PAGE));
	gm_attach_put(w->m, a);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
	const struct CMUnitTest tests[] = {
		T(test_machine_errors),
		T(test_environment_errors),
		T(test_create),
		T(test_one_process_is_the_guest),
		T(test_destroy_while_mapped),
		T(test_a_dead_domains_handles_are_dead),
		T(test_destroy_unbinds_peers),
		T(test_foreign_mappings),
		T(test_resource_size_and_kind),
		T(test_guards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
