/* SPDX-License-Identifier: MIT */
/*
 * A log-linear histogram: 64 buckets for every power of two, so that a quantile is off by less than 1 in 64, from one
 * nanosecond to hours, in fixed memory. One writer; a reader that needs exact figures waits for the writer.
 */
#ifndef GC_HISTOGRAM_H
#define GC_HISTOGRAM_H

#include <stdint.h>

#define GC_HIST_BITS	6  /* 2^6 buckets a power of two */
#define GC_HIST_TOP	44 /* values of 2^44 and more (ns: 4.9 hours) are counted in the last bucket */
#define GC_HIST_BUCKETS ((GC_HIST_TOP - GC_HIST_BITS + 1) << GC_HIST_BITS)

struct gc_hist {
	uint64_t count, sum, least, most; /* least is meaningless while count is 0 */
	uint64_t bucket[GC_HIST_BUCKETS];
};

/* All zero is an empty histogram. */
void gc_hist_add(struct gc_hist *hist, uint64_t value);

/*
 * The value below or at which a share of `permille_10` / 10000 of the values lie (5000: the median), as the middle of
 * its bucket, between `least` and `most`. 0 when empty.
 */
uint64_t gc_hist_quantile(const struct gc_hist *hist, unsigned permille_10);

#endif
