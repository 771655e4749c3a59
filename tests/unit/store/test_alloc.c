/* SPDX-License-Identifier: MIT */
/*
 * Memory runs out: the N-th allocation of the store fails, for N = 1, 2, ... until the whole scenario goes through.
 * Each request is answered, by ENOMEM or as usual, or its connection ends; the tree stays whole, and nothing is lost
 * (the leak sanitizer sees to that).
 */
#include "model/store/connection.h"
#include "model/store/domain.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define FAULTS_MOST 2000

static unsigned countdown; /* to the allocation that fails; 0: none does */
static bool struck;

/* The store is linked with --wrap for these. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);

static bool strikes(void)
{
	if (!countdown || --countdown)
		return false;
	struck = true;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return strikes() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return strikes() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return strikes() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
	return strikes() ? NULL : __real_strdup(text);
}

static struct gm_store *store;
static int client[2] = {-1, -1}; /* domains 0 and 1 */

static void settle(void)
{
	struct pollfd wait = {.fd = gm_store_fd(store), .events = POLLIN};

	for (int i = 0; i < 1000 && poll(&wait, 1, 0) > 0; i++)
		gm_store_run(store);
}

/* Connect, unless memory runs out. */
static void client_open(unsigned domid)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	client[domid] = fds[1];
	if (gm_store_connect(store, (uint16_t)domid, fds[0])) {
		close(fds[0]);
		close(fds[1]);
		client[domid] = -1;
	}
}

static uint32_t ended(unsigned domid)
{
	assert_true(struck);
	close(client[domid]);
	client[domid] = -1;
	return XS_INVALID;
}

/* One request; the answer must be a whole message, or the end. Returns its type; XS_INVALID: the end. */
static uint32_t ask(unsigned domid, uint32_t type, uint32_t tx, const void *data, size_t length)
{
	struct xsd_sockmsg header = {.type = type, .req_id = 1, .tx_id = tx, .len = (uint32_t)length};
	char payload[XENSTORE_PAYLOAD_MAX + 1];
	ssize_t n;

	if (client[domid] < 0)
		client_open(domid);
	if (client[domid] < 0)
		return XS_INVALID;
	if (send(client[domid], &header, sizeof(header), MSG_NOSIGNAL) != sizeof(header))
		return ended(domid); /* while an event could not be queued for it */
	assert_int_equal(send(client[domid], data, length, MSG_NOSIGNAL), length);
	settle();
	do {
		n = recv(client[domid], &header, sizeof(header), 0);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return ended(domid);
		assert_int_equal(n, sizeof(header));
		assert_int_equal(recv(client[domid], payload, header.len, 0), header.len);
	} while (header.type == XS_WATCH_EVENT);
	if (header.type == XS_ERROR && struck)
		assert_true(strcmp(payload, "ENOMEM") == 0 || strcmp(payload, "ENOENT") == 0 ||
			    strcmp(payload, "EACCES") == 0 || strcmp(payload, "EEXIST") == 0);
	return header.type;
}
#define ASK(domid, type, tx, data) ask(domid, type, tx, data, sizeof(data) - 1)

static uint32_t owned(const struct gm_node *node, uint16_t domid)
{
	uint32_t count = node->perms.entry[0].domid == domid;

	for (uint32_t i = 0; i < node->children; i++)
		count += owned(node->child[i], domid);
	return count;
}

/* Nodes, permissions, watches, a transaction with all kinds of changes, a domain that comes and goes. */
static void scenario(void)
{
	uint32_t end;

	ASK(0, XS_INTRODUCE, 0, "1\0001\0001\0");
	ASK(0, XS_WATCH, 0, "@releaseDomain\0t\0");
	ASK(0, XS_WATCH, 0, "/local/domain/1\0t\0");
	ASK(0, XS_WRITE, 0, "/local/domain/1/data/a\0value");
	ASK(0, XS_SET_PERMS, 0, "/local/domain/1/data\0n1\0r2\0");
	ASK(0, XS_SET_PERMS, 0, "/local/domain/1/data/a\0n1\0");
	if (gm_store_domain_find(store, 1)) {
		ASK(1, XS_WATCH, 0, "data\0t\0");
		ASK(1, XS_WRITE, 0, "data/b/c\0value");
		ASK(1, XS_DIRECTORY, 0, "data\0");
		ASK(1, XS_UNWATCH, 0, "data\0t\0");
	}
	ASK(0, XS_TRANSACTION_START, 0, "\0");
	ASK(0, XS_WRITE, 1, "/tx/a/b\0value");
	ASK(0, XS_RM, 1, "/local/domain/1/data/a\0");
	ASK(0, XS_MKDIR, 1, "/local/domain/1/data/a\0");
	ASK(0, XS_SET_PERMS, 1, "/tx/a\0n0\0r1\0");
	ASK(0, XS_WRITE, 0, "/tool/elsewhere\0value");
	end = ASK(0, XS_TRANSACTION_END, 1, "T\0");
	if (!struck)
		assert_int_equal(end, XS_TRANSACTION_END);
	ASK(0, XS_RM, 0, "/tx\0");
	ASK(0, XS_RELEASE, 0, "1\0");
}

/* One run with a fault; false when it did not come to that. */
static bool run(unsigned fault)
{
	char dir[] = "/dev/shm/grantio-test-store-XXXXXX";
	int err;

	assert_non_null(mkdtemp(dir));
	struck = false;
	countdown = fault;
	err = gm_store_open(&store, dir);
	if (err) {
		assert_true(struck && err == -ENOMEM);
	} else {
		scenario();
		countdown = 0;
		assert_int_equal(ASK(0, XS_READ, 0, "/local/domain/0/name\0"), XS_READ);
		for (uint16_t domid = 0; domid <= 1; domid++)
			assert_int_equal(owned(store->tree.root, domid), gm_tree_owned(&store->tree, domid));
		for (int i = 0; i < 2; i++) {
			if (client[i] >= 0)
				close(client[i]);
			client[i] = -1;
		}
		gm_store_close(store);
	}
	countdown = 0;
	assert_int_equal(rmdir(dir), 0);
	return struck;
}

static void test_faults(void **state)
{
	unsigned fault = 1;

	(void)state;
	while (run(fault)) {
		fault++;
		assert_in_range(fault, 1, FAULTS_MOST);
	}
	assert_in_range(fault, 100, FAULTS_MOST); /* it did strike */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
