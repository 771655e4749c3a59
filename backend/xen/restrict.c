/* SPDX-License-Identifier: MIT */
#include "backend/base/log.h"
#include "backend/xen/restrict.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

static const char *const names[GD_RESTRICTED] = {[GD_RESTRICT_DEVICEMODEL] = "xendevicemodel",
						 [GD_RESTRICT_EVTCHN] = "xenevtchn",
						 [GD_RESTRICT_FOREIGNMEMORY] = "xenforeignmemory"};

void gd_restrict_note(enum gd_restrict library, int result)
{
	static atomic_bool said[GD_RESTRICTED];
	int error = errno;

	if (result && !atomic_exchange(&said[library], true))
		gd_log(NULL, GD_NOTICE, "%s: cannot restrict handles to one guest: %s", names[library],
		       strerror(error));
}
