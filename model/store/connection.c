/* SPDX-License-Identifier: MIT */
#include "model/store/connection.h"

#include "model/store/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Only marked: the caller may be in the middle of this connection's list, or of the domain's. See state.h, lifetime. */
void gm_connection_break(struct gm_connection *connection)
{
	connection->broken = true;
	connection->domain->store->sweep = true;
}

/*
 * Wait for what the connection can do now. With too much unread output it reads no further request, so that a client
 * which does not read its answers stops itself and nobody else.
 */
static void interest_update(struct gm_connection *connection)
{
	struct epoll_event event = {.data.ptr = &connection->source};

	if (connection->unread < GM_STORE_UNREAD_PAUSE)
		event.events |= EPOLLIN;
	if (connection->first)
		event.events |= EPOLLOUT;
	if (connection->broken || event.events == connection->interest)
		return;
	if (epoll_ctl(connection->domain->store->epoll, EPOLL_CTL_MOD, connection->fd, &event))
		gm_connection_break(connection);
	connection->interest = event.events;
}

/* ---- out ---- */

/* Domain 0 watches everything, and gets more events at once than any guest. */
static size_t unread_max(const struct gm_connection *connection)
{
	return connection->domain->domid ? GM_STORE_UNREAD_MAX : GM_STORE_UNREAD_MAX_0;
}

static void message_add(struct gm_connection *connection, struct gm_message *message)
{
	message->next = NULL;
	*connection->last = message;
	connection->last = &message->next;
	connection->unread += message->length;
}

/* A message with room for `length` bytes of payload; NULL, and the connection is broken: too much is unread already. */
static struct gm_message *message_new(struct gm_connection *connection, const struct xsd_sockmsg *header)
{
	struct gm_message *message = NULL;

	if (!connection->broken && connection->unread + header->len <= unread_max(connection))
		message = malloc(sizeof(*message) + sizeof(*header) + header->len);
	if (!message) {
		gm_connection_break(connection);
		return NULL;
	}
	message->sent = 0;
	message->length = sizeof(*header) + header->len;
	memcpy(message->data, header, sizeof(*header));
	return message;
}

/* The reply has the header of its request, by whose ids the client finds out which request it answers. */
void gm_connection_reply(struct gm_connection *connection, const void *data, size_t length)
{
	struct xsd_sockmsg header = connection->header;
	struct gm_message *message;

	if (length > XENSTORE_PAYLOAD_MAX) {
		gm_connection_error(connection, -E2BIG);
		return;
	}
	header.len = (uint32_t)length;
	message = message_new(connection, &header);
	if (!message)
		return;
	if (length)
		memcpy(message->data + sizeof(header), data, length);
	message_add(connection, message);
}

void gm_connection_error(struct gm_connection *connection, int error)
{
	const char *name = "EINVAL"; /* as xenstored for what has no name */

	for (size_t i = 0; i < sizeof(xsd_errors) / sizeof(*xsd_errors); i++) {
		if (xsd_errors[i].errnum == -error)
			name = xsd_errors[i].errstring;
	}
	connection->header.type = XS_ERROR;
	gm_connection_reply(connection, name, strlen(name) + 1);
}

/* Is the same event in the queue, with no byte of it sent? Then the client will look at the path once it reads that. */
static bool event_queued(const struct gm_connection *connection, const struct gm_message *event)
{
	for (const struct gm_message *message = connection->first; message; message = message->next) {
		if (message->sent == 0 && message->length == event->length &&
		    memcmp(message->data, event->data, event->length) == 0)
			return true;
	}
	return false;
}

/* Events come outside of any turn of this connection: its interest in output is updated at once. */
void gm_connection_event(struct gm_connection *connection, const char *path, const char *token)
{
	size_t bytes = strlen(path) + 1, token_bytes = strlen(token) + 1;
	struct xsd_sockmsg header = {.type = XS_WATCH_EVENT, .len = (uint32_t)(bytes + token_bytes)};
	struct gm_message *message;

	if (bytes + token_bytes > XENSTORE_PAYLOAD_MAX)
		return; /* could never be read: XENSTORE_PAYLOAD_MAX binds both directions */
	message = message_new(connection, &header);
	if (!message)
		return;
	memcpy(message->data + sizeof(header), path, bytes);
	memcpy(message->data + sizeof(header) + bytes, token, token_bytes);
	if (event_queued(connection, message)) {
		free(message);
		return;
	}
	message_add(connection, message);
	interest_update(connection);
}

/* As much as the socket takes; the rest waits until it is writable. */
static void flush(struct gm_connection *connection)
{
	while (connection->first && !connection->broken) {
		struct gm_message *message = connection->first;
		ssize_t n = send(connection->fd, message->data + message->sent, message->length - message->sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				gm_connection_break(connection);
			return;
		}
		message->sent += (size_t)n;
		connection->unread -= (size_t)n;
		if (message->sent < message->length)
			return;
		connection->first = message->next;
		if (!connection->first)
			connection->last = &connection->first;
		free(message);
	}
}

/* ---- in ---- */

/* Read on with the message that has begun. True when it is whole. */
static bool message_read(struct gm_connection *connection)
{
	const size_t head = sizeof(connection->header);

	for (;;) {
		bool body = connection->have >= head;
		size_t whole = body ? head + connection->header.len : head;
		char *to = body ? connection->payload + (connection->have - head)
				: (char *)&connection->header + connection->have;
		ssize_t n;

		if (body && connection->have == whole)
			return true;
		n = recv(connection->fd, to, whole - connection->have, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return false;
		if (n > 0)
			connection->have += (size_t)n;
		/* A length that no message can have: nothing behind it can be trusted to be a header. */
		if (n <= 0 || (connection->have == head && connection->header.len > XENSTORE_PAYLOAD_MAX)) {
			gm_connection_break(connection);
			return false;
		}
	}
}

static void connection_ready(struct gm_source *source, uint32_t events)
{
	struct gm_connection *connection = (struct gm_connection *)source;

	(void)events; /* whatever it is, reading tells: an error or the end breaks the connection */
	flush(connection);
	for (int i = 0; i < GM_STORE_REQUESTS_A_TURN; i++) {
		if (connection->broken || connection->unread >= GM_STORE_UNREAD_PAUSE || !message_read(connection))
			break;
		connection->have = 0;
		connection->payload[connection->header.len] = '\0';
		connection->domain->store->client->message(connection);
	}
	flush(connection);
	interest_update(connection);
}

/* The number of connections is bounded before anything is allocated for one more. */
int gm_connection_open(struct gm_store_domain *domain, int fd)
{
	struct gm_connection *connection;
	struct epoll_event event = {.events = EPOLLIN};
	int err;

	if (domain->connections >= (domain->domid ? GM_STORE_CONNECTIONS : GM_STORE_CONNECTIONS_0))
		return -EMFILE;
	connection = calloc(1, sizeof(*connection));
	if (!connection)
		return -ENOMEM;
	connection->source.ready = connection_ready;
	connection->domain = domain;
	connection->fd = fd;
	connection->last = &connection->first;
	connection->interest = event.events;
	event.data.ptr = &connection->source;
	if (epoll_ctl(domain->store->epoll, EPOLL_CTL_ADD, fd, &event)) {
		err = -errno;
		free(connection);
		return err;
	}
	connection->next = domain->connection;
	domain->connection = connection;
	domain->connections++;
	return 0;
}

void gm_connection_close(struct gm_connection *connection)
{
	connection->domain->store->client->closed(connection);
	while (connection->first) {
		struct gm_message *message = connection->first;

		connection->first = message->next;
		free(message);
	}
	connection->domain->connections--;
	/* close() alone would leave it in the set for as long as a process that was forked meanwhile holds a copy. */
	epoll_ctl(connection->domain->store->epoll, EPOLL_CTL_DEL, connection->fd, NULL);
	close(connection->fd);
	free(connection);
}
