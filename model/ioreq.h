/* SPDX-License-Identifier: MIT */
/*
 * Ioreq servers, as Xen's common/ioreq.c keeps them, and interrupt lines. Device model operations: 0 or -errno, as
 * the hypercalls do. Servers belong to the domain that they serve and outlive the process that made them.
 */
#ifndef GM_IOREQ_H
#define GM_IOREQ_H

#include "model/state.h"

#include <xen/hvm/ioreq.h>

/* May the caller act as device model of `domid`? 0, -ESRCH, -EPERM. */
int gm_dm_allowed(struct gm_machine *machine, uint16_t domid);

/* XEN_DMOP_create_ioreq_server and so on, for the calling domain as emulator; only it may use its servers. */
int gm_server_create(struct gm_machine *machine, uint16_t domid, int buffered, uint16_t *id);
int gm_server_destroy(struct gm_machine *machine, uint16_t domid, uint16_t id);
/* A server that is not enabled gets no access. Enabling publishes the ports in its page, if that was made before. */
int gm_server_enable(struct gm_machine *machine, uint16_t domid, uint16_t id, bool enable);
/* The port of the buffered page; unchanged without one. */
int gm_server_buf_port(struct gm_machine *machine, uint16_t domid, uint16_t id, uint32_t *port);
/* Give the server a range, which it must not have, or take one away, which it must have. `end` is inclusive. */
int gm_server_map(struct gm_machine *machine, uint16_t domid, uint16_t id, enum gm_io_type type, uint64_t start,
		  uint64_t end);
int gm_server_unmap(struct gm_machine *machine, uint16_t domid, uint16_t id, enum gm_io_type type, uint64_t start,
		    uint64_t end);
/* Check that `nr` of the server's pages from `frame` on can be had, and make them. */
int gm_server_pages(struct gm_machine *machine, uint16_t domid, uint16_t id, uint64_t frame, uint64_t nr);

/* All of a dying domain's servers; with big held. */
void gm_servers_destroy(struct gm_machine *machine, uint16_t domid);

/* The server that gets an access: its generation when it was chosen, and the port of the vCPU. */
struct gm_choice {
	unsigned id;
	uint32_t gen, port;
};
/* Choose it for an access of these bytes. False: no server has all of them. */
bool gm_server_select(struct gm_machine *machine, uint16_t domid, struct gm_range bytes, unsigned vcpu,
		      struct gm_choice *choice);

/* Page of a server in its domain's ioreq file: the buffered one (0) or the synchronous one (1). */
static inline uint8_t *gm_server_page(const struct gm_attach *attach, unsigned id, unsigned which)
{
	return attach->io + (size_t)(id * 2 + which) * GM_PAGE_SIZE;
}

/*
 * struct ioreq's `state` is four bits of a byte that it shares with flags; in atomic accesses the whole byte is meant.
 * (A bit-field has no offsetof: checked against the layout in xen/hvm/ioreq.h by the unit test.)
 */
#define GM_IOREQ_STATE_OFFSET 30u
#define GM_IOREQ_STATE_MASK   0x0fu

/* Raise (1) or lower (0) an interrupt line. */
int gm_irq_set(struct gm_machine *machine, uint16_t domid, uint32_t irq, uint32_t level);

#endif
