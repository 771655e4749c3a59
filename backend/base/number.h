/* SPDX-License-Identifier: MIT */
/*
 * Numbers as text, for settings and values in xenstore. The text must be nothing but digits: no sign, no space, nothing
 * behind them.
 */
#ifndef GD_NUMBER_H
#define GD_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

/* A decimal number, or a hexadecimal one after "0x" if `hex` is true; at most `max`. False: `out` is left alone. */
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
