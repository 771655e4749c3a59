/* SPDX-License-Identifier: MIT */
#include "tests/unit/store/fixture.h"

#include "model/store/domain.h"
#include "model/store/store.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

char store_dir[64];

static struct gm_store *store;
static pthread_t thread;
static int stop_fd = -1;

/* Events that came before an answer, in order. */
static struct {
	int fd;
	size_t length;
	char payload[256];
} kept[256];
static size_t kept_count;

static void *thread_run(void *arg)
{
	struct pollfd fds[2] = {{.fd = gm_store_fd(store), .events = POLLIN}, {.fd = stop_fd, .events = POLLIN}};

	(void)arg;
	while (!fds[1].revents) {
		if (poll(fds, 2, -1) > 0 && fds[0].revents)
			gm_store_run(store);
	}
	return NULL;
}

int store_setup(void **state)
{
	(void)state;
	kept_count = 0;
	snprintf(store_dir, sizeof(store_dir), "/dev/shm/grantio-test-store-XXXXXX");
	assert_non_null(mkdtemp(store_dir));
	assert_int_equal(gm_store_open(&store, store_dir), 0);
	assert_int_equal(gm_store_domain_socket_add(store, 1), 0);
	assert_int_equal(gm_store_domain_socket_add(store, 2), 0);
	stop_fd = eventfd(0, EFD_CLOEXEC);
	assert_true(stop_fd >= 0);
	assert_int_equal(pthread_create(&thread, NULL, thread_run, NULL), 0);
	return 0;
}

int store_teardown(void **state)
{
	uint64_t one = 1;

	(void)state;
	assert_int_equal(write(stop_fd, &one, sizeof(one)), sizeof(one));
	pthread_join(thread, NULL);
	close(stop_fd);
	gm_store_close(store);
	return rmdir(store_dir); /* fails if a socket is left */
}

static void store_path(char *path, size_t size, unsigned domid)
{
	if (domid)
		snprintf(path, size, "%s/store.%u", store_dir, domid);
	else
		snprintf(path, size, "%s/store", store_dir);
}

int wire_open(unsigned domid)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = 60};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	store_path(address.sun_path, sizeof(address.sun_path), domid);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		return -1;
	}
	return fd;
}

struct xs_handle *xs_open_as(unsigned domid)
{
	char path[108];

	store_path(path, sizeof(path), domid);
	setenv("XENSTORED_PATH", path, 1);
	return xs_open(0);
}

void wire_send(int fd, uint32_t type, uint32_t tx, const void *data, size_t length)
{
	struct xsd_sockmsg header = {.type = type, .req_id = 77, .tx_id = tx, .len = (uint32_t)length};

	assert_int_equal(send(fd, &header, sizeof(header), MSG_NOSIGNAL), sizeof(header));
	if (length)
		assert_int_equal(send(fd, data, length, MSG_NOSIGNAL), length);
}

static void bytes_recv(int fd, void *to, size_t length)
{
	size_t got = 0;

	while (got < length) {
		ssize_t n = recv(fd, (char *)to + got, length - got, 0);

		if (n <= 0)
			fail_msg("connection ended or silent: %zd, %s", n, strerror(errno));
		got += (size_t)n;
	}
}

uint32_t wire_recv(int fd, char *payload, size_t *length)
{
	struct xsd_sockmsg header;

	bytes_recv(fd, &header, sizeof(header));
	assert_in_range(header.len, 0, XENSTORE_PAYLOAD_MAX);
	assert_int_equal(header.req_id, header.type == XS_WATCH_EVENT ? 0 : 77);
	bytes_recv(fd, payload, header.len);
	payload[header.len] = '\0';
	*length = header.len;
	return header.type;
}

static void event_keep(int fd, const char *payload, size_t length)
{
	assert_in_range(kept_count, 0, sizeof(kept) / sizeof(*kept) - 1);
	assert_in_range(length, 0, sizeof(kept[0].payload));
	kept[kept_count].fd = fd;
	kept[kept_count].length = length;
	memcpy(kept[kept_count++].payload, payload, length);
}

static bool event_kept(int fd, char *payload, size_t *length)
{
	for (size_t i = 0; i < kept_count; i++) {
		if (kept[i].fd != fd)
			continue;
		*length = kept[i].length;
		memcpy(payload, kept[i].payload, *length);
		memmove(kept + i, kept + i + 1, (--kept_count - i) * sizeof(*kept));
		return true;
	}
	return false;
}

uint32_t wire_reply(int fd, char *payload, size_t *length)
{
	uint32_t type;

	while ((type = wire_recv(fd, payload, length)) == XS_WATCH_EVENT)
		event_keep(fd, payload, *length);
	return type;
}

bool wire_ended(int fd)
{
	char byte;
	ssize_t n;

	do {
		n = recv(fd, &byte, 1, 0);
	} while (n > 0);
	return n == 0 || errno == ECONNRESET;
}

void wire_check(int fd, uint32_t type, uint32_t tx, const void *data, size_t length, uint32_t wanted_type,
		const void *wanted, size_t wanted_length, const char *where)
{
	char payload[XENSTORE_PAYLOAD_MAX + 1];
	size_t got;
	uint32_t got_type;

	wire_send(fd, type, tx, data, length);
	got_type = wire_reply(fd, payload, &got);
	if (got_type != wanted_type || got != wanted_length || memcmp(payload, wanted, got) != 0)
		fail_msg("%s: type %u, %zu bytes \"%s\" instead of type %u, %zu bytes \"%s\"", where, got_type, got,
			 payload, wanted_type, wanted_length, (const char *)wanted);
}

uint32_t wire_transaction(int fd)
{
	char payload[XENSTORE_PAYLOAD_MAX + 1];
	size_t length;

	wire_send(fd, XS_TRANSACTION_START, 0, "", 1);
	assert_int_equal(wire_reply(fd, payload, &length), XS_TRANSACTION_START);
	return (uint32_t)strtoul(payload, NULL, 10);
}

void wire_event(int fd, const char *path, const char *token)
{
	char payload[XENSTORE_PAYLOAD_MAX + 1];
	size_t length;

	if (!event_kept(fd, payload, &length))
		assert_int_equal(wire_recv(fd, payload, &length), XS_WATCH_EVENT);
	assert_string_equal(payload, path);
	assert_string_equal(payload + strlen(payload) + 1, token);
	assert_int_equal(length, strlen(path) + strlen(token) + 2);
}

void wire_no_event(int fd)
{
	char payload[XENSTORE_PAYLOAD_MAX + 1];
	size_t length;

	wire_send(fd, XS_GET_DOMAIN_PATH, 0, "0", 2);
	assert_int_equal(wire_reply(fd, payload, &length), XS_GET_DOMAIN_PATH);
	if (event_kept(fd, payload, &length))
		fail_msg("event for %s", payload);
}
