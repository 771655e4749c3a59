/* SPDX-License-Identifier: MIT */
/* The type of the domain that this process runs in. For the files of this folder only. */
#ifndef GD_PV_H
#define GD_PV_H

#include <stdbool.h>

/*
 * True unless it is known that this domain is not a PV domain. Linux says what it is in a file of its own, which
 * GRANTIO_GUEST_TYPE stands for where it is set: a machine of the model has no such file. Arm has no PV domains.
 */
bool gd_pv_possible(void);

#endif
