/* SPDX-License-Identifier: MIT */
#include "backend/xenbus/retry.h"
#include "backend/base/clock.h"
#include "backend/xenbus/settle.h"

#include <errno.h>

#define PAUSE_FIRST_MS 20u   /* the first pause between two attempts; each is twice as long as the last one, */
#define PAUSE_MOST_MS  1000u /* up to this */

/* True when the time `when` has come; otherwise `next` becomes no later than `when`. */
static bool time_come(uint64_t when, uint64_t now, uint64_t *next)
{
	if (when > now && when < *next)
		*next = when;
	return when <= now;
}

void gd_retry_look(struct gd_retry *retry)
{
	uint64_t now = gd_clock_ms(), next = UINT64_MAX;

	for (struct gd_guest *guest = retry->table->guests; guest; guest = guest->next)
		if (guest->settle_ms && time_come(guest->settle_ms, now, &next)) {
			guest->settle_ms = 0;
			gd_table_touch(retry->table, guest->devices); /* any of its devices will do */
		}
	gd_table_each(retry->table, guest, device)
	{
		if (device->churn.again && time_come(device->churn.again, now, &next)) {
			device->churn.again = 0;
			gd_table_touch(retry->table, device);
		}
		if (device->pause.ms && device->phase == GD_PHASE_IDLE && !device->dirty &&
		    time_come(device->pause.until, now, &next))
			gd_table_touch(retry->table, device);
	}
	if (next != UINT64_MAX)
		gd_timer_set(retry->timer, next - now);
}

/* Devices that are open already may be served now. */
static void opened_touch(struct gd_retry *retry, const struct gd_guest *guest)
{
	for (struct gd_served *device = guest->devices; device; device = device->sibling)
		if (device->phase == GD_PHASE_OPENED)
			gd_table_touch(retry->table, device);
}

void gd_retry_settle(struct gd_retry *retry, struct gd_domains *domains, struct gd_guest *guest)
{
	if (guest->settled || guest->unread || guest->settle_ms)
		return;
	if (gd_settle(domains, guest)) {
		opened_touch(retry, guest);
		return;
	}
	guest->settle_ms = gd_clock_ms() + PAUSE_MOST_MS;
	gd_retry_look(retry); /* which sets the timer */
}

bool gd_retry_may(const struct gd_served *device)
{
	static const int later[] = {-EBUSY, -ENOTCONN, -EAGAIN, -ENOMEM, -EMFILE, -ENFILE};

	for (unsigned i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		if (device->result == later[i])
			return true;
	return false;
}

void gd_retry_later(struct gd_retry *retry, struct gd_served *device)
{
	unsigned pause = device->pause.ms ? 2 * device->pause.ms : PAUSE_FIRST_MS;
	const char *what = "what it needs";

	if (device->result == -EBUSY)
		what = "its former user's last I/O";
	else if (device->result == -ENOTCONN)
		what = "its server";
	if (device->pause.error != device->result)
		gd_log(&device->log, GD_NOTICE, "%s: it was served before: waiting for %s", device->error, what);
	device->pause.error = device->result;
	device->pause.ms = pause < PAUSE_MOST_MS ? pause : PAUSE_MOST_MS;
	device->pause.until = gd_clock_ms() + device->pause.ms;
	device->result = 0;
	gd_retry_look(retry); /* sets the timer for the first device of all that wait */
}

void gd_retry_end(struct gd_served *device)
{
	if (device->pause.error == -EBUSY)
		gd_log(&device->log, GD_NOTICE, "%s is in use no more", device->target);
	else if (device->pause.error)
		gd_log(&device->log, GD_NOTICE, "%s can be opened again", device->target);
	device->pause = (struct gd_pause){0};
}

bool gd_retry_pauses(struct gd_retry *retry, const struct gd_served *device)
{
	if (!device->pause.ms || device->pause.until <= gd_clock_ms())
		return false;
	gd_retry_look(retry); /* a device that is to be looked at did not count when the timer was set */
	return true;
}
