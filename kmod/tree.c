// SPDX-License-Identifier: GPL-2.0-only
#include "tree.h"

#include <abi/xen.h>

int gk_tree_backend(const struct gk_tree_id *ids, size_t n, gio_domid_t *backend)
{
	size_t i, ours = 0;

	for (i = 0; i < n; i++)
		ours += ids[i].ours;
	if (!ours)
		return -GIO_ENODEV;
	if (ours < n || n > GK_TREE_IDS)
		return -GIO_EINVAL;
	for (i = 0; i < n; i++)
		if (ids[i].cells != 1 || ids[i].id != ids[0].id)
			return -GIO_EINVAL;
	if (ids[0].id > GIO_DOMID_MAX)
		return -GIO_ERANGE;
	*backend = (gio_domid_t)ids[0].id;
	return 0;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int gk_tree_type(const char *text, uint32_t *type)
{
	const char *name = "virtio,device";
	uint32_t value = 0;
	uint32_t digits;

	while (*name)
		if (*text++ != *name++)
			return -GIO_EINVAL;
	for (digits = 0; digit(*text) >= 0 && digits < 4; digits++)
		value = value << 4 | (uint32_t)digit(*text++);
	if (*text || !value)
		return -GIO_EINVAL;
	*type = value;
	return 0;
}

int gk_tree_map(const struct gk_tree_line *lines, size_t n, uint32_t mask, uint32_t rid, uint32_t *phandle,
		uint32_t *id)
{
	size_t i;

	rid &= mask;
	for (i = 0; i < n; i++) {
		if (lines[i].rid & ~mask)
			return -GIO_EINVAL;
		if (rid < lines[i].rid || rid - lines[i].rid >= lines[i].count)
			continue;
		if (lines[i].id > UINT32_MAX - (rid - lines[i].rid))
			return -GIO_EINVAL;
		*phandle = lines[i].phandle;
		*id = lines[i].id + (rid - lines[i].rid);
		return 0;
	}
	return -GIO_ENODEV;
}
