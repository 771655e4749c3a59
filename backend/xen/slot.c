/* SPDX-License-Identifier: MIT */
#include "backend/xen/ioreq.h"

#include <string.h>

/*
 * state, data_is_ptr, dir and df share one byte (xen/hvm/ioreq.h), the one before `type`. All accesses to a slot are in
 * this file, one per field.
 */
#define FLAGS_OFFSET (offsetof(struct ioreq, type) - 1)
#define STATE_MASK   0xfu
_Static_assert(offsetof(struct ioreq, type) == 31 && sizeof(struct ioreq) == 32, "layout of struct ioreq");

static uint8_t *slot_flags(struct ioreq *slot)
{
	return (uint8_t *)slot + FLAGS_OFFSET;
}

/* The slot is ours from READY to RESP_READY: Xen does not write to it meanwhile, so that no update can be lost. */
static void slot_state(struct ioreq *slot, uint8_t flags, uint8_t state, int order)
{
	uint8_t value = (uint8_t)((flags & ~STATE_MASK) | state);

	if (order == __ATOMIC_RELEASE)
		__atomic_store_n(slot_flags(slot), value, __ATOMIC_RELEASE);
	else
		__atomic_store_n(slot_flags(slot), value, __ATOMIC_RELAXED);
}

/* Read each field once. */
static void slot_copy(struct ioreq *slot, uint8_t flags, struct ioreq *copy)
{
	memset(copy, 0, sizeof(*copy));
	copy->addr = __atomic_load_n(&slot->addr, __ATOMIC_RELAXED);
	copy->data = __atomic_load_n(&slot->data, __ATOMIC_RELAXED);
	copy->count = __atomic_load_n(&slot->count, __ATOMIC_RELAXED);
	copy->size = __atomic_load_n(&slot->size, __ATOMIC_RELAXED);
	copy->type = __atomic_load_n(&slot->type, __ATOMIC_RELAXED);
	*slot_flags(copy) = flags;
}

bool gd_ioreq_slot(struct ioreq *slot, struct gd_bus *bus, bool *left)
{
	struct gd_bus_place *place;
	struct ioreq copy;
	/*
	 * Acquire: the state is read before the request's fields. Pairs with Xen's ioreq_send(), which fills them
	 * before it stores STATE_IOREQ_READY (prepare_wait_on_xen_event_channel is the barrier there).
	 */
	uint8_t flags = __atomic_load_n(slot_flags(slot), __ATOMIC_ACQUIRE);
	uint8_t state = flags & STATE_MASK;

	if (*left && state == STATE_IORESP_READY) { /* the former process may have ended before it told the vCPU, which
						       would sleep on */
		*left = false;
		return true;
	}
	if (state != STATE_IOREQ_READY && !(*left && state == STATE_IOREQ_INPROCESS))
		return false;
	slot_copy(slot, flags, &copy);
	if (!gd_bus_hold(bus, &copy, &place))
		return false; /* it stays as it is: its state may not go back later */
	/* Relaxed: the difference between READY and INPROCESS only shows in Xen's debug output. */
	slot_state(slot, flags, STATE_IOREQ_INPROCESS, __ATOMIC_RELAXED);
	gd_bus_answer(bus, place, &copy);
	__atomic_store_n(&slot->data, copy.data, __ATOMIC_RELAXED);
	/* Release: the data is written before the state. Pairs with smp_rmb() in Xen's wait_for_io(). */
	slot_state(slot, flags, STATE_IORESP_READY, __ATOMIC_RELEASE);
	*left = false;
	return true;
}
