/* SPDX-License-Identifier: MIT */
#include "backend/guestmem/gnttab.h"

#include <errno.h>

#include "backend/base/error.h"

static void message_drop(struct xentoollog_logger *logger, xentoollog_level level, int errnoval, const char *context,
			 const char *format, va_list args)
{
	(void)logger, (void)level, (void)errnoval, (void)context, (void)format, (void)args;
}

static void logger_keep(struct xentoollog_logger *logger)
{
	(void)logger; /* it is static: there is nothing to free */
}

struct xentoollog_logger *gd_logger_silent(void)
{
	static struct xentoollog_logger silent = {.vmessage = message_drop, .destroy = logger_keep};

	return &silent;
}

int gd_gnttab_open(xengnttab_handle **gnttab)
{
	errno = 0;
	*gnttab = xengnttab_open(gd_logger_silent(), 0);
	return *gnttab ? 0 : gd_errno_or(ENODEV);
}
