/* SPDX-License-Identifier: MIT */
/* Watches and transactions, over the socket. */
#include "tests/unit/store/fixture.h"

#include "model/store/limits.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void watch(int fd, const char *path, const char *token)
{
	char request[256], payload[XENSTORE_PAYLOAD_MAX + 1];
	size_t length;
	int n = snprintf(request, sizeof(request), "%s%c%s", path, 0, token);

	wire_send(fd, XS_WATCH, 0, request, (size_t)n + 1);
	assert_int_equal(wire_recv(fd, payload, &length), XS_WATCH); /* the answer first, then the first event */
	wire_event(fd, path, token);
}

static void test_events(void **state)
{
	int fd = wire_open(0), other = wire_open(0);

	(void)state;
	watch(fd, "/a", "tok");
	REFUSED(fd, XS_WATCH, "/a\0tok\0", "EEXIST");
	ASK(other, XS_WRITE, "/a/b/c\0x", OK);
	wire_event(fd, "/a/b/c", "tok");
	wire_no_event(fd); /* none for the parents that were made */
	ASK(other, XS_WRITE, "/ab\0x", OK);
	wire_no_event(fd);
	watch(other, "/a/b/c", "deep");
	ASK(fd, XS_RM, "/a/b\0", OK);
	wire_event(other, "/a/b/c", "deep"); /* it went with its parent */
	wire_event(fd, "/a/b", "tok");
	wire_no_event(fd);
	watch(fd, "/a", "second");
	ASK(fd, XS_SET_PERMS, "/a\0n0\0r1\0", OK);
	wire_event(fd, "/a", "tok");
	wire_event(fd, "/a", "second");
	ASK(fd, XS_UNWATCH, "/a\0tok\0", OK);
	ASK(other, XS_WRITE, "/a\0x", OK);
	wire_event(fd, "/a", "second");
	wire_no_event(fd);
	close(fd);
	close(other);
}

static void test_relative(void **state)
{
	int dom0 = wire_open(0), dom1 = wire_open(1);

	(void)state;
	watch(dom1, "device/x", "rel");
	watch(dom1, "/local/domain/1/device", "abs");
	ASK(dom0, XS_WRITE, "/local/domain/1/device/x/state\0001", OK);
	wire_no_event(dom1); /* it may not read that */
	ASK(dom0, XS_SET_PERMS, "/local/domain/1/device/x/state\0n0\0r1\0", OK);
	wire_event(dom1, "device/x/state", "rel"); /* its rights came with the change */
	wire_event(dom1, "/local/domain/1/device/x/state", "abs");
	ASK(dom0, XS_SET_PERMS, "/local/domain/1/device/x/state\0n0\0", OK);
	wire_event(dom1, "device/x/state", "rel"); /* and went with it */
	wire_event(dom1, "/local/domain/1/device/x/state", "abs");
	ASK(dom0, XS_WRITE, "/local/domain/1/device/x/state\0002", OK);
	wire_no_event(dom1);
	ASK(dom1, XS_UNWATCH, "/local/domain/1/device/x\0rel\0", OK); /* the same path */
	ASK(dom0, XS_SET_PERMS, "/local/domain/1/device\0n0\0r1\0", OK);
	wire_event(dom1, "/local/domain/1/device", "abs");
	ASK(dom0, XS_RM, "/local/domain/1/device/x\0", OK);
	wire_event(dom1, "/local/domain/1/device/x", "abs"); /* it may read the parent */
	close(dom0);
	close(dom1);
}

static void test_isolation(void **state)
{
	int fd = wire_open(0), other = wire_open(0);
	uint32_t tx;

	(void)state;
	ASK(fd, XS_WRITE, "/t/a\0001", OK);
	watch(other, "/t", "w");
	tx = wire_transaction(fd);
	ASK_TX(fd, tx, XS_WRITE, "/t/a\0002", OK);
	ASK_TX(fd, tx, XS_WRITE, "/t/b/c\0new", OK);
	ASK_TX(fd, tx, XS_READ, "/t/a\0", "2");
	ASK_TX(fd, tx, XS_DIRECTORY, "/t\0", "a\0b\0");
	ASK(fd, XS_READ, "/t/a\0", "1"); /* outside, on the same connection too */
	REFUSED(other, XS_READ, "/t/b/c\0", "ENOENT");
	REFUSED_TX(other, tx, XS_READ, "/t/a\0", "ENOENT"); /* it is fd's */
	REFUSED_TX(fd, tx, XS_TRANSACTION_START, "\0", "EBUSY");
	wire_no_event(other);
	ASK_TX(fd, tx, XS_TRANSACTION_END, "T\0", OK);
	wire_event(other, "/t/a", "w");
	wire_event(other, "/t/b/c", "w");
	wire_no_event(other);
	ASK(other, XS_READ, "/t/b/c\0", "new");
	REFUSED_TX(fd, tx, XS_READ, "/t/a\0", "ENOENT"); /* it has ended */

	tx = wire_transaction(fd);
	ASK_TX(fd, tx, XS_RM, "/t\0", OK);
	ASK_TX(fd, tx, XS_TRANSACTION_END, "F\0", OK);
	wire_no_event(other);
	ASK(other, XS_READ, "/t/a\0", "2");
	close(fd);
	close(other);
}

/* What `other` does meanwhile, and whether the transaction that did `mine` may be committed. */
static void conflict(const char *mine, size_t mine_length, uint32_t mine_type, const char *theirs, size_t theirs_length,
		     uint32_t theirs_type, bool wanted)
{
	char payload[XENSTORE_PAYLOAD_MAX + 1];
	int fd = wire_open(0), other = wire_open(0);
	size_t length;
	uint32_t tx;

	ASK(fd, XS_WRITE, "/c/a\0001", OK);
	ASK(fd, XS_WRITE, "/c/d/e\0001", OK);
	ASK(fd, XS_RM, "/c/new\0", OK);
	tx = wire_transaction(fd);
	wire_send(fd, mine_type, tx, mine, mine_length);
	wire_reply(fd, payload, &length);
	wire_send(other, theirs_type, 0, theirs, theirs_length);
	assert_int_not_equal(wire_reply(other, payload, &length), XS_ERROR);
	if (wanted)
		REFUSED_TX(fd, tx, XS_TRANSACTION_END, "T\0", "EAGAIN");
	else
		ASK_TX(fd, tx, XS_TRANSACTION_END, "T\0", OK);
	REFUSED_TX(fd, tx, XS_TRANSACTION_END, "T\0", "ENOENT");
	close(fd);
	close(other);
}
#define CONFLICT(mine_type, mine, theirs_type, theirs, wanted) \
	conflict(mine, sizeof(mine) - 1, mine_type, theirs, sizeof(theirs) - 1, theirs_type, wanted)

static void test_conflicts(void **state)
{
	(void)state;
	CONFLICT(XS_READ, "/c/a\0", XS_WRITE, "/c/a\0002", true);
	CONFLICT(XS_READ, "/c/a\0", XS_SET_PERMS, "/c/a\0n0\0", true);
	CONFLICT(XS_READ, "/c/a\0", XS_RM, "/c/a\0", true);
	CONFLICT(XS_READ, "/c/new\0", XS_WRITE, "/c/new\0x", true); /* it read that there is none */
	CONFLICT(XS_WRITE, "/c/a\0x", XS_WRITE, "/c/a\0y", true);
	CONFLICT(XS_WRITE, "/c/new\0x", XS_WRITE, "/c/new\0y", true);
	CONFLICT(XS_WRITE, "/c/new\0x", XS_WRITE, "/c/other\0y", true); /* both change the list of /c */
	CONFLICT(XS_WRITE, "/c/a\0x", XS_RM, "/c\0", true);
	CONFLICT(XS_DIRECTORY, "/c\0", XS_RM, "/c/a\0", true);
	CONFLICT(XS_RM, "/c/d\0", XS_WRITE, "/c/d/e\0002", true); /* below what it removed */
	CONFLICT(XS_READ, "/c/a\0", XS_WRITE, "/elsewhere\0x", false);
	CONFLICT(XS_DIRECTORY, "/c\0", XS_WRITE, "/c/d/e\0003", false); /* the list is the same */
	CONFLICT(XS_WRITE, "/c/a\0x", XS_WRITE, "/c/d/e\0003", false);
	CONFLICT(XS_RM, "/c/d\0", XS_WRITE, "/c/a\0003", false);
}

/* Steps on one path in a row: what stands at the end is what counts. */
static void test_final_state(void **state)
{
	int fd = wire_open(0), other = wire_open(0);
	uint32_t tx;

	(void)state;
	ASK(fd, XS_WRITE, "/f/x/old\0001", OK);
	tx = wire_transaction(fd);
	ASK_TX(fd, tx, XS_WRITE, "/f/x/new\0001", OK);
	ASK_TX(fd, tx, XS_RM, "/f/x\0", OK);
	ASK_TX(fd, tx, XS_WRITE, "/f/x/new\0002", OK);
	ASK_TX(fd, tx, XS_SET_PERMS, "/f/x\0n1\0r2\0", OK);
	ASK_TX(fd, tx, XS_WRITE, "/f/gone\0002", OK);
	ASK_TX(fd, tx, XS_RM, "/f/gone\0", OK);
	ASK(other, XS_WRITE, "/elsewhere\0002", OK);
	ASK_TX(fd, tx, XS_TRANSACTION_END, "T\0", OK);
	ASK(fd, XS_DIRECTORY, "/f\0", "x\0");
	ASK(fd, XS_DIRECTORY, "/f/x\0", "new\0");
	ASK(fd, XS_READ, "/f/x/new\0", "2");
	ASK(fd, XS_GET_PERMS, "/f/x\0", "n1\0r2\0");
	ASK(fd, XS_GET_PERMS, "/f/x/new\0", "n0\0");
	ASK(fd, XS_READ, "/elsewhere\0", "2");
	close(fd);
	close(other);
}

/* A transaction of a domain is bound: by the nodes it touches, and by what others of its made meanwhile. */
static void test_transaction_limits(void **state)
{
	char request[64], payload[XENSTORE_PAYLOAD_MAX + 1];
	int dom0 = wire_open(0), dom1 = wire_open(1);
	uint32_t tx, type = XS_READ;
	unsigned i;
	size_t length;

	(void)state;
	ASK(dom0, XS_WRITE, "/local/domain/1/data\0", OK);
	ASK(dom0, XS_SET_PERMS, "/local/domain/1/data\0n1\0", OK);
	tx = wire_transaction(dom1);
	for (i = 0; i < 5000 && type != XS_ERROR; i++) {
		int n = snprintf(request, sizeof(request), "data/%u", i);

		wire_send(dom1, XS_READ, tx, request, (size_t)n + 1);
		type = wire_reply(dom1, payload, &length);
		assert_int_equal(type, XS_ERROR);
		type = strcmp(payload, "ENOENT") == 0 ? XS_READ : XS_ERROR;
	}
	assert_string_equal(payload, "ENOSPC");
	assert_int_equal(i, GM_STORE_TOUCHED_MAX); /* "data" was looked at, too: it says who may know */
	ASK_TX(dom1, tx, XS_TRANSACTION_END, "F\0", OK);
	close(dom0);
	close(dom1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_events, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_relative, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_isolation, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_conflicts, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_final_state, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_transaction_limits, store_setup, store_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
