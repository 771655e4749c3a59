/* SPDX-License-Identifier: MIT */
/* The domains that the store knows, each with its socket and its connections. */
#ifndef GM_STORE_DOMAIN_H
#define GM_STORE_DOMAIN_H

#include "model/store/state.h"

/* NULL: the store does not know it, or has been told that it is gone. */
struct gm_store_domain *gm_store_domain_find(struct gm_store *store, uint16_t domid);

/*
 * Open DIR/store.<domid> (INTRODUCE), or close it with its connections (RELEASE). 0, or -errno: -EEXIST or -ENOENT.
 * They send no watch events: the requests do so.
 */
int gm_store_domain_socket_add(struct gm_store *store, uint16_t domid);
int gm_store_domain_socket_remove(struct gm_store *store, uint16_t domid);

/* Serve a connected stream socket as domain `domid`, which must have its socket. The descriptor is taken over on
 * success. */
int gm_store_connect(struct gm_store *store, uint16_t domid, int fd);

/* Free what is broken or gone (state.h: lifetime); at no event's handling. */
void gm_store_sweep(struct gm_store *store);

/* The descriptor by which clients are refused when no other is free; -1: it cannot be had now. */
int gm_store_reserve_open(void);

#endif
