/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's own in place of the compiler's: the integers that the guest library uses, and their limits. */
#ifndef GRANTIO_KMOD_STDINT_H
#define GRANTIO_KMOD_STDINT_H

#include <linux/types.h>

#ifndef UINT32_MAX
#define UINT32_MAX (~(uint32_t)0)
#endif
#ifndef UINT64_MAX
#define UINT64_MAX (~(uint64_t)0)
#endif
#ifndef UINTPTR_MAX
#define UINTPTR_MAX (~(uintptr_t)0)
#endif
#ifndef UINT64_C
#define UINT64_C(value) value##ULL
#endif

#endif
