/* SPDX-License-Identifier: MIT */
/*
 * Grants over a table that is somebody else's, as a kernel's is (kmod/entry_linux.c): references come in chunks from
 * anywhere, and one that is ended late goes back to its owner, who may lend it again. This file is the owner: it
 * implements guest/grant/entry.h in place of the library's own table.
 */
#include "tests/unit/guest/fake_os.h"

#include <grantio/grant.h>
#include <guest/grant/entry.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define TABLE 2048u
#define CHUNK 64u

enum { OWNERS, LENT, CLAIMED };
static struct {
	uint8_t whose;
	bool active, held;
	gio_gfn_t gfn;
} table[TABLE];

static unsigned retries, lost; /* every lost-th retry loses the reference */

static struct gio_entries {
	struct gio_os *os;
} the_entries;

static unsigned count_of(uint8_t whose)
{
	unsigned n = 0;

	for (unsigned i = 0; i < TABLE; i++)
		n += table[i].whose == whose;
	return n;
}

int gio_entries_open(struct gio_entries **entries, struct gio_os *os)
{
	memset(table, 0, sizeof(table));
	the_entries.os = os;
	*entries = &the_entries;
	return 0;
}

void gio_entries_close(struct gio_entries *entries)
{
	(void)entries;
}

uint32_t gio_entries_count(const struct gio_entries *entries)
{
	(void)entries;
	return 0;
}

uint32_t gio_entries_max(const struct gio_entries *entries)
{
	(void)entries;
	return TABLE;
}

/* The first range that is long enough; of a longer one no more than a chunk. Each 100th reference is the owner's own.
 */
int gio_entries_grow(struct gio_entries *entries, uint32_t tail, uint32_t want, struct gio_entries_range *range)
{
	uint32_t run = 0, end;

	(void)entries, (void)tail;
	for (end = 0; end < TABLE && run < CHUNK; end++) {
		bool is_free = table[end].whose == OWNERS && end % 100 != 0;

		if (!is_free && run >= want)
			break;
		run = is_free ? run + 1 : 0;
	}
	if (run < want)
		return -GIO_ENOSPC;
	*range = (struct gio_entries_range){end - run, run};
	for (uint32_t i = 0; i < run; i++)
		table[end - run + i].whose = LENT;
	return 0;
}

void gio_entries_claim(struct gio_entries *entries, struct gio_entries_range *range)
{
	(void)entries;
	for (uint32_t i = 0; i < range->count; i++) {
		assert_int_equal(table[range->first + i].whose, LENT);
		table[range->first + i].whose = CLAIMED;
	}
}

void gio_entries_cancel(struct gio_entries *entries, const struct gio_entries_range *range)
{
	(void)entries;
	for (uint32_t i = 0; i < range->count; i++) {
		assert_int_equal(table[range->first + i].whose, LENT);
		table[range->first + i].whose = OWNERS;
	}
}

int gio_entries_set(struct gio_entries *entries, gio_gref_t first, uint32_t count, gio_domid_t domid,
		    const gio_gfn_t *gfns, bool readonly)
{
	(void)entries, (void)domid, (void)readonly;
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(table[first + i].whose, CLAIMED);
		assert_false(table[first + i].active);
		table[first + i].active = true;
		table[first + i].gfn = gfns[i];
	}
	return 0;
}

gio_gfn_t gio_entry_gfn(const struct gio_entries *entries, gio_gref_t ref)
{
	(void)entries;
	return table[ref].gfn;
}

bool gio_entry_active(const struct gio_entries *entries, gio_gref_t ref)
{
	(void)entries;
	return table[ref].active;
}

bool gio_entry_left(const struct gio_entries *entries, gio_gref_t ref, gio_gfn_t *gfn)
{
	(void)entries, (void)ref, (void)gfn;
	return false;
}

int gio_entry_end(struct gio_entries *entries, gio_gref_t ref)
{
	(void)entries;
	assert_int_equal(table[ref].whose, CLAIMED);
	if (table[ref].active && table[ref].held)
		return -GIO_EAGAIN;
	table[ref].active = false;
	return 0;
}

uint32_t gio_entries_revoke(struct gio_entries *entries, gio_gref_t first, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (gio_entry_end(entries, first + i))
			return i;
	return count;
}

int gio_entry_retry(struct gio_entries *entries, gio_gref_t ref)
{
	if (gio_entry_end(entries, ref))
		return -GIO_EAGAIN;
	if (++retries % lost)
		return 0;
	table[ref].whose = OWNERS;
	return 1;
}

/* Grant a run of pages, `held` of them (a bit each) held by the peer at its end. */
static gio_gref_t grant_and_revoke(struct gio_grants *grants, struct gio_os *os, char *va, uint32_t count,
				   uint32_t held)
{
	gio_gref_t first;

	assert_int_equal(gio_grants_alloc(grants, count, &first), 0);
	for (uint32_t i = 0; i < count; i++) {
		table[first + i].held = held >> i & 1;
		assert_int_equal(gio_grant_access(grants, first + i, 1, gio_os_gfn(os, va + i * GIO_PAGE_SIZE), false),
				 0);
	}
	assert_int_equal(gio_grants_revoke(grants, first, count), __builtin_popcount(held));
	return first;
}

/* What was held leaves us when it ends, with its page, and comes again with a later chunk. */
static void late_ends_go_back(void **state)
{
	struct gio_os *os = fake_os_new(NULL);
	char *va = gio_os_pages_alloc(os, 8);
	struct gio_grants_stats stats;
	struct gio_grants *grants;
	gio_gref_t first, got;

	(void)state;
	lost = 1;
	assert_int_equal(gio_grants_open(&grants, os, 0), 0);
	first = grant_and_revoke(grants, os, va, 8, 0x5a);
	gio_grants_stats(grants, &stats);
	assert_int_equal(stats.quarantined, 4);
	assert_int_equal(stats.used, 4);
	assert_int_equal(stats.entries, CHUNK);
	for (uint32_t i = 0; i < 8; i++)
		table[first + i].held = false;
	assert_int_equal(gio_grants_reap(grants), 0);
	gio_grants_stats(grants, &stats);
	assert_int_equal(stats.used, 0);
	assert_int_equal(stats.entries, CHUNK - 4);
	assert_int_equal(count_of(CLAIMED), CHUNK - 4);
	/* Whole chunks have to come until there is no reference left, those that left among them. */
	while (!gio_grants_alloc(grants, 1, &got))
		;
	assert_int_equal(count_of(CLAIMED), TABLE - (TABLE + 99) / 100);
	assert_int_equal(gio_grants_close(grants), 0);
	gio_os_pages_free(os, va, 8);
	assert_int_equal(fake_os_delete(os), 0);
}

/* Without memory for its metadata a chunk goes back at once: nothing stays lent. */
static void chunks_are_not_lost(void **state)
{
	struct gio_os *os = fake_os_new(NULL);
	struct gio_grants *grants;
	gio_gref_t got;

	(void)state;
	assert_int_equal(gio_grants_open(&grants, os, 0), 0);
	fake_os_fail(os, FAKE_ALLOC, 1);
	assert_int_equal(gio_grants_alloc(grants, 3, &got), -GIO_ENOMEM);
	assert_true(fake_os_struck(os, FAKE_ALLOC));
	assert_int_equal(count_of(LENT), 0);
	assert_int_equal(count_of(CLAIMED), 0);
	assert_int_equal(gio_grants_alloc(grants, 3, &got), 0);
	assert_int_equal(gio_grants_alloc(grants, 100, &got), -GIO_ENOSPC); /* the owner's own are in between */
	assert_int_equal(gio_grants_close(grants), 0);
	assert_int_equal(fake_os_delete(os), 0);
}

/* A long life: runs of all lengths, a quarter of their pages held, and let go later; few references get lost. */
static void a_long_life(void **state)
{
	struct gio_os *os = fake_os_new(NULL);
	char *va = gio_os_pages_alloc(os, 16);
	struct gio_grants_stats stats;
	struct gio_grants *grants;
	uint32_t seed = 1;

	(void)state;
	lost = 500;
	assert_int_equal(gio_grants_open(&grants, os, 0), 0);
	for (unsigned round = 0; round < 3000; round++) {
		uint32_t count, held;

		seed = seed * 1664525u + 1013904223u;
		count = 1 + (seed >> 20) % 16;
		held = (seed >> 8) & (seed >> 12) & ((1u << count) - 1);
		grant_and_revoke(grants, os, va, count, held);
		if (round % 7 == 0) {
			for (unsigned i = 0; i < TABLE; i++)
				table[i].held = false;
			gio_grants_reap(grants);
		}
	}
	for (unsigned i = 0; i < TABLE; i++)
		table[i].held = false;
	while (gio_grants_reap(grants))
		;
	gio_grants_stats(grants, &stats);
	assert_int_equal(stats.used, 0);
	assert_int_equal(stats.entries, count_of(CLAIMED));
	assert_int_equal(stats.misuses, 0);
	assert_int_equal(gio_grants_close(grants), 0);
	gio_os_pages_free(os, va, 16);
	assert_int_equal(fake_os_delete(os), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(late_ends_go_back),
		cmocka_unit_test(chunks_are_not_lost),
		cmocka_unit_test(a_long_life),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
