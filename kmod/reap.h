/* SPDX-License-Identifier: GPL-2.0-only */
/* The guest library's grants, which all devices of the module share, and the work that empties their quarantine. */
#ifndef GRANTIO_KMOD_REAP_H
#define GRANTIO_KMOD_REAP_H

#include <linux/types.h>

#include <grantio/grant.h>

/* What the guest library knows of this system (grantio/os.h). */
struct gio_os {
	struct gio_grants *grants;
};

extern struct gio_os gk_os;

/* Use the kernel's grant table. 0 or -errno. */
int gk_reap_open(void);
/* For when no device is left. Returns how many grants backends still hold; the kernel keeps them and their pages. */
u32 gk_reap_close(void);
/* How many references of a user (gio_grants_user()) backends still hold, once all have been tried. May sleep. */
u32 gk_reap_held(u32 user);
/* Have the quarantine looked through soon, and again until it is empty. Any context. */
void gk_reap_schedule(void);

#endif
