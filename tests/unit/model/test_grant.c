/* SPDX-License-Identifier: MIT */
/* Grant mappings: every check, both versions, pins and in-use bits, permissions, runs, notifications. */
#include "tests/unit/model/common.h"

#include <poll.h>

/* ---- helpers ------------------------------------------------------------------------------------------------ */

static void *map1(xengnttab_handle *xgt, struct world *w, uint32_t ref, int prot)
{
	errno = 0;
	return xengnttab_map_grant_ref(xgt, w->domid, ref, prot);
}

/* The status that Xen gives: a map only says EINVAL, a copy of no bytes... of one byte says which. */
static int16_t status_of(xengnttab_handle *xgt, uint16_t domid, uint32_t ref, bool write)
{
	uint8_t byte = 0;
	xengnttab_grant_copy_segment_t seg = {.len = 1, .status = 99};

	if (write) {
		seg.flags = GNTCOPY_dest_gref;
		seg.source.virt = &byte;
		seg.dest.foreign.ref = ref;
		seg.dest.foreign.domid = domid;
	} else {
		seg.flags = GNTCOPY_source_gref;
		seg.dest.virt = &byte;
		seg.source.foreign.ref = ref;
		seg.source.foreign.domid = domid;
	}
	assert_int_equal(xengnttab_grant_copy(xgt, 1, &seg), 0);
	return seg.status;
}

static void refused(xengnttab_handle *xgt, struct world *w, uint32_t ref, int prot)
{
	assert_null(map1(xgt, w, ref, prot));
	assert_int_equal(errno, EINVAL);
}

/* ---- both versions ------------------------------------------------------------------------------------------ */

static void map_one(struct world *w, uint32_t version)
{
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);
	uint8_t *p;

	guest_version(w, version);
	w->ram[5 * PAGE + 7] = 0x5a;
	grant(w, 9, 0, 5, GTF_permit_access);
	p = map1(xgt, w, 9, PROT_READ | PROT_WRITE);
	assert_non_null(p);
	assert_int_equal(p[7], 0x5a);
	p[8] = 0xa5;
	assert_int_equal(w->ram[5 * PAGE + 8], 0xa5);
	assert_int_equal(in_use(w, 9), GTF_reading | GTF_writing);
	assert_int_equal(stats_of(w, w->domid).grants_active, 1);
	assert_int_equal(stats_of(w, 0).mappings_held, 1);
	if (version == 1)
		assert_false(grant_end(w, 9));
	assert_int_equal(xengnttab_unmap(xgt, p, 1), 0);
	assert_int_equal(in_use(w, 9), 0);
	assert_true(grant_end(w, 9));
	refused(xgt, w, 9, PROT_READ);
	xengnttab_close(xgt);
}

static void test_map_v1(void **state)
{
	map_one(world_of(state), 1);
}

static void test_map_v2(void **state)
{
	map_one(world_of(state), 2);
}

static void check_refusals(struct world *w, uint32_t version)
{
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);
	uint32_t beyond;

	guest_version(w, version);
	beyond = w->table.entries;
	grant(w, 10, 0, 3, GTF_permit_access | GTF_readonly);
	grant(w, 11, 7, 3, GTF_permit_access);
	grant(w, 12, 0, GUEST_RAM / PAGE, GTF_permit_access);
	grant(w, 13, 0, 3, GTF_accept_transfer);
	assert_int_equal(status_of(xgt, w->domid, 10, false), GNTST_okay);
	assert_int_equal(status_of(xgt, w->domid, 10, true), GNTST_general_error);
	assert_int_equal(status_of(xgt, w->domid, 11, false), GNTST_general_error);
	assert_int_equal(status_of(xgt, w->domid, 12, false), GNTST_bad_page);
	assert_int_equal(status_of(xgt, w->domid, 13, false), GNTST_general_error);
	assert_int_equal(status_of(xgt, w->domid, 14, false), GNTST_general_error);
	assert_int_equal(status_of(xgt, w->domid, beyond - 1, false), GNTST_general_error);
	assert_int_equal(status_of(xgt, w->domid, beyond, false), GNTST_bad_gntref);
	assert_int_equal(status_of(xgt, w->domid, UINT32_MAX, false), GNTST_bad_gntref);
	assert_int_equal(status_of(xgt, 5, 10, false), GNTST_bad_domain);
	assert_int_equal(status_of(xgt, 0x7fe0, 10, false), GNTST_bad_domain);
	refused(xgt, w, 10, PROT_READ | PROT_WRITE);
	refused(xgt, w, 11, PROT_READ);
	refused(xgt, w, 12, PROT_READ);
	refused(xgt, w, 13, PROT_READ);
	refused(xgt, w, beyond, PROT_READ);
	assert_null(xengnttab_map_grant_ref(xgt, 5, 10, PROT_READ));
	for (uint32_t ref = 10; ref < 15; ref++)
		assert_int_equal(in_use(w, ref), 0);
	assert_int_equal(stats_of(w, w->domid).grants_active, 0);
	assert_int_equal(stats_of(w, 0).grants_refused, 16);
	xengnttab_close(xgt);
}

static void test_refusals_v1(void **state)
{
	check_refusals(world_of(state), 1);
}

static void test_refusals_v2(void **state)
{
	check_refusals(world_of(state), 2);
}

/* Pins of both kinds on one entry: writing goes with the last writer, reading with the last of all. */
static void pins(struct world *w, uint32_t version)
{
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);
	void *ro, *rw, *rw2;

	guest_version(w, version);
	grant(w, 20, 0, 4, GTF_permit_access);
	ro = map1(xgt, w, 20, PROT_READ);
	assert_int_equal(in_use(w, 20), GTF_reading);
	rw = map1(xgt, w, 20, PROT_READ | PROT_WRITE);
	rw2 = map1(xgt, w, 20, PROT_READ | PROT_WRITE);
	assert_int_equal(in_use(w, 20), GTF_reading | GTF_writing);
	assert_int_equal(stats_of(w, w->domid).grants_active, 1);
	assert_int_equal(stats_of(w, 0).mappings_held, 3);
	assert_int_equal(xengnttab_unmap(xgt, rw, 1), 0);
	assert_int_equal(in_use(w, 20), GTF_reading | GTF_writing);
	assert_int_equal(xengnttab_unmap(xgt, rw2, 1), 0);
	assert_int_equal(in_use(w, 20), GTF_reading);
	assert_int_equal(xengnttab_unmap(xgt, ro, 1), 0);
	assert_int_equal(in_use(w, 20), 0);
	xengnttab_close(xgt);
}

static void test_pins_v1(void **state)
{
	pins(world_of(state), 1);
}

static void test_pins_v2(void **state)
{
	pins(world_of(state), 2);
}

/* While an entry is pinned, the pin says who may use it and which frame, whatever the guest writes there. */
static void pinned_entry_changes(struct world *w, uint32_t version)
{
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);
	uint8_t *first, *second;

	guest_version(w, version);
	w->ram[4 * PAGE] = 44;
	w->ram[6 * PAGE] = 66;
	grant(w, 21, 0, 4, GTF_permit_access);
	first = map1(xgt, w, 21, PROT_READ);
	grant(w, 21, 0, 6, GTF_permit_access);
	second = map1(xgt, w, 21, PROT_READ);
	assert_int_equal(*first, 44);
	assert_int_equal(*second, 44);
	/* Read-only now: a first writer is checked against the entry as it is. */
	grant(w, 21, 0, 6, GTF_permit_access | GTF_readonly);
	refused(xgt, w, 21, PROT_READ | PROT_WRITE);
	assert_int_equal(in_use(w, 21) & GTF_writing, 0);
	xengnttab_unmap(xgt, first, 1);
	xengnttab_unmap(xgt, second, 1);
	second = map1(xgt, w, 21, PROT_READ);
	assert_int_equal(*second, 66);
	xengnttab_unmap(xgt, second, 1);
	xengnttab_close(xgt);
}

static void test_pinned_entry_changes_v1(void **state)
{
	pinned_entry_changes(world_of(state), 1);
}

static void test_pinned_entry_changes_v2(void **state)
{
	pinned_entry_changes(world_of(state), 2);
}

/* While domain 0 has it pinned, the entry is domain 0's, though the guest has written another there. */
static void test_pinned_entry_is_one_domains(void **state)
{
	struct gm_domain_config config = {.domid = 4, .ram_bytes = PAGE, .vcpus = 1};
	struct world *w = world_of(state);
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);
	int status;
	void *p;

	assert_int_equal(gm_domain_create(w->m, &config, NULL), 0);
	grant(w, 21, 0, 4, GTF_permit_access);
	p = map1(xgt, w, 21, PROT_READ);
	assert_non_null(p);
	grant(w, 21, 4, 4, GTF_permit_access);
	for (int pinned = 1; pinned >= 0; pinned--) {
		pid_t pid = fork();

		if (!pid) {
			xengnttab_handle *own;
			int16_t err;

			become(4);
			own = xengnttab_open(NULL, 0);
			err = status_of(own, w->domid, 21, false);
			xengnttab_close(own);
			_exit(-err);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, pinned ? -GNTST_general_error << 8 : 0);
		if (pinned)
			xengnttab_unmap(xgt, p, 1);
	}
	xengnttab_close(xgt);
	assert_int_equal(gm_domain_destroy(w->m, 4), 0);
}

static void test_sub_page_is_copied_not_mapped(void **state)
{
	struct world *w = world_of(state);
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);
	uint8_t buf[16] = {0};
	xengnttab_grant_copy_segment_t seg = {.flags = GNTCOPY_source_gref, .len = 16};

	guest_version(w, 2);
	w->ram[3 * PAGE + 100] = 77;
	grant_sub_page(w, 30, 0, 3, 100, 16);
	refused(xgt, w, 30, PROT_READ);
	seg.source.foreign.ref = 30;
	seg.source.foreign.domid = w->domid;
	seg.source.foreign.offset = 100;
	seg.dest.virt = buf;
	assert_int_equal(xengnttab_grant_copy(xgt, 1, &seg), 0);
	assert_int_equal(seg.status, GNTST_okay);
	assert_int_equal(buf[0], 77);
	seg.source.foreign.offset = 99;
	assert_int_equal(xengnttab_grant_copy(xgt, 1, &seg), 0);
	assert_int_equal(seg.status, GNTST_general_error);
	seg.source.foreign.offset = 101;
	assert_int_equal(xengnttab_grant_copy(xgt, 1, &seg), 0);
	assert_int_equal(seg.status, GNTST_general_error);
	assert_int_equal(in_use(w, 30), 0);
	xengnttab_close(xgt);
}

/* ---- runs and permissions ----------------------------------------------------------------------------------- */

static void test_run_is_contiguous(void **state)
{
	struct world *w = world_of(state);
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);
	const uint64_t frames[] = {10, 11, 12, 40, 39, 13, 14, 14};
	uint32_t refs[8], domids[8];
	uint8_t *p;

	for (uint32_t i = 0; i < 8; i++) {
		refs[i] = FIRST_REF + i;
		domids[i] = w->domid;
		w->ram[frames[i] * PAGE] = (uint8_t)frames[i];
		grant(w, refs[i], 0, frames[i], GTF_permit_access);
	}
	p = xengnttab_map_domain_grant_refs(xgt, 8, w->domid, refs, PROT_READ | PROT_WRITE);
	assert_non_null(p);
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(p[i * PAGE], frames[i]);
	p[6 * PAGE + 1] = 9;
	assert_int_equal(p[7 * PAGE + 1], 9);
	assert_int_equal(xengnttab_unmap(xgt, p, 8), 0);
	p = xengnttab_map_grant_refs(xgt, 8, domids, refs, PROT_READ);
	assert_non_null(p);
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(p[i * PAGE], frames[i]);
	assert_int_equal(stats_of(w, 0).pages_mapped, 16);
	assert_int_equal(stats_of(w, 0).grant_maps, 2);
	assert_int_equal(stats_of(w, 0).grant_unmaps, 1);
	assert_int_equal(xengnttab_unmap(xgt, p, 8), 0);
	xengnttab_close(xgt);
}

static void test_run_fails_whole(void **state)
{
	struct world *w = world_of(state);
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);
	uint32_t refs[4] = {8, 9, 10, 11};

	for (uint32_t i = 0; i < 4; i++)
		grant(w, refs[i], i == 2 ? 3 : 0, i, GTF_permit_access);
	assert_null(xengnttab_map_domain_grant_refs(xgt, 4, w->domid, refs, PROT_READ));
	assert_int_equal(errno, EINVAL);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(in_use(w, refs[i]), 0);
	assert_null(xengnttab_map_domain_grant_refs(xgt, 0, w->domid, refs, PROT_READ));
	assert_int_equal(errno, EINVAL);
	xengnttab_close(xgt);
}

static void test_read_only_is_read_only(void **state)
{
	struct world *w = world_of(state);
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);
	void *p;

	grant(w, 9, 0, 5, GTF_permit_access);
	p = map1(xgt, w, 9, PROT_READ);
	assert_non_null(p);
	assert_int_equal(mprotect(p, PAGE, PROT_READ | PROT_WRITE), -1);
	assert_int_equal(errno, EACCES);
	assert_int_equal(xengnttab_unmap(xgt, p, 1), 0);
	xengnttab_close(xgt);
}

static void test_unmap_of_what_is_not_mapped(void **state)
{
	struct world *w = world_of(state);
	xengnttab_handle *xgt = xengnttab_open(NULL, 0), *other = xengnttab_open(NULL, 0);
	uint32_t refs[2] = {8, 9};
	uint8_t *p;

	grant(w, 8, 0, 5, GTF_permit_access);
	grant(w, 9, 0, 6, GTF_permit_access);
	p = xengnttab_map_domain_grant_refs(xgt, 2, w->domid, refs, PROT_READ);
	assert_int_equal(xengnttab_unmap(xgt, NULL, 1), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(xengnttab_unmap(xgt, p, 1), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(xengnttab_unmap(xgt, p + PAGE, 1), -1);
	assert_int_equal(xengnttab_unmap(other, p, 2), -1);
	assert_int_equal(xengnttab_unmap(xgt, p, 2), 0);
	assert_int_equal(xengnttab_unmap(xgt, p, 2), -1);
	assert_int_equal(errno, EINVAL);
	xengnttab_close(other);
	xengnttab_close(xgt);
}

static void test_close_unmaps(void **state)
{
	struct world *w = world_of(state);
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);

	grant(w, 8, 0, 5, GTF_permit_access);
	assert_non_null(map1(xgt, w, 8, PROT_READ));
	assert_non_null(map1(xgt, w, 8, PROT_READ));
	xengnttab_close(xgt);
	assert_int_equal(in_use(w, 8), 0);
}

static void test_pin_count_is_bounded(void **state)
{
	struct world *w = world_of(state);
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);

	grant(w, 8, 0, 5, GTF_permit_access);
	for (int i = 0; i < 255; i++)
		assert_non_null(map1(xgt, w, 8, PROT_READ));
	refused(xgt, w, 8, PROT_READ);
	assert_int_equal(stats_of(w, 0).mappings_held, 255);
	xengnttab_close(xgt);
}

/* ---- notification ------------------------------------------------------------------------------------------- */

static void test_notify_on_unmap(void **state)
{
	struct world *w = world_of(state);
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);
	xenevtchn_handle *xce = xenevtchn_open(NULL, 0), *peer;
	struct pollfd pfd;
	int port, remote;
	void *p;

	port = xenevtchn_bind_unbound_port(xce, 0);
	peer = xenevtchn_open(NULL, 0);
	remote = xenevtchn_bind_interdomain(peer, 0, (uint32_t)port);
	assert_true(remote > 0);
	assert_int_equal(xenevtchn_pending(peer), remote);
	xenevtchn_unmask(peer, (uint32_t)remote);
	pfd = (struct pollfd){.fd = xenevtchn_fd(peer), .events = POLLIN};

	w->ram[5 * PAGE + 33] = 1;
	grant(w, 8, 0, 5, GTF_permit_access);
	assert_null(xengnttab_map_grant_ref_notify(xgt, w->domid, 8, PROT_READ, 33, (uint32_t)port));
	assert_int_equal(errno, EINVAL);
	p = xengnttab_map_grant_ref_notify(xgt, w->domid, 8, PROT_READ | PROT_WRITE, 33, (uint32_t)port);
	assert_non_null(p);
	assert_int_equal(poll(&pfd, 1, 0), 0);
	xengnttab_unmap(xgt, p, 1);
	assert_int_equal(w->ram[5 * PAGE + 33], 0);
	assert_int_equal(poll(&pfd, 1, LIMIT_MS), 1);
	assert_int_equal(xenevtchn_pending(peer), remote);
	xenevtchn_close(peer);
	xenevtchn_close(xce);
	xengnttab_close(xgt);
}

/* ---- table -------------------------------------------------------------------------------------------------- */

static void test_table_grows_to_its_limit(void **state)
{
	struct world *w = world_of(state);
	struct gm_grant_table t;

	assert_int_equal(gm_guest_grant_table(w->guest, 0, &t), 0);
	assert_int_equal(t.entries, 512);
	assert_int_equal(t.max, ANY_FRAMES * 512);
	assert_null(t.status);
	assert_int_equal(gm_guest_grant_table(w->guest, 513, &t), 0);
	assert_int_equal(t.entries, 1024);
	assert_ptr_equal(t.shared, w->table.shared);
	assert_int_equal(gm_guest_grant_table(w->guest, ANY_FRAMES * 512 + 1, &t), -ENOSPC);
	assert_int_equal(gm_guest_grant_table(w->guest, ANY_FRAMES * 512, &t), 0);
	assert_int_equal(t.entries, ANY_FRAMES * 512);
}

static void test_version_changes_only_when_idle(void **state)
{
	struct world *w = world_of(state);
	xengnttab_handle *xgt = xengnttab_open(NULL, 0);

	grant(w, 8, 0, 5, GTF_permit_access);
	assert_non_null(map1(xgt, w, 8, PROT_READ));
	assert_int_equal(gm_guest_grant_version(w->guest, 2), -EBUSY);
	assert_int_equal(gm_guest_grant_version(w->guest, 3), -EINVAL);
	xengnttab_close(xgt);
	guest_version(w, 2);
	assert_int_equal(w->table.max, ANY_FRAMES * 256);
	assert_int_equal(((union grant_entry_v2 *)w->table.shared)[8].hdr.flags, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
	const struct CMUnitTest tests[] = {
		T(test_map_v1),
		T(test_map_v2),
		T(test_refusals_v1),
		T(test_refusals_v2),
		T(test_pins_v1),
		T(test_pins_v2),
		T(test_pinned_entry_changes_v1),
		T(test_pinned_entry_changes_v2),
		T(test_pinned_entry_is_one_domains),
		T(test_sub_page_is_copied_not_mapped),
		T(test_run_is_contiguous),
		T(test_run_fails_whole),
		T(test_read_only_is_read_only),
		T(test_unmap_of_what_is_not_mapped),
		T(test_close_unmaps),
		T(test_pin_count_is_bounded),
		T(test_notify_on_unmap),
		T(test_table_grows_to_its_limit),
		T(test_version_changes_only_when_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
