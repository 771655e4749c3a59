/* SPDX-License-Identifier: GPL-2.0-only */
/* The platform device that the frontend makes of a device of the xenbus: what has the DMA operations, and is frozen. */
#ifndef GRANTIO_KMOD_PLATFORM_H
#define GRANTIO_KMOD_PLATFORM_H

#include "front.h"

/*
 * Make the device, with `count` resources, for the driver of that name, if there is one. It holds the module loaded.
 * 0 or -errno.
 */
int gk_platform_create(struct gk_front *front, const char *name, const struct resource *resources, unsigned int count);
/* Take the device from its driver and remove it. Does nothing where there is none. Not for a frozen device. */
void gk_platform_destroy(struct gk_front *front);

#endif
