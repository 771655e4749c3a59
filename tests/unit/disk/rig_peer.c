/* SPDX-License-Identifier: MIT */
#include "tests/unit/disk/rig_peer.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define IHAVEOPT      0x49484156454f5054u
#define OPTION_EXPORT 1u
#define OPTION_GO     7u
#define REPLY_MAGIC   0x3e889045565a9u
#define REPLY_ACK     1u
#define REPLY_INFO    3u
#define REPLY_UNKNOWN 0x80000001u
#define REQUEST_MAGIC 0x25609513u
#define ANSWER_MAGIC  0x67446698u

/* What the test's ring has to do interrupts it, since it has a limit to its time. */
static bool all_read(int fd, void *out, size_t size)
{
	size_t have = 0;
	ssize_t n = 1;

	while (have < size && n) {
		n = recv(fd, (char *)out + have, size - have, MSG_WAITALL);
		if (n < 0 && errno != EINTR)
			return false;
		have += n > 0 ? (size_t)n : 0;
	}
	return have == size;
}

static bool all_written(int fd, const void *from, size_t size)
{
	return send(fd, from, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static bool option_reply(int fd, uint32_t option, uint32_t type, const void *data, uint32_t length)
{
	struct __attribute__((packed)) {
		uint64_t magic;
		uint32_t option, type, length;
	} head = {htobe64(REPLY_MAGIC), htobe32(option), htobe32(type), htobe32(length)};

	return all_written(fd, &head, sizeof(head)) && (!length || all_written(fd, data, length));
}

/* One option of the client's. 1: agreed, 0: go on, -1: the connection is no good. */
static int option_serve(struct peer *peer, int fd)
{
	struct __attribute__((packed)) {
		uint64_t magic;
		uint32_t option, length;
	} head;
	struct __attribute__((packed)) {
		uint16_t type;
		uint64_t size;
		uint16_t flags;
	} info = {0};
	char data[4096];
	uint32_t option;
	bool deaf;

	if (!all_read(fd, &head, sizeof(head)) || be64toh(head.magic) != IHAVEOPT ||
	    be32toh(head.length) > sizeof(data) || !all_read(fd, data, be32toh(head.length)))
		return -1;
	option = be32toh(head.option);
	if (option != OPTION_GO)
		return option_reply(fd, option, REPLY_UNKNOWN, NULL, 0) ? 0 : -1;
	pthread_mutex_lock(&peer->lock);
	info.size = htobe64(peer->size);
	info.flags = htobe16(peer->flags | 1u);
	deaf = peer->deaf;
	pthread_mutex_unlock(&peer->lock);
	if (deaf)
		shutdown(fd, SHUT_RD); /* what comes now is refused, from before the other end knows that we agree */
	if (!option_reply(fd, option, REPLY_INFO, &info, sizeof(info)) || !option_reply(fd, option, REPLY_ACK, NULL, 0))
		return -1;
	return 1;
}

static bool handshake(struct peer *peer, int fd)
{
	struct __attribute__((packed)) {
		uint64_t magic, version;
		uint16_t flags;
	} hello = {htobe64(0x4e42444d41474943u), htobe64(IHAVEOPT), htobe16(3)};
	uint32_t flags;
	int result = 0;

	if (!all_written(fd, &hello, sizeof(hello)) || !all_read(fd, &flags, sizeof(flags)))
		return false;
	while (!result)
		result = option_serve(peer, fd);
	return result > 0;
}

static void *peer_main(void *opaque)
{
	struct timeval limit = {.tv_sec = RIG_LIMIT};
	struct peer *peer = opaque;
	int fd;

	while ((fd = accept4(peer->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		bool silent, agreed;

		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		pthread_mutex_lock(&peer->lock);
		assert_true(peer->accepted < PEER_CONNECTIONS);
		peer->sockets[peer->accepted++] = fd;
		silent = peer->silent;
		pthread_mutex_unlock(&peer->lock);
		agreed = !silent && handshake(peer, fd);
		pthread_mutex_lock(&peer->lock);
		peer->agreed += agreed;
		pthread_mutex_unlock(&peer->lock);
	}
	return NULL;
}

static void peer_begin(struct peer *peer, const void *address, socklen_t length, uint64_t size, uint16_t flags)
{
	memset(peer, 0, sizeof(*peer));
	peer->size = size;
	peer->flags = flags;
	pthread_mutex_init(&peer->lock, NULL);
	peer->listener = socket(((const struct sockaddr *)address)->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(peer->listener, address, length), 0);
	assert_int_equal(listen(peer->listener, PEER_CONNECTIONS), 0);
	assert_int_equal(pthread_create(&peer->thread, NULL, peer_main, peer), 0);
}

unsigned peer_start_tcp(struct peer *peer, const char *host, unsigned port, uint64_t size, uint16_t flags)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	socklen_t length = sizeof(address);

	assert_int_equal(inet_pton(AF_INET, host, &address.sin_addr), 1);
	peer_begin(peer, &address, length, size, flags);
	assert_int_equal(getsockname(peer->listener, (struct sockaddr *)&address, &length), 0);
	return ntohs(address.sin_port);
}

void peer_start(struct peer *peer, struct disk_rig *rig, uint64_t size, uint16_t flags)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(rig->socket, sizeof(rig->socket), "%s/peer", rig->dir);
	snprintf(rig->uri, sizeof(rig->uri), "nbd+unix:///?socket=%s", rig->socket);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", rig->socket);
	peer_begin(peer, &address, sizeof(address), size, flags);
}

void peer_stop(struct peer *peer)
{
	unsigned i;

	shutdown(peer->listener, SHUT_RDWR); /* ends accept() */
	pthread_mutex_lock(&peer->lock);
	for (i = 0; i < peer->accepted; i++) /* ends a handshake */
		if (peer->sockets[i] >= 0)
			shutdown(peer->sockets[i], SHUT_RDWR);
	pthread_mutex_unlock(&peer->lock);
	pthread_join(peer->thread, NULL);
	for (i = 0; i < peer->accepted; i++)
		if (peer->sockets[i] >= 0)
			close(peer->sockets[i]);
	close(peer->listener);
	pthread_mutex_destroy(&peer->lock);
}

void peer_export(struct peer *peer, uint64_t size, uint16_t flags)
{
	pthread_mutex_lock(&peer->lock);
	peer->size = size;
	peer->flags = flags;
	pthread_mutex_unlock(&peer->lock);
}

void peer_silent(struct peer *peer, bool silent)
{
	pthread_mutex_lock(&peer->lock);
	peer->silent = silent;
	pthread_mutex_unlock(&peer->lock);
}

void peer_deaf(struct peer *peer, bool deaf)
{
	pthread_mutex_lock(&peer->lock);
	peer->deaf = deaf;
	pthread_mutex_unlock(&peer->lock);
}

void peer_await(struct peer *peer, struct disk_rig *rig, unsigned accepted, unsigned agreed)
{
	double end = rig_now() + RIG_LIMIT;
	bool there = false;

	while (!there) {
		pthread_mutex_lock(&peer->lock);
		there = peer->accepted >= accepted && peer->agreed >= agreed;
		pthread_mutex_unlock(&peer->lock);
		if (!there)
			rig_poll(rig, 20);
		if (rig_now() > end)
			fail_msg("%u connections, %u past the handshake", peer->accepted, peer->agreed);
	}
}

static int socket_of(struct peer *peer, unsigned connection)
{
	int fd;

	pthread_mutex_lock(&peer->lock);
	assert_true(connection < peer->accepted);
	fd = peer->sockets[connection];
	pthread_mutex_unlock(&peer->lock);
	return fd;
}

struct peer_request peer_next(struct peer *peer, unsigned connection)
{
	struct __attribute__((packed)) {
		uint32_t magic;
		uint16_t flags, type;
		uint64_t cookie, offset;
		uint32_t length;
	} head;
	struct peer_request request;
	char data[65536];
	int fd = socket_of(peer, connection);

	assert_true(all_read(fd, &head, sizeof(head)));
	assert_int_equal(be32toh(head.magic), REQUEST_MAGIC);
	request = (struct peer_request){be16toh(head.type), head.cookie, be64toh(head.offset), be32toh(head.length)};
	if (request.type == PEER_WRITE) {
		assert_true(request.length <= sizeof(data));
		assert_true(all_read(fd, data, request.length));
	}
	return request;
}

void peer_read(struct peer *peer, struct disk_rig *rig, unsigned connection, void *out, size_t size)
{
	double end = rig_now() + RIG_LIMIT;
	int fd = socket_of(peer, connection);
	size_t have = 0;

	while (have < size) {
		ssize_t n = recv(fd, (char *)out + have, size - have, MSG_DONTWAIT);

		assert_true(n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)));
		if (n > 0)
			have += (size_t)n;
		else
			rig_poll(rig, 20);
		if (rig_now() > end)
			fail_msg("%zu of %zu bytes", have, size);
	}
}

size_t peer_read_rest(struct peer *peer, unsigned connection, unsigned char *last)
{
	int fd = socket_of(peer, connection);
	unsigned char data[4096];
	size_t have = 0;
	ssize_t n;

	while ((n = recv(fd, data, sizeof(data), 0)) > 0) {
		have += (size_t)n;
		*last = data[n - 1];
	}
	assert_int_equal(n, 0);
	return have;
}

void peer_write(struct peer *peer, unsigned connection, const void *from, size_t size)
{
	assert_true(all_written(socket_of(peer, connection), from, size));
}

void peer_reply(struct peer *peer, unsigned connection, const struct peer_request *request, uint32_t error, int fill)
{
	struct __attribute__((packed)) {
		uint32_t magic, error;
		uint64_t cookie;
	} head = {htobe32(ANSWER_MAGIC), htobe32(error), request->cookie};
	int fd = socket_of(peer, connection);
	char data[65536];

	assert_true(all_written(fd, &head, sizeof(head)));
	if (request->type != PEER_READ || error)
		return;
	assert_true(request->length <= sizeof(data));
	memset(data, fill, request->length);
	assert_true(all_written(fd, data, request->length));
}

void peer_hang_up(struct peer *peer, unsigned connection)
{
	pthread_mutex_lock(&peer->lock);
	close(peer->sockets[connection]);
	peer->sockets[connection] = -1;
	pthread_mutex_unlock(&peer->lock);
}
