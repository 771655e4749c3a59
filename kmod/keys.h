/* SPDX-License-Identifier: GPL-2.0-only */
/* Keys of the backend's directory in xenstore. It may write anything there, at any time. */
#ifndef GRANTIO_KMOD_KEYS_H
#define GRANTIO_KMOD_KEYS_H

#include <linux/types.h>

/* A whole number, and nothing else, in the key `key` of `dir`. `base` as kstrtou64() has it. 0 or -errno. */
int gk_key_number(const char *dir, const char *key, unsigned int base, u64 *value);
/* Whether the key is there and has exactly this text. */
bool gk_key_is(const char *dir, const char *key, const char *text);
/* Whether one of the words of the key, which are parted by single spaces, is this one. */
bool gk_key_has(const char *dir, const char *key, const char *word);

#endif
