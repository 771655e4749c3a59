/* SPDX-License-Identifier: MIT */
/*
 * Domains and their sockets. Which socket a client has connected to says which domain it is, as the ring says it to
 * xenstored; so a client cannot pretend to be another domain.
 */
#include "model/store/domain.h"

#include "model/store/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPTS_A_TURN 8

struct gm_store_domain *gm_store_domain_find(struct gm_store *store, uint16_t domid)
{
	struct gm_store_domain *domain = store->domain;

	while (domain && (domain->domid != domid || domain->gone))
		domain = domain->next;
	return domain;
}

/* False: too long (gm_store_open refuses such a directory, so that it cannot happen later). */
static bool socket_address(const struct gm_store *store, uint16_t domid, struct sockaddr_un *address)
{
	char number[8] = "";

	if (domid)
		snprintf(number, sizeof(number), ".%u", domid);
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	return (size_t)snprintf(address->sun_path, sizeof(address->sun_path), "%s/store%s", store->dir, number) <
	       sizeof(address->sun_path);
}

static int socket_listen(const struct gm_store *store, uint16_t domid)
{
	struct sockaddr_un address;
	int fd, err;

	if (!socket_address(store, domid, &address))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* fchmod before bind: the file has the mode from the moment on when it can be connected to. */
	if (fchmod(fd, 0600) || bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 64)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

int gm_store_reserve_open(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/*
 * No descriptor is free for this client, which would wait without end and wake us in each turn. It is accepted with the
 * descriptor that is kept for this case, and its connection is closed.
 */
static void client_refuse(struct gm_store_domain *domain)
{
	struct gm_store *store = domain->store;
	int fd;

	if (store->reserve >= 0)
		close(store->reserve);
	fd = accept4(domain->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	store->reserve = gm_store_reserve_open();
}

/* One client, or nothing. False: no more for now. */
static bool client_accept(struct gm_store_domain *domain)
{
	int fd = accept4(domain->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		client_refuse(domain);
	if (fd < 0)
		return false; /* with level-triggered events, the next turn goes on if there is more */
	if (gm_connection_open(domain, fd))
		close(fd); /* too many, or no memory: this client is refused, and sees the end of its connection */
	return true;
}

static void domain_ready(struct gm_source *source, uint32_t events)
{
	struct gm_store_domain *domain = (struct gm_store_domain *)source;

	(void)events;
	for (int i = 0; i < ACCEPTS_A_TURN && !domain->gone; i++) {
		if (!client_accept(domain))
			return;
	}
}

int gm_store_domain_socket_add(struct gm_store *store, uint16_t domid)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct gm_store_domain *domain;
	int err;

	if (gm_store_domain_find(store, domid))
		return -EEXIST;
	domain = calloc(1, sizeof(*domain));
	if (!domain)
		return -ENOMEM;
	domain->source.ready = domain_ready;
	domain->store = store;
	domain->domid = domid;
	domain->fd = err = socket_listen(store, domid);
	if (err < 0)
		goto err_free_domain;
	event.data.ptr = &domain->source;
	if (epoll_ctl(store->epoll, EPOLL_CTL_ADD, domain->fd, &event)) {
		err = -errno;
		goto err_close_socket;
	}
	domain->next = store->domain;
	store->domain = domain;
	return 0;

err_close_socket:
	close(domain->fd);
err_free_domain:
	free(domain);
	return err;
}

/* The file goes at once, so that nobody connects any more; connections end when the turn is over. */
int gm_store_domain_socket_remove(struct gm_store *store, uint16_t domid)
{
	struct gm_store_domain *domain = gm_store_domain_find(store, domid);
	struct sockaddr_un address;

	if (!domain)
		return -ENOENT;
	domain->gone = true;
	store->sweep = true;
	for (struct gm_connection *each = domain->connection; each; each = each->next)
		gm_connection_break(each);
	epoll_ctl(store->epoll, EPOLL_CTL_DEL, domain->fd, NULL);
	close(domain->fd);
	if (socket_address(store, domid, &address))
		unlink(address.sun_path);
	return 0;
}

int gm_store_connect(struct gm_store *store, uint16_t domid, int fd)
{
	struct gm_store_domain *domain = gm_store_domain_find(store, domid);

	return domain ? gm_connection_open(domain, fd) : -ENOENT;
}

/* ---- sweeping ---- */

/* Between two turns nobody holds a pointer to a connection or a domain, so that both can be freed. */
static void connections_sweep(struct gm_store_domain *domain)
{
	struct gm_connection **at = &domain->connection;

	while (*at) {
		struct gm_connection *connection = *at;

		if (connection->broken) {
			*at = connection->next;
			gm_connection_close(connection);
		} else {
			at = &connection->next;
		}
	}
}

void gm_store_sweep(struct gm_store *store)
{
	struct gm_store_domain **at = &store->domain;

	store->sweep = false;
	while (*at) {
		struct gm_store_domain *domain = *at;

		connections_sweep(domain);
		if (domain->gone) {
			*at = domain->next;
			free(domain);
		} else {
			at = &domain->next;
		}
	}
}
