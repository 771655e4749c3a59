/* SPDX-License-Identifier: MIT */
/* Within the host. */
#ifndef TH_HOST_PRIV_H
#define TH_HOST_PRIV_H

#include "tests/host/host.h"

void th_toolstack_exit(struct th_host *host); /* frees what th_image() gave */

#endif
