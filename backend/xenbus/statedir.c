/* SPDX-License-Identifier: MIT */
#include "backend/xenbus/statedir.h"
#include "backend/xenbus/keys.h"
#include "backend/xenbus/store.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NAME_SIZE 40 /* bytes for CLASS-DOMID-DEVID */

static void name_make(const struct gd_device_id *id, char name[NAME_SIZE])
{
	snprintf(name, NAME_SIZE, "%s-%u-%" PRIu32, gd_class_names[id->class], id->domid, id->devid);
}

/* The device of a file; false: the name is no ledger's. */
static bool name_parse(const char *name, struct gd_device_id *id)
{
	char again[NAME_SIZE];

	for (unsigned class = 0; class < GD_CLASSES; class ++) {
		size_t length = strlen(gd_class_names[class]);

		id->class = (enum gd_class) class;
		if (strncmp(name, gd_class_names[class], length) ||
		    sscanf(name + length, "-%" SCNu16 "-%" SCNu32, &id->domid, &id->devid) != 2)
			continue;
		name_make(id, again);
		if (!strcmp(name, again)) /* sscanf() also takes blanks and signs, and any text behind */
			return true;
	}
	return false;
}

int gd_statedir_path(const char *dir, const struct gd_device_id *id, char *path, size_t size)
{
	char name[NAME_SIZE];
	int length;

	name_make(id, name);
	length = snprintf(path, size, "%s/%s", dir, name);
	return length < (int)size ? 0 : -ENAMETOOLONG;
}

void gd_statedir_sweep(const char *path, struct gd_store *store)
{
	DIR *dir = path ? opendir(path) : NULL;
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		struct gd_device_id id;
		struct gd_keys keys;

		if (!name_parse(entry->d_name, &id))
			continue;
		if (gd_store_read(store, &id, &keys) == -ENOENT)
			unlinkat(dirfd(dir), entry->d_name, 0);
		else
			gd_keys_free(&keys);
	}
	if (dir)
		closedir(dir);
}
