/* SPDX-License-Identifier: MIT */
#include "tests/unit/guest/fake_os.h"

#include <abi/dma_addr.h>
#include <grantio/dma.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BACKEND		7
#define FOR_VERSIONS(v) for (uint32_t v = 1; v <= 2; v++)

struct fixture {
	struct gio_os *os;
	struct gio_grants *grants;
	struct gio_dma dma;
};

static void fixture_open_config(struct fixture *f, const struct fake_os_config *config)
{
	f->os = fake_os_new(config);
	assert_int_equal(gio_grants_open(&f->grants, f->os, 8), 0);
	assert_int_equal(gio_dma_init(&f->dma, f->os, f->grants, BACKEND, UINT64_MAX), 0);
}

static void fixture_open(struct fixture *f, uint32_t version)
{
	fixture_open_config(f, &(struct fake_os_config){.version = version});
}

static struct gio_dma_stats stats(const struct fixture *f)
{
	struct gio_dma_stats s;

	gio_dma_stats(&f->dma, &s);
	return s;
}

static uint32_t refs_used(const struct fixture *f)
{
	struct gio_grants_stats s;

	gio_grants_stats(f->grants, &s);
	return s.used;
}

/* The leak oracle, after every test. */
static void fixture_close(struct fixture *f)
{
	assert_int_equal(stats(f).granted, 0);
	assert_int_equal(stats(f).maps, stats(f).unmaps);
	assert_int_equal(refs_used(f), 0);
	assert_int_equal(gio_grants_close(f->grants), 0);
	assert_int_equal(fake_os_delete(f->os), 0);
}

static void test_address_codec(void **state)
{
	(void)state;
	assert_true(gio_dma_addr(0, 0) == UINT64_C(0x8000000000000000));
	assert_true(gio_dma_addr(0x12345678, 0xabc) == UINT64_C(0x8000012345678abc));
	assert_true(gio_dma_addr(UINT32_MAX, 0xfff) == UINT64_C(0x80000fffffffffff));
	assert_int_equal(gio_dma_addr_gref(UINT64_C(0x80000fffffffffff)), UINT32_MAX);
	assert_int_equal(gio_dma_addr_offset(UINT64_C(0x8000012345678abc)), 0xabc);
	assert_true(gio_dma_addr_valid(UINT64_C(0x80000fffffffffff)));
	assert_false(gio_dma_addr_valid(UINT64_C(0x00000fffffffffff)));
	assert_false(gio_dma_addr_valid(UINT64_C(0x8000100000000000)));
	assert_false(gio_dma_addr_valid(UINT64_C(0xc000000000001000)));
	assert_false(gio_dma_addr_valid(0));
}

static void test_mask(void **state)
{
	struct fixture f;
	struct gio_dma dma;

	(void)state;
	fixture_open(&f, 1);
	assert_int_equal(gio_dma_init(&dma, f.os, f.grants, BACKEND, UINT32_MAX), -GIO_ERANGE);
	assert_int_equal(gio_dma_init(&dma, f.os, f.grants, BACKEND, UINT64_MAX >> 1), -GIO_ERANGE);
	assert_int_equal(gio_dma_init(&dma, f.os, f.grants, BACKEND, UINT64_MAX - 1), -GIO_ERANGE);
	fixture_close(&f);
}

/* Offsets and lengths around unit borders: as many references as units touched, and the right bytes in both directions.
 */
static void test_offsets_and_lengths(void **state)
{
	static const uint32_t offsets[] = {0, 1, 7, 512, 4095};
	static const size_t lengths[] = {1, 2, 512, 4095, 4096, 4097, 8191, 8192, 8193, 20000};

	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;
		char *va, seen[20000];

		fixture_open(&f, v);
		va = gio_os_pages_alloc(f.os, 8);
		for (size_t i = 0; i < 8 * GIO_PAGE_SIZE; i++)
			va[i] = (char)(i * 7 + i / 251);
		for (size_t o = 0; o < sizeof(offsets) / sizeof(offsets[0]); o++)
			for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++) {
				char *buf = va + 2 * GIO_PAGE_SIZE + offsets[o];
				size_t len = lengths[l];
				gio_dma_t addr;

				assert_int_equal(gio_dma_map(&f.dma, buf, len, GIO_DMA_BOTH, &addr), 0);
				assert_int_equal(addr & GIO_PAGE_MASK, offsets[o]);
				assert_int_equal(refs_used(&f), (offsets[o] + len - 1) / GIO_PAGE_SIZE + 1);
				assert_int_equal(stats(&f).granted, refs_used(&f));
				assert_int_equal(fake_peer_copy(f.os, BACKEND, addr, seen, len, false), 0);
				assert_memory_equal(seen, buf, len);
				seen[len - 1] ^= 0x55;
				assert_int_equal(fake_peer_copy(f.os, BACKEND, addr, seen, len, true), 0);
				assert_memory_equal(buf, seen, len);
				/* One unit before and one behind are not granted. */
				assert_int_not_equal(
					fake_peer_copy(f.os, BACKEND, (addr | 4095) - 4096, seen, 1, false), 0);
				assert_int_not_equal(
					fake_peer_copy(f.os, BACKEND, ((addr + len - 1) | 4095) + 1, seen, 1, false),
					0);
				gio_dma_unmap(&f.dma, addr, len);
				assert_int_not_equal(fake_peer_copy(f.os, BACKEND, addr, seen, 1, false), 0);
				assert_int_equal(refs_used(&f), 0);
			}
		gio_os_pages_free(f.os, va, 8);
		fixture_close(&f);
	}
}

static void test_directions(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;
		char *va, c = 'x';
		gio_dma_t addr;

		fixture_open(&f, v);
		va = gio_os_pages_alloc(f.os, 1);
		for (enum gio_dma_dir dir = GIO_DMA_TO_DEVICE; dir <= GIO_DMA_BOTH; dir++) {
			assert_int_equal(gio_dma_map(&f.dma, va, 100, dir, &addr), 0);
			assert_int_equal(fake_peer_copy(f.os, BACKEND, addr, &c, 1, false), 0);
			assert_int_equal(fake_peer_copy(f.os, BACKEND, addr, &c, 1, true) == 0,
					 dir != GIO_DMA_TO_DEVICE);
			assert_int_not_equal(fake_peer_copy(f.os, BACKEND + 1, addr, &c, 1, false), 0);
			gio_dma_unmap(&f.dma, addr, 100);
		}
		gio_os_pages_free(f.os, va, 1);
		fixture_close(&f);
	}
}

static gio_gfn_t frame_of(struct fixture *f, gio_dma_t addr)
{
	gio_gfn_t gfn = 0;

	assert_int_equal(fake_peer_pin(f->os, BACKEND, gio_dma_addr_gref(addr), false, &gfn), 0);
	fake_peer_unpin(f->os, gio_dma_addr_gref(addr), false);
	return gfn;
}

/* Frames of systems with 16 and 64 KiB pages: the page's first unit, and an offset anywhere in the page. */
static void test_gfn(void **state)
{
	struct fixture f;
	gio_dma_t addr;

	(void)state;
	fixture_open(&f, 1);
	assert_int_equal(gio_dma_map_gfn(&f.dma, 0x1000, 0, 1, GIO_DMA_BOTH, &addr), 0);
	assert_true(frame_of(&f, addr) == 0x1000);
	gio_dma_unmap(&f.dma, addr, 1);
	for (uint32_t page = GIO_PAGE_SIZE; page <= 65536; page *= 4)
		for (uint32_t offset = 0; offset < page; offset += 1000) {
			size_t len = page + 10; /* into the next page of the system */
			uint32_t units = (offset % GIO_PAGE_SIZE + page + 10 + GIO_PAGE_SIZE - 1) / GIO_PAGE_SIZE;

			assert_int_equal(gio_dma_map_gfn(&f.dma, 0x4000, offset, len, GIO_DMA_BOTH, &addr), 0);
			assert_int_equal(addr & GIO_PAGE_MASK, offset % GIO_PAGE_SIZE);
			assert_int_equal(refs_used(&f), units);
			for (uint32_t i = 0; i < units; i++)
				assert_true(frame_of(&f, addr + i * GIO_PAGE_SIZE) ==
					    0x4000 + offset / GIO_PAGE_SIZE + i);
			gio_dma_unmap(&f.dma, addr, len);
		}
	fixture_close(&f);
}

/* Other frames in place of the first and the last unit: granted, and held while the backend uses them, as the own are.
 */
static void test_edges(void **state)
{
	struct fixture f;

	(void)state;
	FOR_VERSIONS(v)
	{
		fixture_open(&f, v);
		for (uint32_t units = 1; units <= 5; units++)
			for (unsigned given = 0; given < 4; given++) {
				const struct gio_dma_edges edges = {.first = given & 1 ? 0x7001 : GIO_DMA_OWN,
								    .last = given & 2 ? 0x7002 : GIO_DMA_OWN};
				size_t len = units * GIO_PAGE_SIZE - 100 - 1;
				gio_dma_t addr;

				assert_int_equal(gio_dma_map_edges(&f.dma, 0x500, GIO_PAGE_SIZE + 100, len,
								   GIO_DMA_BOTH, &edges, &addr),
						 0);
				assert_int_equal(addr & GIO_PAGE_MASK, 100);
				assert_int_equal(refs_used(&f), units);
				for (uint32_t i = 0; i < units; i++) {
					gio_gfn_t frame = 0x501 + i;

					if (!i && given & 1)
						frame = 0x7001;
					else if (i && i == units - 1 && given & 2)
						frame = 0x7002;
					assert_true(frame_of(&f, addr + i * GIO_PAGE_SIZE) == frame);
				}
				gio_dma_unmap(&f.dma, addr, len);
			}
		fixture_close(&f);
	}
}

/* What cannot be: refused before anything is done. */
static void test_refusals(void **state)
{
	struct fixture f;
	char *va;
	gio_dma_t addr = 1;
	uint64_t failures = 0;

	(void)state;
	fixture_open(&f, 2);
	va = gio_os_pages_alloc(f.os, 1);
#define REFUSED(call, err)                                        \
	do {                                                      \
		assert_int_equal(call, err);                      \
		assert_int_equal(stats(&f).failures, ++failures); \
		assert_int_equal(refs_used(&f), 0);               \
		assert_int_equal(addr, 1);                        \
	} while (0)
	REFUSED(gio_dma_map(&f.dma, va, 0, GIO_DMA_BOTH, &addr), -GIO_EINVAL);
	REFUSED(gio_dma_map(&f.dma, NULL, 10, GIO_DMA_BOTH, &addr), -GIO_EINVAL);
	REFUSED(gio_dma_map(&f.dma, va, SIZE_MAX, GIO_DMA_BOTH, &addr), -GIO_EOVERFLOW);
	REFUSED(gio_dma_map(&f.dma, va, SIZE_MAX - (uintptr_t)va, GIO_DMA_BOTH, &addr), -GIO_EOVERFLOW);
	REFUSED(gio_dma_map(&f.dma, (void *)(UINTPTR_MAX - 10), 100, GIO_DMA_BOTH, &addr), -GIO_EOVERFLOW);
	REFUSED(gio_dma_map(&f.dma, va, 4u << 20, GIO_DMA_BOTH, &addr), -GIO_ENOSPC); /* the table has 1024 */
	REFUSED(gio_dma_map_gfn(&f.dma, 0, 0, 0, GIO_DMA_BOTH, &addr), -GIO_EINVAL);
	REFUSED(gio_dma_map_gfn(&f.dma, 0, 0, SIZE_MAX, GIO_DMA_BOTH, &addr), -GIO_EOVERFLOW);
	REFUSED(gio_dma_map_gfn(&f.dma, 0, 4095, (size_t)1 << 40, GIO_DMA_BOTH, &addr), -GIO_EOVERFLOW);
	REFUSED(gio_dma_map_gfn(&f.dma, 0, 0, (size_t)1 << 40, GIO_DMA_BOTH, &addr), -GIO_ENOSPC);
	REFUSED(gio_dma_map_gfn(&f.dma, UINT64_MAX, 1, GIO_PAGE_SIZE, GIO_DMA_BOTH, &addr), -GIO_EOVERFLOW);
	REFUSED(gio_dma_map_gfn(&f.dma, UINT64_MAX, GIO_PAGE_SIZE, 1, GIO_DMA_BOTH, &addr), -GIO_EOVERFLOW);
#undef REFUSED
	assert_int_equal(gio_dma_map_gfn(&f.dma, UINT64_MAX, 0, GIO_PAGE_SIZE, GIO_DMA_BOTH, &addr), 0);
	gio_dma_unmap(&f.dma, addr, GIO_PAGE_SIZE);
	gio_os_pages_free(f.os, va, 1);
	fixture_close(&f);
}

/* A frame in the middle that version 1 cannot name: what was granted before it is ended again. */
static void test_frame_too_large(void **state)
{
	struct fixture f;
	gio_dma_t addr;

	(void)state;
	fixture_open(&f, 1);
	assert_int_equal(gio_dma_map_gfn(&f.dma, UINT32_MAX - 1, 0, 4 * GIO_PAGE_SIZE, GIO_DMA_BOTH, &addr),
			 -GIO_ERANGE);
	assert_int_equal(refs_used(&f), 0);
	assert_int_equal(stats(&f).granted, 0);
	assert_int_equal(stats(&f).failures, 1);
	fixture_close(&f);
}

/* A hostile backend has the grant in use before the driver even told it: found in the unwinding, too. */
static void test_unmap_quarantine(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;
		char *va;
		gio_dma_t addr;
		gio_gfn_t gfn;

		fixture_open(&f, v);
		va = gio_os_pages_alloc(f.os, 3);
		gfn = gio_os_gfn(f.os, va + GIO_PAGE_SIZE);
		assert_int_equal(gio_dma_map(&f.dma, va, 3 * GIO_PAGE_SIZE, GIO_DMA_FROM_DEVICE, &addr), 0);
		assert_int_equal(fake_peer_pin(f.os, BACKEND, gio_dma_addr_gref(addr) + 1, true, NULL), 0);
		gio_dma_unmap(&f.dma, addr, 3 * GIO_PAGE_SIZE);
		assert_int_equal(stats(&f).quarantined, 1);
		assert_int_equal(stats(&f).granted, 0);
		assert_int_equal(refs_used(&f), 1);
		gio_os_pages_free(f.os, va, 3);
		assert_true(fake_os_page_used(f.os, gfn));
		assert_int_equal(gio_dma_map_gfn(&f.dma, 5, 0, 1, GIO_DMA_BOTH, &addr), 0); /* the device goes on */
		gio_dma_unmap(&f.dma, addr, 1);
		fake_peer_unpin(f.os, gio_dma_addr_gref(addr) + 1, true);
		assert_int_equal(gio_grants_reap(f.grants), 0);
		assert_false(fake_os_page_used(f.os, gfn));
		fixture_close(&f);
	}
}

/* Unmapping what is not ours, as a driver with a defect would: counted, and every mapping stays as it is. */
static void test_unmap_misuse(void **state)
{
	struct fixture f;
	char *va, c;
	gio_dma_t addr;
	uint64_t misuses = 0;

	(void)state;
	fixture_open(&f, 2);
	va = gio_os_pages_alloc(f.os, 4);
	assert_int_equal(gio_dma_map(&f.dma, va + 16, 2 * GIO_PAGE_SIZE, GIO_DMA_BOTH, &addr), 0);
	{
		const struct {
			gio_dma_t addr;
			size_t len;
		} wrong[] = {
			{0, 100},
			{addr & ~GIO_DMA_GRANT_BIT, 2 * GIO_PAGE_SIZE},
			{addr, 0},
			{addr, 2 * GIO_PAGE_SIZE - 16},
			{addr, 3 * GIO_PAGE_SIZE},
			{addr, SIZE_MAX},
			{addr + GIO_PAGE_SIZE, GIO_PAGE_SIZE},
			{addr - GIO_PAGE_SIZE, 2 * GIO_PAGE_SIZE},
			{gio_dma_addr(0, 0), 100},
			{gio_dma_addr(UINT32_MAX, 4095), 100},
			{addr | UINT64_C(1) << 50, 2 * GIO_PAGE_SIZE},
		};

		for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
			gio_dma_unmap(&f.dma, wrong[i].addr, wrong[i].len);
			assert_int_equal(stats(&f).misuses, ++misuses);
			assert_int_equal(stats(&f).granted, 3);
			assert_int_equal(fake_peer_copy(f.os, BACKEND, addr + 2 * GIO_PAGE_SIZE - 1, &c, 1, true), 0);
		}
	}
	assert_int_equal(stats(&f).unmaps, 0);
	gio_dma_unmap(&f.dma, addr, 2 * GIO_PAGE_SIZE);
	gio_dma_unmap(&f.dma, addr, 2 * GIO_PAGE_SIZE); /* twice */
	assert_int_equal(stats(&f).misuses, ++misuses);
	gio_os_pages_free(f.os, va, 4);
	fixture_close(&f);
}

static void test_sg(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		struct fixture f;
		struct gio_sg sg[5];
		char *va, buf[3000];

		fixture_open(&f, v);
		va = gio_os_pages_alloc(f.os, 10);
		for (unsigned i = 0; i < 5; i++) {
			sg[i] = (struct gio_sg){.va = va + i * 2 * GIO_PAGE_SIZE + 3000, .len = 2000};
			memset(va + i * 2 * GIO_PAGE_SIZE + 3000, 'a' + (int)i, 2000);
		}
		assert_int_equal(gio_dma_map_sg(&f.dma, sg, 5, GIO_DMA_TO_DEVICE), 0);
		assert_int_equal(refs_used(&f), 10);
		assert_int_equal(stats(&f).maps, 5);
		for (unsigned i = 0; i < 5; i++) {
			assert_int_equal(fake_peer_copy(f.os, BACKEND, sg[i].addr, buf, 2000, false), 0);
			assert_int_equal(buf[0], 'a' + (int)i);
			assert_int_equal(buf[1999], 'a' + (int)i);
		}
		gio_dma_unmap_sg(&f.dma, sg, 5);
		assert_int_equal(stats(&f).unmaps, 5);
		assert_int_equal(gio_dma_map_sg(&f.dma, sg, 0, GIO_DMA_TO_DEVICE), 0);
		gio_os_pages_free(f.os, va, 10);
		fixture_close(&f);
	}
}

/* Whichever element fails, none is mapped. */
static void test_sg_all_or_nothing(void **state)
{
	(void)state;
	for (unsigned bad = 0; bad < 4; bad++) {
		struct fixture f;
		struct gio_sg sg[4];
		struct fake_os_counts c;
		char *va;

		fixture_open(&f, 1);
		va = gio_os_pages_alloc(f.os, 8);
		for (unsigned i = 0; i < 4; i++)
			sg[i] = (struct gio_sg){
				.va = va + i * 2 * GIO_PAGE_SIZE, .len = i == bad ? 0 : 5000, .addr = 77};
		assert_int_equal(gio_dma_map_sg(&f.dma, sg, 4, GIO_DMA_BOTH), -GIO_EINVAL);
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(sg[i].addr, 0);
		assert_int_equal(refs_used(&f), 0);
		fake_os_count(f.os, &c);
		assert_int_equal(c.active, 0);
		assert_int_equal(stats(&f).failures, 1);
		assert_int_equal(stats(&f).misuses, 0);
		assert_int_equal(stats(&f).maps, 0);
		assert_int_equal(stats(&f).unmaps, 0);
		assert_int_equal(stats(&f).granted, 0);
		gio_os_pages_free(f.os, va, 8);
		fixture_close(&f);
	}
}

/* References run out in the middle of a list: everything as before, and it works once there is room. */
static void test_sg_references_run_out(void **state)
{
	struct fixture f;
	struct gio_sg sg[3];
	gio_dma_t most;
	char *va;

	(void)state;
	fixture_open(&f, 1);
	va = gio_os_pages_alloc(f.os, 6);
	for (unsigned i = 0; i < 3; i++)
		sg[i] = (struct gio_sg){.va = va + i * 2 * GIO_PAGE_SIZE, .len = 2 * GIO_PAGE_SIZE};
	assert_int_equal(gio_dma_map_gfn(&f.dma, 1, 0, (4 * 512 - 8 - 5) * GIO_PAGE_SIZE, GIO_DMA_BOTH, &most), 0);
	assert_int_equal(gio_dma_map_sg(&f.dma, sg, 3, GIO_DMA_BOTH), -GIO_ENOSPC);
	assert_int_equal(refs_used(&f), 4 * 512 - 8 - 5);
	assert_int_equal(stats(&f).granted, 4 * 512 - 8 - 5);
	assert_int_equal(gio_dma_map_sg(&f.dma, sg, 2, GIO_DMA_BOTH), 0);
	gio_dma_unmap_sg(&f.dma, sg, 2);
	gio_dma_unmap(&f.dma, most, (4 * 512 - 8 - 5) * GIO_PAGE_SIZE);
	assert_int_equal(gio_dma_map_sg(&f.dma, sg, 3, GIO_DMA_BOTH), 0);
	gio_dma_unmap_sg(&f.dma, sg, 3);
	assert_int_equal(stats(&f).failures, 1);
	gio_os_pages_free(f.os, va, 6);
	fixture_close(&f);
}

static int scenario(struct fixture *f, char *va)
{
	struct gio_sg sg[3];
	gio_dma_t one, ring_addr;
	void *ring;
	int ret = gio_dma_map(&f->dma, va, 300 * GIO_PAGE_SIZE, GIO_DMA_TO_DEVICE, &one); /* grows the table */

	if (ret)
		return ret;
	ret = -GIO_ENOMEM;
	ring = gio_dma_alloc(&f->dma, 3 * GIO_PAGE_SIZE, 0, &ring_addr);
	if (!ring)
		goto unmap_one;
	for (unsigned i = 0; i < 3; i++)
		sg[i] = (struct gio_sg){.va = va + i, .len = 200 * GIO_PAGE_SIZE};
	ret = gio_dma_map_sg(&f->dma, sg, 3, GIO_DMA_FROM_DEVICE);
	if (!ret)
		gio_dma_unmap_sg(&f->dma, sg, 3);
	gio_dma_free(&f->dma, ring, 3 * GIO_PAGE_SIZE, ring_addr);
unmap_one:
	gio_dma_unmap(&f->dma, one, 300 * GIO_PAGE_SIZE);
	return ret;
}

static void test_faults(void **state)
{
	(void)state;
	FOR_VERSIONS(v)
	{
		unsigned n = 0;
		int ret;

		do {
			struct fixture f;
			char *va;

			fixture_open_config(&f, &(struct fake_os_config){.version = v, .pages = 512});
			va = gio_os_pages_alloc(f.os, 300);
			assert_non_null(va);
			fake_os_fail(f.os, FAKE_ANY, ++n);
			ret = scenario(&f, va);
			assert_int_equal(ret, fake_os_struck(f.os, FAKE_ANY) ? -GIO_ENOMEM : 0);
			fake_os_fail(f.os, FAKE_ANY, 0);
			assert_int_equal(stats(&f).failures, ret != 0);
			assert_int_equal(stats(&f).granted, 0);
			assert_int_equal(refs_used(&f), 0);
			assert_int_equal(scenario(&f, va), 0); /* as if nothing had been */
			gio_os_pages_free(f.os, va, 300);
			fixture_close(&f);
		} while (ret && n < 100);
		assert_in_range(n, 5, 99);
	}
}

/* Each unit of a long buffer has its frame, those at the edges theirs, wherever a batch of them ends. */
static void test_long_edges(void **state)
{
	const struct gio_dma_edges edges = {0x111, 0x222};

	(void)state;
	for (uint32_t count = 30; count <= 66; count++) {
		struct fixture f;
		gio_dma_t addr;
		gio_gfn_t gfn;

		fixture_open(&f, 1);
		assert_int_equal(gio_dma_map_edges(&f.dma, 0x5000, 7, count * GIO_PAGE_SIZE - 9, GIO_DMA_TO_DEVICE,
						   &edges, &addr),
				 0);
		for (uint32_t i = 0; i < count; i++) {
			gio_gref_t ref = gio_dma_addr_gref(addr) + i;

			assert_int_equal(fake_peer_pin(f.os, BACKEND, ref, false, &gfn), 0);
			assert_int_equal(gfn, !i ? 0x111 : i == count - 1 ? 0x222 : 0x5000 + i);
			fake_peer_unpin(f.os, ref, false);
		}
		assert_int_equal(gio_dma_unmap(&f.dma, addr, count * GIO_PAGE_SIZE - 9), 0);
		fixture_close(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_address_codec),
		cmocka_unit_test(test_mask),
		cmocka_unit_test(test_offsets_and_lengths),
		cmocka_unit_test(test_directions),
		cmocka_unit_test(test_gfn),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_long_edges),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_frame_too_large),
		cmocka_unit_test(test_unmap_quarantine),
		cmocka_unit_test(test_unmap_misuse),
		cmocka_unit_test(test_sg),
		cmocka_unit_test(test_sg_all_or_nothing),
		cmocka_unit_test(test_sg_references_run_out),
		cmocka_unit_test(test_faults),
	};

	return cmocka_run_group_tests_name("dma", tests, NULL, NULL);
}
