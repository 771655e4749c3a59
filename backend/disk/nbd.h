/* SPDX-License-Identifier: MIT */
/*
 * An NBD server: its address, and connections to it. nbd_uri.c reads the URI. nbd_server.c connects: it has libnbd do
 * the handshake, and nbd_link.c takes the socket from it then. nbd.c is the disk, nbd_queue.h its queues. Only plain
 * NBD: no TLS, no URI parameter but the socket.
 */
#ifndef GD_DISK_NBD_H
#define GD_DISK_NBD_H

#include "backend/disk/engine.h"

#include <pthread.h>
#include <sys/socket.h>

#define GD_NBD_ADDRESSES 8
/*
 * xl and the command line wait for 10 s. Within 8 s all connections are there, or the reason why not: the first one may
 * take at most 5 s, and those of the other queues, which are made at the same time, what is left.
 */
#define GD_NBD_CONNECT_MS 8000u
#define GD_NBD_FIRST_MS	  5000u
#define GD_NBD_LATER_MS	  3000u /* for a queue that is opened later than that */

#define GD_NBD_SILENT_MS      10000u /* after so long without an answer, or a server, that is logged */
#define GD_NBD_RETRY_FIRST_MS 100

struct gd_nbd_lookup;
struct nbd_handle;

struct gd_nbd_server {
	char *export; /* "": the server's default export */
	char *socket; /* nbd+unix: the path; otherwise NULL */
	char *host, *port;
	bool named; /* the host is a name, not an address */
	pthread_mutex_t lock;
	/* Under the lock: the addresses that the host had last, and a look-up that is under way, or NULL. */
	struct sockaddr_storage addresses[GD_NBD_ADDRESSES];
	socklen_t lengths[GD_NBD_ADDRESSES];
	unsigned count;
	struct gd_nbd_lookup *lookup;
};

/* What a server has and can do, as it said when a connection was made. */
struct gd_nbd_abilities {
	int64_t size; /* -1: it does not say */
	bool readonly, flush, fua, zero, trim, multi_conn;
	uint32_t least;	     /* minimum block size; 0: it does not say */
	uint64_t best, most; /* preferred and maximum block size; 0: it does not say */
	uint32_t payload;    /* longest read or write */
};

/* A connection after its handshake. */
struct gd_nbd_link {
	int fd; /* -1: there is none */
	struct gd_nbd_abilities can;
};

struct gd_nbd_disk {
	struct gd_disk disk;
	struct gd_nbd_server server;
	unsigned timeout_ms, reconnect_ms, silent_ms; /* struct gd_disk_config */
	uint64_t open_until; /* gd_clock_ms() by which all connections of the opening must be there */
	unsigned queues;     /* that are open; atomic */
	uint64_t latest;     /* the size as the server said it last; atomic */
	bool away;	     /* it is logged, for all queues, that there is no server; atomic */
	uint32_t *doubt,
		doubt_own; /* nbd_doubt.c; `doubt` points to `doubt_own` or to memory that outlives the process */
	pthread_mutex_t lock;
	struct gd_nbd_link spare; /* a connection that no queue uses: open's, or a closed queue's; under `lock` */
};

/*
 * nbd_doubt.c: writes that the server has acknowledged and may yet lose, since no flush has covered them. Any thread.
 */
/* A write was acknowledged that is not stable. To be called before the guest hears of it. */
void gd_nbd_doubt_write(struct gd_nbd_disk *disk);
/* A connection is gone: writes that no flush covered are in doubt, and the next flush says so. */
void gd_nbd_doubt_begin(struct gd_nbd_disk *disk);
/* A flush begins: true if it must fail, since writes before it may be lost. With `take` no other one fails for that. */
bool gd_nbd_doubt_fails(struct gd_nbd_disk *disk, bool take);
/* A flush begins: it covers the writes up to this mark. Once it has succeeded, call gd_nbd_doubt_covered() with it. */
uint32_t gd_nbd_doubt_mark(const struct gd_nbd_disk *disk);
void gd_nbd_doubt_covered(struct gd_nbd_disk *disk, uint32_t mark);
/* The engine's functions for gd_disk_remember() and gd_disk_unflushed(). */
void gd_nbd_doubt_remember(struct gd_disk *disk, uint32_t *unflushed);
bool gd_nbd_doubt_unflushed(const struct gd_disk *disk);

/* The engine. */
extern const struct gd_disk_engine gd_nbd_engine;
void gd_nbd_disk_close(struct gd_disk *disk);
uint64_t gd_nbd_measure(struct gd_disk *disk);
/* How many milliseconds the connection of a queue that is opened now may take. */
unsigned gd_nbd_queue_ms(const struct gd_nbd_disk *disk);
/* Take a connection that is there already, and still works; the caller's. Its fd is -1 if there is none. */
struct gd_nbd_link gd_nbd_spare_take(struct gd_nbd_disk *disk);
/* Keep an idle connection for the next queue, or end it; consumed. */
void gd_nbd_spare_put(struct gd_nbd_disk *disk, struct gd_nbd_link *link);

/* Read a URI; on failure `why` says what is wrong. gd_nbd_server_close() is to be called also after a failure. */
int gd_nbd_uri_parse(struct gd_nbd_server *server, const char *uri, char *why, size_t size);
/*
 * Whether a server may be used: `allow` is gd_disk_config's. 0, or -errno with `why`; -ENOTCONN: its socket is not
 * there. The path of a socket is replaced by the one that symbolic links lead to, so that it cannot change later.
 */
int gd_nbd_allowed(struct gd_nbd_server *server, const char *const *allow, char *why, size_t size);
/* Look the host up, for at most `milliseconds`. 0, or -errno with `why`. */
int gd_nbd_server_resolve(struct gd_nbd_server *server, unsigned milliseconds, char *why, size_t size);
/*
 * To be called before connecting again: if the host is a name, begin to look it up again, in a thread, and use what the
 * last such look-up has found. Does not block. Any thread.
 */
void gd_nbd_server_again(struct gd_nbd_server *server);
void gd_nbd_server_close(struct gd_nbd_server *server);

/* Begin to connect; does not block. `attempt` chooses among the addresses. NULL: see nbd_get_error(). */
struct nbd_handle *gd_nbd_start(struct gd_nbd_server *server, unsigned attempt);
/* Try to connect to each address in turn, for at most `milliseconds` in all, of which each has its share. */
int gd_nbd_connect(struct gd_nbd_link *link, struct gd_nbd_server *server, unsigned milliseconds, char *why,
		   size_t size);
/* Say in `why` what libnbd said last in this thread, or that the server closed the connection. `handle` may be NULL. */
void gd_nbd_why(struct nbd_handle *handle, char *why, size_t size);

/* Take the connection of a handle that is ready (nbd_aio_is_ready()), which is closed in any case. 0, or -errno with
 * `why`: there is no connection. */
int gd_nbd_link_take(struct gd_nbd_link *link, struct nbd_handle *handle, char *why, size_t size);
/* True when an idle connection still works. Does not block. */
bool gd_nbd_link_alive(const struct gd_nbd_link *link);
/* Close it, if there is one. With `goodbye` the server is told, which is allowed between two requests. */
void gd_nbd_link_end(struct gd_nbd_link *link, bool goodbye);

#endif
