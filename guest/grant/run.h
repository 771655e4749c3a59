/* SPDX-License-Identifier: MIT */
/*
 * Runs: the allocator of consecutive indices (grant references), in constant time.
 *
 * The index space is sparse: it starts empty and ranges are added to it, anywhere below a limit, as a table grows or as
 * a kernel's own allocator hands them out. A *run* is a range of indices, free or allocated. Free runs hang in lists
 * by length, in two levels (powers of two, each cut in 32): a bitmap per level finds the first list that fits, as in
 * the TLSF heap allocator. Boundary tags at both ends of a free run let a freed neighbour melt with it. So neither
 * allocation nor release depends on how many indices there are, nor on how many are taken.
 *
 * Fit. Lengths below 64 have a list of their own: a run that fits is found if there is one. A longer request takes
 * the first list in which everything fits (waste below 1/32), else looks at 16 runs of its own list; so a run longer
 * than asked for by less than 1/32 may be missed.
 *
 * Memory: 16 bytes per index in pages of 256 indices, made by gio_runs_reserve(); nothing else allocates.
 * Threads: none here; callers lock. Safe beside any other function, without the lock: gio_runs_reserve(),
 * gio_runs_slot(); and for a run's owner gio_runs_holds(), gio_runs_retire() and gio_runs_restore(), so that of two
 * that take themselves for the owner only one can retire it. Errors: 0 or -GIO_E*. A free that does not name exactly
 * one allocated run (freed twice, foreign, wrong length) is -GIO_EINVAL and changes nothing.
 */
#ifndef GRANTIO_GUEST_GRANT_RUN_H
#define GRANTIO_GUEST_GRANT_RUN_H

#include <grantio/os.h>
#include <grantio/types.h>

#define GIO_RUNS_SUB_LOG2   5u
#define GIO_RUNS_SUB	    (1u << GIO_RUNS_SUB_LOG2) /* lists per power of two */
#define GIO_RUNS_LEVELS	    25u			      /* powers of two from 32 on, the lengths below in level 0 */
#define GIO_RUNS_LIMIT	    (1u << 28)		      /* indices are smaller than this */
#define GIO_RUNS_PAGE_SHIFT 8u			      /* slots per page of metadata: 256, 4 KiB */
#define GIO_RUNS_PAGE	    (1u << GIO_RUNS_PAGE_SHIFT)

/* What is kept of each index. Of an allocated index, `link` and `value` belong to whoever allocated it. */
struct gio_run_slot {
	uint32_t tag;  /* state and length, at the ends of runs */
	uint32_t link; /* free: next run of its list */
	union {
		uint32_t prev;	/* free: previous run of its list */
		uint64_t value; /* allocated: the owner's */
	};
};

struct gio_runs {
	struct gio_os *os;
	struct gio_run_slot **pages; /* directory: NULL where nothing was reserved */
	uint32_t limit;
	uint32_t total; /* indices added */
	uint32_t used;	/* of these, allocated (retired ones included) */
	uint32_t level_map;
	uint32_t sub_map[GIO_RUNS_LEVELS];
	uint32_t heads[GIO_RUNS_LEVELS][GIO_RUNS_SUB];
};

/* An empty index space below `limit`. -GIO_ENOMEM, -GIO_ERANGE above GIO_RUNS_LIMIT. `os` stays the caller's. */
int gio_runs_init(struct gio_runs *runs, struct gio_os *os, uint32_t limit);
/* Gives the metadata back, whatever is allocated. */
void gio_runs_exit(struct gio_runs *runs);

/*
 * Make the metadata for [first, first + count). May sleep, needs no lock, may be repeated. -GIO_ENOMEM (what was made
 * is kept for the next attempt and has no effect else), -GIO_ERANGE beyond the limit.
 */
int gio_runs_reserve(struct gio_runs *runs, uint32_t first, uint32_t count);

/* Add reserved indices as free ones; takes time by `count`. -GIO_EINVAL if not reserved, or if one is there already. */
int gio_runs_add(struct gio_runs *runs, uint32_t first, uint32_t count);

/* A run of `count` (not 0) consecutive indices. -GIO_ENOSPC, -GIO_EINVAL. */
int gio_runs_alloc(struct gio_runs *runs, uint32_t count, uint32_t *first);
/* Free a run as it was allocated. -GIO_EINVAL: it is not exactly an allocated run; nothing changed. */
int gio_runs_free(struct gio_runs *runs, uint32_t first, uint32_t count);

/*
 * Taking leave in steps, so that a run can be worked on without the lock while nobody else can free it.
 * Retire: from now on gio_runs_free() and a second retire refuse it (-GIO_EINVAL if it is no allocated run).
 * Restore: it is allocated again, for a run as it was retired.
 * Release: it is free; also for parts of a retired run, each index once, now or later.
 * Forget: as release, but it is as if it had never been added, and may be again.
 * The last three take what the caller has retired; there is nothing to fail.
 */
int gio_runs_retire(struct gio_runs *runs, uint32_t first, uint32_t count);
void gio_runs_restore(struct gio_runs *runs, uint32_t first, uint32_t count);
void gio_runs_release(struct gio_runs *runs, uint32_t first, uint32_t count);
void gio_runs_forget(struct gio_runs *runs, uint32_t first, uint32_t count);

/* The slot of `index`; NULL if nothing was reserved there. The address stays until gio_runs_exit(). */
struct gio_run_slot *gio_runs_slot(const struct gio_runs *runs, uint32_t index);
/* True unless `index` is surely not allocated: free, or never added. For the owner, and as a check on callers. */
bool gio_runs_plausible(const struct gio_runs *runs, uint32_t index);

/* True if an allocated (and not retired) run of at least `count` begins at `first`. For its owner. */
bool gio_runs_holds(const struct gio_runs *runs, uint32_t first, uint32_t count);

/* How many free indices end right before `end`. */
uint32_t gio_runs_tail(const struct gio_runs *runs, uint32_t end);
/* The next allocated (and not retired) run at or after *pos; moves *pos behind it. False: there is none. */
bool gio_runs_next(const struct gio_runs *runs, uint32_t *pos, uint32_t *first, uint32_t *count);

#endif
