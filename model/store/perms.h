/* SPDX-License-Identifier: MIT */
/*
 * A node's permissions (xenstore.txt, "permissions"). The first entry names the owner, which may do everything; its
 * rights are those of all domains that no entry names. The further entries name domains. Domain 0 may do everything.
 */
#ifndef GM_STORE_PERMS_H
#define GM_STORE_PERMS_H

#include "model/store/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GM_RIGHT_READ = 1, GM_RIGHT_WRITE = 2, GM_RIGHT_OWN = 4, GM_RIGHTS_ALL = 7 };

struct gm_perms {
	uint32_t count; /* 1 to GM_STORE_PERMS_MAX */
	struct gm_perm {
		uint16_t domid;
		uint8_t rights;
	} entry[GM_STORE_PERMS_MAX];
};

#define GM_PERMS_TEXT_MAX (GM_STORE_PERMS_MAX * 7) /* "b65535" and NUL for each */

/* The permissions of a node that only its owner may use. */
struct gm_perms gm_perms_owner(uint16_t domid);
/* What the domain may do: a set of GM_RIGHT_*. */
unsigned gm_perms_rights(const struct gm_perms *perms, uint16_t domid);
/* Drop the entries of a domain, but the owner's. True when there was one. */
bool gm_perms_drop(struct gm_perms *perms, uint16_t domid);

/* NUL-terminated strings "n0", "r1", "w2", "b3" one behind the other. 0; -EINVAL; -ENOSPC: more than fit. */
int gm_perms_parse(struct gm_perms *out, const char *text, size_t length);
/* The same back; `text` holds GM_PERMS_TEXT_MAX bytes. Returns the length with all NULs. */
size_t gm_perms_format(const struct gm_perms *perms, char *text);

#endif
