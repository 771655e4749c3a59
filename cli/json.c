/* SPDX-License-Identifier: MIT */
/*
 * Only what JSON demands is escaped: text from xenstore may be any bytes, and UTF-8 passes as it is.
 */
#include "cli/json.h"

void gc_json_string(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < ' ' || c == 0x7f)
			fprintf(out, "\\u%04x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}
