/* SPDX-License-Identifier: MIT */
/*
 * What a ring itself costs a request of three descriptors: split or packed (virtio 1.2, 2.7 and 2.8), between a driver
 * and a device in two threads, which do nothing else and look all the time. Nobody is woken, and no data is moved.
 *
 * Usage: ring_bench (split|packed) DEPTH REQUESTS
 *
 * Both sides do what they need against a hostile peer: the device copies each descriptor once; the driver keeps what it
 * must know of a request in memory of its own, and takes nothing from the ring but the id of what was used. Compare the
 * two in turn, by the least of several runs each.
 */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <abi/virtio_ring.h>

#define SIZE   256u
#define PIECES 3u
#define DEPTHS (SIZE / PIECES)
#define AVAIL  (1u << 7) /* flags of a packed descriptor (virtio 1.2, 2.8.1) */
#define USED   (1u << 15)

struct packed {
	uint64_t addr;
	uint32_t length;
	uint16_t id, flags;
};

static _Alignas(4096) struct gio_virtq_desc desc[SIZE];
static _Alignas(4096) struct packed ring[SIZE];
static _Alignas(4096) uint16_t avail_index, avail[SIZE];
static _Alignas(4096) struct gio_virtq_used_elem used[SIZE];
static _Alignas(64) uint16_t used_index;
static struct gio_virtq_desc own[DEPTHS][PIECES]; /* the driver's private copy */
static uint64_t requests, sum;
static unsigned depth;

static void wait_a_little(unsigned *looks)
{
	if (++*looks % 4096 == 0)
		sched_yield();
}

static void piece_take(const struct gio_virtq_desc *piece)
{
	sum += piece->addr + piece->len;
}

/* ---- split ------------------------------------------------------------------------------------------------------ */

static void split_put(unsigned slot, uint16_t at)
{
	for (unsigned i = 0; i < PIECES; i++) {
		own[slot][i].addr += 4096;
		desc[PIECES * slot + i] = own[slot][i];
	}
	avail[at % SIZE] = (uint16_t)(PIECES * slot);
}

static void *split_device(void *opaque)
{
	uint16_t at = 0;
	unsigned looks = 0;

	for (uint64_t done = 0; done < requests;) {
		/* Acquire: entries and descriptors after the index; pairs with split_driver(). */
		uint16_t end = __atomic_load_n(&avail_index, __ATOMIC_ACQUIRE);

		if (end == at)
			wait_a_little(&looks);
		for (; at != end; at++, done++) {
			uint16_t head = __atomic_load_n(&avail[at % SIZE], __ATOMIC_RELAXED), next = head;

			for (unsigned i = 0; i < PIECES; i++) {
				struct gio_virtq_desc copy = desc[next % SIZE];

				piece_take(&copy);
				next = copy.next;
			}
			used[at % SIZE] = (struct gio_virtq_used_elem){.id = head, .len = 4096};
		}
		/* Release: the entries before the index; pairs with split_driver(). */
		__atomic_store_n(&used_index, at, __ATOMIC_RELEASE);
	}
	return opaque;
}

static void split_driver(void)
{
	uint16_t put = 0, taken = 0;
	unsigned looks = 0;

	for (; put < depth; put++)
		split_put(put, put);
	__atomic_store_n(&avail_index, put, __ATOMIC_RELEASE);
	for (uint64_t done = 0; done < requests;) {
		uint16_t end = __atomic_load_n(&used_index, __ATOMIC_ACQUIRE);

		if (end == taken)
			wait_a_little(&looks);
		for (; taken != end; taken++, done++)
			if (done + depth < requests)
				split_put(used[taken % SIZE].id / PIECES % DEPTHS, put++);
		__atomic_store_n(&avail_index, put, __ATOMIC_RELEASE);
	}
}

/* ---- packed ----------------------------------------------------------------------------------------------------- */

struct place {
	unsigned at;
	bool wrap;
};

static void place_next(struct place *place, unsigned n)
{
	place->at += n;
	if (place->at < SIZE)
		return;
	place->at -= SIZE;
	place->wrap = !place->wrap;
}

static bool is_available(uint16_t flags, bool wrap)
{
	return !(flags & AVAIL) == !wrap && !(flags & USED) == wrap;
}

static bool is_used(uint16_t flags, bool wrap)
{
	return !(flags & AVAIL) == !wrap && !(flags & USED) == !wrap;
}

/* The first descriptor becomes available last, and the others with it. */
static void packed_put(unsigned slot, struct place *place)
{
	struct packed *first = &ring[place->at];
	uint16_t first_flags = 0;

	for (unsigned i = 0; i < PIECES; i++) {
		struct packed *piece = &ring[place->at];
		uint16_t flags = (uint16_t)((place->wrap ? AVAIL : USED) | (i + 1 < PIECES ? 1 : 0));

		own[slot][i].addr += 4096;
		piece->addr = own[slot][i].addr;
		piece->length = own[slot][i].len;
		piece->id = (uint16_t)slot;
		if (i)
			piece->flags = flags;
		else
			first_flags = flags;
		place_next(place, 1);
	}
	__atomic_store_n(&first->flags, first_flags, __ATOMIC_RELEASE);
}

static void *packed_device(void *opaque)
{
	struct place place = {.wrap = true};
	unsigned looks = 0;

	for (uint64_t done = 0; done < requests;) {
		struct packed *first = &ring[place.at];
		uint16_t id = 0;
		bool wrap = place.wrap;

		/* Acquire: the descriptors after the first one's flags; pairs with packed_put(). */
		if (!is_available(__atomic_load_n(&first->flags, __ATOMIC_ACQUIRE), wrap)) {
			wait_a_little(&looks);
			continue;
		}
		for (unsigned i = 0; i < PIECES; i++) {
			struct packed copy = ring[place.at];

			piece_take(&(struct gio_virtq_desc){.addr = copy.addr, .len = copy.length});
			id = copy.id;
			place_next(&place, 1);
		}
		first->id = id;
		first->length = 4096;
		/* Release: id and length before the flags; pairs with packed_driver(). */
		__atomic_store_n(&first->flags, (uint16_t)(wrap ? AVAIL | USED : 0), __ATOMIC_RELEASE);
		done++;
	}
	return opaque;
}

static void packed_driver(void)
{
	struct place put = {.wrap = true}, take = {.wrap = true};
	unsigned looks = 0;

	for (unsigned slot = 0; slot < depth; slot++)
		packed_put(slot, &put);
	for (uint64_t done = 0; done < requests;) {
		unsigned slot;

		if (!is_used(__atomic_load_n(&ring[take.at].flags, __ATOMIC_ACQUIRE), take.wrap)) {
			wait_a_little(&looks);
			continue;
		}
		slot = ring[take.at].id % DEPTHS;
		place_next(&take, PIECES);
		if (done++ + depth < requests)
			packed_put(slot, &put);
	}
}

/* ---- figures ---------------------------------------------------------------------------------------------------- */

static double clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

int main(int argc, char **argv)
{
	bool split = argc == 4 && !strcmp(argv[1], "split");
	pthread_t device;
	double begin;

	depth = argc == 4 ? (unsigned)atoi(argv[2]) : 0;
	requests = argc == 4 ? strtoull(argv[3], NULL, 10) : 0;
	if ((!split && (argc != 4 || strcmp(argv[1], "packed"))) || !depth || depth > DEPTHS || requests < depth)
		return fprintf(stderr, "Usage: ring_bench (split|packed) DEPTH REQUESTS\n"), 2;
	for (unsigned slot = 0; slot < DEPTHS; slot++)
		for (unsigned i = 0; i < PIECES; i++)
			own[slot][i] = (struct gio_virtq_desc){
				.len = 4096, .flags = i + 1 < PIECES, .next = (uint16_t)(PIECES * slot + i + 1)};
	begin = clock_ns();
	if (pthread_create(&device, NULL, split ? split_device : packed_device, NULL))
		return 1;
	if (split)
		split_driver();
	else
		packed_driver();
	pthread_join(device, NULL);
	printf("%.0f ns a request (%s, depth %u, check %llx)\n", (clock_ns() - begin) / (double)requests, argv[1],
	       depth, (unsigned long long)sum);
	return 0;
}
