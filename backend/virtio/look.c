/* SPDX-License-Identifier: MIT */
#include "backend/virtio/look.h"

/* The longest gap that a look is meant for. */
static unsigned longest(const struct gd_look *look)
{
	unsigned wakes = GD_LOOK_WAKES * look->wake_us;

	return wakes < look->most_us ? wakes : look->most_us;
}

unsigned gd_look_plan(const struct gd_look *look)
{
	unsigned most = longest(look);

	if (look->score < GD_LOOK_TRUST)
		return 0;
	return look->reach_us < most ? look->reach_us : most;
}

void gd_look_gap(struct gd_look *look, uint64_t us)
{
	unsigned need;

	if (us > longest(look)) {
		look->score = look->score > 3 ? look->score - 3 : 0;
		return;
	}
	if (look->score < GD_LOOK_SCORE)
		look->score++;
	need = 2 * (unsigned)us + 1; /* at least what it took, and as much again, since gaps vary */
	if (need > look->reach_us)
		look->reach_us = need;
	else
		look->reach_us -= (look->reach_us - need + 7) / 8;
}

void gd_look_wake(struct gd_look *look, uint64_t us)
{
	unsigned took = us < GD_LOOK_WAKE_US ? (unsigned)us + 1 : GD_LOOK_WAKE_US;

	if (!look->wake_us)
		look->wake_us = took;
	else if (took < look->wake_us)
		look->wake_us -= (look->wake_us - took + 1) / 2;
	else
		look->wake_us += (took - look->wake_us + 7) / 8;
}

uint64_t gd_look_slept(const struct gd_look *look, uint64_t us)
{
	return us > look->wake_us ? us - look->wake_us : 0;
}
