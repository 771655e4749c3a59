/* SPDX-License-Identifier: MIT */
/*
 * Microbenchmark of the run allocator: nanoseconds of one allocation and one release, by run length, occupancy and size
 * of the table, beside a first-fit walk over a bitmap (what mainline Linux does for a run when the free tail of its
 * list is too short, without its rewrite of that list).
 *
 * The table is filled with runs of 1 to 128, all lengths alike, of which some are then given back in random order until
 * the occupancy is reached: the holes are what a busy guest leaves. In steady state, each round frees the oldest of 64
 * runs and allocates another. Where no hole of the length is left it says "full". This flatters first fit: the run just
 * freed tends to be the first that fits, and the front of the table is as empty as the rest.
 *
 * Each figure is the best of 5 batches.
 * Usage: alloc_bench [--tsv]    (columns: references, occupancy %, run, ns, first-fit ns)
 */
#include <grantio/os.h>
#include <guest/grant/run.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEPT	  64u	     /* runs in steady state */
#define BATCHES	  5u	     /* per figure */
#define ROUNDS	  50000u     /* of the allocator, per batch */
#define WALK_WORK (1u << 24) /* bits that the first-fit walk may look at in a batch, about */

/* ---- the little of a system that the allocator needs --------------------------------------------------------- */

struct gio_os {
	char none;
};

void *gio_os_alloc(struct gio_os *os, size_t bytes)
{
	(void)os;
	return calloc(1, bytes);
}

void gio_os_free(struct gio_os *os, void *p, size_t bytes)
{
	(void)os;
	(void)bytes;
	free(p);
}

/* ---- first fit ---------------------------------------------------------------------------------------------- */

struct first_fit {
	uint64_t *used; /* a bit per reference */
	uint32_t total;
	uint64_t looked; /* bits looked at */
};

static bool bit(const struct first_fit *f, uint32_t i)
{
	return f->used[i / 64] >> (i % 64) & 1;
}

static void bits_flip(struct first_fit *f, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++)
		f->used[i / 64] ^= UINT64_C(1) << (i % 64);
}

static int first_fit_alloc(struct first_fit *f, uint32_t count, uint32_t *first)
{
	uint32_t run = 0;

	for (uint32_t i = 0; i < f->total; i++) {
		if (!(i % 64) && f->used[i / 64] == UINT64_MAX) { /* a full word at a time */
			i += 63;
			run = 0;
			continue;
		}
		run = bit(f, i) ? 0 : run + 1;
		if (run < count)
			continue;
		f->looked += i;
		*first = i + 1 - count;
		bits_flip(f, *first, count);
		return 0;
	}
	f->looked += f->total;
	return -GIO_ENOSPC;
}

/* ---- the measurement ---------------------------------------------------------------------------------------- */

struct table {
	struct gio_os os;
	struct gio_runs runs;
	struct first_fit ff;
	uint32_t total;
};

static void die(const char *what)
{
	fprintf(stderr, "alloc_bench: %s\n", what);
	exit(1);
}

static uint32_t next(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Both allocators with the same references taken. */
static void table_open(struct table *t, uint32_t total, unsigned occupancy)
{
	uint32_t(*taken)[2] = calloc(total, sizeof(*taken)), n = 0, seed = 88172645;

	t->total = total;
	t->ff = (struct first_fit){.used = calloc(total / 64, 8), .total = total};
	if (!taken || !t->ff.used || gio_runs_init(&t->runs, &t->os, total) || gio_runs_reserve(&t->runs, 0, total) ||
	    gio_runs_add(&t->runs, 0, total))
		die("no memory");
	while (occupancy && t->runs.used < total) {
		uint32_t left = total - t->runs.used, want = next(&seed) % 128 + 1;

		taken[n][1] = want < left ? want : left;
		if (gio_runs_alloc(&t->runs, taken[n][1], &taken[n][0]))
			die("an empty table refused a run");
		bits_flip(&t->ff, taken[n][0], taken[n][1]);
		n++;
	}
	while (n && t->runs.used > (uint64_t)total * occupancy / 100) {
		uint32_t i = next(&seed) % n;

		if (gio_runs_free(&t->runs, taken[i][0], taken[i][1]))
			die("a run was not taken back");
		bits_flip(&t->ff, taken[i][0], taken[i][1]);
		memcpy(taken[i], taken[--n], sizeof(taken[i]));
	}
	free(taken);
}

static void table_close(struct table *t)
{
	gio_runs_exit(&t->runs);
	free(t->ff.used);
}

static int table_alloc(struct table *t, bool first_fit, uint32_t count, uint32_t *first)
{
	return first_fit ? first_fit_alloc(&t->ff, count, first) : gio_runs_alloc(&t->runs, count, first);
}

static void table_free(struct table *t, bool first_fit, uint32_t first, uint32_t count)
{
	if (first_fit)
		bits_flip(&t->ff, first, count);
	else if (gio_runs_free(&t->runs, first, count))
		die("a run was not taken back");
}

/* Nanoseconds of a pair in one batch, over the `n` runs in `kept`. */
static double batch(struct table *t, bool first_fit, uint32_t count, uint32_t *kept, uint32_t n)
{
	double start = now_ns();
	uint32_t i;

	t->ff.looked = 0;
	for (i = 0; i < ROUNDS && t->ff.looked < WALK_WORK; i++) {
		table_free(t, first_fit, kept[i % n], count);
		if (table_alloc(t, first_fit, count, &kept[i % n]))
			die("a run just freed was not found");
	}
	return (now_ns() - start) / i;
}

/* The best batch: others were disturbed by whatever else runs. 0 where the table has no such run. */
static double measure(struct table *t, bool first_fit, uint32_t count)
{
	uint32_t kept[KEPT], n = 0;
	double best = 0;

	while (n < KEPT && (n + 1) * count <= t->total / 16 && !table_alloc(t, first_fit, count, &kept[n]))
		n++;
	for (unsigned i = 0; n && i < BATCHES; i++) {
		double ns = batch(t, first_fit, count, kept, n);

		best = !i || ns < best ? ns : best;
	}
	while (n)
		table_free(t, first_fit, kept[--n], count);
	return best;
}

static void print_line(bool tsv, uint32_t total, unsigned occupancy, uint32_t count, double ns, double ff)
{
	if (tsv)
		printf("%u\t%u\t%u\t%.1f\t%.1f\n", total, occupancy, count, ns, ff);
	else if (ns > 0 && ff > 0)
		printf("%10u %9u%% %6u %10.1f %14.1f %9.1fx\n", total, occupancy, count, ns, ff, ff / ns);
	else
		printf("%10u %9u%% %6u %10s %14s %10s\n", total, occupancy, count, "full", "full", "-");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const uint32_t totals[] = {1024, 32768, 1u << 20}, counts[] = {1, 8, 64};
	static const unsigned occupancies[] = {0, 50, 90};
	bool tsv = argc == 2 && !strcmp(argv[1], "--tsv");

	if (argc > 1 && !tsv) {
		fputs("usage: alloc_bench [--tsv]\n", stderr);
		return 2;
	}
	if (tsv)
		printf("references\toccupancy\trun\tns\tfirst_fit_ns\n");
	else
		printf("%10s %10s %6s %10s %14s %10s\n", "references", "occupancy", "run", "ns/pair", "first fit ns",
		       "ratio");
	for (size_t i = 0; i < sizeof(totals) / sizeof(totals[0]); i++)
		for (size_t j = 0; j < sizeof(occupancies) / sizeof(occupancies[0]); j++) {
			struct table t = {.total = 0};

			table_open(&t, totals[i], occupancies[j]);
			for (size_t k = 0; k < sizeof(counts) / sizeof(counts[0]); k++)
				print_line(tsv, totals[i], occupancies[j], counts[k], measure(&t, false, counts[k]),
					   measure(&t, true, counts[k]));
			table_close(&t);
		}
	return 0;
}
