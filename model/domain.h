/* SPDX-License-Identifier: MIT */
/* Domains, as the rest of the model uses them; machine.h has what the model's users may ask. */
#ifndef GM_DOMAIN_H
#define GM_DOMAIN_H

#include "model/state.h"

/* Make the domain under this id, which is free; with big held (or before the machine has users). 0 or -errno. */
int gm_domain_make(struct gm_machine *machine, uint16_t domid, const struct gm_domain_config *config);

/* Stop the domain because its device model broke the ioreq protocol; wakes all that wait in it. */
void gm_domain_crash(struct gm_machine *machine, uint16_t domid);

/*
 * Become the domain's one guest process, unless we are; the place of a dead one can be taken, and what it left in the
 * grant table is cleared. 0, -EBUSY, -ESRCH.
 */
int gm_guest_claim(struct gm_machine *machine);
/* With big held: the process that is our domain's guest and lives; 0: none. */
int32_t gm_guest_holder(struct gm_machine *machine);

/* True when the fault that was set for our domain and this kind strikes now. */
bool gm_fault(struct gm_machine *machine, enum gm_fault kind);

#endif
