// SPDX-License-Identifier: GPL-2.0-only
#include <linux/err.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <xen/xenbus.h>

#include "compat.h"
#include "keys.h"

int gk_key_number(const char *dir, const char *key, unsigned int base, u64 *value)
{
	char *text = xenbus_read(XBT_NIL, dir, key, NULL);
	int err;

	if (IS_ERR(text))
		return PTR_ERR(text);
	err = kstrtou64(text, base, value);
	kfree(text);
	return err;
}

bool gk_key_is(const char *dir, const char *key, const char *text)
{
	char *is = xenbus_read(XBT_NIL, dir, key, NULL);
	bool same;

	if (IS_ERR(is))
		return false;
	same = !strcmp(is, text);
	kfree(is);
	return same;
}

bool gk_key_has(const char *dir, const char *key, const char *word)
{
	char *text = xenbus_read(XBT_NIL, dir, key, NULL), *rest = text, *one;
	bool found = false;

	if (IS_ERR(text))
		return false;
	while ((one = strsep(&rest, " ")))
		found = found || !strcmp(one, word);
	kfree(text);
	return found;
}
