/* SPDX-License-Identifier: MIT */
/*
 * Numbers as text, strictly: digits alone, no sign, no space, no trailing anything. For settings and xenstore values.
 */
#ifndef GD_NUMBER_H
#define GD_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

/* Decimal, or hexadecimal after "0x" where `hex` allows it; at most `max`. False: `out` is untouched. */
static inline bool gd_number(const char *text, bool hex, uint64_t max, uint64_t *out)
{
	unsigned base = 10;
	uint64_t value = 0;

	if (hex && text[0] == '0' && text[1] == 'x') {
		base = 16;
		text += 2;
	}
	if (!*text)
		return false;
	for (; *text; text++) {
		unsigned digit = *text >= '0' && *text <= '9'	? (unsigned)(*text - '0')
				 : *text >= 'a' && *text <= 'f' ? (unsigned)(*text - 'a') + 10
				 : *text >= 'A' && *text <= 'F' ? (unsigned)(*text - 'A') + 10
								: 16;

		if (digit >= base || __builtin_mul_overflow(value, base, &value) ||
		    __builtin_add_overflow(value, digit, &value))
			return false;
	}
	if (value > max)
		return false;
	*out = value;
	return true;
}

#endif
