/* SPDX-License-Identifier: MIT */
/*
 * A connection after its handshake: its socket, and what the server has told. libnbd made it, and has no part in it any
 * more: the socket is a duplicate of its own one, and its handle is closed.
 */
#include "backend/disk/nbd.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <libnbd.h>
#include <stdio.h>
#include <unistd.h>

#include "backend/disk/nbd_wire.h"

#define PAYLOAD_MAX \
	(32u << 20) /* longest request that every server takes (the NBD protocol, "Block size constraints") */

/* A block size of the server's (LIBNBD_SIZE_*); 0: it does not say. */
static uint64_t size_told(struct nbd_handle *handle, int which)
{
	int64_t size = nbd_get_block_size(handle, which);

	return size > 0 ? (uint64_t)size : 0;
}

static void abilities_ask(struct nbd_handle *handle, struct gd_nbd_abilities *can)
{
	uint64_t least = size_told(handle, LIBNBD_SIZE_MINIMUM), most = size_told(handle, LIBNBD_SIZE_MAXIMUM);

	can->size = nbd_get_size(handle);
	can->readonly = nbd_is_read_only(handle) > 0;
	can->flush = nbd_can_flush(handle) > 0;
	can->fua = nbd_can_fua(handle) > 0;
	can->zero = nbd_can_zero(handle) > 0;
	can->trim = nbd_can_trim(handle) > 0;
	can->multi_conn = nbd_can_multi_conn(handle) > 0;
	can->least = least < UINT32_MAX ? (uint32_t)least : UINT32_MAX;
	can->best = size_told(handle, LIBNBD_SIZE_PREFERRED);
	can->most = most;
	if (!most || most > PAYLOAD_MAX)
		most = PAYLOAD_MAX;
	can->payload = (uint32_t)most & ~((least > 512 && least <= 65536 ? (uint32_t)least : 512) - 1);
}

/*
 * A duplicate of the handle's socket, which blocks: io_uring waits for what a socket cannot do at once only if that may
 * block, and our own calls say MSG_DONTWAIT. -errno on failure.
 */
static int socket_take(struct nbd_handle *handle)
{
	int fd = fcntl(nbd_aio_get_fd(handle), F_DUPFD_CLOEXEC, 0), flags, err;

	if (fd < 0)
		return -errno;
	flags = fcntl(fd, F_GETFL);
	if (flags >= 0 && !fcntl(fd, F_SETFL, flags & ~O_NONBLOCK))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int gd_nbd_link_take(struct gd_nbd_link *link, struct nbd_handle *handle, char *why, size_t size)
{
	int fd = socket_take(handle);

	abilities_ask(handle, &link->can);
	nbd_close(handle); /* sends nothing, and the connection stays, as the duplicate has it */
	link->fd = fd < 0 ? -1 : fd;
	if (fd >= 0)
		return 0;
	snprintf(why, size, "the connection's socket: %s", gd_log_errno(fd));
	return fd;
}

bool gd_nbd_link_alive(const struct gd_nbd_link *link)
{
	char byte;

	/* The server has nothing to say while nothing was asked: not even the end of the connection. */
	return recv(link->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EINTR);
}

void gd_nbd_link_end(struct gd_nbd_link *link, bool goodbye)
{
	const struct gd_nbd_request disconnect = {.magic = htobe32(GD_NBD_REQUEST_MAGIC),
						  .type = htobe16(GD_NBD_DISCONNECT)};

	if (link->fd < 0)
		return;
	if (goodbye) /* best effort: the server sees the end either way */
		(void)!send(link->fd, &disconnect, sizeof(disconnect), MSG_DONTWAIT | MSG_NOSIGNAL);
	/* This ends what a ring still waits for. It fails only if the connection has ended, which does that, too. */
	shutdown(link->fd, SHUT_RDWR);
	close(link->fd);
	link->fd = -1;
}
