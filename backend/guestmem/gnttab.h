/* SPDX-License-Identifier: MIT */
/* How this folder opens Xen's libraries. For the files of this folder only. */
#ifndef GD_GNTTAB_H
#define GD_GNTTAB_H

#include <stdarg.h>

#include <xentoollog.h>
#include <xengnttab.h>

/* A handle whose messages go nowhere. 0 or -errno. */
int gd_gnttab_open(xengnttab_handle **gnttab);

/*
 * A logger that drops every message. Xen's libraries log each refusal as an error, and a guest can cause as many
 * refusals as it likes; whoever gets the error reports what matters, at a limited rate. Static: nobody frees it.
 */
struct xentoollog_logger *gd_logger_silent(void);

#endif
