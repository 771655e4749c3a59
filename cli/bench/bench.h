/* SPDX-License-Identifier: MIT */
/*
 * `grantio bench`: drives a guest's disk at a fixed depth and says what it cost.
 *
 * The parts: the command line (args.c), the load (load.c), the counters of the machine and of grantiod around it
 * (cost.c), the report (report.c), and the command that joins them (bench.c).
 */
#ifndef GC_BENCH_H
#define GC_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/bench/histogram.h"
#include "client/disk.h"
#include "model/machine.h"

extern const struct gc_command gc_bench_command;

/* ---- what to do --------------------------------------------------------------------------------------------- */

struct gc_bench_config {
	const char *machine, *disk, *control; /* the last two may be NULL */
	uint16_t domid;
	const char *rw;	       /* the word of --rw */
	bool random;	       /* of it: offsets */
	unsigned read_percent; /* of it and --mix: 0 only writes, 100 only reads */
	uint32_t bs;	       /* bytes of a request */
	unsigned depth, queues, queue_size;
	uint64_t time_ns;  /* 0: no limit by time */
	uint64_t requests; /* 0: no limit by count */
	uint64_t size;	   /* use only so much of the disk; 0: all */
	uint64_t seed;
	bool messages; /* reach the disk by them, not by registers */
	bool verify, json;
	bool primitives; /* measure these (primitives.h), and drive no disk */
};

extern const struct gc_option gc_bench_options[];

/* GC_OK, or another exit code after one line has been written. */
int gc_bench_args(struct gc_bench_config *config, int argc, char **argv);

/* ---- the load ----------------------------------------------------------------------------------------------- */

struct gc_load;

struct gc_load_result {
	uint64_t requests, reads, writes, bytes; /* completed */
	uint64_t elapsed_ns;			 /* first submission to last completion (so far) */
	unsigned in_flight;
	uint64_t verified;     /* blocks whose contents were compared */
	int error;	       /* the first failure: -errno, -EILSEQ for wrong contents; 0: none */
	uint64_t error_offset; /* bytes */
	bool error_write;
};

/*
 * A load on `disk`, opened with `reaped` = gc_load_reaped and `opaque` = the word that `*load` is stored in: its
 * interrupt thread runs the load. -EINVAL: what is asked for does not fit the disk; `error` then holds the line.
 */
int gc_load_open(struct gc_load **load, struct gp_disk *disk, const struct gc_bench_config *config, char *error,
		 size_t size);
/* The disk is stopped (gp_disk_stop), not yet closed. Takes NULL. */
void gc_load_close(struct gc_load *load);
void gc_load_reaped(void *opaque);

/* Start it; its end shows on the descriptor (readable). */
void gc_load_start(struct gc_load *load);
int gc_load_fd(const struct gc_load *load);
/* Submit nothing more; it ends when what is in flight has completed. Any thread. */
void gc_load_stop(struct gc_load *load);
/* After the end: read back and compare every block that was written (--verify); it ends as the load itself did. */
int gc_load_readback(struct gc_load *load);
/* Any time. `hist`, of latencies in ns, may be NULL. */
void gc_load_result(struct gc_load *load, struct gc_load_result *result, struct gc_hist *hist);

/* ---- what it cost ------------------------------------------------------------------------------------------- */

/* Counters at one moment, and, by gc_cost_since(), between two. */
struct gc_cost {
	struct gm_stats backend, guest; /* of the domains, by the machine */
	struct gio_blk_stats driver;
	bool daemon; /* the following were had from grantiod's control socket */
	uint64_t syscalls, copy_calls, batches, daemon_requests;
};

/*
 * 0 or -errno; `error` then holds a line. `control`: grantiod's control socket, which knows the disk as `device`; NULL:
 * its part is left out.
 */
int gc_cost_read(struct gc_cost *cost, struct gp_disk *disk, const char *control, const char *device, char *error,
		 size_t size);
void gc_cost_since(struct gc_cost *now, const struct gc_cost *before);
/* The value of `key` in a line of "key=value" words; false when it is not there or not a number. */
bool gc_cost_word(const char *line, const char *key, uint64_t *value);

/* ---- the report --------------------------------------------------------------------------------------------- */

struct gc_bench_report {
	const struct gc_bench_config *config;
	const char *device; /* "d1/xvda" */
	uint64_t disk_bytes;
	unsigned queues, queue_size;
	uint32_t block_size;
	bool interrupted;
	struct gc_load_result load;
	struct gc_hist latency;
	struct gc_cost cost;
};

void gc_report_text(FILE *out, const struct gc_bench_report *report);
void gc_report_json(FILE *out, const struct gc_bench_report *report);

/* "4 KiB", "1.5 GiB" */
const char *gc_report_size(uint64_t bytes, char text[32]);

#endif
