/* SPDX-License-Identifier: MIT */
/*
 * A guest as an administrator names it: by its domain id, which changes whenever it is started, or by its name or its
 * UUID, which stay. A number is a domain id, what has the form of a UUID is one, all else is a name.
 *
 * Threads: any. Errors: what is wrong, as text.
 */
#ifndef GD_ALIAS_H
#define GD_ALIAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is known of a guest when the settings are asked about it. Both texts are the toolstack's word; NULL: unknown. */
struct gd_aliases {
	uint16_t domid;
	const char *name, *uuid;
};

enum gd_alias_by { GD_ALIAS_UUID, GD_ALIAS_NAME, GD_ALIAS_DOMID, GD_ALIAS_WAYS };

/* What the settings say. */
struct gd_alias {
	enum gd_alias_by by;
	uint16_t domid; /* GD_ALIAS_DOMID */
	char *text;	/* else; the spec's own */
};

/* From `length` bytes of text; NULL, or what is wrong with them. */
const char *gd_alias_parse(struct gd_alias *spec, const char *text, size_t length);
void gd_alias_free(struct gd_alias *spec);
bool gd_alias_is(const struct gd_aliases *guest, const struct gd_alias *spec);
/* Whether two say the same of all guests. */
bool gd_alias_same(const struct gd_alias *a, const struct gd_alias *b);

#endif
