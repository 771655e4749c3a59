// SPDX-License-Identifier: GPL-2.0-only
#include <linux/workqueue.h>

#include "reap.h"

#define REAP_PERIOD (HZ / 8)
#define REAP_CALL   64u /* grants that a call of gio_grants_reap() tries */

struct gio_os gk_os;

static void reap(struct work_struct *work);
static DECLARE_DELAYED_WORK(reap_work, reap);

/* Every grant is tried once: many of them may be here because they were not tried at all (entry_linux.c). */
static u32 reap_all(void)
{
	u32 left = gio_grants_reap(gk_os.grants), calls = left / REAP_CALL;

	while (calls--)
		left = gio_grants_reap(gk_os.grants);
	return left;
}

static void reap(struct work_struct *work)
{
	if (reap_all())
		schedule_delayed_work(&reap_work, REAP_PERIOD);
}

u32 gk_reap_held(u32 user)
{
	reap_all();
	return gio_grants_held(gk_os.grants, user);
}

void gk_reap_schedule(void)
{
	schedule_delayed_work(&reap_work, REAP_PERIOD);
}

int gk_reap_open(void)
{
	return gio_grants_open(&gk_os.grants, &gk_os, 0);
}

u32 gk_reap_close(void)
{
	cancel_delayed_work_sync(&reap_work); /* there is no device that would schedule it again */
	return gio_grants_close(gk_os.grants);
}
