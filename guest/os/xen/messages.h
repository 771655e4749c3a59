/* SPDX-License-Identifier: MIT */
/*
 * A disk's way from its directories in xenstore to messages (docs/xenbus.md, version 2): what the backend offers, what
 * the guest answers, and what it lends. frontend.c has the states, and calls these.
 *
 * What the backend sees: two pages of messages, the pool, and the rings while a driver is open. Errors: as frontend.h.
 */
#ifndef GRANTIO_OS_XEN_MESSAGES_H
#define GRANTIO_OS_XEN_MESSAGES_H

#include <grantio/pool.h>
#include <grantio/types.h>
#include <grantio/virtio_msg.h>

#define MESSAGES_POOL_PAGES 64u /* of each of the pool's areas */

/* All zero: there are none. */
struct messages {
	struct gio_msg_connection *connection;
	struct gio_pool *pool;
	uint32_t pool_max; /* pages that the backend is willing to map */
};

/*
 * 0: the backend, of directory `backend`, offers messages that we speak. -GIO_EOPNOTSUPP: it does not. -GIO_EPROTO: not
 * as it should.
 */
int gio_xen_messages_offered(struct messages *messages, const char *backend);

/* Make what the answer names: pages, ports, pool, all for domain `domid`. On failure nothing is left. */
int gio_xen_messages_open(struct messages *messages, struct gio_grants *grants, gio_domid_t domid);
/* Write the answer into our directory, but the state. */
int gio_xen_messages_answer(const struct messages *messages, uint32_t transaction, const char *dir);
/* Take all back that was lent. What the backend still holds goes to quarantine. Nothing was made: nothing happens. */
void gio_xen_messages_close(struct messages *messages);

#endif
