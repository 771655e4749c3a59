/* SPDX-License-Identifier: MIT */
/*
 * Two hostile domains on the store. The input is a list of steps: which connection (of three), then either raw bytes,
 * or a message of which the input gives type, transaction and payload. After each step the store does all that there is
 * to do. At the end: what domain 0 has written stands, it is still served, and the counts of nodes are those of the
 * tree.
 */
#include "model/store/connection.h"
#include "model/store/path.h"
#include "model/store/domain.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS	   3
#define TURNS_MOST 10000

#define CHECK(condition)                                                                \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gm_store *store;
static int client[CLIENTS];

static void store_make(void)
{
	char dir[] = "/tmp/fuzz-store-XXXXXX";
	struct gm_perms perms;

	CHECK(mkdtemp(dir));
	CHECK(gm_store_open(&store, dir) == 0);
	CHECK(gm_store_domain_socket_add(store, 1) == 0 && gm_store_domain_socket_add(store, 2) == 0);
	CHECK(gm_tree_write(&store->tree, "/secret", 0, "mine", 4) == 0);
	for (unsigned domid = 1; domid <= 2; domid++) {
		char path[32];

		snprintf(path, sizeof(path), "/local/domain/%u", domid);
		perms = gm_perms_owner((uint16_t)domid);
		CHECK(gm_tree_write(&store->tree, path, 0, "", 0) == 0);
		CHECK(gm_tree_perms_set(&store->tree, path, &perms) == 0);
	}
}

static int client_open(uint16_t domid)
{
	int fds[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
	CHECK(gm_store_connect(store, domid, fds[0]) == 0);
	return fds[1];
}

/* Take what the store has sent. False: it has ended the connection. */
static bool drain(int fd)
{
	char buffer[4096];
	ssize_t n;

	while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0)
		;
	return n < 0;
}

static void settle(void)
{
	struct pollfd wait = {.fd = gm_store_fd(store), .events = POLLIN};
	int turns = 0;

	while (poll(&wait, 1, 0) > 0) {
		CHECK(turns++ < TURNS_MOST);
		gm_store_run(store);
		for (int i = 0; i < CLIENTS; i++) {
			if (!drain(client[i])) {
				close(client[i]);
				client[i] = client_open(i == 2 ? 2 : 1);
			}
		}
	}
}

/* The connection may be full or, since the store has its end, broken: then the rest of the step is lost. */
static void put(int fd, const void *data, size_t length)
{
	if (send(fd, data, length, MSG_NOSIGNAL) < 0)
		return;
}

/* One step; returns what is behind it. */
static const uint8_t *step(const uint8_t *at, const uint8_t *end)
{
	struct xsd_sockmsg header = {.req_id = 1};
	int fd = client[at[0] % CLIENTS];
	bool message = at[1] & 1;
	size_t length = (size_t)at[4] << 8 | at[5];

	header.type = at[2] % (XS_TYPE_COUNT + 2);
	header.tx_id = at[3];
	at += 6;
	if (length > (size_t)(end - at))
		length = (size_t)(end - at);
	header.len = (uint32_t)length;
	if (message)
		put(fd, &header, sizeof(header));
	put(fd, at, length);
	settle();
	return at + length;
}

static uint32_t owned(const struct gm_node *node, uint16_t domid)
{
	uint32_t count = node->perms.entry[0].domid == domid;

	CHECK(node->newest >= node->generation);
	for (uint32_t i = 0; i < node->children; i++) {
		CHECK(node->newest >= node->child[i]->newest);
		count += owned(node->child[i], domid);
	}
	return count;
}

static void tree_check(void)
{
	const struct gm_node *secret = gm_tree_find(&store->tree, "/secret");

	CHECK(secret && secret->length == 4 && memcmp(secret->value, "mine", 4) == 0 && !secret->children);
	CHECK(secret->perms.count == 1);
	for (uint16_t domid = 0; domid <= 2; domid++)
		CHECK(owned(store->tree.root, domid) == gm_tree_owned(&store->tree, domid));
	for (uint16_t domid = 1; domid <= 2; domid++)
		CHECK(gm_tree_owned(&store->tree, domid) <= GM_STORE_NODES_MAX);
}

static void served_check(void)
{
	struct xsd_sockmsg header = {.type = XS_READ, .req_id = 7, .len = 8};
	char answer[sizeof(header) + 4];
	int fd = client_open(0);

	put(fd, &header, sizeof(header));
	put(fd, "/secret", 8);
	settle();
	CHECK(recv(fd, answer, sizeof(answer), 0) == sizeof(answer));
	CHECK(memcmp(answer + sizeof(header), "mine", 4) == 0);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *at = data, *end = data + size;
	char dir[sizeof(store->dir)];

	store_make();
	for (int i = 0; i < CLIENTS; i++)
		client[i] = client_open(i == 2 ? 2 : 1);
	while (end - at >= 6)
		at = step(at, end);
	served_check();
	tree_check();
	for (int i = 0; i < CLIENTS; i++)
		close(client[i]);
	strcpy(dir, store->dir);
	gm_store_close(store);
	CHECK(rmdir(dir) == 0); /* no socket is left in it */
	return 0;
}
