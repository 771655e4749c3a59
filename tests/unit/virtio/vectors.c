/* SPDX-License-Identifier: MIT */
#include "tests/unit/virtio/vectors.h"

#include <stdio.h>
#include <stdlib.h>

struct vector vectors[VECTORS];

static void unhex(const char *hex, struct gio_msg *msg)
{
	uint8_t bytes[sizeof(*msg)] = {0};

	for (size_t i = 0; i < sizeof(bytes) && hex[2 * i]; i++)
		assert_int_equal(sscanf(hex + 2 * i, "%2hhx", &bytes[i]), 1);
	memcpy(msg, bytes, sizeof(*msg));
}

/* True when the line is a vector. */
static bool line_read(const char *line, struct vector *v)
{
	int fields;

	if (!strncmp(line, "ok ", 3))
		fields = sscanf(line, "%7s %63s %15s %529s", v->kind, v->name, v->who, v->hex) - 4;
	else if (!strncmp(line, "bad ", 4))
		fields = sscanf(line, "%7s %63s %15s %15s %529s", v->kind, v->name, v->who, v->reaction, v->hex) - 5;
	else
		return false;
	assert_int_equal(fields, 0);
	unhex(v->hex, &v->msg);
	return true;
}

int vectors_read(void **state)
{
	char line[1024];
	struct vector next;
	unsigned count = 0;
	FILE *file = fopen(getenv("GIO_MSG_VECTORS"), "r");

	(void)state;
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		next = (struct vector){0};
		if (!line_read(line, &next))
			continue;
		assert_true(count < VECTORS);
		vectors[count++] = next;
	}
	fclose(file);
	return count == VECTORS ? 0 : -1;
}

const struct gio_msg *vector(const char *name)
{
	for (unsigned i = 0; i < VECTORS; i++)
		if (!strcmp(vectors[i].name, name))
			return &vectors[i].msg;
	fail_msg("there is no vector %s", name);
	return NULL;
}
