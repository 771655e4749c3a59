/* SPDX-License-Identifier: MIT */
/*
 * Does this Xen have the fixes of the faults in the calls that grants are made of? A guest or a backend can use such a
 * fault to reach what nobody granted, whatever grantiod and the guest do.
 *
 *   XSA-500, XSA-501 (July 2026)	grant copy takes one page for another; versions of a grant table race
 *   XSA-517 (October 2026)		versions race once more
 *   XSA-523 (November 2026)		memory is read and written through a grant copy
 *
 * A version of Xen's does not tell: distributions add fixes to old versions. Debian's packages do; their changelogs
 * name the fixes.
 */
#include "cli/doctor/doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIXES "XSA-500, XSA-501, XSA-517 and XSA-523"

/* "4.17.7+13-...": 13 changes after 4.17.7. */
struct revision {
	unsigned patch, more;
};

/* The first package of Debian's that has all of them; an older one has at most some. */
static const struct fixed {
	unsigned major, minor;
	struct revision revision;
	const char *version;
} fixed[] = {
	{4, 17, {7, 13}, "4.17.7+13-g2445b30a44-0+deb12u1"},
	{4, 20, {4, 63}, "4.20.4+63-g7abfd2bce2-0+deb13u1"},
};

static const struct fixed *fixed_find(const struct gc_doctor *doctor)
{
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		if (fixed[i].major == doctor->major && fixed[i].minor == doctor->minor)
			return &fixed[i];
	}
	return NULL;
}

/* What comes behind "MAJOR.MINOR". */
static struct revision revision_read(const char *text)
{
	struct revision revision = {0};
	char *end;

	if (*text != '.')
		return revision;
	revision.patch = (unsigned)strtoul(text + 1, &end, 10);
	if (*end == '+')
		revision.more = (unsigned)strtoul(end + 1, NULL, 10);
	return revision;
}

static bool is_before(struct revision a, struct revision b)
{
	return a.patch < b.patch || (a.patch == b.patch && a.more < b.more);
}

/* The package that is installed may be newer than the hypervisor that runs: then a reboot is what is missing. */
void gc_doctor_xen(struct gc_doctor *doctor)
{
	const struct fixed *first = fixed_find(doctor);
	char name[64], package[64], version[96], start[16], remedy[200];
	struct revision running = revision_read(doctor->extra);

	snprintf(name, sizeof(name), "xen-hypervisor-%u.%u-", doctor->major, doctor->minor);
	snprintf(start, sizeof(start), "%u.%u", doctor->major, doctor->minor);
	if (!first || !gc_look_package(doctor, name, package, sizeof(package), version, sizeof(version)) ||
	    strncmp(version, start, strlen(start)) != 0) {
		gc_doctor_unknown(doctor, "xen-fixes",
				  "a Xen with the fixes of " FIXES
				  " (faults of grants and of grant copies): ask who made this one",
				  "no package says whether Xen %u.%u%s has them", doctor->major, doctor->minor,
				  doctor->extra);
		return;
	}
	if (is_before(revision_read(version + strlen(start)), first->revision)) {
		snprintf(remedy, sizeof(remedy),
			 "apt-get update && apt-get install %s (%s or later, from Debian's security archive), and "
			 "reboot",
			 package, first->version);
		gc_doctor_missing(doctor, "xen-fixes", remedy, "%s %s: not all of the fixes of " FIXES, package,
				  version);
	} else if (running.patch < first->revision.patch) {
		gc_doctor_missing(doctor, "xen-fixes", "reboot", "%s %s has them, but Xen %u.%u%s runs", package,
				  version, doctor->major, doctor->minor, doctor->extra);
	} else {
		gc_doctor_ok(doctor, "xen-fixes", "%s %s has those of " FIXES, package, version);
	}
}
