/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's own in place of the compiler's: size_t, NULL, offsetof. */
#ifndef GRANTIO_KMOD_STDDEF_H
#define GRANTIO_KMOD_STDDEF_H

#include <linux/stddef.h>
#include <linux/types.h>

#endif
