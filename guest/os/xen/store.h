/* SPDX-License-Identifier: MIT */
/*
 * A small xenstore client: one request at a time, over gio_xen_store_send() and _receive() (xen/io/xs_wire.h).
 *
 * Paths may be relative to the guest's own directory. Values are text. Errors are xenstored's, by the numbers of Xen's
 * errno.h (-2: ENOENT, -13: EACCES, ...); -GIO_EPROTO: an answer that makes no sense; -GIO_EAGAIN: none in time, or, at
 * the end of a transaction, somebody else was first; -GIO_EIO: an earlier request was not taken in time, and none can
 * be made after it. Threads: one.
 */
#ifndef GRANTIO_OS_XEN_STORE_H
#define GRANTIO_OS_XEN_STORE_H

#include <stddef.h>
#include <stdint.h>

#define STORE_NO_TRANSACTION 0u
#define STORE_PATH_MAX	     128u

/* Any request: its payload, and the payload of the answer, which is cut at `size`. Returns the bytes of the answer. */
int gio_xen_store_request(uint32_t type, uint32_t transaction, const void *payload, size_t bytes, char *answer,
			  size_t size);

/* The value of `dir`/`key`, ended by a NUL; its length. -GIO_ERANGE: larger than `size` - 1. */
int gio_xen_store_read(const char *dir, const char *key, char *value, size_t size);
/* The same as a decimal number: -GIO_EPROTO when it is none. */
int gio_xen_store_read_number(const char *dir, const char *key, uint64_t *value);
int gio_xen_store_write(uint32_t transaction, const char *dir, const char *key, const char *value);
int gio_xen_store_write_number(uint32_t transaction, const char *dir, const char *key, unsigned value);
int gio_xen_store_remove(const char *path);

int gio_xen_store_begin(uint32_t *transaction);
int gio_xen_store_end(uint32_t transaction, int commit);

int gio_xen_store_watch(const char *path, const char *token);
/* The watch ends, and its events that nobody has asked for are forgotten. */
int gio_xen_store_unwatch(const char *path, const char *token);
/*
 * Wait for an event of a watch: 0, its path and token; -GIO_EAGAIN: none in `ms` milliseconds. -GIO_ERANGE: there was
 * one, of a path or token for which there is no room. Others may write such paths: to who waits it is an event.
 */
int gio_xen_store_event(char *path, size_t path_size, char *token, size_t token_size, unsigned ms);

#endif
