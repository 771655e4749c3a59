/* SPDX-License-Identifier: MIT */
/*
 * The run allocator beside a naive model of it: an array with one state per index. Each operation is done on both and
 * compared; for the randomized unit test and the fuzzer.
 *
 * Every function returns NULL, or what went wrong.
 */
#ifndef TESTS_RUNS_SHADOW_H
#define TESTS_RUNS_SHADOW_H

#include <guest/grant/run.h>

#define SHADOW_LIMIT 4096u

enum shadow_state { SHADOW_ABSENT, SHADOW_FREE, SHADOW_USED };

struct shadow {
	struct gio_os *os;
	struct gio_runs runs;
	uint8_t state[SHADOW_LIMIT];
	uint32_t len[SHADOW_LIMIT]; /* at the first index of an allocated run */
	uint32_t used, total;
};

void shadow_open(struct shadow *s);
const char *shadow_close(struct shadow *s); /* also: nothing leaked */

const char *shadow_add(struct shadow *s, uint32_t first, uint32_t count);
/* *got: the run's first index, or SHADOW_LIMIT if there was none. */
const char *shadow_alloc(struct shadow *s, uint32_t count, uint32_t *got);
/* May name anything: what is not exactly an allocated run has to be refused. */
const char *shadow_free(struct shadow *s, uint32_t first, uint32_t count);
/* Free an allocated run in up to two pieces, the second first, as the quarantine may. `at`: modulo its length. */
const char *shadow_free_parts(struct shadow *s, uint32_t first, uint32_t at);
/* The first index of an allocated run at or after `from`, wrapping around; SHADOW_LIMIT: none. */
uint32_t shadow_find_used(const struct shadow *s, uint32_t from);
/* Compare everything that can be seen. */
const char *shadow_check(const struct shadow *s);

/* Do what `bytes` say, four a step; compare everything after each `every` steps and at the end. */
const char *shadow_play(const uint8_t *bytes, size_t n, unsigned every);

#endif
