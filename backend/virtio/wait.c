/* SPDX-License-Identifier: MIT */
#include "backend/virtio/wait.h"

static const struct gd_wait submit_only = {.completions = 0}, sleep_for_one = {.completions = 1};

static struct gd_wait gather(unsigned inflight)
{
	unsigned most = inflight < GD_WAIT_GATHER_US / GD_WAIT_EACH_US ? inflight * GD_WAIT_EACH_US : GD_WAIT_GATHER_US;

	return (struct gd_wait){.completions = inflight, .timeout_us = most};
}

struct gd_wait gd_wait_plan(const struct gd_wait_state *state)
{
	if (state->more)
		return submit_only;
	if (state->inflight > GD_WAIT_ALONE)
		return state->dry ? sleep_for_one : gather(state->inflight);
	if (state->inflight == 0 && state->lately >= GD_WAIT_DEEP && state->naps < GD_WAIT_NAPS)
		return (struct gd_wait){.completions = 1, .timeout_us = GD_WAIT_NAP_US};
	return sleep_for_one;
}
