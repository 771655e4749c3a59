/* SPDX-License-Identifier: MIT */
/* A device tree as dtc's source text: strings where a value can be nothing else, else cells, else bytes. */
#include "cli/dt/dt.h"

#include <ctype.h>
#include <inttypes.h>
#include <libfdt.h>
#include <string.h>

static void indent(FILE *out, int depth)
{
	for (int i = 0; i < depth; i++)
		fputc('\t', out);
}

/* One or more strings, none empty, all printable, the last one ended. */
static bool is_strings(const char *value, int length)
{
	if (length < 2 || value[length - 1])
		return false;
	for (int i = 0; i < length; i++)
		if (value[i] ? !isprint((unsigned char)value[i]) : i == 0 || !value[i - 1])
			return false;
	return true;
}

static void strings_put(FILE *out, const char *value, int length)
{
	for (int i = 0; i < length; i += (int)strlen(value + i) + 1) {
		fprintf(out, "%s\"", i ? ", " : "");
		for (const char *c = value + i; *c; c++)
			fprintf(out, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
		fputc('"', out);
	}
}

static void cells_put(FILE *out, const char *value, int length)
{
	fputc('<', out);
	for (int i = 0; i < length; i += 4) {
		fdt32_t cell;

		memcpy(&cell, value + i, sizeof(cell));
		fprintf(out, "%s0x%" PRIx32, i ? " " : "", fdt32_to_cpu(cell));
	}
	fputc('>', out);
}

static void bytes_put(FILE *out, const char *value, int length)
{
	fputc('[', out);
	for (int i = 0; i < length; i++)
		fprintf(out, "%s%02x", i ? " " : "", (unsigned char)value[i]);
	fputc(']', out);
}

/* Types are not stored in a blob: a value that could be text is printed as text, as dtc does. */
static void property_put(const void *blob, int offset, int depth, FILE *out)
{
	const char *name, *value;
	int length;

	value = fdt_getprop_by_offset(blob, offset, &name, &length);
	if (!value)
		return; /* cannot happen in a good blob */
	indent(out, depth);
	fputs(name, out);
	if (length)
		fputs(" = ", out);
	if (length && is_strings(value, length))
		strings_put(out, value, length);
	else if (length && length % 4 == 0)
		cells_put(out, value, length);
	else if (length)
		bytes_put(out, value, length);
	fputs(";\n", out);
}

/* Close the nodes that end before one at `depth` begins. */
static void nodes_close(FILE *out, int from, int depth)
{
	for (; from >= depth; from--) {
		indent(out, from);
		fputs("};\n", out);
	}
}

/* Closing braces follow from the depth of the next node: a blob is not nested, it only has markers. */
void gc_dt_text(const void *blob, FILE *out)
{
	int depth = -1, before = -1, property, offset;

	fputs("/dts-v1/;\n", out);
	for (offset = fdt_next_node(blob, -1, &depth); offset >= 0 && depth >= 0;
	     offset = fdt_next_node(blob, offset, &depth)) {
		nodes_close(out, before, depth);
		fputc('\n', out);
		indent(out, depth);
		fprintf(out, "%s {\n", depth ? fdt_get_name(blob, offset, NULL) : "/");
		fdt_for_each_property_offset(property, blob, offset) property_put(blob, property, depth + 1, out);
		before = depth;
	}
	nodes_close(out, before, 0);
}
