/* SPDX-License-Identifier: MIT */
/* How this room opens libxengnttab: for the files of this room only. */
#ifndef GD_GNTTAB_H
#define GD_GNTTAB_H

#include <stdarg.h>

#include <xentoollog.h>
#include <xengnttab.h>

/* A handle whose log goes nowhere (a guest can provoke its lines without end). 0 or -errno. */
int gd_gnttab_open(xengnttab_handle **gnttab);
struct xentoollog_logger *gd_logger_silent(void);

#endif
