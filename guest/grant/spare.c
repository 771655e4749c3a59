/* SPDX-License-Identifier: MIT */
#include "spare.h"

#define LOOKS 4u /* places that are looked at */

static struct gio_spare_ring *ring_of(struct gio_spare *spare, uint32_t hint)
{
	return &spare->ring[hint % GIO_SPARE_RINGS];
}

/* Places go round: the one before, and the one behind. */
static uint32_t before(uint32_t place)
{
	return (place ? place : GIO_SPARE_PLACES) - 1;
}

static uint32_t behind(uint32_t place)
{
	return place + 1 == GIO_SPARE_PLACES ? 0 : place + 1;
}

static bool place_take(gio_gref_t *place, gio_gref_t *ref)
{
	if (!__atomic_load_n(place, __ATOMIC_RELAXED))
		return false;
	/* Acquire: the former owner's last use of the reference, before its release in place_give(). */
	*ref = __atomic_exchange_n(place, 0, __ATOMIC_ACQUIRE);
	return *ref;
}

static bool place_give(gio_gref_t *place, gio_gref_t ref)
{
	gio_gref_t none = 0;

	/* Release: our last use of the reference; pairs with the acquire in place_take(). */
	return !__atomic_load_n(place, __ATOMIC_RELAXED) &&
	       __atomic_compare_exchange_n(place, &none, ref, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

bool gio_spare_take(struct gio_spare *spare, uint32_t hint, gio_gref_t *ref)
{
	struct gio_spare_ring *ring = ring_of(spare, hint);
	uint32_t place = __atomic_load_n(&ring->top, __ATOMIC_RELAXED);

	for (unsigned i = 0; i < LOOKS; i++) {
		place = before(place);
		if (place_take(&ring->place[place], ref)) {
			__atomic_store_n(&ring->top, place, __ATOMIC_RELAXED);
			return true;
		}
	}
	return false;
}

bool gio_spare_give(struct gio_spare *spare, uint32_t hint, gio_gref_t ref)
{
	struct gio_spare_ring *ring = ring_of(spare, hint);
	uint32_t place = __atomic_load_n(&ring->top, __ATOMIC_RELAXED);

	for (unsigned i = 0; i < LOOKS; i++) {
		if (place_give(&ring->place[place], ref)) {
			__atomic_store_n(&ring->top, behind(place), __ATOMIC_RELAXED);
			return true;
		}
		place = behind(place);
	}
	return false;
}

bool gio_spare_drain(struct gio_spare *spare, gio_gref_t *ref)
{
	for (unsigned i = 0; i < GIO_SPARE_RINGS; i++)
		for (unsigned j = 0; j < GIO_SPARE_PLACES; j++)
			if (place_take(&spare->ring[i].place[j], ref))
				return true;
	return false;
}

uint32_t gio_spare_count(const struct gio_spare *spare)
{
	uint32_t count = 0;

	for (unsigned i = 0; i < GIO_SPARE_RINGS; i++)
		for (unsigned j = 0; j < GIO_SPARE_PLACES; j++)
			count += __atomic_load_n(&spare->ring[i].place[j], __ATOMIC_RELAXED) != 0;
	return count;
}
