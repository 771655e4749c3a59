/* SPDX-License-Identifier: MIT */
/*
 * What the machine, the driver and grantiod have counted, before and after a load. The machine counts by domain: other
 * work of the backend's domain in the meantime is counted with it.
 */
#include "cli/bench.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DAEMON_WAIT_MS 5000
#define DAEMON_TEXT    65536

/* ---- grantiod's control socket ------------------------------------------------------------------------------ */

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

		if (poll(&wait, 1, DAEMON_WAIT_MS) != 1)
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

static int daemon_ask(const char *path, char *text, size_t size)
{
	static const char question[] = "stats\n";
	int fd = daemon_connect(path), ret;

	if (fd < 0)
		return fd;
	ret = send(fd, question, sizeof(question) - 1, MSG_NOSIGNAL) == (ssize_t)sizeof(question) - 1 ? 0 : -EIO;
	if (!ret)
		ret = daemon_read(fd, text, size);
	close(fd);
	return ret;
}

bool gc_cost_word(const char *line, const char *key, uint64_t *value)
{
	size_t length = strlen(key);

	for (const char *at = line; (at = strstr(at, key)); at += length) {
		char *end;

		if ((at != line && at[-1] != ' ') || at[length] != '=' || !strchr("0123456789", at[length + 1]))
			continue;
		*value = strtoull(at + length + 1, &end, 10);
		return end != at + length + 1 && (!*end || *end == ' ' || *end == '\n');
	}
	return false;
}

/* Cut the line of one device out of the text; NULL when there is none. */
static char *device_line(char *text, const char *device)
{
	size_t length = strlen(device);
	char *rest = text, *line;

	while ((line = strsep(&rest, "\n"))) {
		if (!strncmp(line, device, length) && line[length] == ' ')
			return line;
	}
	return NULL;
}

static int daemon_cost(struct gc_cost *cost, const char *path, const char *device, char *error, size_t size)
{
	char *text = malloc(DAEMON_TEXT), *line;
	int ret = text ? daemon_ask(path, text, DAEMON_TEXT) : -ENOMEM;

	if (ret) {
		snprintf(error, size, "control socket %s: %s", path, strerror(-ret));
		goto free_text;
	}
	line = device_line(text, device);
	ret = -EPROTO;
	if (!line)
		snprintf(error, size, "control socket %s: has no device %s", path, device);
	else if (!gc_cost_word(line, "syscalls", &cost->syscalls) || !gc_cost_word(line, "batches", &cost->batches) ||
		 !gc_cost_word(line, "copy_calls", &cost->copy_calls) ||
		 !gc_cost_word(line, "requests", &cost->daemon_requests))
		snprintf(error, size, "control socket %s: device %s: a count is missing", path, device);
	else
		ret = 0;
	cost->daemon = !ret;

free_text:
	free(text);
	return ret;
}

/* ---- all of it ---------------------------------------------------------------------------------------------- */

int gc_cost_read(struct gc_cost *cost, struct gp_disk *disk, const char *control, const char *device, char *error,
		 size_t size)
{
	struct gm_machine *machine = gm_guest_machine(gp_disk_guest(disk));
	int ret = gm_domain_stats(machine, gp_disk_place(disk)->backend, &cost->backend);

	cost->daemon = false;
	if (!ret)
		ret = gm_domain_stats(machine, gm_guest_domid(gp_disk_guest(disk)), &cost->guest);
	if (ret) {
		snprintf(error, size, "the machine's counters: %s", strerror(-ret));
		return ret;
	}
	gio_blk_stats(gp_disk_blk(disk), &cost->driver);
	return control ? daemon_cost(cost, control, device, error, size) : 0;
}

/* The counts that the report uses; what is outstanding has no difference. */
static void stats_since(struct gm_stats *now, const struct gm_stats *before)
{
	now->hypercalls -= before->hypercalls;
	now->grant_maps -= before->grant_maps;
	now->grant_unmaps -= before->grant_unmaps;
	now->grant_copy_calls -= before->grant_copy_calls;
	now->grant_copies -= before->grant_copies;
	now->grant_copy_ops -= before->grant_copy_ops;
	now->bytes_copied -= before->bytes_copied;
	now->event_sends -= before->event_sends;
	now->dm_ops -= before->dm_ops;
	now->irqs_raised -= before->irqs_raised;
	now->ioreqs -= before->ioreqs;
}

void gc_cost_since(struct gc_cost *now, const struct gc_cost *before)
{
	stats_since(&now->backend, &before->backend);
	stats_since(&now->guest, &before->guest);
	now->driver.requests -= before->driver.requests;
	now->driver.kicks -= before->driver.kicks;
	now->driver.interrupts -= before->driver.interrupts;
	now->daemon = now->daemon && before->daemon;
	now->syscalls -= before->syscalls;
	now->copy_calls -= before->copy_calls;
	now->batches -= before->batches;
	now->daemon_requests -= before->daemon_requests;
}
