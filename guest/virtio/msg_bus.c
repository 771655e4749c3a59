/* SPDX-License-Identifier: MIT */
#include "msg_bus.h"

#include "shared.h"

#define WORDS (GIO_MSG_MAX / sizeof(uint32_t))

/* A message as words: each is read or written exactly once, so that the compiler cannot look at shared memory twice. */
union words {
	struct gio_msg msg;
	uint32_t word[WORDS];
};

_Static_assert(sizeof(union words) == GIO_MSG_MAX && GIO_MSG_MAX % sizeof(uint32_t) == 0, "whole words");
_Static_assert(offsetof(struct gio_msg_page, slots) % sizeof(uint32_t) == 0, "slots are aligned for words");
_Static_assert(GIO_MSG_SLOT_BYTES % sizeof(uint32_t) == 0, "all of them");

void gio_msg_bus_init(struct gio_msg_bus *bus, struct gio_msg_page *driver, const struct gio_msg_page *device)
{
	*bus = (struct gio_msg_bus){.ours = driver, .theirs = device};
}

int gio_msg_bus_send(struct gio_msg_bus *bus, const struct gio_msg *msg)
{
	union words *slot = (void *)&bus->ours->slots[bus->sent % GIO_MSG_SLOTS];
	const union words *from = (const void *)msg;

	/*
	 * Acquire: the device has copied what it has counted before we write there again. Matches its release store of
	 * `cons` after the copy.
	 */
	if (bus->sent - shared_load32_acquire(&bus->theirs->cons) >= GIO_MSG_SLOTS)
		return -GIO_EPROTO;
	for (unsigned i = 0; i < WORDS; i++)
		shared_store32(&slot->word[i], from->word[i]);
	/* Release: the slot is seen before it is counted. Matches the device's acquire load of `prod`. */
	shared_store32_release(&bus->ours->prod, ++bus->sent);
	return 0;
}

int gio_msg_bus_take(struct gio_msg_bus *bus, struct gio_msg *msg)
{
	const union words *slot = (const void *)&bus->theirs->slots[bus->taken % GIO_MSG_SLOTS];
	union words *to = (void *)msg;
	uint32_t unread;

	/* Acquire: the counter before the slot that it covers. Matches the device's release store of `prod`. */
	unread = shared_load32_acquire(&bus->theirs->prod) - bus->taken;
	if (!unread)
		return -GIO_EAGAIN;
	if (unread > GIO_MSG_SLOTS)
		return -GIO_EPROTO;
	for (unsigned i = 0; i < WORDS; i++)
		to->word[i] = shared_load32(&slot->word[i]);
	/* Release: our copy before the device may write there again. Matches its acquire load of `cons`. */
	shared_store32_release(&bus->ours->cons, ++bus->taken);
	return 0;
}
