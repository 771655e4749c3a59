/* SPDX-License-Identifier: MIT */
/* Every request over the socket, byte by byte: answers, errors, permissions, limits. */
#include "tests/unit/store/fixture.h"

#include "model/store/limits.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void test_values(void **state)
{
	int fd = wire_open(0);

	(void)state;
	ASK(fd, XS_WRITE, "/a/b/c\0value", OK);
	ASK(fd, XS_READ, "/a/b/c\0", "value");
	ASK(fd, XS_READ, "/a/b\0", "");
	ASK(fd, XS_WRITE, "/a/b/c\0\0\1\2", OK); /* binary */
	ASK(fd, XS_READ, "/a/b/c\0", "\0\1\2");
	ASK(fd, XS_MKDIR, "/a/d\0", OK);
	ASK(fd, XS_MKDIR, "/a/b/c\0", OK); /* there already: kept */
	ASK(fd, XS_READ, "/a/b/c\0", "\0\1\2");
	ASK(fd, XS_DIRECTORY, "/a\0", "b\0d\0");
	ASK(fd, XS_DIRECTORY, "/a/d\0", "");
	ASK(fd, XS_RM, "/a/b\0", OK);
	REFUSED(fd, XS_READ, "/a/b/c\0", "ENOENT");
	ASK(fd, XS_RM, "/a/b\0", OK); /* its parent is there */
	REFUSED(fd, XS_RM, "/a/b/c\0", "ENOENT");
	REFUSED(fd, XS_RM, "/\0", "EINVAL");
	ASK(fd, XS_READ, "domid\0", "0"); /* relative: /local/domain/0 */
	ASK(fd, XS_GET_DOMAIN_PATH, "7\0", "/local/domain/7\0");
	ASK(fd, XS_CONTROL, "help\0", "Control commands supported:\n\thelp\n\tquota\n\0");
	close(fd);
}

static void test_bad_requests(void **state)
{
	int fd = wire_open(0);

	(void)state;
	REFUSED(fd, XS_READ, "/a", "EINVAL"); /* no NUL */
	REFUSED(fd, XS_READ, "", "EINVAL");
	REFUSED(fd, XS_READ, "/a\0/b\0", "EINVAL");
	REFUSED(fd, XS_READ, "/a b\0", "EINVAL");
	REFUSED(fd, XS_READ, "@releaseDomain\0", "EINVAL");
	REFUSED(fd, XS_WRITE, "/a", "EINVAL");
	REFUSED(fd, XS_WRITE, "@releaseDomain\0x", "EINVAL");
	REFUSED(fd, XS_MKDIR, "@releaseDomain\0", "EINVAL");
	REFUSED(fd, XS_RM, "@releaseDomain\0", "EINVAL");
	REFUSED(fd, XS_WATCH, "/a\0", "EINVAL");
	REFUSED(fd, XS_WATCH, "/a/\0t\0", "EINVAL");
	REFUSED(fd, XS_UNWATCH, "/a\0t\0", "ENOENT");
	REFUSED(fd, XS_SET_PERMS, "/tool\0x0\0", "EINVAL");
	REFUSED(fd, XS_SET_PERMS, "/tool\0", "EINVAL");
	REFUSED(fd, XS_SET_PERMS, "/nothing\0n0\0", "ENOENT");
	REFUSED(fd, XS_TRANSACTION_END, "T\0", "ENOENT");
	REFUSED(fd, XS_TRANSACTION_END, "X\0", "EINVAL");
	REFUSED(fd, XS_GET_DOMAIN_PATH, "-1\0", "EINVAL");
	REFUSED(fd, XS_GET_DOMAIN_PATH, "99999\0", "EINVAL");
	REFUSED(fd, XS_INTRODUCE, "3\0", "EINVAL");
	REFUSED(fd, XS_RELEASE, "9\0", "ENOENT");
	REFUSED(fd, XS_RELEASE, "0\0", "EINVAL");
	REFUSED(fd, XS_CONTROL, "nonsense\0", "EINVAL");
	REFUSED(fd, XS_DIRECTORY_PART, "/\0x\0", "EINVAL");
	REFUSED(fd, XS_SET_TARGET, "1\0002\0", "ENOSYS");
	REFUSED(fd, XS_TYPE_COUNT, "", "ENOSYS");
	REFUSED(fd, XS_INVALID, "", "ENOSYS");
	REFUSED(fd, XS_ERROR, "EIO\0", "ENOSYS");
	REFUSED_TX(fd, 5, XS_READ, "/tool\0", "ENOENT"); /* no such transaction */
	ASK(fd, XS_READ, "/tool\0", "");		 /* the connection lives */
	close(fd);
}

static void test_permissions(void **state)
{
	int dom0 = wire_open(0), dom1 = wire_open(1), dom2 = wire_open(2);

	(void)state;
	ASK(dom0, XS_WRITE, "/local/domain/1/data\0", OK);
	ASK(dom0, XS_SET_PERMS, "/local/domain/1\0n0\0r1\0", OK);
	ASK(dom0, XS_SET_PERMS, "/local/domain/1/data\0n1\0", OK);
	ASK(dom0, XS_GET_PERMS, "/local/domain/1\0", "n0\0r1\0");

	ASK(dom1, XS_DIRECTORY, "/local/domain/1\0", "data\0");
	ASK(dom1, XS_WRITE, "data/mine\0secret", OK); /* relative */
	ASK(dom1, XS_READ, "/local/domain/1/data/mine\0", "secret");
	ASK(dom1, XS_GET_PERMS, "data/mine\0", "n1\0");
	REFUSED(dom1, XS_WRITE, "/local/domain/1/name\0x", "EACCES");
	REFUSED(dom1, XS_RM, "/local/domain/1\0", "EACCES");
	REFUSED(dom1, XS_READ, "/local/domain/0/name\0", "EACCES");
	REFUSED(dom1, XS_READ, "/local/domain/0/nothing\0", "EACCES"); /* may not know whether it is there */
	REFUSED(dom1, XS_READ, "nothing\0", "ENOENT");
	REFUSED(dom1, XS_DIRECTORY, "/\0", "EACCES");
	REFUSED(dom1, XS_MKDIR, "/x\0", "EACCES");
	REFUSED(dom1, XS_SET_PERMS, "/local/domain/1\0n1\0", "EACCES");
	REFUSED(dom1, XS_GET_PERMS, "@releaseDomain\0", "EACCES");
	REFUSED(dom1, XS_SET_PERMS, "@releaseDomain\0n1\0", "EACCES");
	REFUSED(dom1, XS_IS_DOMAIN_INTRODUCED, "0\0", "EACCES");
	REFUSED(dom1, XS_SET_TARGET, "0\0001\0", "EACCES");
	ASK(dom1, XS_WATCH, "@something\0any\0", OK); /* xenstored takes any name, and nothing ever happens to it */
	wire_event(dom1, "@something", "any");
	ASK(dom1, XS_UNWATCH, "@something\0any\0", OK);

	REFUSED(dom2, XS_READ, "/local/domain/1/data/mine\0", "EACCES");
	REFUSED(dom2, XS_WRITE, "/local/domain/1/data/mine\0x", "EACCES");
	REFUSED(dom2, XS_RM, "/local/domain/1/data/mine\0", "EACCES");
	ASK(dom1, XS_SET_PERMS, "data/mine\0n1\0r2\0", OK); /* the owner may */
	ASK(dom2, XS_READ, "/local/domain/1/data/mine\0", "secret");
	REFUSED(dom2, XS_WRITE, "/local/domain/1/data/mine\0x", "EACCES");
	REFUSED(dom1, XS_SET_PERMS, "data/mine\0n2\0", "EPERM"); /* but not give it away */
	REFUSED(dom1, XS_SET_PERMS, "data/mine\0n1\0r2\0r3\0r4\0r5\0r6\0", "ENOSPC");
	ASK(dom1, XS_SET_PERMS, "data/mine\0w1\0r2\0", OK); /* others write only */
	REFUSED(dom2, XS_RM, "/local/domain/1/data\0", "EACCES");

	REFUSED(dom1, XS_INTRODUCE, "3\0001\0001\0", "EACCES");
	REFUSED(dom1, XS_RELEASE, "2\0", "EACCES");
	REFUSED(dom1, XS_RESUME, "2\0", "EACCES");
	REFUSED(dom1, XS_CONTROL, "help\0", "EACCES");
	close(dom0);
	close(dom1);
	close(dom2);
}

static void test_directory_part(void **state)
{
	char payload[XENSTORE_PAYLOAD_MAX + 1], request[64], seen[16384];
	int fd = wire_open(0);
	size_t length, used = 0;
	bool last = false;

	(void)state;
	for (int i = 0; i < 300; i++) {
		int n = snprintf(request, sizeof(request), "/big/a-rather-long-name-%04d", i);

		wire_send(fd, XS_MKDIR, 0, request, (size_t)n + 1);
		assert_int_equal(wire_reply(fd, payload, &length), XS_MKDIR);
	}
	REFUSED(fd, XS_DIRECTORY, "/big\0", "E2BIG");
	while (!last) {
		int n = snprintf(request, sizeof(request), "/big%c%zu", 0, used);
		size_t head;

		wire_send(fd, XS_DIRECTORY_PART, 0, request, (size_t)n + 1);
		assert_int_equal(wire_reply(fd, payload, &length), XS_DIRECTORY_PART);
		head = strlen(payload) + 1;
		last = length >= 2 && !payload[length - 1] && !payload[length - 2];
		assert_true(length > head);
		memcpy(seen + used, payload + head, length - head - last);
		used += length - head - last;
	}
	assert_int_equal(used, 300 * sizeof("a-rather-long-name-0000"));
	assert_string_equal(seen + 299 * sizeof("a-rather-long-name-0000"), "a-rather-long-name-0299");
	close(fd);
}

/* What a control command does not do here it does not claim to have done. */
static void test_control(void **state)
{
	int fd = wire_open(0), dom2 = wire_open(2);

	(void)state;
	REFUSED(fd, XS_CONTROL, "quota\0set\0nodes\0005000\0", "EINVAL");
	REFUSED(fd, XS_CONTROL, "quota\0max\0", "EINVAL");
	REFUSED(fd, XS_CONTROL, "quota\0002\0003\0", "EINVAL");
	REFUSED(fd, XS_CONTROL, "quota\00077\0", "ENOENT");
	REFUSED(fd, XS_CONTROL, "help\0quota\0", "EINVAL");
	REFUSED(fd, XS_CONTROL, "quota", "EINVAL");
	for (const char *command = "check\0log\0print\0logfile\0memreport\0quota-soft\0live-update\0"; *command;
	     command += strlen(command) + 1)
		wire_check(fd, XS_CONTROL, 0, command, strlen(command) + 1, XS_ERROR, "EINVAL", sizeof("EINVAL"),
			   command);
	ASK(fd, XS_CONTROL, "quota\0002\0", "Domain 2:\nnodes: 0\nwatches: 0\ntransactions: 0\nconnections: 1\n\0");
	ASK(fd, XS_MKDIR, "/own\0", OK);
	ASK(fd, XS_SET_PERMS, "/own\0n2\0", OK);
	ASK(dom2, XS_WRITE, "/own/a/b\0value", OK);
	ASK(dom2, XS_WATCH, "/own\0token\0", OK);
	wire_event(dom2, "/own", "token");
	wire_transaction(dom2);
	ASK(fd, XS_CONTROL, "quota\0002\0", "Domain 2:\nnodes: 3\nwatches: 1\ntransactions: 1\nconnections: 1\n\0");
	close(dom2);
	close(fd);
}

static void test_introduce(void **state)
{
	int dom0 = wire_open(0), dom3;

	(void)state;
	ASK(dom0, XS_WATCH, "@introduceDomain\0in\0", OK);
	wire_event(dom0, "@introduceDomain", "in");
	ASK(dom0, XS_WATCH, "@releaseDomain\0out\0", OK);
	wire_event(dom0, "@releaseDomain", "out");
	assert_int_equal(wire_open(3), -1);
	ASK(dom0, XS_IS_DOMAIN_INTRODUCED, "3\0", "F\0");
	ASK(dom0, XS_INTRODUCE, "3\0001\0001\0", OK);
	wire_event(dom0, "@introduceDomain", "in");
	ASK(dom0, XS_IS_DOMAIN_INTRODUCED, "3\0", "T\0");
	ASK(dom0, XS_INTRODUCE, "3\0001\0001\0", OK); /* again */
	wire_no_event(dom0);

	dom3 = wire_open(3);
	ASK(dom3, XS_WATCH, "@releaseDomain\0out\0", OK);
	ASK(dom0, XS_WRITE, "/local/domain/3/data\0", OK);
	ASK(dom0, XS_SET_PERMS, "/local/domain/3/data\0n3\0", OK);
	ASK(dom0, XS_MKDIR, "/shared\0", OK);
	ASK(dom0, XS_SET_PERMS, "/shared\0n0\0b3\0r1\0", OK);
	ASK(dom0, XS_SET_PERMS, "@releaseDomain\0n0\0r3\0", OK);
	ASK(dom3, XS_WRITE, "data/x\0y", OK);
	ASK(dom0, XS_RELEASE, "3\0", OK);
	wire_event(dom0, "@releaseDomain", "out");
	assert_true(wire_ended(dom3));
	ASK(dom0, XS_IS_DOMAIN_INTRODUCED, "3\0", "F\0");
	REFUSED(dom0, XS_READ, "/local/domain/3/data\0", "ENOENT"); /* it owned that */
	ASK(dom0, XS_READ, "/local/domain/3\0", "");
	ASK(dom0, XS_GET_PERMS, "/shared\0", "n0\0r1\0"); /* a successor has no rights of it */
	ASK(dom0, XS_GET_PERMS, "@releaseDomain\0", "n0\0");
	close(dom0);
	close(dom3);
}

static void home_make(int dom0)
{
	ASK(dom0, XS_WRITE, "/local/domain/1/data\0", OK);
	ASK(dom0, XS_SET_PERMS, "/local/domain/1/data\0n1\0", OK);
}

/* Ask with prefix0, prefix1 ... until refused; how often it went well. */
static unsigned until_refused(int fd, uint32_t type, const char *prefix, const char *error)
{
	char request[128], payload[XENSTORE_PAYLOAD_MAX + 1];
	size_t length;

	for (unsigned i = 0; i < 5000; i++) {
		int n = snprintf(request, sizeof(request), "%s%u", prefix, i);

		wire_send(fd, type, 0, request, (size_t)n + 1);
		if (wire_reply(fd, payload, &length) == XS_ERROR) {
			assert_string_equal(payload, error);
			return i;
		}
	}
	fail_msg("never refused");
	return 0;
}

static void test_limits(void **state)
{
	static const char big[GM_STORE_NODE_BYTES + 16] = "data/big";
	char payload[XENSTORE_PAYLOAD_MAX + 1];
	int dom0 = wire_open(0), dom1 = wire_open(1);
	unsigned total;
	size_t length;

	(void)state;
	home_make(dom0);
	wire_send(dom1, XS_WRITE, 0, big, sizeof(big));
	assert_int_equal(wire_reply(dom1, payload, &length), XS_ERROR);
	assert_string_equal(payload, "ENOSPC");
	wire_send(dom1, XS_WRITE, 0, big, 1024);
	assert_int_equal(wire_reply(dom1, payload, &length), XS_WRITE);
	total = until_refused(dom1, XS_MKDIR, "data/in-one-directory-", "ENOSPC");
	assert_in_range(total, 80, 110); /* 2048 bytes of names */
	ASK(dom1, XS_RM, "data/big\0", OK);
	for (unsigned i = 0; i < 20; i++) {
		char request[64];

		snprintf(request, sizeof(request), "data/in-one-directory-%u/", i);
		total += until_refused(dom1, XS_MKDIR, request, "ENOSPC");
	}
	assert_int_equal(total + 1, GM_STORE_NODES_MAX); /* and "data" */
	REFUSED(dom1, XS_MKDIR, "data/in-one-directory-40/more\0", "ENOSPC");
	ASK(dom1, XS_RM, "data/in-one-directory-0\0", OK);
	ASK(dom1, XS_MKDIR, "data/in-one-directory-40/more\0", OK); /* there is room again */
	for (unsigned i = 0; i < GM_STORE_WATCHES_MAX; i++) {
		char request[32];
		int n = snprintf(request, sizeof(request), "data%c%u", 0, i);

		wire_send(dom1, XS_WATCH, 0, request, (size_t)n + 1);
		assert_int_equal(wire_reply(dom1, payload, &length), XS_WATCH);
	}
	REFUSED(dom1, XS_WATCH, "data\0one-more\0", "E2BIG");
	assert_int_equal(until_refused(dom1, XS_TRANSACTION_START, "", "ENOSPC"), GM_STORE_TRANSACTIONS);
	ASK(dom1, XS_RESET_WATCHES, "\0", OK);
	ASK(dom1, XS_WATCH, "data\0one-more\0", OK);
	wire_transaction(dom1);
	ASK(dom0, XS_WRITE, "/ok\0", OK); /* others are not bound by that */
	close(dom0);
	close(dom1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_values, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_bad_requests, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_permissions, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_directory_part, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_control, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_introduce, store_setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_limits, store_setup, store_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
