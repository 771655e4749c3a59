/* SPDX-License-Identifier: MIT */
/* Clients that break the protocol, flood, or never read: their connection ends, and nobody else notices. */
#include "tests/unit/store/fixture.h"

#include "model/store/limits.h"
#include "model/store/domain.h"
#include "model/store/store.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void others_served(void)
{
	int fd = wire_open(0);

	ASK(fd, XS_READ, "/local/domain/0/name\0", "Domain-0");
	close(fd);
}

static void test_truncated(void **state)
{
	static const struct xsd_sockmsg header = {.type = XS_READ, .req_id = 77, .len = 100};

	(void)state;
	for (size_t bytes = 0; bytes <= sizeof(header); bytes++) {
		int fd = wire_open(1);

		if (bytes)
			assert_int_equal(send(fd, &header, bytes, 0), bytes);
		others_served(); /* while the message is half there */
		assert_int_equal(shutdown(fd, SHUT_WR), 0);
		assert_true(wire_ended(fd));
		close(fd);
	}
	others_served();
}

static void test_slow_writer(void **state)
{
	static const struct xsd_sockmsg header = {.type = XS_GET_DOMAIN_PATH, .req_id = 77, .len = 2};
	char payload[XENSTORE_PAYLOAD_MAX + 1];
	int fd = wire_open(1);
	size_t length;

	(void)state;
	for (size_t i = 0; i < sizeof(header); i++) {
		assert_int_equal(send(fd, (const char *)&header + i, 1, 0), 1);
		others_served();
	}
	assert_int_equal(send(fd, "1", 1, 0), 1);
	others_served();
	assert_int_equal(send(fd, "", 1, 0), 1);
	assert_int_equal(wire_reply(fd, payload, &length), XS_GET_DOMAIN_PATH);
	assert_string_equal(payload, "/local/domain/1");
	close(fd);
}

static void test_huge_length(void **state)
{
	static const uint32_t lengths[] = {XENSTORE_PAYLOAD_MAX + 1, 65536, 0x7fffffff, 0xffffffff, 0xfffffff0};

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		struct xsd_sockmsg header = {.type = XS_WRITE, .req_id = 77, .len = lengths[i]};
		int fd = wire_open(1);

		assert_int_equal(send(fd, &header, sizeof(header), MSG_NOSIGNAL), sizeof(header));
		assert_true(wire_ended(fd));
		close(fd);
	}
	others_served();
}

/* The longest message that there may be is answered. */
static void test_longest(void **state)
{
	char payload[XENSTORE_PAYLOAD_MAX + 1], longest[XENSTORE_PAYLOAD_MAX] = "/long";
	int fd = wire_open(0);
	size_t length;

	(void)state;
	memset(longest + 6, 'v', sizeof(longest) - 6);
	wire_send(fd, XS_WRITE, 0, longest, sizeof(longest));
	assert_int_equal(wire_reply(fd, payload, &length), XS_WRITE);
	wire_send(fd, XS_READ, 0, "/long", 6);
	assert_int_equal(wire_reply(fd, payload, &length), XS_READ);
	assert_int_equal(length, sizeof(longest) - 6);
	memset(longest, 'x', sizeof(longest)); /* no NUL at all */
	for (uint32_t type = 0; type < XS_TYPE_COUNT; type++) {
		if (type == XS_TRANSACTION_START || type == XS_RESET_WATCHES)
			continue; /* they look at no payload */
		wire_send(fd, type, 0, longest, sizeof(longest));
		assert_int_equal(wire_reply(fd, payload, &length), XS_ERROR);
	}
	close(fd);
}

/* Send requests, whole ones, until no more is taken; how many. */
static unsigned fill(int fd, const void *request, size_t length, unsigned most)
{
	unsigned sent = 0;

	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	while (sent < most) {
		ssize_t n = send(fd, request, length, MSG_NOSIGNAL);

		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			return sent;
		}
		assert_int_equal(n, length);
		sent++;
	}
	fail_msg("%u requests were taken from a client that reads no answers", sent);
	return 0;
}

/* Requests without reading answers: the store stops taking them, and serves others. */
static void test_flood(void **state)
{
	struct {
		struct xsd_sockmsg header;
		char path[8];
	} request = {.header = {.type = XS_READ, .req_id = 77, .len = 6}, .path = "/none"};
	const size_t bytes = sizeof(request.header) + 6;
	const unsigned most = (64u << 20) / (unsigned)bytes;
	unsigned sent = 0, taken, full = 0;
	int fd = wire_open(1), flags;
	char payload[XENSTORE_PAYLOAD_MAX + 1];
	size_t length;

	(void)state;
	while (full < 2) { /* the store has had its turns, and neither side moves */
		taken = fill(fd, &request, bytes, most - sent);
		sent += taken;
		full = taken ? 0 : full + 1;
		others_served();
	}
	flags = fcntl(fd, F_GETFL);
	assert_int_equal(fcntl(fd, F_SETFL, flags & ~O_NONBLOCK), 0);
	for (unsigned i = 0; i < sent; i++) { /* once it reads, all goes on */
		assert_int_equal(wire_recv(fd, payload, &length), XS_ERROR);
		assert_string_equal(payload, "EACCES");
	}
	close(fd);
}

/* While a client is full the store has nothing to do: it does not spin on what it does not take. */
static void test_full_is_idle(void **state)
{
	static const struct xsd_sockmsg header = {.type = XS_RESET_WATCHES, .req_id = 77, .len = 0};
	struct pollfd wait = {.events = POLLIN};
	struct gm_store *store;
	int fds[2], turns = 0;
	char dir[] = "/dev/shm/grantio-test-store-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(gm_store_open(&store, dir), 0);
	assert_int_equal(gm_store_domain_socket_add(store, 1), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	assert_int_equal(gm_store_connect(store, 1, fds[0]), 0);
	wait.fd = gm_store_fd(store);
	do {
		while (send(fds[1], &header, sizeof(header), MSG_NOSIGNAL) == sizeof(header))
			;
		gm_store_run(store);
		turns++;
	} while (poll(&wait, 1, 0) == 1 && turns < 100000);
	assert_in_range(turns, 1, 99999);
	close(fds[1]);
	gm_store_run(store);
	gm_store_close(store);
	assert_int_equal(rmdir(dir), 0);
}

/* Domain 1 writes one of `nodes` nodes, again and again. */
static void busy_write(int fd, int nodes)
{
	char request[64], payload[XENSTORE_PAYLOAD_MAX + 1];
	size_t length;

	for (int i = 0; i < 400; i++) {
		int n = snprintf(request, sizeof(request), "data/%d%cv", i % nodes, 0);

		wire_send(fd, XS_WRITE, 0, request, (size_t)n);
		assert_int_equal(wire_reply(fd, payload, &length), XS_WRITE);
	}
}

/* A client that watches and never reads: equal events wait once; when too much waits, the client is ended. */
static void test_unread_events(void **state)
{
	int lazy = wire_open(1), busy = wire_open(1), dom0 = wire_open(0);
	char request[64], payload[XENSTORE_PAYLOAD_MAX + 1];
	unsigned events = 0;
	size_t length;

	(void)state;
	ASK(dom0, XS_WRITE, "/local/domain/1/data\0", OK);
	ASK(dom0, XS_SET_PERMS, "/local/domain/1/data\0n1\0", OK);
	for (int i = 0; i < 100; i++) {
		int n = snprintf(request, sizeof(request), "data%c%d", 0, i);

		wire_send(lazy, XS_WATCH, 0, request, (size_t)n + 1);
	}
	busy_write(busy, 1); /* 40000 events, of 100 kinds */
	wire_send(lazy, XS_GET_DOMAIN_PATH, 0, "1", 2);
	while (wire_recv(lazy, payload, &length) != XS_GET_DOMAIN_PATH)
		events++;
	assert_in_range(events, 100, 39999);
	busy_write(busy, 400); /* 40000 kinds, some 30 bytes each */
	assert_true(wire_ended(lazy));
	others_served();
	close(lazy);
	close(busy);
	close(dom0);
}

static void test_connections(void **state)
{
	int fd[GM_STORE_CONNECTIONS + 1];

	(void)state;
	for (int i = 0; i < GM_STORE_CONNECTIONS; i++) {
		fd[i] = wire_open(1);
		ASK(fd[i], XS_GET_DOMAIN_PATH, "1\0", "/local/domain/1\0");
	}
	fd[GM_STORE_CONNECTIONS] = wire_open(1);
	assert_true(wire_ended(fd[GM_STORE_CONNECTIONS])); /* one too many */
	others_served();
	close(fd[0]);
	fd[0] = wire_open(2); /* other domains have their own */
	ASK(fd[0], XS_GET_DOMAIN_PATH, "1\0", "/local/domain/1\0");
	for (int i = 0; i <= GM_STORE_CONNECTIONS; i++)
		close(fd[i]);
}

/* Watches, transactions and half a message, and then the client is gone. */
static void test_leave(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		int fd = wire_open(1);
		uint32_t tx = wire_transaction(fd);

		assert_int_not_equal(tx, 0);
		ASK(fd, XS_WATCH, "data\0t\0", OK);
		wire_send(fd, XS_WRITE, tx, "data/x", 6);
		assert_int_equal(send(fd, "half", 4, 0), 4);
		close(fd);
	}
	others_served();
}

/* A process that was forked meanwhile holds copies of the store's descriptors: what was closed stays closed. */
static void test_forked(void **state)
{
	int fd = wire_open(1);
	pid_t child;

	(void)state;
	ASK(fd, XS_GET_DOMAIN_PATH, "1\0", "/local/domain/1\0");
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	assert_int_equal(shutdown(fd, SHUT_RDWR), 0);
	for (int i = 0; i < 10; i++)
		others_served();
	close(fd);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_truncated, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_slow_writer, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_huge_length, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_longest, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_flood, store_setup, store_teardown),
		cmocka_unit_test(test_full_is_idle),
		cmocka_unit_test_setup_teardown(test_unread_events, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_connections, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_leave, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_forked, store_setup, store_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
