/* SPDX-License-Identifier: MIT */
/*
 * Pages that a program of a domain shares with other domains, as it does by Linux's gntalloc. They are of the domain's
 * RAM and its grant table; the process that shares is therefore the domain's one guest process (gm_guest_claim).
 */
#ifndef GM_SHARE_H
#define GM_SHARE_H

#include "model/state.h"

struct gm_share {
	uint8_t *addr; /* the pages, one behind the other */
	uint32_t count;
	struct gm_share *next; /* the handle's */
	struct gm_shared_page *page;
};

/*
 * Share `count` zeroed pages with `domid`; their references go to `refs`. 0; -EBUSY: another process is the domain's
 * guest; -ENOSPC: no references; -ENOMEM: no pages; -EINVAL.
 */
int gm_share(struct gm_machine *machine, uint16_t domid, uint32_t count, bool writable, uint32_t *refs,
	     struct gm_share **out);
/*
 * End it, its notification first, and free it. A page that is still mapped elsewhere stays as it is until it is not,
 * and is not used before.
 */
void gm_unshare(struct gm_machine *machine, struct gm_share *share);
/* When it ends, however it ends: clear byte `offset` of the first page (GM_PAGE_SIZE: none), raise `port` (UINT32_MAX).
 */
int gm_share_notify(struct gm_machine *machine, const struct gm_share *share, uint32_t offset, uint32_t port);

#endif
