/* SPDX-License-Identifier: MIT */
/* Questions to grantiod. */
#include "cli/daemon.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WAIT_MS 5000

static int daemon_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, ret;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (!connect(fd, (const struct sockaddr *)&address, sizeof(address)))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
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

int gc_daemon_ask(const char *path, const char *question, char *text, size_t size)
{
	size_t length = strlen(question);
	int fd = daemon_connect(path), ret;

	if (fd < 0)
		return fd;
	ret = send(fd, question, length, MSG_NOSIGNAL) == (ssize_t)length ? 0 : -EIO;
	if (!ret)
		ret = daemon_read(fd, text, size);
	close(fd);
	return ret;
}
