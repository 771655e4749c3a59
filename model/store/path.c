/* SPDX-License-Identifier: MIT */
#include "model/store/path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool gm_path_special(const char *path)
{
	return path[0] == '@';
}

/* How much of a path is "/local/domain/N/": that does not count, so that a domain's own paths may all be as long. */
static size_t home_length(const char *path)
{
	static const char above[] = "/local/domain/";
	size_t digits;

	if (strncmp(path, above, sizeof(above) - 1) != 0)
		return 0;
	digits = strspn(path + sizeof(above) - 1, "0123456789");
	return digits && digits <= 5 && path[sizeof(above) - 1 + digits] == '/' ? sizeof(above) + digits : 0;
}

/* xenstored's rules: nothing but these characters, no empty component, no slash at the end except in "/". */
static bool path_valid(const char *path)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-/_@";
	size_t length = strlen(path);

	if (path[strspn(path, allowed)] || strstr(path, "//") || length > home_length(path) + XENSTORE_REL_PATH_MAX)
		return false;
	return length == 1 || path[length - 1] != '/';
}

/* The two special nodes. Of others that begin with '@' nobody knows: ENOENT, as xenstored says. */
static int special_resolve(char *out, const char *path)
{
	if (strcmp(path, "@introduceDomain") != 0 && strcmp(path, "@releaseDomain") != 0)
		return -ENOENT;
	strcpy(out, path); /* fits: one of these two */
	return 0;
}

int gm_path_resolve(char *out, uint16_t domid, const char *path, bool special)
{
	int length;

	if (gm_path_special(path))
		return special ? special_resolve(out, path) : -EINVAL;
	if (path[0] == '/')
		length = snprintf(out, GM_PATH_MAX, "%s", path);
	else if (path[0] && strlen(path) <= XENSTORE_REL_PATH_MAX)
		length = snprintf(out, GM_PATH_MAX, "/local/domain/%u/%s", domid, path);
	else
		return -EINVAL;
	return length < GM_PATH_MAX && path_valid(out) ? 0 : -EINVAL;
}

int gm_path_resolve_watch(char *out, uint16_t domid, const char *path)
{
	if (!gm_path_special(path))
		return gm_path_resolve(out, domid, path, false);
	if (strlen(path) > XENSTORE_REL_PATH_MAX)
		return -EINVAL;
	strcpy(out, path);
	return 0;
}

size_t gm_path_parent(const char *path)
{
	size_t length = (size_t)(strrchr(path, '/') - path); /* not NULL: the path is absolute */

	return length ? length : 1;
}

/* "/ab" is not below "/a": a component must end where `above` ends. */
bool gm_path_below(const char *path, const char *above)
{
	size_t length = strlen(above);

	if (strncmp(path, above, length) != 0)
		return false;
	return !path[length] || path[length] == '/' || (length == 1 && above[0] == '/');
}

bool gm_path_next(const char *path, size_t *at, const char **name, size_t *length)
{
	if (path[*at] == '/')
		(*at)++;
	if (!path[*at])
		return false;
	*name = path + *at;
	*length = strcspn(*name, "/");
	*at += *length;
	return true;
}
