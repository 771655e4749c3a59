/* SPDX-License-Identifier: MIT */
/*
 * Latencies in buckets whose width grows with the value: a fixed amount of memory, and the same relative error for a
 * microsecond as for a second.
 */
#include "cli/bench/histogram.h"

static unsigned bucket_of(uint64_t value)
{
	unsigned top, shift;

	if (value >= 1ull << GC_HIST_TOP)
		return GC_HIST_BUCKETS - 1;
	if (value < 1u << GC_HIST_BITS)
		return (unsigned)value;
	top = 63 - (unsigned)__builtin_clzll(value);
	shift = top - GC_HIST_BITS;
	return (shift << GC_HIST_BITS) + (unsigned)(value >> shift);
}

/* The middle of a bucket: the inverse of bucket_of(). */
static uint64_t value_of(unsigned bucket)
{
	unsigned shift = bucket < 2u << GC_HIST_BITS ? 0 : (bucket >> GC_HIST_BITS) - 1;
	uint64_t low = (uint64_t)(bucket - (shift << GC_HIST_BITS)) << shift;

	return low + ((1ull << shift) - 1) / 2;
}

/* Least, most and sum are exact; only quantiles come from the buckets. */
void gc_hist_add(struct gc_hist *hist, uint64_t value)
{
	if (!hist->count || value < hist->least)
		hist->least = value;
	if (value > hist->most)
		hist->most = value;
	hist->count++;
	hist->sum += value;
	hist->bucket[bucket_of(value)]++;
}

/* In hundredths of a percent, so that p99.9 needs no fraction. */
uint64_t gc_hist_quantile(const struct gc_hist *hist, unsigned permille_10)
{
	/* the rank of the value that is asked for, from 1; in two parts, lest count * 10000 overflow */
	uint64_t rank = hist->count / 10000 * permille_10 + (hist->count % 10000 * permille_10 + 9999) / 10000;
	uint64_t below = 0, value;
	unsigned i = 0;

	if (!hist->count)
		return 0;
	while (i < GC_HIST_BUCKETS - 1 && (below += hist->bucket[i]) < (rank ? rank : 1))
		i++;
	value = value_of(i);
	if (value < hist->least)
		return hist->least;
	return value > hist->most ? hist->most : value;
}
