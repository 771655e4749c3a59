/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/backend/pool_rig.h"

const struct gd_pool_run pool_rig_runs[2] = {{FAKE_GREF_BASE + POOL_RIG_R, POOL_RIG_PAGES, false},
					     {FAKE_GREF_BASE + POOL_RIG_W, POOL_RIG_PAGES, true}};
static struct gd_log own_log;
struct gd_pool *pool_rig;

int pool_rig_try(const struct gd_pool_run *runs, unsigned count, uint32_t most, bool only)
{
	const struct gd_pool_config config = {
		.domid = FAKE_DOMID, .runs = runs, .count = count, .pages_most = most, .only = only, .log = &own_log};

	return gd_pool_map(&pool_rig, &config);
}

void pool_rig_map(bool only)
{
	memset(fake_xen.grants + POOL_RIG_R, FAKE_READONLY, POOL_RIG_PAGES);
	assert_int_equal(pool_rig_try(pool_rig_runs, 2, 2 * POOL_RIG_PAGES, only), 0);
}

static int setup_in(void **state, const char *type)
{
	setenv("GRANTIO_GUEST_TYPE", type, 1);
	pool_rig = NULL;
	return fake_setup(state);
}

int pool_rig_setup_pv(void **state)
{
	return setup_in(state, "PV");
}

int pool_rig_setup_pvh(void **state)
{
	return setup_in(state, "PVH");
}

int pool_rig_teardown(void **state)
{
	fake_disk_release();
	fake_close();
	gd_pool_unmap(pool_rig);
	return fake_teardown(state);
}
