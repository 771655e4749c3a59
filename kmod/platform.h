/* SPDX-License-Identifier: GPL-2.0-only */
/* The "virtio-mmio" platform device that the frontend makes of a device of the xenbus. */
#ifndef GRANTIO_KMOD_PLATFORM_H
#define GRANTIO_KMOD_PLATFORM_H

#include "front.h"

/* Make the device, with the registers at `base` and `irq`, and give it to its driver. It holds the module loaded. */
int gk_platform_create(struct gk_front *front);
/* Take the device from its driver and remove it. Does nothing where there is none. Not for a frozen device. */
void gk_platform_destroy(struct gk_front *front);
/* Have a frozen device go on, with its new interrupt. 0 or -errno; after an error it is still frozen. */
int gk_platform_revive(struct gk_front *front);

#endif
