/* SPDX-License-Identifier: MIT */
/* What a compiler may call even for freestanding code, and what the programs here use of <string.h>. */
#include <stdint.h>
#include <string.h>

/* Byte by byte, since this guest copies little. */
void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	uint8_t *t = to;
	const uint8_t *f = from;

	while (n--)
		*t++ = *f++;
	return to;
}

/* Backwards where the target begins within the source, so that no byte is overwritten before it was copied. */
void *memmove(void *to, const void *from, size_t n)
{
	uint8_t *t = to;
	const uint8_t *f = from;

	if ((uintptr_t)t > (uintptr_t)f)
		while (n--)
			t[n] = f[n];
	else
		while (n--)
			*t++ = *f++;
	return to;
}

void *memset(void *to, int value, size_t n)
{
	uint8_t *t = to;

	while (n--)
		*t++ = (uint8_t)value;
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (; n--; x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *(const uint8_t *)a - *(const uint8_t *)b;
}
