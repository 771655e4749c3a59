/* SPDX-License-Identifier: MIT */
#include "backend/alias.h"
#include "backend/base/number.h"

#include <abi/xen.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define UUID_LENGTH 36

_Static_assert(GIO_DOMID_MAX == 32751, "gd_alias_parse() says this number");

/* True for 8-4-4-4-12 hexadecimal digits, as in /vm/UUID. */
static bool is_uuid(const char *text)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

	if (strlen(text) != UUID_LENGTH)
		return false;
	for (size_t i = 0; i < UUID_LENGTH; i++)
		if (form[i] == '-' ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
			return false;
	return true;
}

const char *gd_alias_parse(struct gd_alias *spec, const char *text, size_t length)
{
	uint64_t domid;

	*spec = (struct gd_alias){.by = GD_ALIAS_DOMID};
	if (!length)
		return "names no guest";
	spec->text = strndup(text, length);
	if (!spec->text)
		return "no memory for it";
	if (gd_number(spec->text, false, GIO_DOMID_MAX, &domid)) {
		spec->domid = (uint16_t)domid;
	} else if (spec->text[strspn(spec->text, "0123456789")] == '\0') {
		gd_alias_free(spec);
		return "is no domain id: that is at most 32751";
	} else {
		spec->by = is_uuid(spec->text) ? GD_ALIAS_UUID : GD_ALIAS_NAME;
	}
	return NULL;
}

void gd_alias_free(struct gd_alias *spec)
{
	free(spec->text);
	spec->text = NULL;
}

bool gd_alias_is(const struct gd_aliases *guest, const struct gd_alias *spec)
{
	switch (spec->by) {
	case GD_ALIAS_UUID:
		return guest->uuid && !strcasecmp(guest->uuid, spec->text);
	case GD_ALIAS_NAME:
		return guest->name && !strcmp(guest->name, spec->text);
	default:
		return guest->domid == spec->domid;
	}
}

bool gd_alias_same(const struct gd_alias *a, const struct gd_alias *b)
{
	if (a->by != b->by)
		return false;
	if (a->by == GD_ALIAS_DOMID)
		return a->domid == b->domid;
	return a->by == GD_ALIAS_UUID ? !strcasecmp(a->text, b->text) : !strcmp(a->text, b->text);
}
