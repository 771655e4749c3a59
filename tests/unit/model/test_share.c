/* SPDX-License-Identifier: MIT */
/* Programs that share pages with others (xengntshr_*). Domain 0 shares, and domain 1 maps. */
#include "tests/unit/model/common.h"

#include "model/grant.h"
#include "model/state.h"

struct peer {
	struct gm_machine *m;
	struct gm_mapping *map;
};

static const uint32_t dom0;

static int peer_map(struct peer *p, struct world *w, uint32_t count, const uint32_t *refs, int prot)
{
	struct gm_run run = {count, &dom0, true, refs, prot};

	if (!p->m)
		assert_int_equal(gm_machine_open_as(&p->m, w->dir, 1), 0);
	return gm_grant_map(p->m, &run, &p->map);
}

static void peer_close(struct peer *p)
{
	gm_machine_close(p->m);
}

static void test_share(void **state)
{
	struct world *w = world_of(state);
	xengntshr_handle *xgs = xengntshr_open(NULL, 0);
	uint32_t refs[3], again[3];
	struct peer peer = {0};
	char *pages, *others;

	pages = xengntshr_share_pages(xgs, 1, 3, refs, 1);
	assert_non_null(pages);
	assert_int_equal((uintptr_t)pages % PAGE, 0);
	for (unsigned i = 0; i < 3 * PAGE; i++)
		assert_int_equal(pages[i], 0);
	assert_int_equal(peer_map(&peer, w, 3, refs, PROT_READ | PROT_WRITE), 0);
	strcpy(pages + 2 * PAGE, "from the one");
	strcpy((char *)peer.map->addr + PAGE, "from the other");
	assert_string_equal((char *)peer.map->addr + 2 * PAGE, "from the one");
	assert_string_equal(pages + PAGE, "from the other");
	assert_int_equal(xengntshr_unshare(xgs, pages, 2), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(xengntshr_unshare(xgs, pages + PAGE, 2), -1);

	/* Mapped still: neither the pages nor the references are anybody else's. */
	assert_int_equal(xengntshr_unshare(xgs, pages, 3), 0);
	others = xengntshr_share_pages(xgs, 1, 3, again, 1);
	assert_non_null(others);
	memset(others, 0xff, 3 * PAGE);
	for (int i = 0; i < 3; i++)
		for (int j = 0; j < 3; j++)
			assert_int_not_equal(refs[i], again[j]);
	assert_string_equal((char *)peer.map->addr + 2 * PAGE, "from the one");
	gm_grant_unmap(peer.m, peer.map);
	assert_int_equal(peer_map(&peer, w, 1, refs, PROT_READ), -EINVAL); /* it has ended */
	pages = xengntshr_share_pages(xgs, 1, 3, again, 1);
	assert_memory_equal(again, refs, sizeof(refs)); /* now they are free */
	assert_int_equal(xengntshr_close(xgs), 0);
	assert_int_equal(peer_map(&peer, w, 1, refs, PROT_READ), -EINVAL);
	peer_close(&peer);
}

static void test_share_for_reading(void **state)
{
	struct world *w = world_of(state);
	xengntshr_handle *xgs = xengntshr_open(NULL, 0);
	struct peer peer = {0};
	uint32_t ref;

	assert_non_null(xengntshr_share_pages(xgs, 1, 1, &ref, 0));
	assert_int_equal(peer_map(&peer, w, 1, &ref, PROT_READ | PROT_WRITE), -EINVAL);
	assert_int_equal(peer_map(&peer, w, 1, &ref, PROT_READ), 0);
	gm_grant_unmap(peer.m, peer.map);
	xengntshr_close(xgs);
	peer_close(&peer);
}

static void test_share_notifies(void **state)
{
	struct world *w = world_of(state);
	xengntshr_handle *xgs = xengntshr_open(NULL, 0);
	struct peer peer = {0};
	uint32_t ref;
	char *page = xengntshr_share_page_notify(xgs, 1, &ref, 1, 77, (evtchn_port_t)-1);

	assert_non_null(page);
	page[77] = page[78] = 1;
	assert_int_equal(peer_map(&peer, w, 1, &ref, PROT_READ), 0);
	assert_int_equal(xengntshr_unshare(xgs, page, 1), 0);
	assert_int_equal(peer.map->addr[77], 0);
	assert_int_equal(peer.map->addr[78], 1);
	gm_grant_unmap(peer.m, peer.map);
	xengntshr_close(xgs);
	peer_close(&peer);
}

static void test_share_refused(void **state)
{
	static uint32_t refs[4096];
	struct world *w = world_of(state);
	xengntshr_handle *xgs = xengntshr_open(NULL, 0);

	assert_null(xengntshr_share_pages(xgs, 1, 0, refs, 1));
	assert_int_equal(errno, EINVAL);
	assert_null(xengntshr_share_pages(xgs, 1, 4096, refs, 1));
	assert_int_equal(errno, ENOMEM);
	assert_non_null(xengntshr_share_pages(xgs, 1, 1000, refs, 1)); /* all of that was undone */
	xengntshr_close(xgs);
	become(1);
	xgs = xengntshr_open(NULL, 0);
	assert_null(xengntshr_share_pages(xgs, 0, 1, refs, 1)); /* another process is that guest */
	assert_int_equal(errno, EBUSY);
	xengntshr_close(xgs);
	gm_guest_close(w->guest);
	w->guest = NULL;
	xgs = xengntshr_open(NULL, 0);
	assert_non_null(xengntshr_share_pages(xgs, 0, 1, refs, 1));
	assert_int_equal(gm_guest_open(&w->guest, w->dir, 1), -EBUSY);
	w->guest = NULL;
	xengntshr_close(xgs);
	assert_int_equal(gm_guest_open(&w->guest, w->dir, 1), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
	const struct CMUnitTest tests[] = {
		T(test_share),
		T(test_share_for_reading),
		T(test_share_notifies),
		T(test_share_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
