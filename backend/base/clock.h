/* SPDX-License-Identifier: MIT */
/*
 * The time since the machine was started (CLOCK_MONOTONIC), which nobody can set. It is only good for measuring how
 * much time has passed, and for deadlines.
 *
 * Threads: any. These functions cannot fail: the clock exists on every Linux system.
 */
#ifndef GD_CLOCK_H
#define GD_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds. */
static inline uint64_t gd_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Microseconds. */
static inline uint64_t gd_clock_us(void)
{
	return gd_clock_ns() / 1000;
}

/* Milliseconds. */
static inline uint64_t gd_clock_ms(void)
{
	return gd_clock_ns() / 1000000;
}

/* The moment `ms` milliseconds from now on, as pthread_cond_clockwait() wants it. */
static inline struct timespec gd_clock_after(uint64_t ms)
{
	uint64_t end = gd_clock_ns() + ms * 1000000;

	return (struct timespec){.tv_sec = (time_t)(end / 1000000000), .tv_nsec = (long)(end % 1000000000)};
}

#endif
