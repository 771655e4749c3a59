/* SPDX-License-Identifier: MIT */
#include "backend/guestmem/pv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#define GUEST_TYPE "/sys/hypervisor/guest_type"

static bool known_not_pv(const char *type)
{
	size_t length = strcspn(type, "\n");

	return (length == 3 && !strncmp(type, "HVM", 3)) || (length == 3 && !strncmp(type, "PVH", 3));
}

static bool on_arm(void)
{
	struct utsname name;

	return !uname(&name) && (!strncmp(name.machine, "aarch64", 7) || !strncmp(name.machine, "arm", 3));
}

bool gd_pv_possible(void)
{
	const char *told = getenv("GRANTIO_GUEST_TYPE");
	char type[16] = "";
	FILE *file;

	if (told)
		return !known_not_pv(told);
	file = fopen(GUEST_TYPE, "re");
	if (file) {
		if (!fgets(type, sizeof(type), file))
			type[0] = '\0';
		fclose(file);
	}
	return !known_not_pv(type) && !on_arm();
}
