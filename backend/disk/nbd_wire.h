/* SPDX-License-Identifier: MIT */
/*
 * The transmission phase of the NBD protocol as it lies on the wire (doc/proto.md of the NBD project; its sections are
 * named in quotes). All fields are big-endian. The handshake before it is libnbd's.
 */
#ifndef GD_DISK_NBD_WIRE_H
#define GD_DISK_NBD_WIRE_H

#include <stdint.h>

#define GD_NBD_REQUEST_MAGIC	0x25609513u /* "Request message" */
#define GD_NBD_REPLY_MAGIC	0x67446698u /* "Simple reply message" */
#define GD_NBD_STRUCTURED_MAGIC 0x668e33efu /* "Structured reply chunk message": only if the client asked for them */

/* "Request types" */
enum gd_nbd_command {
	GD_NBD_READ = 0,
	GD_NBD_WRITE = 1,
	GD_NBD_DISCONNECT = 2,
	GD_NBD_FLUSH = 3,
	GD_NBD_TRIM = 4,
	GD_NBD_ZERO = 6,
};

/* "Command flags" */
#define GD_NBD_FLAG_FUA	    0x1u
#define GD_NBD_FLAG_NO_HOLE 0x2u

/* "Error values". They are the numbers that Linux has; any other number counts as GD_NBD_EINVAL. */
enum gd_nbd_error {
	GD_NBD_EPERM = 1,
	GD_NBD_EIO = 5,
	GD_NBD_ENOMEM = 12,
	GD_NBD_EINVAL = 22,
	GD_NBD_ENOSPC = 28,
	GD_NBD_EOVERFLOW = 75,
	GD_NBD_ENOTSUP = 95,
	GD_NBD_ESHUTDOWN = 108,
};

/* "Request message". The client writes it; the data of a write follows. */
struct gd_nbd_request {
	uint32_t magic;
	uint16_t flags;
	uint16_t type;
	uint64_t cookie; /* the client's choice: the reply has it, too */
	uint64_t offset;
	uint32_t length;
} __attribute__((packed));
_Static_assert(sizeof(struct gd_nbd_request) == 28, "as the protocol says");

/* "Simple reply message". The server writes it; the data of a read without an error follows. */
struct gd_nbd_reply {
	uint32_t magic;
	uint32_t error; /* 0: none */
	uint64_t cookie;
} __attribute__((packed));
_Static_assert(sizeof(struct gd_nbd_reply) == 16, "as the protocol says");

#endif
