/* SPDX-License-Identifier: MIT */
#include "backend/base/log.h"
#include "backend/xen/restrict.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

void gd_restrict_note(const char *library, int result)
{
	static const char *const libraries[] = {"xendevicemodel", "xenforeignmemory", "xenevtchn"};
	static atomic_bool said[sizeof(libraries) / sizeof(libraries[0])];
	int error = errno;

	for (size_t i = 0; result && i < sizeof(libraries) / sizeof(libraries[0]); i++)
		if (!strcmp(libraries[i], library) && !atomic_exchange(&said[i], true))
			gd_log(NULL, GD_NOTICE, "%s: cannot restrict handles to one guest: %s", library,
			       strerror(error));
}
