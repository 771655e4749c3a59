/* SPDX-License-Identifier: MIT */
/*
 * Loads and stores of memory that a guest shares with us, and may change at any time. Each call is exactly one access
 * of exactly that width: the compiler can neither repeat nor split it, so that the value that was checked is the value
 * that is used. Callers keep the result: a field that is loaded twice may have had two values.
 *
 * The plain functions order nothing; _acquire and _release order as C11 says. Virtio's fields are little-endian, and so
 * is every system that grantio is built for (asserted in abi/virtio_ring.h).
 */
#ifndef GD_SHARED_H
#define GD_SHARED_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t gd_shared_load16(const void *field)
{
	return __atomic_load_n((const uint16_t *)field, __ATOMIC_RELAXED);
}

static inline uint16_t gd_shared_load16_acquire(const void *field)
{
	return __atomic_load_n((const uint16_t *)field, __ATOMIC_ACQUIRE);
}

static inline uint64_t gd_shared_load64(const void *field)
{
	return __atomic_load_n((const uint64_t *)field, __ATOMIC_RELAXED);
}

static inline void gd_shared_store16(void *field, uint16_t value)
{
	__atomic_store_n((uint16_t *)field, value, __ATOMIC_RELAXED);
}

static inline void gd_shared_store16_release(void *field, uint16_t value)
{
	__atomic_store_n((uint16_t *)field, value, __ATOMIC_RELEASE);
}

static inline void gd_shared_store32(void *field, uint32_t value)
{
	__atomic_store_n((uint32_t *)field, value, __ATOMIC_RELAXED);
}

static inline uint32_t gd_shared_load32_acquire(const void *field)
{
	return __atomic_load_n((const uint32_t *)field, __ATOMIC_ACQUIRE);
}

static inline void gd_shared_store32_release(void *field, uint32_t value)
{
	__atomic_store_n((uint32_t *)field, value, __ATOMIC_RELEASE);
}

/*
 * Copy bytes out of shared memory, and into it. The compiler must not take the shared memory for a second copy of the
 * bytes: it might read them there again, when the guest has changed them. So it is told that memory has changed.
 */
static inline void gd_shared_read(void *copy, const void *shared, size_t length)
{
	memcpy(copy, shared, length);
	__asm__ volatile("" ::: "memory");
}

static inline void gd_shared_write(void *shared, const void *bytes, size_t length)
{
	memcpy(shared, bytes, length);
	__asm__ volatile("" ::: "memory");
}

/* A full barrier between this thread's accesses before and after it; callers say which two they mean. */
static inline void gd_shared_barrier(void)
{
	__sync_synchronize();
}

#endif
