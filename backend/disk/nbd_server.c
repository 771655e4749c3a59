/* SPDX-License-Identifier: MIT */
#include "backend/base/clock.h"
#include "backend/disk/nbd.h"

#include <errno.h>
#include <libnbd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void addresses_take(struct gd_nbd_server *server, const struct addrinfo *info)
{
	for (; info && server->count < GD_NBD_ADDRESSES; info = info->ai_next) {
		if (info->ai_addrlen > sizeof(server->addresses[0]))
			continue;
		memcpy(&server->addresses[server->count], info->ai_addr, info->ai_addrlen);
		server->lengths[server->count++] = info->ai_addrlen;
	}
}

/* A look-up in a thread of its own, as getaddrinfo() has no time limit. Both threads hold it; the last one frees it. */
struct gd_nbd_lookup {
	pthread_mutex_t lock;
	pthread_cond_t done;
	bool finished, abandoned; /* under `lock` */
	int result;
	struct addrinfo *info;
	char port[8], host[];
};

static struct gd_nbd_lookup *lookup_make(const struct gd_nbd_server *server)
{
	struct gd_nbd_lookup *lookup = calloc(1, sizeof(*lookup) + strlen(server->host) + 1);

	if (!lookup)
		return NULL;
	strcpy(lookup->host, server->host);
	snprintf(lookup->port, sizeof(lookup->port), "%s", server->port);
	pthread_mutex_init(&lookup->lock, NULL); /* neither fails with default attributes */
	pthread_cond_init(&lookup->done, NULL);
	return lookup;
}

static void lookup_free(struct gd_nbd_lookup *lookup)
{
	if (lookup->info)
		freeaddrinfo(lookup->info);
	pthread_cond_destroy(&lookup->done);
	pthread_mutex_destroy(&lookup->lock);
	free(lookup);
}

static void *lookup_run(void *opaque)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct gd_nbd_lookup *lookup = opaque;
	bool abandoned;

	lookup->result = getaddrinfo(lookup->host, lookup->port, &hints, &lookup->info);
	pthread_mutex_lock(&lookup->lock);
	lookup->finished = true;
	abandoned = lookup->abandoned;
	pthread_cond_signal(&lookup->done);
	pthread_mutex_unlock(&lookup->lock);
	if (abandoned)
		lookup_free(lookup);
	return NULL;
}

static int thread_start(void *(*run)(void *), void *opaque)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int result = pthread_attr_init(&attributes);

	if (result)
		return result;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED); /* cannot fail: the state is a valid one */
	result = pthread_create(&thread, &attributes, run, opaque);
	pthread_attr_destroy(&attributes);
	return result;
}

static bool lookup_await(struct gd_nbd_lookup *lookup, unsigned milliseconds)
{
	struct timespec until = gd_clock_after(milliseconds);
	int result = 0;
	bool finished;

	pthread_mutex_lock(&lookup->lock);
	while (!lookup->finished && !result)
		result = pthread_cond_clockwait(&lookup->done, &lookup->lock, CLOCK_MONOTONIC, &until);
	finished = lookup->finished;
	lookup->abandoned = !finished;
	pthread_mutex_unlock(&lookup->lock);
	return finished;
}

/* getaddrinfo() with a limit to its time. */
static int host_lookup(struct gd_nbd_server *server, unsigned milliseconds)
{
	struct gd_nbd_lookup *lookup = lookup_make(server);
	int result;

	if (!lookup)
		return EAI_MEMORY;
	if (thread_start(lookup_run, lookup)) {
		lookup_free(lookup);
		return EAI_MEMORY;
	}
	if (!lookup_await(lookup, milliseconds))
		return EAI_AGAIN; /* the look-up's thread frees it */
	result = lookup->result;
	if (!result)
		addresses_take(server, lookup->info);
	lookup_free(lookup);
	return result;
}

int gd_nbd_server_resolve(struct gd_nbd_server *server, unsigned milliseconds, char *why, size_t size)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *info;
	int result;

	if (server->socket)
		return 0;
	result = getaddrinfo(server->host, server->port, &hints, &info);
	if (!result) {
		addresses_take(server, info);
		freeaddrinfo(info);
	} else {
		server->named = true;
		result = host_lookup(server, milliseconds);
	}
	if (server->count)
		return 0;
	snprintf(why, size, "host \"%s\": %s", server->host, result ? gai_strerror(result) : "no address");
	return result == EAI_MEMORY ? -ENOMEM : -EHOSTUNREACH;
}

/* Use the addresses that the look-up has found. False: it is not over yet. */
static bool lookup_take(struct gd_nbd_server *server)
{
	struct gd_nbd_lookup *lookup = server->lookup;
	bool finished;

	pthread_mutex_lock(&lookup->lock);
	finished = lookup->finished;
	pthread_mutex_unlock(&lookup->lock);
	if (!finished)
		return false;
	if (!lookup->result && lookup->info) { /* otherwise the addresses from before are better than none */
		server->count = 0;
		addresses_take(server, lookup->info);
	}
	lookup_free(lookup);
	server->lookup = NULL;
	return true;
}

void gd_nbd_server_again(struct gd_nbd_server *server)
{
	if (!server->named)
		return;
	pthread_mutex_lock(&server->lock);
	if (!server->lookup || lookup_take(server)) {
		server->lookup = lookup_make(server); /* NULL: the next attempt tries again */
		if (server->lookup && thread_start(lookup_run, server->lookup)) {
			lookup_free(server->lookup);
			server->lookup = NULL;
		}
	}
	pthread_mutex_unlock(&server->lock);
}

void gd_nbd_server_close(struct gd_nbd_server *server)
{
	if (server->lookup && lookup_await(server->lookup, 0))
		lookup_free(server->lookup); /* otherwise its thread does */
	free(server->export);
	free(server->socket);
	free(server->host);
	free(server->port);
}

/* Have TCP notice a silent host within half a minute, busy or idle. If that cannot be set, TCP takes its usual time. */
static void connection_guard(struct nbd_handle *handle)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{SOL_SOCKET, SO_KEEPALIVE, 1}, {IPPROTO_TCP, TCP_KEEPIDLE, 10},	       {IPPROTO_TCP, TCP_KEEPINTVL, 5},
		{IPPROTO_TCP, TCP_KEEPCNT, 4}, {IPPROTO_TCP, TCP_USER_TIMEOUT, 30000},
	};
	int fd = nbd_aio_get_fd(handle);
	size_t i;

	for (i = 0; fd >= 0 && i < sizeof(options) / sizeof(options[0]); i++)
		setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(options[i].value));
}

/* Choose the address for an attempt, if there is any. Returns how many there are. */
static unsigned address_choose(struct gd_nbd_server *server, unsigned attempt, struct sockaddr_storage *address,
			       socklen_t *length)
{
	unsigned count;

	pthread_mutex_lock(&server->lock);
	count = server->count;
	if (count) {
		*address = server->addresses[attempt % count];
		*length = server->lengths[attempt % count];
	}
	pthread_mutex_unlock(&server->lock);
	return count;
}

struct nbd_handle *gd_nbd_start(struct gd_nbd_server *server, unsigned attempt)
{
	struct nbd_handle *handle = nbd_create();
	struct sockaddr_storage address = {0};
	socklen_t length = 0;
	int result;

	if (!handle)
		return NULL;
	/*
	 * After the handshake the socket is taken from libnbd (nbd_link.c), which is possible without TLS, and simple
	 * replies are all that is spoken (nbd_frame.c). With them, a read that the server calls successful has all of
	 * its data.
	 */
	if (nbd_set_export_name(handle, server->export) || nbd_set_tls(handle, LIBNBD_TLS_DISABLE) ||
	    nbd_set_request_structured_replies(handle, false))
		goto close_handle;
	if (server->socket) {
		result = nbd_aio_connect_unix(handle, server->socket);
	} else {
		address_choose(server, attempt, &address, &length);
		result = nbd_aio_connect(handle, (const struct sockaddr *)&address, length);
	}
	if (result)
		goto close_handle;
	if (!server->socket)
		connection_guard(handle);
	return handle;

close_handle:
	nbd_close(handle);
	return NULL;
}

void gd_nbd_why(struct nbd_handle *handle, char *why, size_t size)
{
	bool closed =
		handle && nbd_aio_is_closed(handle); /* by an orderly end, which libnbd does not count as an error */
	const char *text = closed ? NULL : nbd_get_error(), *colon = text ? strstr(text, ": ") : NULL;

	if (colon && !strncmp(text, "nbd_", 4)) /* drop the function's name */
		text = colon + 2;
	snprintf(why, size, "%s", text ? text : "the server closed the connection");
}

/*
 * Wait for what the handle waits for, and tell it. nbd_poll() will not do: it takes the hang-up of a refused connection
 * for something to read, and its error message then is about that.
 */
static int handle_poll(struct nbd_handle *handle, int milliseconds)
{
	unsigned direction = nbd_aio_get_direction(handle);
	struct pollfd socket = {.fd = nbd_aio_get_fd(handle)};

	if (direction & LIBNBD_AIO_DIRECTION_READ)
		socket.events |= POLLIN;
	if (direction & LIBNBD_AIO_DIRECTION_WRITE)
		socket.events |= POLLOUT;
	if (poll(&socket, 1, milliseconds) <= 0) /* time is up, or a signal came: the caller looks at the clock */
		return 0;
	if (direction & LIBNBD_AIO_DIRECTION_READ && socket.revents & ~POLLOUT)
		return nbd_aio_notify_read(handle);
	return direction & LIBNBD_AIO_DIRECTION_WRITE ? nbd_aio_notify_write(handle) : 0;
}

static bool handle_ended(struct nbd_handle *handle)
{
	return nbd_aio_is_dead(handle) || nbd_aio_is_closed(handle);
}

/* Drive a handle until it is ready; 0, or -errno with `why`. */
static int handle_await(struct nbd_handle *handle, uint64_t until, char *why, size_t size)
{
	int error;

	while (!nbd_aio_is_ready(handle)) {
		uint64_t now = gd_clock_ms();

		if (now >= until) {
			snprintf(why, size, "no answer in time");
			return -ETIMEDOUT;
		}
		if (!handle_ended(handle) && !handle_poll(handle, (int)(until - now)))
			continue;
		gd_nbd_why(handle, why, size);
		error = nbd_get_errno();
		return error > 0 ? -error : -EIO;
	}
	return 0;
}

int gd_nbd_connect(struct gd_nbd_link *link, struct gd_nbd_server *server, unsigned milliseconds, char *why,
		   size_t size)
{
	uint64_t until = gd_clock_ms() + milliseconds;
	struct sockaddr_storage address;
	struct nbd_handle *handle;
	socklen_t length;
	unsigned attempt = 0, count = address_choose(server, 0, &address, &length);
	int result;

	do {
		uint64_t now = gd_clock_ms(), left = until > now ? until - now : 0;
		unsigned addresses = count > attempt ? count - attempt : 1;

		handle = gd_nbd_start(server, attempt);
		if (!handle) {
			result = nbd_get_errno() > 0 ? -nbd_get_errno() : -EIO;
			gd_nbd_why(NULL, why, size);
			continue;
		}
		result = handle_await(handle, now + left / addresses, why, size);
		if (!result)
			return gd_nbd_link_take(link, handle, why, size);
		nbd_close(handle);
	} while (++attempt < count);
	link->fd = -1;
	return result;
}
