/* SPDX-License-Identifier: MIT */
/*
 * Paths of the store (xenstore.txt, "paths"): "/" or "/a/b", of letters, digits and -/_@, no empty component; and the
 * two special ones, @introduceDomain and @releaseDomain, that can be watched and have permissions but no value.
 */
#ifndef GM_STORE_PATH_H
#define GM_STORE_PATH_H

#include <errno.h> /* before xs_wire.h, which makes xsd_errors only then */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xen/io/xs_wire.h>

#define GM_PATH_MAX (XENSTORE_ABS_PATH_MAX + 1) /* with NUL */

/*
 * Make a client's path absolute (relative ones start at the domain's own directory) and check it. `out` holds
 * GM_PATH_MAX bytes. 0 or -EINVAL; special paths are valid only where `special` is true, and -ENOENT when unknown.
 */
int gm_path_resolve(char *out, uint16_t domid, const char *path, bool special);
/* The same for a watch. Whatever begins with '@' can be watched; only the two special paths have events. */
int gm_path_resolve_watch(char *out, uint16_t domid, const char *path);
/* A special node, and no path. */
bool gm_path_special(const char *path);
/* Length of the parent's path: of "/a/b" 2, of "/a" 1 ("/"). Not for "/" and special paths. */
size_t gm_path_parent(const char *path);
/* True when `path` is `above`, or below it. */
bool gm_path_below(const char *path, const char *above);
/* The next component of a path behind the first `at` bytes: true, its start and length. */
bool gm_path_next(const char *path, size_t *at, const char **name, size_t *length);

#endif
