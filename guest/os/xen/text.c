/* SPDX-License-Identifier: MIT */
#include "xen.h"

#include <stdarg.h>

/* A line is put together here and written in one call, which sends one event to the reader. */
#define LINE_MAX 256u

struct line {
	char text[LINE_MAX];
	size_t used;
};

/* What does not fit is left out: a message that is cut off says more than none. */
static void put(struct line *line, char c)
{
	if (line->used < LINE_MAX)
		line->text[line->used++] = c;
}

static void put_number(struct line *line, uint64_t value, unsigned base, unsigned width, char pad)
{
	char digits[20]; /* of 2^64 - 1 */
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	for (; width > n; width--)
		put(line, pad);
	while (n)
		put(line, digits[--n]);
}

static void put_signed(struct line *line, int value)
{
	if (value < 0)
		put(line, '-');
	put_number(line, value < 0 ? 0u - (unsigned)value : (unsigned)value, 10, 0, ' ');
}

/* One conversion; `format` is behind its '%'. Returns what is behind it. */
static const char *put_argument(struct line *line, const char *format, va_list *arguments)
{
	char pad = *format == '0' ? '0' : ' ';
	unsigned width = 0, longs = 0;

	for (; *format >= '0' && *format <= '9'; format++)
		width = width * 10 + (unsigned)(*format - '0');
	for (; *format == 'l'; format++)
		longs++;
	switch (*format) {
	case 's':
		for (const char *s = va_arg(*arguments, const char *); *s; s++)
			put(line, *s);
		break;
	case 'c':
		put(line, (char)va_arg(*arguments, int));
		break;
	case 'd':
		put_signed(line, va_arg(*arguments, int));
		break;
	case 'u':
	case 'x':
		put_number(line, longs ? va_arg(*arguments, unsigned long long) : va_arg(*arguments, unsigned),
			   *format == 'u' ? 10 : 16, width, pad);
		break;
	default:
		put(line, *format);
		break;
	}
	return *format ? format + 1 : format;
}

void gio_xen_print(const char *format, ...)
{
	struct line line = {.used = 0};
	va_list arguments;

	va_start(arguments, format);
	while (*format) {
		if (*format == '%')
			format = put_argument(&line, format + 1, &arguments);
		else
			put(&line, *format++);
	}
	va_end(arguments);
	gio_xen_console_write(line.text, line.used);
}
