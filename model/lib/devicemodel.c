/* SPDX-License-Identifier: MIT */
/* libxendevicemodel on the model. Results and errno are those of Xen's dm_op on Arm. */
#include "model/lib/ctx.h"
#include "model/domain.h"
#include "model/ioreq.h"

#include <xendevicemodel.h>

#define UNRESTRICTED 0xffffffffu

struct xendevicemodel_handle {
	struct gm_ctx ctx;
	uint32_t only;
};

/* privcmd allows a restriction to be repeated, and never to be changed. */
int xendevicemodel_restrict(xendevicemodel_handle *dmod, domid_t domid)
{
	if (dmod->only != UNRESTRICTED && dmod->only != domid)
		return gm_ret(-EINVAL);
	dmod->only = domid;
	return 0;
}

static int devicemodel_restrict(struct Xentoolcore__Active_Handle *active, domid_t domid)
{
	return xendevicemodel_restrict((xendevicemodel_handle *)(void *)active, domid);
}

xendevicemodel_handle *xendevicemodel_open(struct xentoollog_logger *logger, unsigned int open_flags)
{
	xendevicemodel_handle *dmod;

	(void)logger;
	if (open_flags) {
		errno = EINVAL;
		return NULL;
	}
	dmod = gm_ctx_open("xendevicemodel", sizeof(*dmod), devicemodel_restrict);
	if (dmod)
		dmod->only = UNRESTRICTED;
	return dmod;
}

int xendevicemodel_close(xendevicemodel_handle *dmod)
{
	if (dmod)
		gm_ctx_close(&dmod->ctx);
	return 0;
}

/* Every operation begins here: the handle's restriction, the count, the caller's privilege. */
static int op_begin(xendevicemodel_handle *dmod, domid_t domid)
{
	if (dmod->only != UNRESTRICTED && dmod->only != domid)
		return -EPERM;
	GM_COUNT(dmod->ctx.m, hypercalls, 1);
	GM_COUNT(dmod->ctx.m, dm_ops, 1);
	if (gm_fault(dmod->ctx.m, GM_FAULT_DM_OP))
		return -ENOMEM;
	return gm_dm_allowed(dmod->ctx.m, domid);
}

/* ---- ioreq servers ------------------------------------------------------------------------------------------ */

int xendevicemodel_create_ioreq_server(xendevicemodel_handle *dmod, domid_t domid, int handle_bufioreq, ioservid_t *id)
{
	int err = op_begin(dmod, domid);

	return gm_ret(err ? err : gm_server_create(dmod->ctx.m, domid, handle_bufioreq, id));
}

int xendevicemodel_get_ioreq_server_info(xendevicemodel_handle *dmod, domid_t domid, ioservid_t id,
					 xen_pfn_t *ioreq_gfn, xen_pfn_t *bufioreq_gfn, evtchn_port_t *bufioreq_port)
{
	evtchn_port_t port = 0;
	int err = op_begin(dmod, domid);

	if (!err)
		err = gm_server_buf_port(dmod->ctx.m, domid, id, &port);
	/* Arm has no frames for ioreq pages in the guest: they are mapped as a resource. */
	if (!err && (ioreq_gfn || bufioreq_gfn))
		err = -EOPNOTSUPP;
	if (!err && bufioreq_port)
		*bufioreq_port = port;
	return gm_ret(err);
}

int xendevicemodel_map_io_range_to_ioreq_server(xendevicemodel_handle *dmod, domid_t domid, ioservid_t id, int is_mmio,
						uint64_t start, uint64_t end)
{
	int err = op_begin(dmod, domid);

	return gm_ret(err ? err : gm_server_map(dmod->ctx.m, domid, id, is_mmio ? GM_IO_MMIO : GM_IO_PORT, start, end));
}

int xendevicemodel_unmap_io_range_from_ioreq_server(xendevicemodel_handle *dmod, domid_t domid, ioservid_t id,
						    int is_mmio, uint64_t start, uint64_t end)
{
	int err = op_begin(dmod, domid);

	return gm_ret(err ? err
			  : gm_server_unmap(dmod->ctx.m, domid, id, is_mmio ? GM_IO_MMIO : GM_IO_PORT, start, end));
}

int xendevicemodel_destroy_ioreq_server(xendevicemodel_handle *dmod, domid_t domid, ioservid_t id)
{
	int err = op_begin(dmod, domid);

	return gm_ret(err ? err : gm_server_destroy(dmod->ctx.m, domid, id));
}

int xendevicemodel_set_ioreq_server_state(xendevicemodel_handle *dmod, domid_t domid, ioservid_t id, int enabled)
{
	int err = op_begin(dmod, domid);

	return gm_ret(err ? err : gm_server_enable(dmod->ctx.m, domid, id, enabled));
}

/* ---- interrupts and vCPUs ----------------------------------------------------------------------------------- */

int xendevicemodel_set_irq_level(xendevicemodel_handle *dmod, domid_t domid, unsigned int irq, unsigned int level)
{
	int err = op_begin(dmod, domid);

	return gm_ret(err ? err : gm_irq_set(dmod->ctx.m, domid, irq, level));
}

int xendevicemodel_nr_vcpus(xendevicemodel_handle *dmod, domid_t domid, unsigned int *vcpus)
{
	int err = op_begin(dmod, domid);

	if (!err)
		*vcpus = gm_dom(dmod->ctx.m, domid)->vcpus;
	return gm_ret(err);
}

/* ---- what Arm, or the model, does not have ------------------------------------------------------------------ */

/* The privilege is checked first, as Xen does, so that a caller without it gets EPERM whatever it asks for. */
static int op_unsupported(xendevicemodel_handle *dmod, domid_t domid)
{
	int err = op_begin(dmod, domid);

	return gm_ret(err ? err : -EOPNOTSUPP);
}

int xendevicemodel_map_mem_type_to_ioreq_server(xendevicemodel_handle *dmod, domid_t domid, ioservid_t id,
						uint16_t type, uint32_t flags)
{
	(void)id, (void)type, (void)flags;
	return op_unsupported(dmod, domid);
}

int xendevicemodel_map_pcidev_to_ioreq_server(xendevicemodel_handle *dmod, domid_t domid, ioservid_t id,
					      uint16_t segment, uint8_t bus, uint8_t device, uint8_t function)
{
	(void)id, (void)segment, (void)bus, (void)device, (void)function;
	return op_unsupported(dmod, domid);
}

int xendevicemodel_unmap_pcidev_from_ioreq_server(xendevicemodel_handle *dmod, domid_t domid, ioservid_t id,
						  uint16_t segment, uint8_t bus, uint8_t device, uint8_t function)
{
	(void)id, (void)segment, (void)bus, (void)device, (void)function;
	return op_unsupported(dmod, domid);
}

int xendevicemodel_set_pci_intx_level(xendevicemodel_handle *dmod, domid_t domid, uint16_t segment, uint8_t bus,
				      uint8_t device, uint8_t intx, unsigned int level)
{
	(void)segment, (void)bus, (void)device, (void)intx, (void)level;
	return op_unsupported(dmod, domid);
}

int xendevicemodel_set_isa_irq_level(xendevicemodel_handle *dmod, domid_t domid, uint8_t irq, unsigned int level)
{
	(void)irq, (void)level;
	return op_unsupported(dmod, domid);
}

int xendevicemodel_set_pci_link_route(xendevicemodel_handle *dmod, domid_t domid, uint8_t link, uint8_t irq)
{
	(void)link, (void)irq;
	return op_unsupported(dmod, domid);
}

int xendevicemodel_inject_msi(xendevicemodel_handle *dmod, domid_t domid, uint64_t msi_addr, uint32_t msi_data)
{
	(void)msi_addr, (void)msi_data;
	return op_unsupported(dmod, domid);
}

int xendevicemodel_track_dirty_vram(xendevicemodel_handle *dmod, domid_t domid, uint64_t first_pfn, uint32_t nr,
				    unsigned long *dirty_bitmap)
{
	(void)first_pfn, (void)nr, (void)dirty_bitmap;
	return op_unsupported(dmod, domid);
}

int xendevicemodel_modified_memory(xendevicemodel_handle *dmod, domid_t domid, uint64_t first_pfn, uint32_t nr)
{
	(void)first_pfn, (void)nr;
	return op_unsupported(dmod, domid);
}

int xendevicemodel_modified_memory_bulk(xendevicemodel_handle *dmod, domid_t domid,
					struct xen_dm_op_modified_memory_extent extents[], uint32_t nr)
{
	(void)extents, (void)nr;
	return op_unsupported(dmod, domid);
}

int xendevicemodel_set_mem_type(xendevicemodel_handle *dmod, domid_t domid, hvmmem_type_t mem_type, uint64_t first_pfn,
				uint32_t nr)
{
	(void)mem_type, (void)first_pfn, (void)nr;
	return op_unsupported(dmod, domid);
}

int xendevicemodel_inject_event(xendevicemodel_handle *dmod, domid_t domid, int vcpu, uint8_t vector, uint8_t type,
				uint32_t error_code, uint8_t insn_len, uint64_t extra)
{
	(void)vcpu, (void)vector, (void)type, (void)error_code, (void)insn_len, (void)extra;
	return op_unsupported(dmod, domid);
}

int xendevicemodel_shutdown(xendevicemodel_handle *dmod, domid_t domid, unsigned int reason)
{
	(void)reason;
	return op_unsupported(dmod, domid);
}

int xendevicemodel_relocate_memory(xendevicemodel_handle *dmod, domid_t domid, uint32_t size, uint64_t src_gfn,
				   uint64_t dst_gfn)
{
	(void)size, (void)src_gfn, (void)dst_gfn;
	return op_unsupported(dmod, domid);
}

int xendevicemodel_pin_memory_cacheattr(xendevicemodel_handle *dmod, domid_t domid, uint64_t start, uint64_t end,
					uint32_t type)
{
	(void)start, (void)end, (void)type;
	return op_unsupported(dmod, domid);
}
