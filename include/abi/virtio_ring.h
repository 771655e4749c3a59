/* SPDX-License-Identifier: MIT */
/*
 * The split virtqueue as it lies in shared memory (virtio 1.2, 2.7). Every field is little-endian; so are all systems
 * that this is built for (asserted below).
 *
 * A queue of n entries (a power of two, at most GIO_VIRTQ_MAX) has three parts, each at an address of its own:
 *   descriptor table  n * struct gio_virtq_desc           aligned to 16   driver writes, device reads
 *   available ring    struct gio_virtq_avail, used_event  aligned to 2    driver writes, device reads
 *   used ring         struct gio_virtq_used, avail_event  aligned to 4    device writes, driver reads
 *
 * Both sides may be hostile to the other. A reader copies a field once and then uses the copy; a writer never reads
 * back what it wrote here. No accessor is offered on purpose: each side has its own, over its own kind of pointer.
 */
#ifndef GRANTIO_ABI_VIRTIO_RING_H
#define GRANTIO_ABI_VIRTIO_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "virtio's fields are used as they lie in memory");

#define GIO_VIRTQ_MAX 32768u /* most entries of a split queue: 2.7 */

/* ---- descriptor table: 2.7.5; an indirect table has the same entries: 2.7.5.3 ---------------------------------- */

#define GIO_VIRTQ_DESC_F_NEXT	  1u /* `next` is valid: the chain goes on */
#define GIO_VIRTQ_DESC_F_WRITE	  2u /* the device writes this buffer, else it reads it */
#define GIO_VIRTQ_DESC_F_INDIRECT 4u /* the buffer is a table of descriptors */

struct gio_virtq_desc {
	uint64_t addr;	/* driver: DMA address (abi/dma_addr.h) */
	uint32_t len;	/* driver: bytes */
	uint16_t flags; /* driver: GIO_VIRTQ_DESC_F_* */
	uint16_t next;	/* driver: index in the same table */
};

#define GIO_VIRTQ_DESC_ALIGN 16u

_Static_assert(sizeof(struct gio_virtq_desc) == 16, "2.7.5");
_Static_assert(offsetof(struct gio_virtq_desc, len) == 8, "2.7.5");
_Static_assert(offsetof(struct gio_virtq_desc, flags) == 12, "2.7.5");
_Static_assert(offsetof(struct gio_virtq_desc, next) == 14, "2.7.5");

/* ---- available ring: 2.7.6 ------------------------------------------------------------------------------------- */

#define GIO_VIRTQ_AVAIL_F_NO_INTERRUPT 1u /* without EVENT_IDX: the driver asks for no interrupts (a hint) */

struct gio_virtq_avail {
	uint16_t flags;	 /* driver: GIO_VIRTQ_AVAIL_F_*; 0 with EVENT_IDX */
	uint16_t idx;	 /* driver: where it will put the next entry, modulo 65536, never reduced to the ring's size */
	uint16_t ring[]; /* driver: heads of chains; behind the last one: used_event */
};

#define GIO_VIRTQ_AVAIL_ALIGN 2u

_Static_assert(sizeof(struct gio_virtq_avail) == 4, "2.7.6");

/* ---- used ring: 2.7.8 ------------------------------------------------------------------------------------------ */

#define GIO_VIRTQ_USED_F_NO_NOTIFY 1u /* without EVENT_IDX: the device asks for no notifications (a hint) */

struct gio_virtq_used_elem {
	uint32_t id;  /* device: head of the chain that it is done with */
	uint32_t len; /* device: bytes that it wrote into the chain's device-writable part */
};

struct gio_virtq_used {
	uint16_t flags;			   /* device: GIO_VIRTQ_USED_F_*; 0 with EVENT_IDX */
	uint16_t idx;			   /* device: where it will put the next entry, modulo 65536 */
	struct gio_virtq_used_elem ring[]; /* device: completed chains; behind the last one: avail_event */
};

#define GIO_VIRTQ_USED_ALIGN 4u

_Static_assert(sizeof(struct gio_virtq_used_elem) == 8, "2.7.8");
_Static_assert(sizeof(struct gio_virtq_used) == 4, "2.7.8");
_Static_assert(offsetof(struct gio_virtq_used, ring) == 4, "2.7.8");

/* ---- sizes and offsets, in bytes, of a queue with n entries; with EVENT_IDX's fields, which always have room ---- */

static inline bool gio_virtq_size_valid(uint32_t n)
{
	return n > 0 && n <= GIO_VIRTQ_MAX && (n & (n - 1)) == 0;
}

static inline uint32_t gio_virtq_desc_bytes(uint32_t n)
{
	return n * (uint32_t)sizeof(struct gio_virtq_desc);
}

/* Of used_event in the available ring (driver writes, device reads): 2.7.10 */
static inline uint32_t gio_virtq_used_event_offset(uint32_t n)
{
	return (uint32_t)sizeof(struct gio_virtq_avail) + n * (uint32_t)sizeof(uint16_t);
}

static inline uint32_t gio_virtq_avail_bytes(uint32_t n)
{
	return gio_virtq_used_event_offset(n) + (uint32_t)sizeof(uint16_t);
}

/* Of avail_event in the used ring (device writes, driver reads): 2.7.10 */
static inline uint32_t gio_virtq_avail_event_offset(uint32_t n)
{
	return (uint32_t)sizeof(struct gio_virtq_used) + n * (uint32_t)sizeof(struct gio_virtq_used_elem);
}

static inline uint32_t gio_virtq_used_bytes(uint32_t n)
{
	return gio_virtq_avail_event_offset(n) + (uint32_t)sizeof(uint16_t);
}

/*
 * With EVENT_IDX: whether moving an index from `before` to `now` passes the peer's `event`, so that it must be told
 * (2.7.7.1, 2.7.10.1). All three are modulo 65536.
 */
static inline bool gio_virtq_need_event(uint16_t event, uint16_t now, uint16_t before)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

#endif
