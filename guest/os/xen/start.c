/* SPDX-License-Identifier: MIT */
/* The guest's beginning, whatever the processor: its parts are started in the order in which they need one another. */
#include "guest.h"
#include "xen.h"

#include <xen/sched.h>

_Noreturn void gio_xen_run(uint64_t ram, uint64_t ram_end, const char *command_line)
{
	if (ram_end <= ram)
		gio_xen_shutdown(SHUTDOWN_crash, "grantio guest: no memory behind the image\n");
	gio_xen_memory_start(ram, ram_end);
	if (gio_xen_events_start())
		gio_xen_shutdown(SHUTDOWN_crash, "grantio guest: no event channels\n");
	if (gio_xen_console_start())
		gio_xen_shutdown(SHUTDOWN_crash, "grantio guest: no console\n");
	if (gio_xen_store_start())
		gio_xen_shutdown(SHUTDOWN_crash, "grantio guest: no xenstore\n");
	gio_xen_main(command_line);
	gio_xen_console_flush();
	gio_xen_shutdown(SHUTDOWN_poweroff, NULL);
}
