/* SPDX-License-Identifier: MIT */
/* What Xen makes of grants: marks of use, statuses, and what it refuses. The table's entries are looked at as they are.
 */
#include "guest.h"

#include <abi/grant_table.h>

#define RUN	   4u
#define NOBODY	   77u /* a domain that does not exist */
#define FAR_REF	   (1u << 24)
#define COPY_BYTES 16u

enum { REF_RW, REF_RO, REF_OTHER, REF_FREE };

static struct gio_grant_entry_v1 *entry(gio_gref_t ref)
{
	struct gio_os_grant_table table;

	gio_os_grant_table(gio_xen_os(), 0, &table);
	return (struct gio_grant_entry_v1 *)table.shared + ref;
}

static unsigned flags(gio_gref_t ref)
{
	return __atomic_load_n(&entry(ref)->flags, __ATOMIC_ACQUIRE);
}

static int grant(struct world *world, gio_gref_t ref, gio_domid_t domid, const void *page, bool readonly)
{
	return gio_grant_access(world->grants, ref, domid, gio_os_gfn(gio_xen_os(), page), readonly);
}

static void maps(struct world *world, gio_gref_t first, const uint8_t *pages)
{
	static const struct {
		const char *name;
		unsigned index;
	} refs[] = {{"read-write", REF_RW}, {"read-only", REF_RO}, {"another's", REF_OTHER}, {"free", REF_FREE}};

	for (unsigned i = 0; i < COUNT(refs); i++)
		for (unsigned write = 0; write < 2; write++) {
			gio_gref_t ref = first + refs[i].index;
			unsigned before = flags(ref);
			int ret = peer_ask("map", ref, 1, write, NULL);

			gio_xen_print("map %s for %s: %d, flags %x %x", refs[i].name, write ? "writing" : "reading",
				      ret, before, flags(ref));
			gio_xen_print(", end %d", gio_grant_end(world->grants, ref));
			gio_xen_print(", unmap %d", peer_ask("unmap", 0, 0, 0, NULL));
			gio_xen_print(", flags %x\n", flags(ref));
			(void)gio_grant_end(world->grants, ref);
			if (refs[i].index == REF_RW || refs[i].index == REF_RO)
				(void)grant(world, ref, world->rw.domid, pages, refs[i].index == REF_RO);
		}
}

static void copies(gio_gref_t first)
{
	static const struct {
		const char *name;
		unsigned ref, offset, bytes;
	} cases[] = {
		{"a page", REF_RW, 0, 4096}, {"its end", REF_RW, 4080, 16}, {"across its end", REF_RW, 4081, 16},
		{"nothing", REF_RW, 5, 0},   {"read-only", REF_RO, 0, 16},  {"another's", REF_OTHER, 0, 16},
		{"free", REF_FREE, 0, 16},   {"far", FAR_REF, 0, 16},
	};

	for (unsigned i = 0; i < COUNT(cases); i++) {
		gio_gref_t ref = cases[i].ref == FAR_REF ? FAR_REF : first + cases[i].ref;
		int from = 0, to = 0, ret;

		ret = peer_ask("from", ref, cases[i].offset, cases[i].bytes, &from);
		gio_xen_print("copy %s: from %d %d", cases[i].name, ret, from);
		ret = peer_ask("to", ref, cases[i].offset, cases[i].bytes, &to);
		gio_xen_print(", to %d %d", ret, to);
		if (ref != FAR_REF)
			gio_xen_print(", flags %x", flags(ref));
		gio_xen_print("\n");
	}
}

/* Copies with one page at both ends, and in pieces of one call: which status each gets. */
static void copies_together(gio_gref_t first)
{
	int data = 0, ret = peer_ask("mixed", first + REF_RW, first + REF_FREE, 0, &data);

	gio_xen_print("good, bad, good in one call: %d, statuses %d\n", ret, data);
	ret = peer_ask("both", first + REF_RW, first + REF_RO, 0, &data);
	gio_xen_print("from one grant to another: %d %d", ret, data);
	ret = peer_ask("both", first + REF_RO, first + REF_RW, 0, &data);
	gio_xen_print(", and back: %d %d\n", ret, data);
}

static void runs(gio_gref_t first)
{
	gio_xen_print("map two: %d", peer_ask("map", first + REF_RW, 2, 0, NULL));
	gio_xen_print(", flags %x %x", flags(first + REF_RW), flags(first + REF_RO));
	gio_xen_print(", unmap %d", peer_ask("unmap", 0, 0, 0, NULL));
	gio_xen_print(", map three, one of them refused: %d", peer_ask("map", first + REF_RW, 3, 0, NULL));
	gio_xen_print(", flags %x %x %x\n", flags(first + REF_RW), flags(first + REF_RO), flags(first + REF_OTHER));
	gio_xen_print("a far one: %d\n", peer_ask("map", FAR_REF, 1, 0, NULL));
}

/* A grant that is mapped twice, and copied from meanwhile. */
static void together(struct world *world, gio_gref_t ref)
{
	int data = 0;

	gio_xen_print("mapped for reading: %d", peer_ask("map", ref, 1, 0, NULL));
	gio_xen_print(", flags %x", flags(ref));
	gio_xen_print(", copy from %d", peer_ask("from", ref, 0, COPY_BYTES, &data));
	gio_xen_print(" to %d", peer_ask("to", ref, 0, COPY_BYTES, &data));
	gio_xen_print(", flags %x", flags(ref));
	gio_xen_print(", mapped for writing too: %d", peer_ask("map2", ref, 1, 1, NULL));
	gio_xen_print(", flags %x", flags(ref));
	gio_xen_print(", end %d", gio_grant_end(world->grants, ref));
	gio_xen_print(", unmap the first %d", peer_ask("unmap", 0, 0, 0, NULL));
	gio_xen_print(", flags %x", flags(ref));
	gio_xen_print(", end %d", gio_grant_end(world->grants, ref));
	gio_xen_print(", unmap the second %d", peer_ask("unmap2", 0, 0, 0, NULL));
	gio_xen_print(", flags %x", flags(ref));
	gio_xen_print(", end %d", gio_grant_end(world->grants, ref));
	gio_xen_print(", flags %x\n", flags(ref));
}

/* A frame that the guest does not have; and one that it has, where the guest took the entry's rights away. */
static void entries(struct world *world, gio_gref_t ref, const void *page)
{
	int data = 0;

	gio_xen_print("no such frame: %d", gio_grant_access(world->grants, ref, world->rw.domid, 0xfffff0, false));
	gio_xen_print(", map %d", peer_ask("map", ref, 1, 0, NULL));
	gio_xen_print(", copy %d", peer_ask("from", ref, 0, COPY_BYTES, &data));
	gio_xen_print(" %d, flags %x", data, flags(ref));
	gio_xen_print(", end %d\n", gio_grant_end(world->grants, ref));
	(void)grant(world, ref, world->rw.domid, page, false);
	gio_xen_print("mapped, then made read-only: %d", peer_ask("map", ref, 1, 0, NULL));
	__atomic_fetch_or(&entry(ref)->flags, GIO_GTF_READONLY, __ATOMIC_ACQ_REL);
	gio_xen_print(", map for writing %d", peer_ask("map2", ref, 1, 1, NULL));
	gio_xen_print(", copy to %d", peer_ask("to", ref, 0, COPY_BYTES, &data));
	gio_xen_print(" %d, unmap %d", data, peer_ask("unmap", 0, 0, 0, NULL));
	gio_xen_print(", end %d\n", gio_grant_end(world->grants, ref));
}

void grants_run(struct world *world)
{
	uint8_t *pages = gio_os_pages_alloc(gio_xen_os(), RUN);
	gio_gref_t first = 0;
	int ret = gio_grants_alloc(world->grants, RUN, &first);

	gio_xen_print("- grants: %d\n", ret);
	for (unsigned i = 0; i < RUN * GIO_PAGE_SIZE; i++)
		pages[i] = (uint8_t)(i / GIO_PAGE_SIZE + 1);
	ret = grant(world, first + REF_RW, world->rw.domid, pages, false);
	gio_xen_print("access: %d", ret);
	gio_xen_print(" %d", grant(world, first + REF_RO, world->rw.domid, pages + GIO_PAGE_SIZE, true));
	gio_xen_print(" %d\n", grant(world, first + REF_OTHER, NOBODY, pages + 2 * GIO_PAGE_SIZE, false));
	copies(first);
	copies_together(first);
	runs(first);
	maps(world, first, pages);
	gio_xen_print("revoke: %d\n", gio_grants_revoke(world->grants, first, RUN));
	ret = gio_grants_alloc(world->grants, 1, &first);
	(void)grant(world, first, world->rw.domid, pages, false);
	together(world, first);
	entries(world, first, pages);
	gio_xen_print("revoke: %d\n", gio_grants_revoke(world->grants, first, 1));
	gio_os_pages_free(gio_xen_os(), pages, RUN);
}
