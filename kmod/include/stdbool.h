/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's own in place of the compiler's: bool, true, false. */
#ifndef GRANTIO_KMOD_STDBOOL_H
#define GRANTIO_KMOD_STDBOOL_H

#include <linux/stddef.h>
#include <linux/types.h>

#endif
