/* SPDX-License-Identifier: MIT */
#include "backend/xen/bus.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct gd_bus_place {
	struct gd_bus_range range; /* constant, once `reserved` is false */
	bool reserved;
	unsigned calls; /* into the device, that are running */
};

struct gd_bus {
	struct gd_log *log;
	pthread_mutex_t lock;	      /* of what follows; never held while a device is called */
	pthread_cond_t returned;      /* signalled when a call into a device has returned */
	struct gd_bus_place **places; /* sorted by base */
	size_t count;
};

int gd_bus_open(struct gd_bus **out, struct gd_log *log)
{
	struct gd_bus *bus = calloc(1, sizeof(*bus));

	if (!bus)
		return -ENOMEM;
	bus->log = log;
	pthread_mutex_init(&bus->lock, NULL);
	pthread_cond_init(&bus->returned, NULL);
	*out = bus;
	return 0;
}

void gd_bus_close(struct gd_bus *bus)
{
	if (!bus)
		return;
	for (size_t i = 0; i < bus->count; i++)
		free(bus->places[i]);
	pthread_cond_destroy(&bus->returned);
	pthread_mutex_destroy(&bus->lock);
	free(bus->places);
	free(bus);
}

/* The first range that ends above `addr`: the one that `addr` lies in, if there is one. */
static size_t bus_search(const struct gd_bus *bus, uint64_t addr)
{
	size_t low = 0, high = bus->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct gd_bus_range *range = &bus->places[middle]->range;

		if (range->base + (range->size - 1) < addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool range_is(const struct gd_bus_range *a, const struct gd_bus_range *b)
{
	return a->base == b->base && a->size == b->size;
}

enum insertion { ADD, FILL, RESERVE };

static int bus_insert(struct gd_bus *bus, const struct gd_bus_range *range, enum insertion how)
{
	size_t at = bus_search(bus, range->base);
	struct gd_bus_place **grown, *place;

	if (at < bus->count && bus->places[at]->range.base <= range->base + (range->size - 1)) {
		if (how != FILL || !bus->places[at]->reserved || !range_is(&bus->places[at]->range, range))
			return -EADDRINUSE;
		*bus->places[at] = (struct gd_bus_place){.range = *range};
		return 0;
	}
	grown = realloc(bus->places, (bus->count + 1) * sizeof(struct gd_bus_place *));
	if (!grown)
		return -ENOMEM;
	bus->places = grown;
	place = calloc(1, sizeof(*place));
	if (!place)
		return -ENOMEM;
	*place = (struct gd_bus_place){.range = *range, .reserved = how == RESERVE};
	memmove(&grown[at + 1], &grown[at], (bus->count - at) * sizeof(struct gd_bus_place *));
	grown[at] = place;
	bus->count++;
	return 0;
}

static int range_add(struct gd_bus *bus, const struct gd_bus_range *range, enum insertion how)
{
	int err;

	if (!range->size || range->base + (range->size - 1) < range->base)
		return -EINVAL;
	pthread_mutex_lock(&bus->lock);
	err = bus_insert(bus, range, how);
	pthread_mutex_unlock(&bus->lock);
	return err;
}

int gd_bus_add(struct gd_bus *bus, const struct gd_bus_range *range)
{
	return range_add(bus, range, ADD);
}

int gd_bus_fill(struct gd_bus *bus, const struct gd_bus_range *range)
{
	return range_add(bus, range, FILL);
}

int gd_bus_reserve(struct gd_bus *bus, uint64_t base, uint64_t size)
{
	return range_add(bus, &(struct gd_bus_range){.base = base, .size = size}, RESERVE);
}

/* Called under the lock: from here on the range is not found any more. */
static struct gd_bus_place *place_cut(struct gd_bus *bus, size_t at)
{
	struct gd_bus_place *place = bus->places[at];

	bus->count--;
	memmove(&bus->places[at], &bus->places[at + 1], (bus->count - at) * sizeof(struct gd_bus_place *));
	return place;
}

void gd_bus_remove(struct gd_bus *bus, uint64_t base)
{
	struct gd_bus_place *place = NULL;
	size_t at;

	pthread_mutex_lock(&bus->lock);
	at = bus_search(bus, base);
	if (at < bus->count && bus->places[at]->range.base == base)
		place = place_cut(bus, at);
	while (place && place->calls)
		pthread_cond_wait(&bus->returned, &bus->lock);
	pthread_mutex_unlock(&bus->lock);
	free(place);
}

void gd_bus_unreserve(struct gd_bus *bus)
{
	pthread_mutex_lock(&bus->lock);
	for (size_t at = bus->count; at > 0; at--)
		if (bus->places[at - 1]->reserved)
			free(place_cut(bus, at - 1)); /* no call can be running: there is no device */
	pthread_mutex_unlock(&bus->lock);
}

/* The mask of the low `size` bytes; 0 for size 0. size_valid() refuses the other sizes that no register has. */
static uint64_t size_mask(uint32_t size)
{
	return size >= 8 ? UINT64_MAX : (UINT64_C(1) << 8 * size) - 1;
}

static bool size_valid(uint32_t size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

/* A memory access of one register: the only kind that devices are asked for. */
static bool access_valid(const struct ioreq *request)
{
	return request->type == IOREQ_TYPE_COPY && size_valid(request->size) && request->count == 1 &&
	       !request->data_is_ptr;
}

bool gd_bus_hold(struct gd_bus *bus, const struct ioreq *request, struct gd_bus_place **out)
{
	struct gd_bus_place *place = NULL;
	bool reserved;
	size_t at;

	*out = NULL;
	if (!access_valid(request))
		return true;
	pthread_mutex_lock(&bus->lock);
	at = bus_search(bus, request->addr);
	if (at < bus->count && bus->places[at]->range.base <= request->addr)
		place = bus->places[at];
	reserved = place && place->reserved;
	if (place && !reserved)
		place->calls++;
	pthread_mutex_unlock(&bus->lock);
	*out = reserved ? NULL : place;
	return !reserved;
}

static void place_release(struct gd_bus *bus, struct gd_bus_place *place)
{
	pthread_mutex_lock(&bus->lock);
	if (--place->calls == 0)
		pthread_cond_broadcast(&bus->returned);
	pthread_mutex_unlock(&bus->lock);
}

static void access_answer(struct gd_bus *bus, const struct gd_bus_range *range, struct ioreq *request)
{
	uint64_t mask = size_mask(request->size), offset = range ? request->addr - range->base : 0;

	if (request->dir == IOREQ_READ)
		request->data = range ? range->read(range->opaque, offset, request->size) & mask : mask;
	else if (range)
		range->write(range->opaque, offset, request->size, request->data & mask);
	if (!range)
		gd_log_guest(bus->log, GD_WARN, "access of %u bytes at 0x%" PRIx64 ": no device there", request->size,
			     request->addr);
}

void gd_bus_answer(struct gd_bus *bus, struct gd_bus_place *place, struct ioreq *request)
{
	if (access_valid(request)) {
		access_answer(bus, place ? &place->range : NULL, request);
		if (place)
			place_release(bus, place);
		return;
	}
	if (request->type == IOREQ_TYPE_INVALIDATE || request->type == IOREQ_TYPE_TIMEOFFSET)
		return; /* there is nothing to do: grantiod caches no mappings, and keeps no clock */
	gd_log_guest(bus->log, GD_WARN, "refused access of type %u, %u x %u bytes at 0x%" PRIx64 "%s", request->type,
		     request->count, request->size, request->addr, request->data_is_ptr ? ", by pointer" : "");
	if (request->dir == IOREQ_READ && !request->data_is_ptr)
		request->data = size_mask(request->size);
}
