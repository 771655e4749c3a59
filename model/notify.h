/* SPDX-License-Identifier: MIT */
/*
 * Notifications of unmapping (xengnttab_map_grant_ref_notify, xengntshr_share_page_notify): when a mapping or a shared
 * page goes, however it goes, a byte of it is cleared and an event channel is raised. struct gm_notify has the fields.
 */
#ifndef GM_NOTIFY_H
#define GM_NOTIFY_H

#include "model/state.h"

/* Set one for a track, or for a frame that is shared (GM_NOTIFY_SHARED). 0 or -ENOMEM. */
int gm_notify_add(struct gm_machine *machine, uint32_t track, uint32_t offset, uint32_t port);

/* Run the one of a track of process `slot`, whose page is `frame` of the attached domain; with its grant_lock held. */
void gm_notify_run_mapped(struct gm_machine *machine, uint32_t slot, uint32_t index, struct gm_attach *attach,
			  uint64_t frame);
/* Run those of the pages that process `slot` shares: of one frame, or of all (UINT64_MAX). */
void gm_notify_run_shared(struct gm_machine *machine, uint32_t slot, uint64_t frame);

#endif
