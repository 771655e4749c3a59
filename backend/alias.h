/* SPDX-License-Identifier: MIT */
/*
 * A guest as an administrator names it: by its domain id, which changes whenever it is started, or by its name or its
 * UUID, which stay the same. A number is a domain id, a text of a UUID's form is a UUID, and any other is a name.
 *
 * Threads: any. Errors: a text that says what is wrong.
 */
#ifndef GD_ALIAS_H
#define GD_ALIAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is known of a guest when the settings are looked up. Both texts come from the toolstack; NULL: unknown. */
struct gd_aliases {
	uint16_t domid;
	const char *name, *uuid;
};

enum gd_alias_by { GD_ALIAS_UUID, GD_ALIAS_NAME, GD_ALIAS_DOMID, GD_ALIAS_WAYS };

/* How the settings name a guest. */
struct gd_alias {
	enum gd_alias_by by;
	uint16_t domid; /* GD_ALIAS_DOMID */
	char *text;	/* otherwise: the name or UUID; the alias's own */
};

/* Read an alias from `length` bytes of text. NULL, or what is wrong with them. */
const char *gd_alias_parse(struct gd_alias *spec, const char *text, size_t length);
void gd_alias_free(struct gd_alias *spec);
bool gd_alias_is(const struct gd_aliases *guest, const struct gd_alias *spec);
/* True if both name the same guests. */
bool gd_alias_same(const struct gd_alias *a, const struct gd_alias *b);

#endif
