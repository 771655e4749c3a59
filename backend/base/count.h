/* SPDX-License-Identifier: MIT */
/*
 * Counters with one writer and any number of readers: a queue's thread counts, and other threads read for statistics.
 * There is no locked instruction on the hot path; a reader may get a value that is a moment old.
 */
#ifndef GD_COUNT_H
#define GD_COUNT_H

#include <stdint.h>

/* By the one thread that writes this counter. */
static inline void gd_count_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

/* By any thread. */
static inline uint64_t gd_count_read(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

#endif
