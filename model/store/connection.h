/* SPDX-License-Identifier: MIT */
/*
 * One client's socket: messages in, one at a time; replies and watch events out, queued and bounded (limits.h).
 * While more than GM_STORE_UNREAD_PAUSE bytes wait for the client none of its further requests is taken; with more than
 * GM_STORE_UNREAD_MAX it is ended. A watch event that is queued already is not queued again.
 */
#ifndef GM_STORE_CONNECTION_H
#define GM_STORE_CONNECTION_H

#include "model/store/state.h"

#include <errno.h> /* before xs_wire.h, which makes xsd_errors only then */
#include <stdint.h>
#include <xen/io/xs_wire.h>

struct gm_message {
	struct gm_message *next;
	size_t length, sent;
	char data[]; /* header and payload */
};

struct gm_connection {
	struct gm_source source; /* first */
	struct gm_store_domain *domain;
	struct gm_connection *next;
	int fd;
	uint32_t interest;
	bool broken;

	size_t have; /* bytes of header and payload that came in */
	struct xsd_sockmsg header;
	char payload[XENSTORE_PAYLOAD_MAX + 1]; /* a NUL behind it, always */

	struct gm_message *first, **last;
	size_t unread;

	struct gm_watch *watch;
	struct gm_transaction *transaction;
	uint32_t transaction_last; /* the last id given */
};

/* What a connection is for: it carries messages, and does not know what they mean. */
struct gm_client_ops {
	void (*message)(struct gm_connection *connection); /* answer connection->header and ->payload */
	void (*closed)(struct gm_connection *connection);  /* free what hangs on it: ->watch and ->transaction */
};

/* Takes the descriptor over on success. 0, -ENOMEM, -EMFILE: too many of this domain, or an error of epoll_ctl. */
int gm_connection_open(struct gm_store_domain *domain, int fd);
/* Free it; it must be out of its domain's list. */
void gm_connection_close(struct gm_connection *connection);
/* Have it closed when the events of this turn are done. */
void gm_connection_break(struct gm_connection *connection);

/* Answer the request in connection->header. Too long an answer becomes the error E2BIG. */
void gm_connection_reply(struct gm_connection *connection, const void *data, size_t length);
void gm_connection_error(struct gm_connection *connection, int error); /* -errno */
void gm_connection_event(struct gm_connection *connection, const char *path, const char *token);

#endif
