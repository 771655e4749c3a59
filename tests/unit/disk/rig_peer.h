/* SPDX-License-Identifier: MIT */
/*
 * A server whose answers the test gives one by one: a thread accepts connections and agrees on the export, and from
 * then on the test reads requests and writes replies, when and in which order it likes, or never.
 */
#ifndef TEST_DISK_RIG_PEER_H
#define TEST_DISK_RIG_PEER_H

#include "tests/unit/disk/rig.h"

#include <pthread.h>

#define PEER_CONNECTIONS 8

/* Flags of an export (the NBD protocol, "Transmission flags"). */
#define PEER_READ_ONLY	0x002u
#define PEER_FLUSH	0x004u
#define PEER_FUA	0x008u
#define PEER_MULTI_CONN 0x100u

enum { PEER_READ, PEER_WRITE, PEER_DISCONNECT, PEER_FLUSH_COMMAND };

struct peer {
	int listener;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* Under the lock. */
	uint64_t size; /* what the next connection is told */
	uint16_t flags;
	bool silent;		       /* accept, and say nothing */
	bool deaf;		       /* agree, and read nothing after that */
	int sockets[PEER_CONNECTIONS]; /* in the order in which they came; -1: closed */
	unsigned accepted, agreed;     /* how many there were; how many are past the handshake */
};

struct peer_request {
	uint16_t type;
	uint64_t cookie, offset;
	uint32_t length;
};

/* At a Unix socket in the rig's directory; rig->uri is its address. */
void peer_start(struct peer *peer, struct disk_rig *rig, uint64_t size, uint16_t flags);
/* The same at a TCP address; port 0: any. Returns the port. */
unsigned peer_start_tcp(struct peer *peer, const char *address, unsigned port, uint64_t size, uint16_t flags);
void peer_stop(struct peer *peer);
/* What connections are told from now on. */
void peer_export(struct peer *peer, uint64_t size, uint16_t flags);
void peer_silent(struct peer *peer, bool silent);
void peer_deaf(struct peer *peer, bool deaf);
/* Let the disk's queue work until so many connections were accepted, or have agreed. */
void peer_await(struct peer *peer, struct disk_rig *rig, unsigned accepted, unsigned agreed);
/* The next request of a connection, with its payload read; waits for it, up to RIG_LIMIT. */
struct peer_request peer_next(struct peer *peer, unsigned connection);
/* Read so many bytes of a connection, whatever they are, while the disk's queue works. */
void peer_read(struct peer *peer, struct disk_rig *rig, unsigned connection, void *out, size_t size);
/* How many bytes there are up to the end of the connection, which the other side has closed; the last byte of them. */
size_t peer_read_rest(struct peer *peer, unsigned connection, unsigned char *last);
/* Write so many bytes of anything. */
void peer_write(struct peer *peer, unsigned connection, const void *from, size_t size);
/* Answer one; a read that succeeds gets `length` bytes of `fill`. */
void peer_reply(struct peer *peer, unsigned connection, const struct peer_request *request, uint32_t error, int fill);
void peer_hang_up(struct peer *peer, unsigned connection);

#endif
