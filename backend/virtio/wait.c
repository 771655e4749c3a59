/* SPDX-License-Identifier: MIT */
#include "backend/virtio/wait.h"

struct gd_wait gd_wait_plan(const struct gd_wait_state *state)
{
	if (state->more)
		return (struct gd_wait){.completions = 0};
	if (state->inflight <= GD_WAIT_ALONE || state->dry)
		return (struct gd_wait){.completions = 1};
	/* Three quarters: the last few may be slow ones, and would hold up all others. */
	return (struct gd_wait){.completions = state->inflight - state->inflight / 4, .timeout_us = GD_WAIT_GATHER_US};
}
