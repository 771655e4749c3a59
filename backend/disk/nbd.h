/* SPDX-License-Identifier: MIT */
/*
 * An NBD server: its address, and connections to it (libnbd handles). nbd_uri.c reads the URI, nbd_server.c connects,
 * nbd.c is the disk, nbd_queue.h its queues. Only plain NBD: no TLS, no URI parameter but the socket.
 */
#ifndef GD_DISK_NBD_H
#define GD_DISK_NBD_H

#include "backend/disk/engine.h"

#include <libnbd.h>
#include <pthread.h>
#include <sys/socket.h>

#define GD_NBD_ADDRESSES 8
/*
 * xl and the command line wait for 10 s. Within 8 the first connection is there, or the reason why it is not: 5 at the
 * most for the first one, and what is left for those of the other queues, which are made side by side.
 */
#define GD_NBD_CONNECT_MS 8000u
#define GD_NBD_FIRST_MS	  5000u
#define GD_NBD_LATER_MS	  3000u /* for a queue that is opened after that time */

#define GD_NBD_SILENT_MS      10000u /* without an answer, or a server: a line says so */
#define GD_NBD_RETRY_FIRST_MS 100

struct gd_nbd_lookup;

struct gd_nbd_server {
	char *export; /* "": the default one */
	char *socket; /* nbd+unix: the path; else NULL */
	char *host, *port;
	bool named; /* the host is a name, not an address */
	pthread_mutex_t lock;
	/* Under the lock: what the host resolved to last, and a look-up that is on its way, or NULL. */
	struct sockaddr_storage addresses[GD_NBD_ADDRESSES];
	socklen_t lengths[GD_NBD_ADDRESSES];
	unsigned count;
	struct gd_nbd_lookup *lookup;
};

/* What a server can do, as a connection tells it. */
struct gd_nbd_abilities {
	bool flush, fua, zero, trim, multi_conn;
	uint32_t least;	  /* block size, 0: it does not tell */
	uint32_t payload; /* longest read or write */
};

struct gd_nbd_disk {
	struct gd_disk disk;
	struct gd_nbd_server server;
	unsigned timeout_ms, reconnect_ms, silent_ms; /* struct gd_disk_config */
	uint64_t open_until;	    /* when all connections of opening have to be there; of gd_clock_ms() */
	unsigned queues;	    /* open ones; atomic */
	uint64_t latest;	    /* the size that the latest connection told; atomic */
	bool away;		    /* it was said that there is no server, for all queues; atomic */
	uint32_t *doubt, doubt_own; /* nbd_doubt.c; `doubt` points to the other, or to what outlives the process */
	pthread_mutex_t lock;
	struct nbd_handle *spare; /* a connection that no queue uses: open's, or a closed queue's; under `lock` */
};

/*
 * nbd_doubt.c: writes that the server has acknowledged and may yet lose, since no flush has covered them. Any thread.
 */
/* A write was acknowledged that is not stable. Before whoever asked for it hears of that. */
void gd_nbd_doubt_write(struct gd_nbd_disk *disk);
/* A connection is gone: writes that no flush covered are in doubt, and the next flush says so. */
void gd_nbd_doubt_begin(struct gd_nbd_disk *disk);
/* A flush begins: true if it must fail, since writes before it may be lost. With `take` no other one fails for that. */
bool gd_nbd_doubt_fails(struct gd_nbd_disk *disk, bool take);
/* What a flush covers that begins now; and it has succeeded. */
uint32_t gd_nbd_doubt_mark(const struct gd_nbd_disk *disk);
void gd_nbd_doubt_covered(struct gd_nbd_disk *disk, uint32_t mark);
/* The engine's. */
void gd_nbd_doubt_remember(struct gd_disk *disk, uint32_t *unflushed);
bool gd_nbd_doubt_unflushed(const struct gd_disk *disk);

/* The engine of nbd_queue.c, and what nbd.c does of it. */
extern const struct gd_disk_engine gd_nbd_engine;
void gd_nbd_disk_close(struct gd_disk *disk);
uint64_t gd_nbd_measure(struct gd_disk *disk);
/* A block size (LIBNBD_SIZE_*) that the server tells; 0: it does not. */
uint64_t gd_nbd_size_told(struct nbd_handle *handle, int which);
void gd_nbd_abilities_ask(struct nbd_handle *handle, struct gd_nbd_abilities *can);
/* How long the connection of a queue that is opened now may take to come about, in milliseconds. */
unsigned gd_nbd_queue_ms(const struct gd_nbd_disk *disk);
/* A connection that is already there and still good, or NULL; the caller's. */
struct nbd_handle *gd_nbd_spare_take(struct gd_nbd_disk *disk);
/* Keep an idle connection for the next queue, or end it; consumed. */
void gd_nbd_spare_put(struct gd_nbd_disk *disk, struct nbd_handle *handle);

/* Read a URI; on failure what is wrong with it is in `why`. Either way to be closed. */
int gd_nbd_uri_parse(struct gd_nbd_server *server, const char *uri, char *why, size_t size);
/*
 * Whether a server may be used: `allow` is gd_disk_config's. 0, or -errno with `why`: -ENOTCONN where its socket is not
 * there. A socket is replaced by its real path, that links which change later lead nowhere else.
 */
int gd_nbd_allowed(struct gd_nbd_server *server, const char *const *allow, char *why, size_t size);
/* Look the host up, for at most `milliseconds`. */
int gd_nbd_server_resolve(struct gd_nbd_server *server, unsigned milliseconds, char *why, size_t size);
/*
 * Before connecting again: have a host that is a name looked up anew, in a thread, and use what the last such look-up
 * has found. Does not block. Any thread.
 */
void gd_nbd_server_again(struct gd_nbd_server *server);
void gd_nbd_server_close(struct gd_nbd_server *server);

/* Begin to connect; does not block. `attempt` chooses among the addresses. NULL: see nbd_get_error(). */
struct nbd_handle *gd_nbd_start(struct gd_nbd_server *server, unsigned attempt);
/* Connect, over all addresses (each has its share of the time), for at most `milliseconds`. */
int gd_nbd_connect(struct nbd_handle **handle, struct gd_nbd_server *server, unsigned milliseconds, char *why,
		   size_t size);
/* Say goodbye and close; takes NULL. No callback runs for what is in flight: libnbd forgets it. */
void gd_nbd_end(struct nbd_handle *handle);
/* Is an idle connection still good? Does not block. */
bool gd_nbd_alive(struct nbd_handle *handle);
/* What libnbd said last in this thread, or that the server closed the connection. `handle` may be NULL. */
void gd_nbd_why(struct nbd_handle *handle, char *why, size_t size);

#endif
