/* SPDX-License-Identifier: MIT */
/*
 * A disk's way from its directory in xenstore to messages (docs/xenbus.md, version 2): what the backend offers, what
 * the guest answers, and what it lends. frontend.c has the states, and calls these.
 *
 * What the backend sees: two pages of messages, the pool, and the rings while a driver is open. Errors: as frontend.h.
 */
#ifndef GRANTIO_OS_XEN_MESSAGES_H
#define GRANTIO_OS_XEN_MESSAGES_H

#include "frontend.h"

#define MESSAGES_POOL_PAGES 64u /* of each of the pool's areas */

/* 0: the backend offers messages that we speak. -GIO_EOPNOTSUPP: it does not. -GIO_EPROTO: not as it should. */
int gio_xen_messages_offered(struct frontend *front);

/* Make what the answer names: pages, ports, pool. On failure nothing is left. */
int gio_xen_messages_open(struct frontend *front, struct gio_grants *grants);
/* Write the answer, but the state. */
int gio_xen_messages_answer(const struct frontend *front, uint32_t transaction);
/* Take all back that was lent. What the backend still holds goes to quarantine. Nothing was made: nothing happens. */
void gio_xen_messages_close(struct frontend *front);

#endif
