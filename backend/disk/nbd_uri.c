/* SPDX-License-Identifier: MIT */
/* NBD URIs: nbd://host[:port][/export] and nbd+unix:///[export]?socket=path (the NBD project's doc/uri.md). */
#include "backend/disk/nbd.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A copy of text[0..length) with %XX decoded; NULL: no memory, or (*bad) not well-formed. */
static char *text_decode(const char *text, size_t length, bool *bad)
{
	char *out = malloc(length + 1), *to = out;
	size_t i;

	for (i = 0; out && i < length; i++) {
		int high, low;

		if (text[i] != '%') {
			*to++ = text[i];
			continue;
		}
		high = i + 2 < length ? hex_digit(text[i + 1]) : -1;
		low = high >= 0 ? hex_digit(text[i + 2]) : -1;
		if (low < 0 || !(high | low)) { /* a NUL would end the name here */
			*bad = true;
			free(out);
			return NULL;
		}
		*to++ = (char)(high << 4 | low);
		i += 2;
	}
	if (out)
		*to = 0;
	return out;
}

static int refuse(char *why, size_t size, int result, const char *text)
{
	snprintf(why, size, "%s", text);
	return result;
}

static int part_take(char **out, const char *text, size_t length, const char *name, char *why, size_t size)
{
	bool bad = false;

	*out = text_decode(text, length, &bad);
	if (*out)
		return 0;
	if (!bad)
		return refuse(why, size, -ENOMEM, gd_log_errno(ENOMEM));
	snprintf(why, size, "%s: \"%%\" is not followed by two hexadecimal digits, not both zero", name);
	return -EINVAL;
}

/* host, host:port, [address], [address]:port */
static int authority_parse(struct gd_nbd_server *server, const char *text, size_t length, char *why, size_t size)
{
	const char *end = text + length, *host_end, *port;
	char *rest = NULL;
	unsigned long number;
	int result;

	if (memchr(text, '@', length))
		return refuse(why, size, -EINVAL, "user names are not served");
	if (length && text[0] == '[') {
		host_end = memchr(text, ']', length);
		port = host_end ? host_end + 1 : NULL;
		if (!port || (port < end && *port != ':'))
			return refuse(why, size, -EINVAL, "host: \"[\" without \"]\"");
		text++;
	} else {
		host_end = memchr(text, ':', length);
		if (!host_end)
			host_end = end;
		port = host_end;
	}
	if (host_end == text)
		return refuse(why, size, -EINVAL, "there is no host");
	result = part_take(&server->host, text, (size_t)(host_end - text), "host", why, size);
	if (result)
		return result;
	if (port < end)
		result = part_take(&server->port, port + 1, (size_t)(end - port - 1), "port", why, size);
	else
		result = part_take(&server->port, "10809", 5, "port", why, size);
	if (result)
		return result;
	number = isdigit((unsigned char)server->port[0]) ? strtoul(server->port, &rest, 10) : 0;
	if (!number || number > 65535 || *rest) {
		snprintf(why, size, "port \"%s\" is not a number from 1 to 65535", server->port);
		return -EINVAL;
	}
	return 0;
}

static int query_parse(struct gd_nbd_server *server, const char *query, char *why, size_t size)
{
	size_t length = strcspn(query, "&");

	if (strncmp(query, "socket=", 7) || length == 7)
		return refuse(why, size, -EINVAL, "there is no \"?socket=PATH\"");
	if (query[length])
		return refuse(why, size, -EINVAL, "parameters other than \"socket\" are not served");
	return part_take(&server->socket, query + 7, length - 7, "socket", why, size);
}

int gd_nbd_uri_parse(struct gd_nbd_server *server, const char *uri, char *why, size_t size)
{
	const char *authority = strstr(uri, "://") + 3; /* cannot be NULL: disk.c looked at the scheme */
	size_t length = strcspn(authority, "/?#");
	const char *path = authority + length, *query;
	bool local = !strncmp(uri, "nbd+unix:", 9);
	int result;

	memset(server, 0, sizeof(*server));
	pthread_mutex_init(&server->lock, NULL); /* cannot fail with default attributes */
	if (strchr(path, '#'))
		return refuse(why, size, -EINVAL, "\"#\" has no meaning here (in a name it is %23)");
	query = strchr(path, '?');
	if (local && length)
		return refuse(why, size, -EINVAL, "nbd+unix:// has no host: nbd+unix:///EXPORT?socket=PATH");
	if (!local && query)
		return refuse(why, size, -EINVAL, "parameters are not served with nbd://");
	if (*path == '/')
		path++;
	result = part_take(&server->export, path, query ? (size_t)(query - path) : strlen(path), "export", why, size);
	if (result)
		return result;
	return local ? query_parse(server, query ? query + 1 : "", why, size)
		     : authority_parse(server, authority, length, why, size);
}
