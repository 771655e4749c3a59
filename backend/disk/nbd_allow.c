/* SPDX-License-Identifier: MIT */
/* Which NBD servers the administrator allows: unix:DIR, tcp:HOST, tcp:HOST:PORT, all. Anything else allows none. */
#include "backend/disk/nbd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* `path` has neither symbolic links nor dots in it. */
static bool socket_allowed(const char *path, const char *entry)
{
	char *directory = strncmp(entry, "unix:", 5) ? NULL : realpath(entry + 5, NULL);
	size_t length = directory ? strlen(directory) : 0;
	bool allowed;

	if (length && directory[length - 1] == '/')
		length--;
	allowed = directory && !strncmp(path, directory, length) && path[length] == '/';
	free(directory);
	return allowed;
}

static bool host_allowed(const struct gd_nbd_server *server, const char *entry)
{
	bool brackets = strchr(server->host,
			       ':'); /* as in URIs: without them, a port would look like a part of an IPv6 address */
	char host[300], with_port[320];

	snprintf(host, sizeof(host), "tcp:%s%s%s", brackets ? "[" : "", server->host, brackets ? "]" : "");
	snprintf(with_port, sizeof(with_port), "%s:%s", host, server->port);
	return !strcasecmp(entry, host) || !strcasecmp(entry, with_port);
}

static bool server_allowed(const struct gd_nbd_server *server, const char *const *allow)
{
	for (; *allow; allow++)
		if (!strcmp(*allow, "all") ||
		    (server->socket ? socket_allowed(server->socket, *allow) : host_allowed(server, *allow)))
			return true;
	return false;
}

int gd_nbd_allowed(struct gd_nbd_server *server, const char *const *allow, char *why, size_t size)
{
	char *real;
	int result;

	if (!allow)
		return 0;
	if (server->socket) {
		real = realpath(server->socket, NULL);
		if (!real) {
			result = -errno;
			snprintf(why, size, "socket \"%s\": %s", server->socket, gd_log_errno(result));
			return result == -ENOENT ? -ENOTCONN : result;
		}
		free(server->socket); /* from here on the path that was checked is used */
		server->socket = real;
	}
	if (server_allowed(server, allow))
		return 0;
	if (server->socket)
		snprintf(why, size,
			 "socket \"%s\" is in no directory that NBD servers' may lie in (nbd-allow = unix:DIR)",
			 server->socket);
	else
		snprintf(why, size, "\"%s\" port %s is no NBD server that may be used (nbd-allow = tcp:HOST:PORT)",
			 server->host, server->port);
	return -EPERM;
}
