/* SPDX-License-Identifier: MIT */
#include "backend/virtio/wait.h"

static const struct gd_wait submit_only = {.completions = 0}, sleep_for_one = {.completions = 1};

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static unsigned most(unsigned a, unsigned b)
{
	return a > b ? a : b;
}

static struct gd_wait gather(const struct gd_wait_state *state)
{
	unsigned ours = least(state->inflight, GD_WAIT_GATHER_US / GD_WAIT_EACH_US) * GD_WAIT_EACH_US;

	return (struct gd_wait){.completions = least(state->inflight, most(state->events, 1)),
				.timeout_us = most(ours, state->interrupt_us),
				.again = state->events < state->inflight};
}

static struct gd_wait nap(const struct gd_wait_state *state)
{
	return (struct gd_wait){.completions = 1, .timeout_us = most(GD_WAIT_NAP_US, state->interrupt_us / 2)};
}

struct gd_wait gd_wait_plan(const struct gd_wait_state *state)
{
	if (state->more)
		return submit_only;
	if (state->inflight > GD_WAIT_ALONE)
		return state->dry ? sleep_for_one : gather(state);
	if (state->inflight == 0 && state->lately >= GD_WAIT_DEEP && state->naps < GD_WAIT_NAPS)
		return nap(state);
	return sleep_for_one;
}

unsigned gd_wait_interrupt(unsigned guess, uint64_t took_us)
{
	unsigned us = took_us < GD_WAIT_INTERRUPT_US ? (unsigned)took_us + 1 : GD_WAIT_INTERRUPT_US;

	return us < guess ? guess - (guess - us + 1) / 2 : guess + (us - guess + 7) / 8;
}
