/* SPDX-License-Identifier: MIT */
#include "transports.h"

#include "mmio.h"
#include "msg.h"

int gio_transports_open(struct gio_transport **out, struct gio_os *os, const struct gio_transports_place *place,
			uint32_t device_id)
{
	if (place->connection)
		return gio_msg_open(out, os, place->connection, device_id);
	return gio_mmio_open(out, os, place->base, device_id);
}
