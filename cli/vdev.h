/* SPDX-License-Identifier: MIT */
/*
 * Virtual disk names and the device numbers that stand for them (xen-vbd-interface(7)): xvda -> 51712.
 * Forms: xvdX[N], hdX[N], sdX[N], dN[pM], and a plain number, decimal or 0x hexadecimal. No state; errors: -EINVAL.
 */
#ifndef GC_VDEV_H
#define GC_VDEV_H

#include <stdint.h>

/* The number that `name` stands for. */
int gc_vdev_parse(const char *name, uint32_t *devid);

#endif
