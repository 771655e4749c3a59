/* SPDX-License-Identifier: MIT */
/* A domain's files in this process (struct gm_attach), and the removal of the files with the last use of them. */
#ifndef GM_ATTACH_H
#define GM_ATTACH_H

#include "model/state.h"

/* The domain's files, or NULL: no such domain (errno is not set). Each get has its put. */
struct gm_attach *gm_attach_get(struct gm_machine *machine, uint16_t domid);
void gm_attach_put(struct gm_machine *machine, struct gm_attach *attach);
/* Drop what is attached of domains that have gone. */
void gm_attach_sweep(struct gm_machine *machine);
/* Drop all of it, when nobody uses the machine any more. */
void gm_attach_end(struct gm_machine *machine);

/*
 * Remove a dying domain's files, and make its id free, once no page of it is in use. With big held, its grant_lock not.
 */
void gm_domain_reap(struct gm_machine *machine, uint16_t domid);
/* The same for a caller that holds no lock and may just have ended the last use. Leaves a domain that lives alone. */
void gm_domain_let_go(struct gm_machine *machine, uint16_t domid);

#endif
