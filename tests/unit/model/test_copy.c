/* SPDX-License-Identifier: MIT */
/* Grant copies: gntdev's cutting and batching, Xen's checks, statuses, exact counts; faults. */
#include "tests/unit/model/common.h"

#include <pthread.h>

static xengnttab_grant_copy_segment_t from_grant(struct world *w, uint32_t ref, uint16_t off, void *to, uint16_t len)
{
	xengnttab_grant_copy_segment_t s = {.flags = GNTCOPY_source_gref, .len = len, .status = 99};

	s.source.foreign.ref = ref;
	s.source.foreign.offset = off;
	s.source.foreign.domid = w->domid;
	s.dest.virt = to;
	return s;
}

static xengnttab_grant_copy_segment_t to_grant(struct world *w, uint32_t ref, uint16_t off, void *from, uint16_t len)
{
	xengnttab_grant_copy_segment_t s = {.flags = GNTCOPY_dest_gref, .len = len, .status = 99};

	s.dest.foreign.ref = ref;
	s.dest.foreign.offset = off;
	s.dest.foreign.domid = w->domid;
	s.source.virt = from;
	return s;
}

static uint8_t *pages(size_t n)
{
	return aligned_alloc(PAGE, n * PAGE);
}

static void copies(struct world *w, uint32_t version)
{
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);
	uint8_t *buf = pages(1);
	xengnttab_grant_copy_segment_t s[3];

	guest_version(w, version);
	for (unsigned i = 0; i < PAGE; i++)
		w->ram[5 * PAGE + i] = (uint8_t)i;
	grant(w, 8, 0, 5, GTF_permit_access | GTF_readonly);
	grant(w, 9, 0, 6, GTF_permit_access);
	s[0] = from_grant(w, 8, 10, buf, 100);
	s[1] = to_grant(w, 9, 4000, buf, 96);
	s[2] = to_grant(w, 8, 0, buf, 4);
	assert_int_equal(xengnttab_grant_copy(xgt, 3, s), 0);
	assert_int_equal(s[0].status, GNTST_okay);
	assert_int_equal(s[1].status, GNTST_okay);
	assert_int_equal(s[2].status, GNTST_general_error);
	assert_memory_equal(buf, w->ram + 5 * PAGE + 10, 100);
	assert_memory_equal(w->ram + 6 * PAGE + 4000, buf, 96);
	assert_int_equal(w->ram[5 * PAGE], 0);
	/* From grant to grant. */
	s[0] = from_grant(w, 8, 0, NULL, 1000);
	s[0].flags |= GNTCOPY_dest_gref;
	s[0].dest.foreign.ref = 9;
	s[0].dest.foreign.domid = w->domid;
	s[0].dest.foreign.offset = 17;
	assert_int_equal(xengnttab_grant_copy(xgt, 1, s), 0);
	assert_int_equal(s[0].status, GNTST_okay);
	assert_memory_equal(w->ram + 6 * PAGE + 17, w->ram + 5 * PAGE, 1000);
	assert_int_equal(in_use(w, 8), 0);
	assert_int_equal(in_use(w, 9), 0);
	assert_int_equal(stats_of(w, 0).bytes_copied, 100 + 96 + 1000);
	free(buf);
	xengnttab_close(xgt);
}

static void test_copies_v1(void **state)
{
	copies(world_of(state), 1);
}

static void test_copies_v2(void **state)
{
	copies(world_of(state), 2);
}

static void test_malformed_segments(void **state)
{
	struct world *w = world_of(state);
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);
	uint8_t *buf = pages(1);
	xengnttab_grant_copy_segment_t s[2];

	memset(buf, 7, PAGE);
	grant(w, 8, 0, 5, GTF_permit_access);
	s[0] = from_grant(w, 8, 4000, buf, 97);
	assert_int_equal(xengnttab_grant_copy(xgt, 1, s), -1);
	assert_int_equal(errno, EINVAL);
	s[0] = to_grant(w, 8, 1, buf, PAGE);
	assert_int_equal(xengnttab_grant_copy(xgt, 1, s), -1);
	assert_int_equal(errno, EINVAL);
	s[0] = to_grant(w, 8, 0xffff, buf, 0xffff);
	assert_int_equal(xengnttab_grant_copy(xgt, 1, s), -1);
	assert_int_equal(errno, EINVAL);
	s[0].flags = 0;
	assert_int_equal(xengnttab_grant_copy(xgt, 1, s), -1);
	assert_int_equal(errno, EINVAL);
	/* A malformed one drops those before it that were gathered and not yet done, as gntdev does. */
	s[0] = to_grant(w, 8, 0, buf, 8);
	s[1] = to_grant(w, 8, 4095, buf, 2);
	assert_int_equal(xengnttab_grant_copy(xgt, 2, s), -1);
	assert_int_equal(w->ram[5 * PAGE], 0);
	/* Nothing to do. */
	s[0] = to_grant(w, 8, PAGE, buf, 0);
	assert_int_equal(xengnttab_grant_copy(xgt, 1, s), 0);
	assert_int_equal(s[0].status, GNTST_okay);
	assert_int_equal(xengnttab_grant_copy(xgt, 0, s), 0);
	assert_int_equal(stats_of(w, 0).grant_copies, 0);
	free(buf);
	xengnttab_close(xgt);
}

/* A local buffer that crosses pages is cut there; a segment's status is the first that is not okay. */
static void test_counts_are_exact(void **state)
{
	struct world *w = world_of(state);
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);
	uint8_t *buf = pages(40);
	xengnttab_grant_copy_segment_t s[40];
	struct gm_stats was, is;

	for (uint32_t i = 0; i < 40; i++)
		grant(w, 8 + i, 0, 8 + i, GTF_permit_access);
	was = stats_of(w, 0);
	s[0] = from_grant(w, 8, 0, buf + 1, PAGE);
	assert_int_equal(xengnttab_grant_copy(xgt, 1, s), 0);
	is = stats_of(w, 0);
	assert_int_equal(is.grant_copy_calls - was.grant_copy_calls, 1);
	assert_int_equal(is.grant_copy_ops - was.grant_copy_ops, 2);
	assert_int_equal(is.grant_copies - was.grant_copies, 1);
	assert_int_equal(is.hypercalls - was.hypercalls, 1);
	assert_int_equal(is.bytes_copied - was.bytes_copied, PAGE);

	for (uint32_t i = 0; i < 33; i++)
		s[i] = from_grant(w, 8 + i, 0, buf + i * PAGE, PAGE);
	was = is;
	assert_int_equal(xengnttab_grant_copy(xgt, 33, s), 0);
	is = stats_of(w, 0);
	assert_int_equal(is.grant_copy_calls - was.grant_copy_calls, 1);
	assert_int_equal(is.grant_copy_ops - was.grant_copy_ops, 33);
	assert_int_equal(is.grant_copies - was.grant_copies, 3);
	assert_int_equal(is.hypercalls - was.hypercalls, 3);
	assert_int_equal(is.bytes_copied - was.bytes_copied, 33 * PAGE);

	s[0] = from_grant(w, 200, 0, buf + 1, PAGE);
	s[1] = from_grant(w, 8, 0, buf, 1);
	assert_int_equal(xengnttab_grant_copy(xgt, 2, s), 0);
	assert_int_equal(s[0].status, GNTST_general_error);
	assert_int_equal(s[1].status, GNTST_okay);
	assert_int_equal(stats_of(w, 0).grants_refused, 2);
	free(buf);
	xengnttab_close(xgt);
}

/* The same page many times in one batch, read and written: every pin goes. */
static void test_one_page_many_times(void **state)
{
	struct world *w = world_of(state);
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);
	uint8_t in[8] = "abcdefg", out[8];
	xengnttab_grant_copy_segment_t s[16];

	grant(w, 8, 0, 5, GTF_permit_access);
	for (unsigned i = 0; i < 16; i += 2) {
		s[i] = to_grant(w, 8, (uint16_t)i, in, 8);
		s[i + 1] = from_grant(w, 8, (uint16_t)i, out, 8);
	}
	assert_int_equal(xengnttab_grant_copy(xgt, 16, s), 0);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(s[i].status, GNTST_okay);
	assert_memory_equal(out, in, 8);
	assert_int_equal(in_use(w, 8), 0);
	assert_int_equal(stats_of(w, w->domid).grants_active, 0);
	xengnttab_close(xgt);
}

static void test_self_and_two_domains(void **state)
{
	struct gm_domain_config config = {.domid = 4, .ram_bytes = 4 * PAGE, .vcpus = 1};
	struct world *w = world_of(state), other = {0};
	xengnttab_grant_copy_segment_t s;
	xengnttab_handle *xgt;

	assert_int_equal(gm_domain_create(w->m, &config, NULL), 0);
	assert_int_equal(gm_guest_open(&other.guest, w->dir, 4), 0);
	assert_int_equal(gm_guest_grant_table(other.guest, 0, &other.table), 0);
	other.ram = gm_guest_ram(other.guest, NULL);
	grant(w, 8, 4, 5, GTF_permit_access);	   /* d1 lets d4 in */
	grant(&other, 9, 4, 2, GTF_permit_access); /* d4 grants to itself */
	memset(w->ram + 5 * PAGE, 0x3c, 64);
	become(4);
	xgt = xengnttab_open(NULL, 0);
	s = from_grant(w, 8, 0, NULL, 64);
	s.flags |= GNTCOPY_dest_gref;
	s.dest.foreign.ref = 9;
	s.dest.foreign.domid = DOMID_SELF;
	s.dest.foreign.offset = 0;
	assert_int_equal(xengnttab_grant_copy(xgt, 1, &s), 0);
	assert_int_equal(s.status, GNTST_okay);
	assert_memory_equal(other.ram + 2 * PAGE, w->ram + 5 * PAGE, 64);
	assert_int_equal(stats_of(w, 4).grant_copies, 1);
	assert_int_equal(stats_of(w, 0).grant_copies, 0);
	xengnttab_close(xgt);
	gm_guest_close(other.guest);
	assert_int_equal(gm_domain_destroy(w->m, 4), 0);
}

/* ---- faults ------------------------------------------------------------------------------------------------- */

static void test_faults_strike_once(void **state)
{
	struct world *w = world_of(state);
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);
	xenevtchn_handle *xce = xenevtchn_open(NULL, 0);
	xendevicemodel_handle *dmod = xendevicemodel_open(NULL, 0);
	xengnttab_grant_copy_segment_t s;
	uint8_t byte;
	unsigned n;
	void *p;

	grant(w, 8, 0, 5, GTF_permit_access);
	s = from_grant(w, 8, 0, &byte, 1);
	assert_int_equal(gm_fault_set(w->m, 0, GM_FAULT_COPY, 2), 0);
	assert_int_equal(xengnttab_grant_copy(xgt, 1, &s), 0);
	assert_false(gm_fault_struck(w->m, 0, GM_FAULT_COPY));
	assert_int_equal(xengnttab_grant_copy(xgt, 1, &s), -1);
	assert_int_equal(errno, ENOMEM);
	assert_true(gm_fault_struck(w->m, 0, GM_FAULT_COPY));
	assert_int_equal(xengnttab_grant_copy(xgt, 1, &s), 0);

	assert_int_equal(gm_fault_set(w->m, 0, GM_FAULT_MAP, 1), 0);
	assert_null(xengnttab_map_grant_ref(xgt, w->domid, 8, PROT_READ));
	assert_int_equal(errno, ENOMEM);
	p = xengnttab_map_grant_ref(xgt, w->domid, 8, PROT_READ);
	assert_non_null(p);
	xengnttab_unmap(xgt, p, 1);

	assert_int_equal(gm_fault_set(w->m, 0, GM_FAULT_BIND, 1), 0);
	assert_int_equal(xenevtchn_bind_unbound_port(xce, 0), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(xenevtchn_bind_unbound_port(xce, 0), 1);
	assert_int_equal(gm_fault_set(w->m, 0, GM_FAULT_NOTIFY, 1), 0);
	assert_int_equal(xenevtchn_notify(xce, 1), -1);
	assert_int_equal(xenevtchn_notify(xce, 1), 0);

	assert_int_equal(gm_fault_set(w->m, 0, GM_FAULT_DM_OP, 1), 0);
	assert_int_equal(xendevicemodel_nr_vcpus(dmod, w->domid, &n), -1);
	assert_int_equal(xendevicemodel_nr_vcpus(dmod, w->domid, &n), 0);
	/* Of another domain, or taken back: nothing strikes. */
	assert_int_equal(gm_fault_set(w->m, w->domid, GM_FAULT_DM_OP, 1), 0);
	assert_int_equal(gm_fault_set(w->m, 0, GM_FAULT_DM_OP, 1), 0);
	assert_int_equal(gm_fault_set(w->m, 0, GM_FAULT_DM_OP, 0), 0);
	assert_int_equal(xendevicemodel_nr_vcpus(dmod, w->domid, &n), 0);
	assert_int_equal(gm_fault_set(w->m, 9, GM_FAULT_MAP, 1), -ESRCH);
	assert_int_equal(gm_fault_set(w->m, 0, GM_FAULT_KINDS, 1), -EINVAL);
	xendevicemodel_close(dmod);
	xenevtchn_close(xce);
	xengnttab_close(xgt);
}

/* ---- threads: backends copy and map while the guest ends and makes grants anew ------------------------------ */

#define WORKERS 3
#define TURNS	400

struct worker {
	struct world *w;
	xengnttab_handle *xgt;
	uint32_t wrong, done;
	uint16_t at; /* a place of its own in the page that all write */
};

static void *worker_main(void *arg)
{
	struct worker *k = arg;
	xengnttab_grant_copy_segment_t s;
	uint32_t word;
	uint8_t *p;

	for (int i = 0; i < TURNS; i++) {
		/* 8 always works; 9 comes and goes: okay or refused, and nothing else. */
		s = from_grant(k->w, 8, 0, &word, 4);
		k->wrong += xengnttab_grant_copy(k->xgt, 1, &s) || s.status || word != 0x01010101;
		s = to_grant(k->w, 9, k->at, &word, 4);
		k->wrong += xengnttab_grant_copy(k->xgt, 1, &s) || (s.status && s.status != GNTST_general_error);
		if (i % 8)
			continue;
		p = xengnttab_map_grant_ref(k->xgt, k->w->domid, 9, PROT_READ | PROT_WRITE);
		if (p)
			k->wrong += xengnttab_unmap(k->xgt, p, 1) != 0;
	}
	__atomic_store_n(&k->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void grants_come_and_go(struct world *w, uint32_t version)
{
	struct worker k[WORKERS];
	pthread_t t[WORKERS];
	uint32_t ended = 0, running = WORKERS;

	guest_version(w, version);
	memset(w->ram + 5 * PAGE, 1, PAGE);
	grant(w, 8, 0, 5, GTF_permit_access | GTF_readonly);
	for (unsigned i = 0; i < WORKERS; i++) {
		k[i] = (struct worker){.w = w, .xgt = xengnttab_open(NULL, 0), .at = (uint16_t)(i * 8)};
		assert_int_equal(pthread_create(&t[i], NULL, worker_main, &k[i]), 0);
	}
	while (running) {
		grant(w, 9, 0, 6, GTF_permit_access);
		while (!grant_end(w, 9))
			;
		ended++;
		for (unsigned i = running = 0; i < WORKERS; i++)
			running += !__atomic_load_n(&k[i].done, __ATOMIC_ACQUIRE);
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(k[i].wrong, 0);
		xengnttab_close(k[i].xgt);
	}
	assert_true(ended > 0);
	assert_int_equal(in_use(w, 8), 0);
	assert_int_equal(in_use(w, 9), 0);
}

static void test_grants_come_and_go_v1(void **state)
{
	grants_come_and_go(world_of(state), 1);
}

static void test_grants_come_and_go_v2(void **state)
{
	grants_come_and_go(world_of(state), 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
	const struct CMUnitTest tests[] = {
		T(test_copies_v1),
		T(test_copies_v2),
		T(test_malformed_segments),
		T(test_counts_are_exact),
		T(test_one_page_many_times),
		T(test_self_and_two_domains),
		T(test_faults_strike_once),
		T(test_grants_come_and_go_v1),
		T(test_grants_come_and_go_v2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
