/* SPDX-License-Identifier: GPL-2.0-only */
/* The "virtio-mmio" platform device that the frontend makes of a device of the xenbus. */
#ifndef GRANTIO_KMOD_PLATFORM_H
#define GRANTIO_KMOD_PLATFORM_H

#include "front.h"

/* Make the device and give it to its driver, from the registers at `base` and `irq`; the module stays with it. */
int gk_platform_create(struct gk_front *front);
/* Take it from its driver, and have it go. Nothing without one. Not when it is frozen. */
void gk_platform_destroy(struct gk_front *front);
/* Have a frozen device go on, with the interrupt that it has now. 0 or -errno, and it is still frozen. */
int gk_platform_revive(struct gk_front *front);

#endif
