/* SPDX-License-Identifier: MIT */
#include "backend/msg/bus.h"

#include <errno.h>

#include "backend/guestmem/shared.h"

_Static_assert(sizeof(struct gio_msg) % sizeof(uint64_t) == 0 && GIO_MSG_SLOT_BYTES % sizeof(uint64_t) == 0,
	       "messages are copied by words");

int gd_msgbus_begin(struct gd_msgbus *bus, const struct gio_msg_page *driver, struct gio_msg_page *device)
{
	*bus = (struct gd_msgbus){.driver = driver, .device = device};
	if (gd_shared_load32_acquire(&driver->prod) || gd_shared_load32_acquire(&driver->cons))
		return -EPROTO;
	/* The only look at what we write ourselves: a page that is in use already is somebody else's. */
	if (gd_shared_load32_acquire(&device->prod) || gd_shared_load32_acquire(&device->cons))
		return -EPROTO;
	return 0;
}

void gd_msgbus_resume(struct gd_msgbus *bus, const struct gio_msg_page *driver, struct gio_msg_page *device,
		      const struct gd_msgbus_state *state)
{
	*bus = (struct gd_msgbus){.driver = driver, .device = device, .shown = state->prod, .state = *state};
}

int gd_msgbus_take(struct gd_msgbus *bus, struct gio_msg *msg)
{
	/*
	 * Acquire: the slot is read after the counter that covers it. Pairs with the driver's release of `prod` after
	 * it has filled the slot.
	 */
	uint32_t waiting = gd_shared_load32_acquire(&bus->driver->prod) - bus->state.cons;

	if (waiting > GIO_MSG_SLOTS)
		return -EPROTO;
	if (!waiting)
		return 0;
	gd_shared_read(msg, &bus->driver->slots[bus->state.cons % GIO_MSG_SLOTS].msg, sizeof(*msg));
	bus->state.cons++;
	return 1;
}

/* How many of our messages the driver has not taken, or -EPROTO. */
static int unread(const struct gd_msgbus *bus)
{
	/*
	 * Acquire: a slot is written again after the driver's counter says that it was copied. Pairs with the driver's
	 * release of `cons` after its copy.
	 */
	uint32_t count = bus->state.prod - gd_shared_load32_acquire(&bus->driver->cons);

	return count > GIO_MSG_SLOTS ? -EPROTO : (int)count;
}

int gd_msgbus_put(struct gd_msgbus *bus, const struct gio_msg *msg)
{
	int count = unread(bus);

	if (count < 0 || count == (int)GIO_MSG_SLOTS)
		return -EPROTO;
	bus->state.slots[bus->state.prod++ % GIO_MSG_SLOTS] = *msg;
	return 0;
}

static void slot_write(struct gd_msgbus *bus, uint32_t number)
{
	gd_shared_write(&bus->device->slots[number % GIO_MSG_SLOTS].msg, &bus->state.slots[number % GIO_MSG_SLOTS],
			sizeof(struct gio_msg));
}

bool gd_msgbus_show(struct gd_msgbus *bus)
{
	bool fresh = bus->shown != bus->state.prod;

	for (; bus->shown != bus->state.prod; bus->shown++)
		slot_write(bus, bus->shown);
	/* Release: our copy was made before the driver fills that slot again, by its acquire of `cons`. */
	gd_shared_store32_release(&bus->device->cons, bus->state.cons);
	/* Release: the driver finds the slot filled when it sees the counter, by its acquire of `prod`. */
	gd_shared_store32_release(&bus->device->prod, bus->state.prod);
	return fresh;
}

/* A slot that was filled stays as it is until eight more messages were shown: so to write it again changes nothing. */
void gd_msgbus_show_again(struct gd_msgbus *bus)
{
	for (uint32_t i = 0; i < GIO_MSG_SLOTS; i++)
		slot_write(bus, i);
	gd_msgbus_show(bus);
}

int gd_msgbus_taken(const struct gd_msgbus *bus, uint32_t number)
{
	int count = unread(bus);

	return count < 0 ? count : bus->state.prod - number > (uint32_t)count;
}
