/* SPDX-License-Identifier: MIT */
/* Which domain a person means: by /local/domain/<domid>/name and /vm, as xl has them. */
#include "cli/domain.h"

#include <abi/xen.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UUID_LENGTH 36

/* The node may be empty: that it exists is what counts. */
bool gc_domain_known(struct xs_handle *xs, unsigned domid)
{
	char *value = gc_store_read(xs, "/local/domain/%u", domid);

	free(value);
	return value != NULL;
}

char *gc_domain_name(struct xs_handle *xs, unsigned domid)
{
	return gc_store_read(xs, "/local/domain/%u/name", domid);
}

static bool is_number(const char *text)
{
	return isdigit((unsigned char)text[0]) && !text[strspn(text, "0123456789")];
}

static bool is_uuid(const char *text)
{
	return strlen(text) == UUID_LENGTH && strspn(text, "0123456789abcdefABCDEF-") == UUID_LENGTH && text[8] == '-';
}

/* Names and UUIDs are compared as xl does it: names exactly, UUIDs in either case. */
static bool is_meant(struct xs_handle *xs, unsigned domid, const char *text)
{
	char *name = gc_domain_name(xs, domid),
	     *vm = is_uuid(text) ? gc_store_read(xs, "/local/domain/%u/vm", domid) : NULL;
	bool meant = (name && strcmp(name, text) == 0) ||
		     (vm && strncmp(vm, "/vm/", 4) == 0 && strcasecmp(vm + 4, text) == 0);

	free(name);
	free(vm);
	return meant;
}

/* xl keeps names unique. Another toolstack need not, and nobody should get the wrong one of two. */
int gc_domain_find(struct xs_handle *xs, const char *what, const char *text, unsigned least, unsigned *domid)
{
	unsigned count = 0, found = 0;
	uint64_t number;
	char **ids;

	if (is_number(text)) {
		if (!gc_number(what, text, least, GIO_DOMID_MAX, &number))
			return GC_USAGE;
		*domid = (unsigned)number;
		return GC_OK;
	}
	ids = xs_directory(xs, XBT_NULL, "/local/domain", &count);
	for (unsigned i = 0; ids && i < count; i++) {
		unsigned id = (unsigned)strtoul(ids[i], NULL, 10);

		if (!is_number(ids[i]) || !is_meant(xs, id, text))
			continue;
		*domid = id;
		found++;
	}
	free(ids);
	if (found > 1)
		return gc_fail("%s '%s': %u domains have this name, give the number", what, text, found);
	if (found && *domid < least)
		return gc_fail("%s '%s': is domain %u, which cannot be meant here", what, text, *domid);
	return found ? GC_OK : gc_fail("%s '%s': no such domain", what, text);
}
