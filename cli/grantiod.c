/* SPDX-License-Identifier: MIT */
/*
 * Questions to grantiod. One connection asks one question and reads until grantiod hangs up, so that an answer needs no
 * length. Time and size are bounded: a grantiod that hangs must not hang the command that looks for the cause.
 */
#include "cli/grantiod.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WAIT_MS 5000

/* A machine of the model has its socket in its own directory, where `grantio model exec grantiod` is told to put it. */
const char *gc_grantiod_path(const char *option, const char *machine)
{
	const char *env = getenv("GRANTIO_MACHINE");
	static char path[256];

	if (option)
		return option;
	if (!machine && (!env || !*env))
		return GC_GRANTIOD_SOCKET;
	snprintf(path, sizeof(path), "%s/control", machine ? machine : env);
	return path;
}

/* A socket's path has room for 108 bytes only: a longer one is an error, and not cut to another file's name. */
static int daemon_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, err;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (!connect(fd, (const struct sockaddr *)&address, sizeof(address)))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

/* All that it says until it hangs up, NUL-terminated. */
static int daemon_read(int fd, char *text, size_t size)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	size_t used = 0;

	for (;;) {
		ssize_t got;

		if (poll(&wait, 1, WAIT_MS) != 1)
			return -ETIMEDOUT;
		got = read(fd, text + used, size - 1 - used);
		if (got < 0)
			return -errno;
		used += (size_t)got;
		text[used] = '\0';
		if (!got)
			return 0;
		if (used == size - 1)
			return -EMSGSIZE;
	}
}

/* MSG_NOSIGNAL: a grantiod that ends meanwhile must be an error here and not the end of this program. */
int gc_grantiod_ask(const char *path, const char *question, char *text, size_t size)
{
	size_t length = strlen(question);
	int fd = daemon_connect(path), err;

	if (fd < 0)
		return fd;
	err = send(fd, question, length, MSG_NOSIGNAL) == (ssize_t)length ? 0 : -EIO;
	if (!err)
		err = daemon_read(fd, text, size);
	close(fd);
	return err;
}

/* Only for errors whose remedy is certain: a wrong guess would cost more than none. */
const char *gc_grantiod_hint(int err)
{
	if (err == -EACCES || err == -EPERM)
		return " (run this as root)";
	if (err == -ENOENT || err == -ECONNREFUSED)
		return " (no grantiod answers there: start it, or name its socket by --control)";
	return "";
}

/* ---- what it knows of its disks ---- */

/* The text exists even if nobody answered, so that lookups in it need no second check. */
void gc_grantiod_look(struct gc_grantiod *grantiod, const char *path)
{
	grantiod->text = calloc(1, GC_GRANTIOD_TEXT);
	grantiod->error = grantiod->text ? gc_grantiod_ask(path, "stats\n", grantiod->text, GC_GRANTIOD_TEXT) : -ENOMEM;
}

/* Also after a failed look: its text exists even then. */
void gc_grantiod_free(struct gc_grantiod *grantiod)
{
	free(grantiod->text);
	grantiod->text = NULL;
}

const char *gc_grantiod_line(const struct gc_grantiod *grantiod, const char *name)
{
	const char *text = grantiod->error ? NULL : grantiod->text;
	size_t length = strlen(name);

	for (; text && *text; text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL) {
		if (strncmp(text, name, length) == 0 && text[length] == ' ')
			return text + length;
	}
	return NULL;
}

bool gc_grantiod_value(const char *line, const char *key, char *value, size_t size)
{
	size_t length = strlen(key), more;

	/* The image's name comes last, and may hold anything. */
	for (; *line == ' '; line += strcspn(line, " \n")) {
		line++;
		if (strncmp(line, key, length) == 0 && line[length] == '=') {
			more = strcspn(line + length + 1, strcmp(key, "target") == 0 ? "\n" : " \n");
			snprintf(value, size, "%.*s", (int)more, line + length + 1);
			return true;
		}
		if (strncmp(line, "target=", 7) == 0)
			break;
	}
	return false;
}
