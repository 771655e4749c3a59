/* SPDX-License-Identifier: MIT */
#include "backend/xenbus/statedir.h"
#include "backend/virtio/ledger.h"
#include "backend/xenbus/keys.h"
#include "backend/xenbus/store.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
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

void gd_statedir_remove(const char *dir, const struct gd_device_id *id)
{
	char path[PATH_MAX];

	if (dir && !gd_statedir_path(dir, id, path, sizeof(path)))
		unlink(path); /* most often it has gone: a device that was served removes its ledger when it closes */
}

/* ---- what was left over ----------------------------------------------------------------------------------------- */

/*
 * Whether a device may go on by its ledger: its directory is there, and says that the device has one. A directory that
 * was removed and written anew does not say so. Where it cannot be read nothing is known, and the ledger is kept.
 */
static bool ledger_wanted(struct gd_store *store, const struct gd_device_id *id)
{
	struct gd_keys_note note;
	struct gd_keys keys;
	int err = gd_store_read(store, id, &keys);

	if (err)
		return err != -ENOENT;
	gd_keys_note(&keys, &note);
	gd_keys_free(&keys);
	return note.ledger != 0;
}

/* True for a file that was to replace a ledger when its grantiod was killed: the ledger itself is still there. */
static bool is_fresh(const char *name)
{
	size_t length = strlen(name), suffix = strlen(GD_LEDGER_FRESH);
	struct gd_device_id id;
	char ledger[NAME_SIZE];

	if (length <= suffix || length - suffix >= sizeof(ledger) || strcmp(name + length - suffix, GD_LEDGER_FRESH))
		return false;
	snprintf(ledger, sizeof(ledger), "%.*s", (int)(length - suffix), name);
	return name_parse(ledger, &id);
}

void gd_statedir_sweep(const char *path, struct gd_store *store)
{
	DIR *dir = path ? opendir(path) : NULL;
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		struct gd_device_id id;
		bool ledger = name_parse(entry->d_name, &id);

		if ((ledger && !ledger_wanted(store, &id)) || is_fresh(entry->d_name))
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir)
		closedir(dir);
}
