/* SPDX-License-Identifier: MIT */
/* Hypercalls that several parts of the guest make. */
#include "arch.h"
#include "guest.h"

#include <string.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/params.h>
#include <xen/sched.h>

/* What the toolstack has set for this domain: where its rings are, and their event channels. */
int gio_xen_param(unsigned index, uint64_t *value)
{
	struct xen_hvm_param param = {.domid = DOMID_SELF, .index = index};
	long err = hypercall(__HYPERVISOR_hvm_op, HVMOP_get_param, (uint64_t)&param, 0);

	*value = param.value;
	return (int)err;
}

/* The reason goes to Xen's log by a hypercall, since the console's ring may not be there. */
_Noreturn void gio_xen_shutdown(unsigned reason, const char *why)
{
	struct sched_shutdown shutdown = {.reason = reason};

	if (why)
		hypercall(__HYPERVISOR_console_io, CONSOLEIO_write, strlen(why), (uint64_t)why);
	for (;;)
		hypercall(__HYPERVISOR_sched_op, SCHEDOP_shutdown, (uint64_t)&shutdown, 0);
}
