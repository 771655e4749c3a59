/* SPDX-License-Identifier: MIT */
/* The guest's beginning and end, whatever the processor. */
#include "arch.h"
#include "guest.h"
#include "xen.h"

#include <string.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/params.h>
#include <xen/sched.h>

int gio_xen_param(unsigned index, uint64_t *value)
{
	struct xen_hvm_param param = {.domid = DOMID_SELF, .index = index};
	long ret = hypercall(__HYPERVISOR_hvm_op, HVMOP_get_param, (uint64_t)&param, 0);

	*value = param.value;
	return (int)ret;
}

_Noreturn void gio_xen_shutdown(unsigned reason, const char *why)
{
	struct sched_shutdown shutdown = {.reason = reason};

	if (why)
		hypercall(__HYPERVISOR_console_io, CONSOLEIO_write, strlen(why), (uint64_t)why);
	for (;;)
		hypercall(__HYPERVISOR_sched_op, SCHEDOP_shutdown, (uint64_t)&shutdown, 0);
}

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
