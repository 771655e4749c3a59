/* SPDX-License-Identifier: MIT */
/* Random attacks, of fixed seeds: thousands of mutations of registers, rings, descriptors, headers and grants. */
#include "tests/hostile/guest.h"

#include <stdio.h>
#include <string.h>

#define ATTACKS 2000
#define CHECKS	500 /* the honest guest's disk, each so many */

struct attacker {
	struct hg *hg;
	uint64_t state;
};

/* Marsaglia's xorshift64*. */
static uint32_t draw(struct attacker *a)
{
	a->state ^= a->state >> 12;
	a->state ^= a->state << 25;
	a->state ^= a->state >> 27;
	return (uint32_t)(a->state * UINT64_C(2685821657736338717) >> 32);
}

static uint32_t below(struct attacker *a, uint32_t limit)
{
	return draw(a) % limit;
}

/* Numbers at the edges, more often than others. */
static uint64_t number(struct attacker *a)
{
	static const uint64_t edges[] = {0,	     1,		 2,	     3,		 16,
					 255,	     256,	 512,	     4095,	 4096,
					 0x7fff,     0x8000,	 0xffff,     0x10000,	 0x7fffffff,
					 0x80000000, 0xfffff000, 0xffffffff, UINT64_MAX, (uint64_t)1 << 55};

	if (below(a, 3) > 0)
		return edges[below(a, sizeof(edges) / sizeof(edges[0]))];
	return (uint64_t)draw(a) << 32 | draw(a);
}

static uint64_t address(struct attacker *a)
{
	switch (below(a, 6)) {
	case 0:
		return number(a);
	case 1:
		return hg_dma(number(a));
	case 2:
		return hg_dma(HG_HOLE + below(a, 65536));
	default:
		return hg_dma(HG_DATA + below(a, 256 * HG_PAGE));
	}
}

static void attack_register(struct attacker *a)
{
	static const unsigned sizes[] = {4, 4, 4, 4, 4, 1, 2, 8};
	uint64_t offset = below(a, 4) ? 4 * below(a, 0x48) : below(a, GIO_VIRTIO_MMIO_BYTES);

	hg_access(a->hg, offset, sizes[below(a, 8)], below(a, 4) > 0, number(a));
}

static void attack_descriptor(struct attacker *a)
{
	struct gio_virtq_desc *desc = hg_desc(a->hg, below(a, HG_QUEUES), below(a, HG_ENTRIES));

	if (below(a, 2))
		desc->addr = address(a);
	if (below(a, 2))
		desc->len = (uint32_t)number(a);
	if (below(a, 2))
		desc->flags = (uint16_t)below(a, 8);
	if (below(a, 2))
		desc->next = (uint16_t)(below(a, 2) ? below(a, HG_ENTRIES) : number(a));
}

/* A request that would be good, with one thing or another changed, and perhaps told of. */
static void attack_request(struct attacker *a)
{
	unsigned q = below(a, HG_QUEUES), slot = below(a, HG_SLOTS);
	uint16_t head = hg_request(a->hg, q, slot, below(a, 16), below(a, 2) ? below(a, 8192) : number(a),
				   below(a, 2) ? hg_dma(HG_DATA) : address(a), below(a, 2) ? 4096 : below(a, 1u << 17));

	if (below(a, 4) == 0)
		attack_descriptor(a);
	hg_push(a->hg, q, head);
	if (below(a, 2))
		hg_kick(a->hg, q);
}

/* A table that may be good, with an entry that may not. */
static void attack_table(struct attacker *a)
{
	struct gio_virtq_desc *table = (struct gio_virtq_desc *)(void *)(a->hg->ram + HG_TABLES);
	unsigned q = below(a, HG_QUEUES), slot = below(a, HG_SLOTS);
	uint16_t head = hg_request(a->hg, q, slot, below(a, 2), below(a, 8192), hg_dma(HG_DATA), 4096);

	memcpy(table, hg_desc(a->hg, q, head), 48);
	table[0].next = 1;
	table[1].next = 2;
	table[below(a, 3)].next = (uint16_t)below(a, 4);
	table[below(a, 3)].flags = (uint16_t)below(a, 8);
	hg_desc_set(a->hg, q, head, hg_dma(HG_TABLES), below(a, 2) ? 48 : (uint32_t)number(a),
		    below(a, 8) ? HG_TABLE : HG_TABLE | HG_NEXT, 0);
	hg_push(a->hg, q, head);
	hg_kick(a->hg, q);
}

static void attack_ring(struct attacker *a)
{
	unsigned q = below(a, HG_QUEUES);

	switch (below(a, 4)) {
	case 0:
		hg_push(a->hg, q, (uint16_t)number(a));
		break;
	case 1:
		__atomic_store_n(&hg_avail(a->hg, q)->idx, (uint16_t)number(a), __ATOMIC_RELEASE);
		break;
	case 2:
		hg_avail(a->hg, q)->ring[below(a, HG_ENTRIES + 1)] = (uint16_t)number(a);
		break;
	default:
		memset(hg_used(a->hg, q), (int)draw(a), below(a, gio_virtq_used_bytes(HG_ENTRIES)));
	}
	hg_kick(a->hg, q);
}

/* Entries change while they are in use: all but the marks of use, which are Xen's. */
static void attack_grant(struct attacker *a)
{
	struct gio_grant_entry_v1 *entry = &a->hg->grants[HG_FIRST + below(a, HG_GRANTS - HG_FIRST)];
	uint16_t flags = (uint16_t)below(a, 8);

	if (below(a, 2))
		entry->domid = (uint16_t)below(a, 3);
	if (below(a, 2))
		entry->frame = (uint32_t)number(a);
	__atomic_fetch_and(&entry->flags, GIO_GTF_IN_USE, __ATOMIC_ACQ_REL);
	__atomic_fetch_or(&entry->flags, flags & ~GIO_GTF_IN_USE, __ATOMIC_RELEASE);
}

static void grants_mend(struct hg *hg)
{
	for (uint32_t ref = HG_FIRST; ref < HG_GRANTS; ref++) {
		uint16_t in_use = __atomic_load_n(&hg->grants[ref].flags, __ATOMIC_ACQUIRE) & GIO_GTF_IN_USE;

		if (!in_use)
			hg_grant(hg, ref, GIO_GTF_PERMIT_ACCESS);
	}
}

/* A driver that has come up, so that attacks get further than the registers. */
static void come_up(struct attacker *a)
{
	hg_reset(a->hg);
	grants_mend(a->hg);
	hg_start(a->hg, draw(a) & (GIO_VIRTIO_F_EVENT_IDX | GIO_VIRTIO_F_INDIRECT_DESC), 1 + below(a, HG_QUEUES));
	for (unsigned q = 0; q < HG_QUEUES; q++)
		if (!hg_read(a->hg, GIO_VIRTIO_MMIO_QUEUE_READY))
			hg_queue_place(a->hg, q, HG_ENTRIES);
}

static void attack(struct attacker *a)
{
	static void (*const attacks[])(struct attacker * a) = {
		attack_register, attack_register, attack_request, attack_request,    attack_request,
		attack_table,	 attack_ring,	  attack_grant,	  attack_descriptor,
	};

	if (below(a, 24) == 0)
		come_up(a);
	else
		attacks[below(a, sizeof(attacks) / sizeof(attacks[0]))](a);
}

static void random_attacks(void **state, uint64_t seed)
{
	static const char *const arguments[] = {"--indirect", NULL};
	const struct hg_options options = {.arguments = arguments};
	struct hg_scene scene;
	struct attacker a = {&scene.hg, seed};

	print_message("seed %llu\n", (unsigned long long)seed);
	hg_scene_begin(&scene, state, &options);
	for (unsigned q = 0; q < HG_QUEUES; q++)
		hg_queue_place(&scene.hg, q, HG_ENTRIES);
	for (unsigned i = 1; i <= ATTACKS; i++) {
		attack(&a);
		if (i % CHECKS == 0)
			hg_scene_check(&scene);
	}
	hg_reset(&scene.hg);
	grants_mend(&scene.hg);
	assert_int_equal(th_log_count(scene.host, "<3>d2"), 0);
	hg_scene_end(&scene);
}

static void random_first(void **state)
{
	random_attacks(state, 20260101);
}

static void random_second(void **state)
{
	random_attacks(state, 77);
}

static void random_third(void **state)
{
	random_attacks(state, UINT64_C(0x9e3779b97f4a7c15));
}

int main(void)
{
	const struct CMUnitTest tests[] = {HG_TEST(random_first), HG_TEST(random_second), HG_TEST(random_third)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
