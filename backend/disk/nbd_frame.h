/* SPDX-License-Identifier: MIT */
/*
 * The requests and replies of one NBD connection as two streams of bytes, without any I/O: requests become bytes that
 * are to be sent, in their order, and the bytes that were received become answers.
 *
 * A request is known by the number of its slot, which has at most one request at a time. Its cookie on the wire is a
 * number that this connection has not used before, counted from a random base. So an answer to a request that was
 * answered already, or to none, is recognised, and neither the data of a read nor a guest can imitate an answer.
 *
 * The server is not trusted. An answer that cannot be right is a fault of the whole connection: nothing that comes
 * after it can be read. It ends with -EPROTO, and `fault` says what was wrong. The data of a read is written only to
 * the buffer of a read that was sent and has no answer yet, and never more of it than was asked for.
 *
 * Nothing is allocated but by gd_nbd_frame_open().
 */
#ifndef GD_DISK_NBD_FRAME_H
#define GD_DISK_NBD_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "backend/disk/nbd_wire.h"

#define GD_NBD_BIG 16384u /* a read of at least so many bytes is worth a system call of its own */

struct gd_nbd_ask {
	enum gd_nbd_command type;
	uint16_t flags;
	uint32_t length;
	uint64_t offset;
	char *data; /* of `length` bytes; READ: it is written, WRITE: it is read, until the request is answered */
};

struct gd_nbd_answer {
	unsigned slot;
	int error; /* 0, or a positive errno */
};

enum gd_nbd_due { GD_NBD_IDLE, GD_NBD_UNSENT, GD_NBD_SENT };

/* A request that has no answer yet. */
struct gd_nbd_asked {
	uint64_t cookie;
	char *data;
	uint32_t length;
	uint16_t type;
	uint8_t due; /* enum gd_nbd_due: whether all of it was sent */
};

struct gd_nbd_frame {
	unsigned depth;
	struct gd_nbd_asked *asked; /* of each slot */
	uint64_t base, count;	    /* cookies: count << 16 | slot, counted from base */
	unsigned big;		    /* reads of at least GD_NBD_BIG bytes that have no answer yet */
	/* What is to be sent: a ring of `depth` requests, of which `waiting` are not sent yet, from `first` on. */
	struct gd_nbd_request *requests;
	uint16_t *slots; /* whose these are */
	unsigned first, waiting;
	size_t first_sent; /* bytes of the first one, with its data */
	/* What is being received: first `have` bytes of a reply's header; then `left` bytes of data for `slot`. */
	struct gd_nbd_reply reply;
	unsigned have, slot;
	uint32_t left;
	char fault[96];
};

/* Room for the requests of `depth` slots, up to 65536. 0 or -ENOMEM; close it in either case. */
int gd_nbd_frame_open(struct gd_nbd_frame *frame, unsigned depth);
void gd_nbd_frame_close(struct gd_nbd_frame *frame);
/* A new connection begins, and all requests are forgotten. `base`: a random number. */
void gd_nbd_frame_reset(struct gd_nbd_frame *frame, uint64_t base);

/* A request of a slot that has none is to be sent. */
void gd_nbd_frame_ask(struct gd_nbd_frame *frame, unsigned slot, const struct gd_nbd_ask *ask);
/* What is to be sent now, in at most `most` pieces, of which there are at least 2; returns how many there are. */
unsigned gd_nbd_frame_unsent(const struct gd_nbd_frame *frame, struct iovec *pieces, unsigned most);
/* So many bytes of these were sent. */
void gd_nbd_frame_sent(struct gd_nbd_frame *frame, size_t bytes);
/* True if not a byte of the slot's request was sent: the server cannot have done any of it. */
bool gd_nbd_frame_untouched(const struct gd_nbd_frame *frame, unsigned slot);
/* True if what was sent ends with a whole request, so that another one could follow. */
bool gd_nbd_frame_between(const struct gd_nbd_frame *frame);
/* True if nothing is asked, and no part of an answer has come: the connection could be anybody's. */
bool gd_nbd_frame_idle(const struct gd_nbd_frame *frame);

/*
 * Take bytes that were received, of which there are *n at *bytes; both are moved on. 1: *answer is a request's answer,
 * and its slot is free; call it again. 0: all bytes were taken. -EPROTO: see above.
 */
int gd_nbd_frame_take(struct gd_nbd_frame *frame, const char **bytes, size_t *n, struct gd_nbd_answer *answer);
/* Where the data that comes next belongs, and how much of it is to come (*n); NULL: a header comes next. */
char *gd_nbd_frame_room(const struct gd_nbd_frame *frame, size_t *n);
/* So many bytes, at most *n, were received to that place. 1: *answer is the request's, as above; 0: more is to come. */
int gd_nbd_frame_filled(struct gd_nbd_frame *frame, size_t bytes, struct gd_nbd_answer *answer);

#endif
