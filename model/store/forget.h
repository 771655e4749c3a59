/* SPDX-License-Identifier: MIT */
/* The end of a domain in the tree. */
#ifndef GM_STORE_FORGET_H
#define GM_STORE_FORGET_H

#include "model/store/state.h"

/* Remove the domain's nodes, with watch events, and its rights to others' nodes. 0 or -ENOMEM. */
int gm_store_forget(struct gm_store *store, uint16_t domid);

#endif
