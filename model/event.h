/* SPDX-License-Identifier: MIT */
/*
 * Event channels, as Xen's evtchn hypercalls and Linux's /dev/xen/evtchn keep them together.
 *
 * A port is pending when it was raised, and masked from its delivery until it is unmasked; a raise in between is
 * kept and delivered by the unmask. Delivery writes the port's number (4 bytes) into the pipe of the handle that
 * bound it, outside any lock; a delivery that nobody asked for is always allowed, a lost one never.
 */
#ifndef GM_EVENT_H
#define GM_EVENT_H

#include "model/state.h"

/* Make a port for `remote`, or bind one that `remote` has left. Each returns a port or -errno. `owner`: a handle's
 * token or GM_OWNER_*. */
int gm_event_alloc_unbound(struct gm_machine *machine, uint16_t domid, uint16_t remote, uint32_t owner);
int gm_event_bind_interdomain(struct gm_machine *machine, uint16_t remote, uint32_t remote_port, uint32_t owner);
/* As gm_event_alloc_unbound, with big held. */
int gm_event_alloc_unbound_locked(struct gm_machine *machine, uint16_t domid, uint16_t remote, uint32_t owner);
/* Close a port, with big held; its peer becomes unbound. */
void gm_event_close_locked(struct gm_machine *machine, uint16_t domid, uint32_t port);
void gm_event_close_all(struct gm_machine *machine, uint16_t domid); /* with big held */

/* Raise the peer of `port`; 0 also when there is no peer yet. */
int gm_event_send(struct gm_machine *machine, uint16_t domid, uint32_t port);
/* Let the port be delivered again, and deliver what came meanwhile. */
void gm_event_unmask(struct gm_machine *machine, uint16_t domid, uint32_t port);

/* After a death: mend half-made bindings (big held), deliver again what may not have been written. */
void gm_event_repair(struct gm_machine *machine);
void gm_event_redeliver(struct gm_machine *machine);

/* Handles: opening makes the pipe and returns its read end; `token` names it. */
int gm_handle_open(struct gm_machine *machine, bool cloexec, uint32_t *token, int *fd);
/* Close it with all its ports. */
void gm_handle_close(struct gm_machine *machine, uint32_t token);
/* The live handle of this process whose pipe is `fd` (xenevtchn_fdopen); 0: none. */
uint32_t gm_handle_find(struct gm_machine *machine, int fd);
/* Close one port of a handle. -ENOTCONN: not its. */
int gm_handle_unbind(struct gm_machine *machine, uint32_t token, uint32_t port);
/* Is the port bound by this handle? */
bool gm_handle_owns(struct gm_machine *machine, uint32_t token, uint32_t port);

/* Close write ends of pipes that are no more. */
void gm_pipe_sweep(struct gm_machine *machine);

#endif
