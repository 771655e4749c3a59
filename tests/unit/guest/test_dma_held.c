/* SPDX-License-Identifier: MIT */
/* Direct grants that a backend does not let go of: how much one may hold, and whom that concerns. */
#include "tests/unit/guest/fake_os.h"

#include <abi/dma_addr.h>
#include <grantio/dma.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BACKEND 7

struct fixture {
	struct gio_os *os;
	struct gio_grants *grants;
	struct gio_dma bad, good; /* two devices */
	char *va;
};

static void fixture_open(struct fixture *f)
{
	f->os = fake_os_new(&(struct fake_os_config){.pages = 64});
	assert_int_equal(gio_grants_open(&f->grants, f->os, 8), 0);
	assert_int_equal(gio_dma_init(&f->bad, f->os, f->grants, BACKEND, UINT64_MAX), 0);
	assert_int_equal(gio_dma_init(&f->good, f->os, f->grants, BACKEND + 1, UINT64_MAX), 0);
	f->va = gio_os_pages_alloc(f->os, 4);
}

static uint32_t refs_used(const struct fixture *f)
{
	struct gio_grants_stats s;

	gio_grants_stats(f->grants, &s);
	return s.used;
}

static void fixture_close(struct fixture *f)
{
	for (uint32_t left = 1; left;)
		left = gio_grants_reap(f->grants);
	gio_os_pages_free(f->os, f->va, 4);
	assert_int_equal(refs_used(f), 0);
	assert_int_equal(gio_grants_close(f->grants), 0);
	assert_int_equal(fake_os_delete(f->os), 0);
}

/* Map `pages`, have the backend take the last into use, and unmap. False: not mapped. */
static bool map_held(struct fixture *f, struct gio_dma *dma, uint32_t pages, gio_gref_t *held, int *err)
{
	gio_dma_t addr;

	*err = gio_dma_map(dma, f->va, pages * GIO_PAGE_SIZE, GIO_DMA_BOTH, &addr);
	if (*err)
		return false;
	*held = gio_dma_addr_gref(addr) + pages - 1;
	assert_int_equal(fake_peer_pin(f->os, dma->backend, *held, true, NULL), 0);
	assert_int_equal(gio_dma_unmap(dma, addr, pages * GIO_PAGE_SIZE), 0);
	return true;
}

/* A backend that keeps one page of each buffer: its device is broken in the end, and only its own. */
static void test_bounded(void **state)
{
	static gio_gref_t held[2 * GIO_DMA_HELD_MAX];

	(void)state;
	for (uint32_t pages = 1; pages <= 4; pages += 3) {
		struct fixture f;
		gio_gref_t theirs;
		uint32_t n = 0;
		int err = 0;

		fixture_open(&f);
		while (n < 2 * GIO_DMA_HELD_MAX && map_held(&f, &f.bad, pages, &held[n], &err))
			n++;
		assert_int_equal(n, GIO_DMA_HELD_MAX);
		assert_int_equal(err, -GIO_EPROTO);
		assert_true(gio_dma_broken(&f.bad));
		assert_int_equal(refs_used(&f), n); /* all that one backend can take */
		assert_int_equal(gio_grants_held(f.grants, f.bad.user), n);
		assert_null(gio_dma_alloc(&f.bad, 4096, 0, &(gio_dma_t){0}));
		assert_false(gio_dma_broken(&f.good));
		assert_true(map_held(&f, &f.good, pages, &theirs, &err));
		assert_int_equal(gio_grants_held(f.grants, f.good.user), 1);
		fake_peer_unpin(f.os, theirs, true);
		for (uint32_t i = 0; i < n; i++)
			fake_peer_unpin(f.os, held[i], true);
		while (gio_grants_reap(f.grants))
			;
		assert_false(map_held(&f, &f.bad, 1, held, &err)); /* for good */
		fixture_close(&f);
	}
}

/* One that is late, but lets go: however often, its device goes on, until it holds too much at once. */
static void test_late(void **state)
{
	gio_gref_t held[GIO_DMA_HELD_MAX - 1], last;
	struct fixture f;
	int err;

	(void)state;
	fixture_open(&f);
	for (uint32_t i = 0; i < 10 * GIO_DMA_HELD_MAX; i++) {
		uint32_t k = i % (GIO_DMA_HELD_MAX - 1);

		if (i >= GIO_DMA_HELD_MAX - 1) {
			fake_peer_unpin(f.os, held[k], true);
			while (gio_grants_reap(f.grants) > GIO_DMA_HELD_MAX - 2)
				;
		}
		assert_true(map_held(&f, &f.bad, 1, &held[k], &err));
	}
	assert_false(gio_dma_broken(&f.bad));
	assert_true(map_held(&f, &f.bad, 1, &last, &err)); /* one more than it may */
	assert_true(gio_dma_broken(&f.bad));
	fake_peer_unpin(f.os, last, true);
	for (uint32_t k = 0; k < GIO_DMA_HELD_MAX - 1; k++)
		fake_peer_unpin(f.os, held[k], true);
	fixture_close(&f);
}

/* A device that begins anew as the same user: what is held of its former life counts. */
static void test_anew(void **state)
{
	static gio_gref_t held[2 * GIO_DMA_HELD_MAX];
	struct fixture f;
	uint32_t user, n = 0;
	int err;

	(void)state;
	fixture_open(&f);
	user = f.bad.user;
	for (unsigned life = 0; life < 8; life++) {
		assert_int_equal(gio_dma_init(&f.bad, f.os, f.grants, BACKEND, UINT64_MAX), 0);
		f.bad.user = user;
		for (unsigned i = 0; i < GIO_DMA_HELD_MAX / 4 && map_held(&f, &f.bad, 1, &held[n], &err); i++)
			n++;
	}
	/* Each life beyond the bound gets as far as its first held grant, which finds it out. */
	assert_int_equal(n, GIO_DMA_HELD_MAX + 4);
	for (uint32_t i = 0; i < n; i++)
		fake_peer_unpin(f.os, held[i], true);
	fixture_close(&f);
}

/* What a broken device has mapped is unmapped as ever. */
static void test_unmap_when_broken(void **state)
{
	struct fixture f;
	gio_dma_t addr;
	gio_gref_t held;
	int err;

	(void)state;
	fixture_open(&f);
	f.bad.held_max = 1;
	assert_int_equal(gio_dma_map(&f.bad, f.va + 4096, 100, GIO_DMA_TO_DEVICE, &addr), 0);
	assert_true(map_held(&f, &f.bad, 1, &held, &err));
	assert_true(gio_dma_broken(&f.bad));
	assert_int_equal(gio_dma_unmap(&f.bad, addr, 100), 0);
	assert_int_not_equal(fake_peer_pin(f.os, BACKEND, gio_dma_addr_gref(addr), false, NULL), 0);
	fake_peer_unpin(f.os, held, true);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_late),
		cmocka_unit_test(test_anew),
		cmocka_unit_test(test_unmap_when_broken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
