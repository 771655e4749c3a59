/* SPDX-License-Identifier: MIT */
#include "backend/xen/bus.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct gd_bus {
	struct gd_log *log;
	pthread_mutex_t lock;	     /* of what follows, and held while a device is called */
	struct gd_bus_range *ranges; /* by base */
	size_t count;
};

int gd_bus_open(struct gd_bus **out, struct gd_log *log)
{
	struct gd_bus *bus = calloc(1, sizeof(*bus));

	if (!bus)
		return -ENOMEM;
	bus->log = log;
	pthread_mutex_init(&bus->lock, NULL);
	*out = bus;
	return 0;
}

void gd_bus_close(struct gd_bus *bus)
{
	if (!bus)
		return;
	pthread_mutex_destroy(&bus->lock);
	free(bus->ranges);
	free(bus);
}

/* The first range that ends above `addr`: the one that holds it, if any does. */
static size_t bus_search(const struct gd_bus *bus, uint64_t addr)
{
	size_t low = 0, high = bus->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (bus->ranges[middle].base + (bus->ranges[middle].size - 1) < addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int bus_insert(struct gd_bus *bus, const struct gd_bus_range *range)
{
	size_t at = bus_search(bus, range->base);
	struct gd_bus_range *grown;

	if (at < bus->count && bus->ranges[at].base <= range->base + (range->size - 1))
		return -EADDRINUSE;
	grown = realloc(bus->ranges, (bus->count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	bus->ranges = grown;
	memmove(&grown[at + 1], &grown[at], (bus->count - at) * sizeof(*grown));
	grown[at] = *range;
	bus->count++;
	return 0;
}

int gd_bus_add(struct gd_bus *bus, const struct gd_bus_range *range)
{
	int ret;

	if (!range->size || range->base + (range->size - 1) < range->base)
		return -EINVAL;
	pthread_mutex_lock(&bus->lock);
	ret = bus_insert(bus, range);
	pthread_mutex_unlock(&bus->lock);
	return ret;
}

void gd_bus_remove(struct gd_bus *bus, uint64_t base)
{
	size_t at;

	pthread_mutex_lock(&bus->lock);
	at = bus_search(bus, base);
	if (at < bus->count && bus->ranges[at].base == base) {
		bus->count--;
		memmove(&bus->ranges[at], &bus->ranges[at + 1], (bus->count - at) * sizeof(bus->ranges[0]));
	}
	pthread_mutex_unlock(&bus->lock);
}

/* The value that `size` bytes can hold; nothing for sizes that are none. */
static uint64_t size_mask(uint32_t size)
{
	return size >= 8 ? UINT64_MAX : (UINT64_C(1) << 8 * size) - 1;
}

static bool size_valid(uint32_t size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

/* A memory access of one register. */
static void bus_access(struct gd_bus *bus, struct ioreq *request)
{
	const struct gd_bus_range *range;
	uint64_t mask = size_mask(request->size);
	size_t at;

	pthread_mutex_lock(&bus->lock);
	at = bus_search(bus, request->addr);
	range = at < bus->count && bus->ranges[at].base <= request->addr ? &bus->ranges[at] : NULL;
	if (request->dir == IOREQ_READ)
		request->data =
			range ? range->read(range->opaque, request->addr - range->base, request->size) & mask : mask;
	else if (range)
		range->write(range->opaque, request->addr - range->base, request->size, request->data & mask);
	pthread_mutex_unlock(&bus->lock);
	if (!range)
		gd_log_guest(bus->log, GD_WARN, "access of %u bytes at 0x%" PRIx64 ": no device there", request->size,
			     request->addr);
}

void gd_bus_answer(struct gd_bus *bus, struct ioreq *request)
{
	if (request->type == IOREQ_TYPE_COPY && size_valid(request->size) && request->count == 1 &&
	    !request->data_is_ptr) {
		bus_access(bus, request);
		return;
	}
	if (request->type == IOREQ_TYPE_INVALIDATE || request->type == IOREQ_TYPE_TIMEOFFSET)
		return; /* we cache no mappings, and keep no clock */
	gd_log_guest(bus->log, GD_WARN, "refused access of type %u, %u x %u bytes at 0x%" PRIx64 "%s", request->type,
		     request->count, request->size, request->addr, request->data_is_ptr ? ", by pointer" : "");
	if (request->dir == IOREQ_READ && !request->data_is_ptr)
		request->data = size_mask(request->size);
}
