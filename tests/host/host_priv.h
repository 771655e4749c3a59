/* SPDX-License-Identifier: MIT */
/* Within the rig. */
#ifndef RIG_PRIV_H
#define RIG_PRIV_H

#include "tests/host/host.h"

void rig_toolstack_exit(struct rig *rig); /* frees what rig_image() gave */

#endif
