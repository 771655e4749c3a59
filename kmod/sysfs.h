/* SPDX-License-Identifier: GPL-2.0-only */
/* What each device that uses grants shows of itself. */
#ifndef GRANTIO_KMOD_SYSFS_H
#define GRANTIO_KMOD_SYSFS_H

#include <linux/sysfs.h>

/* The directory "grantio" of a device; and for the xenbus driver, whose devices all have it. */
extern const struct attribute_group gk_group;
extern const struct attribute_group *gk_groups[];

#endif
