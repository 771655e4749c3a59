/* SPDX-License-Identifier: MIT */
#include "transports.h"

#include "mmio.h"

int gio_transports_open(struct gio_transport **out, struct gio_os *os, uint64_t base, uint32_t device_id)
{
	return gio_mmio_open(out, os, base, device_id);
}
