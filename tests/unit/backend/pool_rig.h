/* SPDX-License-Identifier: MIT */
/* A pool for the tests of pools: two runs, one for reading and one for writing, in a PV domain or in another. */
#ifndef POOL_RIG_H
#define POOL_RIG_H

#include "tests/unit/backend/fake.h"

#define POOL_RIG_R     4096u	  /* the first of the readable pages, */
#define POOL_RIG_W     5120u	  /* and of the writable ones */
#define POOL_RIG_PAGES 1024u	  /* of each */
#define POOL_RIG_ALL   UINT32_MAX /* as many pages as the guest likes */

extern const struct gd_pool_run pool_rig_runs[2];
extern struct gd_pool *pool_rig; /* the one that was made last; it is unmapped by the tear-down */

/* Make a pool: gd_pool_map()'s result. */
int pool_rig_try(const struct gd_pool_run *runs, unsigned count, uint32_t most, bool only);
/* Make the usual one. */
void pool_rig_map(bool only);

/* cmocka's set-up and tear-down, those of fake.h included. */
int pool_rig_setup_pv(void **state);
int pool_rig_setup_pvh(void **state);
int pool_rig_teardown(void **state);

/* A test whose backend runs in a PV domain, or in another one. */
#define POOL_RIG_PV(test)  cmocka_unit_test_setup_teardown(test, pool_rig_setup_pv, pool_rig_teardown)
#define POOL_RIG_PVH(test) cmocka_unit_test_setup_teardown(test, pool_rig_setup_pvh, pool_rig_teardown)

#endif
