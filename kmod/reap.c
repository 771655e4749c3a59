// SPDX-License-Identifier: GPL-2.0-only
#include <linux/workqueue.h>

#include "reap.h"

#define REAP_PERIOD (HZ / 8)
#define REAP_CALL   64u /* grants that a call of gio_grants_reap() tries */

struct gio_os gk_os;

static void reap(struct work_struct *work);
static DECLARE_DELAYED_WORK(reap_work, reap);

static void reap(struct work_struct *work)
{
	u32 left = gio_grants_reap(gk_os.grants), calls = left / REAP_CALL;

	/* Every grant is tried once: many of them may be here because they were not tried at all (entry_linux.c). */
	while (calls--)
		left = gio_grants_reap(gk_os.grants);
	if (left)
		schedule_delayed_work(&reap_work, REAP_PERIOD);
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
