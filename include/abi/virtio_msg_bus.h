/* SPDX-License-Identifier: MIT */
/*
 * The bus that carries the messages of abi/virtio_msg.h between two domains: two pages of 4 KiB, which the guest grants
 * to the backend's domain, and event channels (docs/xenbus.md).
 *
 * Each page has one writer. The *driver page* is granted read-only: requests are written there. The *device page* may
 * be written by the backend: responses and events are written there. Both have the same layout: two counters, each in
 * a cache line of its own, and eight slots for messages. Message k lies in slot k modulo 8.
 *
 * The counters run freely from 0 and wrap at 2^32. A writer keeps its own counters in private memory and never reads
 * back what it wrote. No atomic read-modify-write instruction may touch these pages.
 *
 *   producer  reads the peer's `cons` (acquire); writes the slot; stores `prod` + 1 (release); sends an event
 *   consumer  reads the peer's `prod` (acquire); copies the slot; stores `cons` + 1 (release)
 *
 * At most two messages are ever unread in a page: a response, and one EVENT_CONFIG. So nobody waits for room, and a
 * difference of counters above GIO_MSG_SLOTS means that the peer breaks the protocol.
 */
#ifndef GRANTIO_ABI_VIRTIO_MSG_BUS_H
#define GRANTIO_ABI_VIRTIO_MSG_BUS_H

#include <abi/virtio_msg.h>

#define GIO_MSG_PAGE_BYTES 4096u
#define GIO_MSG_SLOTS	   8u
#define GIO_MSG_SLOT_BYTES 448u

struct gio_msg_slot {
	struct gio_msg msg; /* zeroes behind the message */
	uint8_t reserved[GIO_MSG_SLOT_BYTES - GIO_MSG_MAX];
};

struct gio_msg_page {
	uint32_t prod; /* messages that were written to this page so far */
	uint8_t reserved0[0x3c];
	uint32_t cons; /* messages that the writer of this page has taken from the other page */
	uint8_t reserved1[0x1bc];
	struct gio_msg_slot slots[GIO_MSG_SLOTS];
};

_Static_assert(sizeof(struct gio_msg_slot) == GIO_MSG_SLOT_BYTES, "slots lie at 0x200 + 0x1c0 i");
_Static_assert(offsetof(struct gio_msg_page, cons) == 0x40, "a cache line of its own");
_Static_assert(offsetof(struct gio_msg_page, slots) == 0x200, "behind the counters");
_Static_assert(sizeof(struct gio_msg_page) == GIO_MSG_PAGE_BYTES, "one page");

/* ---- limits of the bus ------------------------------------------------------------------------------------------- */

#define GIO_MSG_CHANNELS_MAX	 16u	/* event channels of queues; queue q uses channel q modulo their number */
#define GIO_MSG_QUEUES_MAX	 16u	/* queues that a driver uses */
#define GIO_MSG_CONFIG_SPACE_MAX 1024u	/* bytes of the configuration space that a driver accepts */
#define GIO_MSG_BLOCKS_MAX	 64u	/* feature blocks that a driver accepts, of at least 2 */
#define GIO_MSG_MALFORMED_MAX	 64u	/* malformed messages in a connection before the receiver ends it */
#define GIO_MSG_EVENTS_PER_S	 10u	/* changes of the configuration that are acted on, in a second */
#define GIO_MSG_TAKE_MAX	 8u	/* messages that one wake-up takes */
#define GIO_MSG_WARN_MS		 5000u	/* a request or a reset that takes so long is said in the log */
#define GIO_MSG_GIVE_UP_MS	 30000u /* and so long: the device is given up */

/* ---- the pool ---------------------------------------------------------------------------------------------------- */

#define GIO_POOL_RUNS_MAX 8u
#define GIO_POOL_RUN_MAX  16384u /* pages of a run, and of all runs */
#define GIO_POOL_GREF_MIN 8u	 /* the first reference that may be in one: Xen reserves those before it */

#endif
