/* SPDX-License-Identifier: MIT */
/*
 * Counters with one writer and any readers: a queue's thread counts, whoever wants statistics reads. No locked
 * instruction on the hot path; a reader may see a moment ago.
 */
#ifndef GD_COUNT_H
#define GD_COUNT_H

#include <stdint.h>

static inline void gd_count_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

static inline uint64_t gd_count_read(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

#endif
