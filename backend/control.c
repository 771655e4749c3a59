/* SPDX-License-Identifier: MIT */
#include "backend/base/log.h"
#include "backend/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS 8
#define REQUEST 128

struct client {
	struct gd_loop_source source; /* fd -1: the place is free */
	struct gd_control *control;
	uint64_t since; /* how many connections came before it */
	char request[REQUEST];
	size_t got;
	char *reply; /* NULL: its request is not complete yet */
	size_t length, sent;
};

struct gd_control {
	struct gd_loop *loop;
	struct gd_xenbus *xenbus;
	struct sockaddr_un address;
	struct gd_loop_source source;
	int spare; /* a descriptor that is closed when there are no more, to accept and refuse a client; -1: there is
		      none */
	struct client clients[CLIENTS];
	uint64_t connections;
};

static void client_close(struct client *client)
{
	if (client->source.fd < 0)
		return;
	gd_loop_remove(client->control->loop, &client->source);
	close(client->source.fd);
	free(client->reply);
	client->reply = NULL;
	client->source.fd = -1;
}

static void answer(struct gd_control *control, const char *request, FILE *out)
{
	if (!strcmp(request, "stats"))
		gd_xenbus_stats(control->xenbus, out);
	else if (strncmp(request, "refresh ", 8))
		fprintf(out, "error: '%s': must be stats or refresh D/DEV\n", request);
	else if (gd_xenbus_refresh_one(control->xenbus, request + 8))
		fprintf(out, "error: '%s': no such device\n", request + 8);
	else
		fprintf(out, "ok\n");
}

static void client_answer(struct client *client)
{
	FILE *out = open_memstream(&client->reply, &client->length);

	client->sent = 0;
	if (out) {
		answer(client->control, client->request, out);
		fclose(out);
	}
	if (!client->reply || gd_loop_change(client->control->loop, &client->source, EPOLLOUT))
		client_close(client);
}

static void client_read(struct client *client)
{
	ssize_t got = read(client->source.fd, client->request + client->got, sizeof(client->request) - client->got);
	char *end;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got > 0)
		client->got += (size_t)got;
	end = memchr(client->request, '\n', client->got);
	if (end) {
		*end = '\0';
		client_answer(client);
	} else if (got <= 0 || client->got == sizeof(client->request)) {
		client_close(client);
	}
}

static void client_write(struct client *client)
{
	ssize_t put =
		send(client->source.fd, client->reply + client->sent, client->length - client->sent, MSG_NOSIGNAL);

	if (put < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (put > 0)
		client->sent += (size_t)put;
	if (put < 0 || client->sent == client->length)
		client_close(client);
}

static void client_ready(struct gd_loop_source *source, uint32_t events)
{
	struct client *client = source->opaque;

	(void)events;
	if (client->reply)
		client_write(client);
	else
		client_read(client);
}

/* A free place, or that of the oldest client. */
static struct client *client_place(struct gd_control *control)
{
	struct client *oldest = &control->clients[0];

	for (unsigned i = 0; i < CLIENTS; i++) {
		struct client *client = &control->clients[i];

		if (client->source.fd < 0)
			return client;
		if (client->since < oldest->since)
			oldest = client;
	}
	client_close(oldest);
	return oldest;
}

static void client_open(struct gd_control *control, int fd)
{
	struct client *client = client_place(control);

	*client = (struct client){
		.source = {fd, client_ready, client}, .control = control, .since = control->connections++};
	if (gd_loop_add(control->loop, &client->source, EPOLLIN)) {
		close(fd);
		client->source.fd = -1;
	}
}

static int spare_open(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* There is no descriptor left for a client: it sees the end of the stream, and does not wait for an answer. */
static bool client_refuse(struct gd_control *control)
{
	int fd;

	if (control->spare >= 0)
		close(control->spare);
	fd = accept4(control->source.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		close(fd);
	control->spare = spare_open();
	return fd >= 0;
}

/*
 * Called once for all connections that have come (EPOLLET), and so it takes them all: a connection that cannot be
 * taken, as there is no descriptor, does not wake us again and again.
 */
static void listen_ready(struct gd_loop_source *source, uint32_t events)
{
	struct gd_control *control = source->opaque;
	bool more = true;

	(void)events;
	while (more) {
		int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0)
			client_open(control, fd);
		else if (errno == EMFILE || errno == ENFILE)
			more = client_refuse(control);
		else
			more = errno == EINTR || errno == ECONNABORTED;
	}
}

/* True when a process listens at the address. */
static bool somebody_there(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool there = fd >= 0 && (!connect(fd, (const struct sockaddr *)address, sizeof(*address)) || errno == EAGAIN);

	if (fd >= 0)
		close(fd);
	return there;
}

/* Only a socket without a listener counts as left over. Anything else at that path stays, and bind() fails. */
static int socket_bind(int fd, const struct sockaddr_un *address)
{
	mode_t mask = umask(0177);
	struct stat status;
	int err = 0;

	if (!lstat(address->sun_path, &status) && S_ISSOCK(status.st_mode) && !somebody_there(address))
		unlink(address->sun_path);
	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)))
		err = -errno;
	umask(mask);
	return err;
}

int gd_control_open(struct gd_control **out, const char *path, struct gd_loop *loop, struct gd_xenbus *xenbus)
{
	struct gd_control *control = calloc(1, sizeof(*control));
	int err = -ENOMEM;

	if (!control)
		goto fail;
	control->loop = loop;
	control->xenbus = xenbus;
	control->address.sun_family = AF_UNIX;
	strncpy(control->address.sun_path, path, sizeof(control->address.sun_path) - 1);
	for (unsigned i = 0; i < CLIENTS; i++)
		control->clients[i].source.fd = -1;
	control->source = (struct gd_loop_source){socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
						  listen_ready, control};
	err = control->source.fd < 0 ? -errno : socket_bind(control->source.fd, &control->address);
	if (err)
		goto close_socket;
	err = listen(control->source.fd, CLIENTS) ? -errno : gd_loop_add(loop, &control->source, EPOLLIN | EPOLLET);
	if (err)
		goto unlink_path;
	control->spare = spare_open();
	*out = control;
	return 0;

unlink_path:
	unlink(path);
close_socket:
	if (control->source.fd >= 0)
		close(control->source.fd);
	free(control);
fail:
	gd_log(NULL, GD_ERR, "--control '%s': %s", path, strerror(-err));
	return err;
}

void gd_control_close(struct gd_control *control)
{
	if (!control)
		return;
	for (unsigned i = 0; i < CLIENTS; i++)
		client_close(&control->clients[i]);
	gd_loop_remove(control->loop, &control->source);
	close(control->source.fd);
	if (control->spare >= 0)
		close(control->spare);
	unlink(control->address.sun_path);
	free(control);
}
