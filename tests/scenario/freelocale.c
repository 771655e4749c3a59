/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into nbdkit beside AddressSanitizer's library: with that, glibc's lock of the locales is unlocked once too
 * often after strerror(3), and libp11-kit, which nbdkit gets by GnuTLS, waits for it for ever when the process exits.
 */
#include <locale.h>

void freelocale(locale_t locale)
{
	(void)locale;
}
