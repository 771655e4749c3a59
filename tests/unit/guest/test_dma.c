/* SPDX-License-Identifier: MIT */
#include "fake_os.h"

#include <grantio/dma.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BACKEND 7

struct fixture {
	struct gio_os *os;
	struct gio_grants *grants;
	struct gio_dma dma;
};

static void fixture_open(struct fixture *f, uint32_t version)
{
	f->os = fake_os_new(&(struct fake_os_config){.version = version});
	assert_int_equal(gio_grants_init(&f->grants, f->os, 8), 0);
	assert_int_equal(gio_dma_init(&f->dma, f->os, f->grants, BACKEND, UINT64_MAX), 0);
}

static void fixture_close(struct fixture *f)
{
	struct gio_grants_stats s;

	gio_grants_stats(f->grants, &s);
	assert_int_equal(s.used, 0);
	assert_int_equal(s.misuses, 0);
	assert_int_equal(gio_grants_exit(f->grants), 0);
	assert_int_equal(fake_os_delete(f->os), 0);
}

static void test_round_trip(void **state)
{
	(void)state;
	for (uint32_t version = 1; version <= 2; version++) {
		struct fixture f;
		char *page, buf[6000];
		gio_dma_t addr;

		fixture_open(&f, version);
		page = gio_os_pages_alloc(f.os, 3);
		memset(page, 'x', 3 * GIO_PAGE_SIZE);
		assert_int_equal(gio_dma_map(&f.dma, page + 100, sizeof(buf), GIO_DMA_TO_DEVICE, &addr), 0);
		assert_int_equal(addr & GIO_PAGE_MASK, 100);
		assert_int_equal(fake_peer_copy(f.os, BACKEND, addr, buf, sizeof(buf), false), 0);
		assert_int_equal(buf[0], 'x');
		assert_int_equal(buf[sizeof(buf) - 1], 'x');
		assert_int_not_equal(fake_peer_copy(f.os, BACKEND, addr, buf, 1, true), 0);
		assert_int_not_equal(fake_peer_copy(f.os, BACKEND + 1, addr, buf, 1, false), 0);
		gio_dma_unmap(&f.dma, addr, sizeof(buf));
		assert_int_not_equal(fake_peer_copy(f.os, BACKEND, addr, buf, 1, false), 0);
		gio_os_pages_free(f.os, page, 3);
		fixture_close(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
	};

	return cmocka_run_group_tests_name("dma", tests, NULL, NULL);
}
