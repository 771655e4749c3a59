/* SPDX-License-Identifier: GPL-2.0-only */
/* The driver for devices of the xenbus (docs/xenbus.md). */
#ifndef GRANTIO_KMOD_FRONTEND_H
#define GRANTIO_KMOD_FRONTEND_H

/* From now on the devices of the xenbus that are for grantio are ours. 0 or -errno. */
int gk_front_register(void);
/*
 * Wait until devices that are in the device tree, too, are connected by messages or will not be, at most for some
 * seconds. May sleep.
 */
void gk_front_settle(void);
/* No device is ours any more. */
void gk_front_unregister(void);

#endif
