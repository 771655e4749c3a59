/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the run allocator beside its naive model (tests/unit/guest/runs_shadow.h). Four bytes of input are one
 * step; input beyond 1024 steps is ignored. With clang: `tests/fuzz/fuzz_runs corpus-dir`.
 */
#include "tests/unit/guest/runs_shadow.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *error = shadow_play(data, size > 4096 ? 4096 : size, 16);

	if (error) {
		fprintf(stderr, "fuzz_runs: %s\n", error);
		abort();
	}
	return 0;
}
