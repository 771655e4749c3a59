/* SPDX-License-Identifier: MIT */
/*
 * Access to memory that a backend reads or writes at the same time. Nothing else in guest/virtio touches such memory:
 * a load here happens exactly once, as wide as its field, and its caller works on the copy.
 *
 * Barriers that order these accesses stand at their callers, which name what they order and the device's counterpart.
 */
#ifndef GRANTIO_VIRTIO_SHARED_H
#define GRANTIO_VIRTIO_SHARED_H

#include <stdint.h>

static inline uint8_t shared_load8(const uint8_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline uint16_t shared_load16(const uint16_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline uint16_t shared_load16_acquire(const uint16_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline uint32_t shared_load32(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline uint32_t shared_load32_acquire(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void shared_store8(uint8_t *p, uint8_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static inline void shared_store16(uint16_t *p, uint16_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static inline void shared_store16_release(uint16_t *p, uint16_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static inline void shared_store32(uint32_t *p, uint32_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static inline void shared_store32_release(uint32_t *p, uint32_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

/*
 * Not atomic where a word has 32 bits (armhf): that would need a library. Only for fields that the device may read
 * after a later release store, so that a torn value cannot be seen by one that follows the protocol.
 */
static inline void shared_store64(uint64_t *p, uint64_t v)
{
	*(volatile uint64_t *)p = v;
}

/* A full barrier: stores before it are seen before loads after it are done. */
static inline void shared_full_barrier(void)
{
	__sync_synchronize();
}

#endif
